//! Members that come and go.

use super::*;
use crate::group::MemberError;
use crate::state_machine::CheckpointError;

fn set<const N: usize>(nodes: [NodeId; N]) -> BTreeSet<NodeId> {
    nodes.into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_becomes_a_learner_then_a_voter_then_nothing() {
    let mut town = Town::of(&[1, 2], 1).await;
    for command in numbered(10) {
        town.propose(1, 0, command).await.unwrap();
    }
    town.join(3).await;
    let leader = town.group(1, 0);
    assert_eq!(leader.caught_up(3, 0), Err(MemberError::NotMember { node: 3 }));
    assert_eq!(leader.change_voters(set([1, 3]), Leaving::Entirely).await, Err(MemberError::NotMember { node: 3 }));
    assert_eq!(leader.change_voters(set([]), Leaving::Entirely).await, Err(MemberError::NoVoters));
    let follower = town.group(2, 0).add_learner(3).await;
    assert_eq!(follower, Err(MemberError::NotLeader { leader: Some(1) }));

    // Named before it has a replica: it is told so, and catches up when it has one.
    leader.add_learner(3).await.unwrap();
    leader.add_learner(3).await.unwrap();
    assert_eq!(leader.caught_up(3, 100), Ok(false));
    town.node(3).open_replica(PartitionId(0)).await.unwrap();
    eventually(async || leader.caught_up(3, 0).unwrap()).await;
    town.wait_for_commands(3, 0, &numbered(10)).await;
    let log_index = leader.standing();
    assert_eq!((log_index.voters, log_index.learners), (vec![set([1, 2])], set([3])));

    // A move: the new one for an old one.
    for _ in 0..2 {
        leader.change_voters(set([1, 3]), Leaving::Entirely).await.unwrap();
    }
    assert!(!leader.standing().is_member(2));
    eventually(async || !town.group(3, 0).standing().is_member(2)).await;
    town.node(2).drop_replica(PartitionId(0), 0).await.unwrap();
    town.node(2).drop_replica(PartitionId(0), 0).await.unwrap();
    assert!(town.sims[&2].content(&Journal::path(PartitionId(0))).is_none());
    town.propose(2, 0, "through one without a replica").await.unwrap();

    // It does not come back when its node does, until it is wanted.
    town.kill(2, Some(1)).await;
    town.start(2, Start::Join).await;
    assert!(town.node(2).replica(PartitionId(0)).is_none());
    town.take_in(2, 0).await;
    eventually(async || town.commands(2, 0).len() == 11).await;
    for _ in 0..2 {
        leader.remove(2).await.unwrap();
    }
    town.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_made_anew_has_no_vote_before_it_has_a_newer_configuration() {
    let mut town = Town::of(&[1, 2, 3], 1).await;
    let leader = town.group(1, 0);
    leader.change_voters(set([1, 2]), Leaving::Entirely).await.unwrap();
    // As if it had been there for longer than those who take it in now know.
    town.node(3).drop_replica(PartitionId(0), leader.config() + 50).await.unwrap();
    town.take_in(3, 0).await;
    assert!(town.group(3, 0).is_barred());
    assert!(!town.group(3, 0).stand(1, leader.term()).await);
    town.kill(3, Some(1)).await;
    town.start(3, Start::Join).await;
    assert!(town.group(3, 0).is_barred(), "it forgot");
    for command in numbered(60) {
        town.propose(1, 0, command).await.unwrap();
    }
    assert!(town.group(3, 0).is_barred(), "entries are no configuration");
    leader.change_voters(set([1, 2, 3]), Leaving::Entirely).await.unwrap();
    eventually(async || !town.group(3, 0).is_barred()).await;
    town.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_may_remove_itself() {
    let town = Town::of(&[1, 2, 3], 1).await;
    town.propose(1, 0, "x").await.unwrap();
    town.group(1, 0).change_voters(set([2, 3]), Leaving::Entirely).await.unwrap();
    let next = town.leader_among(&[2, 3], 0).await;
    town.propose(1, 0, "y").await.unwrap();
    assert!(!town.group(next, 0).standing().is_member(1));
    town.node(1).drop_replica(PartitionId(0), 0).await.unwrap();
    town.propose(1, 0, "z").await.unwrap();
    town.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_change_at_a_time_and_one_that_nobody_takes_is_told() {
    let town = Arc::new(Town::of(&[1, 2, 3], 1).await);
    town.web.isolate(1);
    let first = {
        let group = town.group(1, 0);
        tokio::spawn(async move { group.change_voters(set([1, 2]), Leaving::AsLearner).await })
    };
    eventually(async || town.group(1, 0).standing().voters.len() == 2).await;
    assert_eq!(town.group(1, 0).remove(3).await, Err(MemberError::InProgress));
    let first = first.await.unwrap();
    assert!(matches!(first, Err(MemberError::Unconfirmed { .. })), "{first:?}");
    town.web.heal();
    // Repeated at whoever leads, it is done.
    eventually(async || {
        let leader = town.group(town.leader(0).await, 0);
        leader.change_voters(set([1, 2]), Leaving::AsLearner).await.is_ok()
    })
    .await;
    let standing = town.group(town.leader(0).await, 0).standing();
    assert_eq!((standing.voters, standing.learners), (vec![set([1, 2])], set([3])));
    Arc::into_inner(town).unwrap().stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_replica_gives_its_log_back() {
    let mut town = Town::of(&[1, 2], 2).await;
    for _ in 0..40 {
        town.propose(1, 1, vec![1; 10_000]).await.unwrap();
    }
    let node = town.node(2);
    eventually(async || town.commands(2, 1).len() == 40).await;
    let before = node.log_bytes();
    assert!(before > 256 << 10);
    town.group(1, 1).remove(2).await.unwrap();
    node.drop_replica(PartitionId(1), 0).await.unwrap();
    for group in [node.meta_group(), town.group(2, 0)] {
        group.checkpoint().await.unwrap();
    }
    eventually(async || node.log_bytes() < before).await;
    // And what is left opens.
    town.kill(2, Some(3)).await;
    town.start(2, Start::Join).await;
    town.propose(2, 0, "x").await.unwrap();
    town.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_replica_writes_nothing_where_its_store_was() {
    let town = Town::of(&[1, 2], 1).await;
    for command in numbered(10) {
        town.propose(1, 0, command).await.unwrap();
    }
    town.wait_for_commands(2, 0, &numbered(10)).await;
    // As a round of checkpoints has it that began before.
    let dropped = town.group(2, 0);
    town.group(1, 0).remove(2).await.unwrap();
    town.node(2).drop_replica(PartitionId(0), 0).await.unwrap();
    let late = dropped.checkpoint().await;
    assert!(matches!(late, Err(CheckpointError::Closed)), "{late:?}");
    assert!(town.sims[&2].content(&Journal::path(PartitionId(0))).is_none());
    town.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_nobody_takes_in_says_so() {
    let (web, sim) = (Web::default(), Sim::new());
    let service = Arc::new(GroupService::default());
    let mut options = options(1);
    options.leader_wait_max = Duration::from_millis(50);
    let reachable: Arc<dyn Service> = Arc::clone(&service) as _;
    let peers = web.join(9, &reachable);
    options.cluster = ClusterOptions { peers, service, start: Start::Join, ..ClusterOptions::alone() };
    let refused = try_start(&sim, options).await.unwrap_err().to_string();
    assert_eq!(refused, "no cluster took this node in within 50ms");
    // Its directory is free, and can still be taken in.
    let mut town = Town::of(&[1], 1).await;
    town.sims.insert(2, sim);
    town.join(2).await;
    town.take_in(2, 0).await;
    town.stop().await;
}
