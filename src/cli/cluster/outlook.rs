//! How far the cluster is with something, told from its status alone.

use pharos_cluster::meta::MemberState;
use pharos_cluster::status::{ClusterStatus, NodeName, PartitionState, PartitionStatus};

/// Partitions that a line names; others are counted.
const NAMED_MAX: usize = 4;

/// What a look at the cluster says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outlook {
    Waits {
        /// What is left.
        left: String,
        /// What changes all the time, for a line that is rewritten.
        details: String,
    },
    Done(String),
    Failed(String),
}

pub fn drain(status: &ClusterStatus, node: &NodeName) -> Outlook {
    let name = node.as_str();
    let Some(member) = status.nodes.iter().find(|member| member.id == *node) else {
        return Outlook::Failed(format!("node {name} was removed meanwhile"));
    };
    if member.state != MemberState::Draining {
        return Outlook::Failed(format!("the drain of node {name} was taken back meanwhile"));
    }
    let Some(drain) = status.drains.iter().find(|drain| drain.node == *node) else {
        return waits("the drain begins".to_owned(), String::new(), status);
    };
    if drain.done {
        return Outlook::Done(format!("nothing is left on node {name}: it can be stopped and removed"));
    }
    let vote = if drain.votes_in_metadata { ", a vote on metadata" } else { "" };
    let left = format!(
        "{} and {}{vote} left, {} moving",
        count(drain.leaders_left, "leader"),
        count(drain.replicas_left, "replica"),
        drain.moving
    );
    let own = |partition: &&PartitionStatus| {
        partition.moving.as_ref().is_some_and(|moving| moving.remove.as_ref() == Some(node))
    };
    waits(left, moves(status.partitions.iter().filter(own)), status)
}

pub fn removal(status: &ClusterStatus, node: &NodeName) -> Outlook {
    let name = node.as_str();
    if status.nodes.iter().any(|member| member.id == *node) {
        return Outlook::Failed(format!("node {name} is still a member"));
    }
    let on_it: Vec<&PartitionStatus> = status.partitions.iter().filter(|partition| names(partition, node)).collect();
    let lost = on_it.iter().filter(|partition| partition.state == PartitionState::Lost).count();
    let votes = status.metadata.voters.contains(node);
    if on_it.len() == lost && !votes {
        return match lost {
            0 => Outlook::Done(format!("node {name} is gone, and what it held is on others")),
            lost => Outlook::Failed(format!(
                "node {name} is gone, and {} lost with it: they have no leader and get none by themselves",
                if lost == 1 { "1 partition is".to_owned() } else { format!("{lost} partitions are") }
            )),
        };
    }
    let vote = if votes { ", and its vote on metadata" } else { "" };
    let under_way = on_it.iter().filter(|partition| partition.moving.is_some()).count();
    let left = format!("{}{vote} to be replaced, {under_way} moving", count(on_it.len() - lost, "replica"));
    waits(left, moves(on_it.into_iter()), status)
}

fn names(partition: &PartitionStatus, node: &NodeName) -> bool {
    partition.replicas.iter().any(|replica| replica.node == *node)
        || partition.moving.as_ref().and_then(|moving| moving.add.as_ref()).is_some_and(|add| add.node == *node)
}

/// Whether all is where it should be.
pub fn rest(status: &ClusterStatus) -> Outlook {
    let moving = status.partitions.iter().filter(|partition| partition.moving.is_some());
    let (under_way, left) = (moving.clone().count(), status.left);
    let draining = status.drains.iter().filter(|drain| !drain.done).count();
    let leaderless = leaderless(status);
    if under_way + left.replicas + left.leaders + draining + leaderless == 0 {
        let held: Vec<usize> = status.nodes.iter().map(|node| node.replicas).collect();
        let (fewest, most) =
            (held.iter().min().copied().unwrap_or_default(), held.iter().max().copied().unwrap_or_default());
        let each = if fewest == most { format!("{most}") } else { format!("{fewest} to {most}") };
        return Outlook::Done(format!(
            "all is where it should be: {each} replicas on each of {}",
            count(held.len(), "node")
        ));
    }
    let text =
        format!("{} and {} left, {under_way} moving", count(left.replicas, "replica"), count(left.leaders, "leader"));
    waits(text, moves(moving), status)
}

/// Partitions that may have a leader again.
fn leaderless(status: &ClusterStatus) -> usize {
    status.partitions.iter().filter(|partition| partition.state == PartitionState::NoLeader).count()
}

/// Also says what may be in the way.
fn waits(mut left: String, details: String, status: &ClusterStatus) -> Outlook {
    let silent: Vec<&str> = status
        .nodes
        .iter()
        .filter(|node| !node.alive)
        .map(|node| node.id.short(status.nodes.iter().map(|node| &node.id)))
        .collect();
    if !silent.is_empty() {
        left.push_str(&format!("; silent: {}", silent.join(" ")));
    }
    match leaderless(status) {
        0 => {}
        some => left.push_str(&format!("; {} without a leader", count(some, "partition"))),
    }
    if status.metadata.leader.is_none() {
        left.push_str("; the metadata group has no leader, nothing can begin");
    }
    Outlook::Waits { left, details }
}

/// `partition 3 lacks 1200, 7`
fn moves<'a>(moving: impl Iterator<Item = &'a PartitionStatus>) -> String {
    let all: Vec<String> =
        moving
            .filter_map(|partition| {
                let lag = partition.moving.as_ref()?.add.as_ref().and_then(|add| add.lag);
                Some(lag.map_or_else(
                    || partition.partition.to_string(),
                    |lag| format!("{} lacks {lag}", partition.partition),
                ))
            })
            .collect();
    match all.len() {
        0 => String::new(),
        some if some > NAMED_MAX => format!("moving {}, …", all[..NAMED_MAX].join(", ")),
        _ => format!("moving {}", all.join(", ")),
    }
}

/// `1 replica`, `2 replicas`
pub(super) fn count(many: usize, what: &str) -> String {
    if many == 1 { format!("1 {what}") } else { format!("{many} {what}s") }
}

#[cfg(test)]
pub(super) mod tests {
    use pharos_cluster::controller::Left;
    use pharos_cluster::status::{DrainStatus, MoveStatus, ReplicaStatus};
    use serde_json::json;

    use super::*;

    fn name(id: u64) -> NodeName {
        NodeName::from(id)
    }

    /// Three nodes, two partitions on all of them, all well.
    pub(in crate::cli::cluster) fn status() -> ClusterStatus {
        let node = |id: u64| {
            json!({
                "id": name(id), "state": "active", "since_ms": 0, "zone": "z", "peer": format!("n{id}:1"), "http": format!("n{id}:2"),
                "alive": true, "silence_ms": 0, "leaders": 1, "replicas": 2, "coming": 0,
            })
        };
        let replicas: Vec<_> = (1..=3).map(|id| json!({"node": name(id), "lag": 0})).collect();
        let partition = |at: u16| {
            json!({
                "partition": at, "state": "ok", "epoch": 1, "replicas": replicas, "leader": name(1), "term": 1, "move": null,
            })
        };
        serde_json::from_value(json!({
            "cluster": {"id": "1f", "name": "one", "partitions": 2}, "revision": 9,
            "metadata": {"leader": name(1), "voters": [name(1), name(2)]},
            "nodes": [node(1), node(2), node(3)], "nodes_removed": 0, "partitions": [partition(0), partition(1)], "drains": [],
            "left": Left::default(),
        }))
        .unwrap()
    }

    fn drained(left: usize, done: bool) -> ClusterStatus {
        let mut status = status();
        status.nodes[2].state = MemberState::Draining;
        status.drains.push(DrainStatus {
            node: name(3),
            since_ms: 0,
            leaders_left: left,
            replicas_left: 2 * left,
            moving: 1,
            votes_in_metadata: !done,
            done,
        });
        let add = ReplicaStatus { node: name(2), lag: Some(40) };
        status.partitions[1].moving = Some(MoveStatus { add: Some(add), remove: Some(name(3)) });
        status
    }

    #[test]
    fn a_drain_is_watched_until_nothing_is_left() {
        let Outlook::Waits { left, details } = drain(&drained(1, false), &name(3)) else { panic!() };
        assert_eq!(left, "1 leader and 2 replicas, a vote on metadata left, 1 moving");
        assert_eq!(details, "moving 1 lacks 40");
        let Outlook::Done(text) = drain(&drained(0, true), &name(3)) else { panic!() };
        assert!(text.contains("0000000000000003") && text.contains("removed"), "{text}");
        assert!(matches!(drain(&status(), &name(3)), Outlook::Failed(text) if text.contains("taken back")));
        assert!(matches!(drain(&status(), &name(4)), Outlook::Failed(text) if text.contains("removed")));
    }

    #[test]
    fn what_is_in_the_way_is_said() {
        let mut status = drained(1, false);
        status.nodes[1].alive = false;
        status.partitions[0].state = PartitionState::NoLeader;
        status.metadata.leader = None;
        let Outlook::Waits { left, .. } = drain(&status, &name(3)) else { panic!() };
        assert_eq!(
            left.split_once("; ").unwrap().1,
            "silent: 0000000000000002; 1 partition without a leader; the metadata group has no leader, nothing can begin"
        );
    }

    #[test]
    fn a_removal_ends_when_others_hold_what_the_node_held() {
        let mut status = status();
        assert!(matches!(removal(&status, &name(3)), Outlook::Failed(_)), "it is a member");
        status.nodes.pop();
        let Outlook::Waits { left, .. } = removal(&status, &name(3)) else { panic!() };
        assert_eq!(left, "2 replicas to be replaced, 0 moving");
        for partition in &mut status.partitions {
            partition.replicas.pop();
        }
        assert!(matches!(removal(&status, &name(3)), Outlook::Done(_)));
        status.metadata.voters.push(name(3));
        assert!(matches!(removal(&status, &name(3)), Outlook::Waits { .. }), "it still votes");
    }

    #[test]
    fn a_removal_that_lost_partitions_does_not_wait_for_them() {
        let mut status = status();
        status.nodes.pop();
        for partition in &mut status.partitions {
            partition.state = PartitionState::Lost;
        }
        assert!(matches!(removal(&status, &name(3)), Outlook::Failed(text) if text.contains("2 partitions are lost")));
    }

    #[test]
    fn rest_is_when_nothing_is_left() {
        assert_eq!(
            rest(&status()),
            Outlook::Done("all is where it should be: 2 replicas on each of 3 nodes".to_owned())
        );
        let mut unbalanced = status();
        unbalanced.left = Left { replicas: 3, leaders: 1 };
        let Outlook::Waits { left, .. } = rest(&unbalanced) else { panic!() };
        assert_eq!(left, "3 replicas and 1 leader left, 0 moving");
        assert!(matches!(rest(&drained(1, false)), Outlook::Waits { .. }));
        let mut silent = status();
        silent.partitions[0].state = PartitionState::NoLeader;
        assert!(matches!(rest(&silent), Outlook::Waits { .. }));
    }
}
