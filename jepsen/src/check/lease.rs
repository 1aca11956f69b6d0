//! M-lease: a partition has at most one leader in a term, whoever is asked and whenever. Promise M2.
//!
//! - two leaders: two nodes are said to lead a partition in the same term.
//!
//! A higher term fences a lower one, so two leaders of different terms at the same time are none too many: the older one finds no majority.

use std::collections::BTreeMap;

use super::Verdict;
use crate::history::{Action, Claim, Event};

pub fn check(events: &[Event]) -> Verdict {
    let mut verdict = Verdict::new("M-lease");
    let mut leaders: BTreeMap<(u16, u64), (&str, &Event)> = BTreeMap::new();
    for event in events {
        let Action::Claims(claims) = &event.action else { continue };
        for Claim { partition, term, leader } in claims {
            let (first, told) = *leaders.entry((*partition, *term)).or_insert((leader, event));
            if first != leader {
                verdict.violate("two leaders", || {
                    format!(
                        "partition {partition} in term {term}: {first} by {:?} at {} ns, {leader} by {:?} at {} ns",
                        told.node, told.t_ns, event.node, event.t_ns
                    )
                });
            }
        }
    }
    let partitions: Vec<u16> = leaders.keys().map(|&(partition, _)| partition).collect();
    let distinct = partitions.chunk_by(|a, b| a == b).count();
    verdict.count("partitions", distinct);
    verdict.count("terms", leaders.len());
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
    fn a_term_has_one_leader() {
        assert_eq!(verdict(&[(0, 1, "a"), (0, 2, "b"), (0, 1, "b")]).violated("two leaders"), 1);
    }

    #[test]
    fn nobody_told_anything() {
        assert_eq!(verdict(&[]).outcome, Outcome::Unknown);
    }
}
