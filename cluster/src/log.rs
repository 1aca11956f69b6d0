//! The log that all groups of a node share: the write-ahead log.
//!
//! ```text
//! appends of all groups -> queue -> writer thread -> one write, one sync -> callbacks
//!                                       |
//!                     pre-written segments, recycled when every group has purged them
//! ```
//! Entries and votes are durable when their callback says so, in the order they were handed in. The log knows nothing of Raft's
//! rules: what may be appended, truncated or purged is decided in [`crate::raft`]. Bytes: `docs/format/log.md`.
//!
//! Disk full: [`Room`] refuses proposals while everything already proposed has its room. Failed sync: the log ends, see
//! [`Log::failed`]. Damage: [`RecoveryReport`].

pub mod body;
pub mod entry;
pub mod record;
pub mod segment;

mod damage;
mod handle;
mod index;
mod recovery;
mod repair;
mod room;
mod spare;
mod worker;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use pharos_model::Clock;
use tokio::sync::watch;

use crate::fs::{File, Fs};
use crate::metrics::LogMetrics;
use entry::GroupId;
use index::GroupLog;
use spare::{Spare, Spares};
use worker::Worker;
use writer::{Kept, Queue, Writer};

pub use damage::Damage;
pub use handle::GroupHandle;
pub use recovery::{GroupLoss, Quarantined, RecoveryReport};
pub use room::{NoRoom, Reservation, Room};
pub use writer::Done;

/// How a log uses its disk and memory.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// Size of a segment file. Default 64 MiB.
    pub segment_bytes: u64,
    /// Size of the first segment of a fresh log, smaller for a quick start. Default 8 MiB.
    pub first_segment_bytes: u64,
    /// Largest payload of a record. Default 1 MiB and 64 KiB: the largest entry with its lengths.
    pub record_bytes_max: u64,
    /// Pre-written segments kept ready. Default 1.
    pub spare_segments: usize,
    /// The writer takes about so much at once. Default 8 MiB.
    pub batch_bytes_max: usize,
    /// Entries of one group kept in memory once they are written. Default 4 MiB.
    pub cache_bytes_max: u64,
    /// Pause before a write that failed is tried again. Default 1 s.
    pub retry_interval: Duration,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            first_segment_bytes: 8 << 20,
            record_bytes_max: (1 << 20) + (64 << 10),
            spare_segments: 1,
            batch_bytes_max: 8 << 20,
            cache_bytes_max: 4 << 20,
            retry_interval: Duration::from_secs(1),
        }
    }
}

impl LogOptions {
    /// Offsets in a segment are 32 bits wide, and a segment must have room for more than one record.
    fn validate(&self) -> Result<(), OpenError> {
        let least = 4 * self.record_bytes_max;
        for (field, bytes) in [("segment_bytes", self.segment_bytes), ("first_segment_bytes", self.first_segment_bytes)]
        {
            if bytes < least || bytes > u64::from(u32::MAX) {
                return Err(OpenError::Option { field, bytes, least });
            }
        }
        if self.spare_segments == 0 {
            return Err(OpenError::Option { field: "spare_segments", bytes: 0, least: 1 });
        }
        Ok(())
    }
}

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("log file {path}")]
    Io { path: PathBuf, source: io::Error },
    #[error("log file {path} has version {version}, which this program does not know")]
    Version { path: PathBuf, version: u32 },
    #[error("log segment {segment} has a record of unknown content at offset {offset}")]
    UnknownRecord { segment: u64, offset: u32 },
    #[error("log segment {segment} is damaged again right after its repair")]
    RepairFailed { segment: u64 },
    #[error("log option {field} is {bytes}, allowed are {least} to 4294967295")]
    Option { field: &'static str, bytes: u64, least: u64 },
    #[error("starting a log thread")]
    Thread(#[source] io::Error),
}

/// Why something was not written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    #[error("the log is closed")]
    Stopped,
    #[error("the log failed: {reason}")]
    Failed { reason: String },
    #[error("a record of {bytes} bytes does not fit a segment of {max}")]
    TooLarge { bytes: u64, max: u64 },
    #[error("reading log segment {segment} at offset {offset}: {reason}")]
    Read { segment: u64, offset: u32, reason: String },
    #[error("log segment {segment} is damaged at offset {offset}")]
    Damaged { segment: u64, offset: u32 },
}

/// A segment in use.
#[derive(Clone, Debug)]
struct SegmentFile {
    file: Arc<dyn File>,
    len: u64,
}

struct Shared {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    options: LogOptions,
    clock: Arc<dyn Clock>,
    metrics: LogMetrics,
    queue: Queue,
    room: Arc<Room>,
    spares: Arc<Spares>,
    groups: RwLock<BTreeMap<GroupId, Arc<GroupLog>>>,
    segments: RwLock<BTreeMap<u64, SegmentFile>>,
    failed: watch::Sender<Option<String>>,
    damage: Mutex<Damage>,
}

/// A node's log. Stops its threads when dropped.
pub struct Log {
    shared: Arc<Shared>,
    threads: Mutex<Vec<Worker>>,
}

impl Log {
    /// Opens the log in `dir`, which must be held by this process alone, and reads it back. Blocks.
    pub fn open(
        fs: Arc<dyn Fs>,
        dir: &Path,
        options: LogOptions,
        clock: Arc<dyn Clock>,
        metrics: LogMetrics,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        options.validate()?;
        let io_error = |source| OpenError::Io { path: dir.to_owned(), source };
        make_dir(&*fs, dir).map_err(io_error)?;
        let (recovered, report) = recovery::recover(&*fs, dir)?;
        metrics.corruptions.inc_by(report.quarantined.iter().map(|found| found.ranges.len().max(1) as u64).sum());
        metrics.quarantined_segments.inc_by(report.quarantined.len() as u64);
        metrics.damaged_groups.set(report.damage.groups().count() as i64);
        metrics.lost_entries.inc_by(report.losses.iter().map(|loss| loss.entries).sum());

        let room = Arc::new(Room::new(room_limits(&options), metrics.clone()));
        let spare_options = spare::Options {
            segment_bytes: options.segment_bytes,
            ready: options.spare_segments,
            retry_interval: options.retry_interval,
        };
        let spares = Spares::open(Arc::clone(&fs), dir, spare_options, Arc::clone(&room)).map_err(io_error)?;
        let kept = |(&id, group): (&GroupId, &recovery::RecoveredGroup)| {
            let records = recovered.newest_records.get(&id).copied().unwrap_or(0);
            (id, Kept { hard: group.hard, records, last: group.last() })
        };
        let mut kept: BTreeMap<GroupId, Kept> = recovered.groups.iter().map(kept).collect();
        let newest = recovered.segments.keys().next_back().copied();
        let current = match recovered.tail {
            Some(tail) => tail,
            None => {
                let number = newest.map_or(1, |newest| newest + 1);
                let first = first_segment(&*fs, dir, &options, number, &kept).map_err(io_error)?;
                kept.values_mut().for_each(|kept| kept.records = 0);
                first
            }
        };
        let groups = recovered.groups.into_iter().map(|(id, group)| {
            let log = GroupLog::new(id, options.cache_bytes_max, metrics.cached_bytes.clone());
            (id, Arc::new(log.recovered(group.hard, group.entries)))
        });
        let shared = Arc::new(Shared {
            groups: RwLock::new(groups.collect()),
            segments: RwLock::new(recovered.segments),
            queue: Queue::new(metrics.queued_requests.clone()),
            room,
            spares: Arc::new(spares),
            failed: watch::Sender::new(None),
            damage: Mutex::new(report.damage.clone()),
            fs,
            dir: dir.to_owned(),
            options,
            clock,
            metrics,
        });
        shared.add_segment(current.segment, &current.file, current.len);
        let log = Self { shared, threads: Mutex::default() };
        log.spawn_threads(current, kept).map_err(OpenError::Thread)?;
        Ok((log, report))
    }

    fn spawn_threads(&self, current: writer::Current, groups: BTreeMap<GroupId, Kept>) -> io::Result<()> {
        let spares = Arc::clone(&self.shared.spares);
        let prepare = move || spares.prepare_until_stopped();
        let mut threads = self.threads.lock();
        threads.push(Worker::spawn("log-prepare", &self.shared.fs, prepare)?);
        let writer = Writer::new(Arc::clone(&self.shared), current, groups);
        threads.push(Worker::spawn("log-write", &self.shared.fs, move || writer.run())?);
        Ok(())
    }

    /// The part of one group, made when it is asked for first.
    pub fn group(&self, id: GroupId) -> GroupHandle {
        let mut groups = self.shared.groups.write();
        let fresh = || {
            let metrics = &self.shared.metrics;
            Arc::new(GroupLog::new(id, self.shared.options.cache_bytes_max, metrics.cached_bytes.clone()))
        };
        let group = Arc::clone(groups.entry(id).or_insert_with(fresh));
        GroupHandle::new(Arc::clone(&self.shared), group)
    }

    /// The groups that have entries, or had before a checkpoint covered them.
    pub fn groups(&self) -> Vec<GroupId> {
        let groups = self.shared.groups.read();
        groups.values().filter(|group| group.is_begun()).map(|group| group.id).collect()
    }

    /// Groups that lost something to damage and have not been made anew.
    pub fn damage(&self) -> Damage {
        self.shared.damage.lock().clone()
    }

    /// A group's replica is of no use for another reason, and is to be made anew as if its log were damaged. Blocks.
    pub fn note_damage(&self, group: GroupId) -> io::Result<()> {
        self.change_damage(|damage| damage.add(&Damage::of([group], false)))
    }

    /// A group is made anew. Blocks.
    pub fn forget_damage(&self, group: GroupId) -> io::Result<()> {
        self.change_damage(|damage| damage.remove(group))
    }

    /// Nobody else counts on what any group lost. Blocks.
    pub fn forget_all_damage(&self) -> io::Result<()> {
        self.change_damage(|damage| *damage = Damage::default())
    }

    fn change_damage(&self, change: impl FnOnce(&mut Damage)) -> io::Result<()> {
        let mut damage = self.shared.damage.lock();
        let mut changed = damage.clone();
        change(&mut changed);
        if changed != *damage {
            damage::write(&*self.shared.fs, &self.shared.dir, &changed)?;
            self.shared.metrics.damaged_groups.set(changed.groups().count() as i64);
            *damage = changed;
        }
        Ok(())
    }

    /// Where proposers get room before they propose.
    pub fn room(&self) -> &Arc<Room> {
        &self.shared.room
    }

    /// Says why, once the log cannot be written any more. Then only a new process can go on.
    pub fn failed(&self) -> watch::Receiver<Option<String>> {
        self.shared.failed.subscribe()
    }

    /// Bytes of all segments in use.
    pub fn live_bytes(&self) -> u64 {
        self.shared.segments.read().values().map(|segment| segment.len).sum()
    }

    /// Writes what waits, then ends the threads. Later requests get [`LogError::Stopped`]. Blocks.
    pub fn stop(&self) {
        self.shared.queue.stop();
        self.shared.spares.stop();
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a log thread panicked");
            }
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.stop();
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("dir", &self.shared.dir).finish_non_exhaustive()
    }
}

/// Whether a file of this name in its directory belongs to a log; copies of damaged segments are in a folder of their own.
pub(crate) fn is_file_name(name: &str) -> bool {
    segment::parse_name(name).is_some()
        || segment::is_spare_name(name)
        || name.ends_with(".tmp")
        || name == damage::NAME
}

/// Creates the directory and removes drafts that a crash left.
fn make_dir(fs: &dyn Fs, dir: &Path) -> io::Result<()> {
    fs.create_dir_all(dir)?;
    if let Some(parent) = dir.parent() {
        fs.sync_dir(parent)?;
    }
    for name in fs.list(dir)?.iter().filter(|name| name.ends_with(".tmp")) {
        fs.remove(&dir.join(name))?;
    }
    Ok(())
}

fn first_segment(
    fs: &dyn Fs,
    dir: &Path,
    options: &LogOptions,
    number: u64,
    groups: &BTreeMap<GroupId, Kept>,
) -> io::Result<writer::Current> {
    let path = segment::path(dir, number).with_extension("tmp");
    let file = fs.create(&path)?;
    spare::write_zeros(&*file, 0, options.first_segment_bytes)?;
    writer::start(fs, dir, Spare { path, file, len: options.first_segment_bytes }, number, groups)
}

fn room_limits(options: &LogOptions) -> room::Limits {
    /// Room for the states of a thousand groups, and as much again for their votes, purges and blank entries.
    const HOUSEKEEPING_BYTES_MAX: u64 = 128 << 10;
    let housekeeping = HOUSEKEEPING_BYTES_MAX.min(options.segment_bytes / 16);
    room::Limits { record_bytes_max: options.record_bytes_max, segment_overhead: housekeeping, housekeeping }
}

impl Shared {
    fn add_segment(&self, number: u64, file: &Arc<dyn File>, len: u64) {
        let mut segments = self.segments.write();
        segments.insert(number, SegmentFile::new(file, len));
        self.metrics.live_bytes.set(segments.values().map(|segment| segment.len as i64).sum());
    }

    fn remove_segments_before(&self, number: u64) -> BTreeMap<u64, SegmentFile> {
        let mut segments = self.segments.write();
        let kept = segments.split_off(&number);
        let removed = std::mem::replace(&mut *segments, kept);
        self.metrics.live_bytes.set(segments.values().map(|segment| segment.len as i64).sum());
        removed
    }

    fn put_back_segments(&self, mut older: BTreeMap<u64, SegmentFile>) {
        let mut segments = self.segments.write();
        segments.append(&mut older);
        self.metrics.live_bytes.set(segments.values().map(|segment| segment.len as i64).sum());
    }
}
