//! Datagrams at a door, and nodes that gossip over loopback.

mod doors;
mod nodes;

use std::collections::BTreeMap;

use pharos_model::clock::SystemClock;
use prometheus::Registry;

use super::*;
use crate::meta::{Member, MemberState, NodeSpec};
use crate::rpc::identity::Standing;

const SECRET: &str = "a secret of all nodes of this cluster";
const OTHER_SECRET: &str = "another secret, of nodes elsewhere..";

fn secrets(lines: &[&str]) -> Secrets {
    Secrets::parse(&lines.join("\n")).unwrap()
}

fn metrics() -> GossipMetrics {
    GossipMetrics::register(&Registry::new()).unwrap()
}

/// Nodes by where they are reached.
fn topology(nodes: &BTreeMap<NodeId, (SocketAddr, MemberState)>) -> Topology {
    let member = |(id, (peer, state)): (&NodeId, &(SocketAddr, MemberState))| {
        let spec = NodeSpec { id: *id, peer: peer.to_string(), http: String::new(), zone: "z".to_owned() };
        (*id, Member { spec, state: *state, since_ms: 0 })
    };
    Topology { members: nodes.iter().map(member).collect(), ..Topology::default() }
}

fn members(topology: watch::Receiver<Arc<Topology>>) -> Members {
    Arc::new(move |node| match topology.borrow().members.get(&node) {
        Some(member) if member.is_removed() => Standing::Removed,
        Some(member) => Standing::Member { address: member.spec.peer.clone() },
        None => Standing::Unknown,
    })
}
