//! The levels of a page, run by run: where its rows end, and which of their elements are there. A run of equal levels costs the same
//! however long it is, and in most pages nearly all are.

use std::ops::Range;

use parquet::errors::{ParquetError, Result};

use crate::wire::Reader;

/// Where a row ends among the elements, and among those that are not null.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RowEnds {
    pub elements: usize,
    pub values: usize,
}

/// The rows of a page.
#[derive(Debug, PartialEq)]
pub(crate) struct Rows {
    ends: Vec<RowEnds>,
    /// Definition level of each element; `None` when all are there.
    def: Option<Vec<u8>>,
}

/// Levels as they are encoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Encoded<'a> {
    pub bytes: &'a [u8],
    /// Bits of a level: 1 or 2.
    pub width: usize,
    pub len: usize,
}

/// Neighbours among the levels.
enum Run<'a> {
    Same {
        level: u8,
        len: usize,
    },
    /// From the lowest bit of the first byte on.
    Packed {
        bytes: &'a [u8],
        len: usize,
    },
}

impl Rows {
    /// The lists of a page, whose elements of definition level `present` have a value.
    pub(super) fn decode(rep: Encoded<'_>, def: Encoded<'_>, present: u8, rows: usize) -> Result<Self> {
        let starts = row_starts(rep, rows)?;
        let def = definitions(def, present)?;
        let values = |elements: Range<usize>| match &def {
            None => elements.len(),
            Some(def) => def[elements].iter().filter(|level| **level == present).count(),
        };
        let mut end = RowEnds::default();
        let ends = starts.into_iter().skip(1).chain([rep.len]).map(|next| {
            end = RowEnds { values: end.values + values(end.elements..next), elements: next };
            end
        });
        Ok(Self { ends: ends.collect(), def })
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Values of all rows.
    pub(crate) fn values(&self) -> usize {
        self.ends.last().map_or(0, |end| end.values)
    }

    /// The values of row `i`.
    pub(crate) fn values_of(&self, i: usize) -> Range<usize> {
        self.start(i).values..self.ends[i].values
    }

    /// The definition levels of row `i`; `None` when all of its elements are there.
    pub(crate) fn def_of(&self, i: usize) -> Option<&[u8]> {
        let def = self.def.as_ref()?;
        Some(&def[self.start(i).elements..self.ends[i].elements])
    }

    fn start(&self, i: usize) -> RowEnds {
        if i == 0 { RowEnds::default() } else { self.ends[i - 1] }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.ends.len() * size_of::<RowEnds>() + self.def.as_ref().map_or(0, Vec::len)
    }
}

/// The places of the elements that begin a row: those of repetition level 0.
fn row_starts(rep: Encoded<'_>, rows: usize) -> Result<Vec<usize>> {
    let wrong = || ParquetError::General(format!("page without its {rows} rows"));
    let mut starts = Vec::with_capacity(rows);
    rep.each_run(|at, run| {
        match run {
            Run::Same { level: 0, len } if len > rows - starts.len() => return Err(wrong()),
            Run::Same { level: 0, len } => starts.extend(at..at + len),
            Run::Same { .. } => {}
            Run::Packed { bytes, len } => {
                for (i, byte) in bytes.iter().enumerate() {
                    let mut zeros = !byte;
                    while zeros != 0 {
                        let place = i * 8 + zeros.trailing_zeros() as usize;
                        if place < len {
                            starts.push(at + place);
                        }
                        zeros &= zeros - 1;
                    }
                }
            }
        }
        if starts.len() > rows { Err(wrong()) } else { Ok(()) }
    })?;
    if starts.len() == rows && starts.first() == Some(&0) { Ok(starts) } else { Err(wrong()) }
}

/// Each level by itself, unless all are `present`.
fn definitions(def: Encoded<'_>, present: u8) -> Result<Option<Vec<u8>>> {
    let mut all_present = true;
    def.each_run(|_, run| {
        all_present &= matches!(run, Run::Same { level, .. } if level == present);
        Ok(())
    })?;
    if all_present {
        return Ok(None);
    }
    let mut levels = Vec::new();
    def.each_run(|_, run| {
        match run {
            Run::Same { level, len } => levels.resize(levels.len() + len, level),
            Run::Packed { bytes, len } => {
                let (of_byte, mask) = (8 / def.width, (1_u8 << def.width) - 1);
                levels.extend((0..len).map(|i| bytes[i / of_byte] >> (i % of_byte * def.width) & mask));
            }
        }
        Ok(())
    })?;
    Ok(Some(levels))
}

impl<'a> Encoded<'a> {
    /// Parquet's hybrid of runs and packed levels, each run with the place of its first level.
    fn each_run(self, mut take: impl FnMut(usize, Run<'a>) -> Result<()>) -> Result<()> {
        let malformed = |error: crate::wire::Malformed| ParquetError::General(error.to_string());
        let mut reader = Reader::new(self.bytes);
        let mut at = 0;
        while at < self.len {
            let header = reader.varint32("run of levels").map_err(malformed)? as usize;
            let run = if header & 1 == 1 {
                let groups = header >> 1;
                let bytes = reader.bytes(groups * self.width, "levels").map_err(malformed)?;
                Run::Packed { bytes, len: (groups * 8).min(self.len - at) }
            } else {
                let level = reader.u8("level").map_err(malformed)?;
                Run::Same { level, len: (header >> 1).min(self.len - at) }
            };
            let (Run::Same { len, .. } | Run::Packed { len, .. }) = run;
            take(at, run)?;
            at += len;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As a writer may put them: runs of equal levels, or groups of eight.
    fn encode(levels: &[u8], width: usize, packed: &[bool]) -> Vec<u8> {
        let (mut out, mut at, mut choice) = (Vec::new(), 0, packed.iter().cycle());
        while at < levels.len() {
            let same = levels[at..].iter().take_while(|level| **level == levels[at]).count();
            if *choice.next().unwrap() || same < 3 {
                let group = &levels[at..levels.len().min(at + 8)];
                out.push(1 << 1 | 1);
                let bits = group.iter().rev().fold(0_u16, |bits, level| bits << width | u16::from(*level));
                out.extend_from_slice(&bits.to_le_bytes()[..width]);
                at += group.len();
            } else {
                crate::wire::put_varint(&mut out, (same as u64) << 1);
                out.push(levels[at]);
                at += same;
            }
        }
        out
    }

    proptest! {
        #[test]
        fn rows_are_those_of_the_levels(
            lists in prop::collection::vec(prop::collection::vec(prop_oneof![9 => Just(3_u8), 1 => Just(2)], 0..40), 1..12),
            packed in prop::collection::vec(any::<bool>(), 1..9),
        ) {
            let (mut rep, mut def, mut expected) = (Vec::new(), Vec::new(), Vec::new());
            for list in &lists {
                // A list that is not there is one level.
                let own: &[u8] = if list.is_empty() { &[0] } else { list };
                rep.extend((0..own.len()).map(|i| u8::from(i > 0)));
                def.extend_from_slice(own);
                expected.push((own.iter().filter(|level| **level == 3).count(), own));
            }
            let (rep_bytes, def_bytes) = (encode(&rep, 1, &packed), encode(&def, 2, &packed));
            let rep = Encoded { bytes: &rep_bytes, width: 1, len: rep.len() };
            let def = Encoded { bytes: &def_bytes, width: 2, len: def.len() };
            let rows = Rows::decode(rep, def, 3, lists.len()).unwrap();
            prop_assert_eq!(rows.len(), lists.len());
            let mut values = 0;
            for (i, (count, own)) in expected.into_iter().enumerate() {
                prop_assert_eq!(rows.values_of(i), values..values + count);
                values += count;
                prop_assert!(rows.def_of(i).is_none_or(|def| def == own) && (rows.def_of(i).is_some() || count == own.len()));
            }
            prop_assert_eq!(rows.values(), values);
            prop_assert!(Rows::decode(rep, def, 3, lists.len() + 1).is_err());
            prop_assert!(Rows::decode(rep, def, 3, lists.len() - 1).is_err());
        }

        #[test]
        fn any_bytes_are_levels_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..40), len in 0..200_usize, rows in 0..20_usize) {
            let levels = |width| Encoded { bytes: &bytes, width, len };
            let _ = Rows::decode(levels(1), levels(2), 3, rows);
        }
    }
}
