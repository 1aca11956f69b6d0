//! The library's own storage suite on the real log, and codecs.

mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use openraft::testing::{StoreBuilder, Suite};
use openraft::{BasicNode, CommittedLeaderId, LogId, Membership, StorageError, StoredMembership};
use parking_lot::Mutex;
use pharos_model::clock::ManualClock;
use prometheus::Registry;
use proptest::prelude::*;

use super::codec::{decode_membership, encode_membership};
use super::*;
use crate::fs::sim::Sim;
use crate::log::entry::GroupId;
use crate::log::{Log, LogOptions};
use crate::metrics::Metrics;
use crate::state_machine::{CheckpointError, FinishCheckpoint, StateMachine};

/// Keeps the commands it was given.
#[derive(Default)]
struct Recorder(Mutex<Vec<Bytes>>);

impl StateMachine for Recorder {
    fn apply(&self, commands: &[Bytes]) -> Vec<Bytes> {
        self.0.lock().extend_from_slice(commands);
        commands.to_vec()
    }

    fn begin_checkpoint(&self, _: Bytes) -> Result<FinishCheckpoint, CheckpointError> {
        Ok(Box::new(|| Ok(())))
    }

    fn export(&self) -> Result<Vec<u8>, CheckpointError> {
        Ok(self.0.lock().concat())
    }

    fn install(&self, snapshot: &[u8], _: Bytes) -> Result<(), CheckpointError> {
        *self.0.lock() = vec![Bytes::copy_from_slice(snapshot)];
        Ok(())
    }
}

/// Gives each test of the suite a group of its own in one log, as groups of a node have.
struct Builder {
    log: Arc<Log>,
    next: AtomicU32,
    metrics: Metrics,
}

impl StoreBuilder<TypeConfig, LogStore, Adaptor> for Builder {
    async fn build(&self) -> Result<((), LogStore, Adaptor), StorageError<u64>> {
        let group = GroupId(self.next.fetch_add(1, Ordering::Relaxed));
        let port = Arc::new(Recorder::default());
        let machine = Machine::new(port, None, self.metrics.raft.clone(), Arc::new(ManualClock::default()));
        Ok(((), LogStore::new(self.log.group(group)), Adaptor(machine)))
    }
}

#[test]
fn the_storage_suite_of_the_library_passes() {
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let options = LogOptions {
        segment_bytes: 64 << 10,
        first_segment_bytes: 64 << 10,
        record_bytes_max: 8 << 10,
        retry_interval: Duration::from_millis(1),
        ..LogOptions::default()
    };
    let clock = Arc::new(ManualClock::default());
    let log = Log::open(Arc::new(Sim::new()), "/log".as_ref(), options, clock, metrics.log.clone()).unwrap().0;
    let builder = Builder { log: Arc::new(log), next: AtomicU32::new(0), metrics };
    Suite::test_all(builder).unwrap();
}

fn any_log_id() -> impl Strategy<Value = LogId<u64>> {
    any::<(u64, u64, u64)>().prop_map(|(term, node, index)| LogId::new(CommittedLeaderId::new(term, node), index))
}

fn any_membership() -> impl Strategy<Value = Membership<u64, BasicNode>> {
    let voters = prop::collection::btree_set(0..9u64, 0..4);
    let nodes = prop::collection::btree_map(0..9u64, "[a-z.:0-9é]{0,12}".prop_map(BasicNode::new), 0..6);
    (prop::collection::vec(voters, 0..3), nodes).prop_map(|(configs, nodes)| Membership::new(configs, nodes))
}

proptest! {
    #[test]
    fn applied_states_come_back_as_they_were(
        applied in prop::option::of(any_log_id()),
        log_id in prop::option::of(any_log_id()),
        membership in any_membership(),
    ) {
        let state = AppliedState { applied, membership: StoredMembership::new(log_id, membership) };
        prop_assert_eq!(AppliedState::decode(&state.encode()), Some(state));
    }

    #[test]
    fn memberships_come_back_as_they_were(membership in any_membership()) {
        prop_assert_eq!(decode_membership(&encode_membership(&membership)), Some(membership));
    }

    #[test]
    fn decoders_take_anything(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let _ = (AppliedState::decode(&bytes), decode_membership(&bytes));
    }
}
