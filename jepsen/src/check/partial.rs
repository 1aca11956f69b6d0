//! Q-partial: an answer is complete, or says that it may not be, or is an error. Never silently short. Promises Q1 and Q2.
//!
//! Counts all samples of W-set: at least those acknowledged before the query began, at most those sent before it ended.

use super::Verdict;
use super::elements::Elements;
use crate::history::{Action, Event, Samples, operations};

pub fn check(events: &[Event]) -> Verdict {
    let mut verdict = Verdict::new("Q-partial");
    let elements = Elements::of(events, samples_of);
    let mut acked: Vec<u64> = elements.all.iter().filter_map(|element| element.acked_ns).collect();
    let mut sent: Vec<u64> = elements.all.iter().map(|element| element.invoked_ns).collect();
    acked.sort_unstable();
    sent.sort_unstable();
    let (mut complete, mut flagged, mut errors) = (0, 0, 0);
    for operation in operations(events, |action| matches!(action, Action::Count(_))) {
        let Some(event) = operation.ok() else {
            errors += 1;
            continue;
        };
        let Action::Count(answer) = event.action else { continue };
        let least = acked.partition_point(|&at| at < operation.invoke.t_ns) as u64;
        let most = sent.partition_point(|&at| at <= event.t_ns) as u64;
        let count = answer.count.unwrap_or(0);
        let about = || format!("{count} of {least} to {most} from {:?} at {} ns", event.node, event.t_ns);
        if count > most {
            verdict.violate("too many", about);
        } else if answer.flagged {
            flagged += 1;
        } else if count < least {
            verdict.violate("silently short", about);
        } else {
            complete += 1;
        }
    }
    verdict.count("complete", complete);
    verdict.count("flagged", flagged);
    verdict.count("errors", errors);
    for kind in ["silently short", "too many"] {
        verdict.count(kind, verdict.violated(kind));
    }
    verdict.unknown_if(complete == 0);
    verdict
}

fn samples_of(action: &Action) -> Option<&Samples> {
    if let Action::Add(samples) = action { Some(samples) } else { None }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Script;
    use super::*;
    use crate::check::Outcome;
    use crate::history::{Count, Kind};

    /// Two samples acknowledged, one of unknown outcome, then a count.
    fn counted(kind: Kind, count: u64, flagged: bool) -> Verdict {
        let mut script = Script::default();
        script.add(1, Kind::Ok).add(2, Kind::Ok).add(3, Kind::Info);
        check(&script.op(kind, Action::Count(Count { count: Some(count), flagged })).events)
    }

    #[test]
    fn a_complete_answer_lies_between_acknowledged_and_sent() {
        assert_eq!(counted(Kind::Ok, 2, false).outcome, Outcome::Holds);
        assert_eq!(counted(Kind::Ok, 3, false).outcome, Outcome::Holds);
    }

    #[test]
    fn a_short_answer_must_say_so() {
        assert_eq!(counted(Kind::Ok, 1, false).violated("silently short"), 1);
        let flagged = counted(Kind::Ok, 1, true);
        assert_eq!((flagged.outcome, flagged.figures["flagged"]), (Outcome::Unknown, 1.0));
    }

    #[test]
    fn too_many_are_wrong_even_when_flagged() {
        assert_eq!(counted(Kind::Ok, 4, false).violated("too many"), 1);
        assert_eq!(counted(Kind::Ok, 4, true).violated("too many"), 1);
    }

    #[test]
    fn an_error_is_an_honest_answer() {
        let found = counted(Kind::Fail, 0, false);
        assert_eq!((found.violations.len(), found.figures["errors"]), (0, 1.0));
    }
}
