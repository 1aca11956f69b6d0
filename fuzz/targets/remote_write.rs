//! Any body is stored, refused or partly refused; and a request means the same whether its labels are parsed or known by
//! their bytes. The input is the protobuf message, which is compressed here; inputs that begin with `s` are taken as compressed,
//! those that begin with `2` are messages of version 2.0.
//!
//! Each request is sent twice to a fresh receiver. The first time every label is parsed. The second time the cache knows the
//! series; the store then forgets every handle, so that all samples come once more with labels, and they have to be the same.
#![no_main]

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use pharos_ingest::compression::{BodyCollector, BodyLimits, Encoding};
use pharos_ingest::remote_write::{MetadataStore, Metrics, Receiver, ReceiverConfig, RequestHeaders, WriteError};
use pharos_ingest::sink::{AppendError, AppendOutcome, SampleBatch, SeriesHandle, Sink};
use pharos_model::clock::ManualClock;
use pharos_model::{LabelSet, TenantId, TimestampMs};
use tokio::runtime::{Builder, Runtime};

const NOW_MS: TimestampMs = 1_700_000_000_000;
const METADATA_MAX: usize = 100;
const VERSION_TWO: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().build().expect("a runtime without drivers"));
static METRICS: LazyLock<Metrics> =
    LazyLock::new(|| Metrics::register(&prometheus::Registry::new()).expect("a registry of its own"));

fuzz_target!(|input: &[u8]| {
    let compress = |message| -> Bytes {
        snap::raw::Encoder::new().compress_vec(message).expect("an input far below snappy's limit").into()
    };
    let (body, content_type) = match input.split_first() {
        Some((b's', block)) => (Bytes::copy_from_slice(block), None),
        Some((b'2', message)) => (compress(message), Some(VERSION_TWO)),
        _ => (compress(input), None),
    };
    let headers = RequestHeaders { content_type, content_encoding: None };
    let store = Arc::new(Store::default());
    let receiver = receiver(Arc::clone(&store) as Arc<dyn Sink>);
    let write = || {
        let tenant = TenantId::anonymous();
        let admitted = receiver.admit(headers).expect("one request at a time");
        let written = admitted.write(&tenant, body.clone());
        outcome(RUNTIME.block_on(written))
    };
    let (first, stored) = (write(), store.take());
    assert_eq!((write(), store.take()), (first, stored));
    gzip(input);
});

/// What a sender learns, as text.
fn outcome(answer: Result<impl std::fmt::Debug, WriteError>) -> String {
    match answer {
        Ok(summary) => format!("{summary:?}"),
        Err(error) => error.to_string(),
    }
}

fn receiver(sink: Arc<dyn Sink>) -> Arc<Receiver> {
    let config = ReceiverConfig { cache_bytes_max: 1 << 20, ..ReceiverConfig::new(1) };
    let metadata = Arc::new(MetadataStore::new(METADATA_MAX));
    Receiver::new(config, sink, metadata, Arc::new(ManualClock::at(NOW_MS)), METRICS.clone())
}

/// A gzip body, in two pieces, ends or fails within its limits.
fn gzip(input: &[u8]) {
    let limits = BodyLimits { compressed_bytes_max: 1 << 16, decompressed_bytes_max: 1 << 18 };
    let mut collector = BodyCollector::new(Encoding::Gzip, limits, Vec::new());
    let (head, tail) = input.split_at(input.len() / 2);
    if collector.push(head).and_then(|()| collector.push(tail)).is_ok()
        && let Ok(body) = collector.finish()
    {
        assert!(body.len() <= limits.decompressed_bytes_max);
    }
}

/// Takes samples with labels, and knows no handle that it gave out.
#[derive(Debug, Default)]
struct Store(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    handles: HashMap<LabelSet, SeriesHandle>,
    /// Labels, time and bits of the value.
    stored: Vec<(LabelSet, TimestampMs, u64)>,
}

impl Store {
    /// What was stored since the last call.
    fn take(&self) -> Vec<(LabelSet, TimestampMs, u64)> {
        std::mem::take(&mut self.0.lock().expect("no panic while locked").stored)
    }
}

#[async_trait]
impl Sink for Store {
    async fn append(&self, batch: Arc<SampleBatch>) -> Result<AppendOutcome, AppendError> {
        let mut state = self.0.lock().expect("no panic while locked");
        let mut handles = Vec::with_capacity(batch.fresh.len());
        for fresh in &batch.fresh {
            let next = SeriesHandle(state.handles.len() as u64);
            handles.push(Some(*state.handles.entry(fresh.labels.clone()).or_insert(next)));
            state.stored.push((fresh.labels.clone(), fresh.sample.ts, fresh.sample.value.to_bits()));
        }
        Ok(AppendOutcome { handles, stale: (0..batch.known.len()).collect(), ..AppendOutcome::default() })
    }
}
