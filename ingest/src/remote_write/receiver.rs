//! One write request from its headers to its answer.
//!
//! Decodes, appends, learns from the outcome, and sends samples whose handles had gone stale once more with their labels.
//! Bodies that take long to decode do so away from the async threads.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use pharos_model::{Clock, TenantId, TimestampMs};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::decoder::{Decoded, Decoder, RequestLimits, Scratch, Sent};
use super::refusals::Refusals;
use super::{MetadataStore, Metrics, RequestHeaders, Version, WriteError, WriteSummary};
use crate::raw_cache::RawCache;
use crate::series_hash::SeriesHasher;
use crate::sink::{AppendError, AppendOutcome, SampleBatch, Sink};

/// Compressed bodies up to this size are decoded where they arrive: about 3,000 known samples, half a millisecond.
const INLINE_BODY_BYTES_MAX: usize = 64 << 10;
/// Samples of a batch whose outcome is taken in where the request is served; what larger ones learn is learnt aside.
const INLINE_SAMPLES_MAX: usize = 3_000;
/// Sets of buffers that are kept for the next requests, and the largest that is worth keeping.
const SCRATCHES_MAX: usize = 16;
const SCRATCH_BYTES_MAX: usize = 4 << 20;
/// A series that is not written for one to two of these has to be sent with its labels again.
const CACHE_GENERATION: Duration = Duration::from_secs(15 * 60);

/// What a receiver may use, and how it behaves.
#[derive(Clone, Copy, Debug)]
pub struct ReceiverConfig {
    pub limits: RequestLimits,
    /// Memory for the cache from raw label bytes to series; about 35 bytes a series.
    pub cache_bytes_max: usize,
    /// Requests that are served at once; further ones are told to come again.
    pub requests_in_flight_max: usize,
    /// Samples further in the future than this are refused.
    pub ahead_max: Duration,
    /// Random and private, see [`SeriesHasher`].
    pub seed: u128,
    /// Series of version 2.0 get what is known of their type and unit as labels.
    pub metadata_labels: bool,
}

impl ReceiverConfig {
    /// Limits of [`RequestLimits::default`], 256 MiB of cache (seven million series), 256 requests at once, 10 minutes ahead.
    pub fn new(seed: u128) -> Self {
        Self {
            limits: RequestLimits::default(),
            cache_bytes_max: 256 << 20,
            requests_in_flight_max: 256,
            ahead_max: Duration::from_secs(600),
            seed,
            metadata_labels: false,
        }
    }
}

/// Receives write requests of all tenants.
pub struct Receiver {
    decoder: Decoder,
    cache: Arc<RawCache>,
    sink: Arc<dyn Sink>,
    metadata: Arc<MetadataStore>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    in_flight: Arc<Semaphore>,
    body_bytes_max: usize,
    in_flight_max: usize,
    ahead_ms: TimestampMs,
    scratches: Mutex<Vec<Scratch>>,
    /// When the cache's generation ends, in milliseconds of the monotonic clock.
    generation_ends_ms: AtomicU64,
}

impl Receiver {
    pub fn new(
        config: ReceiverConfig,
        sink: Arc<dyn Sink>,
        metadata: Arc<MetadataStore>,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Arc<Self> {
        let cache = Arc::new(RawCache::new(config.cache_bytes_max));
        let generation_ends = clock.monotonic() + CACHE_GENERATION;
        Arc::new(Self {
            decoder: Decoder::new(cache.clone(), SeriesHasher::new(config.seed), config.limits)
                .with_metadata_labels(config.metadata_labels),
            cache,
            sink,
            metadata,
            clock,
            metrics,
            in_flight: Arc::new(Semaphore::new(config.requests_in_flight_max)),
            body_bytes_max: config.limits.body.compressed_bytes_max,
            in_flight_max: config.requests_in_flight_max,
            ahead_ms: config.ahead_max.as_millis() as TimestampMs,
            scratches: Mutex::default(),
            generation_ends_ms: AtomicU64::new(generation_ends.as_millis() as u64),
        })
    }

    /// What senders said about their metrics.
    pub fn metadata(&self) -> &Arc<MetadataStore> {
        &self.metadata
    }

    /// Largest body, as it is sent, that [`Admission::write`] does not refuse for its size.
    pub fn body_bytes_max(&self) -> usize {
        self.body_bytes_max
    }

    /// Decides by the headers, and by how many requests are under way, whether a body is worth reading.
    pub fn admit(self: &Arc<Self>, headers: RequestHeaders<'_>) -> Result<Admission, WriteError> {
        self.check(headers).inspect_err(|error| self.count_refused(error))
    }

    fn check(self: &Arc<Self>, headers: RequestHeaders<'_>) -> Result<Admission, WriteError> {
        let version = headers.check()?;
        let permit = self.in_flight.clone().try_acquire_owned();
        let permit = permit.map_err(|_| WriteError::Busy { max: self.in_flight_max })?;
        self.metrics.in_flight.inc();
        Ok(Admission { receiver: self.clone(), version, _permit: permit })
    }

    /// Counts a request that was refused as a whole.
    fn count_refused(&self, error: &WriteError) {
        if !matches!(error, WriteError::Refused { .. }) {
            self.metrics.refused_requests.with_label_values(&[error.status().as_str()]).inc();
        }
    }

    async fn decode(
        self: &Arc<Self>,
        tenant: &TenantId,
        version: Version,
        body: Bytes,
    ) -> Result<(Result<Decoded, WriteError>, Scratch), WriteError> {
        let ts_max = self.clock.now_ms().saturating_add(self.ahead_ms);
        let mut scratch = self.scratches.lock().pop().unwrap_or_default();
        if body.len() <= INLINE_BODY_BYTES_MAX {
            let decoded = self.decoder.decode(tenant, (version, &body), ts_max, &mut scratch);
            return Ok((decoded, scratch));
        }
        let (receiver, tenant) = (self.clone(), tenant.clone());
        aside(move || {
            let decoded = receiver.decoder.decode(&tenant, (version, &body), ts_max, &mut scratch);
            (decoded, scratch)
        })
        .await
    }

    async fn store(
        self: &Arc<Self>,
        tenant: &TenantId,
        decoded: Decoded,
        scratch: Scratch,
    ) -> Result<WriteSummary, WriteError> {
        let Decoded { mut batch, metadata, samples, histograms, fresh_series, refusals, sent } = decoded;
        self.metadata.put(tenant, metadata);
        self.metrics.fresh.inc_by(fresh_series as u64);
        let mut summary = WriteSummary { samples, histograms, duplicates: 0, exemplars: batch.exemplars.len() };
        let mut waiting = Waiting { sent, refusals, scratch };
        // A second time only for what comes back as stale; what is sent with labels never does.
        while !(batch.known.is_empty() && batch.fresh.is_empty() && batch.exemplars.is_empty()) {
            let outcome = self.sink.append(Arc::new(batch)).await?;
            summary.duplicates += outcome.duplicates;
            self.metrics.stale.inc_by(outcome.stale.len() as u64);
            (batch, waiting) = self.settle(outcome, waiting).await?;
        }
        self.give_back(waiting.scratch);
        self.answer(summary, waiting.refusals)
    }

    /// Takes in an outcome; answers what is to be sent once more.
    async fn settle(
        self: &Arc<Self>,
        outcome: AppendOutcome,
        mut waiting: Waiting,
    ) -> Result<(SampleBatch, Waiting), WriteError> {
        let receiver = self.clone();
        let is_long = outcome.handles.len() + outcome.stale.len() + outcome.refused.len() > INLINE_SAMPLES_MAX;
        let settle = move || {
            let Waiting { sent, refusals, scratch } = &mut waiting;
            let (batch, again) = receiver.decoder.settle(sent, &outcome, refusals, scratch)?;
            *sent = again;
            Ok((batch, waiting))
        };
        if is_long { aside(settle).await? } else { settle() }
    }

    fn answer(&self, mut summary: WriteSummary, refusals: Refusals) -> Result<WriteSummary, WriteError> {
        let samples = summary.samples;
        summary.samples -= refusals.samples;
        summary.histograms -= refusals.histograms;
        self.metrics.samples.inc_by(summary.samples as u64);
        self.metrics.duplicates.inc_by(summary.duplicates as u64);
        self.metrics.invalid_labels.inc_by(refusals.invalid_labels() as u64);
        for (reason, refused) in &refusals.by_reason {
            self.metrics.refused.with_label_values(&[reason]).inc_by(*refused as u64);
        }
        match refusals.first {
            None => Ok(summary),
            Some(first) => Err(WriteError::Refused { first, refused: refusals.samples, samples, stored: summary }),
        }
    }

    fn give_back(&self, scratch: Scratch) {
        let mut scratches = self.scratches.lock();
        if scratches.len() < SCRATCHES_MAX && scratch.capacity_bytes() <= SCRATCH_BYTES_MAX {
            scratches.push(scratch);
        }
    }

    /// Lets series go that nobody writes any more, a part of the cache for each request.
    fn maintain_cache(&self) {
        let now_ms = self.clock.monotonic().as_millis() as u64;
        let ends_ms = self.generation_ends_ms.load(Ordering::Relaxed);
        let next_ms = now_ms + CACHE_GENERATION.as_millis() as u64;
        let is_mine = || {
            let swapped =
                self.generation_ends_ms.compare_exchange(ends_ms, next_ms, Ordering::Relaxed, Ordering::Relaxed);
            swapped.is_ok()
        };
        if now_ms >= ends_ms && is_mine() {
            self.cache.advance_generation();
        }
        self.cache.maintain();
        self.metrics.cache_bytes.set(self.cache.memory_bytes() as i64);
    }
}

/// What the outcome of an append is taken in with.
struct Waiting {
    sent: Sent,
    refusals: Refusals,
    scratch: Scratch,
}

/// Does long work away from the async threads.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, WriteError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => {
            let (reason, retry_after) = ("the node is shutting down".into(), Duration::from_secs(1));
            Err(AppendError::Unavailable { reason, retry_after }.into())
        }
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("sink", &self.sink).field("cached_series", &self.cache.len()).finish()
    }
}

/// A request that is served. Counts as in flight until it is dropped.
#[derive(Debug)]
pub struct Admission {
    receiver: Arc<Receiver>,
    version: Version,
    _permit: OwnedSemaphorePermit,
}

impl Admission {
    /// The version of the request that was let in.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Stores the request's samples. `Ok` says that every one is durable. After an error that asks the sender to come again
    /// some may be; sending them again is safe. When the future is dropped the append may or may not happen.
    #[tracing::instrument(level = "debug", name = "remote_write", skip_all, fields(%tenant, bytes = body.len()))]
    pub async fn write(self, tenant: &TenantId, body: Bytes) -> Result<WriteSummary, WriteError> {
        let answer = self.serve(tenant, body).await;
        answer.inspect_err(|error| self.receiver.count_refused(error))
    }

    async fn serve(&self, tenant: &TenantId, body: Bytes) -> Result<WriteSummary, WriteError> {
        let receiver = &self.receiver;
        receiver.maintain_cache();
        let (decoded, scratch) = receiver.decode(tenant, self.version, body).await?;
        match decoded {
            Ok(decoded) => receiver.store(tenant, decoded, scratch).await,
            Err(error) => {
                receiver.give_back(scratch);
                Err(error)
            }
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.receiver.metrics.in_flight.dec();
    }
}
