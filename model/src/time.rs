//! Points and spans of time. Open and closed ends are told apart by type.

/// Milliseconds since the Unix epoch; negative before it.
pub type TimestampMs = i64;

/// Both ends in: `start_ms <= t <= end_ms`. What an API call or a selection asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeRange {
    pub start_ms: TimestampMs,
    pub end_ms: TimestampMs,
}

impl TimeRange {
    pub const ALL: Self = Self { start_ms: TimestampMs::MIN, end_ms: TimestampMs::MAX };

    pub fn new(start_ms: TimestampMs, end_ms: TimestampMs) -> Self {
        Self { start_ms, end_ms }
    }

    pub fn contains(self, ts: TimestampMs) -> bool {
        self.start_ms <= ts && ts <= self.end_ms
    }

    pub fn is_empty(self) -> bool {
        self.start_ms > self.end_ms
    }

    pub fn overlaps(self, other: Self) -> bool {
        self.start_ms <= other.end_ms && other.start_ms <= self.end_ms
    }

    /// The smallest range that holds both.
    pub fn union(self, other: Self) -> Self {
        Self::new(self.start_ms.min(other.start_ms), self.end_ms.max(other.end_ms))
    }
}

/// Start in, end out: `start_ms <= t < end_ms`. What a data file or a slice of the head covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockSpan {
    pub start_ms: TimestampMs,
    pub end_ms: TimestampMs,
}

impl BlockSpan {
    pub fn new(start_ms: TimestampMs, end_ms: TimestampMs) -> Self {
        assert!(start_ms <= end_ms, "a span ends before it starts");
        Self { start_ms, end_ms }
    }

    pub fn contains(self, ts: TimestampMs) -> bool {
        self.start_ms <= ts && ts < self.end_ms
    }

    /// The slot of width `width_ms` on the absolute axis that holds `ts`.
    pub fn aligned(ts: TimestampMs, width_ms: i64) -> Self {
        let start_ms = ts.div_euclid(width_ms).saturating_mul(width_ms);
        Self { start_ms, end_ms: start_ms.saturating_add(width_ms) }
    }

    pub fn overlaps(self, range: TimeRange) -> bool {
        self.start_ms <= range.end_ms && range.start_ms < self.end_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_before_the_epoch_start_below_their_times() {
        assert_eq!(BlockSpan::aligned(-1, 10), BlockSpan::new(-10, 0));
        assert_eq!(BlockSpan::aligned(0, 10), BlockSpan::new(0, 10));
        assert_eq!(BlockSpan::aligned(-10, 10), BlockSpan::new(-10, 0));
    }

    #[test]
    fn a_span_excludes_its_end_and_a_range_does_not() {
        assert!(!BlockSpan::new(0, 10).contains(10));
        assert!(TimeRange::new(0, 10).contains(10));
        assert!(!BlockSpan::new(0, 10).overlaps(TimeRange::new(10, 20)));
    }
}
