//! The life of one target: waits for its moment, scrapes, and ends its series when it is gone.
//!
//! The task owns everything about the target. It is told what to do through a channel that holds the newest
//! instruction; between two scrapes it takes it. A target that is gone waits a little over two intervals before its series end,
//! because it may come back: then the loop simply goes on. A target that another node scrapes now is left at once, its series as they are.

mod observe;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pharos_model::TimestampMs;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};
use tracing::{debug, warn};

use super::append::{Appender, Rival, Scrape};
use super::body_budget::HeldBody;
use super::fetch::{Fetched, Request};
use super::metadata::MetadataCache;
use super::reading::{Body, Reading, Rules};
use super::report::Report;
use super::status::Live;
use super::target::Target;
use super::{SAMPLES_MAX_DEFAULT, ScrapeError, ScrapeFeatures, ScrapeOptions, TIMESTAMP_TOLERANCE};
use crate::config::ScrapeConfig;
use crate::exposition::cache::LineCache;
use crate::exposition::negotiation::Format;
use crate::http_client::HttpClient;

/// Bodies longer than this are read on a thread of their own, so that no other task waits for them: 2,000 known lines, a third of a
/// millisecond. To hand a body over and back costs as much as a third of that.
const READ_INLINE_BYTES_MAX: usize = 256 << 10;

/// What a loop is to do.
#[derive(Clone, Debug)]
pub(super) enum Instruction {
    Scrape(Arc<Spec>),
    /// The target is gone.
    End,
    /// Another node scrapes it.
    HandOver,
}

/// A target and how it is scraped.
#[derive(Debug)]
pub(super) struct Spec {
    pub(super) target: Arc<Target>,
    pub(super) config: Arc<ScrapeConfig>,
    pub(super) features: ScrapeFeatures,
    pub(super) client: HttpClient,
    pub(super) request: Request,
    /// Fails every scrape without asking the target.
    pub(super) forced: Option<ScrapeError>,
}

impl Spec {
    pub(super) fn rules(&self) -> Rules<'_> {
        Rules { target: &self.target, config: &self.config, features: self.features }
    }

    /// Whether both make the same series of the same lines.
    fn makes_series_of(&self, other: &Self) -> bool {
        let (a, b) = (&self.config, &other.config);
        self.target.labels == other.target.labels
            && a.honor_labels == b.honor_labels
            && a.metric_relabel_configs == b.metric_relabel_configs
            && a.validation() == b.validation()
            && (a.label_limit, a.label_name_length_limit, a.label_value_length_limit)
                == (b.label_limit, b.label_name_length_limit, b.label_value_length_limit)
    }
}

/// What ended a wait or a run of scrapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// The interval changed.
    Reschedule,
    End,
    HandOver,
    /// The manager is gone: the process ends.
    Leave,
}

#[derive(Debug)]
pub(super) struct TargetLoop {
    options: ScrapeOptions,
    spec: Arc<Spec>,
    instructions: watch::Receiver<Instruction>,
    /// Set when the loop will take no more instructions.
    left: Arc<AtomicBool>,
    live: Arc<Live>,
    appender: Appender,
    /// Size of the last body that was not empty.
    body_bytes: usize,
    /// On the monotonic clock; `None` before the first scrape.
    last_started: Option<Duration>,
    /// The planned time of the newest scrape.
    last_slot: Option<TimestampMs>,
    next_tick: Instant,
}

impl TargetLoop {
    pub(super) fn new(
        options: ScrapeOptions,
        spec: Arc<Spec>,
        (instructions, left): (watch::Receiver<Instruction>, Arc<AtomicBool>),
        live: Arc<Live>,
    ) -> Self {
        let appender = Appender {
            sink: options.sink.clone(),
            tenant: options.tenant.clone(),
            metrics: options.metrics.clone(),
            cache: LineCache::new(options.hasher.clone()),
            report: Report::new(&spec.target.labels),
            ending: Vec::new(),
            rival: Rival::default(),
        };
        let next_tick = Instant::now();
        let (last_started, last_slot) = (None, None);
        Self { options, spec, instructions, left, live, appender, body_bytes: 0, last_started, last_slot, next_tick }
    }

    /// Runs until the target's series have ended, another node has it, or the manager is gone.
    pub(super) async fn run(mut self) {
        loop {
            match self.scrape_at_interval().await {
                Told::Reschedule => {}
                Told::End if self.end().await => return,
                Told::HandOver if self.leave() => return,
                Told::End | Told::HandOver => {}
                Told::Leave => return,
            }
        }
    }

    /// Scrapes in the target's phase until told otherwise. Times are counted from when the first scrape is due rather than from when it
    /// begins, so that every node that scrapes the target gives its samples the same times.
    async fn scrape_at_interval(&mut self) -> Told {
        let every = self.spec.target.interval;
        let now = self.options.surroundings.clock.now_ms();
        let offset = self.offset(now);
        let first = Instant::now() + offset;
        if let Some(told) = self.wait(first).await {
            return told;
        }
        let mut ticker = interval_at(first, every);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut aligned = now + offset.as_millis() as i64;
        loop {
            tokio::select! {
                biased;
                told = self.instructed() => if let Some(told) = told { return told },
                tick = ticker.tick() => {
                    self.next_tick = tick + every;
                    let at = align(&mut aligned, self.options.surroundings.clock.now_ms(), every);
                    self.last_slot = Some(aligned);
                    self.scrape(at).await;
                }
            }
        }
    }

    /// Time until the next scrape. One that was is not made again, however short it was.
    fn offset(&self, now: TimestampMs) -> Duration {
        let offset = self.spec.target.offset(now, self.options.offset_seed);
        match self.last_slot == Some(now + offset.as_millis() as i64) {
            true => offset + self.spec.target.interval,
            false => offset,
        }
    }

    /// Waits while taking instructions; answers what ended the wait early.
    async fn wait(&mut self, until: Instant) -> Option<Told> {
        loop {
            tokio::select! {
                biased;
                told = self.instructed() => if told.is_some() { return told },
                () = sleep_until(until) => return None,
            }
        }
    }

    /// Waits for an instruction and takes it; `None` when it changes nothing about when to scrape.
    async fn instructed(&mut self) -> Option<Told> {
        if self.instructions.changed().await.is_err() {
            return Some(Told::Leave);
        }
        let instruction = self.instructions.borrow_and_update().clone();
        match instruction {
            Instruction::End => Some(Told::End),
            Instruction::HandOver => Some(Told::HandOver),
            Instruction::Scrape(spec) => self.adopt(spec),
        }
    }

    /// Goes on with another specification; the new interval may need another phase.
    fn adopt(&mut self, spec: Arc<Spec>) -> Option<Told> {
        let old = std::mem::replace(&mut self.spec, spec);
        if !self.spec.makes_series_of(&old) {
            self.appender.inherit(Report::new(&self.spec.target.labels));
        }
        (self.spec.target.interval != old.target.interval).then_some(Told::Reschedule)
    }

    /// Ends the target's series once it is certain that it does not come back. `false` when it came back.
    async fn end(&mut self) -> bool {
        if self.last_started.is_none() {
            return self.leave();
        }
        let every = self.spec.target.interval;
        // Were the target back, it would have been scraped at the next tick, and again at the one after it.
        let waits = [self.next_tick, self.next_tick + every, self.next_tick + every + every / 10];
        let mut stale_at = None;
        for until in waits {
            if let Some(stays_gone) = self.wait_while_gone(until).await {
                return stays_gone;
            }
            stale_at.get_or_insert_with(|| self.options.surroundings.clock.now_ms());
        }
        let stale_at = stale_at.unwrap_or_else(|| self.options.surroundings.clock.now_ms());
        if let Err(error) = self.appender.end_all(stale_at, Instant::now() + every).await {
            warn!(target = self.spec.target.url_text, %error, "stale append failed");
        }
        self.leave()
    }

    /// Leaves, unless the target came back at the last moment. `false` when it came back. The channel's lock makes that moment exact: the pool
    /// looks at `left` while it holds it too.
    fn leave(&mut self) -> bool {
        let newest = self.instructions.borrow_and_update();
        let back = match &*newest {
            Instruction::Scrape(spec) => Some(spec.clone()),
            Instruction::End | Instruction::HandOver => {
                self.left.store(true, Ordering::Release);
                None
            }
        };
        drop(newest);
        let stays = back.is_some();
        if let Some(spec) = back {
            self.adopt(spec);
        }
        !stays
    }

    /// Waits; answers early with `false` when the target is back and with `true` when the process ends or another node has it.
    async fn wait_while_gone(&mut self, until: Instant) -> Option<bool> {
        loop {
            tokio::select! {
                biased;
                told = self.instructed() => match told {
                    Some(Told::End) => {}
                    Some(Told::Leave) => return Some(true),
                    Some(Told::HandOver) => return Some(self.leave()),
                    Some(Told::Reschedule) | None => return Some(false),
                },
                () = sleep_until(until) => return None,
            }
        }
    }

    /// One scrape, from the request to the store.
    #[tracing::instrument(
        level = "debug",
        skip_all,
        fields(job = self.spec.config.job_name, url = self.spec.target.url_text)
    )]
    async fn scrape(&mut self, at: TimestampMs) {
        let clock = self.options.surroundings.clock.clone();
        let started = clock.monotonic();
        let deadline = self.next_tick;
        self.observe_interval(started);
        let spec = self.spec.clone();
        let fetched = match &spec.forced {
            Some(error) => Err(error.clone()),
            None => spec.request.send(&spec.client, &spec.target.url, self.body_bytes).await,
        };
        let bytes = match &fetched {
            Ok(fetched) => fetched.body.len() as f64,
            Err(ScrapeError::BodySizeLimit) => -1.0,
            Err(_) => 0.0,
        };
        let (mut reading, read) = match fetched {
            Ok(fetched) => self.read(fetched, at).await,
            Err(error) => (Reading::default(), Err(error)),
        };
        let took = clock.monotonic().saturating_sub(started);
        let counts = (reading.scraped, reading.kept, reading.added);
        let (error, body) = match read {
            Ok(body) => (None, Some(body)),
            Err(error) => (Some(error), None),
        };
        if body.is_none() {
            reading = Reading::default();
        }
        self.note(at, took, error.as_ref());
        let values = [
            f64::from(u8::from(error.is_none())),
            took.as_secs_f64(),
            counts.0 as f64,
            counts.1 as f64,
            counts.2 as f64,
            spec.target.timeout.as_secs_f64(),
            spec.config.sample_limit as f64,
            bytes,
        ];
        let now = clock.now_ms();
        let body = body.as_ref().map(|(bytes, format)| (spec.rules(), body_at(bytes, *format, at, now)));
        let scrape = Scrape {
            target: &spec.target,
            pool: &spec.config.job_name,
            reading,
            body,
            report: values,
            with_extra: spec.config.extra_scrape_metrics.unwrap_or_default(),
            at,
            deadline,
        };
        if let Err(error) = self.appender.append(scrape).await {
            warn!(target = spec.target.url_text, %error, "scrape commit failed");
        }
    }

    /// Reads a body; hands it back with its format, because stale handles make it read again.
    async fn read(&mut self, fetched: Fetched, at: TimestampMs) -> (Reading, Result<(HeldBody, Format), ScrapeError>) {
        let config = &self.spec.config;
        let negotiated = Format::from_content_type(fetched.content_type.as_deref(), config.fallback_scrape_protocol);
        let format = match negotiated {
            // As in Prometheus, an empty body is a success whatever it calls itself.
            _ if fetched.body.is_empty() => Format::Text,
            Ok(negotiated) => {
                if negotiated.is_fallback {
                    let (target, content_type) = (&self.spec.target.url_text, fetched.content_type);
                    let format = negotiated.format;
                    debug!(
                        target,
                        ?content_type,
                        ?format,
                        "content type is of no use, taking fallback_scrape_protocol"
                    );
                }
                negotiated.format
            }
            Err(error) => return (Reading::default(), Err(error.into())),
        };
        if !fetched.body.is_empty() {
            self.body_bytes = fetched.body.len();
        }
        let now = self.options.surroundings.clock.now_ms();
        let (reading, read) = if fetched.body.len() <= READ_INLINE_BYTES_MAX {
            let body = body_at(&fetched.body, format, at, now);
            let mut metadata = self.live.metadata.lock();
            let (reading, read) = self.spec.rules().read(body, &mut self.appender.cache, &mut metadata);
            end_metadata(&mut metadata, read.is_ok());
            (reading, read.map(|()| fetched.body))
        } else {
            self.read_aside(fetched.body, format, (at, now)).await
        };
        self.options.metrics.exemplars_refused.inc_by(reading.exemplars_refused as u64);
        (reading, read.map(|body| (body, format)))
    }

    /// Reads a long body off the async threads; the cache travels with it.
    async fn read_aside(
        &mut self,
        bytes: HeldBody,
        format: Format,
        (scraped_at, now): (TimestampMs, TimestampMs),
    ) -> (Reading, Result<HeldBody, ScrapeError>) {
        let empty = LineCache::new(self.options.hasher.clone());
        let mut cache = std::mem::replace(&mut self.appender.cache, empty);
        let (spec, live) = (self.spec.clone(), self.live.clone());
        let work = tokio::task::spawn_blocking(move || {
            let body = body_at(&bytes, format, scraped_at, now);
            let mut metadata = live.metadata.lock();
            let (reading, read) = spec.rules().read(body, &mut cache, &mut metadata);
            end_metadata(&mut metadata, read.is_ok());
            (cache, reading, read.map(|()| bytes))
        });
        match work.await {
            Ok((cache, reading, read)) => {
                self.appender.cache = cache;
                (reading, read)
            }
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => (Reading::default(), Err(ScrapeError::Body("the node is shutting down".into()))),
        }
    }
}

fn end_metadata(metadata: &mut MetadataCache, succeeded: bool) {
    if succeeded {
        metadata.end_scrape();
    }
}

fn body_at(bytes: &[u8], format: Format, scraped_at: TimestampMs, now: TimestampMs) -> Body<'_> {
    Body { bytes, format, scraped_at, now, samples_max: SAMPLES_MAX_DEFAULT }
}

/// The time of a scrape, moved to the exact interval when it is only a little late.
fn align(aligned: &mut TimestampMs, now: TimestampMs, every: Duration) -> TimestampMs {
    let interval = every.as_millis() as i64;
    let tolerance = (interval / 100).min(TIMESTAMP_TOLERANCE.as_millis() as i64);
    if now - *aligned >= interval {
        *aligned += (now - *aligned) / interval * interval;
    }
    if (0..=tolerance).contains(&(now - *aligned)) { *aligned } else { now }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrape_times_are_moved_to_the_interval_within_the_tolerance() {
        let every = Duration::from_secs(1);
        let mut aligned = 1000;
        for (now, at) in
            [(1000, 1000), (2001, 2000), (3002, 3000), (4003, 4003), (5000, 5000), (8001, 8000), (9900, 9900)]
        {
            assert_eq!(align(&mut aligned, now, every), at, "{now}");
        }
        let mut aligned = 0;
        assert_eq!(align(&mut aligned, 101, Duration::from_millis(100)), 100);
        assert_eq!(align(&mut aligned, 202, Duration::from_millis(100)), 202);
    }
}
