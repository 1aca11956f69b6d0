//! R-ends: nodes that are told to end, one after the other, as in an upgrade, are not missed by anybody.
//!
//! - unanswered: a query that began meanwhile failed at all nodes.
//! - balanced: one failed that was asked of a node that had said that it was ready a moment before. A time, in the end: where times
//!   are judged leniently, it is only told.
//! - silent: the node never said on `/-/ready` that it was not ready any more.
//! - ready again: it said so, and took it back.

use std::ops::Range;

use super::limit::TimeBounds;
use super::{Verdict, quantile};
use crate::history::{Action, Event, Farewell, Manner, operations};
use crate::nemesis::Fault;

/// `several` nodes take over from each other; a node alone is missed, and has nobody who would listen to its farewell.
pub fn check(events: &[Event], several: bool, bounds: TimeBounds) -> Verdict {
    let mut verdict = Verdict::new("R-ends");
    let windows = windows(events);
    verdict.count("times", windows.len());
    if several {
        check_queries(events, &windows, bounds, &mut verdict);
    }
    check_farewells(events, several, &mut verdict);
    verdict
}

fn check_queries(events: &[Event], windows: &[Range<u64>], bounds: TimeBounds, verdict: &mut Verdict) {
    let (mut queries, mut unanswered, mut balanced, mut refused) = (0, 0, 0, 0);
    let asked = operations(events, |action| matches!(action, Action::Ask(_)));
    for query in asked.iter().filter(|query| windows.iter().any(|window| window.contains(&query.invoke.t_ns))) {
        // None when the run ended before.
        let Some(end) = query.complete else { continue };
        queries += 1;
        let about = || format!("from {} to {} ns", query.invoke.t_ns, end.t_ns);
        match query.invoke.action {
            _ if query.ok().is_some() => {}
            Action::Ask(Manner::Retried) => {
                unanswered += 1;
                verdict.violate("unanswered", about);
            }
            _ => {
                balanced += 1;
                if bounds == TimeBounds::Strict {
                    verdict.violate("balanced", about);
                }
            }
        }
    }
    for attempt in operations(events, |action| matches!(action, Action::ReadSet(_) | Action::ReadList(_))) {
        let within = windows.iter().any(|window| window.contains(&attempt.invoke.t_ns));
        refused += usize::from(within && attempt.ok().is_none());
    }
    verdict.count("queries meanwhile", queries);
    verdict.count("of them unanswered by all nodes", unanswered);
    verdict.count("of them failed behind a load balancer", balanced);
    verdict.count("answered by the next node only", refused);
}

fn check_farewells(events: &[Event], several: bool, verdict: &mut Verdict) {
    let (mut ready, mut unready) = (Vec::new(), Vec::new());
    for event in events {
        let Action::Farewell(farewell) = event.action else { continue };
        let about = || format!("{} at {} ns: {farewell:?}", event.node.as_deref().unwrap_or("?"), event.t_ns);
        if farewell.ready_again {
            verdict.violate("ready again", about);
        }
        if several && farewell.unready_ms.is_none() {
            verdict.violate("silent", about);
        }
        let Farewell { ready_ms, unready_ms, .. } = farewell;
        ready.push(ready_ms.unwrap_or(0));
        unready.extend(unready_ms.map(|(first, last)| last - first));
    }
    verdict.count("nodes that ended", ready.len());
    verdict.figure("still ready after the signal max ms", quantile(&mut ready, 1.0) as f64);
    verdict.figure("not ready, and answering, min ms", quantile(&mut unready, 0.0) as f64);
}

/// When nodes were told to end, until all were ready again.
fn windows(events: &[Event]) -> Vec<Range<u64>> {
    let (mut windows, mut since) = (Vec::new(), None);
    for event in events {
        match &event.action {
            Action::Fault(trouble) if Fault::named(&trouble.fault).is_some_and(Fault::is_graceful) => {
                since = Some(event.t_ns);
            }
            Action::Heal(_) => windows.extend(since.take().map(|since| since..event.t_ns)),
            _ => {}
        }
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::super::testing::Script;
    use super::*;
    use crate::check::Outcome;
    use crate::history::{Kind, Trouble};

    /// A query during a fault.
    fn asked(fault: &str, manner: Manner, kind: Kind) -> Vec<Event> {
        let trouble = || Trouble { fault: fault.into(), nodes: Vec::new(), whole: false, leads: 1 };
        let mut script = Script::default();
        script.event(1, Kind::Info, Action::Fault(trouble()));
        script.op(kind, Action::Ask(manner));
        script.event(1, Kind::Info, Action::Heal(trouble()));
        script.op(Kind::Info, Action::Ask(manner));
        script.events
    }

    fn farewell(said: &[bool]) -> Vec<Event> {
        let mut farewell = Farewell { ended_ms: 9, ..Farewell::default() };
        (0..).zip(said).for_each(|(ms, &ready)| farewell.note(ready, ms));
        let mut script = Script::default();
        script.event(1, Kind::Info, Action::Farewell(farewell));
        script.events
    }

    #[test]
    fn a_query_fails_at_all_nodes_or_not_at_all() {
        let strict = |events: &[Event]| check(events, true, TimeBounds::Strict);
        assert_eq!(strict(&asked("rolling", Manner::Retried, Kind::Info)).violated("unanswered"), 1);
        assert_eq!(strict(&asked("rolling", Manner::Retried, Kind::Ok)).outcome, Outcome::Holds);
        assert_eq!(strict(&asked("kill", Manner::Retried, Kind::Info)).outcome, Outcome::Holds, "it died");
        let alone = check(&asked("terminate", Manner::Retried, Kind::Info), false, TimeBounds::Strict);
        assert_eq!(alone.outcome, Outcome::Holds, "there is no other node");
    }

    #[test]
    fn a_load_balancer_knows_in_time() {
        let events = asked("terminate", Manner::Balanced, Kind::Info);
        assert_eq!(check(&events, true, TimeBounds::Strict).violated("balanced"), 1);
        let told = check(&events, true, TimeBounds::Lenient);
        assert_eq!((told.outcome, told.figures["of them failed behind a load balancer"]), (Outcome::Holds, 1.0));
    }

    #[test]
    fn a_node_says_that_it_ends_and_does_not_take_it_back() {
        let violated = |said: &[bool], several: bool| {
            let verdict = check(&farewell(said), several, TimeBounds::Strict);
            verdict.violations.keys().copied().collect::<Vec<_>>()
        };
        assert_eq!(violated(&[true, false, false], true), [""; 0]);
        assert_eq!(violated(&[true], true), ["silent"]);
        assert_eq!(violated(&[true], false), [""; 0]);
        assert_eq!(violated(&[false, true, false], false), ["ready again"]);
        let told = check(&farewell(&[true, false, false]), true, TimeBounds::Strict);
        assert_eq!(told.figures["not ready, and answering, min ms"], 1.0);
    }
}
