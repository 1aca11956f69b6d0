//! What becomes of counter reset hints when histograms are added.

use super::CounterResetHint;

impl CounterResetHint {
    /// The hint of a sum or difference, and whether the two collide: one says that there was a reset, the other that
    /// there was none. The result is then unknown, and PromQL warns. A gauge makes the result a gauge, something unknown
    /// makes it unknown. As Prometheus' `FloatHistogram.adjustCounterReset`.
    pub fn combined(self, other: Self) -> (Self, bool) {
        match (self, other) {
            (a, b) if a == b => (a, false),
            (Self::Gauge, _) | (_, Self::Gauge) => (Self::Gauge, false),
            (Self::Unknown, _) | (_, Self::Unknown) => (Self::Unknown, false),
            _ => (Self::Unknown, true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::CounterResetHint::{self, CounterReset, Gauge, NotCounterReset, Unknown};

    #[test]
    fn hints_combine_the_same_from_both_sides() {
        for (a, b, expected) in [
            (Unknown, Unknown, (Unknown, false)),
            (Unknown, CounterReset, (Unknown, false)),
            (Unknown, NotCounterReset, (Unknown, false)),
            (Unknown, Gauge, (Gauge, false)),
            (CounterReset, CounterReset, (CounterReset, false)),
            (CounterReset, NotCounterReset, (Unknown, true)),
            (CounterReset, Gauge, (Gauge, false)),
            (NotCounterReset, NotCounterReset, (NotCounterReset, false)),
            (NotCounterReset, Gauge, (Gauge, false)),
            (Gauge, Gauge, (Gauge, false)),
        ] {
            assert_eq!(CounterResetHint::combined(a, b), expected, "{a:?} {b:?}");
            assert_eq!(CounterResetHint::combined(b, a), expected, "{b:?} {a:?}");
        }
    }
}
