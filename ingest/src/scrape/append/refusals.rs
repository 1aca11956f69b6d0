//! Samples of a scrape that the store does not take: counted, and told in the log.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, warn};

use super::super::metrics::ScrapeMetrics;
use super::super::reading::Reading;
use super::super::target::Target;
use crate::sink::{AppendOutcome, Place, Refusal};

/// How long another scraper of a target may be first at its scrapes, if that is longer than an interval, until it is told as a mistake: while
/// a target goes from one node to another, both may scrape it.
const RIVAL_IS_NEW: Duration = Duration::from_secs(10);

/// Another scraper of the same target, which is met where the target's own series have samples already.
#[derive(Debug, Default)]
pub(in super::super) struct Rival {
    /// Since when it has been first at each scrape.
    since: Option<Instant>,
}

impl Rival {
    /// Takes whether one was first at this scrape; answers whether that is so, and has not been for long.
    pub(super) fn is_new(&mut self, is_first: bool, interval: Duration) -> bool {
        if !is_first {
            self.since = None;
            return false;
        }
        self.since.get_or_insert_with(Instant::now).elapsed() < RIVAL_IS_NEW.max(interval)
    }
}

/// Samples of a scrape's lines that are not stored, by the reason. Those of markers and of the target's own series are
/// expected when a target moves, and do not count.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// Left out before the store saw them: too far ahead of the clock, and second ones of one series.
    ahead: usize,
    repeated: usize,
    by_store: HashMap<Refusal, usize>,
    /// One of the target's own series had a sample of that time or a later one.
    pub(super) has_rival: bool,
}

impl Refusals {
    pub(super) fn of(reading: &Reading) -> Self {
        Self { ahead: reading.ahead, repeated: reading.repeated, ..Self::default() }
    }

    pub(super) fn add(&mut self, outcome: &AppendOutcome, is_line: impl Fn(Place) -> bool) {
        for (place, refusal) in &outcome.refused {
            if is_line(*place) {
                *self.by_store.entry(*refusal).or_default() += 1;
            } else {
                self.has_rival |= matches!(refusal, Refusal::DuplicateTimestamp | Refusal::OutOfOrder);
            }
        }
    }

    /// Counts and logs them, in Prometheus' words where it has them. What a rival had stored before is none of the target's mistakes.
    pub(super) fn tell(mut self, metrics: &ScrapeMetrics, (pool, target): (&str, &Target), is_new_rivals: bool) {
        if is_new_rivals {
            let lost = [Refusal::DuplicateTimestamp, Refusal::OutOfOrder].map(|refusal| self.by_store.remove(&refusal));
            let lost: usize = lost.into_iter().flatten().sum();
            metrics.other_owner.inc_by(lost as u64);
            debug!(scrape_pool = pool, target = target.url_text, num_dropped = lost, "another node scraped the target");
        }
        let refused = |refusal| self.by_store.get(&refusal).copied().unwrap_or_default();
        let bounds = self.ahead + refused(Refusal::TooOld) + refused(Refusal::OutOfBounds);
        let duplicates = self.repeated + refused(Refusal::DuplicateTimestamp);
        for (count, counter, problem) in [
            (refused(Refusal::OutOfOrder), &metrics.out_of_order, "Error on ingesting out-of-order samples"),
            (
                duplicates,
                &metrics.duplicate_timestamp,
                "Error on ingesting samples with different value but same timestamp",
            ),
            (
                bounds,
                &metrics.out_of_bounds,
                "Error on ingesting samples that are too old or are too far into the future",
            ),
            (
                refused(Refusal::SeriesLimit),
                &metrics.exceeded_series_limit,
                "Error on ingesting samples beyond the limit of active series",
            ),
        ] {
            if count > 0 {
                counter.inc_by(count as u64);
                warn!(scrape_pool = pool, target = target.url_text, num_dropped = count, "{problem}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_rival_is_new_for_a_while_and_again_after_it_was_gone() {
        let mut rival = Rival::default();
        for (interval, quiet) in [(1, 10), (15, 15)] {
            let interval = Duration::from_secs(interval);
            assert!(!rival.is_new(false, interval));
            let begun = Instant::now();
            while rival.is_new(true, interval) {
                tokio::time::advance(interval).await;
            }
            assert_eq!(begun.elapsed().as_secs(), quiet);
        }
    }

    #[test]
    fn the_targets_own_series_tell_of_a_rival() {
        for (places, rival, lines) in [
            (vec![(0, Refusal::DuplicateTimestamp)], false, 1),
            (vec![(1, Refusal::DuplicateTimestamp)], true, 0),
            (vec![(0, Refusal::OutOfOrder), (1, Refusal::OutOfOrder)], true, 1),
            (vec![(0, Refusal::TooOld), (1, Refusal::TooOld)], false, 1),
        ] {
            let refused = places.into_iter().map(|(at, refusal)| (Place::Known(at), refusal)).collect();
            let mut refusals = Refusals::default();
            refusals.add(&AppendOutcome { refused, ..AppendOutcome::default() }, |place| place == Place::Known(0));
            assert_eq!((refusals.has_rival, refusals.by_store.values().sum::<usize>()), (rival, lines));
        }
    }
}
