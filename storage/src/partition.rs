//! What one Raft group keeps: a head for each tenant, their chunk files, and checkpoints that bound how much log is
//! replayed.
//!
//! [`Partition::apply`] is the only way to change a head; see `docs/adr/0001-apply-decides.md`. One caller applies,
//! checkpoints and installs; any number reads beside it. Getting commands agreed on and kept until a checkpoint covers
//! them is the log's business.
//! Invariant: a checkpoint and the commands after it give the same answers as all commands did.

mod checkpoint;
mod metrics;
mod sections;
mod state;
mod store;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock, RwLockWriteGuard};
use pharos_model::{BlockSpan, LabelSet, Matcher, TenantId, Texts, TimeRange, TimestampMs};

use crate::amendments::{Amendments, Reliance, Revision};
use crate::chunk::files::SegmentList;
use crate::fs::FileSystem;
use crate::head::{Head, HeadExtent, HeadOptions, HeadSelection, SeriesExemplars};
use crate::index::stats::IndexStats;
use crate::record::{Command, encode_delete_answer, encode_malformed_answer};
use crate::select::{Caller, ReadError, SampleColumns, SelectRequest};

pub use metrics::Metrics;

use state::State;
use store::{CheckpointName, Store};

/// How a partition is kept. The same on all replicas.
#[derive(Clone, Copy, Debug)]
pub struct PartitionOptions {
    /// Secret of the hash tables, so that senders cannot choose labels that collide. Default 0: for tests.
    pub hash_seed: u64,
    /// Exemplars kept of a tenant. Default 4096: with 24 partitions about Prometheus' 100,000.
    pub exemplars_max: usize,
    /// A chunk file is closed at this size. Default 8 MiB.
    pub segment_bytes_max: usize,
    /// [`Partition::writable`] says no when more than this waits to be written. Default 4 MiB.
    pub unwritten_bytes_max: usize,
}

impl Default for PartitionOptions {
    fn default() -> Self {
        Self { hash_seed: 0, exemplars_max: 4096, segment_bytes_max: 8 << 20, unwritten_bytes_max: 4 << 20 }
    }
}

impl PartitionOptions {
    fn head(&self) -> HeadOptions {
        HeadOptions { hash_seed: self.hash_seed, exemplars_max: self.exemplars_max }
    }
}

/// Why a partition cannot be opened. Damaged checkpoints are no reason: they are quarantined and named. What cannot be read for
/// want of a descriptor or of memory is not damaged.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("partition directory {dir}")]
    Io { dir: PathBuf, source: io::Error },
}

/// Why a checkpoint was not written or not installed. The partition is as before and goes on, but for one.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error("writing chunks before a checkpoint")]
    Chunks(#[source] io::Error),
    /// Chunks that were written may be gone, so no checkpoint can be made until the partition is opened anew.
    #[error("making chunks durable before a checkpoint")]
    Sync(#[source] io::Error),
    #[error("writing a checkpoint")]
    Write(#[source] io::Error),
    #[error("installing a checkpoint")]
    Install(#[source] io::Error),
    #[error("the state was replaced after it was captured")]
    Replaced,
}

/// The state of a partition at one moment, on its way to the disk.
#[derive(Debug)]
pub struct CheckpointCapture {
    bytes: Vec<u8>,
    segments: SegmentList,
    first_segment: u32,
    chunks_dir: PathBuf,
    name: CheckpointName,
}

/// Full chunks cannot be written fast enough, or there is no room for them: no new samples should be proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} bytes of chunks wait to be written, the limit is {limit}")]
pub struct NotWritable {
    pub bytes: usize,
    pub limit: usize,
}

/// A checkpoint that could not be read, and where it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    pub path: PathBuf,
    pub reason: String,
}

/// An opened partition.
#[derive(Debug)]
pub struct Opened {
    pub partition: Partition,
    /// What the caller gave with the checkpoint that was loaded; `None` when there was none. Commands after it are to
    /// be applied again.
    pub raft_state: Option<Bytes>,
    /// Checkpoints that were passed over. The caller has to check that the log reaches back to what was loaded.
    pub quarantined: Vec<Quarantined>,
}

/// What a head is made of, for `/api/v1/status/tsdb`.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadStats {
    pub extent: HeadExtent,
    pub index: IndexStats,
}

/// The state of one Raft group.
#[derive(Debug)]
pub struct Partition {
    state: Arc<RwLock<State>>,
    store: Mutex<Store>,
    files: Arc<dyn FileSystem>,
    metrics: Metrics,
    amendments: Amendments,
    /// Bytes of chunks that wait to be written, as of the last command.
    unwritten_bytes: AtomicUsize,
    unwritten_bytes_max: usize,
}

impl Partition {
    /// Opens the directory of a partition, or begins one. Loads the newest checkpoint that is whole; what is damaged
    /// is set aside.
    pub fn open(
        dir: &Path,
        files: Arc<dyn FileSystem>,
        options: PartitionOptions,
        metrics: &Metrics,
    ) -> Result<Opened, OpenError> {
        let opened = store::open(dir, Arc::clone(&files), options)?;
        for Quarantined { path, reason } in &opened.quarantined {
            tracing::error!(path = %path.display(), reason, "set a damaged checkpoint aside");
            metrics.counters().quarantined_checkpoints.inc();
        }
        let state = Arc::new(RwLock::new(opened.state));
        metrics.watch(&state);
        let partition = Self {
            state,
            store: Mutex::new(opened.store),
            files,
            metrics: metrics.clone(),
            amendments: Amendments::default(),
            unwritten_bytes: AtomicUsize::new(0),
            unwritten_bytes_max: options.unwritten_bytes_max,
        };
        Ok(Opened { partition, raft_state: opened.raft_state, quarantined: opened.quarantined })
    }

    /// Applies one committed command (see [`crate::record`]) and returns the encoded answer. Deterministic, and never
    /// fails: chunks that cannot be written wait in memory.
    pub fn apply(&self, command: &[u8]) -> Vec<u8> {
        let command = match Command::decode(command) {
            Ok(command) => command,
            Err(error) => {
                tracing::error!(%error, "a committed command cannot be decoded");
                self.metrics.counters().malformed_commands.inc();
                return encode_malformed_answer();
            }
        };
        let mut state = self.state.write();
        let answer = self.apply_decoded(command, &mut state);
        let flushed = state.flush_if_due(&*self.files);
        self.note_flush(&state, &flushed);
        answer
    }

    fn apply_decoded(&self, command: Command, state: &mut State) -> Vec<u8> {
        match command {
            Command::Append(record) => {
                let (head, mut shared) = state.head_for_append(&record.tenant);
                let (answer, counts) = head.append(&record, &mut shared);
                self.metrics.count_append(&answer, &counts);
                if counts.samples > 0 {
                    self.amendments.note_samples(&record.tenant, record.touched());
                }
                answer.encode()
            }
            Command::SealFloor { tenant, until_ms } => {
                if let Some((head, _)) = state.head_mut(&tenant) {
                    head.seal_floor(until_ms);
                }
                Vec::new()
            }
            Command::DropCovered { tenant, until_ms } => {
                let (series, chunks) = state.drop_covered(&tenant, until_ms);
                let counters = self.metrics.counters();
                counters.series_removed.inc_by(series);
                counters.chunks_removed.inc_by(chunks);
                counters.truncations.inc();
                Vec::new()
            }
            Command::DeleteSeries(command) => {
                self.amendments.note(&command.tenant, command.range);
                let head = state.head_mut(&command.tenant);
                encode_delete_answer(head.map_or(0, |(head, _)| head.delete(&command)))
            }
        }
    }

    fn note_flush(&self, state: &State, flushed: &io::Result<()>) {
        if let Err(error) = flushed {
            tracing::warn!(%error, waiting = state.files.tail_bytes(), "could not write chunks, they stay in memory");
            self.metrics.counters().failed_chunk_writes.inc();
        }
        self.unwritten_bytes.store(state.files.tail_bytes(), Ordering::Relaxed);
    }

    /// Whether samples should be proposed to this partition. After a no the caller tries [`Self::flush`] now and then.
    pub fn writable(&self) -> Result<(), NotWritable> {
        let bytes = self.unwritten_bytes.load(Ordering::Relaxed);
        let limit = self.unwritten_bytes_max;
        if bytes <= limit { Ok(()) } else { Err(NotWritable { bytes, limit }) }
    }

    /// Tries to write the chunks that wait in memory. They are not lost when it fails.
    pub fn flush(&self) -> io::Result<()> {
        let mut state = self.state.write();
        let flushed = state.flush(&*self.files);
        self.note_flush(&state, &flushed);
        flushed
    }

    /// Makes everything that was applied durable, together with `raft_state`, which [`Self::open`] gives back:
    /// captures and saves.
    pub fn checkpoint(&self, raft_state: &[u8]) -> Result<(), CheckpointError> {
        self.capture_checkpoint(raft_state).and_then(|capture| self.save_checkpoint(capture))
    }

    /// The first, short half of a checkpoint: copies the state as it is. The caller applies nothing meanwhile; readers
    /// go on.
    pub fn capture_checkpoint(&self, raft_state: &[u8]) -> Result<CheckpointCapture, CheckpointError> {
        let name = self.store.lock().next_name();
        let mut state = self.state.write();
        let flushed = state.flush(&*self.files);
        self.note_flush(&state, &flushed);
        if let Err(error) = flushed {
            self.metrics.counters().failed_checkpoints.inc();
            return Err(CheckpointError::Chunks(error));
        }
        state.optimize();
        let state = RwLockWriteGuard::downgrade(state);
        Ok(CheckpointCapture {
            bytes: checkpoint::encode(&state, raft_state),
            segments: state.files.list().clone(),
            first_segment: store::first_segment(&state),
            chunks_dir: state.files.dir().to_owned(),
            name,
        })
    }

    /// The second half: brings a capture to the disk, while commands are applied. When this has returned, the log
    /// before the capture is not needed any more.
    pub fn save_checkpoint(&self, capture: CheckpointCapture) -> Result<(), CheckpointError> {
        let result = self.write_checkpoint(&capture);
        let counters = self.metrics.counters();
        if result.is_ok() {
            counters.checkpoints.inc()
        } else {
            counters.failed_checkpoints.inc()
        }
        result
    }

    fn write_checkpoint(&self, capture: &CheckpointCapture) -> Result<(), CheckpointError> {
        let mut store = self.store.lock();
        if !store.is_current(capture.name) {
            return Err(CheckpointError::Replaced);
        }
        capture.segments.iter().try_for_each(|segment| segment.sync()).map_err(CheckpointError::Sync)?;
        self.files.sync_dir(&capture.chunks_dir).map_err(CheckpointError::Sync)?;
        store.save(capture.name, &capture.bytes, capture.first_segment).map_err(CheckpointError::Write)
    }

    /// The whole state in one piece, for another node.
    pub fn export_checkpoint(&self) -> Vec<u8> {
        let (bytes, segments, lengths) = {
            let state = self.state.read();
            let segments = state.files.list().clone();
            let lengths: Vec<_> = segments.iter().map(|segment| segment.len()).collect();
            (checkpoint::encode(&state, &[]), segments, lengths)
        };
        checkpoint::encode_transfer(&bytes, &segments, &lengths)
    }

    /// Replaces the whole state, in memory and on disk, by what another node exported, and makes it durable together
    /// with `raft_state`. After an error everything is as before.
    pub fn install_checkpoint(&self, exported: &[u8], raft_state: &[u8]) -> Result<(), CheckpointError> {
        let mut store = self.store.lock();
        let state = store.install(exported, raft_state).map_err(CheckpointError::Install)?;
        let mut current = self.state.write();
        *current = state;
        self.amendments.note_everything();
        drop(current);
        self.unwritten_bytes.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Tenants that have a head here, in order.
    pub fn tenants(&self) -> Vec<TenantId> {
        let mut tenants: Vec<_> = self.state.read().by_tenant.keys().cloned().collect();
        tenants.sort_unstable();
        tenants
    }

    /// Has changes to samples at or before a time noted from now on, see [`Amendments`].
    pub(crate) fn rely(&self, tenant: &TenantId, until_ms: TimestampMs, since: Option<Revision>) -> Reliance {
        // While a command is applied it is not known whether its samples are there already.
        let _unchanged = self.state.read();
        self.amendments.rely(tenant, until_ms, since)
    }

    /// The matching series where there are certainly none: seen at a glance, without waiting for a command that is applied.
    pub(crate) fn select_none(&self, request: &SelectRequest) -> Option<HeadSelection> {
        let state = self.state.try_read()?;
        let has_none = state.head(&request.tenant).is_none_or(|head| head.index().surely_has_none(&request.matchers));
        has_none.then(|| HeadSelection::empty(request.range))
    }

    /// Matching series at this moment. An unknown tenant has none.
    pub fn select(&self, request: &SelectRequest) -> HeadSelection {
        let state = self.state.read();
        match state.head(&request.tenant) {
            Some(head) => head.select(request, state.files.list()),
            None => HeadSelection::empty(request.range),
        }
    }

    /// All series that may have samples in the span, ordered by labels: what a data file is made of.
    pub fn slice(&self, tenant: &TenantId, span: BlockSpan) -> HeadSelection {
        let range = TimeRange::new(span.start_ms, span.end_ms.saturating_sub(1));
        let request = SelectRequest {
            tenant: tenant.clone(),
            matchers: Vec::new(),
            range,
            newest_only: false,
            totals_only: false,
            starts: true,
        };
        let mut selection = self.select(&request);
        selection.sort_by_labels();
        selection
    }

    /// The slices in which the tenant's head may have samples, at most `max`, oldest first.
    pub fn occupied_slices(&self, tenant: &TenantId, slice_ms: i64, max: usize) -> Vec<BlockSpan> {
        let state = self.state.read();
        state.head(tenant).map_or_else(Vec::new, |head| head.occupied_slices(slice_ms).take(max).collect())
    }

    /// Where the tenant's head stands in time.
    pub fn extent(&self, tenant: &TenantId) -> Option<HeadExtent> {
        let state = self.state.read();
        Some(state.head(tenant)?.extent(&state.files))
    }

    /// Sorted names of the labels that matching series have.
    pub fn label_names(&self, request: &SelectRequest) -> Texts {
        self.with_head_in_range(request, |head| {
            let among = (!request.matchers.is_empty()).then(|| head.index().select(&request.matchers));
            head.index().label_names(among.as_ref()).into_iter().collect()
        })
    }

    /// Sorted values of one label among the matching series.
    pub fn label_values(&self, name: &str, request: &SelectRequest) -> Texts {
        self.with_head_in_range(request, |head| {
            let among = (!request.matchers.is_empty()).then(|| head.index().select(&request.matchers));
            head.index().label_values(name, among.as_ref())
        })
    }

    /// Label queries look at a head as a whole: either all of its series count or, when it lies outside the range,
    /// none.
    fn with_head_in_range<T: Default>(&self, request: &SelectRequest, answer: impl FnOnce(&Head) -> T) -> T {
        let state = self.state.read();
        let Some(head) = state.head(&request.tenant) else { return T::default() };
        let extent = head.extent(&state.files);
        match (extent.min_ts, extent.max_ts) {
            (Some(min_ts), Some(max_ts)) if request.range.overlaps(TimeRange::new(min_ts, max_ts)) => answer(head),
            _ => T::default(),
        }
    }

    /// Label sets of the matching series that have samples in the range, at most `limit`, in no particular order. An
    /// error once nobody waits for them.
    pub(crate) fn series(
        &self,
        request: &SelectRequest,
        limit: usize,
        caller: &Caller,
    ) -> Result<Vec<LabelSet>, ReadError> {
        let selection = self.select(request);
        let mut samples = SampleColumns::default();
        let mut found = Vec::new();
        for i in 0..selection.len() {
            if found.len() >= limit {
                break;
            }
            caller.check()?;
            selection.read(i, request.range, &mut samples)?;
            if !samples.is_empty() {
                found.push(selection.labels(i));
            }
        }
        Ok(found)
    }

    /// Exemplars in the range of the series that satisfy all matchers of any of the sets, ordered by labels.
    pub fn exemplars(
        &self,
        tenant: &TenantId,
        matcher_sets: &[Vec<Matcher>],
        range: TimeRange,
    ) -> Vec<SeriesExemplars> {
        let state = self.state.read();
        match state.head(tenant) {
            Some(head) => head.select_exemplars(matcher_sets, range, &state.refs),
            None => Vec::new(),
        }
    }

    /// What the tenant's head is made of; each list has the `limit` largest.
    pub fn stats(&self, tenant: &TenantId, limit: usize) -> Option<HeadStats> {
        let state = self.state.read();
        let head = state.head(tenant)?;
        Some(HeadStats { extent: head.extent(&state.files), index: head.index().stats(limit) })
    }
}

#[cfg(test)]
mod tests;
