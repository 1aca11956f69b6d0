//! Small histories for the checkers' tests.

use crate::history::{Action, Event, Kind, Read, Sample};
use crate::workload::series_of;

/// Writer 1's sample at a time; its value is the time.
pub(super) fn sample(ts_ms: i64) -> Sample {
    Sample { series: series_of(1, 0), ts_ms, value: ts_ms }
}

/// Collects events whose times count up from 1.
#[derive(Debug, Default)]
pub(super) struct Script {
    pub events: Vec<Event>,
}

impl Script {
    pub(super) fn event(&mut self, process: u32, kind: Kind, action: Action) -> &mut Self {
        let t_ns = self.events.len() as u64 + 1;
        self.events.push(Event { process, kind, action, t_ns, node: Some("n1".into()), error: None });
        self
    }

    /// An operation with nothing in between.
    pub(super) fn op(&mut self, kind: Kind, action: Action) -> &mut Self {
        self.event(0, Kind::Invoke, action.clone()).event(0, kind, action)
    }

    pub(super) fn add(&mut self, ts_ms: i64, kind: Kind) -> &mut Self {
        self.op(kind, Action::Add([sample(ts_ms)].into_iter().collect()))
    }

    pub(super) fn append(&mut self, ts_ms: i64, kind: Kind) -> &mut Self {
        self.op(kind, Action::Append([sample(ts_ms)].into_iter().collect()))
    }

    pub(super) fn read_set(&mut self, seen: &[i64]) -> &mut Self {
        self.op(Kind::Ok, Action::ReadSet(read(seen)))
    }

    pub(super) fn read_list(&mut self, seen: &[i64]) -> &mut Self {
        self.op(Kind::Ok, Action::ReadList(read(seen)))
    }
}

/// A read of everything.
pub(super) fn read(seen: &[i64]) -> Read {
    let samples = seen.iter().map(|&ts| sample(ts)).collect();
    Read { writer: 1, from_ms: 0, to_ms: 1000, samples, flagged: false }
}
