//! Sum and mean of many histograms, as PromQL's `sum`, `avg`, `sum_over_time` and `avg_over_time` take them.
//!
//! Rounding errors are kept beside the sum ([`FloatHistogram::kahan_add`]). Results are not compacted: aggregations do that,
//! the functions over time do not. Where the histograms are in several places, each makes a sum or mean of its own, and
//! those are merged; [`State`] is what travels.

use super::add::{IncompatibleSchemas, Settled};
use super::{CounterResetHint, FloatHistogram};

/// Counts that are smaller cannot overflow by one addition, not even when a million buckets are joined.
const FAR_FROM_OVERFLOW: f64 = 1e300;

/// All there is to a running sum or mean.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// The sum, or the mean itself when `is_mean`.
    pub value: FloatHistogram,
    /// What rounding has lost of it.
    pub lost: Option<FloatHistogram>,
    /// Terms of a mean.
    pub count: f64,
    pub is_mean: bool,
    /// Whether a term said that there was a counter reset, or that there was none.
    pub reset_seen: bool,
    pub not_reset_seen: bool,
}

/// A running sum.
#[derive(Clone, Debug)]
pub struct Sum {
    value: FloatHistogram,
    lost: Option<FloatHistogram>,
    seen: Seen,
}

impl Sum {
    /// The sum of one.
    pub fn new(first: FloatHistogram) -> Self {
        Self { seen: Seen::new(&first), value: first, lost: None }
    }

    /// On an error nothing was added; Prometheus then has no result.
    pub fn add(&mut self, histogram: &FloatHistogram) -> Result<(), IncompatibleSchemas> {
        self.seen.hint(histogram);
        self.seen.settled(self.value.kahan_add(histogram, &mut self.lost)?);
        Ok(())
    }

    /// Adds all that another sum has added. On an error nothing was added.
    pub fn merge(&mut self, other: &Self) -> Result<(), IncompatibleSchemas> {
        self.seen.merge(other.seen);
        self.seen.settled(add_with_lost(&mut self.value, &mut self.lost, &other.value, other.lost.as_ref())?);
        Ok(())
    }

    /// What travels to where the sum is merged.
    pub fn into_state(self) -> State {
        let Seen { reset, not_reset, .. } = self.seen;
        let Self { value, lost, .. } = self;
        State { value, lost, reset_seen: reset, not_reset_seen: not_reset, ..State::default() }
    }

    /// What had to be settled so far. Hints collide when both kinds were among the histograms, in whatever order.
    pub fn settled(&self) -> Settled {
        self.seen.summary()
    }

    /// The sum with what rounding lost.
    pub fn finish(self) -> FloatHistogram {
        plus_lost(self.value, self.lost)
    }
}

impl From<State> for Sum {
    fn from(state: State) -> Self {
        Self { seen: Seen::of(&state), value: state.value, lost: state.lost }
    }
}

/// A running mean: a sum until that overflows, from then on moved by increments.
#[derive(Clone, Debug)]
pub struct Mean {
    /// The sum; the mean itself once `is_incremental`.
    value: FloatHistogram,
    lost: Option<FloatHistogram>,
    count: f64,
    is_incremental: bool,
    seen: Seen,
}

impl Mean {
    /// The mean of one.
    pub fn new(first: FloatHistogram) -> Self {
        Self { seen: Seen::new(&first), value: first, lost: None, count: 1.0, is_incremental: false }
    }

    /// On an error nothing was added; Prometheus then has no result.
    pub fn add(&mut self, histogram: &FloatHistogram) -> Result<(), IncompatibleSchemas> {
        self.seen.hint(histogram);
        let count = self.count + 1.0;
        if !self.is_incremental && self.add_to_sum(histogram)? {
            self.count = count;
            return Ok(());
        }
        self.become_incremental();
        self.move_mean(histogram, count)
    }

    fn become_incremental(&mut self) {
        if !self.is_incremental {
            self.is_incremental = true;
            self.value.div(self.count);
            self.lost.iter_mut().for_each(|lost| lost.div(self.count));
        }
    }

    /// Takes in all terms of another mean. On an error nothing was taken in.
    pub fn merge(&mut self, mut other: Self) -> Result<(), IncompatibleSchemas> {
        self.seen.merge(other.seen);
        let count = self.count + other.count;
        if !self.is_incremental && !other.is_incremental {
            let (mut value, mut lost) = (self.value.clone(), self.lost.clone());
            self.seen.settled(add_with_lost(&mut value, &mut lost, &other.value, other.lost.as_ref())?);
            if !value.has_overflow() {
                (self.value, self.lost, self.count) = (value, lost, count);
                return Ok(());
            }
        }
        if self.value.uses_custom_buckets() != other.value.uses_custom_buckets() {
            return Err(IncompatibleSchemas);
        }
        for mean in [&mut *self, &mut other] {
            mean.become_incremental();
            let share = mean.count / count;
            mean.value.mul(share);
            mean.lost.iter_mut().for_each(|lost| lost.mul(share));
        }
        self.seen.settled(add_with_lost(&mut self.value, &mut self.lost, &other.value, other.lost.as_ref())?);
        self.count = count;
        Ok(())
    }

    /// What travels to where the mean is merged.
    pub fn into_state(self) -> State {
        let Seen { reset, not_reset, .. } = self.seen;
        let Self { value, lost, count, is_incremental, .. } = self;
        State { value, lost, count, is_mean: is_incremental, reset_seen: reset, not_reset_seen: not_reset }
    }

    /// Returns false, and leaves the sum alone, if it would overflow.
    fn add_to_sum(&mut self, histogram: &FloatHistogram) -> Result<bool, IncompatibleSchemas> {
        let is_large = |value: f64| value.abs() >= FAR_FROM_OVERFLOW;
        if !self.value.any_value(is_large) && !histogram.any_value(is_large) {
            self.seen.settled(self.value.kahan_add(histogram, &mut self.lost)?);
            return Ok(true);
        }
        let (mut value, mut lost) = (self.value.clone(), self.lost.clone());
        self.seen.settled(value.kahan_add(histogram, &mut lost)?);
        if value.has_overflow() {
            return Ok(false);
        }
        (self.value, self.lost) = (value, lost);
        Ok(true)
    }

    fn move_mean(&mut self, histogram: &FloatHistogram, count: f64) -> Result<(), IncompatibleSchemas> {
        if self.value.uses_custom_buckets() != histogram.uses_custom_buckets() {
            return Err(IncompatibleSchemas);
        }
        let keep = (count - 1.0) / count;
        self.value.mul(keep);
        self.lost.iter_mut().for_each(|lost| lost.mul(keep));
        let mut share = histogram.clone();
        share.div(count);
        self.seen.settled(self.value.kahan_add(&share, &mut self.lost)?);
        self.count = count;
        Ok(())
    }

    /// What had to be settled so far. Hints collide when both kinds were among the histograms, in whatever order.
    pub fn settled(&self) -> Settled {
        self.seen.summary()
    }

    /// The mean with what rounding lost.
    pub fn finish(mut self) -> FloatHistogram {
        if !self.is_incremental {
            self.value.div(self.count);
            self.lost.iter_mut().for_each(|lost| lost.div(self.count));
        }
        plus_lost(self.value, self.lost)
    }
}

impl From<State> for Mean {
    fn from(state: State) -> Self {
        let seen = Seen::of(&state);
        let State { value, lost, count, is_mean, .. } = state;
        Self { value, lost, count, is_incremental: is_mean, seen }
    }
}

/// Adds a sum with its rounding errors to another one.
fn add_with_lost(
    value: &mut FloatHistogram,
    lost: &mut Option<FloatHistogram>,
    more: &FloatHistogram,
    more_lost: Option<&FloatHistogram>,
) -> Result<Settled, IncompatibleSchemas> {
    let settled = value.kahan_add(more, lost)?;
    if let Some(more_lost) = more_lost {
        value.kahan_add(more_lost, lost)?;
    }
    Ok(settled)
}

fn plus_lost(mut value: FloatHistogram, lost: Option<FloatHistogram>) -> FloatHistogram {
    if let Some(lost) = lost {
        value.add(&lost).expect("rounding errors have the layout of their sum");
    }
    value
}

/// What was seen among the terms.
#[derive(Clone, Copy, Debug)]
struct Seen {
    reset: bool,
    not_reset: bool,
    bounds_reconciled: bool,
}

impl Seen {
    fn new(first: &FloatHistogram) -> Self {
        let mut seen = Self { reset: false, not_reset: false, bounds_reconciled: false };
        seen.hint(first);
        seen
    }

    fn of(state: &State) -> Self {
        Self { reset: state.reset_seen, not_reset: state.not_reset_seen, bounds_reconciled: false }
    }

    fn merge(&mut self, other: Self) {
        self.reset |= other.reset;
        self.not_reset |= other.not_reset;
        self.bounds_reconciled |= other.bounds_reconciled;
    }

    fn hint(&mut self, histogram: &FloatHistogram) {
        self.reset |= histogram.counter_reset_hint == CounterResetHint::CounterReset;
        self.not_reset |= histogram.counter_reset_hint == CounterResetHint::NotCounterReset;
    }

    fn settled(&mut self, settled: Settled) {
        self.bounds_reconciled |= settled.bounds_reconciled;
    }

    fn summary(self) -> Settled {
        Settled { hints_collided: self.reset && self.not_reset, bounds_reconciled: self.bounds_reconciled }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::fixtures::{custom, exponential};

    fn running_sum(terms: &[FloatHistogram]) -> Sum {
        let mut sum = Sum::new(terms[0].clone());
        terms[1..].iter().for_each(|term| sum.add(term).unwrap());
        sum
    }

    fn running_mean(terms: &[FloatHistogram]) -> Mean {
        let mut mean = Mean::new(terms[0].clone());
        terms[1..].iter().for_each(|term| mean.add(term).unwrap());
        mean
    }

    /// The sum in one go, which is the same as that of two parts, wherever they are cut.
    fn sum(terms: &[FloatHistogram]) -> (FloatHistogram, Settled) {
        let sum = running_sum(terms);
        let (settled, whole) = (sum.settled(), sum.finish());
        for cut in 1..terms.len() {
            let mut first = Sum::from(running_sum(&terms[..cut]).into_state());
            first.merge(&running_sum(&terms[cut..])).unwrap();
            assert_eq!(first.settled(), settled);
            let merged = first.finish();
            assert!(merged.almost_equals(&whole, 1e-12), "cut at {cut}: {merged}, not {whole}");
        }
        (whole, settled)
    }

    /// As [`sum`].
    fn mean(terms: &[FloatHistogram]) -> (FloatHistogram, Settled) {
        let mean = running_mean(terms);
        let (settled, whole) = (mean.settled(), mean.finish());
        for cut in 1..terms.len() {
            let mut first = Mean::from(running_mean(&terms[..cut]).into_state());
            first.merge(running_mean(&terms[cut..])).unwrap();
            assert_eq!(first.settled(), settled);
            let merged = first.finish();
            assert!(merged.almost_equals(&whole, 1e-12), "cut at {cut}: {merged}, not {whole}");
        }
        (whole, settled)
    }

    #[test]
    fn what_rounding_loses_is_added_in_the_end() {
        let term = |value: f64| exponential(0, &[(0, &[value])]).with_sum(value);
        let terms = [term(1.0), term(1e100), term(1.0), term(-1e100)];
        assert_eq!(sum(&terms).0, term(2.0));
        assert_eq!(mean(&terms).0, term(0.5));
    }

    #[test]
    fn the_mean_of_one_is_that_one() {
        let histogram = exponential(0, &[(0, &[3.0])]).with_sum(7.0);
        assert_eq!(mean(std::slice::from_ref(&histogram)).0, histogram);
        let endless = histogram.with_sum(f64::INFINITY);
        assert_eq!(mean(std::slice::from_ref(&endless)).0, endless);
    }

    #[test]
    fn a_mean_survives_a_sum_that_overflows() {
        let large = exponential(0, &[(0, &[1e308])]).with_sum(1e308);
        let (mean, _) = mean(&[large.clone(), large.clone(), large.clone(), large.clone()]);
        assert!(mean.almost_equals(&large, 1e-12), "{mean}");
        assert!(sum(&[large.clone(), large]).0.has_overflow());
    }

    #[test]
    fn both_hints_among_the_terms_collide() {
        let with = |hint| exponential(0, &[(0, &[1.0])]).with_hint(hint);
        let (reset, not_reset) = (with(CounterResetHint::CounterReset), with(CounterResetHint::NotCounterReset));
        let unknown = with(CounterResetHint::Unknown);
        for terms in [[&reset, &unknown, &not_reset], [&not_reset, &unknown, &reset]] {
            let terms = terms.map(Clone::clone);
            assert!(sum(&terms).1.hints_collided && mean(&terms).1.hints_collided);
        }
        assert!(!sum(&[reset.clone(), unknown, reset]).1.hints_collided);
    }

    #[test]
    fn layouts_that_differ_are_settled() {
        let (sum, settled) = sum(&[custom(&[1.0, 2.0], &[1.0, 2.0, 4.0]), custom(&[2.0, 3.0], &[8.0, 16.0])]);
        assert_eq!(sum.to_string(), "{count:31, sum:0, [-Inf,2]:11, (2,+Inf]:20}");
        assert_eq!(settled, Settled { hints_collided: false, bounds_reconciled: true });
        let (mean, _) = mean(&[exponential(1, &[(0, &[1.0, 2.0, 4.0])]), exponential(0, &[(1, &[1.0])])]);
        assert_eq!(mean.to_string(), "{count:4, sum:0, (0.5,1]:0.5, (1,2]:3.5}");
    }

    #[test]
    fn mixed_kinds_are_refused() {
        assert_eq!(Sum::new(custom(&[1.0], &[1.0])).add(&FloatHistogram::default()), Err(IncompatibleSchemas));
        let mut mean = Mean::new(exponential(0, &[(0, &[1e308])]));
        mean.add(&exponential(0, &[(0, &[1e308])])).unwrap();
        assert_eq!(mean.add(&custom(&[1.0], &[1.0])), Err(IncompatibleSchemas));
        assert_eq!(mean.merge(Mean::new(custom(&[1.0], &[1.0]))), Err(IncompatibleSchemas));
        let mut sum = Sum::new(custom(&[1.0], &[1.0]));
        assert_eq!(sum.merge(&Sum::new(FloatHistogram::default())), Err(IncompatibleSchemas));
    }
}
