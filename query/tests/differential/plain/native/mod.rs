//! Series that have native histograms at some or all of their steps.
//!
//! A way of its own beside that of floats, because nearly all rules differ: what each operator, aggregation and function makes
//! of histograms, of floats beside them, and of both at once. Floats alone go to the code of floats. Of what is said about a
//! query nothing is looked at here.

pub(crate) mod histogram;
mod stats;
mod windows;

use pharos_model::sample::is_stale;
use pharos_model::{LabelSet, TimestampMs};
use pharos_promql::ast::{Aggregate, AggregateOp, Binary, BinaryOp, Call, ExprKind, UnaryOp, VectorSelector};
use pharos_promql::{Expr, FunctionId, ValueType};

pub(crate) use self::histogram::Histogram;
use super::aggregate::{group_labels, reduce};
use super::binary::{Outcome, elementwise, set};
use super::matching::Matcher;
use super::rows::{Element, Grid, Row, Rows, assemble, merge, samples, vector_at};
use super::{Matrix, Plain, Result, both, rows};
use crate::data::Series;

/// What a series has at a step.
#[derive(Clone, Debug)]
pub(super) enum Native {
    Float(f64),
    Histogram(Histogram),
}

impl From<f64> for Native {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl Native {
    fn float(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            Self::Histogram(_) => None,
        }
    }

    fn histogram(&self) -> Option<&Histogram> {
        match self {
            Self::Histogram(histogram) => Some(histogram),
            Self::Float(_) => None,
        }
    }
}

/// A sample of either kind; none for a staleness marker.
type Timed = (TimestampMs, Option<Native>);

/// The samples of a series, of both kinds, by time.
fn timed(series: &Series) -> Vec<Timed> {
    let float = |value: f64| (!is_stale(value)).then_some(Native::Float(value));
    let floats = series.samples.iter().map(|sample| (sample.ts, float(sample.value)));
    let histograms = series.histograms.iter().map(|(ts, histogram)| {
        let native = (!is_stale(histogram.sum)).then(|| Native::Histogram(Histogram::from(&**histogram)));
        (*ts, native)
    });
    let mut all: Vec<Timed> = floats.chain(histograms).collect();
    all.sort_by_key(|(ts, _)| *ts);
    all
}

/// A series of floats for each series, and for each field of its histograms one that has the field as a label.
pub(crate) fn spread(labels: &LabelSet, histograms: &[(TimestampMs, Histogram)]) -> Matrix {
    let mut spread = Matrix::new();
    for (ts, histogram) in histograms {
        for (name, value) in histogram.fields() {
            let mut builder = labels.to_builder();
            builder.set("__histogram__", &name);
            let labels = builder.build();
            match spread.iter_mut().find(|(known, _)| *known == labels) {
                Some((_, values)) => values.push((*ts, value)),
                None => spread.push((labels, vec![(*ts, value)])),
            }
        }
    }
    spread
}

impl Plain<'_> {
    /// The answer for an instant vector.
    pub(super) fn native_answer(&self, expr: &Expr, grid: &Grid) -> Result<Matrix> {
        let rows = rows::finish(self.native(expr, grid)?)?;
        let mut answer = Matrix::new();
        for row in rows {
            let floats = row.values.iter().map(|value| value.as_ref().and_then(Native::float)).collect();
            let floats = Row { labels: row.labels.clone(), drop_name: false, values: floats };
            if floats.is_live() {
                answer.extend(samples(vec![floats], grid));
            }
            let steps = row.values.iter().enumerate();
            let histograms =
                steps.filter_map(|(step, value)| Some((grid.at(step), value.as_ref()?.histogram()?.clone())));
            answer.extend(spread(&row.labels, &histograms.collect::<Vec<_>>()));
        }
        Ok(answer)
    }

    fn native(&self, expr: &Expr, grid: &Grid) -> Result<Rows<Native>> {
        match &expr.kind {
            ExprKind::Vector(selector) => Ok(self.native_selector(selector, grid)),
            ExprKind::Call(call) if call.args.iter().any(|arg| arg.value_type() == ValueType::Matrix) => {
                self.native_range_call(call, grid)
            }
            ExprKind::Call(call) => self.native_call(call, grid),
            ExprKind::Aggregate(aggregate) => {
                Ok(self.native_aggregate(aggregate, &self.native(&aggregate.expr, grid)?, grid))
            }
            ExprKind::Binary(binary) => self.native_binary(binary, grid),
            ExprKind::Unary(unary) => {
                let rows = self.native(&unary.expr, grid)?;
                match unary.op {
                    UnaryOp::Plus => Ok(rows),
                    UnaryOp::Minus => self.native_negate(rows),
                }
            }
            ExprKind::Paren(inner) => self.native(inner, grid),
            other => unreachable!("not generated for histograms: {other:?}"),
        }
    }

    fn native_selector(&self, selector: &VectorSelector, grid: &Grid) -> Rows<Native> {
        let at = self.at(selector.at);
        let offset_ms = self.duration_ms(&selector.offset);
        let row = |series: &Series| {
            let all = timed(series);
            let newest = |step: usize| {
                let ts = at.unwrap_or(grid.at(step)) - offset_ms;
                let (found, value) = all.iter().rfind(|(found, _)| *found <= ts)?;
                value.clone().filter(|_| *found > ts - self.settings.lookback_ms)
            };
            Row { labels: series.labels.clone(), drop_name: false, values: (0..grid.steps).map(newest).collect() }
        };
        self.selected(&selector.matchers).map(row).filter(Row::is_live).collect()
    }

    /// Functions of histograms know no floats, those of floats no histograms.
    fn native_call(&self, call: &Call, grid: &Grid) -> Result<Rows<Native>> {
        use FunctionId as F;
        let is_vector = |arg: &&Expr| arg.value_type() == ValueType::Vector;
        let vector = call.args.iter().find(is_vector).expect("a function of a vector");
        let scalars: Vec<Expr> = call.args.iter().filter(|arg| !is_vector(arg)).cloned().collect();
        let of_totals = matches!(call.function.id, F::HistogramCount | F::HistogramSum | F::HistogramAvg);
        let outer = self.totals_only.replace(of_totals || self.totals_only.get());
        let evaluated = both(self.native(vector, grid), self.scalars(&scalars, grid));
        self.totals_only.set(outer);
        let (rows, scalars) = evaluated?;
        assemble(self, grid, |step| {
            let results = vector_at(&rows, step).into_iter().filter_map(|element| {
                // Observations of NaN, which are in no bucket, are told by the sum alone. Here they come of arithmetic.
                if element.value.histogram().is_some_and(|histogram| histogram.sum.is_nan()) {
                    self.leave_open();
                }
                let value = match (call.function.id, &element.value) {
                    (F::Abs, Native::Float(value)) => value.abs(),
                    (_, Native::Float(_)) | (F::Abs, _) => return None,
                    (F::HistogramCount, Native::Histogram(histogram)) => histogram.count,
                    (F::HistogramSum, Native::Histogram(histogram)) => histogram.sum,
                    (F::HistogramAvg, Native::Histogram(histogram)) => histogram.sum / histogram.count,
                    (F::HistogramStdvar, Native::Histogram(histogram)) => stats::variance(histogram),
                    (F::HistogramStddev, Native::Histogram(histogram)) => stats::variance(histogram).sqrt(),
                    (F::HistogramQuantile, Native::Histogram(histogram)) => {
                        stats::quantile(scalars[0][step], histogram)
                    }
                    (F::HistogramFraction, Native::Histogram(histogram)) => {
                        stats::fraction(scalars[0][step], scalars[1][step], histogram)
                    }
                    (other, _) => unreachable!("not generated for histograms: {other:?}"),
                };
                Some(self.changed(&element, Native::Float(value)))
            });
            Ok(results.collect())
        })
    }

    fn native_aggregate(&self, aggregate: &Aggregate, rows: &Rows<Native>, grid: &Grid) -> Rows<Native> {
        let mut groups: Rows<Native> = Vec::new();
        for step in 0..grid.steps {
            let elements = vector_at(rows, step);
            let mut members: Vec<(LabelSet, Vec<Element<Native>>)> = Vec::new();
            for element in elements {
                let labels = group_labels(aggregate, &element.labels);
                match members.iter_mut().find(|(known, _)| *known == labels) {
                    Some((_, members)) => members.push(element),
                    None => members.push((labels, vec![element])),
                }
            }
            for (labels, members) in members {
                let at = groups.iter().position(|row| row.labels == labels).unwrap_or_else(|| {
                    groups.push(Row { labels, drop_name: false, values: vec![None; grid.steps] });
                    groups.len() - 1
                });
                groups[at].values[step] = combined(aggregate.op, &members);
                groups[at].drop_name = members.iter().any(|member| member.drop_name);
            }
        }
        groups.retain(Row::is_live);
        groups
    }

    fn native_binary(&self, binary: &Binary, grid: &Grid) -> Result<Rows<Native>> {
        let is_scalar = |expr: &Expr| expr.value_type() == ValueType::Scalar;
        let with_scalar = |rows: &Rows<Native>, scalars: &[f64], scalar_left: bool| {
            assemble(self, grid, |step| {
                let scalar = Native::Float(scalars[step]);
                let results = vector_at(rows, step).into_iter().filter_map(|element| {
                    let (a, b) = if scalar_left { (&scalar, &element.value) } else { (&element.value, &scalar) };
                    match apply(binary, a, b)? {
                        Outcome::Filtered(keeps) => keeps.then_some(element),
                        Outcome::Value(value) => Some(self.changed(&element, value)),
                    }
                });
                Ok(results.collect())
            })
        };
        if is_scalar(&binary.lhs) {
            let (scalars, rows) = both(self.scalar(&binary.lhs, grid), self.native(&binary.rhs, grid))?;
            return with_scalar(&rows, &scalars, true);
        }
        if is_scalar(&binary.rhs) {
            let (rows, scalars) = both(self.native(&binary.lhs, grid), self.scalar(&binary.rhs, grid))?;
            return with_scalar(&rows, &scalars, false);
        }
        let (left, right) = both(self.native(&binary.lhs, grid), self.native(&binary.rhs, grid))?;
        let matcher = Matcher(binary.matching.as_ref().expect("two vectors are matched"));
        assemble(self, grid, |step| {
            let (left, right) = (vector_at(&left, step), vector_at(&right, step));
            match binary.op.is_set() {
                true => Ok(set(binary.op, left, right, &matcher)),
                false => {
                    if matches!(binary.op, BinaryOp::Add | BinaryOp::Sub) && self.totals_only.get() {
                        // Upstream then finds resets as it reads, and adds no counter that goes on to one that was reset.
                        self.leave_open();
                    }
                    self.match_vectors(binary, (left, right), &matcher, |a, b| apply(binary, a, b))
                }
            }
        })
    }

    fn native_negate(&self, mut rows: Rows<Native>) -> Result<Rows<Native>> {
        for row in &mut rows {
            self.rename(row);
            for value in row.values.iter_mut().flatten() {
                *value = match &*value {
                    Native::Float(value) => Native::Float(-value),
                    Native::Histogram(histogram) => Native::Histogram(histogram.map(|value| -value)),
                };
            }
        }
        if self.settings.delayed_names { Ok(rows) } else { merge(rows) }
    }
}

/// What an operator makes of two values, if it knows what to do with their kinds.
fn apply(binary: &Binary, a: &Native, b: &Native) -> Option<Outcome<Native>> {
    let histogram = |histogram: Histogram| Some(Outcome::Value(Native::Histogram(histogram.compact())));
    match (a, binary.op, b) {
        (Native::Float(a), _, Native::Float(b)) => Some(match elementwise(binary, *a, *b) {
            Outcome::Filtered(keeps) => Outcome::Filtered(keeps),
            Outcome::Value(value) => Outcome::Value(Native::Float(value)),
        }),
        (Native::Histogram(a), BinaryOp::Mul, Native::Float(b)) => histogram(a.map(|value| value * b)),
        (Native::Float(a), BinaryOp::Mul, Native::Histogram(b)) => histogram(b.map(|value| value * a)),
        (Native::Histogram(a), BinaryOp::Div, Native::Float(b)) => histogram(a.divided_by(*b)),
        (Native::Histogram(a), BinaryOp::Add, Native::Histogram(b)) => histogram(a.plus(b, 1.0)?),
        (Native::Histogram(a), BinaryOp::Sub, Native::Histogram(b)) => histogram(a.plus(b, -1.0)?),
        (Native::Histogram(a), BinaryOp::Eq | BinaryOp::NotEq, Native::Histogram(b)) => {
            let holds = a.is_same(b) == (binary.op == BinaryOp::Eq);
            Some(match binary.return_bool {
                true => Outcome::Value(Native::Float(f64::from(u8::from(holds)))),
                false => Outcome::Filtered(holds),
            })
        }
        _ => None,
    }
}

/// What an aggregation makes of a group at a step.
fn combined(op: AggregateOp, members: &[Element<Native>]) -> Option<Native> {
    let floats: Vec<f64> = members.iter().filter_map(|member| member.value.float()).collect();
    let histograms: Vec<&Histogram> = members.iter().filter_map(|member| member.value.histogram()).collect();
    match op {
        AggregateOp::Count => Some(Native::Float(members.len() as f64)),
        AggregateOp::Group => Some(Native::Float(1.0)),
        AggregateOp::Sum | AggregateOp::Avg if floats.is_empty() => {
            let sum = total(&histograms)?;
            Some(Native::Histogram(match op {
                AggregateOp::Sum => sum,
                _ => sum.divided_by(histograms.len() as f64),
            }))
        }
        AggregateOp::Sum | AggregateOp::Avg if !histograms.is_empty() => None,
        _ if floats.is_empty() => None,
        op => Some(Native::Float(reduce(op, &floats, 0.0))),
    }
}

/// The sum of at least one histogram, if they can be added.
fn total(histograms: &[&Histogram]) -> Option<Histogram> {
    let (first, rest) = histograms.split_first().expect("a histogram");
    rest.iter().try_fold((*first).clone(), |sum, histogram| sum.plus(histogram, 1.0))
}
