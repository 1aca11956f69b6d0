//! Start timestamps of samples that lie side by side: when the counter of each began, 0 where that is not known.
//!
//! [`StartColumn`] is how append records and chunks have them: run-length coded differences. A counter that goes on keeps
//! its start, and a delta's start moves as its time does, so either is one run for a whole chunk. Layout:
//! `docs/format/append-record.md`. In decoded samples they are a list that is empty while no sample has one.

use std::ops::Range;

use pharos_model::TimestampMs;

use crate::wire::{Malformed, Reader, put_signed, put_varint};

/// What becomes of the start timestamps of a record. It travels in the record, so that replicas agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StartRule {
    /// They are stored with their samples.
    pub stored: bool,
    /// At each of them a sample of value 0 is added, where it is newer than all samples of its series.
    pub zero_samples: bool,
}

/// Start timestamps under way. Those of the samples before the first one pushed can be left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct StartColumn {
    /// The runs that have ended.
    bytes: Vec<u8>,
    last: TimestampMs,
    /// The run that has not: each of its starts is so much after the one before.
    step: i64,
    run: u32,
    len: u32,
}

impl StartColumn {
    pub(crate) fn push(&mut self, start: TimestampMs) {
        let step = start.wrapping_sub(self.last);
        if step != self.step && self.run > 0 {
            put_run(&mut self.bytes, self.run, self.step);
            self.run = 0;
        }
        (self.last, self.step) = (start, step);
        self.run += 1;
        self.len += 1;
    }

    /// Adds samples whose start is not known, until there are `len`.
    pub(crate) fn pad(&mut self, len: usize) {
        // The second differs from the first by nothing, and so do all behind it.
        for _ in 0..2 {
            if len > self.len() {
                self.push(0);
            }
        }
        let missing = len.saturating_sub(self.len()) as u32;
        self.run += missing;
        self.len += missing;
    }

    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The start of the last sample, 0 if it is not known.
    pub(crate) fn last(&self) -> TimestampMs {
        self.last
    }

    /// About what [`Self::put`] appends.
    pub(crate) fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes);
        if self.run > 0 {
            put_run(out, self.run, self.step);
        }
    }

    /// The column of `len` samples as bytes; none when there is no start in it.
    pub(crate) fn into_bytes(mut self, len: usize) -> Vec<u8> {
        if !self.is_empty() {
            self.pad(len);
        }
        let mut bytes = std::mem::take(&mut self.bytes);
        if self.run > 0 {
            put_run(&mut bytes, self.run, self.step);
        }
        bytes
    }

    /// The column of `count` samples that bytes were taken from.
    pub(crate) fn restore(bytes: &[u8], count: usize) -> Result<Self, Malformed> {
        let mut column = Self::default();
        decode(bytes, count)?.into_iter().for_each(|start| column.push(start));
        Ok(column)
    }
}

fn put_run(out: &mut Vec<u8>, run: u32, step: i64) {
    put_varint(out, u64::from(run));
    put_signed(out, step);
}

const FIELD: &str = "start timestamps";

/// Reads the starts of `count` samples, which the caller has bounded, to the end of `out`.
pub(crate) fn take(reader: &mut Reader<'_>, count: usize, out: &mut Vec<TimestampMs>) -> Result<(), Malformed> {
    let (mut left, mut last) = (count, 0_i64);
    out.reserve(count);
    while left > 0 {
        let run = reader.varint32(FIELD)? as usize;
        let step = reader.signed(FIELD)?;
        if run == 0 || run > left {
            return Err(Malformed(FIELD));
        }
        left -= run;
        for _ in 0..run {
            last = last.wrapping_add(step);
            out.push(last);
        }
    }
    Ok(())
}

/// The starts of `count` samples, which take all of the bytes.
pub(crate) fn decode(bytes: &[u8], count: usize) -> Result<Vec<TimestampMs>, Malformed> {
    let (mut reader, mut starts) = (Reader::new(bytes), Vec::new());
    take(&mut reader, count, &mut starts)?;
    if reader.is_empty() { Ok(starts) } else { Err(Malformed(FIELD)) }
}

/// Adds the starts of the samples behind the first `before` to a list. It may be shorter than the samples are: what it lacks
/// is not known, until [`complete`].
pub(crate) fn append(list: &mut Vec<TimestampMs>, before: usize, more: &[TimestampMs]) {
    if more.iter().any(|start| *start != 0) {
        list.resize(before, 0);
        list.extend_from_slice(more);
    }
}

/// Makes a list as long as its samples, unless it is empty.
pub(crate) fn complete(list: &mut Vec<TimestampMs>, samples: usize) {
    if !list.is_empty() {
        list.resize(samples, 0);
    }
}

/// The starts of some samples; empty when none is known.
pub(crate) fn of(list: &[TimestampMs], samples: Range<usize>) -> &[TimestampMs] {
    match list.get(samples) {
        Some(starts) if starts.iter().any(|start| *start != 0) => starts,
        _ => &[],
    }
}

/// Does to values together with their starts what `change` does to values alone.
pub(crate) fn paired<V, T>(
    values: &mut Vec<V>,
    starts: &mut Vec<TimestampMs>,
    change: impl FnOnce(&mut Vec<(V, TimestampMs)>) -> T,
) -> T {
    let mut pairs: Vec<_> = values.drain(..).zip(starts.drain(..)).collect();
    let changed = change(&mut pairs);
    (*values, *starts) = pairs.into_iter().unzip();
    changed
}

/// Orders samples by time. Of those at one time the first stays.
pub(crate) fn sort_by_time<V>(ts: &mut Vec<TimestampMs>, values: &mut Vec<V>, starts: &mut Vec<TimestampMs>) {
    if starts.is_empty() { sort(ts, values) } else { paired(values, starts, |pairs| sort(ts, pairs)) }
}

fn sort<V>(ts: &mut Vec<TimestampMs>, values: &mut Vec<V>) {
    let mut samples: Vec<_> = ts.drain(..).zip(values.drain(..)).collect();
    samples.sort_by_key(|(ts, _)| *ts);
    samples.dedup_by_key(|(ts, _)| *ts);
    (*ts, *values) = samples.into_iter().unzip();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn column(starts: &[TimestampMs]) -> StartColumn {
        let mut column = StartColumn::default();
        starts.iter().for_each(|start| column.push(*start));
        column
    }

    fn starts() -> impl Strategy<Value = Vec<TimestampMs>> {
        let start = prop_oneof![3 => Just(0), 6 => Just(1_700_000_000_000), 1 => any::<i64>()];
        prop::collection::vec((start, 1..30_usize, prop_oneof![3 => Just(0), 1 => Just(60_000_i64)]), 0..12).prop_map(
            |runs| {
                let run =
                    |(start, len, step): (i64, usize, i64)| (0..len as i64).map(move |i| start.wrapping_add(i * step));
                runs.into_iter().flat_map(run).collect()
            },
        )
    }

    proptest! {
        #[test]
        fn every_column_round_trips(starts in starts()) {
            let column = column(&starts);
            let bytes = column.clone().into_bytes(starts.len());
            prop_assert_eq!(decode(&bytes, starts.len()), Ok(starts.clone()));
            prop_assert_eq!(StartColumn::restore(&bytes, starts.len()), Ok(column));
            prop_assert!(decode(&bytes, starts.len() + 1).is_err());
            prop_assert!(starts.is_empty() || decode(&bytes, starts.len() - 1).is_err());
        }

        #[test]
        fn padding_is_pushing_what_is_not_known(starts in starts(), len in 0..400_usize) {
            let (mut padded, mut pushed) = (column(&starts), column(&starts));
            padded.pad(len);
            (starts.len()..len).for_each(|_| pushed.push(0));
            prop_assert_eq!(padded, pushed);
        }

        #[test]
        fn any_bytes_are_starts_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..60), count in 0..130_usize) {
            prop_assert!(decode(&bytes, count).is_ok_and(|starts| starts.len() == count) || decode(&bytes, count).is_err());
        }
    }

    #[test]
    fn a_counter_or_a_delta_takes_a_dozen_bytes_a_chunk() {
        let start = 1_700_000_000_000;
        assert!(column(&[start; 120]).into_bytes(120).len() <= 9);
        assert!(column(&(0..120).map(|i| start + i * 60_000).collect::<Vec<_>>()).into_bytes(120).len() <= 11);
    }
}
