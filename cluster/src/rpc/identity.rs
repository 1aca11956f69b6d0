//! Who calls whom, and who is refused. Decides only; who asks is in `server`.

use std::sync::{Arc, OnceLock};

use super::tls::Certificate;
use super::transport::host_of;
use super::wire::{Caller, PROTOCOL, PROTOCOL_OLDEST};
use crate::peers::NodeId;

/// What a node knows about another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// `address` is where it is reached, `host:port`.
    Member { address: String },
    /// It was taken out of the cluster, and does not come back under this id.
    Removed,
    /// Never heard of: it may have joined a moment ago.
    Unknown,
}

/// Looks a node up in what this node knows of the cluster. Asked often, and again and again: answers change.
pub type Members = Arc<dyn Fn(NodeId) -> Standing + Send + Sync>;

/// Who this node is.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) cluster: String,
    pub(super) node: NodeId,
    pub(super) address: String,
    /// Empty until the node has founded or joined a cluster.
    pub(super) cluster_id: OnceLock<String>,
}

impl Identity {
    /// What this node says to `to`; `None` while it is in no cluster.
    pub(super) fn caller(&self, to: NodeId) -> Option<Caller> {
        Some(Caller {
            protocol_min: PROTOCOL_OLDEST,
            protocol_max: PROTOCOL,
            cluster: self.cluster.clone(),
            cluster_id: self.cluster_id.get()?.clone(),
            node: self.node,
            to,
            address: self.address.clone(),
        })
    }
}

/// Why a request is not read. Says what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the request does not say which node sends it: this port is for nodes of a Pharos cluster only")]
    NoCaller,
    #[error(
        "node {caller:016x} speaks protocol versions {} to {}, node {here:016x} speaks {PROTOCOL_OLDEST} to {PROTOCOL}: \
         upgrade the older one, one release at a time",
        theirs.0, theirs.1
    )]
    Protocol { caller: NodeId, theirs: (u32, u32), here: NodeId },
    #[error(
        "node {here:016x} is in cluster `{ours}`, the caller in cluster `{theirs}`: check their cluster names, and the \
         addresses that the caller was given"
    )]
    Cluster { ours: String, theirs: String, here: NodeId },
    #[error("node {here:016x} is in no cluster yet: try again when it has joined")]
    NotInCluster { here: NodeId },
    #[error(
        "cluster `{cluster}` has the id {ours} here and {theirs} at the caller: these are two clusters of one \
         name, and a node cannot go from one to the other with its directory; start it with an empty one to join"
    )]
    ClusterId { cluster: String, ours: String, theirs: String },
    #[error("node {caller:016x} was removed from the cluster: start it with an empty directory to join as a new node")]
    Removed { caller: NodeId },
    #[error(
        "the caller means node {meant:016x}, but this is node {here:016x}: the address is out of date, or two nodes were \
         given the same one"
    )]
    OtherNode { meant: NodeId, here: NodeId },
    #[error(
        "node {caller:016x} spoke on this connection before, node {theirs:016x} does now: a connection is one node's"
    )]
    TwoNodes { caller: NodeId, theirs: NodeId },
    #[error(
        "the certificate of node {caller:016x} is not for `{host}`, the host of its advertised address: add that name to \
         the certificate (subjectAltName), or advertise an address that it names"
    )]
    Certificate { caller: NodeId, host: String },
}

impl Refusal {
    /// The label of its metric.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::NoCaller => "no_caller",
            Self::Protocol { .. } => "protocol",
            Self::Cluster { .. } => "cluster_name",
            Self::NotInCluster { .. } => "not_in_cluster",
            Self::ClusterId { .. } => "cluster_id",
            Self::Removed { .. } => "removed",
            Self::OtherNode { .. } => "other_node",
            Self::TwoNodes { .. } => "two_nodes",
            Self::Certificate { .. } => "certificate",
        }
    }
}

/// Whether there is a version that both speak.
pub(super) fn common_protocol(theirs: (u32, u32)) -> bool {
    theirs.0 <= PROTOCOL && theirs.1 >= PROTOCOL_OLDEST
}

/// Who calls, if it may. `certificate` is the caller's, `None` without TLS.
pub(super) fn check(
    here: &Identity,
    caller: Option<Caller>,
    members: &Members,
    certificate: Option<&Certificate>,
) -> Result<NodeId, Refusal> {
    let caller = caller.ok_or(Refusal::NoCaller)?;
    let theirs = (caller.protocol_min, caller.protocol_max);
    if !common_protocol(theirs) {
        return Err(Refusal::Protocol { caller: caller.node, theirs, here: here.node });
    }
    if caller.cluster != here.cluster {
        return Err(Refusal::Cluster { ours: here.cluster.clone(), theirs: caller.cluster, here: here.node });
    }
    let ours = here.cluster_id.get().ok_or(Refusal::NotInCluster { here: here.node })?;
    if caller.cluster_id != *ours {
        return Err(Refusal::ClusterId { cluster: caller.cluster, ours: ours.clone(), theirs: caller.cluster_id });
    }
    if caller.to != here.node {
        return Err(Refusal::OtherNode { meant: caller.to, here: here.node });
    }
    // A node that joined while this one was away is known by what its certificate and its own word agree on.
    let address = match members(caller.node) {
        Standing::Member { address } => address,
        Standing::Removed => return Err(Refusal::Removed { caller: caller.node }),
        Standing::Unknown => caller.address,
    };
    named_by(certificate, caller.node, &address)?;
    Ok(caller.node)
}

/// Whether the certificate is for the host of `address`.
pub(super) fn named_by(certificate: Option<&Certificate>, caller: NodeId, address: &str) -> Result<(), Refusal> {
    let host = host_of(address);
    match certificate {
        Some(certificate) if !certificate.names(host) => Err(Refusal::Certificate { caller, host: host.to_owned() }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> Identity {
        let cluster_id = OnceLock::new();
        cluster_id.set("77".to_owned()).expect("empty");
        Identity { cluster: "main".to_owned(), node: 1, address: "one:9097".to_owned(), cluster_id }
    }

    fn caller() -> Caller {
        let there = here();
        Identity { node: 2, address: "two:9097".to_owned(), ..there }.caller(1).expect("in a cluster")
    }

    fn refused(caller: Option<Caller>) -> &'static str {
        let members: Members = Arc::new(|node| match node {
            2 => Standing::Member { address: "two:9097".to_owned() },
            3 => Standing::Removed,
            _ => Standing::Unknown,
        });
        check(&here(), caller, &members, None).expect_err("refused").label()
    }

    #[test]
    fn a_member_and_one_that_is_not_known_yet_are_let_in() {
        let members: Members = Arc::new(|_| Standing::Unknown);
        assert_eq!(check(&here(), Some(caller()), &members, None), Ok(2));
        let members: Members = Arc::new(|_| Standing::Member { address: "two:9097".to_owned() });
        assert_eq!(check(&here(), Some(caller()), &members, None), Ok(2));
    }

    #[test]
    fn each_wrong_thing_is_refused_for_what_it_is() {
        assert_eq!(refused(None), "no_caller");
        assert_eq!(refused(Some(Caller { cluster: "other".to_owned(), ..caller() })), "cluster_name");
        assert_eq!(refused(Some(Caller { cluster_id: "78".to_owned(), ..caller() })), "cluster_id");
        assert_eq!(refused(Some(Caller { to: 9, ..caller() })), "other_node");
        assert_eq!(refused(Some(Caller { node: 3, ..caller() })), "removed");
        let newer = Caller { protocol_min: PROTOCOL + 1, protocol_max: PROTOCOL + 2, ..caller() };
        assert_eq!(refused(Some(newer)), "protocol");
        assert_eq!(refused(Some(Caller { protocol_min: 0, protocol_max: 0, ..caller() })), "protocol");
    }

    #[test]
    fn a_newer_node_that_still_speaks_our_version_is_let_in() {
        let members: Members = Arc::new(|_| Standing::Unknown);
        let newer = Caller { protocol_max: PROTOCOL + 3, ..caller() };
        assert_eq!(check(&here(), Some(newer), &members, None), Ok(2));
    }

    #[test]
    fn nobody_is_served_before_this_node_is_in_a_cluster() {
        let members: Members = Arc::new(|_| Standing::Unknown);
        let outside = Identity { cluster_id: OnceLock::new(), ..here() };
        assert_eq!(outside.caller(2), None);
        assert_eq!(check(&outside, Some(caller()), &members, None), Err(Refusal::NotInCluster { here: 1 }));
    }
}
