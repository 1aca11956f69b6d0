//! The network between nodes: this machine's loopback, or a namespace for each node on a bridge.
//!
//! Firewall rules are in a node's own namespace and drop what comes from other nodes; clients and targets always get through.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use anyhow::Result;

use super::command::{run, run_with_input};
use super::node::Node;

const BRIDGE: &str = "jepsen0";
const API_PORT: u16 = 9090;
const PEER_PORT: u16 = 9095;
/// This process, seen from nodes.
const HOST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 254);

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum NetKind {
    /// All nodes at 127.0.0.1; no partitions.
    Loopback,
    /// A network namespace for each node; needs root.
    Namespaces,
}

/// Where a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAddress {
    pub api: SocketAddr,
    pub peer: SocketAddr,
    /// The name of the node's network namespace.
    pub namespace: Option<String>,
}

#[derive(Debug)]
pub struct Net {
    kind: NetKind,
}

impl Net {
    pub(super) async fn create(kind: NetKind) -> Result<Self> {
        if kind == NetKind::Namespaces {
            run("ip", &["link", "add", BRIDGE, "type", "bridge"]).await?;
            run("ip", &["addr", "add", &format!("{HOST}/24"), "dev", BRIDGE]).await?;
            run("ip", &["link", "set", BRIDGE, "up"]).await?;
        }
        Ok(Self { kind })
    }

    pub(super) fn host(&self) -> IpAddr {
        match self.kind {
            NetKind::Loopback => Ipv4Addr::LOCALHOST.into(),
            NetKind::Namespaces => HOST.into(),
        }
    }

    pub(super) async fn add_node(&self, at: usize) -> Result<NodeAddress> {
        match self.kind {
            NetKind::Loopback => {
                // Both are held until both are known, lest they be the same.
                let (api, peer) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
                Ok(NodeAddress { api: api.local_addr()?, peer: peer.local_addr()?, namespace: None })
            }
            NetKind::Namespaces => {
                let name = Node::name_of(at);
                add_namespace(&name, node_ip(at)).await?;
                let ip = IpAddr::from(node_ip(at));
                let (api, peer) = (SocketAddr::new(ip, API_PORT), SocketAddr::new(ip, PEER_PORT));
                Ok(NodeAddress { api, peer, namespace: Some(name) })
            }
        }
    }
}

fn node_ip(at: usize) -> Ipv4Addr {
    let last = u8::try_from(at + 1).ok().filter(|&last| last < 254);
    Ipv4Addr::new(10, 77, 0, last.expect("fewer nodes than a small network has addresses"))
}

async fn add_namespace(name: &str, ip: Ipv4Addr) -> Result<()> {
    let link = format!("v-{name}");
    run("ip", &["netns", "add", name]).await?;
    run("ip", &["link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", name]).await?;
    run("ip", &["link", "set", &link, "master", BRIDGE, "up"]).await?;
    run("ip", &["-n", name, "addr", "add", &format!("{ip}/24"), "dev", "eth0"]).await?;
    run("ip", &["-n", name, "link", "set", "eth0", "up"]).await?;
    run("ip", &["-n", name, "link", "set", "lo", "up"]).await?;
    Ok(())
}

/// What a node does with packets of other nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Nodes whose packets are dropped.
    pub deaf_to: BTreeSet<usize>,
    /// Percent of all nodes' packets that are dropped.
    pub loss_percent: u8,
}

/// Replaces the node's rules.
pub async fn set_filter(namespace: &str, filter: &Filter) -> Result<()> {
    let into = format!("--net=/run/netns/{namespace}");
    run_with_input("nsenter", &[&into, "--", "nft", "-f", "-"], &rules(filter)).await?;
    Ok(())
}

/// The script for nft. Made first and then flushed, so that it may or may not exist before.
fn rules(filter: &Filter) -> String {
    let mut script =
        "table inet jepsen {}\nflush table inet jepsen\ntable inet jepsen {\n  chain incoming {\n".to_owned();
    script += "    type filter hook input priority 0; policy accept;\n";
    for &node in &filter.deaf_to {
        writeln!(script, "    ip saddr {} drop", node_ip(node)).expect("a string takes everything");
    }
    if filter.loss_percent > 0 {
        let percent = filter.loss_percent;
        writeln!(script, "    ip saddr 10.77.0.0/24 ip saddr != {HOST} numgen random mod 100 < {percent} drop")
            .expect("a string takes everything");
    }
    script + "  }\n}\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_drop_other_nodes_and_never_clients() {
        let script = rules(&Filter { deaf_to: [1, 2].into(), loss_percent: 30 });
        assert!(script.contains("ip saddr 10.77.0.2 drop\n    ip saddr 10.77.0.3 drop\n"), "{script}");
        assert!(script.contains("ip saddr != 10.77.0.254 numgen random mod 100 < 30 drop"), "{script}");
        assert!(!rules(&Filter::default()).contains("drop"));
    }
}
