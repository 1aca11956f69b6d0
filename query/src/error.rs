//! Why a query has no answer. Texts and kinds are those of Prometheus' API.

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
    #[error("native histograms in queries: not yet")]
    HistogramsNotYet,
    #[error("{0}")]
    Read(#[from] ReadError),
}
