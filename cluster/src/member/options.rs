//! What a member is made of.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::controller::Limits;
use crate::founding::{Flags, Waiting};
use crate::gossip::GossipOptions;
use crate::metrics::ControllerMetrics;
use crate::node::{NodeOptions, NodePlace};
use crate::peers::Service;
use crate::rpc::metrics::RpcMetrics;
use crate::rpc::options::RpcOptions;
use crate::rpc::tls::Security;
use crate::rpc::transport::Transport;

/// How a member is started.
pub struct MemberOptions {
    pub flags: Flags,
    /// Where it listens for other nodes, `host:port`.
    pub listen: String,
    /// Where its HTTP interface is reached; may be empty.
    pub http: String,
    /// May be empty.
    pub zone: String,
    /// Of its `cluster` only `remove` and `times` are read: the rest is what this makes.
    pub node: NodeOptions,
    pub limits: Limits,
    pub times: MemberTimes,
    pub security: Security,
    pub transport: Arc<dyn Transport>,
    pub rpc: RpcOptions,
    pub rpc_metrics: RpcMetrics,
    pub metrics: ControllerMetrics,
    /// Missing in simulations, which have no datagrams.
    pub gossip: Option<GossipOptions>,
    /// Answers methods from [`crate::peers::Method::APPLICATION`] on.
    pub application: Arc<dyn Service>,
    /// Of all jitter.
    pub seed: u64,
    /// Told what the start waits for.
    pub phase: watch::Sender<Phase>,
}

impl std::fmt::Debug for MemberOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemberOptions")
            .field("flags", &self.flags)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

impl MemberOptions {
    pub(super) fn place(&self) -> NodePlace {
        NodePlace { peer: self.flags.address.clone(), http: self.http.clone(), zone: self.zone.clone() }
    }
}

/// Pauses. Those before others are asked are shortened by up to a half, so that nodes do not ask in step.
#[derive(Clone, Copy, Debug)]
pub struct MemberTimes {
    /// Before a start asks others again. Default 1 s.
    pub probe: Duration,
    /// Between rounds of the controller. Default 1 s.
    pub round: Duration,
    /// Before something of this node's own is tried again. Default 1 s.
    pub retry: Duration,
    /// Longest wait for a cluster to take this node in, before it is asked again. Default 10 s.
    pub admission: Duration,
}

impl Default for MemberTimes {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { probe: seconds(1), round: seconds(1), retry: seconds(1), admission: seconds(10) }
    }
}

/// Where a start is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    #[default]
    Asking,
    Waiting {
        whom: Vec<String>,
        why: Waiting,
    },
    /// The node at this address was asked to take this one in; it did not yet for that reason, if there is one.
    Joining {
        through: String,
        reason: Option<String>,
    },
    /// Reads its directory, catches up with the metadata.
    Opening,
    Member,
}
