//! The one shape of data between operators: one row for each series.
//!
//! | column | type | meaning |
//! |---|---|---|
//! | `labels` | `Binary` | canonical bytes of the label set: identity, group key and join key |
//! | `drop_name` | `Boolean` | the metric name is to be removed when the query ends (delayed name removal) |
//! | `present` | `FixedSizeBinary(8 * ceil(n / 64))` | bit `i` (little-endian words): the series has a value at step `i` |
//! | `values` | `FixedSizeList<Float64>[n]` | value of each step, undefined where the bit is clear or the value a histogram |
//! | `hist` | `Binary`, nullable | which steps are native histograms, and these; laid out as `batch/hist.rs` says. Null for floats only |
//!
//! `n` is the number of steps of the edge. Rows without a single bit are not sent. Absence is never a NaN: a NaN is a
//! value. Batches are cut by bytes, not rows: about [`BATCH_BYTES`]. Operators use the typed views here and never touch
//! arrow arrays themselves.

mod aside;
mod buffer;
mod builder;
mod hist;
mod rows;
mod schema;

pub use aside::aside;
pub use buffer::{RowBuffer, RowId};
pub use builder::BatchBuilder;
pub use rows::{Row, RowBatch};
pub use schema::{batch_schema, steps_of};

/// A batch is sent when its rows take this many bytes.
pub const BATCH_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests;
