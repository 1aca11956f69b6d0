//! Leaders of a group come in one order: by term, and in one term by id, for the library lets a node of a higher id take over in the same
//! term (M2). And no group is left to one voter that had more.

use std::collections::{BTreeMap, BTreeSet};

use crate::group::Standing;
use crate::log::entry::GroupId;
use crate::peers::NodeId;

/// What was seen of all groups so far.
#[derive(Debug, Default)]
pub(in super::super) struct Seen {
    /// The newest of each term.
    leaders: BTreeMap<(GroupId, u64), NodeId>,
    /// All of them, with their terms.
    all: BTreeSet<(GroupId, u64, NodeId)>,
    /// The most voters that a group had.
    voters: BTreeMap<GroupId, usize>,
}

impl Seen {
    /// Takes note of where a node says a group stands; tells what cannot be. Nodes that are looked at together come in the order of their ids.
    pub(in super::super) fn note(&mut self, node: NodeId, group: GroupId, standing: &Standing) -> Option<String> {
        if !standing.leads {
            return None;
        }
        let newest = self.leaders.entry((group, standing.term)).or_insert(node);
        *newest = node.max(*newest);
        let leader = *newest;
        if self.all.insert((group, standing.term, node)) && leader != node {
            return Some(format!("group {group} is led by node {leader:x}, and after that by {node:x}: {standing:x?}"));
        }
        let fewest = standing.voters.iter().map(|voters| voters.len()).min().unwrap_or(0);
        let most = self.voters.entry(group).or_default();
        *most = fewest.max(*most);
        (fewest < 2 && *most >= 3).then(|| format!("group {group} has {fewest} voters, it had {most}"))
    }

    /// Leaders that there were.
    pub(in super::super) fn terms(&self) -> usize {
        self.all.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leads(term: u64, voters: &[NodeId]) -> Standing {
        Standing { term, leads: true, voters: vec![voters.iter().copied().collect()], ..Standing::default() }
    }

    #[test]
    fn leaders_of_a_term_that_come_in_another_order_are_told() {
        let mut seen = Seen::default();
        let group = GroupId(1);
        for (node, term) in [(1, 1), (1, 1), (2, 2), (3, 2), (2, 2), (1, 3)] {
            assert_eq!(seen.note(node, group, &leads(term, &[1, 2, 3])), None);
        }
        assert_eq!(seen.note(2, GroupId(2), &leads(1, &[1, 2, 3])), None);
        let told = seen.note(1, group, &leads(2, &[1, 2, 3]));
        assert!(told.is_some_and(|told| told.starts_with("group 1 is led by node 3, and after that by 1: ")));
    }

    #[test]
    fn a_group_that_shrinks_to_one_voter_is_told() {
        let mut seen = Seen::default();
        assert_eq!(seen.note(1, GroupId(1), &leads(1, &[1])), None);
        assert_eq!(seen.note(1, GroupId(1), &leads(1, &[1, 2, 3])), None);
        assert_eq!(seen.note(1, GroupId(1), &leads(1, &[1, 2])), None);
        assert_eq!(seen.note(1, GroupId(1), &leads(1, &[1])).as_deref(), Some("group 1 has 1 voters, it had 3"));
    }
}
