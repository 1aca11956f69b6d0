//! Native histograms in functions and operators: what is done with them at one step, or in the windows of one series.
//!
//! The arithmetic itself is that of [`pharos_model::FloatHistogram`]. Here is what PromQL adds to it: which operands have
//! an answer, what the user is told, and how floats and histograms of one series meet.

pub(super) mod counts;
pub(super) mod extended;
pub(super) mod last_two;
pub(super) mod over_time;
pub(super) mod rate;
mod samples;
mod steps;

pub mod binary;
pub mod smoothed;
pub mod stats;

pub use binary::Outcome;
pub use samples::{HistogramSamples, SeriesSamples};
pub use stats::HistogramStat;
pub use steps::{HistogramSteps, PointsOut};

use crate::functions::annotations::{self, Operation};
use crate::functions::notes::Notes;
use pharos_model::histogram::add::{IncompatibleSchemas, Settled};

/// What is said about the histograms of one series, to whom the metric name belongs.
pub(super) struct Report<'a> {
    pub(super) notes: &'a mut Notes,
    pub(super) metric_name: &'a str,
}

impl Report<'_> {
    /// Whether histograms could be combined. Hints that collide are not said here: who combines histograms of one series
    /// looks at resets itself.
    fn combined(&mut self, result: Result<Settled, IncompatibleSchemas>, operation: Operation) -> bool {
        match result {
            Ok(settled) => {
                if settled.bounds_reconciled {
                    self.notes.add(annotations::bounds_reconciled(operation));
                }
                true
            }
            Err(IncompatibleSchemas) => {
                self.mixed_schemas();
                false
            }
        }
    }

    fn mixed_schemas(&mut self) {
        self.notes.add(annotations::mixed_schemas(self.metric_name));
    }

    pub(super) fn mixed_kinds(&mut self) {
        self.notes.add(annotations::mixed_kinds(self.metric_name));
    }
}
