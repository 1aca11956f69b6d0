//! How long something may take: what is promised, and what is judged.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A leader's death is over for all series within this, for half of the deaths (M3).
pub const RESUMPTION_MEDIAN_MAX: Duration = Duration::from_secs(5);
/// With a majority of nodes alive, a writer is served again within this: an election, and clients' own patience.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// Longest that one death may take.
const RESUMPTION_MAX: Duration = Duration::from_secs(15);
/// Beyond one missed scrape (W5).
const FAILOVER_MAX: Duration = Duration::from_secs(10);

/// How times are judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum TimeBounds {
    /// By what is promised, on a machine that has nothing else to do.
    #[default]
    Strict,
    /// By what no work of others on the machine explains. What is beyond a promise is told.
    Lenient,
}

/// Bounds of one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub promised: Duration,
    /// Beyond it a promise is broken for certain.
    pub judged: Duration,
}

impl TimeBounds {
    pub fn silence(self) -> Limit {
        self.limit(SILENCE_MAX, Duration::from_secs(60))
    }

    pub fn resumption(self) -> Limit {
        self.limit(RESUMPTION_MAX, Duration::from_secs(30))
    }

    pub fn failover(self) -> Limit {
        self.limit(FAILOVER_MAX, Duration::from_secs(60))
    }

    fn limit(self, promised: Duration, lenient: Duration) -> Limit {
        Limit { promised, judged: if self == Self::Strict { promised } else { lenient } }
    }
}

impl Limit {
    /// The same with something more that is allowed.
    #[must_use]
    pub fn and(self, more: Duration) -> Self {
        Self { promised: self.promised + more, judged: self.judged + more }
    }

    pub fn is_beyond_promise(self, ns: u64) -> bool {
        u128::from(ns) > self.promised.as_nanos()
    }

    pub fn is_broken(self, ns: u64) -> bool {
        u128::from(ns) > self.judged.as_nanos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_the_promise_is_broken_where_times_are_strict() {
        let beyond = |bounds: TimeBounds, seconds: u64| {
            let ns = seconds * 1_000_000_000;
            let limit = bounds.silence().and(Duration::from_secs(1));
            (limit.is_beyond_promise(ns), limit.is_broken(ns))
        };
        assert_eq!(beyond(TimeBounds::Strict, 21), (false, false));
        assert_eq!(beyond(TimeBounds::Strict, 22), (true, true));
        assert_eq!(beyond(TimeBounds::Lenient, 22), (true, false));
        assert_eq!(beyond(TimeBounds::Lenient, 62), (true, true));
    }
}
