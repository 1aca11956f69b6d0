//! The states of aggregations: how a value comes in, how two states meet, what comes out.
//!
//! A state is a few floats, each in a lane of its own: lane `l` of step `s` is `lanes[l * steps + s]`.
//! Sums are compensated (Neumaier), as Prometheus sums.

use crate::functions::kahan::KahanSum;

/// One aggregation. `start` is called for the first value of a step, `add` for all others.
pub(super) trait Accumulator: Send + 'static {
    const LANES: usize;
    fn start(lanes: &mut [f64], steps: usize, step: usize, value: f64);
    fn add(lanes: &mut [f64], steps: usize, step: usize, value: f64);
    /// [`Self::add`] at each step of a run, from `first` on: what most rows are made of.
    fn add_run(lanes: &mut [f64], steps: usize, first: usize, values: &[f64]) {
        (first..).zip(values).for_each(|(step, value)| Self::add(lanes, steps, step, *value));
    }
    /// Folds the state in `other` into the one in `lanes`; both have a value.
    fn merge(lanes: &mut [f64], other: &[f64], steps: usize, step: usize);
    fn finish(lanes: &[f64], steps: usize, step: usize) -> f64;
}

/// Lanes: sum, compensation.
pub(super) struct Sum;

impl Accumulator for Sum {
    const LANES: usize = 2;

    fn start(lanes: &mut [f64], steps: usize, step: usize, value: f64) {
        lanes[step] = value;
        lanes[steps + step] = 0.0;
    }

    fn add(lanes: &mut [f64], steps: usize, step: usize, value: f64) {
        let mut state = KahanSum { sum: lanes[step], lost: lanes[steps + step] };
        state.add(value);
        lanes[step] = state.sum;
        lanes[steps + step] = state.lost;
    }

    /// As [`KahanSum::add`], with selections rather than branches: steps do not depend on each other, so they are computed
    /// several at a time.
    fn add_run(lanes: &mut [f64], steps: usize, first: usize, values: &[f64]) {
        let (sums, lost) = lanes.split_at_mut(steps);
        let run = first..first + values.len();
        for ((sum, lost), value) in sums[run.clone()].iter_mut().zip(&mut lost[run]).zip(values) {
            let total = *sum + value;
            let of_value = (*sum - total) + value;
            let of_sum = (value - total) + *sum;
            let more = *lost + if sum.abs() >= value.abs() { of_value } else { of_sum };
            *lost = if total.is_infinite() { 0.0 } else { more };
            *sum = total;
        }
    }

    fn merge(lanes: &mut [f64], other: &[f64], steps: usize, step: usize) {
        Self::add(lanes, steps, step, other[step]);
        lanes[steps + step] += other[steps + step];
    }

    fn finish(lanes: &[f64], steps: usize, step: usize) -> f64 {
        lanes[step] + lanes[steps + step]
    }
}

/// Lanes: sum (or mean), compensation, count, whether it is a mean. The sum gives way to an incremental mean when it
/// would overflow.
pub(super) struct Avg;

impl Avg {
    fn into_mean(lanes: &mut [f64], steps: usize, step: usize) {
        let count = lanes[2 * steps + step];
        lanes[step] /= count;
        lanes[steps + step] /= count;
        lanes[3 * steps + step] = 1.0;
    }

    /// Folds in the mean of `count` more values.
    fn add_mean(lanes: &mut [f64], steps: usize, step: usize, more: KahanSum, count: f64) {
        let total = lanes[2 * steps + step] + count;
        let kept = lanes[2 * steps + step] / total;
        let share = count / total;
        let mut state = KahanSum { sum: kept * lanes[step], lost: kept * lanes[steps + step] };
        state.add(more.sum * share);
        lanes[step] = state.sum;
        lanes[steps + step] = state.lost + more.lost * share;
        lanes[2 * steps + step] = total;
    }
}

impl Accumulator for Avg {
    const LANES: usize = 4;

    fn start(lanes: &mut [f64], steps: usize, step: usize, value: f64) {
        lanes[step] = value;
        lanes[steps + step] = 0.0;
        lanes[2 * steps + step] = 1.0;
        lanes[3 * steps + step] = 0.0;
    }

    fn add(lanes: &mut [f64], steps: usize, step: usize, value: f64) {
        if lanes[3 * steps + step] == 0.0 {
            let mut state = KahanSum { sum: lanes[step], lost: lanes[steps + step] };
            state.add(value);
            if !state.sum.is_infinite() {
                lanes[step] = state.sum;
                lanes[steps + step] = state.lost;
                lanes[2 * steps + step] += 1.0;
                return;
            }
            Self::into_mean(lanes, steps, step);
        }
        let count = lanes[2 * steps + step] + 1.0;
        let kept = (count - 1.0) / count;
        let mut state = KahanSum { sum: kept * lanes[step], lost: kept * lanes[steps + step] };
        state.add(value / count);
        lanes[step] = state.sum;
        lanes[steps + step] = state.lost;
        lanes[2 * steps + step] = count;
    }

    fn merge(lanes: &mut [f64], other: &[f64], steps: usize, step: usize) {
        let (own_is_mean, other_is_mean) = (lanes[3 * steps + step] != 0.0, other[3 * steps + step] != 0.0);
        let more = KahanSum { sum: other[step], lost: other[steps + step] };
        let count = other[2 * steps + step];
        if !own_is_mean && !other_is_mean {
            let mut state = KahanSum { sum: lanes[step], lost: lanes[steps + step] };
            state.add(more.sum);
            if !state.sum.is_infinite() {
                lanes[step] = state.sum;
                lanes[steps + step] = state.lost + more.lost;
                lanes[2 * steps + step] += count;
                return;
            }
        }
        if !own_is_mean {
            Self::into_mean(lanes, steps, step);
        }
        let mean = if other_is_mean { more } else { KahanSum { sum: more.sum / count, lost: more.lost / count } };
        Self::add_mean(lanes, steps, step, mean, count);
    }

    fn finish(lanes: &[f64], steps: usize, step: usize) -> f64 {
        let (sum, compensation, count) = (lanes[step], lanes[steps + step], lanes[2 * steps + step]);
        if lanes[3 * steps + step] != 0.0 { sum + compensation } else { sum / count + compensation / count }
    }
}

/// Lane: count.
pub(super) struct Count;

impl Accumulator for Count {
    const LANES: usize = 1;

    fn start(lanes: &mut [f64], _steps: usize, step: usize, _value: f64) {
        lanes[step] = 1.0;
    }

    fn add(lanes: &mut [f64], _steps: usize, step: usize, _value: f64) {
        lanes[step] += 1.0;
    }

    fn merge(lanes: &mut [f64], other: &[f64], _steps: usize, step: usize) {
        lanes[step] += other[step];
    }

    fn finish(lanes: &[f64], _steps: usize, step: usize) -> f64 {
        lanes[step]
    }
}

/// Lane: smallest value so far; any value beats a NaN.
pub(super) struct Min;

impl Accumulator for Min {
    const LANES: usize = 1;

    fn start(lanes: &mut [f64], _steps: usize, step: usize, value: f64) {
        lanes[step] = value;
    }

    fn add(lanes: &mut [f64], _steps: usize, step: usize, value: f64) {
        if lanes[step] > value || lanes[step].is_nan() {
            lanes[step] = value;
        }
    }

    fn merge(lanes: &mut [f64], other: &[f64], steps: usize, step: usize) {
        Self::add(lanes, steps, step, other[step]);
    }

    fn finish(lanes: &[f64], _steps: usize, step: usize) -> f64 {
        lanes[step]
    }
}

/// Lane: largest value so far; any value beats a NaN.
pub(super) struct Max;

impl Accumulator for Max {
    const LANES: usize = 1;

    fn start(lanes: &mut [f64], _steps: usize, step: usize, value: f64) {
        lanes[step] = value;
    }

    fn add(lanes: &mut [f64], _steps: usize, step: usize, value: f64) {
        if lanes[step] < value || lanes[step].is_nan() {
            lanes[step] = value;
        }
    }

    fn merge(lanes: &mut [f64], other: &[f64], steps: usize, step: usize) {
        Self::add(lanes, steps, step, other[step]);
    }

    fn finish(lanes: &[f64], _steps: usize, step: usize) -> f64 {
        lanes[step]
    }
}

/// Lane: always 1.
pub(super) struct Group;

impl Accumulator for Group {
    const LANES: usize = 1;

    fn start(lanes: &mut [f64], _steps: usize, step: usize, _value: f64) {
        lanes[step] = 1.0;
    }

    fn add(_lanes: &mut [f64], _steps: usize, _step: usize, _value: f64) {}

    fn merge(_lanes: &mut [f64], _other: &[f64], _steps: usize, _step: usize) {}

    fn finish(lanes: &[f64], _steps: usize, step: usize) -> f64 {
        lanes[step]
    }
}

/// `stdvar`, or `stddev` when `ROOT`. Lanes: sum of squared distances from the mean, mean, count (Welford).
pub(super) struct Spread<const ROOT: bool>;

impl<const ROOT: bool> Accumulator for Spread<ROOT> {
    const LANES: usize = 3;

    fn start(lanes: &mut [f64], steps: usize, step: usize, value: f64) {
        lanes[step] = if value.is_finite() { 0.0 } else { f64::NAN };
        lanes[steps + step] = value;
        lanes[2 * steps + step] = 1.0;
    }

    fn add(lanes: &mut [f64], steps: usize, step: usize, value: f64) {
        let count = lanes[2 * steps + step] + 1.0;
        let delta = value - lanes[steps + step];
        let mean = lanes[steps + step] + delta / count;
        lanes[step] += delta * (value - mean);
        lanes[steps + step] = mean;
        lanes[2 * steps + step] = count;
    }

    /// Chan's formula for two sets.
    fn merge(lanes: &mut [f64], other: &[f64], steps: usize, step: usize) {
        let (own, more) = (lanes[2 * steps + step], other[2 * steps + step]);
        let count = own + more;
        let delta = other[steps + step] - lanes[steps + step];
        lanes[step] += other[step] + delta * delta * own * more / count;
        lanes[steps + step] += delta * more / count;
        lanes[2 * steps + step] = count;
    }

    fn finish(lanes: &[f64], steps: usize, step: usize) -> f64 {
        let variance = lanes[step] / lanes[2 * steps + step];
        if ROOT { variance.sqrt() } else { variance }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer when the values are folded in one go, and when they are split at every place and merged.
    fn check<A: Accumulator>(values: &[f64], want: f64) {
        let fold = |values: &[f64]| {
            let mut lanes = vec![0.0; A::LANES];
            A::start(&mut lanes, 1, 0, values[0]);
            values[1..].iter().for_each(|value| A::add(&mut lanes, 1, 0, *value));
            lanes
        };
        let same = |got: f64| got == want || got.is_nan() && want.is_nan() || ((got - want) / want).abs() < 1e-12;
        let whole = A::finish(&fold(values), 1, 0);
        assert!(same(whole), "{values:?} gave {whole}, not {want}");
        for cut in 1..values.len() {
            let mut lanes = fold(&values[..cut]);
            A::merge(&mut lanes, &fold(&values[cut..]), 1, 0);
            let merged = A::finish(&lanes, 1, 0);
            assert!(same(merged), "{values:?} cut at {cut} gave {merged}, not {want}");
        }
    }

    #[test]
    fn sums_do_not_lose_small_values_wherever_partitions_are_cut() {
        check::<Sum>(&[1e100, 1.0, -1e100], 1.0);
        check::<Sum>(&[f64::INFINITY, 1.0], f64::INFINITY);
        check::<Sum>(&[f64::INFINITY, f64::NEG_INFINITY], f64::NAN);
    }

    #[test]
    fn an_average_survives_a_sum_that_overflows() {
        check::<Avg>(&[1.0, 2.0, 3.0, 6.0], 3.0);
        check::<Avg>(&[f64::MAX, f64::MAX, f64::MAX, f64::MAX], f64::MAX);
        check::<Avg>(&[f64::MAX, 0.0, f64::MAX, 0.0], f64::MAX / 2.0);
        check::<Avg>(&[f64::INFINITY, 1.0, 2.0], f64::INFINITY);
        check::<Avg>(&[f64::NAN, 1.0], f64::NAN);
    }

    #[test]
    fn any_value_beats_a_nan_in_min_and_max() {
        check::<Min>(&[f64::NAN, 2.0, 1.0], 1.0);
        check::<Max>(&[1.0, f64::NAN, 2.0], 2.0);
        check::<Max>(&[f64::NAN, f64::NAN], f64::NAN);
    }

    #[test]
    fn spread_is_that_of_all_values_and_poisoned_by_infinities() {
        check::<Spread<false>>(&[1.0, 2.0, 3.0, 4.0], 1.25);
        check::<Spread<true>>(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0], 2.0);
        check::<Spread<false>>(&[f64::INFINITY, 1.0], f64::NAN);
        check::<Spread<false>>(&[1.0, f64::NAN], f64::NAN);
    }

    /// Adding a run is adding its values one by one, to the bit.
    fn check_run<A: Accumulator>(values: &[f64], more: &[f64]) {
        let steps = values.len();
        let mut lanes = vec![0.0; A::LANES * steps];
        values.iter().enumerate().for_each(|(step, value)| A::start(&mut lanes, steps, step, *value));
        let mut one_by_one = lanes.clone();
        more.iter().enumerate().for_each(|(step, value)| A::add(&mut one_by_one, steps, step + 1, *value));
        A::add_run(&mut lanes, steps, 1, more);
        let bits =
            |lanes: &[f64]| -> Vec<_> { lanes.iter().map(|lane| (!lane.is_nan()).then(|| lane.to_bits())).collect() };
        assert_eq!(bits(&lanes), bits(&one_by_one));
    }

    #[test]
    fn a_run_is_its_values_one_by_one() {
        let values = [0.0, 1e100, f64::MAX, f64::INFINITY, 0.1, f64::NAN, -0.0, 5.0, f64::INFINITY];
        let more = [1.0, f64::MAX, 2.0, 0.2, 3.0, -0.0, f64::NAN, f64::NEG_INFINITY];
        check_run::<Sum>(&values, &more);
        check_run::<Avg>(&values, &more);
        check_run::<Min>(&values, &more);
        check_run::<Max>(&values, &more);
        check_run::<Spread<true>>(&values, &more);
    }

    #[test]
    fn counting_ignores_values() {
        check::<Count>(&[f64::NAN, 0.0, 5.0], 3.0);
        check::<Group>(&[f64::NAN, 7.0], 1.0);
    }
}
