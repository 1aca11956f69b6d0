//! What a query returns.

use std::sync::Arc;

use pharos_model::{FloatHistogram, LabelSet, Sample, TimestampMs};

/// The result of an expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Scalar(Sample),
    String {
        ts: TimestampMs,
        text: String,
    },
    /// One sample for each series, in the order the API shows.
    Vector(Vec<VectorElement>),
    /// Sorted by labels.
    Matrix(Vec<Series>),
}

/// What a series has at one time.
#[derive(Clone, Debug)]
pub enum Point {
    Float(f64),
    Histogram(Arc<FloatHistogram>),
}

/// An element of an instant vector.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorElement {
    pub labels: LabelSet,
    /// The evaluation time.
    pub ts: TimestampMs,
    pub point: Point,
}

/// A series of a range vector or of a range query's answer; both kinds of samples ascend by time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    pub labels: LabelSet,
    pub samples: Vec<Sample>,
    pub histograms: Vec<HistogramSample>,
}

/// A native histogram at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramSample {
    pub ts: TimestampMs,
    pub histogram: Arc<FloatHistogram>,
}

/// A finished query: its value, and what the user should know about it. Texts are those of the API, position included.
#[derive(Clone, Debug)]
pub struct QueryOutcome {
    pub value: Value,
    pub warnings: Vec<String>,
    pub infos: Vec<String>,
    pub stats: QueryStats,
}

/// Counts for the API's `stats` parameter.
#[derive(Clone, Debug, Default)]
pub struct QueryStats {
    /// Samples read by selectors, each step of a range query counted.
    pub total_queryable_samples: u64,
    /// Most samples held at one time.
    pub peak_samples: u64,
    /// Samples for each step, when asked for.
    pub samples_per_step: Option<Vec<(TimestampMs, u64)>>,
    /// Wall seconds: whole evaluation, preparation (parse, plan, select), inner evaluation, sort, queue.
    pub eval_total_secs: f64,
    pub query_preparation_secs: f64,
    pub inner_eval_secs: f64,
    pub result_sort_secs: f64,
    pub exec_queue_secs: f64,
    /// Queue and evaluation together.
    pub exec_total_secs: f64,
}

/// Floats by their bits, so that NaNs compare.
impl PartialEq for Point {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits(),
            (Self::Histogram(a), Self::Histogram(b)) => a == b,
            _ => false,
        }
    }
}

impl From<f64> for Point {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<FloatHistogram> for Point {
    fn from(histogram: FloatHistogram) -> Self {
        Self::Histogram(Arc::new(histogram))
    }
}

impl From<Arc<FloatHistogram>> for Point {
    fn from(histogram: Arc<FloatHistogram>) -> Self {
        Self::Histogram(histogram)
    }
}
