//! Any bytes decode to a command or an answer, or fail, without huge allocations; what decodes encodes to the same again.
//!
//! An append record's body is compressed, so bytes made up at random hardly ever reach it. Inputs that begin with `b` are the
//! counts of a record and its body as it is before compression; with `h`, those of a record with histograms;
//! with `s`, of one with start timestamps.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use pharos_storage::record::{
    AppendAnswer, AppendRecord, AppendRecordBuilder, Command, decode_delete_answer, delete_series, drop_covered,
    seal_floor,
};

fuzz_target!(|input: &[u8]| {
    match input.split_first() {
        Some((b'b', rest)) => check(&record_of(1, 3, rest)),
        Some((b'h', rest)) => check(&record_of(5, 4, rest)),
        // The rule follows the counts as one more byte.
        Some((b's', rest)) => check(&record_of(6, 5, rest)),
        _ => check(input),
    }
    if let Ok(answer) = AppendAnswer::decode(input) {
        assert_eq!(AppendAnswer::decode(&answer.encode()), Ok(answer));
    }
    let _ = decode_delete_answer(input);
});

fn check(bytes: &[u8]) {
    let Ok(command) = Command::decode(bytes) else { return };
    // Equal commands have equal bytes; NaN makes that more than comparing the commands.
    let encoded = encode(&command);
    let again = Command::decode(&encoded).expect("what was encoded decodes");
    assert_eq!(encode(&again), encoded);
}

/// An append record with a body that is given: kind, tenant `t`, limits, so many counts, the body.
fn record_of(kind: u8, count: usize, input: &[u8]) -> Vec<u8> {
    let (counts, body) = input.split_at(input.len().min(count));
    let mut record = vec![kind, 1, b't', 0, 0, 10];
    record.extend(counts.iter().map(|count| count & 0x7f));
    record.resize(6 + count, 0);
    let mut len = body.len();
    while len >= 0x80 {
        record.push(len as u8 | 0x80);
        len >>= 7;
    }
    record.push(len as u8);
    record.extend_from_slice(&lz4_flex::block::compress(body));
    record
}

fn encode(command: &Command) -> Bytes {
    match command {
        Command::Append(record) => encode_append(record),
        Command::SealFloor { tenant, until_ms } => seal_floor(tenant, *until_ms),
        Command::DropCovered { tenant, until_ms } => drop_covered(tenant, *until_ms),
        Command::DeleteSeries(command) => {
            delete_series(&command.tenant, &command.matchers, command.range).expect("decoding bounds the matchers")
        }
    }
}

fn encode_append(record: &AppendRecord) -> Bytes {
    let mut builder = AppendRecordBuilder::new(record.tenant.clone(), record.limits);
    let mut histograms = record.histograms.iter().peekable();
    builder.use_starts(record.starts.rule);
    let start_at = |at: usize| record.starts.all.get(at).copied();
    let mut histogram_at = |at: usize| histograms.next_if(|(position, _)| *position as usize == at);
    for (at, (series, ts)) in record.known_refs.iter().zip(&record.known_ts).enumerate() {
        match histogram_at(at) {
            Some((_, histogram)) => builder.push_known_histogram(*series, *ts, histogram),
            None => builder.push_known(*series, *ts, f64::from_bits(record.known_value_bits[at])),
        }
        start_at(at).into_iter().for_each(|start| builder.start_known(start));
    }
    for (at, fresh) in record.fresh.iter().enumerate() {
        match histogram_at(record.known_refs.len() + at) {
            Some((_, histogram)) => builder.push_fresh_histogram(&fresh.labels, fresh.ts, histogram),
            None => builder.push_fresh(&fresh.labels, fresh.ts, f64::from_bits(fresh.value_bits)),
        }
        start_at(record.known_refs.len() + at).into_iter().for_each(|start| builder.start_fresh(start));
    }
    for exemplar in &record.exemplars {
        builder.push_exemplar(&exemplar.series, &exemplar.exemplar);
    }
    builder.finish()
}
