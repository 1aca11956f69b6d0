//! Counts that add up, with and without what rounding loses.

/// What buckets hold while histograms are combined: a plain count (`f64`), or one with its rounding errors beside it
/// ([`Compensated`]).
pub(super) trait Count: Copy + From<f64> {
    fn plus(self, other: Self) -> Self;
    /// Whether there is nothing here, not even a rounding error.
    fn is_empty(self) -> bool;
    /// The count, without the errors.
    fn value(self) -> f64;
}

impl Count for f64 {
    fn plus(self, other: Self) -> Self {
        self + other
    }

    fn is_empty(self) -> bool {
        self == 0.0
    }

    fn value(self) -> f64 {
        self
    }
}

/// A sum and what rounding has lost of it so far, by Neumaier's method (Prometheus' `kahansum`).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Compensated {
    pub(super) value: f64,
    pub(super) lost: f64,
}

impl Compensated {
    /// Once the sum is infinite, what was lost has no meaning and is dropped.
    pub(super) fn plus_float(self, other: f64) -> Self {
        let value = self.value + other;
        let lost = if value.is_infinite() {
            0.0
        } else if self.value.abs() >= other.abs() {
            self.lost + ((self.value - value) + other)
        } else {
            self.lost + ((other - value) + self.value)
        };
        Self { value, lost }
    }
}

impl From<f64> for Compensated {
    fn from(value: f64) -> Self {
        Self { value, lost: 0.0 }
    }
}

impl Count for Compensated {
    fn plus(self, other: Self) -> Self {
        let sum = self.plus_float(other.value);
        if other.lost != 0.0 { sum.plus_float(other.lost) } else { sum }
    }

    fn is_empty(self) -> bool {
        self.value == 0.0 && self.lost == 0.0
    }

    fn value(self) -> f64 {
        self.value
    }
}
