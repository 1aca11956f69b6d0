//! What a worker is asked besides to run parts of plans: short questions with short answers, which travel as bytes.

use datafusion::common::DataFusionError;
use pharos_model::{TenantId, TimeRange};
use pharos_storage::select::Relied;

use super::channel::{Channels, trouble_of};
use super::placement::{Share, WorkerId};
use super::report::Failure;
use crate::error::QueryError;
use crate::source::{Estimate, Relying, Revision, SelectRequest};
use crate::wire::{Wire, WireError, wire_enum, wire_struct};

/// Raised when a question or an answer begins to mean something else.
const VERSION: u8 = 1;

#[derive(Clone, Debug)]
pub(super) enum Question {
    /// To have changes noted, and which there were since an earlier answer.
    Rely { relying: Relying, since: Option<Noted> },
    /// What reading from some partitions is reckoned to take.
    Estimate { request: SelectRequest, partitions: Vec<usize> },
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    Relied { noted: Noted, amended: Vec<TimeRange> },
    Estimated(Estimate),
    Failed(Failure),
}

/// A state of a worker's series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Noted {
    /// Of the worker: its revisions mean nothing to another process, that of the same worker after a restart included.
    pub incarnation: u64,
    pub revision: Revision,
}

wire_enum!(Question { 0 = Rely { relying, since }, 1 = Estimate { request, partitions } });
wire_enum!(Answer { 0 = Relied { noted, amended }, 1 = Estimated(estimate), 2 = Failed(failure) });
wire_struct!(Noted { incarnation, revision });
wire_struct!(Relying { tenant, partitions, until_ms });
wire_enum!(Revision { 0 = Partitions(relied), 1 = Whole(revision) });
wire_struct!(Relied { head, files });
wire_struct!(TimeRange { start_ms, end_ms });
wire_struct!(Estimate { series, samples, bytes });

/// What an estimate depends on: whether start timestamps are wanted makes no difference to it.
impl Wire for SelectRequest {
    fn put(&self, out: &mut Vec<u8>) {
        let Self { tenant, matchers, range, newest_only, totals_only, starts: _ } = self;
        tenant.put(out);
        matchers.put(out);
        range.put(out);
        newest_only.put(out);
        totals_only.put(out);
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, WireError> {
        Ok(Self {
            tenant: Wire::take(bytes)?,
            matchers: Wire::take(bytes)?,
            range: Wire::take(bytes)?,
            newest_only: Wire::take(bytes)?,
            totals_only: Wire::take(bytes)?,
            starts: true,
        })
    }
}

impl Wire for TenantId {
    fn put(&self, out: &mut Vec<u8>) {
        self.as_str().to_owned().put(out);
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, WireError> {
        let name = String::take(bytes)?;
        Self::new(&name).map_err(|error| WireError::Invalid { kind: "tenant", reason: error.to_string() })
    }
}

pub(super) fn encode(value: &impl Wire) -> Vec<u8> {
    let mut bytes = VERSION.to_bytes();
    value.put(&mut bytes);
    bytes
}

pub(super) fn decode<T: Wire>(mut bytes: &[u8]) -> Result<T, WireError> {
    match u8::take(&mut bytes)? {
        VERSION => T::from_bytes(bytes),
        tag => Err(WireError::Tag { kind: "version of questions", tag: u64::from(tag) }),
    }
}

/// Asks a worker. Whatever is wrong with the answer is the worker's.
pub(super) async fn ask(channels: &dyn Channels, worker: &WorkerId, question: &Question) -> Result<Answer, QueryError> {
    let asked = channels.ask(worker, encode(question)).await;
    let bytes = asked.map_err(|error| trouble_of(worker, &error))?;
    match decode(&bytes) {
        Ok(Answer::Failed(failure)) => Err(failure.of(worker)),
        Ok(answer) => Ok(answer),
        Err(error) => Err(trouble_of(worker, &DataFusionError::External(Box::new(error)))),
    }
}

/// What a worker reckons reading its share to take.
pub(crate) async fn estimate_on_worker(
    channels: &dyn Channels,
    share: &Share,
    request: SelectRequest,
) -> Result<Estimate, QueryError> {
    let question = Question::Estimate { request, partitions: share.partitions.to_vec() };
    match ask(channels, &share.worker, &question).await? {
        Answer::Estimated(estimate) => Ok(estimate),
        _ => Err(astray(&share.worker)),
    }
}

/// An answer to another question.
pub(super) fn astray(worker: &WorkerId) -> QueryError {
    QueryError::Worker { worker: worker.clone(), reason: "it answers what it was not asked".into() }
}

#[cfg(test)]
mod tests {
    use pharos_model::Matcher;

    use super::*;

    fn questions() -> Vec<Question> {
        let tenant = TenantId::anonymous();
        let relying = Relying { tenant: tenant.clone(), partitions: vec![0, 7], until_ms: -3 };
        let relied = vec![(0, Relied { head: 1, files: 2 }), (7, Relied { head: 1 << 41, files: 0 })];
        let revision = Revision::Partitions(std::sync::Arc::new(relied));
        let (matchers, range) = (vec![Matcher::equal("a", "b")], TimeRange::new(1, 2));
        let request = SelectRequest { tenant, matchers, range, newest_only: true, totals_only: false, starts: true };
        vec![
            Question::Rely { relying: relying.clone(), since: None },
            Question::Rely { relying, since: Some(Noted { incarnation: u64::MAX, revision }) },
            Question::Estimate { request, partitions: vec![3] },
        ]
    }

    #[test]
    fn questions_come_as_they_were_asked() {
        for question in questions() {
            let bytes = encode(&question);
            let came: Question = decode(&bytes).unwrap();
            assert_eq!(format!("{came:?}"), format!("{question:?}"));
            for end in 0..bytes.len() {
                assert!(decode::<Question>(&bytes[..end]).is_err());
            }
        }
        assert!(decode::<Question>(&[VERSION + 1, 0]).is_err());
    }

    #[test]
    fn answers_come_as_they_were_given() {
        let noted = Noted { incarnation: 3, revision: Revision::Whole(9) };
        for answer in [
            Answer::Relied { noted, amended: vec![TimeRange::ALL, TimeRange::new(-1, 5)] },
            Answer::Estimated(Estimate { series: 1, samples: 2, bytes: 3 }),
            Answer::Failed(QueryError::Execution("no".into()).into()),
        ] {
            assert_eq!(decode::<Answer>(&encode(&answer)), Ok(answer));
        }
    }
}
