//! M-reg: registers with compare-and-set are linearizable, each key by itself. Promise M1.

mod search;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::Verdict;
use crate::history::{Action, Event, RegisterCall, RegisterOp, operations};
use search::{Answer, Call, search};

/// Most partial orders remembered for one key; beyond, the outcome is unknown.
const MEMO_MAX: usize = 4_000_000;

pub fn check(events: &[Event]) -> Verdict {
    let mut verdict = Verdict::new("M-reg");
    let calls = calls_by_key(events);
    let mut given_up = 0;
    for (key, calls) in &calls {
        match search(calls, MEMO_MAX) {
            Answer::Linearizable => {}
            Answer::Impossible { stuck } => verdict.violate("not linearizable", || {
                format!("key {key}: no order explains {:?} among {} calls", calls[stuck], calls.len())
            }),
            Answer::GivenUp => given_up += 1,
        }
    }
    verdict.count("keys", calls.len());
    verdict.count("calls", calls.values().map(Vec::len).sum());
    verdict.count("keys given up", given_up);
    let swapped = |call: &&Call| call.returned_ns.is_some() && is_change(call.call);
    let changes = calls.values().flatten().filter(swapped).count();
    verdict.count("changes", changes);
    verdict.unknown_if(changes == 0 || given_up > 0);
    verdict
}

/// What may have had an effect or has an answer.
fn calls_by_key(events: &[Event]) -> BTreeMap<&str, Vec<Call>> {
    let mut keys: BTreeMap<&str, Vec<Call>> = BTreeMap::new();
    for operation in operations(events, |action| matches!(action, Action::Register(_))) {
        let Action::Register(RegisterOp { key, call: invoked }) = &operation.invoke.action else { continue };
        let called_ns = operation.invoke.t_ns;
        let call = match operation.ok().map(|event| (&event.action, event.t_ns)) {
            Some((Action::Register(op), returned_ns)) => {
                Call { call: op.call, called_ns, returned_ns: Some(returned_ns) }
            }
            // A read without an answer says nothing.
            _ if operation.failed() || matches!(invoked, RegisterCall::Read(_)) => continue,
            _ => Call { call: succeeded(*invoked), called_ns, returned_ns: None },
        };
        keys.entry(key).or_default().push(call);
    }
    keys
}

fn is_change(call: RegisterCall) -> bool {
    matches!(call, RegisterCall::Write(_) | RegisterCall::Cas { swapped: true, .. })
}

/// The effect that a call without an answer has, if it has one.
fn succeeded(call: RegisterCall) -> RegisterCall {
    match call {
        RegisterCall::Cas { from, to, .. } => RegisterCall::Cas { from, to, swapped: true },
        RegisterCall::Read(_) | RegisterCall::Write(_) => call,
    }
}
