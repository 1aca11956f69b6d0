//! What was written and when it was acknowledged, for the checkers of samples.

use std::collections::{BTreeMap, HashMap};

use crate::history::{Action, Event, Read, Sample, Samples, operations};
use crate::workload::writer_of;

/// A sample that somebody tried to write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element {
    pub sample: Sample,
    pub invoked_ns: u64,
    pub acked_ns: Option<u64>,
    /// Certainly not written.
    pub failed: bool,
}

/// All samples of a workload, by writer in order of time.
#[derive(Debug, Default)]
pub(super) struct Elements {
    pub all: Vec<Element>,
    by_key: HashMap<(u32, i64), usize>,
    by_writer: BTreeMap<u32, Vec<usize>>,
}

/// A completed read.
#[derive(Clone, Copy, Debug)]
pub(super) struct DoneRead<'a> {
    pub invoked_ns: u64,
    pub completed_ns: u64,
    pub read: &'a Read,
    pub node: &'a str,
}

impl Elements {
    /// Those that `samples_of` finds in events' actions.
    pub(super) fn of(events: &[Event], samples_of: fn(&Action) -> Option<&Samples>) -> Self {
        let mut elements = Self::default();
        for operation in operations(events, |action| samples_of(action).is_some()) {
            let acked_ns = operation.ok().map(|event| event.t_ns);
            for sample in samples_of(&operation.invoke.action).into_iter().flat_map(Samples::iter) {
                let (invoked_ns, failed) = (operation.invoke.t_ns, operation.failed());
                elements.add(Element { sample, invoked_ns, acked_ns, failed });
            }
        }
        for places in elements.by_writer.values_mut() {
            places.sort_by_key(|&at| (elements.all[at].sample.ts_ms, elements.all[at].sample.series));
        }
        elements
    }

    fn add(&mut self, element: Element) {
        let Sample { series, ts_ms, .. } = element.sample;
        // Sent again on purpose: acknowledged when any of the requests was.
        if let Some(&at) = self.by_key.get(&(series, ts_ms)) {
            let known = &mut self.all[at];
            known.acked_ns = [known.acked_ns, element.acked_ns].into_iter().flatten().min();
            known.failed &= element.failed;
            return;
        }
        self.by_key.insert((series, ts_ms), self.all.len());
        self.by_writer.entry(writer_of(series)).or_default().push(self.all.len());
        self.all.push(element);
    }

    /// The element that this sample is, if its value is right and it was sent before `by_ns`.
    pub(super) fn find(&self, sample: Sample, by_ns: u64) -> Option<usize> {
        let at = *self.by_key.get(&(sample.series, sample.ts_ms))?;
        let element = &self.all[at];
        (element.sample.value == sample.value && element.invoked_ns <= by_ns).then_some(at)
    }

    /// What a read could see, in order of time.
    pub(super) fn within(&self, read: &Read) -> impl Iterator<Item = usize> {
        let places = self.by_writer.get(&read.writer).map_or(&[][..], Vec::as_slice);
        let until = |ms: i64| places.partition_point(|&at| self.all[at].sample.ts_ms <= ms);
        places[until(read.from_ms)..until(read.to_ms).max(until(read.from_ms))].iter().copied()
    }
}

/// The reads that have an answer.
pub(super) fn reads(events: &[Event], read_of: fn(&Action) -> Option<&Read>) -> Vec<DoneRead<'_>> {
    let done = operations(events, |action| read_of(action).is_some());
    let answered = done.into_iter().filter_map(|operation| {
        let event = operation.ok()?;
        Some(DoneRead {
            invoked_ns: operation.invoke.t_ns,
            completed_ns: event.t_ns,
            read: read_of(&event.action)?,
            node: event.node.as_deref().unwrap_or("?"),
        })
    });
    answered.collect()
}
