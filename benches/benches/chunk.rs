//! The bit stream of a chunk: a chunk of 120 samples written, and read back, for values that move in different ways. The names
//! tell how many bytes the chunk takes. An element is a sample.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use pharos_benches::versus::data::Fleet;
use pharos_model::TimestampMs;
use pharos_storage::chunk::blocks::BlockPool;
use pharos_storage::chunk::codec::{CHUNK_SAMPLES_MAX, OpenChunk, decode};

const START_MS: TimestampMs = 1_700_000_000_000;
const INTERVAL_MS: i64 = 15_000;
/// Series of a fleet whose values move so.
const SHAPES: [(&str, usize); 4] = [("integer_counter", 2), ("float_counter", 4), ("gauge", 6), ("constant", 7)];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("chunk");
    let fleet = Fleet::new(SHAPES.len() * 2);
    for (shape, series) in SHAPES {
        let at = |round: usize| (START_MS + round as i64 * INTERVAL_MS, fleet.value(series, round).to_bits());
        measure(&mut group, shape, &(0..usize::from(CHUNK_SAMPLES_MAX)).map(at).collect::<Vec<_>>());
    }
    group.finish();
    criterion.final_summary();
}

fn measure(group: &mut BenchmarkGroup<'_, WallTime>, shape: &str, samples: &[(TimestampMs, u64)]) {
    let mut pool = BlockPool::default();
    let mut chunk = OpenChunk::EMPTY;
    // A chunk of noise is cut by its size before it has all samples.
    let count = samples.iter().take_while(|(ts, bits)| chunk.try_append(&mut pool, *ts, *bits)).count();
    let mut stream = Vec::new();
    chunk.copy_to(&pool, &mut stream);
    let name = format!("{shape}_{count}_samples_{}_bytes", stream.len());
    group.throughput(Throughput::Elements(count as u64));
    group.bench_function(format!("append/{name}"), |bencher| {
        bencher.iter(|| {
            let mut chunk = OpenChunk::EMPTY;
            for (ts, bits) in &samples[..count] {
                assert!(chunk.try_append(&mut pool, *ts, *bits), "it did fit before");
            }
            chunk.clear(&mut pool);
        });
    });
    group.bench_function(format!("decode/{name}"), |bencher| {
        bencher.iter(|| {
            let mut folded = 0;
            decode(&stream, count as u8, |ts, bits| folded ^= ts as u64 ^ bits).expect("a stream that we wrote");
            folded
        });
    });
}
