use pharos_model::sample::{NORMAL_NAN_BITS, STALE_NAN_BITS};
use proptest::prelude::*;

use super::blocks::BlockPool;
use super::codec::{CHUNK_BYTES_MAX, CHUNK_SAMPLES_MAX, OpenChunk, decode};

/// Appends until a chunk is full, checks every chunk against what went in.
fn check_round_trip(samples: &[(i64, u64)]) {
    let mut pool = BlockPool::default();
    let mut chunk = OpenChunk::EMPTY;
    let mut back = Vec::new();
    let mut cut = |chunk: &mut OpenChunk, pool: &mut BlockPool| {
        let mut stream = Vec::new();
        chunk.copy_to(pool, &mut stream);
        assert!(stream.len() <= CHUNK_BYTES_MAX && chunk.count() <= CHUNK_SAMPLES_MAX);
        decode(&stream, chunk.count(), |ts, bits| back.push((ts, bits))).unwrap();
        let restored = OpenChunk::restore(pool, chunk.state(), &stream).unwrap();
        assert_eq!(restored.state(), chunk.state());
        chunk.clear(pool);
        *chunk = restored;
        chunk.clear(pool);
    };
    for &(ts, bits) in samples {
        if !chunk.try_append(&mut pool, ts, bits) {
            cut(&mut chunk, &mut pool);
            assert!(chunk.try_append(&mut pool, ts, bits), "an empty chunk takes any sample");
        }
        assert_eq!((chunk.newest_ts(), chunk.newest_bits()), (ts, bits));
    }
    cut(&mut chunk, &mut pool);
    assert_eq!(back, samples);
    assert_eq!(pool.bytes().0, 0, "all blocks were given back");
}

fn values() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        any::<f64>().prop_map(f64::to_bits),
        (0..1_000_i32).prop_map(|v| f64::from(v).to_bits()),
        (0..1_000_i32).prop_map(|v| (f64::from(v) / 10.0).to_bits()),
        Just(0),
        Just((-0.0_f64).to_bits()),
        Just(STALE_NAN_BITS),
        Just(NORMAL_NAN_BITS),
        Just(f64::INFINITY.to_bits()),
    ]
}

fn steps() -> impl Strategy<Value = i64> {
    prop_oneof![4 => Just(15_000), 2 => 14_990..15_010_i64, 1 => 1..100_i64, 1 => 1..1_i64 << 40]
}

proptest! {
    #[test]
    fn every_value_and_step_survives(start in -1_i64 << 50..1 << 50, samples in prop::collection::vec((steps(), values()), 1..400)) {
        let mut ts = start;
        let samples: Vec<_> = samples.into_iter().map(|(step, bits)| { ts += step; (ts, bits) }).collect();
        check_round_trip(&samples);
    }

    #[test]
    fn any_bytes_decode_to_samples_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..250), count in any::<u8>()) {
        let mut seen = 0;
        let result = decode(&bytes, count, |_, _| seen += 1);
        prop_assert!(result.is_err() || seen == usize::from(count));
    }
}

#[test]
fn the_ends_of_time_survive() {
    check_round_trip(&[(i64::MIN, 1), (i64::MIN + 1, 2), (-1, 3), (0, 4), (i64::MAX - 1, 5), (i64::MAX, 6)]);
    check_round_trip(&[
        (0, 1),
        (i64::from(u32::MAX), 1),
        (2 * i64::from(u32::MAX), 1),
        (2 * i64::from(u32::MAX) + 1, 1),
    ]);
}

#[test]
fn a_constant_series_takes_a_bit_a_sample() {
    let mut pool = BlockPool::default();
    let mut chunk = OpenChunk::EMPTY;
    for i in 0..i64::from(CHUNK_SAMPLES_MAX) {
        assert!(chunk.try_append(&mut pool, i * 15_000, 1.0_f64.to_bits()));
    }
    assert!(!chunk.try_append(&mut pool, i64::from(CHUNK_SAMPLES_MAX) * 15_000, 1.0_f64.to_bits()));
    assert!(chunk.byte_len() <= 36, "{} bytes", chunk.byte_len());
}

#[test]
fn blocks_are_used_again() {
    let mut pool = BlockPool::default();
    let mut chunks = [OpenChunk::EMPTY; 50];
    for round in 0..20_i64 {
        for (i, chunk) in chunks.iter_mut().enumerate() {
            for k in 0..20 {
                let bits = (k as f64 * 0.1 + i as f64).to_bits();
                if !chunk.try_append(&mut pool, round * 1_000 + k, bits) {
                    chunk.clear(&mut pool);
                }
            }
            chunk.clear(&mut pool);
        }
    }
    let (live, held) = pool.bytes();
    assert_eq!(live, 0);
    assert!(held <= 1024 * 32, "{held} bytes for chunks that were never open together");
}
