//! Brings one scrape to the store: samples and the target's own series, then staleness markers of what vanished.
//!
//! The store answers with handles for series it had not seen and names handles that it no longer takes; both happen
//! here within the scrape. Markers go after the samples, in a batch of their own that takes no late sample, because a
//! series may have gone on in another target's scrape; and they need the handles of everything that is exposed now.

mod refusals;

use std::sync::Arc;
use std::time::Duration;

use pharos_model::sample::stale_nan;
use pharos_model::{TenantId, TimestampMs};
use tokio::time::Instant;

use refusals::Refusals;
pub(super) use refusals::Rival;

use super::metrics::ScrapeMetrics;
use super::reading::{Body, Reading, Rules};
use super::report::{Report, Values};
use super::target::Target;
use crate::exposition::cache::{LineCache, Slot};
use crate::sink::{AppendError, AppendOutcome, KnownSample, Place, SampleBatch, SeriesHandle, Sink};

/// Shortest wait before a batch is offered to the store again.
const RETRY_AFTER_MIN: Duration = Duration::from_millis(100);
/// Longest time that a scrape waits for others to share its commit: it takes as many wake-ups and one sync for one scrape as for
/// a hundred. A query sees the scrape that much later, and a crash can take that much more of what nobody was promised.
const PATIENCE_MAX: Duration = Duration::from_millis(100);

/// The series of one target and the way to the store.
#[derive(Debug)]
pub(super) struct Appender {
    pub(super) sink: Arc<dyn Sink>,
    pub(super) tenant: TenantId,
    pub(super) metrics: ScrapeMetrics,
    pub(super) cache: LineCache,
    pub(super) report: Report,
    /// Series that end with the next scrape that is stored, unless it exposes them again: those of rules that no longer
    /// hold, and those whose markers the store could not take.
    pub(super) ending: Vec<SeriesHandle>,
    pub(super) rival: Rival,
}

/// What one scrape brings. `body` is absent when the scrape failed; `reading` then holds no samples.
pub(super) struct Scrape<'a> {
    pub(super) target: &'a Target,
    pub(super) pool: &'a str,
    pub(super) reading: Reading,
    pub(super) body: Option<(Rules<'a>, Body<'a>)>,
    pub(super) report: Values,
    pub(super) with_extra: bool,
    pub(super) at: TimestampMs,
    /// Until when a batch that the store cannot take now is offered again.
    pub(super) deadline: Instant,
}

impl Appender {
    /// Stores a scrape. If the store takes nothing until the deadline, the next scrape is compared with the last one
    /// that was stored.
    pub(super) async fn append(&mut self, scrape: Scrape<'_>) -> Result<(), AppendError> {
        let (at, deadline) = (scrape.at, scrape.deadline);
        if scrape.body.is_none() {
            self.cache.abort();
        }
        self.append_samples(scrape).await.inspect_err(|_| self.cache.abort())?;
        self.ending.append(&mut self.cache.vanished());
        self.cache.commit();
        self.end_vanished(at, deadline).await
    }

    async fn append_samples(&mut self, scrape: Scrape<'_>) -> Result<(), AppendError> {
        let Scrape { target, pool, reading, body, report, with_extra, at, deadline } = scrape;
        let lines = reading.known.len();
        let mut refusals = Refusals::of(&reading);
        let mut batch = SampleBatch {
            tenant: self.tenant.clone(),
            known: reading.known,
            fresh: reading.fresh,
            exemplars: reading.exemplars,
            histograms: reading.histograms,
            starts: reading.starts,
            ..SampleBatch::default()
        };
        let placed = self.report.push(&mut batch, at, &report, with_extra);
        let outcome = self.send(batch, deadline).await?;
        self.learn(&reading.fresh_slots, &outcome);
        refusals.add(&outcome, |place| match place {
            Place::Known(at) => at < lines,
            Place::Fresh(at) => at < reading.fresh_slots.len(),
        });
        let stale_lines = outcome.stale.iter().filter(|place| **place < lines);
        stale_lines.clone().for_each(|place| self.cache.forget(reading.slots[*place]));
        let report_is_stale = self.report.learn(placed, &outcome.handles, &outcome.stale);
        let again = Again {
            body: if stale_lines.count() > 0 { body } else { None },
            report: report_is_stale.then_some((report, with_extra)),
        };
        let sent = self.send_again(again, at, deadline, &mut refusals).await;
        let is_new_rivals = self.rival.is_new(refusals.has_rival, target.interval);
        refusals.tell(&self.metrics, (pool, target), is_new_rivals);
        sent
    }

    fn learn(&mut self, slots: &[Slot], outcome: &AppendOutcome) {
        for (slot, handle) in slots.iter().zip(&outcome.handles) {
            if let Some(handle) = handle {
                self.cache.learn(*slot, *handle);
            }
        }
    }

    /// Sends what the store no longer knew by handle, now with labels.
    async fn send_again(
        &mut self,
        again: Again<'_>,
        at: TimestampMs,
        deadline: Instant,
        refusals: &mut Refusals,
    ) -> Result<(), AppendError> {
        let Again { body, report } = again;
        if body.is_none() && report.is_none() {
            return Ok(());
        }
        let reading = body.map(|(rules, body)| rules.read_forgotten(body, &mut self.cache)).unwrap_or_default();
        let mut batch = SampleBatch {
            tenant: self.tenant.clone(),
            fresh: reading.fresh,
            histograms: reading.histograms,
            starts: reading.starts,
            ..SampleBatch::default()
        };
        let placed = report.map(|(values, with_extra)| self.report.push(&mut batch, at, &values, with_extra));
        let outcome = self.send(batch, deadline).await?;
        self.learn(&reading.fresh_slots, &outcome);
        if let Some(placed) = placed {
            self.report.learn(placed, &outcome.handles, &outcome.stale);
        }
        refusals.add(&outcome, |place| matches!(place, Place::Fresh(at) if at < reading.fresh_slots.len()));
        Ok(())
    }

    /// Ends the series that are to end and that nothing exposes any more.
    async fn end_vanished(&mut self, at: TimestampMs, deadline: Instant) -> Result<(), AppendError> {
        if self.ending.is_empty() {
            return Ok(());
        }
        let mut alive = self.cache.exposed();
        alive.extend(self.report.handles());
        alive.sort_unstable_by_key(|handle| handle.0);
        let is_alive = |handle: &SeriesHandle| alive.binary_search_by_key(&handle.0, |alive| alive.0).is_ok();
        self.ending.retain(|handle| !is_alive(handle));
        self.send_markers(&self.ending, at, deadline).await?;
        self.ending.clear();
        Ok(())
    }

    /// Ends every series of the target.
    pub(super) async fn end_all(&mut self, at: TimestampMs, deadline: Instant) -> Result<(), AppendError> {
        let mut all = self.cache.exposed();
        all.extend(&self.ending);
        all.extend(self.report.handles());
        self.send_markers(&all, at, deadline).await?;
        self.ending.clear();
        Ok(())
    }

    /// The rules that make series have changed: what exists now was made by the old ones.
    pub(super) fn inherit(&mut self, report: Report) {
        self.ending.extend(self.cache.exposed());
        self.ending.extend(self.report.handles());
        self.cache.clear();
        self.report = report;
    }

    /// Markers that the store refuses are no loss: their series went on elsewhere, or is gone already.
    async fn send_markers(
        &self,
        handles: &[SeriesHandle],
        ts: TimestampMs,
        deadline: Instant,
    ) -> Result<(), AppendError> {
        if handles.is_empty() {
            return Ok(());
        }
        let markers = handles.iter().map(|series| KnownSample { series: *series, ts, value: stale_nan() });
        let batch = SampleBatch {
            tenant: self.tenant.clone(),
            known: markers.collect(),
            refuse_late: true,
            ..SampleBatch::default()
        };
        self.send(batch, deadline).await.map(drop)
    }

    /// Offers the batch until the store takes it or the deadline would pass. Sending again is always safe.
    async fn send(&self, mut batch: SampleBatch, deadline: Instant) -> Result<AppendOutcome, AppendError> {
        batch.patience = patience(deadline.saturating_duration_since(Instant::now()));
        let batch = Arc::new(batch);
        loop {
            let error = match self.sink.append(Arc::clone(&batch)).await {
                Ok(outcome) => return Ok(outcome),
                Err(error) => error,
            };
            let wait = match &error {
                AppendError::Overloaded { retry_after, .. }
                | AppendError::DiskFull { retry_after }
                | AppendError::Unavailable { retry_after, .. } => (*retry_after).max(RETRY_AFTER_MIN),
                AppendError::Timeout(_) => RETRY_AFTER_MIN,
                AppendError::TooManyTenants { .. } | AppendError::TooLarge { .. } => return Err(error),
            };
            if Instant::now() + wait >= deadline {
                self.metrics.append_failed.inc();
                return Err(error);
            }
            tokio::time::sleep(wait).await;
        }
    }
}

/// How long a scrape may wait for others to share its commit. Nobody waits for its answer but the target's next scrape.
fn patience(until_next_scrape: Duration) -> Duration {
    PATIENCE_MAX.min(until_next_scrape / 10)
}

/// What is to be sent once more.
struct Again<'a> {
    body: Option<(Rules<'a>, Body<'a>)>,
    report: Option<(Values, bool)>,
}
