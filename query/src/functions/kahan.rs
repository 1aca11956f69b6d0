//! Sums that keep what rounding loses, by Neumaier's method, in the form upstream uses.

/// A running sum and what has been lost so far. Once the sum is infinite the loss is meaningless and is dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct KahanSum {
    pub sum: f64,
    pub lost: f64,
}

impl KahanSum {
    pub fn new(sum: f64) -> Self {
        Self { sum, lost: 0.0 }
    }

    #[inline]
    pub fn add(&mut self, value: f64) {
        let total = self.sum + value;
        // Branches rather than selections: a sum usually outgrows its terms, and then the loss is off the path from one
        // addition to the next.
        self.lost = if total.is_infinite() {
            0.0
        } else if self.sum.abs() >= value.abs() {
            self.lost + ((self.sum - total) + value)
        } else {
            self.lost + ((value - total) + self.sum)
        };
        self.sum = total;
    }

    /// The corrected sum.
    #[inline]
    pub fn value(&self) -> f64 {
        self.sum + self.lost
    }
}

/// A mean that is a sum over a count until the sum overflows, and from then on moves by increments.
#[derive(Clone, Copy, Debug)]
pub struct Mean {
    count: f64,
    /// The sum; the mean itself once `incremental`.
    state: KahanSum,
    incremental: bool,
}

impl Mean {
    pub fn new(first: f64) -> Self {
        Self { count: 1.0, state: KahanSum::new(first), incremental: false }
    }

    #[inline]
    pub fn add(&mut self, value: f64) {
        self.count += 1.0;
        if !self.incremental {
            let mut next = self.state;
            next.add(value);
            if !next.sum.is_infinite() {
                self.state = next;
                return;
            }
            self.incremental = true;
            self.state.sum /= self.count - 1.0;
            self.state.lost /= self.count - 1.0;
        }
        let kept = (self.count - 1.0) / self.count;
        self.state = KahanSum { sum: kept * self.state.sum, lost: kept * self.state.lost };
        self.state.add(value / self.count);
    }

    pub fn value(&self) -> f64 {
        if self.incremental { self.state.value() } else { self.state.sum / self.count + self.state.lost / self.count }
    }
}

/// Variance in one pass by Welford's method.
#[derive(Clone, Copy, Debug, Default)]
pub struct Variance {
    count: f64,
    mean: KahanSum,
    /// Sum of squared distances from the mean.
    squares: KahanSum,
}

impl Variance {
    #[inline]
    pub fn add(&mut self, value: f64) {
        self.count += 1.0;
        let delta = value - self.mean.value();
        self.mean.add(delta / self.count);
        self.squares.add(delta * (value - self.mean.value()));
    }

    /// Of the whole population.
    pub fn value(&self) -> f64 {
        self.squares.value() / self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(values: &[f64]) -> KahanSum {
        let mut sum = KahanSum::default();
        values.iter().for_each(|&value| sum.add(value));
        sum
    }

    fn mean(values: &[f64]) -> f64 {
        let mut mean = Mean::new(values[0]);
        values[1..].iter().for_each(|&value| mean.add(value));
        mean.value()
    }

    #[test]
    fn small_terms_beside_large_ones_are_not_lost() {
        assert_eq!(sum(&[1.0, 1e100, 1.0, -1e100]).value(), 2.0);
        assert_eq!(sum(&[5.0, 1e17, -1e17, 1e-3]).value(), 5.001);
    }

    #[test]
    fn an_infinite_sum_stays_infinite() {
        assert_eq!(sum(&[f64::MAX, f64::MAX, 1.0]), KahanSum { sum: f64::INFINITY, lost: 0.0 });
        assert!(sum(&[f64::INFINITY, f64::NEG_INFINITY]).value().is_nan());
    }

    #[test]
    fn a_mean_survives_the_overflow_of_its_sum() {
        assert_eq!(mean(&[1e308, 1e308, 1e308]), 1e308);
        assert_eq!(mean(&[-1.7e308, 1.7e308, -1.7e308, 1.7e308]), 0.0);
        assert_eq!(mean(&[1.0, f64::INFINITY]), f64::INFINITY);
        assert!(mean(&[f64::INFINITY, f64::NEG_INFINITY]).is_nan());
        assert_eq!(mean(&[1.0, 2.0, 4.5]), 2.5);
    }

    #[test]
    fn variance_is_that_of_the_population() {
        let mut variance = Variance::default();
        [0.0, 8.0, 8.0, 2.0, 3.0].into_iter().for_each(|value| variance.add(value));
        assert!((variance.value() - 10.56).abs() < 1e-12);
    }
}
