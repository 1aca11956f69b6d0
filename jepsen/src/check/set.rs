//! W-set: no acknowledged sample is lost, none is stale, none is made up, none comes twice. Promises W1 to W4 and Q2.
//!
//! - lost: acknowledged, and the last read that should have it has not.
//! - stale: acknowledged, missing in a read begun later, and back in a later one.
//! - phantom: read, but never sent, or with another value, or before it was sent.
//! - duplicate: twice in one answer.

use super::elements::{DoneRead, Elements, reads};
use super::{Verdict, quantile};
use crate::history::{Action, Event, Read, Samples};

/// What reads say about one element.
#[derive(Clone, Copy, Debug, Default)]
struct Sightings {
    /// Invocation of the last read that has it.
    present_ns: Option<u64>,
    /// Invocation of the last read that began after the acknowledgement and has it not.
    absent_ns: Option<u64>,
    /// Number of the last read that has it, from 1 on.
    last_read: usize,
}

pub fn check(events: &[Event]) -> Verdict {
    let mut verdict = Verdict::new("W-set");
    let elements = Elements::of(events, samples_of);
    let reads = reads(events, read_of);
    let mut sightings = vec![Sightings::default(); elements.all.len()];
    for (number, read) in reads.iter().enumerate() {
        see(&elements, read, number + 1, &mut sightings, &mut verdict);
    }
    judge(&elements, &sightings, &mut verdict);
    verdict.count("reads", reads.len());
    verdict.unknown_if(reads.is_empty());
    verdict
}

fn samples_of(action: &Action) -> Option<&Samples> {
    if let Action::Add(samples) = action { Some(samples) } else { None }
}

fn read_of(action: &Action) -> Option<&Read> {
    if let Action::ReadSet(read) = action { Some(read) } else { None }
}

fn see(elements: &Elements, done: &DoneRead<'_>, number: usize, sightings: &mut [Sightings], verdict: &mut Verdict) {
    for sample in done.read.samples.iter() {
        let Some(at) = elements.find(sample, done.completed_ns) else {
            verdict.violate("phantom", || format!("{sample:?} read from {} at {} ns", done.node, done.completed_ns));
            continue;
        };
        if sightings[at].last_read == number {
            verdict.violate("duplicate", || format!("{sample:?} twice from {} at {} ns", done.node, done.completed_ns));
        }
        let before = sightings[at].present_ns;
        sightings[at] = Sightings { present_ns: before.max(Some(done.invoked_ns)), last_read: number, ..sightings[at] };
    }
    if done.read.flagged {
        return;
    }
    for at in elements.within(done.read) {
        let acked = elements.all[at].acked_ns.is_some_and(|acked| acked < done.invoked_ns);
        if acked && sightings[at].last_read != number {
            sightings[at].absent_ns = sightings[at].absent_ns.max(Some(done.invoked_ns));
        }
    }
}

fn judge(elements: &Elements, sightings: &[Sightings], verdict: &mut Verdict) {
    let (mut acked, mut unread, mut recovered, mut unacked) = (0, 0, 0, 0);
    let mut latencies = Vec::new();
    for (element, seen) in elements.all.iter().zip(sightings) {
        let Some(acked_ns) = element.acked_ns else {
            unacked += usize::from(!element.failed);
            recovered += usize::from(seen.present_ns.is_some());
            if element.failed && seen.present_ns.is_some() {
                verdict.violate("phantom", || format!("{:?} was never taken, and is there", element.sample));
            }
            continue;
        };
        acked += 1;
        match (seen.present_ns, seen.absent_ns) {
            (None, None) => unread += 1,
            (present, Some(absent)) if present < Some(absent) => verdict.violate("lost", || {
                format!("{:?} acknowledged at {acked_ns} ns, last missed at {absent} ns", element.sample)
            }),
            (_, absent) => {
                let latency = absent.map_or(0, |absent| absent - acked_ns);
                latencies.push(latency / 1000);
                if latency > 0 {
                    verdict.violate("stale", || format!("{:?} missed {latency} ns after its ack", element.sample));
                }
            }
        }
    }
    verdict.count("attempted", elements.all.len());
    verdict.count("acked", acked);
    verdict.count("unknown outcome", unacked);
    verdict.count("unknown outcome, found later", recovered);
    verdict.count("acked, never read", unread);
    for kind in ["lost", "stale", "phantom", "duplicate"] {
        verdict.count(kind, verdict.violated(kind));
    }
    verdict.figure("ack to visible p50 us", quantile(&mut latencies, 0.5) as f64);
    verdict.figure("ack to visible max us", quantile(&mut latencies, 1.0) as f64);
    verdict.unknown_if(acked == 0 || unread > 0);
}

#[cfg(test)]
mod tests;
