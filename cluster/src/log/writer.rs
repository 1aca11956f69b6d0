//! The one thread that writes: everything that waits, of all groups, in one write and one sync.
//!
//! Invariants: a record is acknowledged after a sync that followed its write; a batch is written when the one before it is on
//! disk; a segment is sealed, on disk, before its successor exists. A write that fails is held and tried again, nothing is
//! acknowledged meanwhile. A failed sync ends the log: the kernel may have dropped what it could not write, and would call
//! the next sync a success.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::IntGauge;
use tracing::{error, info, warn};

use super::body;
use super::entry::{Entry, GroupId, HardState, LogId, Vote};
use super::index::{GroupLog, Place};
use super::record::{self, Frame, Kind, record_len};
use super::segment::{self, HEADER_BYTES};
use super::spare::Spare;
use super::worker::Signal;
use super::{LogError, SegmentFile, Shared};
use crate::fs::{File, Fs};

/// The buffer is given back when a rare large batch made it bigger than this.
const BUFFER_BYTES_KEPT: usize = 4 << 20;
const SEAL_BYTES: usize = record_len(0);
/// Groups' records carry this where no group is meant.
const NO_GROUP: GroupId = GroupId(u32::MAX);

/// Called once, from the writer's thread, when the outcome is known.
pub type Done = Box<dyn FnOnce(Result<(), LogError>) + Send>;

/// Something to make durable.
pub(super) struct Request {
    pub group: Arc<GroupLog>,
    pub work: Work,
    pub done: Option<Done>,
}

pub(super) enum Work {
    Append { entries: Vec<Entry>, epoch: u32, committed: Option<LogId> },
    Vote(Vote),
    Truncate(u64),
    Purge(LogId),
    Drop(u64),
}

impl Work {
    fn bytes(&self) -> usize {
        match self {
            Self::Append { entries, .. } => entries.iter().map(|entry| body::entry_len(&entry.payload)).sum(),
            Self::Vote(_) | Self::Truncate(_) | Self::Purge(_) | Self::Drop(_) => 0,
        }
    }
}

/// What waits for the writer. Bounded by its users: a group's core hands in one request at a time.
pub(super) struct Queue {
    state: Mutex<QueueState>,
    changed: Signal,
    length: IntGauge,
}

#[derive(Default)]
struct QueueState {
    requests: VecDeque<Request>,
    stopping: bool,
}

impl Queue {
    pub(super) fn new(length: IntGauge) -> Self {
        Self { state: Mutex::default(), changed: Signal::default(), length }
    }

    /// Hands a request in; it comes back when the log has stopped.
    pub(super) fn push(&self, request: Request) -> Result<(), Request> {
        let mut state = self.state.lock();
        if state.stopping {
            return Err(request);
        }
        state.requests.push_back(request);
        self.length.set(state.requests.len() as i64);
        self.changed.notify();
        Ok(())
    }

    /// Everything that waits, up to about `bytes_max`; `None` when stopped and empty.
    fn next(&self, bytes_max: usize) -> Option<Vec<Request>> {
        let mut state = self.state.lock();
        while state.requests.is_empty() {
            if state.stopping {
                return None;
            }
            self.changed.wait(&mut state);
        }
        let mut bytes = 0;
        let mut batch = Vec::with_capacity(state.requests.len());
        while bytes < bytes_max
            && let Some(request) = state.requests.pop_front()
        {
            bytes += request.work.bytes();
            batch.push(request);
        }
        self.length.set(state.requests.len() as i64);
        Some(batch)
    }

    /// Waits, and tells whether the log is to stop.
    fn pause(&self, interval: Duration) -> bool {
        let mut state = self.state.lock();
        if !state.stopping {
            self.changed.wait_for(&mut state, interval);
        }
        state.stopping
    }

    pub(super) fn stop(&self) {
        self.state.lock().stopping = true;
        self.changed.notify();
    }
}

/// The segment that is written to.
#[derive(Debug)]
pub(super) struct Current {
    pub segment: u64,
    pub file: Arc<dyn File>,
    /// The file's size: nothing is written beyond.
    pub len: u64,
    /// Where the next record goes.
    pub end: u64,
}

/// What the writer knows of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    pub hard: HardState,
    /// Its records in the current segment, without the base.
    pub records: u64,
    /// Index of its newest entry, or of the newest one purged.
    pub last: Option<u64>,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    current: Current,
    /// The batch being put together; it goes to `current.end`.
    buffer: Vec<u8>,
    placed: Vec<(Arc<GroupLog>, u64, u32, Place)>,
    records: u64,
    /// The groups' states as of the last record put.
    groups: BTreeMap<GroupId, Kept>,
    /// Whether segments may have become free.
    purged: bool,
    stalled: bool,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, current: Current, groups: BTreeMap<GroupId, Kept>) -> Self {
        shared.metrics.current_segment.set(current.segment as i64);
        let writer = Self {
            shared,
            current,
            buffer: Vec::new(),
            placed: Vec::new(),
            records: 0,
            groups,
            purged: false,
            stalled: false,
        };
        writer.report_room();
        writer
    }

    /// The thread's body: until stopped, and what waits by then is written too.
    pub(super) fn run(mut self) {
        let mut failed = None;
        while let Some(batch) = self.shared.queue.next(self.shared.options.batch_bytes_max) {
            if failed.is_none()
                && let Err(error) = self.commit(&batch)
            {
                self.fail(&error);
                failed = Some(error);
            }
            let outcome = failed.clone().map_or(Ok(()), Err);
            for done in batch.into_iter().filter_map(|request| request.done) {
                done(outcome.clone());
            }
        }
    }

    fn fail(&self, error: &LogError) {
        if matches!(error, LogError::Stopped) {
            return;
        }
        error!(%error, "the log cannot be trusted any more, no write is acknowledged until the process is started again");
        self.shared.room.set_failed(error.to_string());
        self.shared.failed.send_replace(Some(error.to_string()));
    }

    fn commit(&mut self, batch: &[Request]) -> Result<(), LogError> {
        for request in batch {
            self.put_request(request)?;
        }
        self.flush()?;
        let pinned = |work: &Work| matches!(work, Work::Truncate(_) | Work::Purge(_) | Work::Drop(_));
        for request in batch.iter().filter(|request| pinned(&request.work)) {
            request.group.unpin();
        }
        if std::mem::take(&mut self.purged) {
            self.free_segments();
        }
        Ok(())
    }

    fn put_request(&mut self, request: &Request) -> Result<(), LogError> {
        let group = request.group.id;
        match &request.work {
            Work::Append { entries, epoch, committed } => {
                if let Some(committed) = *committed {
                    self.put(group, Kind::Committed, 24, |out| body::put_log_id(out, committed))?;
                    self.kept(group).hard.committed = Some(committed);
                }
                for entry in entries {
                    let len = body::entry_len(&entry.payload);
                    let place = self.put(group, Kind::Entry, len, |out| body::put_entry(out, entry))?;
                    self.placed.push((Arc::clone(&request.group), entry.id.index, *epoch, place));
                    self.kept(group).last = Some(entry.id.index);
                }
            }
            Work::Vote(vote) => {
                self.put(group, Kind::Vote, 17, |out| body::put_vote(out, *vote))?;
                self.kept(group).hard.vote = Some(*vote);
            }
            Work::Truncate(index) => {
                self.put(group, Kind::Truncate, 8, |out| body::put_index(out, *index))?;
                self.kept(group).last = index.checked_sub(1);
            }
            Work::Purge(upto) => {
                self.put(group, Kind::Purge, 24, |out| body::put_log_id(out, *upto))?;
                let kept = self.kept(group);
                kept.hard.purged = kept.hard.purged.max(Some(*upto));
                kept.last = kept.last.max(Some(upto.index));
                self.purged = true;
            }
            Work::Drop(config) => {
                self.put(group, Kind::Drop, 8, |out| body::put_index(out, *config))?;
                let kept = self.kept(group);
                (kept.hard, kept.last) = (kept.hard.dropped_at(*config), None);
                self.purged = true;
            }
        }
        Ok(())
    }

    fn kept(&mut self, group: GroupId) -> &mut Kept {
        self.groups.entry(group).or_default()
    }

    /// Adds a record to the batch, in a new segment if this one has no room left.
    fn put(
        &mut self,
        group: GroupId,
        kind: Kind,
        payload_len: usize,
        payload: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Place, LogError> {
        let len = record_len(payload_len);
        if !self.fits(len) {
            self.rotate()?;
        }
        if !self.fits(len) {
            return Err(LogError::TooLarge { bytes: len as u64, max: self.current.len });
        }
        Ok(self.encode(group, kind, payload))
    }

    fn fits(&self, len: usize) -> bool {
        self.current.end + (self.buffer.len() + len + SEAL_BYTES) as u64 <= self.current.len
    }

    fn encode(&mut self, group: GroupId, kind: Kind, payload: impl FnOnce(&mut Vec<u8>)) -> Place {
        let batch_start = self.current.end as u32;
        let offset = batch_start + self.buffer.len() as u32;
        let before = self.buffer.len();
        let frame = Frame { segment: self.current.segment, offset, batch_start, group, kind };
        record::encode(&mut self.buffer, frame, payload);
        self.records += 1;
        if kind != Kind::Seal {
            self.kept(group).records += 1;
        }
        Place { segment: self.current.segment, offset, len: (self.buffer.len() - before) as u32 }
    }

    /// Writes the batch and syncs it; then its entries have places.
    fn flush(&mut self) -> Result<(), LogError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        while let Err(error) = self.current.file.write_all_at(&self.buffer, self.current.end) {
            self.hold(&error)?;
        }
        self.sync()?;
        self.resume();
        self.current.end += self.buffer.len() as u64;
        let metrics = &self.shared.metrics;
        metrics.batches.inc();
        metrics.records.inc_by(std::mem::take(&mut self.records));
        metrics.written_bytes.inc_by(self.buffer.len() as u64);
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_BYTES_KEPT);
        for (group, index, epoch, place) in self.placed.drain(..) {
            group.place(index, epoch, place);
        }
        self.report_room();
        Ok(())
    }

    fn sync(&self) -> Result<(), LogError> {
        let before = self.shared.clock.monotonic();
        let synced = self.current.file.sync_data();
        let took = self.shared.clock.monotonic().saturating_sub(before);
        self.shared.metrics.sync_seconds.observe(took.as_secs_f64());
        synced.map_err(|error| {
            self.shared.metrics.writes_failed.inc();
            let path = segment::path(&self.shared.dir, self.current.segment);
            LogError::Failed { reason: format!("sync of {}: {error}", path.display()) }
        })
    }

    /// Waits before a failed write is tried again. Proposals are refused meanwhile.
    fn hold(&mut self, error: &io::Error) -> Result<(), LogError> {
        self.shared.metrics.writes_failed.inc();
        if !std::mem::replace(&mut self.stalled, true) {
            warn!(%error, segment = self.current.segment, "cannot write to the log, trying again until it works");
        }
        self.shared.room.set_stalled(Some(error.to_string()));
        if self.shared.queue.pause(self.shared.options.retry_interval) { Err(LogError::Stopped) } else { Ok(()) }
    }

    fn resume(&mut self) {
        if std::mem::take(&mut self.stalled) {
            info!(segment = self.current.segment, "the log can be written again");
            self.shared.room.set_stalled(None);
        }
    }

    /// Seals the current segment and goes on in the next. The seal is a batch of its own: it proves all before it durable.
    fn rotate(&mut self) -> Result<(), LogError> {
        self.flush()?;
        self.encode(NO_GROUP, Kind::Seal, |_| {});
        self.flush()?;
        let next = self.current.segment + 1;
        loop {
            let Some(spare) = self.shared.spares.take() else { return Err(LogError::Stopped) };
            let path = spare.path.clone();
            match start(&*self.shared.fs, &self.shared.dir, spare, next, &self.groups) {
                Ok(current) => {
                    self.current = current;
                    break;
                }
                Err(error) => {
                    // The file may hold anything now; another one is prepared. Leftovers are removed by the next start.
                    drop(self.shared.fs.remove(&path));
                    self.hold(&error)?;
                }
            }
        }
        self.groups.values_mut().for_each(|kept| kept.records = 0);
        self.resume();
        self.shared.add_segment(next, &self.current.file, self.current.len);
        self.shared.metrics.current_segment.set(next as i64);
        self.report_room();
        Ok(())
    }

    /// Gives back the oldest segments as far as no group needs them. Only from the oldest on: a record may depend on those before.
    fn free_segments(&self) {
        let oldest = self.shared.groups.read().values().filter_map(|group| group.oldest_segment()).min();
        let needed = oldest.map_or(self.current.segment, |oldest| oldest.min(self.current.segment));
        let mut freed = self.shared.remove_segments_before(needed);
        while let Some((segment, file)) = freed.pop_first() {
            let path = segment::path(&self.shared.dir, segment);
            if let Err(error) = self.shared.spares.recycle(&path, Arc::clone(&file.file)) {
                // The later ones wait with it for the next purge: a start would take a gap between segments for damage.
                warn!(%error, segment, "cannot give back a log segment");
                freed.insert(segment, file);
                return self.shared.put_back_segments(freed);
            }
        }
    }

    fn report_room(&self) {
        self.shared.room.set_current_left(self.current.len.saturating_sub(self.current.end + SEAL_BYTES as u64));
    }
}

/// Makes a pre-written file the segment of this number: header and the groups' states first, then the name.
pub(super) fn start(
    fs: &dyn Fs,
    dir: &Path,
    spare: Spare,
    segment: u64,
    groups: &BTreeMap<GroupId, Kept>,
) -> io::Result<Current> {
    let mut bytes = segment::header(segment).to_vec();
    for (&group, kept) in groups {
        let frame =
            Frame { segment, offset: bytes.len() as u32, batch_start: HEADER_BYTES as u32, group, kind: Kind::Base };
        record::encode(&mut bytes, frame, |out| body::put_base(out, &kept.hard, kept.records, kept.last));
    }
    let end = bytes.len() as u64;
    if end > spare.len {
        return Err(io::Error::other(format!("the states of {} groups do not fit a segment", groups.len())));
    }
    spare.file.write_all_at(&bytes, 0)?;
    spare.file.sync_data()?;
    fs.rename(&spare.path, &segment::path(dir, segment))?;
    fs.sync_dir(dir)?;
    Ok(Current { segment, file: spare.file, len: spare.len, end })
}

impl SegmentFile {
    pub(super) fn new(file: &Arc<dyn File>, len: u64) -> Self {
        Self { file: Arc::clone(file), len }
    }
}
