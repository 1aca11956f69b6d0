//! Function calls: which operator each function becomes.

use pharos_model::MatchOp;
use pharos_model::labels::{LabelSet, METRIC_NAME};
use pharos_promql::ast::{Call, ExprKind, VectorSelector};
use pharos_promql::{Expr, FunctionId, Span};

use super::{Buckets, Lowering, merged};
use crate::annotation::Annotation;
use crate::error::QueryError;
use crate::functions::{FunctionError, HistogramStat, RangeFunction, Selection, Severity};
use crate::plan::{
    DatePart, HistogramCall, MapFunction, NameRule, Op, Param, Plan, RangeCall, Read, Relabel, ScalarFunction, SortBy,
};

impl Lowering<'_> {
    pub(super) fn call(&mut self, call: &Call, span: Span) -> Result<Plan, QueryError> {
        use FunctionId as F;
        if let Some(function) = range_function(call.function.id) {
            return self.range_call(function, call, span);
        }
        let args = &call.args;
        Ok(match call.function.id {
            F::Pi => Plan::constant(std::f64::consts::PI, span),
            F::Time => Plan::scalar(Op::Time, Vec::new(), span),
            F::Start => Plan::constant(self.settings.start_ms as f64 / 1000.0, span),
            F::End => Plan::constant(self.settings.end_ms as f64 / 1000.0, span),
            F::Step => Plan::constant(self.settings.step_secs(), span),
            F::Range => Plan::constant(self.settings.range_secs(), span),
            F::MinOf | F::MaxOf => {
                let function = if call.function.id == F::MinOf { ScalarFunction::MinOf } else { ScalarFunction::MaxOf };
                Plan::scalar(Op::ScalarBinary(function), self.plans(args)?, span)
            }
            F::Scalar => Plan::scalar(Op::ScalarOf, self.plans(args)?, span),
            F::Vector => Plan::vector(Op::VectorOf, self.plans(args)?, span),
            F::Timestamp => self.timestamp(&args[0], span)?,
            F::StartTimestamp => self.start_timestamp(&args[0], span)?,
            F::Absent => {
                let labels = absent_labels(&args[0]);
                Plan::vector(Op::Absent { labels }, self.plans(args)?, span)
            }
            F::AbsentOverTime => {
                let labels = absent_labels(&args[0]);
                let present = self.range_call(RangeFunction::PresentOverTime, call, span)?;
                // Rows need not be told apart: only whether there is one matters.
                let present = if matches!(present.op, Op::Merge { .. }) { only_input(present) } else { present };
                Plan::vector(Op::Absent { labels }, vec![present], span)
            }
            F::Sort | F::SortDesc | F::SortByLabel | F::SortByLabelDesc => self.sort(call, span)?,
            F::LabelReplace | F::LabelJoin => self.relabel(call, span)?,
            F::Info => self.info(call, span)?,
            F::HistogramQuantile | F::HistogramQuantiles | F::HistogramFraction => self.histogram(call, span)?,
            id => match (date_part(id), histogram_stat(id)) {
                (Some(part), _) => self.date(part, args, span)?,
                (_, Some(stat)) => self.histogram_stat(stat, &args[0], span)?,
                _ => {
                    let inputs = self.plans(args)?;
                    self.map(MapFunction::Math(id), inputs, self.changed(), span)
                }
            },
        })
    }

    fn histogram_stat(&mut self, stat: HistogramStat, arg: &Expr, span: Span) -> Result<Plan, QueryError> {
        let buckets = if stat.needs_totals_only() { Buckets::Unused } else { self.buckets };
        let input = self.with_buckets(buckets, |lowering| lowering.plan(arg))?;
        let names = NameRule::of_histogram_stat(self.settings.delayed_names);
        Ok(self.map(MapFunction::HistogramStat(stat), vec![input], names, span))
    }

    fn plans(&mut self, args: &[Expr]) -> Result<Vec<Plan>, QueryError> {
        args.iter().map(|arg| self.plan(arg)).collect()
    }

    fn range_call(&mut self, function: RangeFunction, call: &Call, span: Span) -> Result<Plan, QueryError> {
        let is_matrix = |arg: &Expr| arg.value_type() == pharos_promql::ValueType::Matrix;
        let matrix_at = call.args.iter().position(is_matrix).expect("the parser checked the argument types");
        let scalars: Vec<Plan> =
            call.args.iter().filter(|arg| !is_matrix(arg)).map(|arg| self.plan(arg)).collect::<Result<_, _>>()?;
        let names = if function.keeps_name() { NameRule::Keep } else { self.changed() };
        let arg_spans = call.args.iter().map(|arg| arg.without_parens().span).collect();
        let range_call = |first: usize| RangeCall {
            function,
            params: (first..first + scalars.len()).map(Param::Input).collect(),
            arg_spans,
        };
        let matrix = call.args[matrix_at].without_parens();
        let (plan, source_unique) = match &matrix.kind {
            ExprKind::Matrix(selector) => {
                let range = self.range(selector)?;
                check_selection(call, range.selection)?;
                let call = range_call(0);
                let read = Read::Range {
                    range_ms: range.range_ms,
                    selection: range.selection,
                    lookback_ms: range.lookback_ms,
                    call,
                };
                let scan = self.scan(self.selector(&selector.selector)?, read, names);
                let unique = self.selects_one_name(&scan.selector);
                (Plan::vector(Op::Scan(scan), scalars, span), unique)
            }
            ExprKind::Subquery(subquery) => {
                let (window, inner) = self.subquery(subquery)?;
                let unique = self.is_unique_without_names(&inner);
                let call = range_call(1);
                let inputs = std::iter::once(inner).chain(scalars).collect();
                (Plan::vector(Op::RangeOverSubquery { window, call, names }, inputs, span), unique)
            }
            _ => unreachable!("nothing else is a range vector"),
        };
        Ok(if names == NameRule::Drop && !source_unique { merged(plan, true) } else { plan })
    }

    /// The start timestamp of the sample for a bare selector; no other expression has one.
    fn start_timestamp(&mut self, arg: &Expr, span: Span) -> Result<Plan, QueryError> {
        match &arg.without_parens().kind {
            ExprKind::Vector(selector) if !selector.smoothed && self.settings.use_start_timestamps => {
                self.sample_time(selector, Read::StartTime { lookback_ms: self.settings.lookback_ms }, span)
            }
            _ => {
                // What is wrong with the argument still counts.
                self.plan(arg)?;
                Ok(Plan::vector(Op::Empty, Vec::new(), span))
            }
        }
    }

    fn sample_time(&mut self, selector: &VectorSelector, read: Read, span: Span) -> Result<Plan, QueryError> {
        let scan = self.scan(self.selector(selector)?, read, self.changed());
        let dropped_from_many = scan.names == NameRule::Drop && !self.selects_one_name(&scan.selector);
        let plan = Plan::vector(Op::Scan(scan), Vec::new(), span);
        Ok(if dropped_from_many { merged(plan, false) } else { plan })
    }

    /// The time of the sample for a bare selector, the evaluation time for all else.
    fn timestamp(&mut self, arg: &Expr, span: Span) -> Result<Plan, QueryError> {
        match &arg.without_parens().kind {
            ExprKind::Vector(selector) if !selector.smoothed => {
                self.sample_time(selector, Read::SampleTime { lookback_ms: self.settings.lookback_ms }, span)
            }
            _ => {
                let input = self.plan(arg)?;
                Ok(self.map(MapFunction::EvaluationTime, vec![input], self.changed(), span))
            }
        }
    }

    fn date(&mut self, part: DatePart, args: &[Expr], span: Span) -> Result<Plan, QueryError> {
        let Some(arg) = args.first() else {
            let time = Plan::scalar(Op::Time, Vec::new(), span);
            let now = Plan::vector(Op::VectorOf, vec![time], span);
            return Ok(self.map(MapFunction::Date(part), vec![now], NameRule::Keep, span));
        };
        let input = self.plan(arg)?;
        Ok(self.map(MapFunction::Date(part), vec![input], self.changed(), span))
    }

    fn sort(&mut self, call: &Call, span: Span) -> Result<Plan, QueryError> {
        let input = self.plan(&call.args[0])?;
        if self.settings.step_ms.is_some() && self.settings.start_ms != self.settings.end_ms {
            let text =
                "PromQL warning: sort is ineffective for range queries since results are always ordered by labels";
            self.annotations.push(Annotation::new(Severity::Warning, text.into(), span));
            return Ok(input);
        }
        let names = || call.args[1..].iter().map(text_of).collect();
        let by = match call.function.id {
            FunctionId::Sort => SortBy::Value { descending: false },
            FunctionId::SortDesc => SortBy::Value { descending: true },
            FunctionId::SortByLabel => SortBy::Labels { names: names(), descending: false },
            _ => SortBy::Labels { names: names(), descending: true },
        };
        Ok(Plan::vector(Op::Sort(by), vec![input], span))
    }

    fn relabel(&mut self, call: &Call, span: Span) -> Result<Plan, QueryError> {
        let text = |i: usize| text_of(&call.args[i]);
        for arg in &call.args[1..] {
            refuse_invalid_text(call, arg)?;
        }
        let relabel = match call.function.id {
            FunctionId::LabelReplace => {
                Relabel::Replace { destination: text(1), replacement: text(2), source: text(3), pattern: text(4) }
            }
            _ => {
                let sources = (3..call.args.len()).map(text).collect();
                Relabel::Join { destination: text(1), separator: text(2), sources }
            }
        };
        // Fails here, before any series is read.
        relabel.kernel()?;
        let input = self.plan(&call.args[0])?;
        Ok(merged(Plan::vector(Op::Relabel(relabel), vec![input], span), false))
    }

    fn histogram(&mut self, call: &Call, span: Span) -> Result<Plan, QueryError> {
        let (vector_at, histogram) = match call.function.id {
            FunctionId::HistogramQuantile => (1, HistogramCall::Quantile),
            FunctionId::HistogramFraction => (2, HistogramCall::Fraction),
            _ => (0, HistogramCall::Quantiles { label: text_of(&call.args[1]) }),
        };
        let is_scalar = |arg: &&Expr| arg.value_type() == pharos_promql::ValueType::Scalar;
        let vector = &call.args[vector_at];
        let mut inputs = vec![self.with_buckets(Buckets::Needed, |lowering| lowering.plan(vector))?];
        for arg in call.args.iter().filter(is_scalar) {
            inputs.push(self.plan(arg)?);
        }
        let params = (1..inputs.len()).map(Param::Input).collect();
        let arg_spans = call.args.iter().map(|arg| arg.without_parens().span).collect();
        let op = Op::Histogram { call: histogram, params, names: self.changed(), arg_spans };
        Ok(Plan::vector(op, inputs, span))
    }
}

fn only_input(mut plan: Plan) -> Plan {
    plan.inputs.swap_remove(0)
}

/// The text of a string argument.
pub(super) fn text_of(arg: &Expr) -> String {
    match &arg.without_parens().kind {
        ExprKind::String(literal) => literal.text().into_owned(),
        _ => unreachable!("the parser checked the argument types"),
    }
}

/// Label names and values are UTF-8, string literals need not be.
fn refuse_invalid_text(call: &Call, arg: &Expr) -> Result<(), QueryError> {
    match &arg.without_parens().kind {
        ExprKind::String(literal) if std::str::from_utf8(&literal.value).is_err() => Err(QueryError::Execution(
            format!("invalid destination label name in {}(): {}", call.function.name, literal.text()),
        )),
        _ => Ok(()),
    }
}

fn check_selection(call: &Call, selection: Selection) -> Result<(), QueryError> {
    use FunctionId as F;
    let (modifier, allowed, fits) = match selection {
        Selection::Plain => return Ok(()),
        Selection::Anchored => (
            "anchored",
            "changes, delta, increase, rate, resets",
            matches!(call.function.id, F::Changes | F::Delta | F::Increase | F::Rate | F::Resets),
        ),
        Selection::Smoothed => {
            ("smoothed", "delta, increase, rate", matches!(call.function.id, F::Delta | F::Increase | F::Rate))
        }
    };
    if fits {
        return Ok(());
    }
    Err(QueryError::Execution(FunctionError::Modifier { modifier, allowed, function: call.function.name }.to_string()))
}

/// The labels that an absent series would have for certain: those that an `=` matcher of a bare selector fixes, each
/// label named once.
fn absent_labels(arg: &Expr) -> LabelSet {
    let Some(selector) = arg.without_parens().selector() else { return LabelSet::empty() };
    let mut builder = pharos_model::LabelSetBuilder::default();
    let mut seen: Vec<&str> = Vec::new();
    for matcher in selector.matchers.iter().filter(|matcher| matcher.name != METRIC_NAME) {
        if matcher.op == MatchOp::Equal && !seen.contains(&matcher.name.as_str()) {
            builder.set(&matcher.name, &matcher.value);
            seen.push(&matcher.name);
        } else {
            builder.remove(&matcher.name);
        }
    }
    builder.build()
}

fn range_function(id: FunctionId) -> Option<RangeFunction> {
    use {FunctionId as F, RangeFunction as R};
    Some(match id {
        F::Rate => R::Rate,
        F::Increase => R::Increase,
        F::Delta => R::Delta,
        F::Irate => R::Irate,
        F::Idelta => R::Idelta,
        F::Resets => R::Resets,
        F::Changes => R::Changes,
        F::Deriv => R::Deriv,
        F::PredictLinear => R::PredictLinear,
        F::AvgOverTime => R::AvgOverTime,
        F::MinOverTime => R::MinOverTime,
        F::MaxOverTime => R::MaxOverTime,
        F::SumOverTime => R::SumOverTime,
        F::CountOverTime => R::CountOverTime,
        F::LastOverTime => R::LastOverTime,
        F::FirstOverTime => R::FirstOverTime,
        F::PresentOverTime => R::PresentOverTime,
        F::StddevOverTime => R::StddevOverTime,
        F::StdvarOverTime => R::StdvarOverTime,
        F::QuantileOverTime => R::QuantileOverTime,
        F::MadOverTime => R::MadOverTime,
        F::TsOfMinOverTime => R::TsOfMinOverTime,
        F::TsOfMaxOverTime => R::TsOfMaxOverTime,
        F::TsOfLastOverTime => R::TsOfLastOverTime,
        F::TsOfFirstOverTime => R::TsOfFirstOverTime,
        F::DoubleExponentialSmoothing => R::DoubleExponentialSmoothing,
        _ => return None,
    })
}

fn date_part(id: FunctionId) -> Option<DatePart> {
    use {DatePart as D, FunctionId as F};
    Some(match id {
        F::DayOfMonth => D::DayOfMonth,
        F::DayOfWeek => D::DayOfWeek,
        F::DayOfYear => D::DayOfYear,
        F::DaysInMonth => D::DaysInMonth,
        F::Hour => D::Hour,
        F::Minute => D::Minute,
        F::Month => D::Month,
        F::Year => D::Year,
        _ => return None,
    })
}

fn histogram_stat(id: FunctionId) -> Option<HistogramStat> {
    use {FunctionId as F, HistogramStat as H};
    Some(match id {
        F::HistogramCount => H::Count,
        F::HistogramSum => H::Sum,
        F::HistogramAvg => H::Avg,
        F::HistogramStddev => H::Stddev,
        F::HistogramStdvar => H::Stdvar,
        _ => return None,
    })
}
