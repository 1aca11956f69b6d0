//! Planted violations, and random histories judged by three checkers: ours, one that tries every order, and a published one.

use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action as TheirAction, History};
use todc_utils::specifications::Specification;

use super::super::testing::Script;
use super::search::{Answer, Call, search, step};
use super::*;
use crate::check::Outcome;
use crate::history::Kind;

const READ: RegisterCall = RegisterCall::Read(None);

fn register(key: &str, call: RegisterCall) -> Action {
    Action::Register(RegisterOp { key: key.into(), call })
}

fn cas(from: u64, to: u64, swapped: bool) -> RegisterCall {
    RegisterCall::Cas { from: Some(from), to, swapped }
}

fn saw(value: u64) -> RegisterCall {
    RegisterCall::Read(Some(value))
}

#[test]
fn calls_one_after_the_other_are_linearizable() {
    let mut script = Script::default();
    script.op(Kind::Ok, register("k", READ)).op(Kind::Ok, register("k", RegisterCall::Write(1)));
    script.op(Kind::Ok, register("k", cas(1, 2, true))).op(Kind::Ok, register("k", cas(1, 3, false)));
    script.op(Kind::Ok, register("k", saw(2))).op(Kind::Ok, register("other", READ));
    let found = check(&script.events);
    assert_eq!((found.outcome, found.figures["keys"]), (Outcome::Holds, 2.0), "{found:?}");
}

#[test]
fn a_stale_read_is_not_linearizable() {
    let mut script = Script::default();
    script.op(Kind::Ok, register("k", RegisterCall::Write(1))).op(Kind::Ok, register("k", RegisterCall::Write(2)));
    let found = check(&script.op(Kind::Ok, register("k", saw(1))).events);
    assert_eq!(found.violated("not linearizable"), 1, "{found:?}");
}

#[test]
fn registers_that_never_changed_say_nothing() {
    assert_eq!(check(&Script::default().op(Kind::Ok, register("k", READ)).events).outcome, Outcome::Unknown);
}

#[test]
fn two_swaps_from_one_value_are_not_linearizable() {
    let mut script = Script::default();
    script.op(Kind::Ok, register("k", RegisterCall::Write(1)));
    script.event(1, Kind::Invoke, register("k", cas(1, 2, false))).event(
        2,
        Kind::Invoke,
        register("k", cas(1, 3, false)),
    );
    script.event(1, Kind::Ok, register("k", cas(1, 2, true))).event(2, Kind::Ok, register("k", cas(1, 3, true)));
    assert_eq!(check(&script.events).outcome, Outcome::Violated);
}

#[test]
fn a_write_of_unknown_outcome_may_show_late_or_never() {
    let written = |seen: &[u64]| {
        let mut script = Script::default();
        script.op(Kind::Ok, register("k", RegisterCall::Write(1)));
        script.event(1, Kind::Invoke, register("k", RegisterCall::Write(2)));
        script.event(1, Kind::Info, register("k", RegisterCall::Write(2)));
        for &value in seen {
            script.op(Kind::Ok, register("k", saw(value)));
        }
        check(&script.events).outcome
    };
    assert_eq!(written(&[1, 1]), Outcome::Holds);
    assert_eq!(written(&[1, 2]), Outcome::Holds);
    assert_eq!(written(&[2, 1]), Outcome::Violated);
}

#[test]
fn what_failed_had_no_effect() {
    let mut script = Script::default();
    script.op(Kind::Ok, register("k", RegisterCall::Write(1))).op(Kind::Fail, register("k", RegisterCall::Write(2)));
    assert_eq!(check(&script.op(Kind::Ok, register("k", saw(2))).events).outcome, Outcome::Violated);
}

#[test]
fn the_search_gives_up_at_its_bound() {
    let writes = (0..12).map(|value| (RegisterCall::Write(value), Some(100)));
    let calls = writes.chain([(saw(99), Some(100))]);
    let calls: Vec<Call> = calls.map(|(call, returned_ns)| Call { call, called_ns: 1, returned_ns }).collect();
    assert_eq!(search(&calls, 50), Answer::GivenUp);
    assert!(matches!(search(&calls, 1_000_000), Answer::Impossible { .. }));
}

/// Tries every order in which each call precedes those that began after its return.
fn any_order(calls: &[Call], done: u32, state: Option<u64>) -> bool {
    let left = |at: &usize| done & (1 << at) == 0;
    if !(0..calls.len()).filter(left).any(|at| calls[at].returned_ns.is_some()) {
        return true;
    }
    let deadline = (0..calls.len()).filter(left).filter_map(|at| calls[at].returned_ns).min();
    (0..calls.len()).filter(left).any(|at| {
        deadline.is_none_or(|deadline| calls[at].called_ns <= deadline)
            && step(state, calls[at].call).is_some_and(|next| any_order(calls, done | (1 << at), next))
    })
}

/// Calls of random length on a small set of values; answers are those of a real register, a few of them wrong.
fn random_calls(rng: &mut fastrand::Rng, count: usize, unknowns: bool) -> Vec<Call> {
    let mut state = None;
    let mut now = 0;
    let mut calls = Vec::new();
    for _ in 0..count {
        now += rng.u64(1..4);
        let value = rng.u64(0..3);
        let honest = match rng.u8(0..3) {
            0 => RegisterCall::Read(state),
            1 => RegisterCall::Write(value),
            _ => cas(value, rng.u64(0..3), state == Some(value)),
        };
        state = step(state, honest).expect("the register's own answer");
        let call = match honest {
            RegisterCall::Read(_) if rng.u8(0..6) == 0 => saw(value),
            RegisterCall::Cas { from: Some(from), to, swapped } if rng.u8(0..8) == 0 => cas(from, to, !swapped),
            call => call,
        };
        // Effects lie at `now`; an interval around it leaves room for other orders.
        let called_ns = 1000 + now - rng.u64(0..8).min(now);
        let unknown = unknowns && !matches!(call, RegisterCall::Read(_)) && rng.u8(0..5) == 0;
        let returned_ns = (!unknown).then(|| 1000 + now + rng.u64(1..8));
        calls.push(Call { call, called_ns, returned_ns });
    }
    calls
}

#[test]
fn agrees_with_trying_every_order() {
    let mut rng = fastrand::Rng::with_seed(0x5eed_0001);
    let mut found = [0; 2];
    for round in 0..4000 {
        let count = rng.usize(1..9);
        let calls = random_calls(&mut rng, count, true);
        let ours = search(&calls, 1_000_000) == Answer::Linearizable;
        assert_eq!(ours, any_order(&calls, 0, None), "round {round}: {calls:?}");
        found[usize::from(ours)] += 1;
    }
    assert!(found.iter().all(|&count| count > 400), "both answers occur often: {found:?}");
}

struct Theirs;

impl Specification for Theirs {
    type State = Option<u64>;
    type Operation = RegisterCall;

    fn init() -> Self::State {
        None
    }

    fn apply(operation: &RegisterCall, state: &Self::State) -> (bool, Self::State) {
        match step(*state, *operation) {
            Some(next) => (true, next),
            None => (false, *state),
        }
    }
}

/// As the published checker wants it: every call is its own process, and has a return.
fn their_verdict(calls: &[Call]) -> bool {
    let called = calls.iter().enumerate().map(|(id, call)| (call.called_ns, 0, id, TheirAction::Call(call.call)));
    let returned = calls
        .iter()
        .enumerate()
        .map(|(id, call)| (call.returned_ns.expect("a complete history"), 1, id, TheirAction::Response(call.call)));
    let mut actions: Vec<_> = called.chain(returned).collect();
    actions.sort_by_key(|&(at, order, _, _)| (at, order));
    WGLChecker::<Theirs>::is_linearizable(History::from_actions(
        actions.into_iter().map(|(_, _, id, action)| (id, action)).collect(),
    ))
}

#[test]
fn agrees_with_a_published_checker_on_longer_histories() {
    let mut rng = fastrand::Rng::with_seed(0x5eed_0002);
    let mut found = [0; 2];
    for round in 0..600 {
        let count = rng.usize(10..30);
        let calls = random_calls(&mut rng, count, false);
        let ours = search(&calls, 1_000_000) == Answer::Linearizable;
        assert_eq!(ours, their_verdict(&calls), "round {round}: {calls:?}");
        found[usize::from(ours)] += 1;
    }
    assert!(found.iter().all(|&count| count > 20), "both answers occur: {found:?}");
}
