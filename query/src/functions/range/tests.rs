//! Tables of facts, and each kernel against a plain evaluation of every window for itself.

use proptest::prelude::*;

use super::*;
use crate::functions::grid::is_set;

type F = RangeFunction;

const ALL: [RangeFunction; 26] = [
    F::Rate,
    F::Increase,
    F::Delta,
    F::Irate,
    F::Idelta,
    F::Resets,
    F::Changes,
    F::Deriv,
    F::PredictLinear,
    F::AvgOverTime,
    F::MinOverTime,
    F::MaxOverTime,
    F::SumOverTime,
    F::CountOverTime,
    F::LastOverTime,
    F::FirstOverTime,
    F::PresentOverTime,
    F::StddevOverTime,
    F::StdvarOverTime,
    F::QuantileOverTime,
    F::MadOverTime,
    F::TsOfMinOverTime,
    F::TsOfMaxOverTime,
    F::TsOfLastOverTime,
    F::TsOfFirstOverTime,
    F::DoubleExponentialSmoothing,
];

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

fn plain(range_ms: i64) -> RangeWindow {
    RangeWindow { range_ms, offset_ms: 0, at_ms: None, selection: Selection::Plain, lookback_ms: 300_000 }
}

fn constants(parameters: &[f64]) -> Vec<ScalarArg> {
    parameters.iter().map(|&value| ScalarArg::Constant(value)).collect()
}

/// Runs a kernel over `(ts, value)` pairs.
fn run(
    function: RangeFunction,
    grid: Grid,
    window: RangeWindow,
    parameters: Vec<ScalarArg>,
    samples: &[(i64, f64)],
) -> Result<(Vec<Option<f64>>, Notes), FunctionError> {
    let (ts, values): (Vec<i64>, Vec<f64>) = samples.iter().copied().unzip();
    let (mut present, mut row) = (vec![0; grid.words()], vec![0.0; grid.n]);
    let mut notes = Notes::default();
    let mut kernel = RangeKernel::new(function, grid, window, parameters);
    // A second series must not see what the first left behind.
    for _ in 0..2 {
        present.fill(0);
        let out = RowOut { present: &mut present, values: &mut row };
        kernel.eval(Samples { ts: &ts, values: &values }, out, &mut notes)?;
    }
    Ok(((0..grid.n).map(|i| is_set(&present, i).then_some(row[i])).collect(), notes))
}

/// The value at one evaluation time.
fn at(
    function: RangeFunction,
    time_ms: i64,
    window: RangeWindow,
    parameters: &[f64],
    samples: &[(i64, f64)],
) -> Option<f64> {
    run(function, Grid::instant(time_ms), window, constants(parameters), samples).unwrap().0[0]
}

/// Values a minute apart, the first at time zero, as the scripts' `load 1m` makes them.
fn minutes(values: &[f64]) -> Vec<(i64, f64)> {
    values.iter().enumerate().map(|(i, &value)| (i as i64 * 60_000, value)).collect()
}

/// Equal within rounding, NaN equal to NaN.
fn assert_near(got: Option<f64>, want: Option<f64>, what: &str) {
    let near = match (got, want) {
        (Some(a), Some(b)) => a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-9 * b.abs(),
        (a, b) => a.is_none() && b.is_none(),
    };
    assert!(near, "{what}: {got:?}, expected {want:?}");
}

#[test]
fn windows_are_open_on_the_left() {
    let samples = minutes(&[1.0, 2.0, 3.0, 4.0]);
    let grid = Grid { start_ms: 0, step_ms: 60_000, n: 6 };
    for (window, counts) in [
        (plain(60_000), [Some(1.0), Some(1.0), Some(1.0), Some(1.0), None, None]),
        (plain(120_000), [Some(1.0), Some(2.0), Some(2.0), Some(2.0), Some(1.0), None]),
        (plain(60_001), [Some(1.0), Some(2.0), Some(2.0), Some(2.0), Some(1.0), None]),
        (RangeWindow { offset_ms: 60_000, ..plain(60_000) }, [None, Some(1.0), Some(1.0), Some(1.0), Some(1.0), None]),
        (RangeWindow { offset_ms: -60_000, ..plain(60_000) }, [Some(1.0), Some(1.0), Some(1.0), None, None, None]),
        (RangeWindow { at_ms: Some(120_000), ..plain(120_000) }, [Some(2.0); 6]),
    ] {
        assert_eq!(run(F::CountOverTime, grid, window, Vec::new(), &samples).unwrap().0, counts, "{window:?}");
    }
}

#[test]
fn a_sample_is_read_by_each_step_that_sees_it() {
    let ts = [0, 60_000, 120_000, 180_000];
    let grid = Grid { start_ms: 0, step_ms: 60_000, n: 6 };
    let anchored = RangeWindow { selection: Selection::Anchored, lookback_ms: 60_000, ..plain(120_000) };
    for (function, window, read) in [
        (F::Rate, plain(120_000), 8),
        (F::LastOverTime, plain(120_000), 8),
        (F::Rate, plain(1), 4),
        (F::Rate, anchored, 12),
    ] {
        let (mut present, mut values) = ([0], [0.0; 6]);
        let mut kernel = RangeKernel::new(function, grid, window, Vec::new());
        for _ in 0..2 {
            let out = RowOut { present: &mut present, values: &mut values };
            kernel.eval(Samples { ts: &ts, values: &[1.0; 4] }, out, &mut Notes::default()).unwrap();
            assert_eq!(kernel.samples_read(), read, "{function:?} {window:?}");
        }
    }
}

#[test]
fn what_must_be_read_is_what_windows_reach() {
    let grid = Grid { start_ms: 1_000_000, step_ms: 10_000, n: 4 };
    for (window, start_ms, end_ms) in [
        (plain(60_000), 940_001, 1_030_000),
        (RangeWindow { offset_ms: 5_000, ..plain(60_000) }, 935_001, 1_025_000),
        (RangeWindow { selection: Selection::Anchored, ..plain(60_000) }, 640_001, 1_030_000),
        (RangeWindow { selection: Selection::Smoothed, ..plain(60_000) }, 640_001, 1_330_000),
        (RangeWindow { at_ms: Some(500_000), offset_ms: 1, ..plain(60_000) }, 440_000, 499_999),
    ] {
        assert_eq!(window.read_range(&grid), TimeRange::new(start_ms, end_ms), "{window:?}");
    }
}

#[test]
fn rates_are_extrapolated_to_the_window() {
    // Window, samples, rate over it.
    for (range_ms, time_ms, samples, increase) in [
        // The window is covered: both ends are within 1.1 gaps.
        (300_000, 300_000, minutes(&[0.0, 10.0, 20.0, 30.0, 40.0, 50.0]), Some(50.0)),
        // A reset in the middle: 20 was lost.
        (240_000, 240_000, minutes(&[0.0, 10.0, 20.0, 5.0, 15.0]), Some(100.0 / 3.0)),
        // The counter cannot have been below zero, so it is not extrapolated past its start.
        (600_000, 300_000, vec![(240_000, 0.0), (270_000, 5.0), (300_000, 10.0)], Some(10.0)),
        // Far from both ends: half a gap on each side.
        (3_600_000, 3_600_000, vec![(1_800_000, 100.0), (1_860_000, 110.0), (1_920_000, 120.0)], Some(30.0)),
        (300_000, 300_000, minutes(&[0.0]), None),
        (60_000, 300_000, minutes(&[0.0, 10.0]), None),
    ] {
        let what = format!("{samples:?}");
        assert_near(at(F::Increase, time_ms, plain(range_ms), &[], &samples), increase, &what);
        let rate = increase.map(|increase| increase / (range_ms as f64 / 1000.0));
        assert_near(at(F::Rate, time_ms, plain(range_ms), &[], &samples), rate, &what);
    }
}

#[test]
fn a_gauge_falls_without_a_reset() {
    let samples = minutes(&[50.0, 40.0, 30.0, 20.0, 10.0, 0.0]);
    assert_near(at(F::Delta, 300_000, plain(300_000), &[], &samples), Some(-50.0), "delta");
    assert_near(at(F::Idelta, 300_000, plain(300_000), &[], &samples), Some(-10.0), "idelta");
}

#[test]
fn instant_rates_take_the_last_two_samples() {
    for (values, irate, idelta) in [
        (&[0.0, 10.0, 25.0][..], Some(0.25), Some(15.0)),
        (&[0.0, 25.0, 10.0], Some(10.0 / 60.0), Some(-15.0)),
        (&[1.0, NAN, 2.0], Some(NAN), Some(NAN)),
        (&[1.0], None, None),
    ] {
        let samples = minutes(values);
        assert_near(at(F::Irate, 120_000, plain(600_000), &[], &samples), irate, "irate");
        assert_near(at(F::Idelta, 120_000, plain(600_000), &[], &samples), idelta, "idelta");
    }
}

#[test]
fn resets_and_changes_are_counted_between_samples_of_the_window() {
    for (values, resets, changes) in [
        (&[1.0, 2.0, 3.0, 0.0, 1.0, 0.0, 0.0, 1.0, 2.0, 0.0][..], 3.0, 8.0),
        (&[1.0, 1.0, 1.0], 0.0, 0.0),
        (&[NAN, NAN, 1.0, NAN], 0.0, 2.0),
        (&[5.0], 0.0, 0.0),
        (&[0.0, -0.0, INF, -INF], 1.0, 2.0),
    ] {
        let samples = minutes(values);
        assert_eq!(at(F::Resets, 600_000, plain(3_600_000), &[], &samples), Some(resets), "{values:?}");
        assert_eq!(at(F::Changes, 600_000, plain(3_600_000), &[], &samples), Some(changes), "{values:?}");
    }
    assert_eq!(at(F::Resets, 600_000, plain(60_000), &[], &minutes(&[1.0])), None);
}

#[test]
fn anchored_windows_begin_at_the_last_sample_before_them() {
    let anchored = RangeWindow { selection: Selection::Anchored, ..plain(60_000) };
    let samples = [(0, 1.0), (15_000, 2.0), (30_000, 1.0), (45_000, 3.0), (90_000, 5.0)];
    for (function, time_ms, value) in [
        // From the sample at 15 s, before the start at 30 s is 30 s itself.
        (F::Increase, 90_000, Some(4.0)),
        (F::Delta, 75_000, Some(1.0)),
        (F::Increase, 75_000, Some(3.0)),
        (F::Changes, 75_000, Some(2.0)),
        (F::Resets, 75_000, Some(1.0)),
        // Nothing inside the window.
        (F::Increase, 150_000, None),
        (F::Changes, 150_000, None),
        (F::Changes, 400_000, None),
        // Nothing before it: the first sample stands for the start.
        (F::Increase, 15_000, Some(1.0)),
        (F::Changes, 0, Some(0.0)),
        (F::Increase, 0, Some(0.0)),
    ] {
        assert_near(at(function, time_ms, anchored, &[], &samples), value, &format!("{function:?} at {time_ms}"));
    }
    assert_near(at(F::Rate, 75_000, anchored, &[], &samples), Some(0.05), "by the whole range");
}

#[test]
fn smoothed_windows_are_interpolated_at_both_ends() {
    let smoothed = RangeWindow { selection: Selection::Smoothed, ..plain(60_000) };
    let samples = [(0, 0.0), (30_000, 30.0), (60_000, 90.0), (90_000, 30.0)];
    for (function, time_ms, value) in [
        (F::Delta, 60_000, Some(90.0)),
        (F::Delta, 75_000, Some(45.0)),
        // The counter restarted at zero between 60 s and 90 s: half of 30 by 75 s, and 90 less 15 before.
        (F::Increase, 75_000, Some(90.0)),
        (F::Increase, 90_000, Some(90.0)),
        (F::Rate, 90_000, Some(1.5)),
        // All samples are behind the window.
        (F::Delta, -10_000, None),
        // The first sample stands for the start.
        (F::Delta, 15_000, Some(15.0)),
        (F::Delta, 0, Some(0.0)),
        (F::Delta, 200_000, None),
    ] {
        assert_near(at(function, time_ms, smoothed, &[], &samples), value, &format!("{function:?} at {time_ms}"));
    }
}

#[test]
fn only_some_functions_know_anchored_and_smoothed_windows() {
    let names = |selection| ALL.into_iter().filter(move |function| function.allows(selection)).collect::<Vec<_>>();
    assert_eq!(names(Selection::Plain).len(), ALL.len());
    assert_eq!(names(Selection::Anchored), [F::Rate, F::Increase, F::Delta, F::Resets, F::Changes]);
    assert_eq!(names(Selection::Smoothed), [F::Rate, F::Increase, F::Delta]);
}

#[test]
fn lines_are_fitted_to_windows() {
    let rising = minutes(&[0.0, 10.0, 20.0, 30.0]);
    assert_near(at(F::Deriv, 180_000, plain(600_000), &[], &rising), Some(1.0 / 6.0), "deriv");
    assert_near(at(F::PredictLinear, 180_000, plain(600_000), &[600.0], &rising), Some(130.0), "ten minutes ahead");
    let earlier = RangeWindow { offset_ms: 60_000, ..plain(600_000) };
    assert_near(at(F::PredictLinear, 240_000, earlier, &[0.0], &rising), Some(40.0), "from the evaluation time on");
    for (values, slope, value) in [
        (&[1.1, 1.1, 1.1][..], Some(0.0), Some(1.1)),
        (&[INF, INF], Some(NAN), Some(NAN)),
        (&[1.0, NAN], Some(NAN), Some(NAN)),
        (&[1.0], None, None),
    ] {
        assert_near(at(F::Deriv, 180_000, plain(600_000), &[], &minutes(values)), slope, "deriv");
        assert_near(at(F::PredictLinear, 180_000, plain(600_000), &[60.0], &minutes(values)), value, "predict_linear");
    }
    let large = minutes(&[1.493712766e9, 1.493712771e9, 1.493712776e9].map(|v: f64| v));
    assert_near(at(F::Deriv, 180_000, plain(600_000), &[], &large), Some(5.0 / 60.0), "far from zero");
}

#[test]
fn aggregations_over_time() {
    let values = [0.0, 8.0, 8.0, 2.0, 3.0];
    for (function, parameters, result) in [
        (F::SumOverTime, &[][..], 21.0),
        (F::AvgOverTime, &[], 4.2),
        (F::CountOverTime, &[], 5.0),
        (F::MinOverTime, &[], 0.0),
        (F::MaxOverTime, &[], 8.0),
        (F::FirstOverTime, &[], 0.0),
        (F::LastOverTime, &[], 3.0),
        (F::PresentOverTime, &[], 1.0),
        (F::StdvarOverTime, &[], 10.56),
        (F::StddevOverTime, &[], 3.249615),
        (F::QuantileOverTime, &[0.5], 3.0),
        (F::QuantileOverTime, &[0.8], 8.0),
        (F::QuantileOverTime, &[0.2], 1.6),
        (F::MadOverTime, &[], 3.0),
        (F::TsOfMinOverTime, &[], 0.0),
        (F::TsOfMaxOverTime, &[], 120.0),
        (F::TsOfFirstOverTime, &[], 0.0),
        (F::TsOfLastOverTime, &[], 240.0),
    ] {
        let got = at(function, 300_000, plain(600_000), parameters, &minutes(&values)).unwrap();
        assert!((got - result).abs() < 1e-6, "{function:?}: {got}");
        assert_eq!(at(function, 300_000, plain(600_000), parameters, &[]), None, "{function:?} of nothing");
    }
}

#[test]
fn extremes_see_nan_only_where_there_is_nothing_else() {
    for (values, min, max) in
        [(&[NAN, 1.0, NAN, 3.0][..], 1.0, 3.0), (&[NAN, NAN], NAN, NAN), (&[NAN, -INF, INF], -INF, INF)]
    {
        assert_near(at(F::MinOverTime, 300_000, plain(600_000), &[], &minutes(values)), Some(min), "min");
        assert_near(at(F::MaxOverTime, 300_000, plain(600_000), &[], &minutes(values)), Some(max), "max");
    }
    // Among equals, the time of the last.
    let samples = minutes(&[1.0, 5.0, 1.0, 5.0, 3.0]);
    assert_eq!(at(F::TsOfMinOverTime, 300_000, plain(600_000), &[], &samples), Some(120.0));
    assert_eq!(at(F::TsOfMaxOverTime, 300_000, plain(600_000), &[], &samples), Some(180.0));
    assert_eq!(at(F::TsOfMaxOverTime, 300_000, plain(600_000), &[], &minutes(&[NAN, NAN])), Some(60.0));
}

#[test]
fn sums_and_means_do_not_lose_small_terms_or_overflow() {
    let samples = minutes(&[1.0, 1e100, 1.0, -1e100]);
    assert_eq!(at(F::SumOverTime, 300_000, plain(600_000), &[], &samples), Some(2.0));
    assert_eq!(at(F::AvgOverTime, 300_000, plain(600_000), &[], &samples), Some(0.5));
    let huge = minutes(&[1e308, 1e308, 1e308]);
    assert_eq!(at(F::SumOverTime, 300_000, plain(600_000), &[], &huge), Some(INF));
    assert_eq!(at(F::AvgOverTime, 300_000, plain(600_000), &[], &huge), Some(1e308));
}

#[test]
fn a_quantile_outside_of_its_range_is_worth_a_warning() {
    let samples = minutes(&[0.0, 1.0, 2.0]);
    for (phi, result, shown) in [(-1.0, -INF, "-1"), (2.0, INF, "2"), (NAN, NAN, "NaN")] {
        let (row, notes) =
            run(F::QuantileOverTime, Grid::instant(180_000), plain(600_000), constants(&[phi]), &samples).unwrap();
        assert_near(row[0], Some(result), "quantile");
        let texts: Vec<_> = notes.iter().map(|note| note.to_text()).collect();
        assert_eq!(texts, [format!("PromQL warning: quantile value should be between 0 and 1, got {shown}")]);
    }
    let (_, notes) =
        run(F::QuantileOverTime, Grid::instant(180_000), plain(600_000), constants(&[1.0]), &samples).unwrap();
    assert!(notes.is_empty());
}

#[test]
fn smoothing_forgets_by_its_factors() {
    let rising = minutes(&[0.0, 10.0, 20.0, 30.0, 40.0]);
    let smooth = |factors: &[f64], samples: &[(i64, f64)]| {
        run(F::DoubleExponentialSmoothing, Grid::instant(300_000), plain(600_000), constants(factors), samples)
            .map(|(row, _)| row[0])
    };
    assert_near(smooth(&[0.01, 0.1], &rising).unwrap(), Some(40.0), "a straight line stays one");
    assert_near(smooth(&[0.5, 0.5], &minutes(&[0.0, 8.0, 0.0])).unwrap(), Some(8.0), "by hand");
    assert_eq!(smooth(&[0.5, 0.5], &rising[..1]).unwrap(), None);
    assert_eq!(smooth(&[0.0, 0.5], &rising), Err(FunctionError::SmoothingFactor(0.0)));
    assert_eq!(smooth(&[0.5, 1.0], &rising[..1]), Err(FunctionError::TrendFactor(1.0)));
    assert_eq!(smooth(&[0.0, 0.5], &[]).unwrap(), None, "nothing is checked where nothing is seen");
    assert_eq!(
        smooth(&[1.5, 0.5], &rising).unwrap_err().to_string(),
        "invalid smoothing factor. Expected: 0 < sf < 1, got: 1.500000"
    );
}

#[test]
fn parameters_may_change_from_step_to_step() {
    let grid = Grid { start_ms: 120_000, step_ms: 60_000, n: 2 };
    let phi = vec![ScalarArg::PerStep([0.0, 1.0].into())];
    let (row, _) = run(F::QuantileOverTime, grid, plain(600_000), phi, &minutes(&[1.0, 2.0, 3.0, 4.0])).unwrap();
    assert_eq!(row, [Some(1.0), Some(4.0)]);
    let pinned = RangeWindow { at_ms: Some(120_000), ..plain(600_000) };
    let (row, _) = run(F::PredictLinear, grid, pinned, constants(&[0.0]), &minutes(&[0.0, 1.0, 2.0, 9.0])).unwrap();
    assert_near(row[0], Some(2.0), "the same samples");
    assert_near(row[1], Some(3.0), "from another time");
}

#[test]
fn more_steps_than_a_block_and_more_than_a_word() {
    let samples: Vec<(i64, f64)> = (0..2000).map(|i| (i * 15_000, (i % 700) as f64)).collect();
    let grid = Grid { start_ms: 0, step_ms: 30_000, n: 700 };
    let (row, _) = run(F::Rate, grid, plain(300_000), Vec::new(), &samples).unwrap();
    for (step, value) in row.into_iter().enumerate() {
        let want = at(F::Rate, grid.at(step), plain(300_000), &[], &samples);
        assert_eq!(value.map(f64::to_bits), want.map(f64::to_bits), "step {step}");
    }
}

/// Each window for itself, as the functions are defined.
mod reference {
    use super::*;

    fn kahan(value: f64, sum: f64, lost: f64) -> (f64, f64) {
        let total = sum + value;
        if total.is_infinite() {
            (total, 0.0)
        } else if sum.abs() >= value.abs() {
            (total, lost + ((sum - total) + value))
        } else {
            (total, lost + ((value - total) + sum))
        }
    }

    fn avg(seen: &[(i64, f64)]) -> f64 {
        let (mut sum, mut lost, mut mean, mut count, mut incremental) = (seen[0].1, 0.0, 0.0, 1.0, false);
        for (i, &(_, value)) in seen.iter().enumerate().skip(1) {
            count = (i + 1) as f64;
            if !incremental {
                let (next, next_lost) = kahan(value, sum, lost);
                if !next.is_infinite() {
                    (sum, lost) = (next, next_lost);
                    continue;
                }
                incremental = true;
                mean = sum / (count - 1.0);
                lost /= count - 1.0;
            }
            let q = (count - 1.0) / count;
            (mean, lost) = kahan(value / count, q * mean, q * lost);
        }
        if incremental { mean + lost } else { sum / count + lost / count }
    }

    fn variance(seen: &[(i64, f64)]) -> f64 {
        let (mut count, mut mean, mut mean_lost, mut aux, mut aux_lost) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for &(_, value) in seen {
            count += 1.0;
            let delta = value - (mean + mean_lost);
            (mean, mean_lost) = kahan(delta / count, mean, mean_lost);
            (aux, aux_lost) = kahan(delta * (value - (mean + mean_lost)), aux, aux_lost);
        }
        (aux + aux_lost) / count
    }

    fn quantile(phi: f64, mut values: Vec<f64>) -> f64 {
        if phi.is_nan() {
            return NAN;
        }
        if phi < 0.0 {
            return -INF;
        }
        if phi > 1.0 {
            return INF;
        }
        values.sort_by(|a, b| match (a.is_nan(), b.is_nan()) {
            (false, false) => a.partial_cmp(b).unwrap(),
            (a, b) => b.cmp(&a),
        });
        let rank = phi * (values.len() - 1) as f64;
        let weight = rank - rank.floor();
        let upper = values.len().min(rank as usize + 2) - 1;
        values[rank as usize] * (1.0 - weight) + values[upper] * weight
    }

    fn regression(seen: &[(i64, f64)], origin_ms: i64) -> (f64, f64) {
        let (mut n, mut x, mut y, mut xy, mut xx) = (0.0, (0.0, 0.0), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0));
        let mut flat = true;
        for (i, &(ts, value)) in seen.iter().enumerate() {
            flat &= i == 0 || value == seen[0].1;
            n += 1.0;
            let time = (ts - origin_ms) as f64 / 1e3;
            x = kahan(time, x.0, x.1);
            y = kahan(value, y.0, y.1);
            xy = kahan(time * value, xy.0, xy.1);
            xx = kahan(time * time, xx.0, xx.1);
        }
        if flat {
            return if seen[0].1.is_infinite() { (NAN, NAN) } else { (0.0, seen[0].1) };
        }
        let (x, y, xy, xx) = (x.0 + x.1, y.0 + y.1, xy.0 + xy.1, xx.0 + xx.1);
        let slope = (xy - x * y / n) / (xx - x * x / n);
        (slope, y / n - slope * x / n)
    }

    fn extrapolated(seen: &[(i64, f64)], start: i64, end: i64, counter: bool, rate: bool) -> Option<f64> {
        if seen.len() < 2 {
            return None;
        }
        let ((first_ts, first), (last_ts, last)) = (seen[0], seen[seen.len() - 1]);
        let mut result = last - first;
        if counter {
            for pair in seen.windows(2) {
                if pair[1].1 < pair[0].1 {
                    result += pair[0].1;
                }
            }
        }
        let mut to_start = (first_ts - start) as f64 / 1000.0;
        let mut to_end = (end - last_ts) as f64 / 1000.0;
        let sampled = (last_ts - first_ts) as f64 / 1000.0;
        let average = sampled / (seen.len() - 1) as f64;
        let threshold = average * 1.1;
        if to_start >= threshold {
            to_start = average / 2.0;
        }
        if counter {
            let mut to_zero = to_start;
            if result > 0.0 && first >= 0.0 {
                to_zero = sampled * (first / result);
            }
            if to_zero < to_start {
                to_start = to_zero;
            }
        }
        if to_end >= threshold {
            to_end = average / 2.0;
        }
        let mut factor = (sampled + to_start + to_end) / sampled;
        if rate {
            let range_ms = end - start;
            factor /= (range_ms / 1000) as f64 + (range_ms % 1000 * 1_000_000) as f64 / 1e9;
        }
        Some(result * factor)
    }

    fn extreme(seen: &[(i64, f64)], better: impl Fn(f64, f64) -> bool) -> (i64, f64) {
        let mut best = seen[0];
        for &sample in seen {
            if better(sample.1, best.1) || best.1.is_nan() {
                best = sample;
            }
        }
        best
    }

    fn smoothing(seen: &[(i64, f64)], sf: f64, tf: f64) -> Option<f64> {
        if seen.len() < 2 {
            return None;
        }
        let (mut s0, mut s1, mut b) = (0.0, seen[0].1, seen[1].1 - seen[0].1);
        for (i, &(_, value)) in seen.iter().enumerate().skip(1) {
            let x = sf * value;
            if i > 1 {
                b = tf * (s1 - s0) + (1.0 - tf) * b;
            }
            let y = (1.0 - sf) * (s1 + b);
            (s0, s1) = (s1, x + y);
        }
        Some(s1)
    }

    pub(super) fn eval(
        function: RangeFunction,
        time_ms: i64,
        window: RangeWindow,
        parameters: &[f64],
        samples: &[(i64, f64)],
    ) -> Option<f64> {
        let end = window.at_ms.unwrap_or(time_ms) - window.offset_ms;
        let start = end - window.range_ms;
        let seen: Vec<(i64, f64)> = samples.iter().copied().filter(|&(ts, _)| ts > start && ts <= end).collect();
        let values = || seen.iter().map(|sample| sample.1).collect::<Vec<f64>>();
        if seen.is_empty() {
            return None;
        }
        let last = seen[seen.len() - 1];
        let pairs = || seen.windows(2).map(|pair| (pair[0], pair[1]));
        let seconds = |ts: i64| ts as f64 / 1000.0;
        Some(match function {
            F::Rate => return extrapolated(&seen, start, end, true, true),
            F::Increase => return extrapolated(&seen, start, end, true, false),
            F::Delta => return extrapolated(&seen, start, end, false, false),
            F::Irate => {
                let ((t0, v0), (t1, v1)) = pairs().next_back()?;
                (if v1 < v0 { v1 } else { v1 - v0 }) / ((t1 - t0) as f64 / 1000.0)
            }
            F::Idelta => pairs().next_back().map(|(a, b)| b.1 - a.1)?,
            F::Resets => pairs().filter(|(a, b)| b.1 < a.1).count() as f64,
            F::Changes => pairs().filter(|(a, b)| b.1 != a.1 && !(a.1.is_nan() && b.1.is_nan())).count() as f64,
            F::Deriv if seen.len() < 2 => return None,
            F::Deriv => regression(&seen, seen[0].0).0,
            F::PredictLinear if seen.len() < 2 => return None,
            F::PredictLinear => {
                let (slope, intercept) = regression(&seen, time_ms);
                slope * parameters[0] + intercept
            }
            F::AvgOverTime => avg(&seen),
            F::SumOverTime => {
                let (sum, lost) = values().into_iter().fold((0.0, 0.0), |(sum, lost), value| kahan(value, sum, lost));
                if sum.is_infinite() { sum } else { sum + lost }
            }
            F::MinOverTime => extreme(&seen, |value, best| value < best).1,
            F::MaxOverTime => extreme(&seen, |value, best| value > best).1,
            F::TsOfMinOverTime => seconds(extreme(&seen, |value, best| value <= best).0),
            F::TsOfMaxOverTime => seconds(extreme(&seen, |value, best| value >= best).0),
            F::CountOverTime => seen.len() as f64,
            F::PresentOverTime => 1.0,
            F::FirstOverTime => seen[0].1,
            F::LastOverTime => last.1,
            F::TsOfFirstOverTime => seconds(seen[0].0),
            F::TsOfLastOverTime => seconds(last.0),
            F::StdvarOverTime => variance(&seen),
            F::StddevOverTime => variance(&seen).sqrt(),
            F::QuantileOverTime => quantile(parameters[0], values()),
            F::MadOverTime if values().iter().any(|value| value.is_nan()) => NAN,
            F::MadOverTime => {
                let median = quantile(0.5, values());
                quantile(0.5, values().into_iter().map(|value| (value - median).abs()).collect())
            }
            F::DoubleExponentialSmoothing => return smoothing(&seen, parameters[0], parameters[1]),
        })
    }
}

/// A value as series have them: counters, gauges, and now and then something odd.
fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => (0i32..50).prop_map(f64::from),
        3 => -1e3f64..1e3,
        1 => prop::sample::select(vec![NAN, INF, -INF, 0.0, -0.0, f64::MAX, -f64::MAX, 1e-300]),
    ]
}

fn samples() -> impl Strategy<Value = Vec<(i64, f64)>> {
    let gap = prop_oneof![5 => Just(15_000i64), 2 => 1i64..40_000, 1 => 40_000i64..400_000];
    (-500_000i64..500_000, prop::collection::vec((gap, value()), 0..120)).prop_map(|(first, list)| {
        let mut ts = first;
        list.into_iter()
            .map(|(gap, value)| {
                ts += gap;
                (ts, value)
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_kernel_agrees_to_the_bit_with_each_window_by_itself(
        samples in samples(),
        start_ms in -600_000i64..1_500_000,
        step_ms in prop::sample::select(vec![1_000i64, 15_000, 17_000, 60_000, 200_000]),
        n in 1usize..90,
        range_ms in prop::sample::select(vec![1i64, 14_999, 15_000, 60_500, 300_000, 2_000_000]),
        offset_ms in prop::sample::select(vec![0i64, 30_000, -45_000]),
        pinned in prop::option::weighted(0.1, 0i64..500_000),
        phi in -0.2f64..1.2,
    ) {
        let grid = Grid { start_ms, step_ms, n };
        let window = RangeWindow { offset_ms, at_ms: pinned, ..plain(range_ms) };
        for function in ALL {
            let parameters: &[f64] = match function {
                F::PredictLinear => &[3600.0],
                F::QuantileOverTime => &[phi],
                F::DoubleExponentialSmoothing => &[0.3, 0.7],
                _ => &[],
            };
            let (row, _) = run(function, grid, window, constants(parameters), &samples).unwrap();
            for (step, got) in row.into_iter().enumerate() {
                let want = reference::eval(function, grid.at(step), window, parameters, &samples);
                let same = match (got, want) {
                    // A quantile does not say which of two equal zeros it takes.
                    (Some(a), Some(b)) => a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan() || a == 0.0 && b == 0.0,
                    (a, b) => a.is_none() && b.is_none(),
                };
                prop_assert!(same, "{:?} at {}: {:?}, expected {:?}", function, grid.at(step), got, want);
            }
        }
    }
}
