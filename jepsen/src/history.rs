//! What clients did and saw, one event a line, in Jepsen's shape.
//!
//! A timeout is [`Kind::Info`]: it may have happened. A process whose operation ended so goes on under a new number, so a process has
//! one operation at a time.

mod recorder;
mod samples;

pub use recorder::{About, Recorder, read};
pub use samples::Samples;

use std::collections::HashMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Where an event stands in its operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Invoke,
    /// Certainly happened.
    Ok,
    /// Certainly did not happen.
    Fail,
    /// May or may not have happened.
    Info,
}

/// One line of a history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub process: u32,
    #[serde(rename = "type")]
    pub kind: Kind,
    #[serde(flatten)]
    pub action: Action,
    /// Since the start of the run, on one monotonic clock.
    pub t_ns: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "f", content = "value", rename_all = "kebab-case")]
pub enum Action {
    /// W-set: one request of samples that are sent in no other.
    Add(Samples),
    /// W-set: what one writer's series hold.
    ReadSet(Read),
    /// W-append: the next samples of a writer's one series; values count up by one.
    Append(Samples),
    /// W-append: what one writer's series holds.
    ReadList(Read),
    /// Q-partial: how many samples of W-set there are.
    Count(Count),
    /// R-ends: a query as its user sees it, whichever nodes it takes.
    Ask(Manner),
    /// M-reg.
    Register(RegisterOp),
    /// M-lease: who leads what by the event's node, as far as it says something new.
    Claims(Vec<Claim>),
    /// S-scrape: a target was scraped by the event's node.
    Scrape(Scrape),
    /// R-ends: the event's node was told to end, and did.
    Farewell(Farewell),
    /// Something begins to go wrong.
    Fault(Trouble),
    /// It is over, and all nodes are ready again.
    Heal(Trouble),
    /// A border in the run.
    Mark(Mark),
}

impl Action {
    /// What a history calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Add(_) => "add",
            Self::ReadSet(_) => "read-set",
            Self::Append(_) => "append",
            Self::ReadList(_) => "read-list",
            Self::Count(_) => "count",
            Self::Register(_) => "register",
            Self::Claims(_) => "claims",
            Self::Scrape(_) => "scrape",
            Self::Ask(_) => "ask",
            Self::Farewell(_) => "farewell",
            Self::Fault(_) => "fault",
            Self::Heal(_) => "heal",
            Self::Mark(_) => "mark",
        }
    }
}

/// What goes wrong where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    pub fault: String,
    pub nodes: Vec<String>,
    /// Whether the nodes that are spared are no majority.
    pub whole: bool,
    /// Partitions that the nodes led when it began, as far as others told.
    #[serde(default)]
    pub leads: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// All nodes are ready, clients begin.
    LoadBegins,
    /// Faults are over and healed.
    Healed,
    /// Clients have ended; the last reads follow.
    LoadEnds,
}

/// A sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sample {
    pub series: u32,
    pub ts_ms: i64,
    pub value: i64,
}

/// Samples of one writer with `from_ms < ts <= to_ms`. An invocation has none yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    pub writer: u32,
    pub from_ms: i64,
    pub to_ms: i64,
    /// Of a list in the answer's order; of a set by time and series, as they were sent.
    pub samples: Samples,
    /// Whether the answer says itself that it may be incomplete.
    pub flagged: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    pub count: Option<u64>,
    pub flagged: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterOp {
    pub key: String,
    pub call: RegisterCall,
}

/// A register holds nothing at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegisterCall {
    /// What was read; nothing in an invocation.
    Read(Option<u64>),
    Write(u64),
    /// `swapped` is the answer.
    Cas {
        from: Option<u64>,
        to: u64,
        swapped: bool,
    },
}

/// A node says who leads a partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Claim {
    pub partition: u16,
    pub term: u64,
    pub leader: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scrape {
    pub target: String,
}

/// Whom a query is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Manner {
    /// One node after the other, until one answers.
    Retried,
    /// One node, that was ready when it was looked at last, as by a load balancer.
    Balanced,
}

/// What a node that was told to end said on `/-/ready`, in milliseconds since then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Farewell {
    /// When it last said that it is ready.
    pub ready_ms: Option<u64>,
    /// When it first and last said that it is not.
    pub unready_ms: Option<(u64, u64)>,
    /// It said that it is ready after it had said that it is not.
    pub ready_again: bool,
    pub ended_ms: u64,
}

impl Farewell {
    /// It said so.
    pub fn note(&mut self, ready: bool, ms: u64) {
        if ready {
            self.ready_again |= self.unready_ms.is_some();
            self.ready_ms = Some(ms);
        } else {
            self.unready_ms = Some((self.unready_ms.map_or(ms, |(first, _)| first), ms));
        }
    }
}

/// An invocation with what became of it.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'a> {
    pub invoke: &'a Event,
    /// `None` when the run ended before.
    pub complete: Option<&'a Event>,
}

impl<'a> Operation<'a> {
    /// The completion, if it certainly happened.
    pub fn ok(&self) -> Option<&'a Event> {
        self.complete.filter(|event| event.kind == Kind::Ok)
    }

    pub fn failed(&self) -> bool {
        self.complete.is_some_and(|event| event.kind == Kind::Fail)
    }
}

/// Invocations of actions that `keep` accepts, in order, each with its completion.
pub fn operations(events: &[Event], keep: impl Fn(&Action) -> bool) -> Vec<Operation<'_>> {
    let mut operations: Vec<Operation<'_>> = Vec::new();
    let mut open: HashMap<u32, usize> = HashMap::new();
    for event in events.iter().filter(|event| keep(&event.action)) {
        if event.kind == Kind::Invoke {
            open.insert(event.process, operations.len());
            operations.push(Operation { invoke: event, complete: None });
        } else if let Some(at) = open.remove(&event.process) {
            operations[at].complete = Some(event);
        }
    }
    operations
}

/// When a majority of nodes was away or coming back, in nanoseconds.
pub fn outages(events: &[Event]) -> Vec<Range<u64>> {
    let (mut outages, mut open) = (Vec::new(), None);
    for event in events {
        match &event.action {
            Action::Fault(trouble) if trouble.whole => open = Some(event.t_ns),
            Action::Heal(trouble) if trouble.whole => outages.extend(open.take().map(|from| from..event.t_ns)),
            _ => {}
        }
    }
    let last = events.last().map_or(0, |event| event.t_ns);
    outages.extend(open.map(|from| from..last));
    outages
}

/// How much of a time lies in outages.
pub fn excused_ns(outages: &[Range<u64>], time: &Range<u64>) -> u64 {
    outages.iter().map(|outage| outage.end.min(time.end).saturating_sub(outage.start.max(time.start))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outages_last_until_healed_or_the_end() {
        let event = |t_ns, action| Event { process: 0, kind: Kind::Info, action, t_ns, node: None, error: None };
        let trouble = |whole| Trouble { fault: "kill".into(), nodes: Vec::new(), whole, leads: 0 };
        let events = [
            event(1, Action::Fault(trouble(true))),
            event(4, Action::Heal(trouble(true))),
            event(5, Action::Fault(trouble(false))),
            event(6, Action::Heal(trouble(false))),
            event(7, Action::Fault(trouble(true))),
            event(9, Action::Mark(Mark::LoadEnds)),
        ];
        assert_eq!(outages(&events), [1..4, 7..9]);
        assert_eq!(excused_ns(&outages(&events), &(2..8)), 3);
    }

    #[test]
    fn an_event_is_one_line_in_jepsens_shape() {
        let event = Event {
            process: 3,
            kind: Kind::Ok,
            action: Action::Add([Sample { series: 1, ts_ms: 2, value: 3 }].into_iter().collect()),
            t_ns: 4,
            node: Some("n1".into()),
            error: None,
        };
        let line = serde_json::to_string(&event).unwrap();
        assert_eq!(line, r#"{"process":3,"type":"ok","f":"add","value":[[1,2,3]],"t_ns":4,"node":"n1"}"#);
        assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event);
    }

    #[test]
    fn completions_are_paired_by_process() {
        let event = |process, kind| Event {
            process,
            kind,
            action: Action::Count(Count::default()),
            t_ns: 0,
            node: None,
            error: None,
        };
        let events = [event(1, Kind::Invoke), event(2, Kind::Invoke), event(2, Kind::Fail), event(3, Kind::Invoke)];
        let paired = operations(&events, |_| true);
        assert_eq!(paired.iter().map(Operation::failed).collect::<Vec<_>>(), [false, true, false]);
        assert!(paired[0].complete.is_none());
    }
}
