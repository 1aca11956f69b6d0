//! Brings one scrape to the store: samples, staleness markers of what vanished, and the target's own series.
//!
//! The store answers with handles for series it had not seen and names handles that it no longer takes; both happen
//! here within the scrape. Markers need the handles of everything that is exposed now, so they go with the samples only
//! when no series is new, and right after them otherwise.

use std::sync::Arc;
use std::time::Duration;

use pharos_model::sample::stale_nan;
use pharos_model::{TenantId, TimestampMs};
use tokio::time::Instant;
use tracing::warn;

use super::metrics::ScrapeMetrics;
use super::reading::{Body, Reading, Rules};
use super::report::{Report, Values};
use crate::exposition::cache::LineCache;
use crate::sink::{AppendError, AppendOutcome, KnownSample, Place, Refusal, SampleBatch, SeriesHandle, Sink};

/// Shortest wait before a batch is offered to the store again.
const RETRY_AFTER_MIN: Duration = Duration::from_millis(100);

/// The series of one target and the way to the store.
#[derive(Debug)]
pub(super) struct Appender {
    pub(super) sink: Arc<dyn Sink>,
    pub(super) tenant: TenantId,
    pub(super) metrics: ScrapeMetrics,
    pub(super) cache: LineCache,
    pub(super) report: Report,
    /// Series that the target had under rules that no longer hold. They end with the next scrape, unless they are
    /// exposed by it again.
    pub(super) inherited: Vec<SeriesHandle>,
}

/// What one scrape brings. `body` is absent when the scrape failed; `reading` then holds no samples.
pub(super) struct Scrape<'a> {
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
        let Scrape { reading, body, report, with_extra, at, deadline } = scrape;
        if body.is_none() {
            self.cache.abort();
        }
        let has_fresh = !reading.fresh.is_empty();
        let lines = reading.known.len();
        let mut batch = SampleBatch {
            tenant: self.tenant.clone(),
            known: reading.known,
            fresh: reading.fresh,
            exemplars: reading.exemplars,
        };
        if !has_fresh {
            batch.known.extend(markers(self.cache.vanished(), at));
        }
        if body.is_none() {
            batch.known.extend(markers(std::mem::take(&mut self.inherited), at));
        }
        let placed = self.report.push(&mut batch, at, &report, with_extra);
        let outcome = match self.send(batch, deadline).await {
            Ok(outcome) => outcome,
            Err(error) => {
                self.cache.abort();
                return Err(error);
            }
        };
        for (slot, handle) in reading.fresh_slots.iter().zip(&outcome.handles) {
            if let Some(handle) = handle {
                self.cache.learn(*slot, *handle);
            }
        }
        self.count_refusals(&outcome, |place| match place {
            Place::Known(at) => at < lines,
            Place::Fresh(at) => at < reading.fresh_slots.len(),
        });
        let stale_lines = outcome.stale.iter().filter(|place| **place < lines);
        stale_lines.clone().for_each(|place| self.cache.forget(reading.slots[*place]));
        let report_is_stale = self.report.learn(placed, &outcome.handles, &outcome.stale);
        let resend = stale_lines.count() > 0;
        self.send_again(
            if resend { body } else { None },
            report_is_stale.then_some((report, with_extra)),
            at,
            deadline,
        )
        .await?;
        if has_fresh {
            self.send_markers(self.cache.vanished(), at, deadline).await?;
        }
        self.cache.commit();
        self.end_inherited(at, deadline).await
    }

    /// Sends what the store no longer knew by handle, now with labels.
    async fn send_again(
        &mut self,
        body: Option<(Rules<'_>, Body<'_>)>,
        report: Option<(Values, bool)>,
        at: TimestampMs,
        deadline: Instant,
    ) -> Result<(), AppendError> {
        if body.is_none() && report.is_none() {
            return Ok(());
        }
        let reading = body.map(|(rules, body)| rules.read_forgotten(body, &mut self.cache)).unwrap_or_default();
        let mut batch = SampleBatch { tenant: self.tenant.clone(), fresh: reading.fresh, ..SampleBatch::default() };
        let placed = report.map(|(values, with_extra)| self.report.push(&mut batch, at, &values, with_extra));
        let outcome = self.send(batch, deadline).await.inspect_err(|_| self.cache.abort())?;
        for (slot, handle) in reading.fresh_slots.iter().zip(&outcome.handles) {
            if let Some(handle) = handle {
                self.cache.learn(*slot, *handle);
            }
        }
        if let Some(placed) = placed {
            self.report.learn(placed, &outcome.handles, &outcome.stale);
        }
        self.count_refusals(&outcome, |place| matches!(place, Place::Fresh(at) if at < reading.fresh_slots.len()));
        Ok(())
    }

    /// Ends series that old rules made and the new ones do not.
    async fn end_inherited(&mut self, at: TimestampMs, deadline: Instant) -> Result<(), AppendError> {
        if self.inherited.is_empty() {
            return Ok(());
        }
        let mut alive = self.cache.exposed();
        alive.extend(self.report.handles());
        alive.sort_unstable_by_key(|handle| handle.0);
        let is_alive = |handle: &SeriesHandle| alive.binary_search_by_key(&handle.0, |alive| alive.0).is_ok();
        let mut gone = std::mem::take(&mut self.inherited);
        gone.retain(|handle| !is_alive(handle));
        self.send_markers(gone, at, deadline).await
    }

    /// Ends every series of the target.
    pub(super) async fn end_all(&mut self, at: TimestampMs, deadline: Instant) -> Result<(), AppendError> {
        let mut all = self.cache.exposed();
        all.append(&mut self.inherited);
        all.extend(self.report.handles());
        self.send_markers(all, at, deadline).await
    }

    /// The rules that make series have changed: what exists now was made by the old ones.
    pub(super) fn inherit(&mut self, report: Report) {
        self.inherited.extend(self.cache.exposed());
        self.inherited.extend(self.report.handles());
        self.cache.clear();
        self.report = report;
    }

    /// Markers that the store refuses are no loss: their series went on elsewhere, or is gone already.
    async fn send_markers(
        &self,
        handles: Vec<SeriesHandle>,
        at: TimestampMs,
        deadline: Instant,
    ) -> Result<(), AppendError> {
        if handles.is_empty() {
            return Ok(());
        }
        let known = markers(handles, at).collect();
        self.send(SampleBatch { tenant: self.tenant.clone(), known, ..SampleBatch::default() }, deadline).await?;
        Ok(())
    }

    /// Offers the batch until the store takes it or the deadline would pass. Sending again is always safe.
    async fn send(&self, batch: SampleBatch, deadline: Instant) -> Result<AppendOutcome, AppendError> {
        loop {
            let error = match self.sink.append(batch.clone()).await {
                Ok(outcome) => return Ok(outcome),
                Err(error) => error,
            };
            let wait = match &error {
                AppendError::Overloaded { retry_after, .. }
                | AppendError::DiskFull { retry_after }
                | AppendError::Unavailable { retry_after, .. } => (*retry_after).max(RETRY_AFTER_MIN),
                AppendError::Timeout(_) => RETRY_AFTER_MIN,
            };
            if Instant::now() + wait >= deadline {
                self.metrics.append_failed.inc();
                return Err(error);
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Counts refusals of lines; those of markers and of the target's own series are expected when a target moves.
    fn count_refusals(&self, outcome: &AppendOutcome, is_line: impl Fn(Place) -> bool) {
        let (mut order, mut bounds, mut duplicates, mut limit) = (0, 0, 0, 0);
        for (_, refusal) in outcome.refused.iter().filter(|(place, _)| is_line(*place)) {
            match refusal {
                Refusal::OutOfOrder => order += 1,
                Refusal::TooOld | Refusal::OutOfBounds => bounds += 1,
                Refusal::DuplicateTimestamp => duplicates += 1,
                Refusal::SeriesLimit => limit += 1,
            }
        }
        for (count, counter, problem) in [
            (order, &self.metrics.out_of_order, "error on ingesting out-of-order samples"),
            (
                bounds,
                &self.metrics.out_of_bounds,
                "error on ingesting samples that are too old or too far into the future",
            ),
            (
                duplicates,
                &self.metrics.duplicate_timestamp,
                "error on ingesting samples with different value but same timestamp",
            ),
            (
                limit,
                &self.metrics.exceeded_series_limit,
                "error on ingesting samples beyond the limit of active series",
            ),
        ] {
            if count > 0 {
                counter.inc_by(count);
                warn!(num_dropped = count, problem);
            }
        }
    }
}

fn markers(handles: Vec<SeriesHandle>, ts: TimestampMs) -> impl Iterator<Item = KnownSample> {
    handles.into_iter().map(move |series| KnownSample { series, ts, value: stale_nan() })
}
