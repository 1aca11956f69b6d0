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
    pub ip: Ipv4Addr,
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

    /// The place of the node of this number, counted from 0.
    pub(super) async fn add_node(&self, number: usize) -> Result<NodeAddress> {
        match self.kind {
            NetKind::Loopback => {
                // Both are held until both are known, lest they be the same.
                let (api, peer) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
                let ip = Ipv4Addr::LOCALHOST;
                Ok(NodeAddress { ip, api: api.local_addr()?, peer: peer.local_addr()?, namespace: None })
            }
            NetKind::Namespaces => {
                let (name, ip) = (Node::name_of(number), node_ip(number));
                add_namespace(&name, ip).await?;
                let (api, peer) = (SocketAddr::new(ip.into(), API_PORT), SocketAddr::new(ip.into(), PEER_PORT));
                Ok(NodeAddress { ip, api, peer, namespace: Some(name) })
            }
        }
    }
}

fn node_ip(number: usize) -> Ipv4Addr {
    let last = u8::try_from(number + 1).ok().filter(|&last| last < 254);
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
    pub deaf_to: BTreeSet<Ipv4Addr>,
    /// Percent of all nodes' packets that are dropped.
    pub loss_percent: u8,
    /// What comes from all nodes together beyond so many kilobytes a second is dropped.
    pub kilobytes_max: Option<u32>,
}

/// Packets of nodes, and not of clients.
const OTHERS: &str = "ip saddr 10.77.0.0/24 ip saddr != 10.77.0.254";

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
    for ip in &filter.deaf_to {
        writeln!(script, "    ip saddr {ip} drop").expect("a string takes everything");
    }
    if filter.loss_percent > 0 {
        let percent = filter.loss_percent;
        writeln!(script, "    {OTHERS} numgen random mod 100 < {percent} drop").expect("a string takes everything");
    }
    if let Some(kilobytes) = filter.kilobytes_max {
        writeln!(script, "    {OTHERS} limit rate over {kilobytes} kbytes/second drop")
            .expect("a string takes everything");
    }
    script + "  }\n}\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_drop_other_nodes_and_never_clients() {
        let script =
            rules(&Filter { deaf_to: [node_ip(1), node_ip(2)].into(), loss_percent: 30, kilobytes_max: Some(64) });
        assert!(script.contains("ip saddr 10.77.0.2 drop\n    ip saddr 10.77.0.3 drop\n"), "{script}");
        assert!(script.contains("ip saddr != 10.77.0.254 numgen random mod 100 < 30 drop"), "{script}");
        assert!(script.contains("ip saddr != 10.77.0.254 limit rate over 64 kbytes/second drop"), "{script}");
        assert!(OTHERS.ends_with(&HOST.to_string()));
        assert!(!rules(&Filter::default()).contains("drop"));
    }
}
