//! Functions of range vectors: from windows to rows.

use pharos_model::{Sample, TimestampMs};
use pharos_promql::ast::Call;
use pharos_promql::{Expr, FunctionId, ValueType};

use super::rows::{Grid, Row, Rows, distinct};
use super::select::{RangeSeries, RangeVector};
use super::{Plain, Refusal, Result, both, labels, windows};

/// What a function sees of one series at one step.
pub(super) struct Window<'a> {
    /// At least one; beyond the window for functions that reach out.
    pub samples: &'a [Sample],
    /// The window leaves its start out and has its end.
    pub start_ms: TimestampMs,
    pub end_ms: TimestampMs,
    /// The evaluation time.
    pub ts: TimestampMs,
    pub anchored: bool,
    pub smoothed: bool,
}

impl Window<'_> {
    pub(super) fn values(&self) -> Vec<f64> {
        self.samples.iter().map(|sample| sample.value).collect()
    }

    pub(super) fn range_secs(&self) -> f64 {
        (self.end_ms - self.start_ms) as f64 / 1000.0
    }
}

/// A call with its arguments evaluated.
struct RangeCall<'a> {
    call: &'a Call,
    vector: RangeVector,
    /// Step by step for each.
    scalars: Vec<Vec<f64>>,
}

impl Plain<'_> {
    pub(super) fn range_call(&self, call: &Call, grid: &Grid) -> Result<Rows> {
        let is_matrix = |arg: &&Expr| arg.value_type() == ValueType::Matrix;
        let matrix = call.args.iter().find(is_matrix).expect("a function of a range vector");
        let scalars: Vec<Expr> = call.args.iter().filter(|arg| !is_matrix(arg)).cloned().collect();
        let (vector, scalars) = both(self.range_vector(matrix, grid), self.scalars(&scalars, grid))?;
        check_modifier(&vector, call)?;
        let evaluated = RangeCall { call, vector, scalars };
        let rows = evaluated.vector.series.iter().map(|series| self.range_row(&evaluated, series, grid));
        let rows = rows.collect::<Result<Rows>>()?;
        if call.function.id == FunctionId::AbsentOverTime {
            return Ok(vec![absent(matrix, &rows, grid)]);
        }
        let rows: Rows = rows.into_iter().filter(Row::is_live).collect();
        if self.settings.delayed_names { Ok(rows) } else { distinct(rows) }
    }

    fn range_row(&self, evaluated: &RangeCall<'_>, series: &RangeSeries, grid: &Grid) -> Result<Row> {
        let RangeCall { call, vector, scalars } = evaluated;
        let mut row = Row { labels: series.labels.clone(), drop_name: series.drop_name, values: Vec::new() };
        for step in 0..grid.steps {
            let scalars: Vec<f64> = scalars.iter().map(|values| values[step]).collect();
            let end_ms = vector.end_at(grid.at(step));
            let start_ms = end_ms - vector.range_ms;
            let seen = |sample: &&Sample| {
                start_ms - vector.reach.0 < sample.ts && sample.ts <= end_ms + vector.reach.1 && vector.range_ms > 0
            };
            let samples: Vec<Sample> = series.samples.iter().filter(seen).copied().collect();
            let (anchored, smoothed) = (vector.anchored, vector.smoothed);
            let window = Window { samples: &samples, start_ms, end_ms, ts: grid.at(step), anchored, smoothed };
            row.values.push(if samples.is_empty() { None } else { self.window_value(call, &window, &scalars)? });
        }
        if row.is_live() {
            self.check_counter(call, series);
        }
        if !matches!(call.function.id, FunctionId::LastOverTime | FunctionId::FirstOverTime) {
            self.rename(&mut row);
        }
        Ok(row)
    }

    fn window_value(&self, call: &Call, window: &Window<'_>, scalars: &[f64]) -> Result<Option<f64>> {
        match call.function.id {
            FunctionId::QuantileOverTime => self.check_quantile(scalars[0], &call.args[0]),
            FunctionId::DoubleExponentialSmoothing => {
                for (factor, what) in scalars.iter().zip(["smoothing", "trend"]) {
                    if *factor <= 0.0 || *factor >= 1.0 {
                        return Err(Refusal::new(format!("invalid {what} factor. Expected: 0 < ")));
                    }
                }
            }
            _ => {}
        }
        Ok(windows::value(call.function.id, window, scalars))
    }

    /// Doubts that a series is a counter when its name does not say so.
    fn check_counter(&self, call: &Call, series: &RangeSeries) {
        let of_counter = matches!(call.function.id, FunctionId::Rate | FunctionId::Increase);
        let Some(name) = series.labels.metric_name().filter(|_| of_counter) else { return };
        if !["_total", "_sum", "_count", "_bucket"].iter().any(|suffix| name.ends_with(suffix)) {
            let text = "metric might not be a counter, name does not end in _total/_sum/_count/_bucket:";
            self.inform(Some(call.args[0].without_parens().span), format!("{text} \"{name}\""));
        }
    }
}

fn check_modifier(vector: &RangeVector, call: &Call) -> Result<()> {
    use FunctionId as F;
    let id = call.function.id;
    let fits_smoothed = matches!(id, F::Rate | F::Increase | F::Delta);
    let fits_anchored = fits_smoothed || matches!(id, F::Resets | F::Changes);
    let modifier = match vector {
        RangeVector { anchored: true, .. } if !fits_anchored => "anchored",
        RangeVector { smoothed: true, .. } if !fits_smoothed => "smoothed",
        _ => return Ok(()),
    };
    Err(Refusal::new(format!("{modifier} modifier can only be used with")))
}

/// One where no row has a value.
fn absent(matrix: &Expr, rows: &Rows, grid: &Grid) -> Row {
    let is_absent = |step: usize| rows.iter().all(|row| row.values[step].is_none());
    let values = (0..grid.steps).map(|step| is_absent(step).then_some(1.0)).collect();
    Row { labels: labels::certain(matrix), drop_name: true, values }
}
