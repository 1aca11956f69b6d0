//! What applying a command says back: the verdict on each sample that did not simply go in.

use super::{RecordError, SeriesRef};
use crate::wire::{Malformed, Reader, put_signed, put_varint};

/// A sample of an append record by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    Known(u32),
    Fresh(u32),
}

/// Why a sample was refused for good. Texts are Prometheus'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// Older than the newest sample of its series, and late samples are not taken.
    #[error("out of order sample")]
    OutOfOrder,
    /// Older than the out-of-order window, or its slice is sealed.
    #[error("too old sample")]
    TooOld,
    /// Too far in the future, or too old where late samples are not taken.
    #[error("out of bounds")]
    OutOfBounds,
    /// The series has another value at this time.
    #[error("duplicate sample for timestamp")]
    DuplicateTimestamp,
    #[error("per-tenant limit of active series reached")]
    SeriesLimit,
}

impl Refusal {
    const ALL: [Self; 5] =
        [Self::OutOfOrder, Self::TooOld, Self::OutOfBounds, Self::DuplicateTimestamp, Self::SeriesLimit];
}

/// One refused sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    pub place: Place,
    pub refusal: Refusal,
}

/// The verdict on an append record. Samples that are not named here are in the head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppendAnswer {
    /// For each fresh sample the reference of its series; `None` when no such series is in the head after all.
    pub fresh: Vec<Option<SeriesRef>>,
    /// Positions of known samples whose reference is stale, ascending: not stored, to be sent again with labels.
    pub stale: Vec<u32>,
    /// In the order of the record.
    pub refused: Vec<Refused>,
    /// Samples that were there already with the same value.
    pub duplicates: u32,
}

const TAG_APPEND: u8 = 1;
const TAG_DELETE: u8 = 2;
const TAG_MALFORMED: u8 = 0xff;

impl AppendAnswer {
    /// No bytes at all when every sample was known and stored.
    pub fn encode(&self) -> Vec<u8> {
        if *self == Self::default() {
            return Vec::new();
        }
        let mut out = vec![TAG_APPEND];
        put_varint(&mut out, u64::from(self.duplicates));
        put_varint(&mut out, self.fresh.len() as u64);
        let mut last = 0_i64;
        for series in &self.fresh {
            // A step that no two 32-bit references have stands for "no series".
            let step = series.map_or(NO_SERIES_STEP, |series| i64::from(series.0) - last);
            put_signed(&mut out, step);
            last = series.map_or(last, |series| i64::from(series.0));
        }
        put_varint(&mut out, self.stale.len() as u64);
        let mut last = 0;
        for &position in &self.stale {
            put_signed(&mut out, i64::from(position) - last);
            last = i64::from(position);
        }
        put_varint(&mut out, self.refused.len() as u64);
        for Refused { place, refusal } in &self.refused {
            let (position, list) = match *place {
                Place::Known(position) => (position, 0),
                Place::Fresh(position) => (position, 1),
            };
            put_varint(&mut out, u64::from(position) << 1 | list);
            out.push(*refusal as u8);
        }
        out
    }

    /// Takes what [`crate::partition::Partition::apply`] returned for an append record.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader::new(bytes);
        if reader.is_empty() {
            return Ok(Self::default());
        }
        expect_tag(&mut reader, TAG_APPEND)?;
        let duplicates = reader.varint32("count of duplicates")?;
        let fresh = decode_fresh(&mut reader)?;
        let stale = decode_stale(&mut reader)?;
        let count = bounded_count(&mut reader)?;
        let refused = (0..count).map(|_| decode_refused(&mut reader)).collect::<Result<_, _>>()?;
        Ok(Self { fresh, stale, refused, duplicates })
    }
}

const NO_SERIES_STEP: i64 = i64::MAX;

/// A count of items that take at least a byte each, so that it bounds what is allocated for them.
fn bounded_count(reader: &mut Reader<'_>) -> Result<usize, Malformed> {
    let count = reader.varint32("count in an answer")? as usize;
    if count > reader.rest().len() { Err(Malformed("count in an answer")) } else { Ok(count) }
}

fn decode_fresh(reader: &mut Reader<'_>) -> Result<Vec<Option<SeriesRef>>, Malformed> {
    const FIELD: &str = "reference of a fresh series";
    let count = bounded_count(reader)?;
    let mut last = 0_i64;
    (0..count)
        .map(|_| match reader.signed(FIELD)? {
            NO_SERIES_STEP => Ok(None),
            step => {
                last = last.checked_add(step).ok_or(Malformed(FIELD))?;
                u32::try_from(last).map(|series| Some(SeriesRef(series))).map_err(|_| Malformed(FIELD))
            }
        })
        .collect()
}

fn decode_stale(reader: &mut Reader<'_>) -> Result<Vec<u32>, Malformed> {
    const FIELD: &str = "position of a stale reference";
    let count = bounded_count(reader)?;
    let mut last = 0_i64;
    (0..count)
        .map(|_| {
            last = last.checked_add(reader.signed(FIELD)?).ok_or(Malformed(FIELD))?;
            u32::try_from(last).map_err(|_| Malformed(FIELD))
        })
        .collect()
}

fn decode_refused(reader: &mut Reader<'_>) -> Result<Refused, Malformed> {
    let place = reader.varint("place of a refused sample")?;
    let position = u32::try_from(place >> 1).map_err(|_| Malformed("place of a refused sample"))?;
    let place = if place & 1 == 0 { Place::Known(position) } else { Place::Fresh(position) };
    let code = usize::from(reader.u8("refusal")?);
    let refusal = *Refusal::ALL.get(code).ok_or(Malformed("refusal"))?;
    Ok(Refused { place, refusal })
}

fn expect_tag(reader: &mut Reader<'_>, tag: u8) -> Result<(), RecordError> {
    match reader.u8("answer")? {
        found if found == tag => Ok(()),
        TAG_MALFORMED => Err(RecordError::RefusedAsMalformed),
        _ => Err(Malformed("answer").into()),
    }
}

pub(crate) fn encode_malformed_answer() -> Vec<u8> {
    vec![TAG_MALFORMED]
}

pub(crate) fn encode_delete_answer(series: u64) -> Vec<u8> {
    let mut out = vec![TAG_DELETE];
    put_varint(&mut out, series);
    out
}

/// Series of the head that a delete command touched.
pub fn decode_delete_answer(bytes: &[u8]) -> Result<u64, RecordError> {
    let mut reader = Reader::new(bytes);
    expect_tag(&mut reader, TAG_DELETE)?;
    Ok(reader.varint("count of deleted series")?)
}
