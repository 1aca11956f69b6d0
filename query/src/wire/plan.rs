//! The operators of a plan.

use pharos_model::matcher::MatchOp;
use pharos_model::{LabelSet, Matcher};
use pharos_promql::ast::{BinaryOp, Cardinality};
use pharos_promql::{Function, FunctionId, Span};

use super::{Wire, WireError, wire_enum, wire_struct};
use crate::functions::{Grid, HistogramStat, RangeFunction, Selection};
use crate::plan::{
    AggregateKind, DatePart, Float, Grouping, HistogramCall, InfoCall, KKind, MapFunction, Matching, NameRule, Op,
    Param, RangeCall, RawRange, Read, Relabel, ScalarFunction, Scan, Selector, SetOp, Share, SortBy, SubqueryWindow,
    TimeShift,
};

wire_enum!(Op {
    0 = Constant(value),
    1 = Time,
    2 = Values(values),
    3 = Empty,
    4 = Scan(scan),
    5 = Raw { selector, range },
    6 = RangeOverSubquery { window, call, names },
    7 = Map { function, params, names },
    8 = Relabel(relabel),
    9 = Merge { strict },
    10 = ScalarBinary(function),
    11 = ScalarOf,
    12 = VectorOf,
    13 = Aggregate { kind, grouping },
    14 = AggregateK { kind, grouping, k, whole },
    15 = Quantile { grouping, phi, vector },
    16 = CountValues { grouping, label },
    17 = Match { op, matching, return_bool, names },
    18 = Set { op, grouping },
    19 = Histogram { call, params, names, arg_spans },
    20 = Absent { labels },
    21 = Info(call),
    22 = Sort(by),
    23 = Repeat,
    24 = Share(share),
});

wire_struct!(Grid { start_ms, step_ms, n });
wire_struct!(Span { start, end });
wire_struct!(TimeShift { offset_ms, at });
wire_struct!(SubqueryWindow { range_ms, step_ms, shift });
wire_struct!(Selector { matchers, shift });
wire_struct!(Share { id, place, places, written });
wire_struct!(Scan { selector, read, names, totals_only });
wire_struct!(RawRange { range_ms, selection, lookback_ms });
wire_struct!(RangeCall { function, params, arg_spans });
wire_struct!(Grouping { without, labels });
wire_struct!(Matching { card, on, include, fill_left, fill_right });
wire_struct!(InfoCall { names, labels });

wire_enum!(NameRule { 0 = Keep, 1 = Drop, 2 = Mark, 3 = DropNameAlone });
wire_enum!(Param { 0 = Constant(value), 1 = Input(index) });
wire_enum!(Selection { 0 = Plain, 1 = Anchored, 2 = Smoothed });
wire_enum!(Read {
    0 = Instant { lookback_ms },
    1 = SampleTime { lookback_ms },
    2 = FloatTime { lookback_ms },
    3 = StartTime { lookback_ms },
    4 = Smoothed { lookback_ms },
    5 = Range { range_ms, selection, lookback_ms, call },
});
wire_enum!(RangeFunction {
    0 = Rate,
    1 = Increase,
    2 = Delta,
    3 = Irate,
    4 = Idelta,
    5 = Resets,
    6 = Changes,
    7 = Deriv,
    8 = PredictLinear,
    9 = AvgOverTime,
    10 = MinOverTime,
    11 = MaxOverTime,
    12 = SumOverTime,
    13 = CountOverTime,
    14 = LastOverTime,
    15 = FirstOverTime,
    16 = PresentOverTime,
    17 = StddevOverTime,
    18 = StdvarOverTime,
    19 = QuantileOverTime,
    20 = MadOverTime,
    21 = TsOfMinOverTime,
    22 = TsOfMaxOverTime,
    23 = TsOfLastOverTime,
    24 = TsOfFirstOverTime,
    25 = DoubleExponentialSmoothing,
});
wire_enum!(MapFunction {
    0 = Negate,
    1 = Math(function),
    2 = Date(part),
    3 = EvaluationTime,
    4 = HistogramStat(stat),
    5 = WithScalar { op, scalar_left, return_bool },
});
wire_enum!(DatePart {
    0 = DayOfMonth,
    1 = DayOfWeek,
    2 = DayOfYear,
    3 = DaysInMonth,
    4 = Hour,
    5 = Minute,
    6 = Month,
    7 = Year,
});
wire_enum!(HistogramStat { 0 = Count, 1 = Sum, 2 = Avg, 3 = Stddev, 4 = Stdvar });
wire_enum!(Relabel {
    0 = Replace { destination, replacement, source, pattern },
    1 = Join { destination, separator, sources },
});
wire_enum!(ScalarFunction { 0 = Operator(op), 1 = MinOf, 2 = MaxOf });
wire_enum!(AggregateKind {
    0 = Sum,
    1 = Avg,
    2 = Count,
    3 = Min,
    4 = Max,
    5 = Group,
    6 = Stddev,
    7 = Stdvar,
});
wire_enum!(KKind { 0 = Topk, 1 = Bottomk, 2 = Limitk, 3 = LimitRatio });
wire_enum!(SetOp { 0 = And, 1 = Or, 2 = Unless });
wire_enum!(HistogramCall { 0 = Quantile, 1 = Quantiles { label }, 2 = Fraction });
wire_enum!(SortBy { 0 = Value { descending }, 1 = Labels { names, descending } });
wire_enum!(Cardinality { 0 = OneToOne, 1 = ManyToOne, 2 = OneToMany, 3 = ManyToMany });
wire_enum!(MatchOp { 0 = Equal, 1 = NotEqual, 2 = Regex, 3 = NotRegex });
wire_enum!(BinaryOp {
    0 = Add,
    1 = Sub,
    2 = Mul,
    3 = Div,
    4 = Mod,
    5 = Pow,
    6 = Atan2,
    7 = Eq,
    8 = NotEq,
    9 = Less,
    10 = LessEq,
    11 = Greater,
    12 = GreaterEq,
    13 = And,
    14 = Or,
    15 = Unless,
    16 = TrimUpper,
    17 = TrimLower,
});

impl Wire for Float {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, WireError> {
        f64::take(bytes).map(Self)
    }
}

impl Wire for Matcher {
    fn put(&self, out: &mut Vec<u8>) {
        self.op.put(out);
        self.name.put(out);
        self.value.put(out);
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, WireError> {
        let (op, name, value) = (MatchOp::take(bytes)?, String::take(bytes)?, String::take(bytes)?);
        Self::new(op, name, value).map_err(|error| WireError::Invalid { kind: "matcher", reason: error.to_string() })
    }
}

impl Wire for LabelSet {
    fn put(&self, out: &mut Vec<u8>) {
        self.as_bytes().len().put(out);
        out.extend_from_slice(self.as_bytes());
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, WireError> {
        let length = usize::take(bytes)?;
        let labels = Self::from_canonical(super::split(bytes, length, "a label set")?);
        labels.map_err(|error| WireError::Invalid { kind: "label set", reason: error.to_string() })
    }
}

/// By name: there are many, and their names do not change.
impl Wire for FunctionId {
    fn put(&self, out: &mut Vec<u8>) {
        let function = Function::all().iter().find(|function| function.id == *self);
        function.expect("there is an entry for each").name.to_owned().put(out);
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, WireError> {
        let name = String::take(bytes)?;
        let unknown = || WireError::Invalid { kind: "function", reason: format!("`{name}` is not known") };
        Function::by_name(&name).map(|function| function.id).ok_or_else(unknown)
    }
}
