//! Functions of windows in which there may be histograms.

use pharos_model::{LabelSet, Sample, TimestampMs};
use pharos_promql::ast::{Call, MatrixSelector, Subquery};
use pharos_promql::{ExprKind, FunctionId};

use super::super::range::Window;
use super::super::rate::Edges;
use super::super::rows::{Grid, Row, Rows, distinct};
use super::super::{Plain, Result, windows};
use super::{Histogram, Native, timed, total};

/// What is in a window, by time: at least one sample.
struct Seen {
    all: Vec<(TimestampMs, Native)>,
    edges: Edges,
    /// The evaluation time.
    ts: TimestampMs,
}

/// A range vector, its window as seen from an evaluation time.
struct Ranges {
    series: Vec<RangeSeries>,
    range_ms: i64,
    at: Option<TimestampMs>,
    offset_ms: i64,
}

struct RangeSeries {
    labels: LabelSet,
    drop_name: bool,
    /// In time order, without staleness markers.
    samples: Vec<(TimestampMs, Native)>,
}

impl Plain<'_> {
    pub(super) fn native_range_call(&self, call: &Call, grid: &Grid) -> Result<Rows<Native>> {
        let ranges = match &call.args[0].without_parens().kind {
            ExprKind::Matrix(matrix) => self.native_matrix(matrix),
            ExprKind::Subquery(subquery) => self.native_subquery(subquery, grid)?,
            other => unreachable!("no range vector: {other:?}"),
        };
        let mut rows: Rows<Native> = Vec::new();
        for series in &ranges.series {
            let value = |step: usize| {
                let end_ms = ranges.at.unwrap_or(grid.at(step)) - ranges.offset_ms;
                let edges = Edges { start_ms: end_ms - ranges.range_ms, end_ms };
                let within = series.samples.iter().filter(|(ts, _)| edges.start_ms < *ts && *ts <= end_ms);
                let all: Vec<(TimestampMs, Native)> = within.cloned().collect();
                if matches!(call.function.id, FunctionId::Rate | FunctionId::Increase | FunctionId::Irate) {
                    self.check_gauges(&all);
                }
                if all.is_empty() { None } else { Seen { all, edges, ts: grid.at(step) }.value(call.function.id) }
            };
            let values = (0..grid.steps).map(value).collect();
            let mut row = Row { labels: series.labels.clone(), drop_name: series.drop_name, values };
            if !matches!(call.function.id, FunctionId::LastOverTime | FunctionId::FirstOverTime) {
                self.rename(&mut row);
            }
            rows.push(row);
        }
        rows.retain(Row::is_live);
        if self.settings.delayed_names { Ok(rows) } else { distinct(rows) }
    }

    fn native_matrix(&self, matrix: &MatrixSelector) -> Ranges {
        let selector = &matrix.selector;
        let series = self.selected(&selector.matchers).map(|series| RangeSeries {
            labels: series.labels.clone(),
            drop_name: false,
            samples: timed(series).into_iter().filter_map(|(ts, value)| Some((ts, value?))).collect(),
        });
        Ranges {
            series: series.collect(),
            range_ms: self.duration_ms(&matrix.range),
            at: self.at(selector.at),
            offset_ms: self.duration_ms(&selector.offset),
        }
    }

    fn native_subquery(&self, subquery: &Subquery, grid: &Grid) -> Result<Ranges> {
        let inner = self.inner_grid(subquery, grid);
        let rows = if inner.steps == 0 { Vec::new() } else { self.native(&subquery.expr, &inner)? };
        let series = rows.into_iter().map(|row| {
            let steps = row.values.into_iter().enumerate();
            let samples = steps.filter_map(|(step, value)| Some((inner.at(step), value?))).collect();
            RangeSeries { labels: row.labels, drop_name: row.drop_name, samples }
        });
        Ok(Ranges {
            series: series.collect(),
            range_ms: self.duration_ms(&subquery.range),
            at: self.at(subquery.at),
            offset_ms: self.duration_ms(&subquery.offset),
        })
    }
}

impl Plain<'_> {
    /// Whether a gauge that is taken for a counter was reset upstream asks its count alone, or, where more than count and sum
    /// are read of it, the buckets too.
    fn check_gauges(&self, all: &[(TimestampMs, Native)]) {
        let histograms: Vec<&Histogram> = all.iter().filter_map(|(_, value)| value.histogram()).collect();
        let hangs_on_buckets =
            |pair: &[&Histogram]| pair[1].is_gauge && pair[1].count >= pair[0].count && pair[1].is_reset_since(pair[0]);
        if histograms.windows(2).any(hangs_on_buckets) {
            self.leave_open();
        }
    }
}

impl Seen {
    fn value(&self, id: FunctionId) -> Option<Native> {
        use FunctionId as F;
        let histograms: Vec<(TimestampMs, &Histogram)> =
            self.all.iter().filter_map(|(ts, value)| Some((*ts, value.histogram()?))).collect();
        let floats: Vec<Sample> =
            self.all.iter().filter_map(|(ts, value)| Some(Sample { ts: *ts, value: value.float()? })).collect();
        let (first, last) = (&self.all[0].1, &self.all[self.all.len() - 1].1);
        match id {
            F::CountOverTime => return Some(Native::Float(self.all.len() as f64)),
            F::PresentOverTime => return Some(Native::Float(1.0)),
            F::FirstOverTime => return Some(first.clone()),
            F::LastOverTime => return Some(last.clone()),
            F::Resets | F::Changes => return Some(Native::Float(self.count_pairs(id))),
            F::Irate | F::Idelta if !histograms.is_empty() => return self.last_change(id == F::Irate),
            _ => {}
        }
        let takes_histograms =
            matches!(id, F::Rate | F::Increase | F::Delta | F::SumOverTime | F::AvgOverTime | F::Irate | F::Idelta);
        match (histograms.is_empty(), floats.is_empty(), takes_histograms) {
            (true, _, _) | (false, false, false) => {
                Some(Native::Float(windows::value(id, &self.of_floats(&floats), &[])?))
            }
            (false, false, true) | (false, true, false) => None,
            (false, true, true) => Some(Native::Histogram(self.of_histograms(id, &histograms)?)),
        }
    }

    fn of_floats<'a>(&self, samples: &'a [Sample]) -> Window<'a> {
        let Edges { start_ms, end_ms } = self.edges;
        Window { samples, start_ms, end_ms, ts: self.ts, anchored: false, smoothed: false }
    }

    /// Neighbours of which the second is a reset, or another value. One of the other kind is both.
    fn count_pairs(&self, id: FunctionId) -> f64 {
        let is_counted = |a: &Native, b: &Native| match (a, b, id) {
            (Native::Float(a), Native::Float(b), FunctionId::Resets) => b < a,
            (Native::Float(a), Native::Float(b), _) => a != b,
            (Native::Histogram(a), Native::Histogram(b), FunctionId::Resets) => b.is_reset_since(a),
            (Native::Histogram(a), Native::Histogram(b), _) => !a.is_same(b),
            _ => true,
        };
        self.all.windows(2).filter(|pair| is_counted(&pair[0].1, &pair[1].1)).count() as f64
    }

    fn of_histograms(&self, id: FunctionId, histograms: &[(TimestampMs, &Histogram)]) -> Option<Histogram> {
        let values: Vec<&Histogram> = histograms.iter().map(|(_, histogram)| *histogram).collect();
        match id {
            FunctionId::SumOverTime => total(&values),
            FunctionId::AvgOverTime => Some(total(&values)?.divided_by(values.len() as f64)),
            _ => {
                let is_counter = id != FunctionId::Delta;
                let increase = increase(&values, is_counter)?;
                let times = (histograms[0].0, histograms[histograms.len() - 1].0, histograms.len());
                let counter = is_counter.then_some((values[0].count, increase.count));
                let range_secs = (self.edges.end_ms - self.edges.start_ms) as f64 / 1000.0;
                let factor = self.edges.stretch(times, counter);
                let factor = if id == FunctionId::Rate { factor / range_secs } else { factor };
                Some(increase.map(|value| value * factor))
            }
        }
    }

    /// From the last sample but one to the last, whichever their kinds, of which one at least is a histogram's.
    fn last_change(&self, is_rate: bool) -> Option<Native> {
        let [.., (from_ts, from), (to_ts, to)] = &self.all[..] else { return None };
        let secs = (to_ts - from_ts) as f64 / 1000.0;
        match (from, to) {
            (Native::Histogram(from), Native::Histogram(to)) => {
                let is_reset = is_rate && to.is_reset_since(from);
                let change = if is_reset { to.clone() } else { to.plus(from, -1.0)? }.compact();
                Some(Native::Histogram(if is_rate { change.divided_by(secs) } else { change }))
            }
            (Native::Float(from), Native::Float(to)) => {
                let change = if is_rate && to < from { *to } else { to - from };
                Some(Native::Float(if is_rate { change / secs } else { change }))
            }
            _ => None,
        }
    }
}

/// From the first to the last, and for a counter what resets in between took. Nothing for one histogram, or for kinds that
/// cannot be subtracted; what was before a reset at the second does not matter.
fn increase(histograms: &[&Histogram], is_counter: bool) -> Option<Histogram> {
    let [first, rest @ ..] = histograms else { unreachable!("a window is not empty") };
    let last = *rest.last()?;
    let from = match is_counter && rest[0].is_reset_since(first) {
        true => Histogram::nothing_like(rest[0]),
        false => (*first).clone(),
    };
    if is_counter && rest.iter().any(|histogram| histogram.is_custom() != from.is_custom()) {
        return None;
    }
    let mut increase = last.plus(&from, -1.0)?;
    if is_counter {
        let coarsest = rest.iter().map(|histogram| histogram.schema).fold(increase.schema, i32::min);
        increase = increase.with_schema(coarsest);
        for pair in rest.windows(2).filter(|pair| pair[1].is_reset_since(pair[0])) {
            increase = increase.plus(pair[0], 1.0)?;
        }
    }
    Some(increase.compact())
}
