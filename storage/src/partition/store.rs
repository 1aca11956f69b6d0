//! Checkpoints on disk: which file is the newest whole one, which chunk files belong to it, what can be removed.
//!
//! A partition's directory has `<sequence>-<generation>.checkpoint` files and one `chunks-<generation>` directory. The
//! generation changes only when a checkpoint from another node replaces everything. The two newest checkpoints are
//! kept; a chunk file is removed when neither needs it. A checkpoint that is damaged is renamed to `.damaged` and
//! reported, and its chunk files are copied before anything is cut off them; neither is ever deleted.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::checkpoint::{self, Decoded};
use super::state::State;
use super::{OpenError, PartitionOptions, Quarantined};
use crate::chunk::files::{ChunkFiles, segment_path};
use crate::chunk::segment::Segment;
use crate::fs::{FileSystem, write_atomically, write_synced};

const CHECKPOINT_SUFFIX: &str = ".checkpoint";
const STAGED_SUFFIX: &str = ".tmp";
const CHUNKS_PREFIX: &str = "chunks-";
const DAMAGED_SUFFIX: &str = ".damaged";
const CHECKPOINTS_KEPT: usize = 2;

/// The directory of one partition.
#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
    files: Arc<dyn FileSystem>,
    options: PartitionOptions,
    generation: u32,
    next_sequence: u64,
    /// Checkpoints that are kept, oldest first.
    kept: VecDeque<Kept>,
}

/// A later capture has a later name, in whatever order they are saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CheckpointName {
    sequence: u64,
    generation: u32,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    name: CheckpointName,
    /// The oldest segment it needs; 0 when that is not known.
    first_segment: u32,
}

impl CheckpointName {
    fn parse(name: &str) -> Option<Self> {
        let (sequence, generation) = name.strip_suffix(CHECKPOINT_SUFFIX)?.split_once('-')?;
        Some(Self { sequence: sequence.parse().ok()?, generation: generation.parse().ok()? })
    }

    fn path(self, dir: &Path) -> PathBuf {
        dir.join(format!("{:016}-{:08}{CHECKPOINT_SUFFIX}", self.sequence, self.generation))
    }
}

fn chunks_dir(dir: &Path, generation: u32) -> PathBuf {
    dir.join(format!("{CHUNKS_PREFIX}{generation:08}"))
}

/// What a directory was opened to.
pub(super) struct Opened {
    pub(super) store: Store,
    pub(super) state: State,
    pub(super) raft_state: Option<Bytes>,
    pub(super) quarantined: Vec<Quarantined>,
}

/// Opens a directory with its newest whole checkpoint, or empty.
pub(super) fn open(dir: &Path, files: Arc<dyn FileSystem>, options: PartitionOptions) -> Result<Opened, OpenError> {
    let failed = |source| OpenError::Io { dir: dir.to_owned(), source };
    files.create_dir_all(dir).map_err(failed)?;
    let names = files.list(dir).map_err(failed)?;
    for name in names.iter().filter(|name| name.ends_with(STAGED_SUFFIX)) {
        files.remove_file(&dir.join(name)).map_err(failed)?;
    }
    let mut found: Vec<_> = names.iter().filter_map(|name| CheckpointName::parse(name)).collect();
    found.sort_unstable();
    let next_sequence = found.last().map_or(1, |newest| newest.sequence + 1);
    let newest_generation =
        names.iter().filter_map(|name| name.strip_prefix(CHUNKS_PREFIX)?.parse().ok()).max().unwrap_or(0);
    let mut store = Store { dir: dir.to_owned(), files, options, generation: 0, next_sequence, kept: VecDeque::new() };
    let mut quarantined = Vec::new();
    while let Some(name) = found.pop() {
        match store.load(name) {
            Ok((state, raft_state)) => {
                store.generation = name.generation;
                store.keep_loaded(name, &state, &found);
                store.remove_unused();
                store.remove_strays(&state);
                return Ok(Opened { store, state, raft_state: Some(raft_state), quarantined });
            }
            Err(error) if is_damage(&error) => quarantined.push(store.quarantine(name, &error).map_err(failed)?),
            Err(error) => return Err(failed(error)),
        }
    }
    store.generation = newest_generation + 1;
    // A damaged checkpoint's folder stays as it is, for whoever looks into it.
    let left = (newest_generation > 0 && quarantined.is_empty()).then_some(newest_generation);
    let chunks = store.begin_chunks(left).map_err(failed)?;
    let state = State::new(ChunkFiles::new(chunks, store.options.segment_bytes_max), store.options.head());
    Ok(Opened { store, state, raft_state: None, quarantined })
}

impl Store {
    /// An empty folder for chunk files. Without a checkpoint nothing counts that an earlier start `left`: its folder is emptied and
    /// renamed, because a full disk, on which a node has to start too, has no room for another.
    fn begin_chunks(&self, left: Option<u32>) -> io::Result<PathBuf> {
        let chunks = chunks_dir(&self.dir, self.generation);
        match left.map(|generation| chunks_dir(&self.dir, generation)) {
            Some(left) => {
                for name in self.files.list(&left)? {
                    self.files.remove_file(&left.join(name))?;
                }
                self.files.sync_dir(&left)?;
                self.files.rename(&left, &chunks)?;
            }
            None => self.files.create_dir_all(&chunks)?,
        }
        self.files.sync_dir(&self.dir)?;
        Ok(chunks)
    }

    /// The name of a checkpoint that is captured now.
    pub(super) fn next_name(&mut self) -> CheckpointName {
        let name = CheckpointName { sequence: self.next_sequence, generation: self.generation };
        self.next_sequence += 1;
        name
    }

    /// Whether nothing from another node has replaced the state since the name was given.
    pub(super) fn is_current(&self, name: CheckpointName) -> bool {
        name.generation == self.generation
    }

    fn load(&self, name: CheckpointName) -> io::Result<(State, Bytes)> {
        let bytes = self.files.read(&name.path(&self.dir))?;
        let decoded = decode(&bytes, &self.options)?;
        self.restore(decoded, name.generation)
    }

    /// The state of a checkpoint whose chunk files are in place. Cuts those files to what the checkpoint knows, after all of them
    /// were found to be whole.
    fn restore(&self, decoded: Decoded, generation: u32) -> io::Result<(State, Bytes)> {
        let chunks = chunks_dir(&self.dir, generation);
        let capacity = self.options.segment_bytes_max;
        let segments: Vec<_> = decoded
            .segments
            .into_iter()
            .map(|record| {
                let path = segment_path(&chunks, record.id);
                let segment = Segment::reopen(&*self.files, record.id, path, capacity, record.len)?;
                Ok((segment, record.coverage))
            })
            .collect::<io::Result<_>>()?;
        segments.iter().try_for_each(|(segment, _)| segment.cut())?;
        let files = ChunkFiles::restore(chunks, capacity, segments, decoded.next_segment);
        Ok((State::restore(decoded.heads, decoded.refs, files, self.options.head()), decoded.raft_state))
    }

    fn keep_loaded(&mut self, name: CheckpointName, state: &State, older: &[CheckpointName]) {
        self.kept.extend(older.iter().map(|&name| Kept { name, first_segment: 0 }));
        self.kept.push_back(Kept { name, first_segment: first_segment(state) });
    }

    fn quarantine(&self, name: CheckpointName, error: &io::Error) -> io::Result<Quarantined> {
        self.copy_chunks(name)?;
        let path = name.path(&self.dir);
        let aside = path.with_extension(&DAMAGED_SUFFIX[1..]);
        self.files.rename(&path, &aside)?;
        self.files.sync_dir(&self.dir)?;
        Ok(Quarantined { path: aside, reason: error.to_string() })
    }

    /// Copies the chunk files that a damaged checkpoint belongs to: the one before it, and the log, may not have all they hold.
    fn copy_chunks(&self, name: CheckpointName) -> io::Result<()> {
        let chunks = chunks_dir(&self.dir, name.generation);
        let copy = chunks
            .with_file_name(format!("{CHUNKS_PREFIX}{:08}-{:016}{DAMAGED_SUFFIX}", name.generation, name.sequence));
        self.files.create_dir_all(&copy)?;
        for file in self.names(&chunks) {
            write_synced(&*self.files, &copy.join(&file), &self.files.read(&chunks.join(&file))?)?;
        }
        self.files.sync_dir(&copy)
    }

    /// Makes a checkpoint durable whose chunks are, and reads it back, because the log before it goes next. `first_segment` is the
    /// oldest it needs.
    pub(super) fn save(&mut self, name: CheckpointName, bytes: &[u8], first_segment: u32) -> io::Result<()> {
        let path = name.path(&self.dir);
        write_atomically(&*self.files, &path, bytes)?;
        if self.files.read(&path)? != bytes {
            let text = format!("{} reads back differently", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let at = self.kept.partition_point(|kept| kept.name < name);
        self.kept.insert(at, Kept { name, first_segment });
        self.remove_unused();
        Ok(())
    }

    /// Replaces everything by a checkpoint from another node. Until the new one is durable nothing old is touched.
    pub(super) fn install(&mut self, bytes: &[u8], raft_state: &[u8]) -> io::Result<State> {
        let invalid = |malformed: crate::wire::Malformed| io::Error::new(io::ErrorKind::InvalidData, malformed);
        let (checkpoint, segments) = checkpoint::decode_transfer(bytes).map_err(invalid)?;
        let decoded = decode(checkpoint, &self.options)?;
        let lengths_agree = decoded.segments.len() == segments.len()
            && decoded.segments.iter().zip(&segments).all(|(record, bytes)| record.len == bytes.len());
        if !lengths_agree {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "segments of a transfer differ from its checkpoint",
            ));
        }
        let generation = self.generation + 1;
        let name = CheckpointName { generation, ..self.next_name() };
        let chunks = chunks_dir(&self.dir, generation);
        let installed = self.write_segments(&chunks, &decoded, &segments).and_then(|()| {
            let (state, _) = self.restore(decoded, generation)?;
            write_atomically(&*self.files, &name.path(&self.dir), &checkpoint::encode(&state, raft_state))?;
            Ok(state)
        });
        let state = match installed {
            Ok(installed) => installed,
            Err(error) => {
                self.report(self.files.remove_dir_all(&chunks), &chunks);
                return Err(error);
            }
        };
        self.generation = generation;
        // The log before the new checkpoint is another one: older checkpoints are of no use any more.
        for kept in std::mem::take(&mut self.kept) {
            let path = kept.name.path(&self.dir);
            self.report(self.files.remove_file(&path), &path);
        }
        self.kept.push_back(Kept { name, first_segment: first_segment(&state) });
        self.remove_unused();
        Ok(state)
    }

    fn write_segments(&self, chunks: &Path, decoded: &Decoded, segments: &[&[u8]]) -> io::Result<()> {
        self.files.create_dir_all(chunks)?;
        for (record, bytes) in decoded.segments.iter().zip(segments) {
            write_synced(&*self.files, &segment_path(chunks, record.id), bytes)?;
        }
        self.files.sync_dir(chunks)?;
        self.files.sync_dir(&self.dir)
    }

    /// Removes checkpoints beyond those that are kept, and chunk files that none of those needs. What cannot be
    /// removed costs room, no more: it is reported and tried again next time.
    fn remove_unused(&mut self) {
        while self.kept.len() > CHECKPOINTS_KEPT {
            let oldest = self.kept.pop_front().expect("more than none are kept");
            let path = oldest.name.path(&self.dir);
            self.report(self.files.remove_file(&path), &path);
        }
        let generations: BTreeSet<u32> = self.kept.iter().map(|kept| kept.name.generation).collect();
        for name in self.names(&self.dir) {
            let generation = name.strip_prefix(CHUNKS_PREFIX).and_then(|number| number.parse().ok());
            if generation.is_some_and(|generation| generation < self.generation && !generations.contains(&generation)) {
                let path = self.dir.join(name);
                self.report(self.files.remove_dir_all(&path), &path);
            }
        }
        let current = self.kept.iter().filter(|kept| kept.name.generation == self.generation);
        let needed_from = current.map(|kept| kept.first_segment).min().unwrap_or(0);
        self.remove_segments(|id| id < needed_from);
    }

    /// Removes chunk files that were begun after the checkpoint: the log brings their chunks again.
    fn remove_strays(&self, state: &State) {
        self.remove_segments(|id| id >= state.files.next_id());
    }

    fn remove_segments(&self, unused: impl Fn(u32) -> bool) {
        let chunks = chunks_dir(&self.dir, self.generation);
        for name in self.names(&chunks) {
            let id = name.split_once('.').and_then(|(id, _)| id.parse().ok());
            if id.is_some_and(&unused) {
                let path = chunks.join(name);
                self.report(self.files.remove_file(&path), &path);
            }
        }
    }

    fn names(&self, dir: &Path) -> Vec<String> {
        self.files.list(dir).unwrap_or_else(|error| {
            tracing::warn!(dir = %dir.display(), %error, "could not list a partition's files");
            Vec::new()
        })
    }

    fn report(&self, result: io::Result<()>, path: &Path) {
        if let Err(error) = result {
            tracing::warn!(path = %path.display(), %error, "could not remove an unused file");
        }
    }
}

pub(super) fn first_segment(state: &State) -> u32 {
    state.files.list().iter().next().map_or(state.files.next_id(), |segment| segment.id())
}

/// Whether a file is not as it was written, rather than not to be read at the moment.
fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound)
}

fn decode(bytes: &[u8], options: &PartitionOptions) -> io::Result<Decoded> {
    checkpoint::decode(bytes, options.head()).map_err(|malformed| io::Error::new(io::ErrorKind::InvalidData, malformed))
}
