//! A cluster's status as text that fits 80 columns: what is amiss, nodes, partitions, what is under way.

use comfy_table::{CellAlignment, Table, presets};
use pharos_cluster::meta::MemberState;
use pharos_cluster::status::{
    ClusterStatus, DrainStatus, MoveStatus, NodeName, NodeStatus, PartitionState, PartitionStatus, ReplicaStatus,
};

use super::outlook::count;
use crate::app::config::{Difference, Origin};

const NODE_COLUMNS: [&str; 9] = ["node", "state", "zone", "address", "heard", "leads", "holds", "coming", "alive"];
const GOSSIP_COLUMNS: [&str; 7] = ["node", "gossip", "alive", "cpu", "samples/s", "series", "version"];
const PARTITION_COLUMNS: [&str; 4] = ["part", "state", "leader", "replicas (entries they lack)"];

/// Partitions that are shown because something is amiss; more would hide the rest.
const REMARKABLE_MAX: usize = 10;

/// All of it; with a line for each partition, or only for those that are not as they should be.
pub fn show(status: &ClusterStatus, differences: &[Difference], all_partitions: bool) -> String {
    let mut parts = vec![headline(status), summary(status), nodes(status)];
    parts.extend(gossip(status));
    let differences: Vec<String> = differences.iter().map(|one| difference_line(status, one)).collect();
    parts.extend((!differences.is_empty()).then(|| format!("configuration differs:\n{}", differences.join("\n"))));
    let mut shown: Vec<&PartitionStatus> =
        status.partitions.iter().filter(|partition| all_partitions || is_remarkable(partition)).collect();
    let mut more = String::new();
    if !all_partitions && shown.len() > REMARKABLE_MAX {
        shown.sort_by_key(|partition| (urgency(partition.state), partition.partition));
        more = format!("\n(and {} more: --partitions shows all)", shown.len() - REMARKABLE_MAX);
        shown.truncate(REMARKABLE_MAX);
    }
    if !shown.is_empty() {
        parts.push(format!("{}{more}", partitions(status, &shown)));
    }
    let drains: Vec<String> = status.drains.iter().map(|drain| drain_line(status, drain)).collect();
    parts.extend((!drains.is_empty()).then(|| drains.join("\n")));
    parts.join("\n\n")
}

/// The worst first.
fn urgency(state: PartitionState) -> u8 {
    match state {
        PartitionState::Lost => 0,
        PartitionState::NoLeader => 1,
        PartitionState::Degraded => 2,
        PartitionState::Ok => 3,
    }
}

fn is_remarkable(partition: &PartitionStatus) -> bool {
    partition.state != PartitionState::Ok || partition.moving.is_some()
}

fn short<'a>(status: &'a ClusterStatus, node: &'a NodeName) -> &'a str {
    node.short(status.nodes.iter().map(|node| &node.id))
}

fn headline(status: &ClusterStatus) -> String {
    let Some(cluster) = &status.cluster else { return "no cluster yet".to_owned() };
    let name = if cluster.name.is_empty() { "cluster" } else { &cluster.name };
    let voters: Vec<&str> = status.metadata.voters.iter().map(|voter| short(status, voter)).collect();
    let metadata = match &status.metadata.leader {
        Some(leader) => format!("metadata led by {}, voters {}", short(status, leader), voters.join(" ")),
        None => "metadata without a leader: nothing can be changed".to_owned(),
    };
    format!("{name} {}, revision {}\n{metadata}", cluster.id, status.revision)
}

/// Whether all is well, or what is not.
fn summary(status: &ClusterStatus) -> String {
    let in_state = |state| status.partitions.iter().filter(|partition| partition.state == state).count();
    let silent = status.nodes.iter().filter(|node| !node.alive).count();
    let moving = status.partitions.iter().filter(|partition| partition.moving.is_some()).count();
    let (partitions, nodes, left) = (status.partitions.len(), status.nodes.len(), status.left);
    let is_well = in_state(PartitionState::Ok) == partitions && silent == 0;
    if is_well && moving + left.replicas + left.leaders == 0 {
        return format!("all well: {} on {}, at rest", count(partitions, "partition"), count(nodes, "node"));
    }
    let states: Vec<String> = [
        (PartitionState::Ok, "ok"),
        (PartitionState::Degraded, "degraded"),
        (PartitionState::NoLeader, "without a leader"),
        (PartitionState::Lost, "lost"),
    ]
    .into_iter()
    .map(|(state, word)| (in_state(state), word))
    .filter(|(many, _)| *many > 0)
    .map(|(many, word)| format!("{many} {word}"))
    .collect();
    let silent = if silent == 0 { String::new() } else { format!(", {silent} silent") };
    format!(
        "{}: {}\n{}{silent}\n{moving} moving; {} and {} not yet where they should be",
        count(partitions, "partition"),
        states.join(", "),
        count(nodes, "node"),
        count(left.replicas, "replica"),
        count(left.leaders, "leader"),
    )
}

fn nodes(status: &ClusterStatus) -> String {
    let mut table = plain(&NODE_COLUMNS);
    for node in &status.nodes {
        let state = if node.state == MemberState::Draining { "draining" } else { "active" };
        let address = [&node.http, &node.peer].into_iter().find(|address| !address.is_empty());
        table.add_row([
            short(status, &node.id).to_owned(),
            state.to_owned(),
            or_dash(&node.zone),
            address.map_or_else(|| "-".to_owned(), Clone::clone),
            heard(node),
            node.leaders.to_string(),
            node.replicas.to_string(),
            node.coming.to_string(),
            if node.alive { "yes" } else { "NO" }.to_owned(),
        ]);
    }
    for column in 5..8 {
        right(&mut table, column);
    }
    let removed = match status.nodes_removed {
        0 => String::new(),
        removed => format!("\n({} removed)", count(removed, "node")),
    };
    format!("{}{removed}", text(&table))
}

/// What the node that was asked hears of the others; nothing where nodes do not gossip.
fn gossip(status: &ClusterStatus) -> Option<String> {
    let mut table = plain(&GOSSIP_COLUMNS);
    let mut refused = String::new();
    for node in &status.nodes {
        let gossip = node.gossip.as_ref()?;
        let load = gossip.load.unwrap_or_default();
        table.add_row([
            short(status, &node.id).to_owned(),
            ago(gossip.heard_ms),
            if gossip.alive { "yes" } else { "NO" }.to_owned(),
            format!("{:.2}", load.cpu),
            format!("{:.0}", load.samples),
            load.series.to_string(),
            or_dash(gossip.version.as_deref().unwrap_or_default()),
        ]);
        if let Some(reason) = &gossip.refused {
            refused.push_str(&format!("\n  {}: {reason}", short(status, &node.id)));
        }
    }
    for column in 3..6 {
        right(&mut table, column);
    }
    Some(format!("{}{refused}", text(&table)))
}

fn heard(node: &NodeStatus) -> String {
    ago(node.silence_ms)
}

fn ago(ms: Option<u64>) -> String {
    match ms {
        None => "never".to_owned(),
        Some(ms) if ms < 1000 => "now".to_owned(),
        Some(ms) if ms < 120_000 => format!("{}s ago", ms / 1000),
        Some(ms) if ms < 7_200_000 => format!("{}m ago", ms / 60_000),
        Some(ms) => format!("{}h ago", ms / 3_600_000),
    }
}

fn partitions(status: &ClusterStatus, shown: &[&PartitionStatus]) -> String {
    let mut table = plain(&PARTITION_COLUMNS);
    for partition in shown {
        let state = match partition.state {
            PartitionState::Ok => "ok",
            PartitionState::Degraded => "degraded",
            PartitionState::NoLeader => "NO LEADER",
            PartitionState::Lost => "LOST",
        };
        let leader = partition.leader.as_ref().map_or("-", |leader| short(status, leader));
        let mut replicas: Vec<String> = partition.replicas.iter().map(|replica| on(status, replica)).collect();
        replicas.extend(partition.moving.iter().map(|moving| change(status, moving)));
        table.add_row([partition.partition.to_string(), state.to_owned(), leader.to_owned(), replicas.join(" ")]);
    }
    right(&mut table, 0);
    text(&table)
}

/// `a1b2c3d4`, `a1b2c3d4(40)` where it lacks entries, `a1b2c3d4(?)` where nobody knows.
fn on(status: &ClusterStatus, replica: &ReplicaStatus) -> String {
    let node = short(status, &replica.node);
    match replica.lag {
        Some(0) => node.to_owned(),
        Some(lag) => format!("{node}({lag})"),
        None => format!("{node}(?)"),
    }
}

/// `+a1b2c3d4(1200) -99aabbcc`
fn change(status: &ClusterStatus, moving: &MoveStatus) -> String {
    let add = moving.add.iter().map(|add| format!("+{}", on(status, add)));
    let remove = moving.remove.iter().map(|node| format!("-{}", short(status, node)));
    add.chain(remove).collect::<Vec<_>>().join(" ")
}

fn drain_line(status: &ClusterStatus, drain: &DrainStatus) -> String {
    let node = short(status, &drain.node);
    if drain.done {
        return format!("drain of {node}: nothing is left, it can be stopped and removed");
    }
    format!(
        "drain of {node}: {} and {} left, {} moving{}",
        count(drain.leaders_left, "leader"),
        count(drain.replicas_left, "replica"),
        drain.moving,
        if drain.votes_in_metadata { ", votes on metadata" } else { "" }
    )
}

fn difference_line(status: &ClusterStatus, Difference { config, nodes }: &Difference) -> String {
    let from = match config.origin {
        Origin::File => "own file".to_owned(),
        Origin::Document { version } => format!("document version {version}"),
    };
    let failed = if config.applied { "" } else { ", COULD NOT TAKE A NEWER ONE (see its log)" };
    let nodes: Vec<&str> = nodes.iter().map(|node| short(status, node)).collect();
    format!("  {from} {}{failed}: {}", config.hash, nodes.join(" "))
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

/// Columns with one space between them.
fn plain(columns: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(columns.iter().copied());
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 1));
    });
    table
}

fn right(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

fn text(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use pharos_cluster::controller::Left;
    use pharos_cluster::gossip::Load;
    use pharos_cluster::status::GossipStatus;

    use super::super::outlook::tests::status;
    use super::*;
    use crate::app::config::ConfigReport;

    #[test]
    fn a_cluster_that_is_well_is_said_to_be() {
        let text = show(&status(), &[], false);
        assert!(text.contains("all well: 2 partitions on 3 nodes, at rest"), "{text}");
        assert!(!text.contains("part "), "no partition is remarkable: {text}");
        assert!(show(&status(), &[], true).lines().any(|line| line.trim_start().starts_with("1 ok")), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn what_is_heard_in_gossip_has_a_line_for_each_node() {
        let mut status = status();
        assert!(!show(&status, &[], false).contains("gossip"), "none gossips");
        let load = Load { cpu: 0.1234, samples: 1200.4, series: 98_765, leads: 8 };
        for node in &mut status.nodes {
            let heard = GossipStatus { alive: true, heard_ms: Some(400), load: Some(load), ..GossipStatus::default() };
            node.gossip = Some(heard);
        }
        let refused = "it gossips with another secret".to_owned();
        status.nodes[1].gossip = Some(GossipStatus { refused: Some(refused), ..GossipStatus::default() });
        let text = show(&status, &[], false);
        let line = |node: &str, at: usize| {
            let lines = text.lines().filter(|line| line.trim_start().starts_with(node));
            lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).nth(at).unwrap()
        };
        assert_eq!(line("0000000000000001", 1), "0000000000000001 now yes 0.12 1200 98765 -", "{text}");
        assert_eq!(line("0000000000000002", 1), "0000000000000002 never NO 0.00 0 0 -", "{text}");
        assert_eq!(line("0000000000000002", 2), "0000000000000002: it gossips with another secret", "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn what_is_amiss_has_a_line() {
        let mut status = status();
        status.nodes[1].alive = false;
        status.nodes[1].silence_ms = Some(65_000);
        status.left = Left { replicas: 2, leaders: 0 };
        status.partitions[1].state = PartitionState::Degraded;
        status.partitions[1].replicas[1].lag = Some(40);
        status.partitions[1].replicas[2].lag = None;
        let add = ReplicaStatus { node: NodeName::from(0xff << 56), lag: Some(1200) };
        status.partitions[1].moving = Some(MoveStatus { add: Some(add), remove: Some(status.nodes[1].id.clone()) });
        let differs = Difference {
            config: ConfigReport { origin: Origin::File, hash: "00ff".to_owned(), applied: false },
            nodes: vec![status.nodes[0].id.clone()],
        };
        let text = show(&status, &[differs], false);
        assert!(text.contains("own file 00ff, COULD NOT TAKE A NEWER ONE (see its log): 0000000000000001"), "{text}");
        let said = "2 partitions: 1 ok, 1 degraded\n3 nodes, 1 silent\n1 moving; 2 replicas and 0 leaders not yet";
        assert!(text.contains(said), "{text}");
        assert!(text.contains("65s ago") && text.contains("NO"), "{text}");
        let line = text.lines().find(|line| line.split_whitespace().nth(1) == Some("degraded")).unwrap();
        assert!(
            line.contains("0000000000000002(40)")
                && line.contains("0000000000000003(?)")
                && line.contains("+ff000000(1200)"),
            "{line}"
        );
    }
}
