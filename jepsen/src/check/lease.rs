//! M-lease: work that one owner does at a time, fenced by tokens that the sink compares. Promise M2.
//!
//! - stale accepted: done under a lower token than one that the sink had accepted before.
//! - shared token: two owners did work under one token.
//! - wrongly refused: refused, though no higher token had been accepted.
//! - ownerless: nothing was done for longer than the bound.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Verdict;
use crate::history::{Act, Action, Event, Kind};

/// The work's state as the sink sees it.
#[derive(Debug)]
struct Work<'a> {
    highest: u64,
    owners: BTreeMap<u64, &'a str>,
    last_ns: u64,
}

/// Events are in the order in which the sink answered.
pub fn check(events: &[Event], gap_max: Duration) -> Verdict {
    let mut verdict = Verdict::new("M-lease");
    let mut works: BTreeMap<&str, Work<'_>> = BTreeMap::new();
    let (mut accepted, mut refused) = (0, 0);
    for event in events {
        let Action::Act(act) = &event.action else { continue };
        let fresh = Work { highest: 0, owners: BTreeMap::new(), last_ns: event.t_ns };
        let work = works.entry(act.work.as_str()).or_insert(fresh);
        match event.kind {
            Kind::Ok => {
                accepted += 1;
                accept(work, act, event.t_ns, gap_max, &mut verdict);
            }
            Kind::Fail => {
                refused += 1;
                if act.token >= work.highest {
                    verdict.violate("wrongly refused", || format!("{act:?} at {} ns", event.t_ns));
                }
            }
            Kind::Invoke | Kind::Info => {}
        }
    }
    verdict.count("accepted", accepted);
    verdict.count("refused", refused);
    verdict.unknown_if(accepted == 0);
    verdict
}

fn accept<'a>(work: &mut Work<'a>, act: &'a Act, now_ns: u64, gap_max: Duration, verdict: &mut Verdict) {
    if act.token < work.highest {
        verdict.violate("stale accepted", || format!("{act:?} at {now_ns} ns, after token {}", work.highest));
    }
    let owner = *work.owners.entry(act.token).or_insert(&act.owner);
    if owner != act.owner {
        verdict.violate("shared token", || format!("{act:?} at {now_ns} ns, and {owner}"));
    }
    let gap = Duration::from_nanos(now_ns - work.last_ns);
    if gap > gap_max {
        verdict.violate("ownerless", || format!("{} for {gap:?} until {now_ns} ns", act.work));
    }
    work.highest = act.token.max(work.highest);
    work.last_ns = now_ns;
}

#[cfg(test)]
mod tests {
    use super::super::testing::Script;
    use super::*;
    use crate::check::Outcome;

    fn acts(acts: &[(&str, u64, Kind)]) -> Vec<Event> {
        let mut script = Script::default();
        for &(owner, token, kind) in acts {
            script.event(0, kind, Action::Act(Act { work: "w".into(), owner: owner.into(), token }));
        }
        script.events
    }

    fn verdict(events: &[(&str, u64, Kind)]) -> Verdict {
        check(&acts(events), Duration::from_secs(1))
    }

    #[test]
    fn owners_one_after_the_other_hold() {
        let found = verdict(&[("a", 1, Kind::Ok), ("b", 2, Kind::Ok), ("a", 1, Kind::Fail), ("b", 2, Kind::Ok)]);
        assert_eq!(found.outcome, Outcome::Holds, "{found:?}");
    }

    #[test]
    fn a_stale_token_must_be_refused() {
        let found = verdict(&[("a", 1, Kind::Ok), ("b", 2, Kind::Ok), ("a", 1, Kind::Ok)]);
        assert_eq!(found.violated("stale accepted"), 1);
    }

    #[test]
    fn a_token_belongs_to_one_owner() {
        assert_eq!(verdict(&[("a", 1, Kind::Ok), ("b", 1, Kind::Ok)]).violated("shared token"), 1);
    }

    #[test]
    fn the_rightful_owner_must_not_be_refused() {
        assert_eq!(verdict(&[("a", 1, Kind::Ok), ("b", 2, Kind::Fail)]).violated("wrongly refused"), 1);
    }

    #[test]
    fn work_must_not_lie_idle() {
        let found = check(&acts(&[("a", 1, Kind::Ok), ("a", 1, Kind::Ok)]), Duration::ZERO);
        assert_eq!(found.violated("ownerless"), 1);
    }
}
