//! Series descriptions, the language in which test scripts and rule tests write down samples:
//! `up{job="a"} 1 _ 1x3 0+10x4 stale {{schema:0 sum:5 count:4 buckets:[1 2 1]}}`.

pub(crate) mod histogram;

use std::sync::Arc;

use pharos_model::{FloatHistogram, LabelSet};

use crate::error::ParseErrors;

/// Most values that one description may stand for, repetitions counted.
pub const SEQUENCE_VALUES_MAX: usize = 1_000_000;

/// One series and its values, one for each interval.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesDescription {
    pub labels: LabelSet,
    pub values: Vec<SequenceValue>,
}

/// The value at one interval.
#[derive(Clone, Debug)]
pub enum SequenceValue {
    /// `_`: no sample.
    Omitted,
    /// A float; `stale` is the staleness marker.
    Float(f64),
    Histogram {
        histogram: Arc<FloatHistogram>,
        /// Whether the counter reset hint was written down, so that an expectation must look at it.
        hint_given: bool,
    },
}

/// Floats by their bits, so that NaNs compare.
impl PartialEq for SequenceValue {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Omitted, Self::Omitted) => true,
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits(),
            (
                Self::Histogram { histogram: a, hint_given: a_given },
                Self::Histogram { histogram: b, hint_given: b_given },
            ) => a == b && a_given == b_given,
            _ => false,
        }
    }
}

/// Parses one line of a series description.
///
/// `AxN` stands for N+1 times A, `A+BxN` for A and N more values that each add B, `_xN` for N gaps.
pub fn parse_series_description(text: &str) -> Result<SeriesDescription, ParseErrors> {
    crate::parser::parse_series(text)
}
