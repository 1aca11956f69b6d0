//! Remote write from the compressed body to the batch: snappy, the protobuf walk, the hashes of raw labels, the lookup.
//!
//! Steady state: every series is known by its bytes, as from a sender's second request on. A request has 2,000 series of 8 labels
//! with a sample each. 2,000 known series stay in the CPU's caches; 200,000 do not, so that lookups miss them.
//! An element is a sample.

use std::sync::Arc;

use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use pharos_benches::versus::data::{Fleet, SERIES_PER_HOST, label_fields, labels};
use pharos_ingest::raw_cache::RawCache;
use pharos_ingest::remote_write::{Decoder, RequestLimits, Scratch, Version};
use pharos_ingest::series_hash::SeriesHasher;
use pharos_ingest::sink::SeriesHandle;
use pharos_model::{TenantId, TimestampMs};

const SAMPLES_PER_REQUEST: u64 = 2000;
const START_MS: TimestampMs = 1_700_000_000_000;
const CACHE_BYTES_MAX: usize = 64 << 20;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("remote_write_decode");
    group.throughput(Throughput::Elements(SAMPLES_PER_REQUEST));
    for series in [2_000, 200_000] {
        steady_state(&mut group, series);
    }
    group.finish();
    criterion.final_summary();
}

fn steady_state(group: &mut BenchmarkGroup<'_, WallTime>, series: usize) {
    let (tenant, hasher) = (TenantId::anonymous(), SeriesHasher::new(1));
    let cache = Arc::new(RawCache::new(CACHE_BYTES_MAX));
    learn(&cache, &hasher, &tenant, series);
    let decoder = Decoder::new(cache, hasher, RequestLimits::default());
    let requests: Vec<Bytes> = Fleet::new(series).round(0, START_MS).collect();
    let mut scratch = Scratch::default();
    let mut decode = |request: &Bytes| {
        decoder
            .decode(&tenant, (Version::One, request), TimestampMs::MAX, &mut scratch)
            .expect("a request that we encoded")
    };
    for request in &requests {
        let decoded = decode(request);
        assert_eq!((decoded.batch.known.len() as u64, decoded.fresh_series), (SAMPLES_PER_REQUEST, 0));
    }
    let mut next = requests.iter().cycle();
    group.bench_function(format!("{series}_series_known"), |bencher| {
        bencher.iter(|| decode(next.next().expect("a cycle does not end")));
    });
}

/// Fills the cache as the answers to a first round of requests would.
fn learn(cache: &RawCache, hasher: &SeriesHasher, tenant: &TenantId, series: usize) {
    let tenant_key = hasher.hash(tenant.as_str().as_bytes());
    let key = |i: usize| {
        let labels = labels(i / SERIES_PER_HOST, i % SERIES_PER_HOST);
        hasher.hash(&label_fields(labels.iter().map(|(name, value)| (*name, value.as_str())))) ^ tenant_key
    };
    let entries: Vec<_> = (0..series).map(|i| (key(i), SeriesHandle(i as u64))).collect();
    cache.learn(&entries);
}
