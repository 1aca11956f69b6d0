//! The network between nodes: [`Peers`](crate::peers::Peers) to others, and a server for their calls.
//!
//! One port, one HTTP/2 connection to each node that is called. Small calls share one stream each way, many in a packet;
//! uploads and downloads have a stream each (`proto/peer.proto`). Every request says cluster, node and protocol version, and is
//! refused unread if they do not fit; with TLS the certificate has to be that node's ([`tls`]).
//!
//! Bytes, time and randomness come from outside: [`transport::Transport`], a clock, a seed. Waiting is tokio's.

pub mod identity;
pub mod introduction;
pub mod metrics;
pub mod options;
pub mod tls;
pub mod transport;

mod ask;
mod connect;
mod link;
mod server;

mod backoff;
mod bucket;
mod record;
mod status;
mod transfer;
mod wire;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use pharos_model::Clock;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::peers::{CallError, Method, NodeId, Peers, Pieces, Service};
use bucket::Bucket;
use identity::{Identity, Members, Standing};
use introduction::Door;
use link::Link;
use metrics::RpcMetrics;
use options::RpcOptions;
use record::Records;
use tls::{Guard, Security, TlsError, TlsOptions};
use transport::Transport;

pub use ask::AskError;
pub use wire::{PROTOCOL, PROTOCOL_OLDEST};

/// All that a network is made of.
pub struct Setup {
    /// The cluster's name.
    pub cluster: String,
    pub node: NodeId,
    /// Where others reach this node, `host:port`; with TLS its certificate names the host.
    pub address: String,
    pub members: Members,
    pub security: Security,
    pub transport: Arc<dyn Transport>,
    pub clock: Arc<dyn Clock>,
    /// Of the jitter between tries to connect.
    pub seed: u64,
    pub options: RpcOptions,
    pub metrics: RpcMetrics,
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster, node, address, .. } = self;
        f.debug_struct("Setup")
            .field("cluster", cluster)
            .field("node", node)
            .field("address", address)
            .finish_non_exhaustive()
    }
}

/// Why the network cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("a limit of the network between nodes: {reason}")]
    Options { reason: String },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("cannot listen for other nodes on {address}")]
    Listen { address: String, source: std::io::Error },
}

/// The network of one node. Dropping it closes its connections; [`Network::close`] waits for that.
pub struct Network {
    shared: Arc<Shared>,
}

/// What connections each way have in common.
struct Shared {
    identity: Identity,
    members: Members,
    guard: Guard,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    seed: u64,
    options: RpcOptions,
    metrics: RpcMetrics,
    links: Mutex<BTreeMap<NodeId, Arc<Link>>>,
    records: Records,
    bucket: Option<Bucket>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Network {
    /// Connects to nobody yet, and listens nowhere.
    pub fn new(setup: Setup) -> Result<Self, StartError> {
        setup.options.validate().map_err(|reason| StartError::Options { reason })?;
        let guard = Guard::new(&setup.security)?;
        let identity =
            Identity { cluster: setup.cluster, node: setup.node, address: setup.address, cluster_id: OnceLock::new() };
        let shared = Shared {
            identity,
            members: setup.members,
            guard,
            transport: setup.transport,
            clock: setup.clock,
            seed: setup.seed,
            bucket: setup.options.upload_bytes_per_second.map(Bucket::new),
            options: setup.options,
            links: Mutex::default(),
            records: Records::new(setup.metrics.clone()),
            metrics: setup.metrics,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Serves other nodes on `address`, `host:port`, until the network is closed. Returns where it listens. Until
    /// [`Network::enter`] only `door` is asked. Calls of one node are begun in the order in which it made them, one after the other
    /// up to where each first waits; so what computes for long goes to other threads at once.
    pub async fn serve(
        &self,
        address: &str,
        service: Arc<dyn Service>,
        door: Arc<dyn Door>,
    ) -> Result<String, StartError> {
        let shared = &self.shared;
        shared.guard.allows(address)?;
        let listener = shared.transport.listen(address).await;
        let listener = listener.map_err(|source| StartError::Listen { address: address.to_owned(), source })?;
        let bound = listener.address();
        shared.tasks.spawn(server::serve(Arc::clone(shared), listener, service, door));
        Ok(bound)
    }

    /// This node is in the cluster of this id, 32 hexadecimal digits, from now on.
    ///
    /// # Panics
    /// If it is in another one.
    pub fn enter(&self, cluster_id: &str) {
        let entered = self.shared.identity.cluster_id.get_or_init(|| cluster_id.to_owned());
        assert_eq!(entered, cluster_id, "a node stays in the cluster that it entered");
        for link in self.shared.links.lock().values() {
            link.hint();
        }
    }

    /// New connections are made with this certificate and these authorities; those that are open stay.
    pub fn replace_tls(&self, options: &TlsOptions) -> Result<(), TlsError> {
        self.shared.guard.replace(options)
    }

    /// Ends all calls and connections, and waits until all tasks of the network have ended. Services whose calls are dropped by
    /// that have to come to an await for it.
    pub async fn close(&self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("identity", &self.shared.identity).finish_non_exhaustive()
    }
}

impl Shared {
    /// The way to `to`, begun if it was not.
    fn link(self: &Arc<Self>, to: NodeId) -> Result<Arc<Link>, CallError> {
        let unreachable = |reason: &str| CallError::Unreachable { node: to, reason: reason.to_owned() };
        let mut links = self.links.lock();
        let entry = match links.entry(to) {
            Entry::Occupied(link) => return Ok(Arc::clone(link.get())),
            Entry::Vacant(entry) => entry,
        };
        if self.stop.is_cancelled() {
            return Err(unreachable("this node stops"));
        }
        match (self.members)(to) {
            Standing::Member { .. } => {}
            Standing::Removed => return Err(unreachable("it was removed from the cluster")),
            Standing::Unknown => return Err(unreachable("no such node is known")),
        }
        let link = Arc::clone(entry.insert(Link::new(to, self)));
        self.tasks.spawn(Arc::clone(&link).run());
        Ok(link)
    }

    /// The node was heard of.
    fn hint(&self, node: NodeId) {
        if let Some(link) = self.links.lock().get(&node) {
            link.hint();
        }
    }

    /// A connection with the node ended; what is kept of it goes too if it is not coming back.
    fn forget_unless_member(&self, node: NodeId) {
        let linked = self.links.lock().contains_key(&node);
        if !linked && !matches!((self.members)(node), Standing::Member { .. }) {
            self.records.forget(node);
        }
    }

    fn fits(&self, to: NodeId, what: &str, bytes: &Bytes) -> Result<(), CallError> {
        let max = self.options.body_bytes_max;
        if bytes.len() <= max {
            return Ok(());
        }
        let reason = format!("a {what} of {} bytes is larger than any may be ({max})", bytes.len());
        Err(CallError::Unreachable { node: to, reason })
    }
}

#[async_trait]
impl Peers for Network {
    async fn call(&self, to: NodeId, method: Method, body: Bytes, timeout: Duration) -> Result<Bytes, CallError> {
        self.shared.fits(to, "call", &body)?;
        self.shared.link(to)?.call(method, body, timeout).await
    }

    async fn upload(&self, to: NodeId, method: Method, header: Bytes, pieces: Pieces) -> Result<Bytes, CallError> {
        self.shared.fits(to, "header", &header)?;
        self.shared.link(to)?.upload(method, header, pieces).await
    }

    async fn download(&self, to: NodeId, method: Method, header: Bytes) -> Result<Pieces, CallError> {
        self.shared.fits(to, "header", &header)?;
        self.shared.link(to)?.download(method, header).await
    }

    fn meet(&self, node: NodeId) {
        // Who is not known yet is met when asked for again.
        let _ = self.shared.link(node);
    }

    fn silence(&self, node: NodeId) -> Option<Duration> {
        self.shared.records.get(node)?.silence(self.shared.clock.monotonic())
    }
}
