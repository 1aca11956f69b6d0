//! M-reg: registers are configuration documents, changed by compare-and-set through any node.

use super::Shared;
use super::pace::Pace;
use crate::client::cluster::{Document, PutOutcome};
use crate::env::Endpoint;
use crate::history::{About, Action, Kind, RegisterCall, RegisterOp};

/// Registers; few, so that clients meet.
const REGISTERS: usize = 5;

/// One client. It swaps the value that it last saw for a new one, that nobody else writes, and reads now and then.
pub async fn swap_until_stopped(client: u64, rate: f64, mut rng: fastrand::Rng, shared: Shared) {
    let mut pace = Pace::new(rate, shared.stop.clone());
    let mut process = shared.processes.next();
    let mut seen: [Option<Document>; REGISTERS] = Default::default();
    let mut written = 0;
    while pace.turn().await {
        let register = rng.usize(..REGISTERS);
        let turn = Turn { process, register, endpoint: shared.endpoint(&mut rng), shared: &shared };
        let known = seen[register].take().filter(|_| rng.u8(..3) > 0);
        let (kind, now) = match known {
            Some(known) => {
                written += 1;
                turn.swap(known, client << 32 | written).await
            }
            None => turn.read().await,
        };
        seen[register] = now;
        if kind == Kind::Info {
            process = shared.processes.next();
        }
    }
}

/// One call.
struct Turn<'a> {
    process: u32,
    register: usize,
    endpoint: Endpoint,
    shared: &'a Shared,
}

impl Turn<'_> {
    /// How it ended, and what the register is known to hold.
    async fn read(&self) -> (Kind, Option<Document>) {
        self.note(Kind::Invoke, RegisterCall::Read(None), None);
        match self.shared.client.document(&self.endpoint.api, &name(self.register)).await {
            Ok(document) => {
                self.note(Kind::Ok, RegisterCall::Read(value_of(&document)), None);
                (Kind::Ok, Some(document))
            }
            Err(error) => {
                self.note(Kind::Info, RegisterCall::Read(None), Some(error));
                (Kind::Info, None)
            }
        }
    }

    async fn swap(&self, known: Document, to: u64) -> (Kind, Option<Document>) {
        let call = |swapped| RegisterCall::Cas { from: value_of(&known), to, swapped };
        self.note(Kind::Invoke, call(false), None);
        let (name, content) = (name(self.register), to.to_string());
        let (kind, swapped, error) =
            match self.shared.client.put_document(&self.endpoint.api, &name, known.version, &content).await {
                PutOutcome::Done => (Kind::Ok, true, None),
                PutOutcome::Conflict => (Kind::Ok, false, None),
                PutOutcome::Failed(error) => (Kind::Fail, false, Some(error)),
                PutOutcome::Unknown(error) => (Kind::Info, false, Some(error)),
            };
        self.note(kind, call(swapped), error);
        (kind, swapped.then(|| Document { version: known.version + 1, content }))
    }

    fn note(&self, kind: Kind, call: RegisterCall, error: Option<String>) {
        let action = Action::Register(RegisterOp { key: name(self.register), call });
        self.shared.recorder.record(self.process, kind, action, About { node: Some(&self.endpoint.node), error });
    }
}

fn name(register: usize) -> String {
    format!("jepsen-register-{register}")
}

/// Nothing at first; what nobody wrote is a value that nobody can have written.
fn value_of(document: &Document) -> Option<u64> {
    (document.version > 0).then(|| document.content.trim().parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_a_register() {
        let document = |version, content: &str| Document { version, content: content.into() };
        assert_eq!(value_of(&document(0, "")), None);
        assert_eq!(value_of(&document(2, "4294967297\n")), Some(4_294_967_297));
        assert_eq!(value_of(&document(2, "x")), Some(u64::MAX));
    }
}
