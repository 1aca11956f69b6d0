//! Runs a plan on DataFusion: thin logical nodes ([`logical`]), a planner for them ([`planner`]), and one
//! `ExecutionPlan` ([`node`]) whose behaviour for each operator is a file here.
//!
//! Operators see rows ([`crate::batch`]) and the query's [`context::QueryContext`]; DataFusion supplies the tree, parallel
//! partitions, the memory pool, cancellation by dropping the stream, and `EXPLAIN`. Its optimizer rules are left out: all
//! rewriting was done on the plan, and our nodes are opaque to them.

pub mod context;
pub mod logical;
pub mod node;
pub mod planner;
pub mod session;

pub(crate) mod input;
mod measure;
mod order;
mod share;

mod absent;
mod accumulate;
mod aggregate;
mod aggregate_k;
mod count_values;
mod histogram;
mod info;
mod instant;
mod join;
mod map;
mod merge;
mod quantile;
mod range;
mod raw;
mod relabel;
mod scalar;
mod scan;
mod select;
mod set;
mod sort;

pub use context::{Limits, QueryContext};
pub use measure::{Measured, OperatorFigures, measured};
pub use merge::SAME_LABELSET;
pub use order::sort_by;
pub use raw::{raw_request, unpack as unpack_raw};
pub use scan::request_of;
pub use select::unknown_partition;
