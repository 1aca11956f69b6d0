//! Selectors and subqueries: which samples an expression sees at a time.

use pharos_model::matcher::all_match;
use pharos_model::sample::is_stale;
use pharos_model::{LabelSet, Sample, TimestampMs};
use pharos_promql::ast::{AtModifier, MatrixSelector, Subquery, VectorSelector};
use pharos_promql::duration::{DurationExpr, DurationExprKind, DurationOp, DurationValue};
use pharos_promql::{Expr, ExprKind};

use super::rate::interpolate;
use super::rows::{Grid, Row, Rows, without_metadata};
use super::{Matrix, Plain, Refusal, Result, SAME_LABELSET};

/// One series of a range vector.
pub(super) struct RangeSeries {
    pub labels: LabelSet,
    pub drop_name: bool,
    /// In time order, without staleness markers.
    pub samples: Vec<Sample>,
}

/// A range vector: its series, and its window as seen from an evaluation time.
pub(super) struct RangeVector {
    pub series: Vec<RangeSeries>,
    pub range_ms: i64,
    pub at: Option<TimestampMs>,
    pub offset_ms: i64,
    /// How far a function looks beyond the window, to the left and to the right.
    pub reach: (i64, i64),
    pub anchored: bool,
    pub smoothed: bool,
}

impl RangeVector {
    /// The end of the window at an evaluation time; its start is not part of it.
    pub(super) fn end_at(&self, ts: TimestampMs) -> TimestampMs {
        self.at.unwrap_or(ts) - self.offset_ms
    }

    /// The samples of the window at an evaluation time. Names that were marked go, and series that are then equal become one.
    pub(super) fn samples_at(&self, ts: TimestampMs) -> Result<Matrix> {
        let end_ms = self.end_at(ts);
        let within = |sample: &&Sample| end_ms - self.range_ms < sample.ts && sample.ts <= end_ms;
        let of_series = |series: &RangeSeries| {
            let samples = series.samples.iter().filter(within).map(|sample| (sample.ts, sample.value));
            let labels = if series.drop_name { without_metadata(&series.labels) } else { series.labels.clone() };
            (labels, samples.collect())
        };
        let all: Matrix = self.series.iter().map(of_series).collect();
        let mut found = Matrix::new();
        for (labels, samples) in all.into_iter().filter(|(_, samples)| !samples.is_empty()) {
            match found.iter_mut().find(|(known, _)| *known == labels) {
                Some((_, known)) => known.extend(samples),
                None => found.push((labels, samples)),
            }
        }
        for (_, samples) in &mut found {
            samples.sort_by_key(|(ts, _)| *ts);
            if samples.windows(2).any(|pair| pair[0].0 == pair[1].0) {
                return Err(Refusal::new(SAME_LABELSET));
            }
        }
        Ok(found)
    }
}

impl Plain<'_> {
    pub(super) fn selector(&self, selector: &VectorSelector, grid: &Grid) -> Result<Rows> {
        self.each_selected(selector, grid, |samples, ts| {
            if selector.smoothed { self.smoothed(samples, ts) } else { self.newest(samples, ts).map(|s| s.value) }
        })
    }

    /// The times of the samples that a selector finds, in seconds.
    pub(super) fn sample_times(&self, selector: &VectorSelector, grid: &Grid) -> Result<Rows> {
        self.each_selected(selector, grid, |samples, ts| Some(self.newest(samples, ts)?.ts as f64 / 1000.0))
    }

    fn each_selected(
        &self,
        selector: &VectorSelector,
        grid: &Grid,
        value: impl Fn(&[Sample], TimestampMs) -> Option<f64>,
    ) -> Result<Rows> {
        let at = self.at(selector.at);
        let offset_ms = self.duration_ms(&selector.offset);
        let matching = self.series.iter().filter(|series| all_match(&selector.matchers, &series.labels));
        let rows = matching.map(|series| {
            let at_step = |step| value(&series.samples, at.unwrap_or(grid.at(step)) - offset_ms);
            Row { labels: series.labels.clone(), drop_name: false, values: (0..grid.steps).map(at_step).collect() }
        });
        Ok(rows.filter(Row::is_live).collect())
    }

    /// The newest sample that is younger than the lookback, unless it ends the series.
    fn newest(&self, samples: &[Sample], ts: TimestampMs) -> Option<Sample> {
        let newest = samples.iter().rfind(|sample| sample.ts <= ts)?;
        (newest.ts > ts - self.settings.lookback_ms && !is_stale(newest.value)).then_some(*newest)
    }

    /// The value on the line between the samples around a time; the last one where none follows.
    fn smoothed(&self, samples: &[Sample], ts: TimestampMs) -> Option<f64> {
        let lookback = self.settings.lookback_ms;
        let near =
            |sample: &&Sample| sample.ts > ts - lookback && sample.ts <= ts + lookback && !is_stale(sample.value);
        let before = samples.iter().filter(near).rfind(|sample| sample.ts <= ts)?;
        match samples.iter().filter(near).find(|sample| sample.ts >= ts) {
            Some(after) if after.ts > before.ts => Some(interpolate(*before, *after, ts, false)),
            _ => Some(before.value),
        }
    }

    pub(super) fn range_vector(&self, expr: &Expr, grid: &Grid) -> Result<RangeVector> {
        match &expr.without_parens().kind {
            ExprKind::Matrix(matrix) => Ok(self.matrix(matrix)),
            ExprKind::Subquery(subquery) => self.subquery(subquery, grid),
            other => unreachable!("no range vector: {other:?}"),
        }
    }

    fn matrix(&self, matrix: &MatrixSelector) -> RangeVector {
        let selector = &matrix.selector;
        let matching = self.series.iter().filter(|series| all_match(&selector.matchers, &series.labels));
        let series = matching.map(|series| RangeSeries {
            labels: series.labels.clone(),
            drop_name: false,
            samples: series.samples.iter().filter(|sample| !is_stale(sample.value)).copied().collect(),
        });
        let lookback = self.settings.lookback_ms;
        let reach = match (selector.anchored, selector.smoothed) {
            (true, _) => (lookback, 0),
            (_, true) => (lookback, lookback),
            _ => (0, 0),
        };
        RangeVector {
            series: series.collect(),
            range_ms: self.duration_ms(&matrix.range),
            at: self.at(selector.at),
            offset_ms: self.duration_ms(&selector.offset),
            reach,
            anchored: selector.anchored,
            smoothed: selector.smoothed,
        }
    }

    /// The inner expression at all multiples of the subquery's step that any window may see, those in the gaps between
    /// windows too.
    fn subquery(&self, subquery: &Subquery, grid: &Grid) -> Result<RangeVector> {
        let range_ms = self.duration_ms(&subquery.range);
        let offset_ms = self.duration_ms(&subquery.offset);
        let at = self.at(subquery.at);
        let step_ms = match &subquery.step {
            Some(step) => self.duration_ms(step),
            None => self.settings.subquery_step_ms,
        };
        let first = at.unwrap_or(grid.start_ms) - offset_ms - range_ms;
        let last = at.unwrap_or(grid.at(grid.steps - 1)) - offset_ms;
        let inner = Grid::covering((first.div_euclid(step_ms) + 1) * step_ms, last, step_ms);
        let rows = if inner.steps == 0 { Rows::new() } else { self.vector(&subquery.expr, &inner)? };
        let series = rows.into_iter().map(|row| {
            let samples = row.values.iter().enumerate();
            let samples = samples.filter_map(|(step, value)| Some(Sample { ts: inner.at(step), value: (*value)? }));
            RangeSeries { samples: samples.collect(), labels: row.labels, drop_name: row.drop_name }
        });
        let series = series.collect();
        Ok(RangeVector { series, range_ms, at, offset_ms, reach: (0, 0), anchored: false, smoothed: false })
    }

    fn at(&self, at: Option<AtModifier>) -> Option<TimestampMs> {
        Some(match at? {
            AtModifier::Timestamp(ts) => ts,
            AtModifier::Start => self.settings.start_ms,
            AtModifier::End => self.settings.end_ms,
        })
    }

    fn duration_ms(&self, duration: &DurationValue) -> i64 {
        match duration {
            DurationValue::Ms(ms) => *ms,
            DurationValue::Expr(expr) => (self.duration_secs(expr) * 1000.0) as i64,
        }
    }

    fn duration_secs(&self, expr: &DurationExpr) -> f64 {
        match &expr.kind {
            DurationExprKind::Number(literal) => literal.value,
            DurationExprKind::Step => self.settings.step_secs(),
            DurationExprKind::Range => (self.settings.end_ms - self.settings.start_ms) as f64 / 1000.0,
            DurationExprKind::Plus(inner) => self.duration_secs(inner),
            DurationExprKind::Minus(inner) => -self.duration_secs(inner),
            DurationExprKind::Binary { op, lhs, rhs } => {
                let (left, right) = (self.duration_secs(lhs), self.duration_secs(rhs));
                match op {
                    DurationOp::Add => left + right,
                    DurationOp::Sub => left - right,
                    DurationOp::Mul => left * right,
                    DurationOp::Div => left / right,
                    DurationOp::Mod => left % right,
                    DurationOp::Pow => left.powf(right),
                    DurationOp::MinOf => left.min(right),
                    DurationOp::MaxOf => left.max(right),
                }
            }
        }
    }
}
