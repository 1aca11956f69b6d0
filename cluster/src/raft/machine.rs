//! A state machine behind the port, as the library wants it.
//!
//! Invariant: one lock is held while entries are applied and while a checkpoint is captured, so the position that a checkpoint
//! carries is that of its content.

use std::sync::Arc;

use bytes::Bytes;
use openraft::storage::{RaftSnapshotBuilder, RaftStateMachine, Snapshot, SnapshotMeta};
use openraft::{BasicNode, EntryPayload, OptionalSend, StorageError, StorageIOError, StoredMembership};
use parking_lot::Mutex;
use pharos_model::Clock;
use tokio::sync::watch;

use super::codec::{AppliedState, from_log_id, to_log_id};
use super::config::{Answers, Commands, TypeConfig};
use super::snapshot::{Copy, SnapshotData};
use crate::log::entry;
use crate::metrics::RaftMetrics;
use crate::state_machine::{CheckpointError, StateMachine};

type RaftEntry = openraft::Entry<TypeConfig>;
type LogId = openraft::LogId<u64>;
type Meta = SnapshotMeta<u64, BasicNode>;
type Result<T> = std::result::Result<T, StorageError<u64>>;

/// Up to this many bytes of commands are applied on the async thread: some 6,000 samples, half a millisecond. Handing one scrape's to
/// another thread costs about what applying them does.
const APPLY_INLINE_BYTES_MAX: usize = 32 << 10;

/// Index of the newest entry that is on disk in the state machine, or why no more can be written.
pub(crate) type Covered = std::result::Result<Option<u64>, String>;

/// One group's state machine. [`Adaptor`] is what the library holds.
pub(crate) struct Machine {
    port: Arc<dyn StateMachine>,
    /// Held while the store's files are written as a whole; false once they may belong to another replica.
    open: Mutex<bool>,
    state: Mutex<State>,
    /// Told when entries are applied, before their proposers are answered.
    progress: watch::Sender<Option<entry::LogId>>,
    covered: watch::Sender<Covered>,
    /// Snapshots taken in.
    installs: watch::Sender<u64>,
    metrics: RaftMetrics,
    clock: Arc<dyn Clock>,
}

struct State {
    applied: AppliedState,
    /// The last checkpoint, as the library knows it.
    snapshot: Option<Meta>,
    /// A checkpoint that the library does not know yet.
    fresh: Option<Meta>,
}

impl Machine {
    /// `restored` is what the state machine's last checkpoint carried.
    pub(crate) fn new(
        port: Arc<dyn StateMachine>,
        restored: Option<AppliedState>,
        metrics: RaftMetrics,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let snapshot = restored.as_ref().map(meta);
        let state = State { applied: restored.unwrap_or_default(), snapshot, fresh: None };
        let applied = state.applied.applied;
        Arc::new(Self {
            port,
            open: Mutex::new(true),
            state: Mutex::new(state),
            progress: watch::Sender::new(applied.as_ref().map(to_log_id)),
            covered: watch::Sender::new(Ok(applied.map(|id| id.index))),
            installs: watch::Sender::new(0),
            metrics,
            clock,
        })
    }

    /// The newest entry that is applied.
    pub(crate) fn applied(&self) -> Option<LogId> {
        (*self.progress.borrow()).map(from_log_id)
    }

    /// Changes with every entry that is applied.
    pub(crate) fn progress(&self) -> watch::Receiver<Option<entry::LogId>> {
        self.progress.subscribe()
    }

    pub(super) fn covered(&self) -> watch::Receiver<Covered> {
        self.covered.subscribe()
    }

    /// Counts the snapshots taken in: what they cover was applied without anybody being answered.
    pub(crate) fn installs(&self) -> u64 {
        *self.installs.borrow()
    }

    /// Returns when other snapshots were taken in than `known`.
    pub(crate) async fn installed(&self, known: u64) {
        // Its sender is held here.
        drop(self.installs.subscribe().wait_for(|installs| *installs != known).await);
    }

    /// Applies entries in order; those that the state machine holds already are skipped.
    pub(crate) fn apply(&self, entries: Vec<RaftEntry>) -> Vec<Answers> {
        let started = self.clock.monotonic();
        let mut state = self.state.lock();
        let answers = entries.into_iter().map(|entry| Answers(self.apply_one(&mut state.applied, entry))).collect();
        self.progress.send_replace(state.applied.applied.as_ref().map(to_log_id));
        drop(state);
        self.metrics.apply_seconds.observe(self.clock.monotonic().saturating_sub(started).as_secs_f64());
        answers
    }

    fn apply_one(&self, state: &mut AppliedState, entry: RaftEntry) -> Vec<Bytes> {
        if Some(entry.log_id) <= state.applied {
            return Vec::new();
        }
        state.applied = Some(entry.log_id);
        match entry.payload {
            EntryPayload::Blank => Vec::new(),
            EntryPayload::Normal(Commands(commands)) => {
                let answers = self.port.apply(&commands);
                assert_eq!(answers.len(), commands.len(), "a state machine answers every command");
                answers
            }
            EntryPayload::Membership(membership) => {
                state.membership = StoredMembership::new(Some(entry.log_id), membership);
                Vec::new()
            }
        }
    }

    /// Makes everything applied durable and returns up to where. Blocks; entries are applied meanwhile but for the capture.
    pub(crate) fn checkpoint(&self) -> std::result::Result<Option<LogId>, CheckpointError> {
        let started = self.clock.monotonic();
        let open = self.open.lock();
        if !*open {
            return Err(CheckpointError::Closed);
        }
        let state = self.state.lock();
        let applied = state.applied.clone();
        let captured = self.port.begin_checkpoint(applied.encode());
        drop(state);
        if let Err(error) = captured.and_then(|finish| finish()) {
            self.metrics.checkpoints_failed.inc();
            return Err(error);
        }
        self.metrics.checkpoints.inc();
        self.metrics.checkpoint_seconds.observe(self.clock.monotonic().saturating_sub(started).as_secs_f64());
        self.state.lock().fresh = Some(meta(&applied));
        self.cover(applied.applied);
        Ok(applied.applied)
    }

    /// Returns when nothing writes to the store any more: its files may be removed, and another replica may have them.
    /// Blocks while a checkpoint is made.
    pub(crate) fn close(&self) {
        *self.open.lock() = false;
    }

    /// A copy of everything applied, with its position.
    pub(super) fn export(&self) -> std::result::Result<Copy, CheckpointError> {
        let state = self.state.lock();
        Ok(Copy { state: state.applied.clone(), bytes: self.port.export()? })
    }

    fn install(&self, meta: &Meta, snapshot: SnapshotData) -> std::result::Result<(), CheckpointError> {
        let Copy { state: position, bytes } = snapshot.into_copy()?;
        let open = self.open.lock();
        if !*open {
            return Err(CheckpointError::Closed);
        }
        let mut state = self.state.lock();
        self.port.install(&bytes, position.encode())?;
        let applied = position.applied;
        *state = State { applied: position, snapshot: Some(meta.clone()), fresh: None };
        self.installs.send_modify(|installs| *installs += 1);
        self.progress.send_replace(applied.as_ref().map(to_log_id));
        self.cover(applied);
        Ok(())
    }

    fn cover(&self, upto: Option<LogId>) {
        self.covered.send_modify(|covered| {
            if let Ok(covered) = covered {
                *covered = upto.map(|id| id.index).max(*covered);
            }
        });
    }
}

/// What the library takes in, of a copy that came from the leader.
pub(crate) fn received(copy: Copy) -> Snapshot<TypeConfig> {
    Snapshot { meta: meta(&copy.state), snapshot: Box::new(SnapshotData::received(copy)) }
}

/// The snapshot's name follows from what it covers.
fn meta(applied: &AppliedState) -> Meta {
    let id = applied.applied.map_or_else(|| "empty".to_owned(), |id| id.to_string());
    SnapshotMeta { last_log_id: applied.applied, last_membership: applied.membership.clone(), snapshot_id: id }
}

/// The library's handle on a state machine.
#[derive(Clone)]
pub(crate) struct Adaptor(pub Arc<Machine>);

impl RaftStateMachine<TypeConfig> for Adaptor {
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership<u64, BasicNode>)> {
        let AppliedState { applied, membership } = self.0.state.lock().applied.clone();
        Ok((applied, membership))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Answers>>
    where
        I: IntoIterator<Item = RaftEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<RaftEntry> = entries.into_iter().collect();
        if entries.iter().map(entry_bytes).sum::<usize>() <= APPLY_INLINE_BYTES_MAX {
            return Ok(self.0.apply(entries));
        }
        let machine = Arc::clone(&self.0);
        let applied = crate::blocking::spawn(move || machine.apply(entries)).await;
        applied.map_err(|error| StorageIOError::write_state_machine(&error).into())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<SnapshotData>> {
        Ok(Box::new(SnapshotData::blank()))
    }

    async fn install_snapshot(&mut self, meta: &Meta, snapshot: Box<SnapshotData>) -> Result<()> {
        let (machine, meta) = (Arc::clone(&self.0), meta.clone());
        let signature = meta.signature();
        let installed = crate::blocking::spawn(move || machine.install(&meta, *snapshot)).await;
        let failed = |error: openraft::AnyError| {
            drop(self.0.covered.send_replace(Err(error.to_string())));
            StorageError::from(StorageIOError::write_snapshot(Some(signature.clone()), error))
        };
        match installed {
            Ok(installed) => installed.map_err(|error| failed(openraft::AnyError::new(&error))),
            Err(panicked) => Err(failed(openraft::AnyError::new(&panicked))),
        }
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<TypeConfig>>> {
        let meta = self.0.state.lock().snapshot.clone();
        Ok(meta.map(|meta| Snapshot { meta, snapshot: Box::new(SnapshotData::live(Arc::clone(&self.0))) }))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Adaptor {
    /// Tells the library of the last checkpoint, made just before by [`crate::group`], where a failure is not fatal.
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>> {
        if self.0.state.lock().fresh.is_none() {
            let machine = Arc::clone(&self.0);
            let failed = |error| StorageError::from(StorageIOError::write_snapshot(None, error));
            match crate::blocking::spawn(move || machine.checkpoint()).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(failed(openraft::AnyError::new(&error))),
                Err(panicked) => return Err(failed(openraft::AnyError::new(&panicked))),
            }
        }
        let mut state = self.0.state.lock();
        let fresh = state.fresh.take();
        let meta = fresh.or_else(|| state.snapshot.clone()).unwrap_or_else(|| meta(&state.applied));
        state.snapshot = Some(meta.clone());
        Ok(Snapshot { meta, snapshot: Box::new(SnapshotData::live(Arc::clone(&self.0))) })
    }
}

fn entry_bytes(entry: &RaftEntry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(Commands(commands)) => commands.iter().map(Bytes::len).sum(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}
