//! The query engine: typed plan, DataFusion operators, PromQL functions. The only crate that names datafusion.

pub mod error;
pub mod source;
pub mod value;

pub use error::QueryError;
pub use value::{QueryOutcome, QueryStats, Series, Value, VectorElement};
