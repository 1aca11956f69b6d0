//! Segments written in advance, so that an append neither allocates blocks nor changes a file's size.
//!
//! A thread of its own fills fresh files with zeros; files whose entries are all purged come back and keep what they held,
//! which the checksums tell from new records. When the disk is full the thread tries again from time to time.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tracing::{info, warn};

use super::room::Room;
use super::segment;
use super::worker::Signal;
use crate::fs::{File, Fs};

/// How much is zeroed in one write.
const ZERO_CHUNK_BYTES: usize = 1 << 20;

/// A pre-written file that waits to become a segment.
#[derive(Debug)]
pub(super) struct Spare {
    pub path: PathBuf,
    pub file: Arc<dyn File>,
    pub len: u64,
}

#[derive(Debug)]
pub(super) struct Spares {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    options: Options,
    room: Arc<Room>,
    state: Mutex<State>,
    changed: Signal,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub segment_bytes: u64,
    /// How many wait at least, and how many are kept at most.
    pub ready: usize,
    pub retry_interval: Duration,
}

#[derive(Debug, Default)]
struct State {
    ready: Vec<Spare>,
    next_number: u64,
    stopping: bool,
}

impl Spares {
    /// Takes over the spare files that an earlier run left in `dir`.
    pub(super) fn open(fs: Arc<dyn Fs>, dir: &Path, options: Options, room: Arc<Room>) -> io::Result<Self> {
        let mut state = State::default();
        for name in fs.list(dir)?.iter().filter(|name| segment::is_spare_name(name)) {
            let path = dir.join(name);
            let file = fs.open(&path)?;
            let len = file.size()?;
            if len == options.segment_bytes && state.ready.len() < options.ready {
                state.ready.push(Spare { path, file, len });
            } else {
                fs.remove(&path)?;
            }
        }
        let numbers = state.ready.iter().filter_map(|spare| segment::spare_number(&spare.path));
        state.next_number = numbers.max().map_or(0, |number| number + 1);
        room.set_spares(state.lens());
        Ok(Self { fs, dir: dir.to_owned(), options, room, state: Mutex::new(state), changed: Signal::default() })
    }

    /// Waits for a spare segment; `None` when stopped.
    pub(super) fn take(&self) -> Option<Spare> {
        let mut state = self.state.lock();
        loop {
            if state.stopping {
                return None;
            }
            if let Some(spare) = state.ready.pop() {
                self.room.set_spares(state.lens());
                self.changed.notify();
                return Some(spare);
            }
            self.changed.wait(&mut state);
        }
    }

    /// Takes a segment back that nobody needs any more.
    pub(super) fn recycle(&self, path: &Path, file: Arc<dyn File>) -> io::Result<()> {
        let len = file.size()?;
        let number = {
            let mut state = self.state.lock();
            if len != self.options.segment_bytes || state.ready.len() >= self.options.ready {
                drop(state);
                unless_gone(self.fs.remove(path))?;
                return self.fs.sync_dir(&self.dir);
            }
            state.next_number += 1;
            state.next_number - 1
        };
        let spare = self.dir.join(segment::spare_name(number));
        if !unless_gone(self.fs.rename(path, &spare))? {
            return self.fs.sync_dir(&self.dir);
        }
        // Else the old name might come back after power loss, with the content of the segment that the file is by then.
        self.fs.sync_dir(&self.dir)?;
        self.add(Spare { path: spare, file, len });
        Ok(())
    }

    fn add(&self, spare: Spare) {
        let mut state = self.state.lock();
        state.ready.push(spare);
        self.room.set_spares(state.lens());
        self.changed.notify();
    }

    /// The preparing thread: keeps the wanted number of segments ready until stopped.
    pub(super) fn prepare_until_stopped(&self) {
        let mut failing = false;
        while let Some(number) = self.wait_for_want() {
            match self.prepare(number) {
                Ok(spare) => {
                    if std::mem::take(&mut failing) {
                        info!("log segments can be prepared again");
                    }
                    self.add(spare);
                    self.room.set_unprepared(None);
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        warn!(%error, "no room for another log segment, proposals will be refused until there is");
                    }
                    self.room.set_unprepared(Some(error.to_string()));
                    let mut state = self.state.lock();
                    if !state.stopping {
                        self.changed.wait_for(&mut state, self.options.retry_interval);
                    }
                }
            }
        }
    }

    /// A number for the next spare file when one is wanted; `None` when stopped.
    fn wait_for_want(&self) -> Option<u64> {
        let mut state = self.state.lock();
        loop {
            if state.stopping {
                return None;
            }
            if state.ready.len() < self.options.ready {
                state.next_number += 1;
                return Some(state.next_number - 1);
            }
            self.room.set_unprepared(None);
            self.changed.wait(&mut state);
        }
    }

    fn prepare(&self, number: u64) -> io::Result<Spare> {
        let path = self.dir.join(segment::spare_name(number));
        let draft = path.with_extension("tmp");
        let prepared = self.fill(&draft).and_then(|file| {
            self.fs.rename(&draft, &path)?;
            self.fs.sync_dir(&self.dir)?;
            Ok(file)
        });
        match prepared {
            Ok(file) => Ok(Spare { path, file, len: self.options.segment_bytes }),
            Err(error) => {
                // What was allocated so far is given back; when that fails too, the next start removes it.
                drop(self.fs.remove(&draft));
                Err(error)
            }
        }
    }

    fn fill(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = self.fs.create(path)?;
        write_zeros(&*file, 0, self.options.segment_bytes)?;
        file.sync_data()?;
        Ok(file)
    }

    pub(super) fn stop(&self) {
        self.state.lock().stopping = true;
        self.changed.notify();
    }
}

/// Whether a name was there to be changed: an earlier try may have done it, and failed to make it durable.
fn unless_gone(changed: io::Result<()>) -> io::Result<bool> {
    match changed {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Zeros the range of a file, growing it where needed.
pub(super) fn write_zeros(file: &dyn File, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; ZERO_CHUNK_BYTES.min(to.saturating_sub(from) as usize)];
    let mut at = from;
    while at < to {
        let len = zeros.len().min((to - at) as usize);
        file.write_all_at(&zeros[..len], at)?;
        at += len as u64;
    }
    Ok(())
}

impl State {
    fn lens(&self) -> Vec<u64> {
        self.ready.iter().map(|spare| spare.len).collect()
    }
}
