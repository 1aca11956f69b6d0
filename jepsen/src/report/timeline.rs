//! A history second by second.

use std::collections::HashMap;

use crate::check::quantile;
use crate::history::{Action, Event, Kind};

const SECOND_NS: u64 = 1_000_000_000;

/// One second of clients' work.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Second {
    /// Samples.
    pub acked: u64,
    /// Operations.
    pub failed: u64,
    pub unknown: u64,
    /// Of acknowledged writes, in milliseconds; `None` without any.
    pub write_ms: Option<Latency>,
    pub read_ms: Option<Latency>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Latency {
    pub p50: f64,
    pub p99: f64,
}

/// When something was wrong, in seconds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Band {
    pub name: String,
    pub from: f64,
    pub until: f64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Timeline {
    pub seconds: Vec<Second>,
    pub bands: Vec<Band>,
}

#[derive(Clone, Debug, Default)]
struct Micros {
    writes: Vec<u64>,
    reads: Vec<u64>,
}

impl Timeline {
    pub(super) fn new(events: &[Event]) -> Self {
        let length = events.last().map_or(0, |event| (event.t_ns / SECOND_NS) as usize + 1);
        let mut timeline = Self { seconds: vec![Second::default(); length], bands: Vec::new() };
        let mut micros = vec![Micros::default(); length];
        let mut invoked: HashMap<u32, u64> = HashMap::new();
        for event in events {
            let at = (event.t_ns / SECOND_NS) as usize;
            let work = match &event.action {
                Action::Add(samples) | Action::Append(samples) => samples.len() as u64,
                Action::ReadSet(_) | Action::ReadList(_) | Action::Count(_) | Action::Register(_) => 0,
                action => {
                    timeline.note_trouble(action, event.t_ns as f64 / 1e9);
                    continue;
                }
            };
            if event.kind == Kind::Invoke {
                invoked.insert(event.process, event.t_ns);
                continue;
            }
            let second = &mut timeline.seconds[at];
            let took_us = (event.t_ns - invoked.remove(&event.process).unwrap_or(event.t_ns)) / 1000;
            match event.kind {
                Kind::Ok if work > 0 => {
                    second.acked += work;
                    micros[at].writes.push(took_us);
                }
                Kind::Ok => micros[at].reads.push(took_us),
                Kind::Fail => second.failed += 1,
                Kind::Info | Kind::Invoke => second.unknown += 1,
            }
        }
        for (second, mut micros) in timeline.seconds.iter_mut().zip(micros) {
            second.write_ms = latency(&mut micros.writes);
            second.read_ms = latency(&mut micros.reads);
        }
        timeline
    }

    fn note_trouble(&mut self, action: &Action, at: f64) {
        match action {
            Action::Fault(trouble) => {
                let name = format!("{} {}", trouble.fault, trouble.nodes.join(" "));
                self.bands.push(Band { name, from: at, until: at });
            }
            Action::Heal(_) => self.bands.iter_mut().last().into_iter().for_each(|band| band.until = at),
            _ => {}
        }
    }

    /// The longest time without an acknowledged write, among whole seconds.
    pub(super) fn longest_silence(&self) -> usize {
        self.seconds.split(|second| second.acked > 0).map(<[_]>::len).max().unwrap_or(0)
    }
}

fn latency(micros: &mut [u64]) -> Option<Latency> {
    if micros.is_empty() {
        return None;
    }
    Some(Latency { p50: quantile(micros, 0.5) as f64 / 1e3, p99: quantile(micros, 0.99) as f64 / 1e3 })
}
