//! Admission by disk space: nothing is proposed that has no pre-written room in a segment.
//!
//! Raft treats a failed append as fatal, so a full disk must be noticed before an entry exists. A proposer reserves the bytes
//! of an entry here, waits while a new segment is being prepared, and is refused when that fails or the writer is held up.
//! Some room is never given out: it takes votes, purges and the like, which free space again.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::metrics::LogMetrics;

/// Why there is no room.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    #[error("no room for the log: {reason}")]
    DiskFull { reason: String },
    #[error("the log stopped: {reason}")]
    Failed { reason: String },
}

#[derive(Debug)]
pub struct Room {
    state: Mutex<State>,
    changed: Notify,
    limits: Limits,
    metrics: LogMetrics,
}

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The largest record: so much may stay unused at the end of a segment.
    pub record_bytes_max: u64,
    /// What a fresh segment loses to its header and the groups' base records, at most.
    pub segment_overhead: u64,
    /// Never given to proposals.
    pub housekeeping: u64,
}

#[derive(Debug, Default)]
struct State {
    current_left: u64,
    spares: Vec<u64>,
    reserved: u64,
    /// Why the last attempt to prepare a segment failed.
    unprepared: Option<String>,
    /// Why the writer is held up.
    stalled: Option<String>,
    failed: Option<String>,
}

impl Room {
    pub fn new(limits: Limits, metrics: LogMetrics) -> Self {
        Self { state: Mutex::default(), changed: Notify::new(), limits, metrics }
    }

    /// Sets room for `bytes` aside until the reservation is dropped. Waits for a segment that is being prepared; a dropped
    /// call leaves nothing behind.
    pub async fn reserve(self: &Arc<Self>, bytes: u64) -> Result<Reservation, NoRoom> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(reservation) = self.try_reserve(bytes)? {
                return Ok(reservation);
            }
            changed.await;
        }
    }

    /// `None` when there may be room soon.
    fn try_reserve(self: &Arc<Self>, bytes: u64) -> Result<Option<Reservation>, NoRoom> {
        let mut state = self.state.lock();
        self.check_open(&state)?;
        if state.reserved + bytes <= self.available(&state) {
            state.reserved += bytes;
            self.metrics.reserved_bytes.set(state.reserved as i64);
            return Ok(Some(Reservation { room: Arc::clone(self), bytes }));
        }
        match &state.unprepared {
            Some(reason) => Err(NoRoom::DiskFull { reason: reason.clone() }),
            None => Ok(None),
        }
    }

    /// Whether a proposal has a chance now; cheap, for refusing early.
    pub fn check(&self) -> Result<(), NoRoom> {
        self.check_open(&self.state.lock())
    }

    fn check_open(&self, state: &State) -> Result<(), NoRoom> {
        if let Some(reason) = &state.failed {
            return Err(NoRoom::Failed { reason: reason.clone() });
        }
        if let Some(reason) = &state.stalled {
            return Err(NoRoom::DiskFull { reason: reason.clone() });
        }
        Ok(())
    }

    fn available(&self, state: &State) -> u64 {
        let waste = self.limits.record_bytes_max;
        let spare = |len: &u64| len.saturating_sub(waste + self.limits.segment_overhead);
        let spares: u64 = state.spares.iter().map(spare).sum();
        (state.current_left.saturating_sub(waste) + spares).saturating_sub(self.limits.housekeeping)
    }

    pub fn set_current_left(&self, bytes: u64) {
        self.update(|state| state.current_left = bytes);
    }

    pub fn set_spares(&self, lens: Vec<u64>) {
        self.metrics.spare_segments.set(lens.len() as i64);
        self.update(|state| state.spares = lens);
    }

    pub fn set_unprepared(&self, reason: Option<String>) {
        self.update(|state| state.unprepared = reason);
    }

    pub fn set_stalled(&self, reason: Option<String>) {
        self.metrics.stalled.set(i64::from(reason.is_some()));
        self.update(|state| state.stalled = reason);
    }

    pub fn set_failed(&self, reason: String) {
        self.metrics.stalled.set(1);
        self.update(|state| state.failed = Some(reason));
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.changed.notify_waiters();
    }
}

/// Room set aside for one entry in flight.
pub struct Reservation {
    room: Arc<Room>,
    bytes: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.room.update(|state| state.reserved -= self.bytes);
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").field("bytes", &self.bytes).finish()
    }
}
