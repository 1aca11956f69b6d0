//! Where nodes live: their processes, disks, network, and what this machine lets one do to them.

pub mod abilities;
pub mod command;
pub mod coverage;
pub mod disk;
pub mod isolation;
pub mod net;
pub mod node;
mod throttle;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tokio::sync::watch;

use crate::client::Client;
use coverage::Coverage;
use disk::DiskKind;
use net::{Net, NetKind};
use node::{Node, NodeOptions};

/// What nodes are made of.
#[derive(Clone, Debug)]
pub struct EnvironmentOptions {
    pub nodes: usize,
    pub net: NetKind,
    pub disk: DiskKind,
    pub node: NodeOptions,
}

/// All nodes of a run.
#[derive(Debug)]
pub struct Environment {
    home: PathBuf,
    options: EnvironmentOptions,
    net: Net,
    pub nodes: Vec<Node>,
    pub client: Client,
    endpoints: watch::Sender<Vec<Endpoint>>,
    pub coverage: Coverage,
}

/// Where a node's API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub node: String,
    pub api: String,
}

impl Environment {
    /// Makes network and disks below `home`; starts nothing.
    pub async fn create(home: &Path, options: EnvironmentOptions, client: Client) -> Result<Self> {
        let net = Net::create(options.net).await.context("the network of the nodes")?;
        let (home, endpoints, coverage) = (home.to_owned(), watch::Sender::default(), Coverage::default());
        let mut environment = Self { home, options, net, nodes: Vec::new(), client, endpoints, coverage };
        let mut addresses = Vec::new();
        for at in 0..environment.options.nodes {
            addresses.push(environment.net.add_node(at).await?);
        }
        let initial = addresses.iter().map(|address| address.peer.to_string()).collect::<Vec<_>>().join(",");
        for (at, address) in addresses.into_iter().enumerate() {
            let home = environment.home.join(Node::name_of(at));
            let clustered = environment.options.nodes > 1;
            let join = clustered.then(|| format!("--cluster.initial-nodes={initial}"));
            let disk = environment.options.disk;
            environment.nodes.push(Node::create(at, &home, address, disk, join).await?);
        }
        environment.publish();
        Ok(environment)
    }

    /// Where nodes are, whether alive or not; changes when one joins.
    pub fn endpoints(&self) -> watch::Receiver<Vec<Endpoint>> {
        self.endpoints.subscribe()
    }

    fn publish(&self) {
        let endpoint = |node: &Node| Endpoint { node: node.name.clone(), api: node.address.api.to_string() };
        self.endpoints.send_replace(self.nodes.iter().map(endpoint).collect());
    }

    /// The configuration file of nodes that are started from now on; `NODE` stands for the node's name.
    pub fn configure(&mut self, config: &str) {
        config.clone_into(&mut self.options.node.config);
    }

    /// The address that nodes reach this process at.
    pub fn host(&self) -> std::net::IpAddr {
        self.net.host()
    }

    /// One more node, that joins through the others.
    pub async fn grow(&mut self) -> Result<()> {
        let at = self.nodes.len();
        let address = self.net.add_node(at).await?;
        let others = self.nodes.iter().map(|node| node.address.peer.to_string()).collect::<Vec<_>>().join(",");
        let (home, join) = (self.home.join(Node::name_of(at)), format!("--cluster.join={others}"));
        self.nodes.push(Node::create(at, &home, address, self.options.disk, Some(join)).await?);
        self.start(at).await?;
        self.publish();
        Ok(())
    }

    pub async fn start(&mut self, at: usize) -> Result<()> {
        self.nodes[at].start(&self.options.node).await
    }

    /// Waits until every node is ready.
    pub async fn wait_ready(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            node.wait_ready(&self.client).await?;
        }
        Ok(())
    }

    /// Looks at what nodes have done so far; one that does not answer is passed over.
    pub async fn observe(&mut self) {
        for node in &self.nodes {
            if let Some(text) = self.client.metrics(&node.address.api.to_string()).await {
                self.coverage.observe(&node.name, &text);
            }
        }
    }

    /// Ends all processes and gives disks back. What the run made beside files goes with its namespaces.
    pub async fn tear_down(&mut self) {
        for node in &mut self.nodes {
            node.disk.thaw().await;
            node.kill().await;
            if let Err(error) = node.disk.unmount().await {
                eprintln!("{}: {error:#}", node.name);
            }
        }
    }
}
