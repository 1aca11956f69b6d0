use super::super::testing::{Script, read, sample};
use super::*;
use crate::check::Outcome;
use crate::history::{Kind, Sample};

fn verdict(script: &mut Script) -> Verdict {
    check(&script.events)
}

#[test]
fn what_was_acknowledged_and_read_holds() {
    let found = verdict(Script::default().add(1, Kind::Ok).add(2, Kind::Ok).read_set(&[1, 2]));
    assert_eq!(found.outcome, Outcome::Holds, "{found:?}");
    assert_eq!((found.figures["acked"], found.figures["reads"]), (2.0, 1.0));
}

#[test]
fn an_acknowledged_sample_that_the_last_read_misses_is_lost() {
    let found = verdict(Script::default().add(1, Kind::Ok).add(2, Kind::Ok).read_set(&[1, 2]).read_set(&[1]));
    assert_eq!((found.violated("lost"), found.violated("stale")), (1, 0), "{found:?}");
    let never_seen = verdict(Script::default().add(1, Kind::Ok).read_set(&[]));
    assert_eq!(never_seen.violated("lost"), 1, "{never_seen:?}");
}

#[test]
fn a_sample_that_is_missing_for_a_while_is_stale() {
    let found = verdict(Script::default().add(1, Kind::Ok).read_set(&[]).read_set(&[1]));
    assert_eq!((found.violated("lost"), found.violated("stale")), (0, 1), "{found:?}");
}

#[test]
fn a_read_that_began_before_the_acknowledgement_may_miss_it() {
    let mut script = Script::default();
    script.event(7, Kind::Invoke, Action::ReadSet(read(&[])));
    script.add(1, Kind::Ok);
    script.event(7, Kind::Ok, Action::ReadSet(read(&[])));
    let found = verdict(script.read_set(&[1]));
    assert_eq!(found.outcome, Outcome::Holds, "{found:?}");
}

#[test]
fn samples_nobody_sent_and_wrong_values_are_phantoms() {
    let found = verdict(Script::default().add(1, Kind::Ok).read_set(&[1, 5]));
    assert_eq!(found.violated("phantom"), 1, "{found:?}");
    let mut script = Script::default();
    script.add(1, Kind::Ok);
    let wrong = Read { samples: [Sample { value: 9, ..sample(1) }].into_iter().collect(), ..read(&[]) };
    let found = verdict(script.op(Kind::Ok, Action::ReadSet(wrong)));
    assert_eq!((found.violated("phantom"), found.violated("lost")), (1, 1), "{found:?}");
}

#[test]
fn a_sample_read_before_it_was_sent_is_a_phantom() {
    let found = verdict(Script::default().read_set(&[1]).add(1, Kind::Ok).read_set(&[1]));
    assert_eq!(found.violated("phantom"), 1, "{found:?}");
}

#[test]
fn what_certainly_failed_must_not_be_there() {
    let found = verdict(Script::default().add(1, Kind::Fail).add(2, Kind::Ok).read_set(&[1, 2]));
    assert_eq!(found.violated("phantom"), 1, "{found:?}");
}

#[test]
fn a_sample_twice_in_one_answer_is_a_duplicate() {
    let found = verdict(Script::default().add(1, Kind::Ok).read_set(&[1, 1]));
    assert_eq!(found.violated("duplicate"), 1, "{found:?}");
    let sent_twice = verdict(Script::default().add(1, Kind::Info).add(1, Kind::Ok).read_set(&[1]).read_set(&[1]));
    assert_eq!(sent_twice.outcome, Outcome::Holds, "{sent_twice:?}");
}

#[test]
fn an_unknown_outcome_may_go_either_way() {
    let found = verdict(Script::default().add(1, Kind::Info).add(2, Kind::Info).add(3, Kind::Ok).read_set(&[2, 3]));
    assert_eq!(found.outcome, Outcome::Holds, "{found:?}");
    assert_eq!(found.figures["unknown outcome, found later"], 1.0);
}

#[test]
fn a_flagged_answer_may_miss_samples_but_not_invent_them() {
    let mut script = Script::default();
    script.add(1, Kind::Ok);
    script.op(Kind::Ok, Action::ReadSet(Read { flagged: true, ..read(&[5]) }));
    let found = verdict(script.read_set(&[1]));
    assert_eq!((found.violated("stale"), found.violated("phantom")), (0, 1), "{found:?}");
}

#[test]
fn without_reads_of_all_that_was_acknowledged_nothing_is_known() {
    assert_eq!(verdict(Script::default().add(1, Kind::Ok)).outcome, Outcome::Unknown);
    let mut script = Script::default();
    script.add(1, Kind::Ok).add(2, Kind::Ok);
    let narrow = Read { to_ms: 1, ..read(&[1]) };
    assert_eq!(verdict(script.op(Kind::Ok, Action::ReadSet(narrow))).outcome, Outcome::Unknown);
}
