//! Where a head stands in time, and which of its slices can take no more samples.

use pharos_model::{BlockSpan, TimestampMs};

use super::append::IN_ORDER_SLACK_MS;
use super::{CELL_MS, Head};

/// Most slices that one call of [`sealable`] names. The rest comes with the next call.
const SLICES_MAX: usize = 64;

/// Where a head stands in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadExtent {
    /// No sample is older; `None` when the head has no series.
    pub min_ts: Option<TimestampMs>,
    /// The newest sample ever taken.
    pub max_ts: Option<TimestampMs>,
    /// Samples before are refused.
    pub sealed_until_ms: TimestampMs,
    /// Samples before are gone from the head: data files have them.
    pub dropped_until_ms: TimestampMs,
    pub series: usize,
    /// Full and open ones.
    pub chunks: usize,
}

/// What decides when a slice is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealRule {
    /// Width of a slice; slices are aligned to the epoch. Default 2 h.
    pub slice_ms: i64,
    /// How late samples may be. Default 1 h.
    pub out_of_order_window_ms: i64,
    /// How far behind samples in the order of their series may be, whatever the window. Default: what the head takes, 1 h.
    pub in_order_slack_ms: i64,
    /// Patience beyond that with senders whose clocks or queues lag. Default 5 min.
    pub grace_ms: i64,
    /// Patience beyond that with senders that have gone silent. What such a one has kept meanwhile would be refused for good, and its
    /// samples here are safe in log and checkpoint, so nothing is in a hurry. Default 24 h.
    pub idle_grace_ms: i64,
    /// The head took no sample for [`Self::idle_patience_ms`]: only then may the wall clock close slices. A head that is fed
    /// history of years ago is behind the clock all the time, and not done.
    pub idle: bool,
}

impl SealRule {
    /// How far beyond a slice's end the newest sample has to be.
    fn patience_ms(&self) -> i64 {
        self.out_of_order_window_ms.max(self.in_order_slack_ms).saturating_add(self.grace_ms)
    }

    /// How far beyond a slice's end the clock of an idle head has to be.
    pub fn idle_patience_ms(&self) -> i64 {
        self.patience_ms().saturating_add(self.idle_grace_ms)
    }
}

impl Default for SealRule {
    fn default() -> Self {
        Self {
            slice_ms: 7_200_000,
            out_of_order_window_ms: 3_600_000,
            in_order_slack_ms: IN_ORDER_SLACK_MS,
            grace_ms: 300_000,
            idle_grace_ms: 24 * 3_600_000,
            idle: false,
        }
    }
}

/// The slices that can be sealed now, oldest first. A slice is ready when the head's newest sample is so far beyond
/// its end that what is missing would be refused, or when the wall clock is even farther: a source that has gone silent
/// must be sealed as well. Empty slices between full ones are named too: whoever seals skips them, but raises the floor over
/// them.
pub fn sealable(extent: &HeadExtent, rule: &SealRule, now_ms: TimestampMs) -> Vec<BlockSpan> {
    let (Some(min_ts), Some(max_ts)) = (extent.min_ts, extent.max_ts) else { return Vec::new() };
    let by_sample = max_ts.saturating_sub(rule.patience_ms());
    let by_clock = now_ms.saturating_sub(rule.idle_patience_ms()).min(max_ts.saturating_add(rule.slice_ms));
    let closed_until = if rule.idle { by_sample.max(by_clock) } else { by_sample };
    let mut slices = Vec::new();
    let mut slice = BlockSpan::aligned(min_ts.max(extent.dropped_until_ms), rule.slice_ms);
    while slice.end_ms <= closed_until && slice.start_ms <= max_ts && slices.len() < SLICES_MAX {
        slices.push(slice);
        slice = BlockSpan::aligned(slice.end_ms, rule.slice_ms);
    }
    slices
}

impl Head {
    /// The slices that may have samples, oldest first. Stretches without any are skipped, however long.
    pub(crate) fn occupied_slices(&self, slice_ms: i64) -> impl Iterator<Item = BlockSpan> {
        let slice_from = move |from: TimestampMs| {
            let cell = *self.occupied.range(from.div_euclid(CELL_MS)..).next()?;
            let slice = BlockSpan::aligned(cell.saturating_mul(CELL_MS).max(from), slice_ms);
            (Some(slice.start_ms) <= self.max_ts).then_some(slice)
        };
        let first = self.min_ts.and_then(slice_from);
        std::iter::successors(first, move |slice| slice_from(slice.end_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(min_ts: i64, max_ts: i64, dropped_until_ms: i64) -> HeadExtent {
        HeadExtent {
            min_ts: Some(min_ts),
            max_ts: Some(max_ts),
            sealed_until_ms: i64::MIN,
            dropped_until_ms,
            series: 1,
            chunks: 1,
        }
    }

    const RULE: SealRule = SealRule {
        slice_ms: 100,
        out_of_order_window_ms: 50,
        in_order_slack_ms: 0,
        grace_ms: 10,
        idle_grace_ms: 0,
        idle: true,
    };

    fn starts(extent: &HeadExtent, rule: &SealRule, now_ms: TimestampMs) -> Vec<TimestampMs> {
        sealable(extent, rule, now_ms).iter().map(|slice| slice.start_ms).collect()
    }

    #[test]
    fn slices_close_by_the_newest_sample_or_by_the_clock() {
        for (min, max, dropped, now, expected) in [
            (10, 159, i64::MIN, 0, vec![]),
            (10, 160, i64::MIN, 0, vec![0]),
            (10, 365, i64::MIN, 0, vec![0, 100, 200]),
            (10, 365, 200, 0, vec![200]),
            (10, 40, i64::MIN, 159, vec![]),
            (10, 40, i64::MIN, 160, vec![0]),
            (10, 40, i64::MIN, 1_000_000, vec![0]),
            (-10, 160, i64::MIN, 0, vec![-100, 0]),
            (10, 100, i64::MIN, 1_000, vec![0, 100]),
        ] {
            let starts = starts(&extent(min, max, dropped), &RULE, now);
            assert_eq!(starts, expected, "min {min} max {max} dropped {dropped} now {now}");
        }
    }

    #[test]
    fn the_clock_closes_nothing_of_a_head_that_is_being_fed() {
        let rule = SealRule { idle: false, ..RULE };
        assert_eq!(sealable(&extent(10, 40, i64::MIN), &rule, i64::MAX), []);
        assert_eq!(sealable(&extent(10, 160, i64::MIN), &rule, 0).len(), 1);
    }

    #[test]
    fn a_slice_stays_open_for_all_that_the_head_would_take() {
        let rule = SealRule { in_order_slack_ms: 200, out_of_order_window_ms: 0, ..RULE };
        assert_eq!(starts(&extent(10, 309, i64::MIN), &rule, 0), [0; 0]);
        assert_eq!(starts(&extent(10, 310, i64::MIN), &rule, 0), [0]);
    }

    #[test]
    fn a_sender_that_went_silent_has_a_day_to_come_back() {
        let rule = SealRule { idle_grace_ms: 1_000, ..RULE };
        assert_eq!(starts(&extent(10, 40, i64::MIN), &rule, 1_159), [0; 0]);
        assert_eq!(starts(&extent(10, 40, i64::MIN), &rule, 1_160), [0]);
        assert_eq!(SealRule::default().idle_patience_ms(), (24 + 1) * 3_600_000 + 300_000);
    }

    #[test]
    fn an_empty_head_has_nothing_to_seal_and_the_ends_of_time_do_no_harm() {
        let rule = SealRule::default();
        let empty = HeadExtent { min_ts: None, ..extent(0, 0, i64::MIN) };
        assert_eq!(sealable(&empty, &rule, i64::MAX), []);
        assert!(sealable(&extent(i64::MIN + 1, i64::MAX, i64::MIN), &rule, i64::MAX).len() <= SLICES_MAX);
    }
}
