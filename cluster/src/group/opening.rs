//! Opening a group: what the log lost is seen to, the state machine is brought up to date, the core started.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use openraft::storage::StorageHelper;
use openraft::{BasicNode, Raft};
use parking_lot::Mutex;
use tracing::error;

use super::{
    Group, GroupContext, GroupError, Leadership, Restored, Standing, Start, has_own, is_barred, replay, stop_core,
    stop_log,
};
use crate::log::GroupHandle;
use crate::log::entry::{GroupId, LogId};
use crate::peers::NodeId;
use crate::proposer::{Core, Proposer};
use crate::raft::{Adaptor, LogStore, Machine, Network, TypeConfig, library_config, vote_no_leader, vote_none};

impl Group {
    /// Replays what the state machine lacks and starts the core. Where this node is the only voter, waits until it leads and has
    /// applied everything.
    pub(crate) async fn open(
        context: &GroupContext,
        id: GroupId,
        start: Start,
        restored: Restored,
    ) -> Result<Self, GroupError> {
        context.check_damage(id)?;
        let log = context.log.group(id);
        let machine = replay::replay(context, &log, restored).await?;
        let store = LogStore::new(log.clone()).covered_by(&machine);
        mend_vote(context, &log, &machine, &store, start).await?;
        let vote = log.hard_state().vote.filter(|vote| vote.committed && vote.node == context.node_id);
        let resumed = vote.zip(log.last()).map(|(vote, last)| LogId { term: vote.term, ..last });
        let config = Arc::new(library_config(id.0, context.times));
        let network = Network {
            group: id,
            peers: Arc::clone(&context.peers),
            snapshots: Arc::clone(&context.snapshots),
            metrics: context.metrics.clone(),
        };
        let raft = Raft::new(context.node_id, config, network, store, Adaptor(Arc::clone(&machine))).await;
        let raft = raft.map_err(|error| GroupError::Core { group: id, reason: error.to_string() })?;

        let waited = context.leader_wait_max;
        let opened = Opened { node_id: context.node_id, id, start, raft: &raft, machine: &machine, log: &log, resumed };
        let led = tokio::time::timeout(waited, opened.lead_alone()).await;
        if let Err(error) = led.unwrap_or(Err(GroupError::NoLeader { group: id, waited })) {
            // The core may wait for a log that cannot write; it ends when the log does.
            stop_log(&context.log).await;
            stop_core(&raft).await;
            return Err(error);
        }
        context.metrics.groups.inc();
        let (proposer, work) = Proposer::new(
            Core { raft: raft.clone(), machine: Arc::clone(&machine) },
            Arc::clone(context.log.room()),
            context.proposer,
            context.metrics.clone(),
            Arc::clone(&context.clock),
        );
        let worker = Mutex::new(Some(tokio::spawn(work)));
        Ok(Self {
            id,
            node_id: context.node_id,
            peers: Arc::clone(&context.peers),
            raft,
            machine,
            log,
            proposer,
            worker,
            resumed,
            changing: tokio::sync::Mutex::new(()),
            installing: AtomicUsize::new(0),
            clock: Arc::clone(&context.clock),
            led_at: Mutex::new(None),
            metrics: context.metrics.clone(),
        })
    }
}

impl GroupContext {
    /// Fails when the group's replica lost something, unless it may be the only one.
    pub(crate) fn check_damage(&self, group: GroupId) -> Result<(), GroupError> {
        let lossy = self.log.damage().has(group) && !(self.is_sole)(group);
        if lossy { Err(GroupError::Lossy { group }) } else { Ok(()) }
    }
}

/// Makes the vote on disk fit a log that lost something.
async fn mend_vote(
    context: &GroupContext,
    log: &GroupHandle,
    machine: &Arc<Machine>,
    store: &LogStore,
    start: Start,
) -> Result<(), GroupError> {
    let group = log.id();
    let core_error = |reason: String| GroupError::Core { group, reason };
    let lossy = context.log.damage().has(group);
    if lossy && !is_alone(context, start, store, machine).await.map_err(core_error)? {
        return Err(GroupError::Lossy { group });
    }
    if start == Start::Found && log.last().is_none() && machine.applied().is_none() && log.hard_state().vote.is_some() {
        // With its first entries gone the group has lost its members. It had none but this node, so starting again can
        // contradict nobody.
        error!(%group, "the group's log is gone with its members, starting it anew");
        vote_none(&mut store.clone()).await.map_err(core_error)?;
    } else if lossy {
        // In the old term other entries would get the positions of those that are gone.
        vote_no_leader(&mut store.clone()).await.map_err(core_error)?;
    }
    Ok(())
}

/// Whether nobody else can count on what the group has lost: what is left of it names no other member, nor may it have had one.
async fn is_alone(
    context: &GroupContext,
    start: Start,
    store: &LogStore,
    machine: &Arc<Machine>,
) -> Result<bool, String> {
    let (mut store, mut machine) = (store.clone(), Adaptor(Arc::clone(machine)));
    let members = StorageHelper::new(&mut store, &mut machine).get_membership().await;
    let members = members.map_err(|error| error.to_string())?;
    let mut nodes = members.effective().membership().nodes().map(|(&node, _)| node).peekable();
    Ok(if nodes.peek().is_none() { start == Start::Found } else { nodes.all(|node| node == context.node_id) })
}

/// A group whose core runs.
struct Opened<'a> {
    node_id: NodeId,
    id: GroupId,
    start: Start,
    raft: &'a Raft<TypeConfig>,
    machine: &'a Machine,
    log: &'a GroupHandle,
    resumed: Option<LogId>,
}

impl Opened<'_> {
    /// Where this node is the only voter, makes it the leader: at once if it was, by an election of one voter else. Waits until
    /// everything is applied. A group with other voters, or without any, is left as it is.
    async fn lead_alone(self) -> Result<(), GroupError> {
        let Self { node_id, id, start, raft, machine, log, resumed } = self;
        let core_error = |reason: String| GroupError::Core { group: id, reason };
        let initialized = raft.is_initialized().await.map_err(|error| core_error(error.to_string()))?;
        if !initialized && start == Start::Found {
            let members = BTreeMap::from([(node_id, BasicNode::default())]);
            raft.initialize(members).await.map_err(|error| core_error(error.to_string()))?;
        } else if !Standing::of(&raft.server_metrics().borrow()).is_only_voter(node_id) || is_barred(log, raft) {
            // Barred: it was alone once, is made anew, and has not come further than to that in the log of those who lead now.
            return Ok(());
        } else if resumed.is_none() {
            raft.trigger().elect().await.map_err(|error| core_error(error.to_string()))?;
        }
        raft.runtime_config().elect(true);
        let leads = raft.wait(None).current_leader(node_id, "leads").await;
        let term = leads.map_err(|error| core_error(error.to_string()))?.current_term;
        let mut progress = machine.progress();
        let own = |applied: &Option<LogId>| has_own(*applied, Leadership { term, node: node_id }, resumed);
        let mut ended = raft.metrics();
        tokio::select! {
            applied = progress.wait_for(own) => applied.map(drop).map_err(|_| core_error("the state machine is gone".to_owned())),
            _ = ended.wait_for(|metrics| metrics.running_state.is_err()) => Err(core_error("the core ended".to_owned())),
        }
    }
}
