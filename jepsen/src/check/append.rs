//! W-append: a series of samples whose values count up is a list that only grows. Promises W1 to W4.
//!
//! - gap: acknowledged and missing, while a later one is there.
//! - truncated: acknowledged and missing, and nothing later is there.
//! - reorder: values that do not rise with time. twice: a time that comes again.
//! - phantom: read, but never sent so.

use super::Verdict;
use super::elements::{DoneRead, Elements, reads};
use crate::history::{Action, Event, Read, Samples};

pub fn check(events: &[Event]) -> Verdict {
    let mut verdict = Verdict::new("W-append");
    let elements = Elements::of(events, samples_of);
    let reads = reads(events, read_of);
    for read in &reads {
        check_shape(&elements, read, &mut verdict);
        if !read.read.flagged {
            check_complete(&elements, read, &mut verdict);
        }
    }
    let acked = elements.all.iter().filter(|element| element.acked_ns.is_some()).count();
    verdict.count("attempted", elements.all.len());
    verdict.count("acked", acked);
    verdict.count("reads", reads.len());
    for kind in ["gap", "truncated", "reorder", "twice", "phantom"] {
        verdict.count(kind, verdict.violated(kind));
    }
    verdict.unknown_if(acked == 0 || reads.is_empty());
    verdict
}

fn samples_of(action: &Action) -> Option<&Samples> {
    if let Action::Append(samples) = action { Some(samples) } else { None }
}

fn read_of(action: &Action) -> Option<&Read> {
    if let Action::ReadList(read) = action { Some(read) } else { None }
}

fn check_shape(elements: &Elements, done: &DoneRead<'_>, verdict: &mut Verdict) {
    let about = |what: &dyn std::fmt::Debug| format!("{what:?} from {} at {} ns", done.node, done.completed_ns);
    for pair in done.read.samples.iter().zip(done.read.samples.iter().skip(1)) {
        let (before, after) = pair;
        if before.ts_ms == after.ts_ms {
            verdict.violate("twice", || about(&pair));
        } else if before.ts_ms > after.ts_ms || before.value >= after.value {
            verdict.violate("reorder", || about(&pair));
        }
    }
    for sample in done.read.samples.iter() {
        if elements.find(sample, done.completed_ns).is_none() {
            verdict.violate("phantom", || about(&sample));
        }
    }
}

fn check_complete(elements: &Elements, done: &DoneRead<'_>, verdict: &mut Verdict) {
    let mut times: Vec<i64> = done.read.samples.iter().map(|sample| sample.ts_ms).collect();
    times.sort_unstable();
    let newest = times.last().copied();
    for at in elements.within(done.read) {
        let element = &elements.all[at];
        let acked = element.acked_ns.is_some_and(|acked| acked < done.invoked_ns);
        if acked && times.binary_search(&element.sample.ts_ms).is_err() {
            let kind = if newest > Some(element.sample.ts_ms) { "gap" } else { "truncated" };
            verdict
                .violate(kind, || format!("{:?} missing from {} at {} ns", element.sample, done.node, done.invoked_ns));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Script, read, sample};
    use super::*;
    use crate::check::Outcome;
    use crate::history::{Kind, Sample};

    fn three() -> Script {
        let mut script = Script::default();
        script.append(1, Kind::Ok).append(2, Kind::Ok).append(3, Kind::Ok);
        script
    }

    #[test]
    fn a_list_that_only_grew_holds() {
        let found = check(&three().read_list(&[1, 2, 3]).append(4, Kind::Info).read_list(&[1, 2, 3, 4]).events);
        assert_eq!(found.outcome, Outcome::Holds, "{found:?}");
        let skipped = check(&three().append(4, Kind::Info).append(5, Kind::Ok).read_list(&[1, 2, 3, 5]).events);
        assert_eq!(skipped.outcome, Outcome::Holds, "{skipped:?}");
    }

    #[test]
    fn a_hole_below_the_highest_is_a_gap() {
        let found = check(&three().read_list(&[1, 3]).events);
        assert_eq!((found.violated("gap"), found.violated("truncated")), (1, 0), "{found:?}");
    }

    #[test]
    fn a_missing_end_is_truncated() {
        let found = check(&three().read_list(&[1]).events);
        assert_eq!((found.violated("gap"), found.violated("truncated")), (0, 2), "{found:?}");
        assert_eq!(check(&three().read_list(&[]).events).violated("truncated"), 3);
    }

    #[test]
    fn times_come_once_and_in_order() {
        assert_eq!(check(&three().read_list(&[1, 2, 2, 3]).events).violated("twice"), 1);
        assert_eq!(check(&three().read_list(&[1, 3, 2]).events).violated("reorder"), 1);
    }

    #[test]
    fn values_rise_with_time() {
        let mut script = Script::default();
        let swapped = || [(1, 2), (2, 1)].into_iter().map(|(ts_ms, value)| Sample { value, ..sample(ts_ms) }).collect();
        script.op(Kind::Ok, Action::Append(swapped()));
        let wrong = Read { samples: swapped(), ..read(&[]) };
        assert_eq!(check(&script.op(Kind::Ok, Action::ReadList(wrong)).events).violated("reorder"), 1);
    }

    #[test]
    fn what_nobody_sent_is_a_phantom() {
        assert_eq!(check(&three().read_list(&[1, 2, 3, 9]).events).violated("phantom"), 1);
    }

    #[test]
    fn a_flagged_answer_may_be_short() {
        let flagged = Read { flagged: true, ..read(&[1]) };
        assert_eq!(check(&three().op(Kind::Ok, Action::ReadList(flagged)).events).outcome, Outcome::Holds);
    }
}
