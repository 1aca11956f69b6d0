//! PromQL's functions as pure kernels: no plan, no DataFusion, no IO, no clock.
//!
//! # Contract with the operators that call them
//! - Work is done **row by row**: one call handles one series (or one group of buckets) for every step of a [`Grid`].
//! - A kernel reads raw samples ([`Samples`]) or a row of steps ([`Row`]) and writes a row of steps ([`RowOut`]).
//!   The caller hands over `present` with all bits cleared; a kernel sets the bits of the steps that have a value and
//!   leaves the value of every other step undefined. Bits at `n` and above stay clear.
//! - Range functions ([`RangeKernel`]) get the samples of one series, ascending by time, one for each timestamp, staleness
//!   markers removed, over at least [`RangeWindow::read_range`]. More samples on either side do no harm.
//! - Math functions ([`MathKernel`]) change a row in place, dates ([`date::Civil`]) and buckets ([`buckets`]) take values one by
//!   one, [`LabelKernel`] changes labels.
//! - A scalar argument is a [`ScalarArg`]: the same at each step, or one value for each step.
//! - What the user should know goes to [`Notes`] as a text that has the metric name but no position; the operator
//!   adds the position of the argument that the note names. Notes of one call are already free of duplicates.
//! - Values only. Dropping or keeping the metric name is the operator's business: [`RangeFunction::keeps_name`].
//! - Most kernels see float samples only. What native histograms add is in [`histogram`], and a series that may hold both
//!   goes through [`RangeKernel::eval_series`].
//!
//! Upstream's numerics are kept to the bit wherever the order of operations is the same (Neumaier sums, the
//! switch to incremental means, Welford's variance, extrapolation), so results differ from upstream's by nothing but
//! the standard library's transcendental functions.

pub mod error;
pub mod grid;
pub mod notes;

pub mod histogram;
pub mod range;

pub mod date;
pub mod labels;
pub mod math;

pub mod buckets;
pub mod kahan;
pub mod quantile;

pub mod annotations;

pub use buckets::Bucket;
pub use error::FunctionError;
pub use grid::{Grid, Row, RowOut, Samples, ScalarArg};
pub use histogram::{HistogramSamples, HistogramStat, HistogramSteps, PointsOut, SeriesSamples};
pub use labels::LabelKernel;
pub use math::MathKernel;
pub use notes::{Note, Notes, Severity};
pub use range::{RangeFunction, RangeKernel, RangeWindow, Selection, Surroundings};
