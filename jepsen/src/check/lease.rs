//! M-lease: leaders of a partition follow each other in one order, whoever is asked and whenever. Promise M2.
//!
//! - two leaders: a node is said to lead for the first time in a term after one with a greater id was said to lead in it.
//!
//! A leader is fenced by its term and, within a term, by its id, which is the order that the Raft library elects in: the lead may pass to a
//! greater id without a new term, and never back. Two leaders at the same time are none too many: the older one finds no majority.
//!
//! One order is not what nodes see at every moment: the lower id may take the lead late, by votes that were on their way while the greater
//! one was elected, and commit nothing. The simulation saw that once in two thousand runs. What this check tells is to be held against the nodes' logs.

use std::collections::BTreeMap;

use super::Verdict;
use crate::history::{Action, Claim, Event};

pub fn check(events: &[Event]) -> Verdict {
    let mut verdict = Verdict::new("M-lease");
    let mut leaders: BTreeMap<(u16, u64), BTreeMap<&str, &Event>> = BTreeMap::new();
    for event in events {
        let Action::Claims(claims) = &event.action else { continue };
        for Claim { partition, term, leader } in claims {
            let known = leaders.entry((*partition, *term)).or_default();
            if known.contains_key(leader.as_str()) {
                continue;
            }
            if let Some((first, told)) = known.last_key_value().filter(|(greatest, _)| **greatest > leader.as_str()) {
                verdict.violate("two leaders", || {
                    format!(
                        "partition {partition} in term {term}: {first} by {:?} at {} ns, {leader} by {:?} at {} ns",
                        told.node, told.t_ns, event.node, event.t_ns
                    )
                });
            }
            known.insert(leader, event);
        }
    }
    let partitions: Vec<u16> = leaders.keys().map(|&(partition, _)| partition).collect();
    let distinct = partitions.chunk_by(|a, b| a == b).count();
    verdict.count("partitions", distinct);
    verdict.count("terms", leaders.len());
    verdict.count("terms with a second leader", leaders.values().filter(|known| known.len() > 1).count());
    verdict.unknown_if(leaders.is_empty());
    verdict
}

#[cfg(test)]
mod tests {
    use super::super::testing::Script;
    use super::*;
    use crate::check::Outcome;
    use crate::history::Kind;

    fn verdict(claims: &[(u16, u64, &str)]) -> Verdict {
        let mut script = Script::default();
        for &(partition, term, leader) in claims {
            script.event(0, Kind::Ok, Action::Claims(vec![Claim { partition, term, leader: leader.into() }]));
        }
        check(&script.events)
    }

    #[test]
    fn leaders_one_term_after_the_other_hold_also_when_they_are_told_late() {
        let found = verdict(&[(0, 1, "a"), (0, 2, "b"), (0, 1, "a"), (1, 1, "b")]);
        assert_eq!((found.outcome, found.figures["partitions"], found.figures["terms"]), (Outcome::Holds, 2.0, 3.0));
    }

    #[test]
    fn a_term_has_one_leader_or_passes_to_a_greater_id() {
        assert_eq!(verdict(&[(0, 1, "b"), (0, 2, "b"), (0, 1, "a")]).violated("two leaders"), 1);
        let passed = verdict(&[(0, 1, "a"), (0, 1, "b"), (0, 1, "a")]);
        assert_eq!((passed.outcome, passed.figures["terms with a second leader"]), (Outcome::Holds, 1.0));
    }

    #[test]
    fn nobody_told_anything() {
        assert_eq!(verdict(&[]).outcome, Outcome::Unknown);
    }
}
