//! What the cluster looks like, for `pharos cluster status` and `/api/v1/status/cluster`: a pure function of the metadata and of
//! what the controller observes. Node ids are 16 hexadecimal digits, for JSON numbers of that size lose digits on the way.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use pharos_model::PartitionId;
use serde::{Deserialize, Serialize};

use crate::controller::{GroupReport, Left, Limits, Observed, left};
use crate::gossip::{Gossip, Load, Said, Voice};
use crate::meta::{Cluster, Member, MemberState, PartitionPlacement, Topology};
use crate::peers::NodeId;

/// Digits of an id where it is said in short, if they tell it from the others.
const SHORT_DIGITS: usize = 8;

/// A node's id as people see it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeName(String);

/// Everything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// Missing before a cluster is founded.
    pub cluster: Option<Cluster>,
    /// One more with each change of members or placement.
    pub revision: u64,
    pub metadata: MetadataStatus,
    /// Members that are not removed, by id.
    pub nodes: Vec<NodeStatus>,
    /// How many were removed.
    pub nodes_removed: usize,
    pub partitions: Vec<PartitionStatus>,
    pub drains: Vec<DrainStatus>,
    /// Until replicas and leaders are where they should be.
    pub left: Left,
}

/// The metadata group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataStatus {
    pub leader: Option<NodeName>,
    pub voters: Vec<NodeName>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    pub id: NodeName,
    pub state: MemberState,
    pub since_ms: i64,
    pub zone: String,
    pub peer: String,
    pub http: String,
    pub alive: bool,
    /// Since something came from it; missing when nobody knows.
    pub silence_ms: Option<u64>,
    /// Partitions that it leads.
    pub leaders: usize,
    /// Partitions that it holds by the placement.
    pub replicas: usize,
    /// Partitions that it is getting.
    pub coming: usize,
    /// What the node that was asked hears of it in gossip; missing where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gossip: Option<GossipStatus>,
}

/// What one node hears of another in gossip. Says nothing about what works: that is told by `alive` and by the partitions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GossipStatus {
    /// It is heard as often as ever.
    pub alive: bool,
    /// Since its heartbeat last rose; missing when it never did.
    pub heard_ms: Option<u64>,
    /// Why what comes in its name is not taken, and what to do about it.
    pub refused: Option<String>,
    pub version: Option<String>,
    pub load: Option<Load>,
    /// Which configuration it goes by.
    pub config: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartitionState {
    /// All replicas are alive and have caught up.
    Ok,
    /// It works, with fewer replicas than it has by the placement.
    Degraded,
    /// No leader is known that hears from a majority of the voters: it takes no writes until there is one.
    NoLeader,
    /// Nodes that were removed by force made its majority: it will not have a leader by itself.
    Lost,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionStatus {
    pub partition: u16,
    pub state: PartitionState,
    pub epoch: u64,
    /// The preferred leader first.
    pub replicas: Vec<ReplicaStatus>,
    pub leader: Option<NodeName>,
    pub term: Option<u64>,
    #[serde(rename = "move")]
    pub moving: Option<MoveStatus>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaStatus {
    pub node: NodeName,
    /// Entries that it lacks; missing when the leader does not know.
    pub lag: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveStatus {
    pub add: Option<ReplicaStatus>,
    pub remove: Option<NodeName>,
}

/// What is left of a drain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainStatus {
    pub node: NodeName,
    pub since_ms: i64,
    /// Partitions that it still leads.
    pub leaders_left: usize,
    /// Partitions that it still holds.
    pub replicas_left: usize,
    /// Those of them that are on their way.
    pub moving: usize,
    /// It votes in the metadata group, and an active node is to vote there instead.
    pub votes_in_metadata: bool,
    /// Nothing is left: it can be stopped and removed.
    pub done: bool,
}

impl From<NodeId> for NodeName {
    fn from(node: NodeId) -> Self {
        Self(format!("{node:016x}"))
    }
}

impl NodeName {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// So much of it that no other of these names begins like it, and at least eight digits.
    pub fn short<'a>(&self, all: impl Iterator<Item = &'a Self> + Clone) -> &str {
        let is_unique = |digits: &usize| {
            let begin = &self.0[..*digits];
            all.clone().all(|other| other == self || !other.0.starts_with(begin))
        };
        let digits = (SHORT_DIGITS.min(self.0.len())..self.0.len()).find(is_unique).unwrap_or(self.0.len());
        &self.0[..digits]
    }

    /// The id, if it is one.
    pub fn id(&self) -> Option<NodeId> {
        NodeId::from_str_radix(&self.0, 16).ok()
    }
}

impl ClusterStatus {
    pub fn of(topology: &Topology, observed: &Observed, limits: &Limits) -> Self {
        let view = View { topology, observed, limits };
        let present: Vec<&Member> = topology.present().collect();
        let metadata = observed.meta.as_ref().map_or_else(MetadataStatus::default, |report| MetadataStatus {
            leader: view.leads_on(report).then(|| report.leader.into()),
            voters: report.voters.iter().map(|node| NodeName::from(*node)).collect(),
        });
        let draining = present.iter().filter(|member| member.state == MemberState::Draining);
        Self {
            cluster: topology.cluster.clone(),
            revision: topology.revision,
            metadata,
            nodes: present.iter().map(|member| view.node(member)).collect(),
            nodes_removed: topology.members.len() - present.len(),
            partitions: view.partitions(),
            drains: draining.map(|member| view.drain(member)).collect(),
            left: left(topology, observed, limits),
        }
    }

    /// With what is heard in gossip at `now`, by the monotonic clock.
    pub(crate) fn with_gossip(mut self, gossip: &Gossip, now: Duration) -> Self {
        for node in &mut self.nodes {
            if let Some(id) = node.id.id() {
                node.gossip = Some(GossipStatus::of(gossip.voice(id), gossip.refused(id), now));
            }
        }
        self
    }
}

impl GossipStatus {
    fn of(voice: Option<Voice>, refused: Option<String>, now: Duration) -> Self {
        let Some(Voice { alive, heard_at, said }) = voice else { return Self { refused, ..Self::default() } };
        let heard_ms = u64::try_from(now.saturating_sub(heard_at).as_millis()).unwrap_or(u64::MAX);
        // Who is heard may be forged by others, which is for the log.
        let refused = refused.filter(|_| !alive);
        let Said { who, load, config } = said;
        Self { alive, heard_ms: Some(heard_ms), refused, version: who.map(|who| who.version), load, config }
    }
}

#[derive(Clone, Copy)]
struct View<'a> {
    topology: &'a Topology,
    observed: &'a Observed,
    limits: &'a Limits,
}

impl View<'_> {
    fn count(self, counted: impl Fn(&PartitionPlacement) -> bool) -> usize {
        self.topology.placement.iter().filter(|placed| counted(placed)).count()
    }

    fn leads(self, node: NodeId) -> usize {
        self.observed.partitions.values().filter(|report| report.leader == node).count()
    }

    fn node(self, member: &Member) -> NodeStatus {
        let id = member.spec.id;
        let silence = self.observed.nodes.get(&id).map(|report| report.silence);
        NodeStatus {
            id: id.into(),
            state: member.state,
            since_ms: member.since_ms,
            zone: member.spec.zone.clone(),
            peer: member.spec.peer.clone(),
            http: member.spec.http.clone(),
            alive: self.observed.is_heard(id, self.limits),
            silence_ms: silence.map(|silence| u64::try_from(silence.as_millis()).unwrap_or(u64::MAX)),
            leaders: self.leads(id),
            replicas: self.count(|placed| placed.replicas.contains(&id)),
            coming: self.count(|placed| placed.moving.is_some_and(|moving| moving.add == Some(id))),
            gossip: None,
        }
    }

    fn partitions(self) -> Vec<PartitionStatus> {
        let lost: BTreeSet<usize> = self.topology.without_leader_for_ever().into_iter().collect();
        let partition = |(at, placed): (u16, &PartitionPlacement)| {
            let report = self.observed.partitions.get(&PartitionId(at)).filter(|report| self.leads_on(report));
            let state = match report {
                None if lost.contains(&usize::from(at)) => PartitionState::Lost,
                None => PartitionState::NoLeader,
                Some(report) if placed.replicas.iter().all(|node| self.works(report, *node)) => PartitionState::Ok,
                Some(_) => PartitionState::Degraded,
            };
            let replica =
                |node: NodeId| ReplicaStatus { node: node.into(), lag: report.and_then(|report| report.lag(node)) };
            PartitionStatus {
                partition: at,
                state,
                epoch: placed.epoch,
                replicas: placed.replicas.iter().copied().map(replica).collect(),
                leader: report.map(|report| report.leader.into()),
                term: report.map(|report| report.term),
                moving: placed.moving.map(|moving| MoveStatus {
                    add: moving.add.map(replica),
                    remove: moving.remove.map(NodeName::from),
                }),
            }
        };
        (0..).zip(&self.topology.placement).map(partition).collect()
    }

    /// A leader that was cut off from the others does not know it.
    fn leads_on(self, report: &GroupReport) -> bool {
        let heard = report.voters.iter().filter(|node| self.observed.is_heard(**node, self.limits)).count();
        heard > report.voters.len() / 2
    }

    fn works(self, report: &GroupReport, node: NodeId) -> bool {
        self.observed.is_heard(node, self.limits) && report.has_caught_up(node, self.limits.lag_entries_max)
    }

    fn drain(self, member: &Member) -> DrainStatus {
        let id = member.spec.id;
        let leaders_left = self.leads(id);
        let replicas_left = self.count(|placed| placed.names(id));
        let moving = |placed: &PartitionPlacement| placed.moving.is_some_and(|moving| moving.remove == Some(id));
        // While nobody knows who votes, it may be this one.
        let votes_in_metadata = self.observed.meta.as_ref().is_none_or(|report| {
            let another = self.topology.active().any(|member| !report.voters.contains(&member.spec.id));
            report.leader == id || (report.voters.contains(&id) && another)
        });
        DrainStatus {
            node: id.into(),
            since_ms: member.since_ms,
            leaders_left,
            replicas_left,
            moving: self.count(moving),
            votes_in_metadata,
            done: leaders_left == 0 && replicas_left == 0 && !votes_in_metadata,
        }
    }
}
