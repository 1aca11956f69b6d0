//! How nodes become a cluster: what they tell each other before they are in one, and what follows from it.
//!
//! Decides only. Asking is [`super::Network::probe`] and [`super::Network::apply`]; founding itself and the metadata that an admission
//! changes belong to the node.

use async_trait::async_trait;
use bytes::Bytes;

use super::identity::common_protocol;
use super::wire::{self, PROTOCOL, PROTOCOL_OLDEST};
use crate::peers::{CallError, NodeId};

/// What a node says about itself to whoever asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// The name of the cluster that it is in, or wants to be in.
    pub cluster: String,
    pub node: NodeId,
    /// Its advertised address, `host:port`.
    pub address: String,
    /// `--cluster.initial-nodes`, in its order; empty when it was started without.
    pub initial_nodes: Vec<String>,
    /// The cluster that it is in; `None` while its directory is fresh.
    pub cluster_id: Option<u64>,
    /// The members that it knows and their addresses; none while it is in no cluster. Whoever was away learns from them where
    /// the others are now.
    pub members: Vec<(NodeId, String)>,
}

/// Answers for this node before others may call it.
#[async_trait]
pub trait Door: Send + Sync + 'static {
    fn introduction(&self) -> Introduction;

    /// A node asks to be taken in. `details` and the answer mean what both sides' nodes agree on. It may ask again when an
    /// answer got lost.
    async fn admit(&self, applicant: Introduction, details: Bytes) -> Result<Bytes, CallError>;
}

/// One of the nodes that a fresh node asked, itself not among them.
#[derive(Clone, Debug)]
pub struct Asked {
    pub address: String,
    /// What it said, or why it said nothing.
    pub answer: Result<Introduction, String>,
}

/// What a fresh node does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// This node founds the cluster, with itself as its only member.
    Found,
    /// There is a cluster; the node at this address is in it.
    Join { through: String },
    /// Asks again in a while.
    Wait { reason: String },
}

/// What the fresh node `me` does after it asked all others of its list. Only the first of `me.initial_nodes` founds, and only while
/// all others of the list say that they are fresh and were given the same list; with an empty list nobody does.
pub fn next(me: &Introduction, others: &[Asked]) -> Step {
    let answers = || others.iter().filter_map(|asked| Some((asked, asked.answer.as_ref().ok()?)));
    if let Some((asked, answer)) = answers().find(|(_, answer)| answer.cluster != me.cluster) {
        let (theirs, ours) = (&answer.cluster, &me.cluster);
        return Step::Wait { reason: format!("{} is of cluster `{theirs}`, this node of `{ours}`", asked.address) };
    }
    let mut clusters = answers().filter_map(|(asked, answer)| Some((asked, answer.cluster_id?)));
    if let Some((first, id)) = clusters.next() {
        return match clusters.find(|(_, other)| *other != id) {
            None => Step::Join { through: first.address.clone() },
            Some((other, _)) => Step::Wait {
                reason: format!("{} and {} are in different clusters of one name", first.address, other.address),
            },
        };
    }
    match why_not_found(me, others) {
        None => Step::Found,
        Some(reason) => Step::Wait { reason },
    }
}

fn why_not_found(me: &Introduction, others: &[Asked]) -> Option<String> {
    let list = &me.initial_nodes;
    let Some(first) = list.first() else {
        return Some(match others {
            [] => "no node was named to join through".to_owned(),
            _ => "none of the named nodes is in a cluster".to_owned(),
        });
    };
    if !list.contains(&me.address) {
        return Some(format!("this node's own address {} is not among the initial nodes", me.address));
    }
    for address in list.iter().filter(|address| **address != me.address) {
        let Some(asked) = others.iter().find(|asked| asked.address == *address) else {
            return Some(format!("{address} was not asked"));
        };
        match &asked.answer {
            Err(reason) => return Some(format!("{address} does not answer: {reason}")),
            Ok(answer) if answer.node == me.node => {
                return Some(format!("{address} is this node, which is in the list as {} too", me.address));
            }
            Ok(answer) if answer.initial_nodes != *list => {
                return Some(format!("{address} was given another list of initial nodes"));
            }
            Ok(_) => {}
        }
    }
    (*first != me.address).then(|| format!("{first}, the first of the initial nodes, founds the cluster"))
}

impl Introduction {
    pub(super) fn to_wire(&self) -> wire::Introduction {
        wire::Introduction {
            protocol_min: PROTOCOL_OLDEST,
            protocol_max: PROTOCOL,
            cluster: self.cluster.clone(),
            node: self.node,
            address: self.address.clone(),
            initial_nodes: self.initial_nodes.clone(),
            cluster_id: self.cluster_id,
            members: self
                .members
                .iter()
                .map(|(node, address)| wire::Member { node: *node, address: address.clone() })
                .collect(),
        }
    }

    /// Fails with the versions that the other side speaks if this one speaks none of them.
    pub(super) fn from_wire(wire: wire::Introduction) -> Result<Self, (u32, u32)> {
        let theirs = (wire.protocol_min, wire.protocol_max);
        if !common_protocol(theirs) {
            return Err(theirs);
        }
        Ok(Self {
            cluster: wire.cluster,
            node: wire.node,
            address: wire.address,
            initial_nodes: wire.initial_nodes,
            cluster_id: wire.cluster_id,
            members: wire.members.into_iter().map(|member| (member.node, member.address)).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: [&str; 3] = ["a:1", "b:1", "c:1"];

    fn fresh(address: &str) -> Introduction {
        Introduction {
            cluster: "main".to_owned(),
            node: address.as_bytes()[0].into(),
            address: address.to_owned(),
            initial_nodes: LIST.map(str::to_owned).to_vec(),
            cluster_id: None,
            members: Vec::new(),
        }
    }

    fn says(answer: Introduction) -> Asked {
        Asked { address: answer.address.clone(), answer: Ok(answer) }
    }

    fn silent(address: &str) -> Asked {
        Asked { address: address.to_owned(), answer: Err("connection refused".to_owned()) }
    }

    fn waits(step: Step, why: &str) {
        match step {
            Step::Wait { reason } => assert!(reason.contains(why), "{reason}"),
            other => panic!("{other:?}, expected to wait: {why}"),
        }
    }

    #[test]
    fn the_first_of_the_list_founds_when_all_are_fresh() {
        assert_eq!(next(&fresh("a:1"), &[says(fresh("b:1")), says(fresh("c:1"))]), Step::Found);
        waits(next(&fresh("b:1"), &[says(fresh("a:1")), says(fresh("c:1"))]), "a:1, the first");
    }

    #[test]
    fn nobody_founds_while_one_is_silent_or_unasked() {
        waits(next(&fresh("a:1"), &[says(fresh("b:1")), silent("c:1")]), "c:1 does not answer");
        waits(next(&fresh("a:1"), &[says(fresh("b:1"))]), "c:1 was not asked");
    }

    #[test]
    fn one_that_is_in_the_cluster_is_joined_even_if_others_are_silent() {
        let member = Introduction { cluster_id: Some(5), ..fresh("c:1") };
        let joined = Step::Join { through: "c:1".to_owned() };
        assert_eq!(next(&fresh("a:1"), &[silent("b:1"), says(member.clone())]), joined);
        let joins_only = Introduction { initial_nodes: Vec::new(), ..fresh("d:1") };
        assert_eq!(next(&joins_only, &[says(member)]), joined);
        waits(next(&joins_only, &[says(fresh("a:1"))]), "none of the named");
    }

    #[test]
    fn what_does_not_fit_together_is_said() {
        let other_list = Introduction { initial_nodes: vec!["a:1".to_owned()], ..fresh("b:1") };
        waits(next(&fresh("a:1"), &[says(other_list), says(fresh("c:1"))]), "another list");
        let other_name = Introduction { cluster: "test".to_owned(), ..fresh("b:1") };
        waits(next(&fresh("a:1"), &[says(other_name), says(fresh("c:1"))]), "cluster `test`");
        let (five, six) = (
            Introduction { cluster_id: Some(5), ..fresh("b:1") },
            Introduction { cluster_id: Some(6), ..fresh("c:1") },
        );
        waits(next(&fresh("a:1"), &[says(five), says(six)]), "different clusters");
        let stranger = Introduction { address: "d:1".to_owned(), ..fresh("d:1") };
        waits(next(&stranger, &[says(fresh("a:1")), says(fresh("b:1")), says(fresh("c:1"))]), "not among");
        let twice = Introduction { node: fresh("a:1").node, ..fresh("b:1") };
        waits(next(&fresh("a:1"), &[says(twice), says(fresh("c:1"))]), "is this node");
    }

    #[test]
    fn an_introduction_survives_the_wire() {
        let member = Introduction { cluster_id: Some(0), members: vec![(1, "a:1".to_owned())], ..fresh("a:1") };
        assert_eq!(Introduction::from_wire(member.to_wire()), Ok(member.clone()));
        let newer = wire::Introduction { protocol_min: 9, protocol_max: 9, ..member.to_wire() };
        assert_eq!(Introduction::from_wire(newer), Err((9, 9)));
    }
}
