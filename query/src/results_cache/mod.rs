//! Answers of range queries, kept by stretches of steps, so that a query that comes again computes only what it has not seen.
//!
//! What may be kept is decided by [`reach`], how stretches are cut and joined by [`extents`]; [`kept`] is the memory with its limit. All
//! of that is pure. [`crate::engine`] evaluates what is missing, and learns from the source what has changed meanwhile
//! ([`crate::source::SeriesSource::rely`]).
//!
//! Invariant: an extent holds what a query of its steps alone would answer as long as no sample in the reach of its steps changes.

pub mod extents;
pub mod kept;
pub mod metrics;
pub mod reach;

pub use extents::{Extent, Steps};
pub use kept::{Entry, Kept, Key};
pub use metrics::{Metrics, Outcome};
pub use reach::{Reach, is_of_each_step, reach_of};
