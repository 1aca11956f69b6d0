//! Where nodes live: their processes, disks, network, and what this machine lets one do to them.

pub mod abilities;
mod cluster;
pub mod command;
pub mod coverage;
pub mod disk;
pub mod isolation;
pub mod net;
pub mod node;
mod throttle;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tokio::sync::watch;

use crate::client::Client;
use crate::history::Farewell;
use coverage::Coverage;
use disk::DiskKind;
use net::{Net, NetKind};
use node::{Clustered, Node, NodeOptions};

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
    /// Those that belong to it, whether alive or not.
    pub nodes: Vec<Node>,
    /// So many were ever made.
    made: usize,
    /// Logs of nodes that have left.
    departed: Vec<PathBuf>,
    pub client: Client,
    endpoints: watch::Sender<Vec<Endpoint>>,
    pub coverage: Coverage,
    /// What nodes said that were told to end.
    farewells: Vec<(String, Farewell)>,
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
        // Nodes are told of folders in it, and have working directories of their own.
        let home = fs::canonicalize(home)?;
        let (endpoints, coverage) = (watch::Sender::default(), Coverage::default());
        let mut environment = Self {
            home,
            options,
            net,
            nodes: Vec::new(),
            made: 0,
            departed: Vec::new(),
            client,
            endpoints,
            coverage,
            farewells: Vec::new(),
        };
        environment.furnish().await?;
        environment.publish();
        Ok(environment)
    }

    async fn furnish(&mut self) -> Result<()> {
        let mut addresses = Vec::new();
        for number in 0..self.options.nodes {
            addresses.push(self.net.add_node(number).await?);
        }
        self.made = addresses.len();
        let initial = addresses.iter().map(|address| address.peer.to_string()).collect::<Vec<_>>().join(",");
        let clustered = if self.is_cluster() {
            fs::create_dir_all(self.objects())?;
            Some(Clustered { entry: format!("--cluster.initial-nodes={initial}"), objects: self.objects() })
        } else {
            None
        };
        for (number, address) in addresses.into_iter().enumerate() {
            let node = Node::create(number, &self.home, address, self.options.disk, clustered.clone()).await?;
            self.nodes.push(node);
        }
        Ok(())
    }

    /// Whether there are several nodes, or were at first.
    pub fn is_cluster(&self) -> bool {
        self.options.nodes > 1
    }

    fn objects(&self) -> PathBuf {
        self.home.join("objects")
    }

    /// Where nodes are, whether alive or not; changes when one joins or leaves.
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

    /// One more node, that joins through the others; its index.
    pub async fn grow(&mut self) -> Result<usize> {
        let number = self.made;
        let address = self.net.add_node(number).await?;
        self.made += 1;
        let clustered = Some(self.joining(None));
        self.nodes.push(Node::create(number, &self.home, address, self.options.disk, clustered).await?);
        let at = self.nodes.len() - 1;
        self.start(at).await?;
        self.publish();
        Ok(at)
    }

    /// An empty disk in place of a node's, whose process has ended; it will join through the others.
    pub async fn replace(&mut self, at: usize) -> Result<()> {
        self.nodes[at].disk.replace().await?;
        let joining = self.joining(Some(at));
        self.nodes[at].clustered = Some(joining);
        Ok(())
    }

    fn joining(&self, but: Option<usize>) -> Clustered {
        let others = (0..self.nodes.len()).filter(|&other| Some(other) != but);
        let others = others.map(|other| self.nodes[other].address.peer.to_string()).collect::<Vec<_>>().join(",");
        Clustered { entry: format!("--cluster.join={others}"), objects: self.objects() }
    }

    /// A node whose process has ended does not belong to the nodes any more.
    async fn forget(&mut self, at: usize) -> Result<()> {
        let mut node = self.nodes.remove(at);
        self.publish();
        node.kill().await;
        self.departed.push(node.log());
        node.disk.unmount().await
    }

    pub async fn start(&mut self, at: usize) -> Result<()> {
        self.nodes[at].start(&self.options.node).await
    }

    /// Asks a node to end, and looks on until it did.
    pub async fn terminate(&mut self, at: usize) -> Result<()> {
        let node = &mut self.nodes[at];
        let farewell = node.terminate(&self.client).await?;
        self.farewells.push((node.name.clone(), farewell));
        Ok(())
    }

    /// What nodes said that were told to end, since this was last asked.
    pub fn take_farewells(&mut self) -> Vec<(String, Farewell)> {
        std::mem::take(&mut self.farewells)
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

    /// Logs of all nodes there ever were.
    pub fn logs(&self) -> Vec<PathBuf> {
        self.nodes.iter().map(Node::log).chain(self.departed.iter().cloned()).collect()
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
