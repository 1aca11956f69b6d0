//! What all nodes report, asked of each in one call.

use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use pharos_model::{Clock, PartitionId};

use super::messages::{self, Report};
use crate::controller::{GroupReport, NodeReport, Observed};
use crate::log::entry::GroupId;
use crate::meta::Topology;
use crate::node::{META_GROUP, Node, partition_of};
use crate::peers::{NodeId, Peers, method};

/// A node that does not report within this does in a later round.
const REPORT_MAX: Duration = Duration::from_secs(2);
/// Nodes that are asked at once.
const ASKED_AT_ONCE: usize = 64;

/// Asks all members.
pub(super) struct Gatherer {
    pub(super) node: Arc<Node>,
    pub(super) peers: Arc<dyn Peers>,
    /// When this began to observe, by the monotonic clock.
    pub(super) began: Duration,
    pub(super) clock: Arc<dyn Clock>,
}

/// What this node reports.
pub(super) fn report(node: &Node) -> Report {
    // First: what is looked at after that is not older.
    let revision = node.meta().topology().borrow().revision;
    let leads = node.groups().iter().filter_map(|group| Some((group.id().0, group.report()?))).collect();
    let replicas = node.replicas().into_iter().map(|partition| partition.0).collect();
    let damaged = node.damaged_replicas().into_iter().map(|partition| partition.0).collect();
    Report { revision, replicas, damaged, leads, leaving: node.is_leaving() }
}

impl Gatherer {
    pub(super) async fn gather(&self, topology: &Topology) -> Observed {
        let nodes: Vec<NodeId> = topology.present().map(|member| member.spec.id).collect();
        let asked = stream::iter(nodes.into_iter().map(|node| async move { (node, self.ask(node).await) }));
        let reports: Vec<(NodeId, Option<Report>)> = asked.buffer_unordered(ASKED_AT_ONCE).collect().await;
        let mut observed = Observed::default();
        for (node, report) in reports {
            let report = report.unwrap_or_default();
            for (group, report) in report.leads {
                add(&mut observed, GroupId(group), report);
            }
            let partitions = |reported: Vec<u16>| reported.into_iter().map(PartitionId).collect();
            observed.nodes.insert(
                node,
                NodeReport {
                    silence: self.silence(node),
                    revision: report.revision,
                    replicas: partitions(report.replicas),
                    damaged: partitions(report.damaged),
                    leaving: report.leaving,
                },
            );
        }
        observed
    }

    async fn ask(&self, node: NodeId) -> Option<Report> {
        if node == self.node.node_id() {
            return Some(report(&self.node));
        }
        let answer = self.peers.call(node, method::REPORT, bytes::Bytes::new(), REPORT_MAX).await.ok()?;
        messages::decode(&answer).ok()
    }

    fn silence(&self, node: NodeId) -> Duration {
        if node == self.node.node_id() {
            return Duration::ZERO;
        }
        self.peers.silence(node).unwrap_or_else(|| self.clock.monotonic().saturating_sub(self.began))
    }

    pub(super) fn node(&self) -> &Node {
        &self.node
    }
}

/// Of two who say that they lead, the one of the higher term does, and in one term the one of the higher id: that is how the library
/// orders leaders.
fn add(observed: &mut Observed, group: GroupId, report: GroupReport) {
    if group == META_GROUP {
        if observed.meta.as_ref().is_none_or(|known| is_older(known, &report)) {
            observed.meta = Some(report);
        }
    } else if let Some(partition) = partition_of(group) {
        match observed.partitions.entry(partition) {
            Entry::Vacant(entry) => drop(entry.insert(report)),
            Entry::Occupied(mut known) if is_older(known.get(), &report) => drop(known.insert(report)),
            Entry::Occupied(_) => {}
        }
    }
}

fn is_older(known: &GroupReport, other: &GroupReport) -> bool {
    (known.term, known.leader) < (other.term, other.leader)
}
