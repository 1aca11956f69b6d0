//! How this node takes part: alone, or as a member of a cluster by the flags.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pharos_cluster::checkpoint::CheckpointPolicy;
use pharos_cluster::controller::Limits;
use pharos_cluster::founding::Flags;
use pharos_cluster::fs::Disk;
use pharos_cluster::gossip::metrics::GossipMetrics;
use pharos_cluster::gossip::{GossipOptions, GossipTimes, Secrets, TellMeter};
use pharos_cluster::log::LogOptions;
use pharos_cluster::member::{Member, MemberOptions, MemberTimes, Phase};
use pharos_cluster::metrics::{ControllerMetrics, Metrics};
use pharos_cluster::node::{self as cluster, ClusterOptions, FreshIds, NodeDir, NodeOptions, OpenPartition};
use pharos_cluster::peers::Service;
use pharos_cluster::proposer::ProposerOptions;
use pharos_cluster::rpc::metrics::RpcMetrics;
use pharos_cluster::rpc::options::RpcOptions;
use pharos_cluster::rpc::tls::{Security, TlsOptions};
use pharos_cluster::rpc::transport::Tcp;
use pharos_model::Clock;
use prometheus::Registry;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tracing::warn;

use super::stores::Stores;
use super::{DRAIN_MAX, LEADER_WAIT_MAX, OpenError, random};
use crate::build_info;
use crate::flags::{ClusterFlags, ServerFlags, TlsFiles};

/// What a node is started with.
pub struct Joining<'a> {
    pub flags: &'a ServerFlags,
    /// The folder of its groups.
    pub dir: &'a Path,
    pub stores: &'a Arc<Stores>,
    /// Answers the methods of this package.
    pub application: Arc<dyn Service>,
    /// What the node says of how busy it is.
    pub meter: TellMeter,
    pub phase: watch::Sender<Phase>,
    pub web: SocketAddr,
    pub clock: Arc<dyn Clock>,
    pub registry: &'a Registry,
}

/// A node that is open; a member if the flags say so.
pub struct Joined {
    pub cluster: Arc<cluster::Node>,
    pub member: Option<Member>,
}

impl Joining<'_> {
    /// Returns when the node is open, however long that takes among others.
    pub async fn open(self) -> Result<Joined, OpenError> {
        let open: OpenPartition = self.stores.opener();
        let Some(of_cluster) = &self.flags.cluster else {
            let dir = NodeDir::lock(Arc::new(Disk), self.dir)?;
            let cluster = Arc::new(cluster::Node::open(dir, self.node_options()?, open).await?);
            return Ok(Joined { cluster, member: None });
        };
        let options = self.member_options(of_cluster)?;
        let member = Member::start(Arc::new(Disk), self.dir, open, options).await?;
        Ok(Joined { cluster: Arc::clone(member.node()), member: Some(member) })
    }

    fn node_options(&self) -> Result<NodeOptions, OpenError> {
        Ok(NodeOptions {
            partitions: self.flags.partitions,
            fresh: FreshIds {
                node: random::<8>().map(u64::from_le_bytes)?,
                cluster: random::<16>().map(u128::from_le_bytes)?,
            },
            log: LogOptions::default(),
            proposer: ProposerOptions::default(),
            checkpoints: CheckpointPolicy { age_max: self.flags.checkpoint_interval, ..CheckpointPolicy::default() },
            leader_wait_max: LEADER_WAIT_MAX,
            drain_max: DRAIN_MAX,
            cluster: ClusterOptions { remove: self.stores.remover(), ..ClusterOptions::alone() },
            clock: Arc::clone(&self.clock),
            metrics: Metrics::register(self.registry)?,
        })
    }

    fn member_options(&self, of_cluster: &ClusterFlags) -> Result<MemberOptions, OpenError> {
        let seed = random::<8>().map(u64::from_le_bytes)?;
        Ok(MemberOptions {
            flags: Flags {
                name: of_cluster.name.clone(),
                address: of_cluster.advertise.clone(),
                initial_nodes: of_cluster.initial_nodes.clone(),
                join: of_cluster.join.clone(),
                process: random::<8>().map(u64::from_le_bytes)?,
            },
            listen: of_cluster.listen.clone(),
            http: of_cluster.http(self.web),
            zone: of_cluster.zone.clone(),
            node: self.node_options()?,
            limits: Limits::default(),
            times: MemberTimes::default(),
            security: security(of_cluster)?,
            transport: Arc::new(Tcp),
            rpc: RpcOptions { upload_bytes_per_second: of_cluster.snapshot_rate, ..RpcOptions::default() },
            rpc_metrics: RpcMetrics::register(self.registry)?,
            metrics: ControllerMetrics::register(self.registry)?,
            gossip: Some(self.gossip(of_cluster)?),
            application: Arc::clone(&self.application),
            seed,
            phase: self.phase.clone(),
        })
    }

    fn gossip(&self, of_cluster: &ClusterFlags) -> Result<GossipOptions, OpenError> {
        let secrets = gossip_secrets(of_cluster)?;
        if of_cluster.gossip_secret.is_none() && of_cluster.allow_plaintext {
            warn!(
                "no secret seals gossip between nodes: who reaches the port can read and forge it; give --cluster.gossip-secret-file"
            );
        }
        let socket = udp(&of_cluster.listen)
            .map_err(|source| OpenError::Gossip { address: of_cluster.listen.clone(), source })?;
        Ok(GossipOptions {
            socket: Arc::new(socket),
            secrets,
            times: GossipTimes::default(),
            version: build_info::VERSION.to_owned(),
            meter: Arc::clone(&self.meter),
            metrics: GossipMetrics::register(self.registry)?,
        })
    }
}

fn udp(address: &str) -> std::io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// What seals gossip: the secrets of the file, or where that is allowed none.
pub fn gossip_secrets(of_cluster: &ClusterFlags) -> Result<Secrets, OpenError> {
    let Some(file) = &of_cluster.gossip_secret else { return Ok(Secrets::none()) };
    let path = || file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|source| OpenError::Path { path: path(), source })?;
    Secrets::parse(&text).map_err(|source| OpenError::GossipSecret { path: path(), source })
}

fn security(of_cluster: &ClusterFlags) -> Result<Security, OpenError> {
    let read = |path: &PathBuf| {
        std::fs::read(path).map_err(|source| OpenError::Path { path: path.display().to_string(), source })
    };
    match &of_cluster.tls {
        Some(TlsFiles { cert, key, ca }) => {
            Ok(Security::Mutual(TlsOptions { cert: read(cert)?, key: read(key)?, ca: read(ca)? }))
        }
        None if of_cluster.allow_plaintext => Ok(Security::Plain),
        None => Ok(Security::PlainOnLoopback),
    }
}
