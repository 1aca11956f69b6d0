//! Start timestamps of a head. They lie beside the series, as few samples have any; those of full chunks are in the files.

use std::collections::{BTreeMap, HashMap};

use pharos_model::TimestampMs;

use crate::index::Slot;
use crate::starts::StartColumn;

/// By time of the sample.
pub(super) type LateStarts = BTreeMap<TimestampMs, TimestampMs>;

/// The start timestamps of samples that are in no full chunk.
#[derive(Debug, Default)]
pub(super) struct HeadStarts {
    /// Whether the head ever took one: then there may be some in its full chunks.
    pub(super) any: bool,
    /// Of the open chunk of a series; shorter than it where the newest samples have none.
    pub(super) open: HashMap<Slot, StartColumn>,
    /// Of late samples that wait for their chunk.
    pub(super) late: HashMap<Slot, LateStarts>,
}

impl HeadStarts {
    /// Notes the start of the newest sample, which is the one behind `before` others in its chunk.
    pub(super) fn note(&mut self, slot: Slot, before: usize, start: TimestampMs) {
        self.any = true;
        let column = self.open.entry(slot).or_default();
        column.pad(before);
        column.push(start);
    }

    pub(super) fn note_late(&mut self, slot: Slot, ts: TimestampMs, start: TimestampMs) {
        self.any = true;
        self.late.entry(slot).or_default().insert(ts, start);
    }

    /// Takes the starts of an open chunk of `count` samples that goes to the files.
    pub(super) fn cut(&mut self, slot: Slot, count: u8) -> Vec<u8> {
        if self.open.is_empty() {
            return Vec::new();
        }
        self.open.remove(&slot).map_or_else(Vec::new, |column| column.into_bytes(count.into()))
    }

    /// Takes the starts of a late chunk that goes to the files, of samples at these times.
    pub(super) fn cut_late(&mut self, slot: Slot, times: &[TimestampMs]) -> Vec<u8> {
        let Some(waiting) = self.late.get_mut(&slot) else { return Vec::new() };
        let mut column = StartColumn::default();
        for (at, ts) in times.iter().enumerate() {
            if let Some(start) = waiting.remove(ts) {
                column.pad(at);
                column.push(start);
            }
        }
        if waiting.is_empty() {
            self.late.remove(&slot);
        }
        column.into_bytes(times.len())
    }

    /// The start of the newest sample of an open chunk of `count`, 0 if it is not known.
    pub(super) fn newest(&self, slot: Slot, count: u8) -> TimestampMs {
        self.open.get(&slot).filter(|column| column.len() == usize::from(count)).map_or(0, StartColumn::last)
    }

    /// Forgets waiting late samples before a time.
    pub(super) fn drop_late_before(&mut self, until_ms: TimestampMs) {
        self.late.retain(|_, waiting| {
            *waiting = waiting.split_off(&until_ms);
            !waiting.is_empty()
        });
    }

    pub(super) fn remove(&mut self, slot: Slot) {
        self.open.remove(&slot);
        self.late.remove(&slot);
    }
}
