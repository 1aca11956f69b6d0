//! What a part of a query says when it ends: how it went, and what its user should know besides the rows.

use super::placement::{Share, WorkerId};
use crate::annotation::Annotation;
use crate::error::QueryError;
use crate::exec::context::PHASES;
use crate::exec::{Measured, OperatorFigures};
use crate::plan::Figures;
use crate::wire::{Wire, WireError, wire_enum, wire_struct};

/// The remarks and counts of a query, or of a part of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    pub annotations: Vec<Annotation>,
    pub samples_read: u64,
    pub samples_peak: u64,
    /// For each step of the query's grid; empty when they are not counted.
    pub samples_per_step: Vec<u64>,
    /// What each operator of a part gave, a node before its inputs; empty unless that was asked for.
    pub operators: Vec<OperatorFigures>,
}

impl Report {
    /// Where one evaluation stands for several.
    pub(super) fn counting(mut self, evaluations: u32) -> Self {
        self.samples_read *= u64::from(evaluations);
        self.samples_per_step.iter_mut().for_each(|samples| *samples *= u64::from(evaluations));
        self
    }
}

/// How a stream of rows ended. One that says nothing was cut off.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum LastWord {
    Done(Report),
    Failed(Failure),
}

/// A [`QueryError`] on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Execution(String),
    Timeout(Phase),
    Canceled(Phase),
    TooManySamples(Phase),
    MemoryLimit(usize),
    /// The worker's own trouble rather than the query's.
    Broken(String),
}

/// One of [`PHASES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Phase(&'static str);

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Parse(text) | QueryError::Execution(text) => Self::Execution(text),
            QueryError::Timeout { phase } => Self::Timeout(Phase(phase)),
            QueryError::Canceled { phase } => Self::Canceled(Phase(phase)),
            QueryError::TooManySamples { phase } => Self::TooManySamples(Phase(phase)),
            QueryError::MemoryLimit { limit_bytes } => Self::MemoryLimit(limit_bytes),
            // Whatever else there is says that something is broken there.
            broken => Self::Broken(broken.to_string()),
        }
    }
}

impl Failure {
    /// What is wrong with the query is said as if it had run here; only a worker's own trouble names it.
    pub(super) fn of(self, worker: &WorkerId) -> QueryError {
        match self {
            Self::Execution(text) => QueryError::Execution(text),
            Self::Timeout(Phase(phase)) => QueryError::Timeout { phase },
            Self::Canceled(Phase(phase)) => QueryError::Canceled { phase },
            Self::TooManySamples(Phase(phase)) => QueryError::TooManySamples { phase },
            Self::MemoryLimit(limit_bytes) => QueryError::MemoryLimit { limit_bytes },
            Self::Broken(reason) => QueryError::Worker { worker: worker.clone(), reason },
        }
    }
}

wire_struct!(Report { annotations, samples_read, samples_peak, samples_per_step, operators });
wire_struct!(OperatorFigures { given, read });
wire_struct!(Measured { figures, seconds });
wire_struct!(Figures { series, samples, bytes });
wire_enum!(LastWord { 0 = Done(report), 1 = Failed(failure) });
wire_enum!(Failure {
    0 = Execution(text),
    1 = Timeout(phase),
    2 = Canceled(phase),
    3 = TooManySamples(phase),
    4 = MemoryLimit(limit_bytes),
    5 = Broken(reason),
});
wire_struct!(Share { worker, partitions });

impl Wire for Phase {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.to_owned().put(out);
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, WireError> {
        let text = String::take(bytes)?;
        let unknown = || WireError::Invalid { kind: "phase", reason: format!("`{text}` is not known") };
        PHASES.into_iter().find(|phase| *phase == text).map(Self).ok_or_else(unknown)
    }
}

impl Wire for WorkerId {
    fn put(&self, out: &mut Vec<u8>) {
        self.as_str().to_owned().put(out);
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, WireError> {
        let name = String::take(bytes)?;
        Self::new(&name).map_err(|error| WireError::Invalid { kind: "worker", reason: error.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use pharos_promql::Span;

    use super::*;
    use crate::functions::notes::Monotonicity;
    use crate::functions::{Note, Severity};

    #[test]
    fn a_report_comes_back_as_it_was_sent() {
        let monotonicity = Some(Monotonicity::at(-5, 0.5, f64::INFINITY, 0.1));
        let note = Note { severity: Severity::Info, text: "PromQL info: so".into(), argument: 1, monotonicity };
        let given = Measured { figures: Figures { series: 1, samples: 2, bytes: 1 << 40 }, seconds: 0.25 };
        let report = Report {
            annotations: vec![Annotation { note, span: Span { start: 3, end: 900 } }],
            samples_read: 12,
            samples_peak: 1 << 40,
            samples_per_step: vec![0, 7, 300],
            operators: vec![OperatorFigures { given, read: Measured::default() }],
        };
        let word = LastWord::Done(report);
        assert_eq!(LastWord::from_bytes(&word.to_bytes()), Ok(word));
    }

    #[test]
    fn the_querys_own_errors_come_back_as_if_they_had_happened_here() {
        let worker = WorkerId::new("w").unwrap();
        let errors = [
            QueryError::Execution("vector cannot contain metrics with the same labelset".into()),
            QueryError::Timeout { phase: "expression evaluation" },
            QueryError::Canceled { phase: "query queue" },
            QueryError::TooManySamples { phase: "query execution" },
            QueryError::MemoryLimit { limit_bytes: 7 },
        ];
        for error in errors {
            let sent = LastWord::Failed(error.clone().into()).to_bytes();
            let LastWord::Failed(failure) = LastWord::from_bytes(&sent).unwrap() else { panic!("a failure") };
            assert_eq!(failure.of(&worker).to_string(), error.to_string());
        }
        let broken = Failure::from(QueryError::Internal("a bug".into())).of(&worker);
        assert_eq!(broken.to_string(), "worker w: unexpected error: a bug");
    }
}
