//! Why a query has no answer. Texts and kinds are those of Prometheus' API.

use datafusion::common::DataFusionError;

use crate::distributed::{Unplaced, WorkerId};
use crate::functions::FunctionError;
use crate::source::ReadError;

/// A failed query.
#[derive(Clone, Debug, thiserror::Error)]
pub enum QueryError {
    /// The expression is not PromQL, or its types do not fit; the text holds the position. API kind `bad_data`.
    #[error("{0}")]
    Parse(String),
    /// Evaluation refused the data, such as many-to-many matching. API kind `execution`.
    #[error("{0}")]
    Execution(String),
    #[error("query timed out in {phase}")]
    Timeout { phase: &'static str },
    #[error("query was canceled in {phase}")]
    Canceled { phase: &'static str },
    #[error("query processing would load too many samples into memory in {phase}")]
    TooManySamples { phase: &'static str },
    #[error("the query needs more than its memory limit of {limit_bytes} bytes")]
    MemoryLimit { limit_bytes: usize },
    #[error("{0}")]
    Read(#[from] ReadError),
    /// There is no worker to ask for a part of the series. API kind `internal`.
    #[error(transparent)]
    Unplaced(#[from] Unplaced),
    /// A worker was lost, or could not read its part. The query may be tried again without it. API kind `internal`.
    #[error("worker {worker}: {reason}")]
    Worker { worker: WorkerId, reason: String },
    /// A defect of the engine, not of the query or the data. API kind `internal`.
    #[error("unexpected error: {0}")]
    Internal(String),
}

impl QueryError {
    /// Takes our error out of the layers that DataFusion wraps around it. `memory_bytes_max` names the limit of the
    /// query's memory pool.
    pub(crate) fn from_datafusion(error: &DataFusionError, memory_bytes_max: usize) -> Self {
        match error {
            DataFusionError::ResourcesExhausted(_) => Self::MemoryLimit { limit_bytes: memory_bytes_max },
            DataFusionError::External(inner) => match inner.downcast_ref::<Self>() {
                Some(own) => own.clone(),
                None => match inner.downcast_ref::<DataFusionError>() {
                    Some(nested) => Self::from_datafusion(nested, memory_bytes_max),
                    None => Self::Internal(inner.to_string()),
                },
            },
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
                Self::from_datafusion(inner, memory_bytes_max)
            }
            DataFusionError::Shared(inner) => Self::from_datafusion(inner, memory_bytes_max),
            DataFusionError::Collection(errors) => match errors.first() {
                Some(first) => Self::from_datafusion(first, memory_bytes_max),
                None => Self::Internal(error.to_string()),
            },
            other => Self::Internal(other.to_string()),
        }
    }
}

impl From<FunctionError> for QueryError {
    fn from(error: FunctionError) -> Self {
        Self::Execution(error.to_string())
    }
}
