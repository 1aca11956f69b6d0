//! Single decisions; what they lead to together is for [`super::model`].

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::meta::{Cluster, Move, NodeSpec};
use crate::placement::Replicas;

/// A cluster in which all is well, as the controller sees it.
struct Scene {
    topology: Topology,
    observed: Observed,
    limits: Limits,
}

impl Scene {
    /// Partitions with these replicas, led by the first, and as many nodes; zones by node.
    fn new(placement: &[Replicas], nodes: u64, zone: fn(NodeId) -> &'static str) -> Self {
        let partitions = placement.len() as u16;
        let cluster = Cluster { id: "1f".to_owned(), name: "one".to_owned(), partitions };
        let mut topology = Topology { cluster: Some(cluster), ..Topology::default() };
        let spec =
            |id: NodeId| NodeSpec { id, peer: format!("node-{id}:1"), http: String::new(), zone: zone(id).to_owned() };
        topology.found(spec(1), 0);
        for id in 2..=nodes {
            topology.put(spec(id), None, false, 0).unwrap();
        }
        for (placed, replicas) in topology.placement.iter_mut().zip(placement) {
            placed.replicas.clone_from(replicas);
        }
        let members: BTreeSet<NodeId> = (1..=nodes).collect();
        let mut scene = Self { topology, observed: Observed::default(), limits: Limits::default() };
        let voters: BTreeSet<NodeId> = members.iter().copied().take(if nodes < 5 { 3 } else { 5 }).collect();
        let learners = members.difference(&voters).copied().collect();
        scene.observed.meta = Some(GroupReport { learners, ..group(1, voters) });
        for (partition, replicas) in (0..).map(PartitionId).zip(placement) {
            let report = group(replicas[0], replicas.iter().copied().collect());
            scene.observed.partitions.insert(partition, report);
        }
        for node in members {
            let held = |(at, replicas): (u16, &Replicas)| replicas.contains(&node).then_some(PartitionId(at));
            let replicas = (0..).zip(placement).filter_map(held).collect();
            let silence = Duration::ZERO;
            scene.observed.nodes.insert(
                node,
                NodeReport { silence, revision: u64::MAX, replicas, damaged: BTreeSet::new(), leaving: false },
            );
        }
        for report in scene.observed.partitions.values_mut().chain(&mut scene.observed.meta) {
            report.matched = (1..=nodes).map(|node| (node, report.last)).collect();
        }
        scene
    }

    fn next(&self) -> Vec<Step> {
        next(&self.topology, &self.observed, &self.limits, &[])
    }

    fn report(&mut self, partition: u16) -> &mut GroupReport {
        self.observed.partitions.get_mut(&PartitionId(partition)).unwrap()
    }

    fn silent(&mut self, node: NodeId, seconds: u64) {
        self.observed.nodes.get_mut(&node).unwrap().silence = Duration::from_secs(seconds);
    }

    fn begin(&mut self, partition: u16, add: Option<NodeId>, remove: Option<NodeId>) -> Move {
        let moving = Move { add, remove };
        let epoch = self.topology.placement[usize::from(partition)].epoch;
        self.topology.begin_move(partition, epoch, moving).unwrap();
        moving
    }
}

fn group(leader: NodeId, voters: BTreeSet<NodeId>) -> GroupReport {
    let (learners, matched) = (BTreeSet::new(), BTreeMap::new());
    GroupReport { leader, term: 2, config: 5, voters, learners, settled: true, last: 10_000, matched }
}

fn no_zone(_: NodeId) -> &'static str {
    ""
}

/// Three nodes, each the leader of one partition.
fn three() -> Scene {
    Scene::new(&[vec![1, 2, 3], vec![2, 3, 1], vec![3, 1, 2]], 3, no_zone)
}

/// The same, with a fourth node that holds nothing.
fn four() -> Scene {
    Scene::new(&[vec![1, 2, 3], vec![2, 3, 1], vec![3, 1, 2]], 4, no_zone)
}

fn begun(steps: &[Step]) -> Vec<(u16, Move)> {
    let begin = |step: &Step| match step {
        Step::BeginMove { partition, moving, .. } => Some((partition.0, *moving)),
        _ => None,
    };
    steps.iter().filter_map(begin).collect()
}

fn transfers(steps: &[Step]) -> Vec<(NodeId, NodeId)> {
    let transfer = |step: &Step| match step {
        Step::TransferLeader { guard, to } => Some((guard.leader, *to)),
        _ => None,
    };
    steps.iter().filter_map(transfer).collect()
}

#[test]
fn nothing_happens_where_all_is_well_or_nothing_is_known() {
    assert_eq!(three().next(), []);
    let mut scene = four();
    scene.observed = Observed::default();
    assert_eq!(scene.next(), []);
    assert_eq!(next(&Topology::default(), &scene.observed, &scene.limits, &[]), []);
}

#[test]
fn a_node_that_comes_gets_its_share_two_at_a_time() {
    let scene = four();
    let moves = begun(&scene.next());
    assert_eq!(moves.len(), 2, "of 9 replicas");
    assert!(moves.iter().all(|(_, moving)| moving.add == Some(4) && moving.remove.is_some()));
}

#[test]
fn limits_hold_for_the_cluster_and_for_each_node() {
    let replicas: Vec<Replicas> = (0..24).map(|at| vec![1 + at % 3, 1 + (at + 1) % 3, 1 + (at + 2) % 3]).collect();
    let mut scene = Scene::new(&replicas, 6, no_zone);
    let moves = begun(&scene.next());
    assert!(moves.len() <= 6, "three leaders send two each: {moves:?}");
    for node in 4..=6 {
        assert!(moves.iter().filter(|(_, moving)| moving.add == Some(node)).count() <= 2);
    }
    scene.limits.moves_max = 3;
    assert_eq!(begun(&scene.next()).len(), 3);
    for (partition, moving) in moves.into_iter().take(3) {
        scene.begin(partition, moving.add, moving.remove);
    }
    assert_eq!(begun(&scene.next()), [], "three are under way");
}

#[test]
fn a_move_goes_step_by_step() {
    let mut scene = four();
    scene.limits.moves_max = 1;
    let moving = scene.begin(0, Some(4), Some(3));
    let step = |scene: &Scene| scene.next().into_iter().next();
    assert!(matches!(step(&scene), Some(Step::AddLearner { node: 4, .. })));

    scene.report(0).learners.insert(4);
    scene.report(0).matched.insert(4, 0);
    assert_eq!(step(&scene), None, "it waits until the node has caught up");
    scene.report(0).matched.insert(4, 9_500);
    let voters = BTreeSet::from([1, 2, 4]);
    assert!(matches!(step(&scene), Some(Step::ChangeVoters { voters: to, .. }) if to == voters));

    scene.report(0).learners.clear();
    scene.report(0).voters.insert(4);
    scene.report(0).settled = false;
    assert!(matches!(step(&scene), Some(Step::ChangeVoters { .. })), "one that was left half-way goes on");
    scene.report(0).voters = voters;
    assert!(matches!(step(&scene), Some(Step::ChangeVoters { .. })));
    scene.report(0).settled = true;
    assert_eq!(step(&scene), Some(Step::FinishMove { partition: PartitionId(0), epoch: 1, moving }));

    scene.topology.finish_move(0, 1, moving).unwrap();
    let drop = Step::DropReplica { partition: PartitionId(0), node: 3, epoch: 2, config: 5 };
    assert_eq!(step(&scene), Some(drop));
    scene.observed.nodes.get_mut(&3).unwrap().revision = 0;
    assert_ne!(step(&scene), Some(Step::DropReplica { partition: PartitionId(0), node: 3, epoch: 2, config: 5 }));
}

#[test]
fn a_move_is_given_up_when_the_node_that_comes_is_gone_before_it_votes() {
    let mut scene = four();
    scene.limits.moves_max = 1;
    let moving = scene.begin(0, Some(4), Some(3));
    scene.report(0).learners.insert(4);
    scene.silent(4, 60);
    assert_eq!(scene.next(), [], "it may be back soon");
    scene.silent(4, 121);
    assert!(matches!(scene.next().as_slice(), [Step::RemoveLearner { node: 4, .. }]));
    scene.report(0).learners.clear();
    let cancel = Step::CancelMove { partition: PartitionId(0), epoch: 1, moving };
    assert_eq!(scene.next(), [cancel]);
    scene.report(0).voters = BTreeSet::from([1, 2, 4]);
    assert_eq!(scene.next(), [Step::FinishMove { partition: PartitionId(0), epoch: 1, moving }], "it votes: forward");
}

#[test]
fn no_change_is_begun_that_could_not_be_committed() {
    let mut scene = three();
    scene.topology.drain(3, 0).unwrap();
    scene.report(2).leader = 1;
    scene.silent(2, 10);
    scene.begin(0, None, Some(3));
    assert_eq!(scene.next(), [], "of two voters both have to be there");
    scene.silent(2, 0);
    assert!(matches!(&scene.next()[0], Step::ChangeVoters { voters, .. } if *voters == BTreeSet::from([1, 2])));
}

#[test]
fn a_leader_that_goes_hands_over_before() {
    let mut scene = four();
    scene.begin(0, Some(4), Some(1));
    scene.report(0).learners.insert(4);
    assert_eq!(transfers(&scene.next()), [(1, 2)]);
    // Unless nobody else has a vote.
    let mut alone = Scene::new(&[vec![1]], 2, no_zone);
    alone.topology.drain(1, 0).unwrap();
    alone.begin(0, Some(2), Some(1));
    alone.report(0).learners.insert(2);
    let both = BTreeSet::from([1, 2]);
    let change = |scene: &Scene| match scene.next().into_iter().find(|step| step.group() != GroupRef::Meta) {
        Some(Step::ChangeVoters { voters, .. }) => voters,
        other => panic!("expected a change of voters, not {other:?}"),
    };
    assert_eq!(change(&alone), both);
    alone.report(0).learners.clear();
    alone.report(0).voters = both;
    assert!(transfers(&alone.next()).contains(&(1, 2)));
    alone.report(0).leader = 2;
    assert_eq!(change(&alone), BTreeSet::from([2]));
}

#[test]
fn dead_nodes_keep_their_replicas() {
    let mut scene = four();
    assert_ne!(begun(&scene.next()), []);
    scene.silent(3, 1_000_000);
    assert_eq!(begun(&scene.next()), [], "nor does anything else move where it is waited for");
}

#[test]
fn dead_nodes_lose_their_replicas_if_that_is_asked_for() {
    let mut scene = four();
    scene.limits.dead_after = Some(Duration::from_secs(1800));
    scene.silent(3, 1799);
    assert_eq!(begun(&scene.next()), [], "balance waits for who is not there");
    scene.silent(3, 1800);
    let moves = begun(&scene.next());
    assert!(!moves.is_empty() && moves.iter().all(|(_, moving)| *moving == Move { add: Some(4), remove: Some(3) }));

    scene.silent(2, 1800);
    assert_eq!(begun(&scene.next()), [], "two at a time: that is an outage");
    let mut scene = three();
    scene.limits.dead_after = Some(Duration::from_secs(1800));
    scene.silent(3, 1800);
    assert_eq!(begun(&scene.next()), [], "there is nobody to replace it");
}

#[test]
fn removed_nodes_are_replaced_before_anything_else() {
    let mut scene = Scene::new(&[vec![1, 2, 3], vec![1, 2, 3], vec![1, 2, 4]], 5, no_zone);
    scene.limits.moves_max = 1;
    scene.topology.drain(1, 0).unwrap();
    scene.topology.remove(4, false, 0).unwrap();
    scene.report(2).leader = 2;
    let moves = begun(&scene.next());
    assert!(matches!(moves.as_slice(), [(2, Move { add: Some(_), remove: Some(4) })]), "{moves:?}");
}

#[test]
fn leaders_leave_a_drained_node_first_one_at_a_time() {
    let mut scene = Scene::new(&[vec![1, 2, 3], vec![1, 3, 2]], 4, no_zone);
    scene.topology.drain(1, 0).unwrap();
    let steps = scene.next();
    assert_eq!(transfers(&steps).iter().filter(|(from, _)| *from == 1).count(), 1 + usize::from(meta_transfer(&steps)));
    assert_eq!(begun(&steps), []);
    scene.report(0).leader = 2;
    scene.report(1).leader = 3;
    assert_eq!(begun(&scene.next()).len(), 2);
}

fn meta_transfer(steps: &[Step]) -> bool {
    steps.iter().any(|step| matches!(step, Step::TransferLeader { guard, .. } if guard.group == GroupRef::Meta))
}

#[test]
fn the_preferred_leader_leads_when_it_is_alive_and_has_caught_up() {
    let mut scene = three();
    scene.report(0).leader = 3;
    assert_eq!(transfers(&scene.next()), [(3, 1)]);
    scene.report(0).matched.insert(1, 8_000);
    assert_eq!(scene.next(), [], "it lags");
    scene.report(0).matched.insert(1, 10_000);
    scene.silent(1, 10);
    assert_eq!(scene.next(), [], "it is dead, and who leads is as good as the other");
}

#[test]
fn a_replica_of_before_is_dropped_before_the_node_gets_the_partition_again() {
    let mut scene = four();
    for partition in 0..3 {
        scene.observed.nodes.get_mut(&4).unwrap().replicas.insert(PartitionId(partition));
    }
    let steps = scene.next();
    assert_eq!(begun(&steps), []);
    assert_eq!(steps.iter().filter(|step| matches!(step, Step::DropReplica { node: 4, .. })).count(), 3);
}

#[test]
fn leaders_are_spread_once_nothing_moves() {
    let scene = Scene::new(&[vec![1, 2, 3], vec![1, 2, 3], vec![1, 2, 3]], 3, no_zone);
    let steps = scene.next();
    let preferred: BTreeSet<NodeId> = steps
        .iter()
        .filter_map(|step| match step {
            Step::PreferLeader { leader, .. } => Some(*leader),
            _ => None,
        })
        .collect();
    assert_eq!(preferred, BTreeSet::from([2, 3]), "{steps:?}");
}

fn meta_voters(scene: &Scene) -> Option<BTreeSet<NodeId>> {
    scene.next().into_iter().find_map(|step| match step {
        Step::ChangeVoters { guard, voters } if guard.group == GroupRef::Meta => Some(voters),
        _ => None,
    })
}

#[test]
fn the_metadata_has_three_voters_then_five_spread_over_zones() {
    let zone = |node: NodeId| ["a", "b", "c"][(node % 3) as usize];
    let mut scene = Scene::new(&[vec![1, 2, 3]], 7, zone);
    let meta = scene.observed.meta.as_mut().unwrap();
    meta.voters = BTreeSet::from([1, 4, 7]);
    meta.learners = BTreeSet::from([2, 3, 5, 6]);
    let voters = meta_voters(&scene).unwrap();
    assert_eq!(voters.len(), 5);
    let zones: Vec<&str> = voters.iter().map(|node| zone(*node)).collect();
    for name in ["a", "b", "c"] {
        assert!((1..=2).contains(&zones.iter().filter(|zone| **zone == name).count()), "{voters:?}");
    }
    let meta = scene.observed.meta.as_mut().unwrap();
    meta.learners = (1..=7).filter(|node| !voters.contains(node)).collect();
    meta.voters = voters;
    assert_eq!(meta_voters(&scene), None, "and stays like that");
}

#[test]
fn a_silent_voter_of_the_metadata_is_replaced_when_somebody_can() {
    let mut scene = four();
    scene.silent(2, 30);
    assert_eq!(meta_voters(&scene), None);
    scene.silent(2, 60);
    assert_eq!(meta_voters(&scene), Some(BTreeSet::from([1, 3, 4])));
    scene.silent(4, 10);
    assert_eq!(meta_voters(&scene), None, "nobody else is there");
}

#[test]
fn a_drained_node_votes_on_the_metadata_until_an_active_one_can() {
    let mut scene = four();
    scene.topology.drain(3, 0).unwrap();
    assert_eq!(meta_voters(&scene), Some(BTreeSet::from([1, 2, 4])));
    let mut scene = three();
    scene.topology.drain(3, 0).unwrap();
    assert_eq!(meta_voters(&scene), None, "of two voters none can be lost");
    scene.observed.meta.as_mut().unwrap().leader = 3;
    let hands_over =
        |step: &Step| matches!(step, Step::TransferLeader { guard, to: 1 } if guard.group == GroupRef::Meta);
    assert!(scene.next().iter().any(hands_over), "{:?}", scene.next());
    scene.observed.meta.as_mut().unwrap().leader = 1;
    scene.topology.remove(3, true, 0).unwrap();
    assert_eq!(meta_voters(&scene), Some(BTreeSet::from([1, 2])));
}

#[test]
fn new_members_become_learners_of_the_metadata_and_removed_ones_leave() {
    let mut scene = four();
    scene.observed.meta.as_mut().unwrap().learners.clear();
    assert!(
        scene
            .next()
            .iter()
            .any(|step| matches!(step, Step::AddLearner { guard, node: 4 } if guard.group == GroupRef::Meta))
    );
    let mut scene = four();
    scene.topology.remove(4, false, 0).unwrap();
    let removes = |step: &Step| matches!(step, Step::RemoveLearner { guard, node: 4 } if guard.group == GroupRef::Meta);
    assert!(scene.next().iter().any(removes));
}

#[test]
fn what_is_left_is_told_until_nothing_is() {
    let left = |scene: &Scene| left(&scene.topology, &scene.observed, &scene.limits);
    assert_eq!(left(&three()), Left::default());
    let mut scene = four();
    let before = left(&scene);
    assert!(before.replicas > 0, "the fourth node gets its share");
    let (partition, moving) = begun(&scene.next())[0];
    let epoch = scene.topology.placement[usize::from(partition)].epoch;
    scene.topology.begin_move(partition, epoch, moving).unwrap();
    assert_eq!(left(&scene).replicas, before.replicas, "what is on its way is not there yet");
    scene.topology.finish_move(partition, epoch, moving).unwrap();
    assert_eq!(left(&scene).replicas, before.replicas - 1);
    let mut scene = three();
    scene.report(0).leader = 2;
    assert_eq!(left(&scene), Left { replicas: 0, leaders: 1 });
    scene.silent(1, 30);
    assert_eq!(left(&scene), Left::default(), "who is silent is not waited for");
}

#[test]
fn a_group_with_a_step_under_way_has_no_other_and_its_nodes_no_transfer() {
    let mut scene = four();
    let moves = scene.next();
    let under_way: Vec<Step> = moves.iter().take(1).cloned().collect();
    let others = next(&scene.topology, &scene.observed, &scene.limits, &under_way);
    assert_eq!(begun(&others).len(), 1, "the node that comes takes two at a time: {others:?}");
    assert!(others.iter().all(|step| step.group() != under_way[0].group()));

    scene = three();
    (scene.report(0).leader, scene.report(1).leader) = (3, 1);
    let guard = Guard { group: GroupRef::Partition(PartitionId(0)), leader: 3, term: 2, config: 5, epoch: 1 };
    let transfer = Step::TransferLeader { guard, to: 1 };
    assert_eq!(transfers(&scene.next()).len(), 1);
    assert_eq!(next(&scene.topology, &scene.observed, &scene.limits, &[transfer]), []);
}

/// A node says that its replica is damaged.
fn damaged(scene: &mut Scene, node: NodeId, partition: u16) {
    scene.observed.nodes.get_mut(&node).unwrap().damaged.insert(PartitionId(partition));
}

#[test]
fn a_damaged_replica_is_taken_out_dropped_and_brought_back() {
    let mut scene = three();
    damaged(&mut scene, 2, 0);
    let moving = Move { add: None, remove: Some(2) };
    assert_eq!(begun(&scene.next()), [(0, moving)]);
    scene.begin(0, None, Some(2));
    let [Step::ChangeVoters { voters, .. }] = &scene.next()[..] else { panic!("{:?}", scene.next()) };
    assert_eq!(*voters, BTreeSet::from([1, 3]));
    scene.report(0).voters = BTreeSet::from([1, 3]);
    scene.report(0).config = 6;
    let epoch = scene.topology.placement[0].epoch;
    assert_eq!(scene.next(), [Step::FinishMove { partition: PartitionId(0), epoch, moving }]);
    scene.topology.finish_move(0, epoch, moving).unwrap();
    let drop = Step::DropReplica { partition: PartitionId(0), node: 2, epoch: epoch + 1, config: 6 };
    assert_eq!(scene.next(), [drop]);
    let node = scene.observed.nodes.get_mut(&2).unwrap();
    node.damaged.clear();
    node.replicas.remove(&PartitionId(0));
    assert_eq!(begun(&scene.next()), [(0, Move { add: Some(2), remove: None })]);
}

#[test]
fn a_voter_that_is_not_placed_takes_the_place_of_a_damaged_one() {
    let mut scene = Scene::new(&[vec![1, 2]], 3, no_zone);
    scene.topology.drain(2, 0).unwrap();
    scene.report(0).voters = BTreeSet::from([1, 2, 3]);
    scene.observed.nodes.get_mut(&3).unwrap().replicas.insert(PartitionId(0));
    damaged(&mut scene, 2, 0);
    assert_eq!(begun(&scene.next()), [(0, Move { add: Some(3), remove: Some(2) })]);
    scene.begin(0, Some(3), Some(2));
    let [Step::ChangeVoters { voters, .. }] = &scene.next()[..] else { panic!("{:?}", scene.next()) };
    assert_eq!(*voters, BTreeSet::from([1, 3]));
}

#[test]
fn a_damaged_replica_stays_where_no_majority_is_sound_without_it() {
    let mut scene = three();
    damaged(&mut scene, 2, 0);
    scene.silent(3, 60);
    assert_eq!(begun(&scene.next()), []);
    scene.silent(3, 0);
    damaged(&mut scene, 3, 0);
    assert_eq!(begun(&scene.next()), []);
    // Two are all there are.
    let mut scene = Scene::new(&[vec![1, 2]], 2, no_zone);
    damaged(&mut scene, 2, 0);
    assert_eq!(scene.next(), []);
}

#[test]
fn a_report_from_before_the_placement_takes_nothing_out() {
    let mut scene = three();
    damaged(&mut scene, 2, 0);
    scene.observed.nodes.get_mut(&2).unwrap().revision = 0;
    assert_eq!(begun(&scene.next()), []);
}

#[test]
fn a_move_ends_where_who_comes_or_who_stays_is_damaged() {
    let mut scene = four();
    let moving = scene.begin(0, Some(4), Some(3));
    scene.observed.nodes.get_mut(&4).unwrap().replicas.insert(PartitionId(0));
    let epoch = scene.topology.placement[0].epoch;
    let cancel = Step::CancelMove { partition: PartitionId(0), epoch, moving };
    for node in [4, 2] {
        let mut scene = Scene { topology: scene.topology.clone(), observed: scene.observed.clone(), ..four() };
        damaged(&mut scene, node, 0);
        assert!(scene.next().contains(&cancel), "{node}: {:?}", scene.next());
    }
    damaged(&mut scene, 3, 0);
    assert!(!scene.next().contains(&cancel), "who goes may be damaged");
}

#[test]
fn a_move_that_too_few_could_agree_to_is_given_up_while_its_group_is_as_before() {
    let mut scene = three();
    scene.topology.drain(3, 0).unwrap();
    let moving = scene.begin(0, None, Some(3));
    let epoch = scene.topology.placement[0].epoch;
    let cancel = Step::CancelMove { partition: PartitionId(0), epoch, moving };
    scene.silent(2, 60);
    assert!(!scene.next().contains(&cancel), "it may only start again");
    scene.silent(2, 120);
    assert!(scene.next().contains(&cancel), "{:?}", scene.next());
    scene.report(0).voters = BTreeSet::from([1, 2]);
    assert!(!scene.next().contains(&cancel), "the group has gone on");
}
