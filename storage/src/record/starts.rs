//! The start timestamps of an append record: a column behind everything else, for records that have any.

use pharos_model::TimestampMs;

use crate::starts::{self, StartColumn, StartRule};
use crate::wire::{Malformed, Reader};

const STORED: u8 = 1;
const ZERO_SAMPLES: u8 = 2;

impl StartRule {
    pub(super) fn byte(self) -> u8 {
        let Self { stored, zero_samples } = self;
        (u8::from(stored) * STORED) | (u8::from(zero_samples) * ZERO_SAMPLES)
    }

    pub(super) fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match reader.u8("rule of start timestamps")? {
            byte if byte & !(STORED | ZERO_SAMPLES) == 0 => {
                Ok(Self { stored: byte & STORED != 0, zero_samples: byte & ZERO_SAMPLES != 0 })
            }
            _ => Err(Malformed("rule of start timestamps")),
        }
    }
}

/// The start timestamps of a record's samples under way. Each column is as long as it has to be.
#[derive(Debug, Default)]
pub(super) struct StartColumns {
    pub(super) rule: StartRule,
    pub(super) known: StartColumn,
    pub(super) fresh: StartColumn,
}

impl StartColumns {
    pub(super) fn is_empty(&self) -> bool {
        self.rule == StartRule::default() || self.known.is_empty() && self.fresh.is_empty()
    }

    pub(super) fn byte_len(&self) -> usize {
        self.known.byte_len() + self.fresh.byte_len()
    }

    pub(super) fn put(&mut self, out: &mut Vec<u8>, known: usize, fresh: usize) {
        self.known.pad(known);
        self.known.put(out);
        self.fresh.pad(fresh);
        self.fresh.put(out);
    }
}

/// When the counters of a record's samples began.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SampleStarts {
    pub rule: StartRule,
    /// For each known sample, then for each fresh one; 0 where it is not known. Empty when the record has none.
    pub all: Vec<TimestampMs>,
}

impl SampleStarts {
    /// The caller has bounded the counts.
    pub(super) fn take(body: &mut Reader<'_>, rule: StartRule, known: usize, fresh: usize) -> Result<Self, Malformed> {
        let mut all = Vec::new();
        starts::take(body, known, &mut all)?;
        starts::take(body, fresh, &mut all)?;
        Ok(Self { rule, all })
    }

    /// Those that are stored with their samples.
    pub(crate) fn stored(&self) -> &[TimestampMs] {
        if self.rule.stored { &self.all } else { &[] }
    }

    /// Those at which a sample of value 0 is added.
    pub(crate) fn zero_samples(&self) -> &[TimestampMs] {
        if self.rule.zero_samples { &self.all } else { &[] }
    }
}
