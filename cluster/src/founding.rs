//! What a node does when it starts: found a cluster, join one, go on as the member that it is, wait, or refuse.
//!
//! A pure function of the node's own directory, its flags, and what the nodes of its list answer. It is asked again, with new answers,
//! until it says something else than [`Decision::Wait`]. The rules:
//! - A cluster is founded at most once from a list: only the first node of the list may, and only while *all* others say that they are
//!   fresh and were given the same list. One that does not answer may be a member whose cluster is down.
//! - A fresh node joins as soon as one node of its list is in a cluster of its name. If a member has its address, it takes that member's
//!   place: no other process is at the address, for this one is.
//! - A node that was a member goes on without asking anybody, unless somebody knows better: that it was removed, or that its list is
//!   that of another cluster.
//! - What cannot be meant is refused, with what to do about it. Waiting would hide it.

#[cfg(test)]
mod tests;

use std::fmt::Write;

use crate::peers::NodeId;

/// What the node is, by its own directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnState {
    /// There is no directory, or nothing in it.
    Fresh,
    /// It is, or was, a member of a cluster.
    Member {
        node: NodeId,
        /// 32 hexadecimal digits.
        cluster: String,
        /// Empty when its cluster is from before clusters had names.
        name: String,
    },
}

/// How the node was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--cluster.name`.
    pub name: String,
    /// The address that others reach it at.
    pub address: String,
    /// `--cluster.initial-nodes`: those that begin a cluster together, the same list for all, this one among them.
    pub initial_nodes: Vec<String>,
    /// `--cluster.join`: nodes that are in a cluster.
    pub join: Vec<String>,
    /// Drawn when the process started: by this it knows its own answers.
    pub process: u64,
}

/// What a node of the list answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Has no directory yet.
    Fresh {
        process: u64,
        name: String,
        initial_nodes: Vec<String>,
    },
    InCluster(Member),
}

/// The answer of a node that is in a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub process: u64,
    pub node: NodeId,
    pub cluster: String,
    pub name: String,
    /// The members that it knows, without those that were removed.
    pub members: Vec<(NodeId, String)>,
    /// The nodes that were removed.
    pub removed: Vec<NodeId>,
}

/// What was heard from an address; no answer when nobody is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    pub address: String,
    pub answer: Option<Answer>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Found a cluster with itself as its only member.
    Found,
    /// Ask to be taken in, in one of these ways: who answers may know less than others, or reach nobody.
    Join { ways: Vec<Way> },
    /// Go on as the member that it is.
    GoOn,
    /// Ask again soon; for whom is to be told to the operator.
    Wait { whom: Vec<String>, why: Waiting },
    /// End, with this error.
    Refuse { reason: String },
}

/// How a node comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The member to ask.
    pub through: String,
    /// The member whose place the node takes, as that one knows it.
    pub replaces: Option<NodeId>,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// An answer: they may be in a cluster already.
    ForAnswers,
    /// The first of the list to found.
    ForFounder,
    /// Anybody who is in a cluster.
    ForMember,
}

/// The addresses to ask: those of the list, and the node's own, at which nobody else may be.
pub fn addresses(flags: &Flags) -> Vec<&str> {
    let mut addresses: Vec<&str> = Vec::new();
    for address in flags.initial_nodes.iter().chain(&flags.join).chain([&flags.address]) {
        if !address.is_empty() && !addresses.contains(&address.as_str()) {
            addresses.push(address);
        }
    }
    addresses
}

/// What to do, given what the [`addresses`] answered. The order of the probes does not matter.
pub fn decide(own: &OwnState, flags: &Flags, probes: &[Probe]) -> Decision {
    let asked = Asked { flags, probes };
    let reason = bad_flags(own, flags).or_else(|| asked.address_taken()).or_else(|| match own {
        OwnState::Fresh => asked.other_clusters(None),
        OwnState::Member { node, cluster, name } => wrong_name(name, flags)
            .or_else(|| asked.removed(*node, cluster))
            .or_else(|| asked.other_clusters(Some(cluster))),
    });
    match (reason, own) {
        (Some(reason), _) => Decision::Refuse { reason },
        (None, OwnState::Member { .. }) => Decision::GoOn,
        (None, OwnState::Fresh) => asked.join_or_found(),
    }
}

/// What the flags say, and who answered what.
struct Asked<'a> {
    flags: &'a Flags,
    probes: &'a [Probe],
}

impl<'a> Asked<'a> {
    /// Answers of others in the order of the list, none from nodes that are not on it.
    fn others(&self) -> impl Iterator<Item = (&'a str, Option<&'a Answer>)> {
        let Self { flags, probes } = *self;
        let others = addresses(flags).into_iter().filter(|address| *address != flags.address);
        others.map(|address| {
            let probe = probes.iter().find(|probe| probe.address == address);
            (address, probe.and_then(|probe| probe.answer.as_ref()))
        })
    }

    fn members(&self) -> impl Iterator<Item = (&'a str, &'a Member)> {
        self.others().filter_map(|(address, answer)| match answer {
            Some(Answer::InCluster(member)) => Some((address, member)),
            _ => None,
        })
    }

    /// Another process answers at the own address.
    fn address_taken(&self) -> Option<String> {
        let address = &self.flags.address;
        let own = self.probes.iter().find(|probe| probe.address == *address && !address.is_empty())?;
        let (process, who) = match own.answer.as_ref()? {
            Answer::Fresh { process, .. } => (*process, "another node".to_owned()),
            Answer::InCluster(member) => {
                (member.process, format!("node {:016x} of cluster `{}`", member.node, member.name))
            }
        };
        (process != self.flags.process).then(|| {
            format!(
                "{who} answers at {address}, which is to be this node's own address: give each node its own \
                 --cluster.advertise-address, and end the other process if it is an old one of this node"
            )
        })
    }

    /// Somebody knows that this node was removed.
    fn removed(&self, node: NodeId, cluster: &str) -> Option<String> {
        let (address, _) =
            self.members().find(|(_, member)| member.cluster == cluster && member.removed.contains(&node))?;
        Some(format!(
            "node {node:016x} was removed from the cluster, says {address}: others have its data and it cannot come back under this \
             name. To join as a new node, move its data directory away and start it again"
        ))
    }

    /// Nodes of the list are in a cluster that this node is not to be in, or in several.
    fn other_clusters(&self, own: Option<&str>) -> Option<String> {
        let name = &self.flags.name;
        if let Some((address, member)) =
            self.members().find(|(_, member)| member.name != *name && !member.name.is_empty())
        {
            return Some(format!(
                "the node at {address} is in cluster `{}`, this one is to be in `{name}`: correct --cluster.name, or the list of \
                 nodes",
                member.name
            ));
        }
        let mut clusters = self.members();
        let first = own.map(|own| ("this node's data directory", own));
        let first = first.or_else(|| clusters.next().map(|(address, member)| (address, member.cluster.as_str())))?;
        let (address, member) = clusters.find(|(_, member)| member.cluster != first.1)?;
        Some(format!(
            "there are two clusters named `{name}`: {} is of cluster {}, and {address} of {}. Take the nodes of one of them off the \
             list; to move nodes from one to the other, remove them there and start them with empty data directories",
            first.0, first.1, member.cluster
        ))
    }

    fn join_or_found(&self) -> Decision {
        let at_own = |(_, address): &&(NodeId, String)| *address == self.flags.address && !address.is_empty();
        let ways = self.members().map(|(address, member)| Way {
            through: address.to_owned(),
            replaces: member.members.iter().find(at_own).map(|(node, _)| *node),
        });
        let ways: Vec<Way> = ways.collect();
        if !ways.is_empty() {
            return Decision::Join { ways };
        }
        if !self.flags.join.is_empty() {
            let whom = self.others().map(|(address, _)| address.to_owned()).collect();
            return Decision::Wait { whom, why: Waiting::ForMember };
        }
        if let Some(reason) = self.fresh_others_differ() {
            return Decision::Refuse { reason };
        }
        let silent: Vec<String> =
            self.others().filter(|(_, answer)| answer.is_none()).map(|(address, _)| address.to_owned()).collect();
        if !silent.is_empty() {
            return Decision::Wait { whom: silent, why: Waiting::ForAnswers };
        }
        match self.flags.initial_nodes.first() {
            Some(first) if *first != self.flags.address => {
                Decision::Wait { whom: vec![first.clone()], why: Waiting::ForFounder }
            }
            // The first of the list, or a node alone.
            _ => Decision::Found,
        }
    }

    /// Fresh nodes that would begin another cluster than this one.
    fn fresh_others_differ(&self) -> Option<String> {
        let Flags { name, initial_nodes, .. } = self.flags;
        self.others().find_map(|(address, answer)| match answer {
            Some(Answer::Fresh { name: other, .. }) if other != name => Some(format!(
                "the node at {address} is to be in cluster `{other}`, this one in `{name}`: give all nodes of \
                 --cluster.initial-nodes the same --cluster.name"
            )),
            Some(Answer::Fresh { initial_nodes: other, .. }) if other != initial_nodes => Some(format!(
                "the node at {address} was started with --cluster.initial-nodes={}, this one with {}: give all of them the same list, \
                 in the same order; a node that comes later is started with --cluster.join",
                list(other),
                list(initial_nodes)
            )),
            _ => None,
        })
    }
}

fn bad_flags(own: &OwnState, flags: &Flags) -> Option<String> {
    let Flags { name, address, initial_nodes, join, .. } = flags;
    if *own == OwnState::Fresh && !initial_nodes.is_empty() && !join.is_empty() {
        return Some(
            "--cluster.initial-nodes and --cluster.join were both given: the first is for nodes that begin a cluster together, the \
             other for one that comes to a cluster that there is"
                .to_owned(),
        );
    }
    if name.is_empty() && !(initial_nodes.is_empty() && join.is_empty()) {
        return Some("the cluster has no name: give all its nodes the same --cluster.name".to_owned());
    }
    let twice = initial_nodes.iter().enumerate().find(|(at, node)| initial_nodes[..*at].contains(node));
    if let Some((_, twice)) = twice {
        return Some(format!("{twice} is twice in --cluster.initial-nodes={}", list(initial_nodes)));
    }
    let listed = initial_nodes.is_empty() || initial_nodes.contains(address);
    if *own == OwnState::Fresh && !listed {
        return Some(format!(
            "this node's address {address} is not in --cluster.initial-nodes={}: correct --cluster.advertise-address or the list; a \
             node that comes later is started with --cluster.join",
            list(initial_nodes)
        ));
    }
    let only_itself = !join.is_empty() && join.iter().all(|node| node == address);
    if *own == OwnState::Fresh && only_itself {
        return Some(format!("--cluster.join={} names only this node itself", list(join)));
    }
    None
}

/// A cluster keeps its name; one without takes the name that its node is given.
fn wrong_name(name: &str, flags: &Flags) -> Option<String> {
    (!name.is_empty() && !flags.name.is_empty() && name != flags.name).then(|| {
        format!(
            "this node's data directory belongs to cluster `{name}`, it was started with --cluster.name={}: correct the name, or give \
             it an empty data directory",
            flags.name
        )
    })
}

fn list(nodes: &[String]) -> String {
    let mut text = nodes.join(",");
    if nodes.is_empty() {
        let _ = write!(text, "(none)");
    }
    text
}
