//! The operators of a plan, as data: no behaviour, comparable and hashable, so that equal subtrees can be found.

use std::hash::{Hash, Hasher};

use pharos_model::{LabelSet, Matcher};
use pharos_promql::FunctionId;
use pharos_promql::ast::{BinaryOp, Cardinality};

use super::RawRange;
use super::names::NameRule;
use super::time::{SubqueryWindow, TimeShift};
use crate::functions::{FunctionError, HistogramStat, LabelKernel, RangeFunction, Selection};

/// A float that is compared and hashed by its bits.
#[derive(Clone, Copy, Debug)]
pub struct Float(pub f64);

/// What a node does. The comment names its inputs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// No input. A scalar that is the same at each step.
    Constant(Float),
    /// No input. A scalar: the evaluation time in seconds.
    Time,
    /// No input. A scalar whose values were evaluated before, one for each step: never lowered to, put in the place of a
    /// scalar that a part of the plan elsewhere needs.
    Values(Vec<Float>),
    /// No input. Nothing at all.
    Empty,
    /// Inputs: the scalars that the range function's parameters name. Reads series.
    Scan(Scan),
    /// No input. The samples of each series in a window, packed into one row each.
    Raw { selector: Selector, range: RawRange },
    /// Inputs: the inner plan, then the scalars that parameters name. A range function over a subquery's rows.
    RangeOverSubquery { window: SubqueryWindow, call: RangeCall, names: NameRule },
    /// Inputs: a vector, then scalars. Each row by itself.
    Map { function: MapFunction, params: Vec<Param>, names: NameRule },
    /// Input: a vector. Labels change, values do not.
    Relabel(Relabel),
    /// Input: a vector. Rows of one label set become one row; two values at one step are an error, and when `strict`
    /// two rows are.
    Merge { strict: bool },
    /// Inputs: two scalars.
    ScalarBinary(ScalarFunction),
    /// Input: a vector. The value where there is exactly one, NaN elsewhere.
    ScalarOf,
    /// Input: a scalar.
    VectorOf,
    /// Input: a vector.
    Aggregate { kind: AggregateKind, grouping: Grouping },
    /// Inputs: a vector, and the scalar that `k` may name. Picks rows. `whole` is where the aggregation is in the query.
    AggregateK { kind: KKind, grouping: Grouping, k: Param, whole: pharos_promql::Span },
    /// Inputs: a vector, and the scalar that `phi` may name. `vector` is where that is in the query.
    Quantile { grouping: Grouping, phi: Param, vector: pharos_promql::Span },
    /// Input: a vector. One row for each value of a group.
    CountValues { grouping: Grouping, label: String },
    /// Inputs: left, right.
    Match { op: BinaryOp, matching: Matching, return_bool: bool, names: NameRule },
    /// Inputs: left, right.
    Set { op: SetOp, grouping: Grouping },
    /// Inputs: a vector of buckets, then scalars.
    Histogram { call: HistogramCall, params: Vec<Param>, names: NameRule, arg_spans: Vec<pharos_promql::Span> },
    /// Input: a vector. One row, present where no row is.
    Absent { labels: LabelSet },
    /// Inputs: a vector, and the times of the info metrics' samples.
    Info(InfoCall),
    /// Input: a vector. Orders the rows of an instant query.
    Sort(SortBy),
    /// Input: a node evaluated at the first step only. The same at each step.
    Repeat,
    /// Input: a node that is at other places of the plan too, and evaluated once for all of them.
    Share(Share),
}

/// One of the places that use what is evaluated once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Share {
    /// The same at all places.
    pub id: u32,
    /// Which of `places` this is, from zero on.
    pub place: u32,
    pub places: u32,
    /// Times that the node is in the query as it was written, which statistics count.
    pub written: u32,
}

/// Which series are read, and at what time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Selector {
    pub matchers: Vec<Matcher>,
    pub shift: TimeShift,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scan {
    pub selector: Selector,
    pub read: Read,
    pub names: NameRule,
    /// Whether only count and sum of native histograms are looked at, so that their buckets need not be kept.
    pub totals_only: bool,
}

/// What a scan makes of a series' samples.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Read {
    /// The newest sample that is less than the lookback old.
    Instant { lookback_ms: i64 },
    /// Its time in seconds.
    SampleTime { lookback_ms: i64 },
    /// As `SampleTime`, but a native histogram stays one, for `info` to refuse it.
    FloatTime { lookback_ms: i64 },
    /// When its counter began, in seconds.
    StartTime { lookback_ms: i64 },
    /// Interpolated between the samples around the time.
    Smoothed { lookback_ms: i64 },
    /// A range function fused into the scan.
    Range { range_ms: i64, selection: Selection, lookback_ms: i64, call: RangeCall },
}

impl Read {
    /// Whether anything follows from start timestamps.
    pub fn looks_at_starts(&self) -> bool {
        match self {
            Self::StartTime { .. } => true,
            Self::Range { call, .. } => call.function.knows_starts(),
            Self::Instant { .. } | Self::SampleTime { .. } | Self::FloatTime { .. } | Self::Smoothed { .. } => false,
        }
    }
}

/// A range function with its scalar arguments.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RangeCall {
    pub function: RangeFunction,
    pub params: Vec<Param>,
    /// Position of each argument of the call, for what the function has to say.
    pub arg_spans: Vec<pharos_promql::Span>,
}

/// A scalar argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Param {
    Constant(Float),
    /// The node's input of this index.
    Input(usize),
}

/// A function of one row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MapFunction {
    Negate,
    /// A math function of the value, with its scalar arguments.
    Math(FunctionId),
    Date(DatePart),
    /// `timestamp()` of anything but a selector: the evaluation time.
    EvaluationTime,
    /// A number that native histograms have; floats have none.
    HistogramStat(HistogramStat),
    /// A binary operator with a scalar on one side.
    WithScalar {
        op: BinaryOp,
        scalar_left: bool,
        return_bool: bool,
    },
}

/// A part of a date; the value is seconds since the epoch, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DatePart {
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    DaysInMonth,
    Hour,
    Minute,
    Month,
    Year,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Relabel {
    /// `label_replace(v, destination, replacement, source, pattern)`.
    Replace { destination: String, replacement: String, source: String, pattern: String },
    /// `label_join(v, destination, separator, sources...)`.
    Join { destination: String, separator: String, sources: Vec<String> },
}

/// A function of two scalars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScalarFunction {
    Operator(BinaryOp),
    MinOf,
    MaxOf,
}

/// Aggregations whose state is of fixed size, and that therefore run in parallel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AggregateKind {
    Sum,
    Avg,
    Count,
    Min,
    Max,
    Group,
    Stddev,
    Stdvar,
}

/// Aggregations that keep some of their input rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KKind {
    Topk,
    Bottomk,
    Limitk,
    LimitRatio,
}

/// `by (labels)` or `without (labels)`; `on (labels)` or `ignoring (labels)`. Labels are sorted and unique.
/// `without` also leaves out the metric name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Grouping {
    pub without: bool,
    pub labels: Vec<String>,
}

/// How the two sides of an arithmetic or comparison operator meet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Matching {
    pub card: Cardinality,
    pub on: Grouping,
    /// Labels copied from the "one" side.
    pub include: Vec<String>,
    pub fill_left: Option<Float>,
    pub fill_right: Option<Float>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetOp {
    And,
    Or,
    Unless,
}

/// A function of a classic histogram's buckets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HistogramCall {
    /// Parameter: the quantile.
    Quantile,
    /// Parameters: the quantiles; each goes to a row of its own, told apart by `label`.
    Quantiles { label: String },
    /// Parameters: lower and upper bound.
    Fraction,
}

/// `info(v, {selector})`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InfoCall {
    /// Matchers on the name of info metrics: series that match are left as they are.
    pub names: Vec<Matcher>,
    /// Matchers on other labels: when there are any, only these labels are copied.
    pub labels: Vec<Matcher>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SortBy {
    Value { descending: bool },
    Labels { names: Vec<String>, descending: bool },
}

impl PartialEq for Float {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Float {}

impl Hash for Float {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

impl Relabel {
    /// Checks the arguments and makes what applies them.
    pub fn kernel(&self) -> Result<LabelKernel, FunctionError> {
        match self {
            Self::Replace { destination, replacement, source, pattern } => {
                LabelKernel::replace(destination, replacement, source, pattern)
            }
            Self::Join { destination, separator, sources } => LabelKernel::join(destination, separator, sources),
        }
    }
}

impl Grouping {
    pub fn by(labels: &[String]) -> Self {
        Self::new(false, labels)
    }

    pub fn new(without: bool, labels: &[String]) -> Self {
        let mut labels = labels.to_vec();
        labels.sort();
        labels.dedup();
        Self { without, labels }
    }

    /// Whether a label is part of the key.
    pub fn keeps(&self, name: &str) -> bool {
        self.keeps_bytes(name.as_bytes())
    }

    fn keeps_bytes(&self, name: &[u8]) -> bool {
        let listed = self.labels.binary_search_by(|label| label.as_bytes().cmp(name)).is_ok();
        if self.without { !listed && name != pharos_model::labels::METRIC_NAME.as_bytes() } else { listed }
    }

    /// Replaces `key` by the canonical bytes of the labels that are kept.
    pub fn key_of(&self, labels: &[u8], key: &mut Vec<u8>) {
        key.clear();
        if !self.without && self.labels.is_empty() {
            return;
        }
        for label in pharos_model::labels::iter_encoded(labels).filter(|label| self.keeps_bytes(label.name)) {
            key.extend_from_slice(label.encoded);
        }
    }
}
