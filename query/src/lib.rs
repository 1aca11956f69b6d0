//! The query engine: typed plan, DataFusion operators, PromQL functions. The only crate that names datafusion.
//!
//! A query's way: [`engine`] parses it, [`lower`] makes a typed [`plan`], its passes rewrite it, [`exec`] binds it to
//! evaluation times and runs it on DataFusion over [`source`]; [`functions`] are the pure kernels it calls; between
//! operators there is one row for each series ([`batch`]).

pub mod engine;
pub mod error;
pub mod source;
pub mod value;

pub mod annotation;
pub mod batch;
pub mod distributed;
pub mod exec;
pub mod functions;
pub mod lower;
pub mod plan;
pub mod results_cache;
mod wire;

pub mod script;
pub mod testing;

/// Stack of a thread that runs queries, which holds the calls of the deepest expression that the parser takes.
pub const THREAD_STACK_BYTES: usize = 16 << 20;

pub use engine::{Engine, EngineOptions, QueryOptions, QueryRange};
pub use error::QueryError;
pub use value::{HistogramSample, Point, QueryOutcome, QueryStats, Series, Value, VectorElement};
