//! What replicas of a group apply is one log: of an entry all of them say the same leader, and leaders follow each other in it by term and,
//! within a term, by id, which is the order that the library elects in (M2). And no group is left to one voter that had more.
//!
//! In which order nodes take themselves for leaders says nothing: one that is elected late, by votes that were on their way while a greater
//! id was elected in the same term, finds no majority for its entries.

use std::collections::{BTreeMap, BTreeSet};

use crate::group::Standing;
use crate::log::entry::{GroupId, LogId};
use crate::peers::NodeId;

/// What was seen of all groups so far.
#[derive(Debug, Default)]
pub(in super::super) struct Seen {
    /// Who led when the entry was written, by term and id.
    applied: BTreeMap<(GroupId, u64), (u64, NodeId)>,
    /// All leaders, with their terms.
    leaders: BTreeSet<(GroupId, u64, NodeId)>,
    /// The most voters that a group had.
    voters: BTreeMap<GroupId, usize>,
}

impl Seen {
    /// Takes note of where a node says a group stands, and of the newest entry that it has applied; tells what cannot be.
    pub(in super::super) fn note(
        &mut self,
        node: NodeId,
        group: GroupId,
        standing: &Standing,
        applied: Option<LogId>,
    ) -> Option<String> {
        let wrong = applied.and_then(|applied| self.note_applied(node, group, applied));
        if !standing.leads || wrong.is_some() {
            return wrong;
        }
        self.leaders.insert((group, standing.term, node));
        let fewest = standing.voters.iter().map(|voters| voters.len()).min().unwrap_or(0);
        let most = self.voters.entry(group).or_default();
        *most = fewest.max(*most);
        (fewest < 2 && *most >= 3).then(|| format!("group {group} has {fewest} voters, it had {most}"))
    }

    fn note_applied(
        &mut self,
        node: NodeId,
        group: GroupId,
        LogId { term, node: leader, index }: LogId,
    ) -> Option<String> {
        let own = (term, leader);
        let known = *self.applied.entry((group, index)).or_insert(own);
        if known != own {
            return Some(format!("entry {index} of group {group} is {known:x?}'s, for {node:x} it is {own:x?}'s"));
        }
        let before = self.applied.range((group, 0)..(group, index)).next_back();
        let after = self.applied.range((group, index + 1)..=(group, u64::MAX)).next();
        let wrong = before.filter(|(_, other)| **other > own).or(after.filter(|(_, other)| **other < own));
        wrong.map(|((_, at), other)| format!("entry {index} of group {group} is {own:x?}'s, entry {at} {other:x?}'s"))
    }

    /// Leaders that there were.
    pub(in super::super) fn terms(&self) -> usize {
        self.leaders.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: GroupId = GroupId(1);

    fn leads(term: u64, voters: &[NodeId]) -> Standing {
        Standing { term, leads: true, voters: vec![voters.iter().copied().collect()], ..Standing::default() }
    }

    fn note(seen: &mut Seen, index: u64, term: u64, leader: NodeId) -> Option<String> {
        seen.note(9, GROUP, &Standing::default(), Some(LogId { term, node: leader, index }))
    }

    #[test]
    fn an_entry_of_two_leaders_is_told() {
        let mut seen = Seen::default();
        assert_eq!(note(&mut seen, 5, 1, 2), None);
        assert_eq!(note(&mut seen, 5, 1, 2), None);
        let told = note(&mut seen, 5, 1, 3);
        assert_eq!(told.as_deref(), Some("entry 5 of group 1 is (1, 2)'s, for 9 it is (1, 3)'s"));
    }

    #[test]
    fn leaders_of_a_log_that_come_in_another_order_are_told() {
        let mut seen = Seen::default();
        for (index, term, leader) in [(1, 1, 1), (8, 2, 3), (5, 2, 2), (9, 3, 1)] {
            assert_eq!(note(&mut seen, index, term, leader), None);
        }
        assert_eq!(note(&mut seen, 10, 2, 3).as_deref(), Some("entry 10 of group 1 is (2, 3)'s, entry 9 (3, 1)'s"));
        let mut seen = Seen::default();
        assert_eq!(note(&mut seen, 9, 2, 2), None);
        assert_eq!(note(&mut seen, 6, 2, 3).as_deref(), Some("entry 6 of group 1 is (2, 3)'s, entry 9 (2, 2)'s"));
    }

    #[test]
    fn a_group_that_shrinks_to_one_voter_is_told() {
        let mut seen = Seen::default();
        assert_eq!(seen.note(1, GROUP, &leads(1, &[1]), None), None);
        assert_eq!(seen.note(1, GROUP, &leads(1, &[1, 2, 3]), None), None);
        assert_eq!(seen.note(1, GROUP, &leads(1, &[1, 2]), None), None);
        assert_eq!(seen.note(1, GROUP, &leads(1, &[1]), None).as_deref(), Some("group 1 has 1 voters, it had 3"));
    }
}
