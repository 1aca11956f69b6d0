//! Reads while the run goes on, and the reading of everything at its end.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use futures::future::join_all;

use super::pace::Pace;
use super::{Family, Shared, count_query, read_query};
use crate::client::Reading;
use crate::env::Endpoint;
use crate::history::{About, Action, Count, Kind, Manner, Read, Sample, Samples};

/// How far back a read goes while the run goes on.
const RECENT: Duration = Duration::from_secs(20);
/// How much one of the last reads takes at once.
const SLICE: Duration = Duration::from_secs(60);
/// Samples that come close together are ahead of the clock, by less than this.
const AHEAD_MS: i64 = 5_000;
/// How often a load balancer looks which nodes are ready; a part of the time that a node answers on for it.
const LOOK_PAUSE: Duration = Duration::from_millis(200);
/// The last reads are tried so often.
const LAST_ATTEMPTS_MAX: usize = 20;
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// Reads the newest samples of one writer after the other through any node, and through the next one where there is no answer.
pub async fn read_until_stopped(writers: Vec<(Family, u32)>, rate: f64, mut rng: fastrand::Rng, shared: Shared) {
    let mut pace = Pace::new(rate, shared.stop.clone());
    let mut process = shared.processes.next();
    while !writers.is_empty() && pace.turn().await {
        let (family, writer) = writers[rng.usize(..writers.len())];
        let now_ms = shared.clock.now_ms();
        let (from_ms, to_ms) = (now_ms - shared.clock.of(RECENT), now_ms + AHEAD_MS);
        let wanted = Read { writer, from_ms, to_ms, ..Read::default() };
        let ask = Ask::begin(Manner::Retried, &shared);
        let mut answered = false;
        for endpoint in shared.endpoints_from_any(&mut rng) {
            answered = read(process, family, wanted.clone(), &endpoint, &shared).await;
            if answered {
                break;
            }
            process = shared.processes.next();
        }
        ask.end(answered, &shared);
    }
}

/// A query as its user sees it.
struct Ask {
    process: u32,
    manner: Manner,
}

impl Ask {
    fn begin(manner: Manner, shared: &Shared) -> Self {
        let process = shared.processes.next();
        shared.recorder.record(process, Kind::Invoke, Action::Ask(manner), About::default());
        Self { process, manner }
    }

    fn end(self, answered: bool, shared: &Shared) {
        let kind = if answered { Kind::Ok } else { Kind::Info };
        shared.recorder.record(self.process, kind, Action::Ask(self.manner), About::default());
    }
}

/// Reads all that was ever written from every node; false when a read never had an answer.
pub async fn read_everything(writers: &[(Family, u32)], shared: &Shared) -> bool {
    let end_ms = shared.clock.now_ms() + AHEAD_MS;
    let endpoints = shared.endpoints.borrow().clone();
    let mut complete = true;
    for endpoint in &endpoints {
        for &(family, writer) in writers {
            let mut from_ms = shared.clock.since_ms() - 1;
            while from_ms < end_ms {
                let to_ms = end_ms.min(from_ms + shared.clock.of(SLICE));
                let wanted = Read { writer, from_ms, to_ms, ..Read::default() };
                complete &= read_patiently(family, &wanted, endpoint, shared).await;
                from_ms = to_ms;
            }
        }
    }
    complete
}

async fn read_patiently(family: Family, wanted: &Read, endpoint: &Endpoint, shared: &Shared) -> bool {
    for _ in 0..LAST_ATTEMPTS_MAX {
        if read(shared.processes.next(), family, wanted.clone(), endpoint, shared).await {
            return true;
        }
        tokio::time::sleep(LAST_PAUSE).await;
    }
    false
}

/// One read; false when it has no answer.
async fn read(process: u32, family: Family, wanted: Read, endpoint: &Endpoint, shared: &Shared) -> bool {
    let action = |read: Read| match family {
        Family::Set => Action::ReadSet(read),
        Family::Append => Action::ReadList(read),
    };
    shared.recorder.record(process, Kind::Invoke, action(wanted.clone()), About::node(&endpoint.node));
    let query = read_query(family, wanted.writer, wanted.to_ms - wanted.from_ms);
    let answer = shared.client.query(&endpoint.api, &query, wanted.to_ms).await.and_then(Reading::into_samples);
    let done = answer.is_ok();
    let (kind, read, error) = match answer {
        Ok((samples, flagged)) => (Kind::Ok, Read { samples: in_order(family, samples), flagged, ..wanted }, None),
        Err(error) => (Kind::Info, wanted, Some(error)),
    };
    shared.recorder.record(process, kind, action(read), About { node: Some(&endpoint.node), error });
    done
}

/// Samples as a history has them. Those of a set, as they were sent: so they are runs again.
fn in_order(family: Family, mut samples: Vec<Sample>) -> Samples {
    if family == Family::Set {
        samples.sort_unstable_by_key(|sample| (sample.ts_ms, sample.series));
    }
    samples.into_iter().collect()
}

/// Counts all samples of the set through any node, and through the next one where there is no answer.
pub async fn count_until_stopped(rate: f64, mut rng: fastrand::Rng, shared: Shared) {
    let mut pace = Pace::new(rate, shared.stop.clone());
    let mut process = shared.processes.next();
    while pace.turn().await {
        let ask = Ask::begin(Manner::Retried, &shared);
        let mut answered = false;
        for endpoint in shared.endpoints_from_any(&mut rng) {
            answered = count(process, &endpoint, &shared).await;
            if answered {
                break;
            }
            process = shared.processes.next();
        }
        ask.end(answered, &shared);
    }
}

/// Counts through nodes that were ready when they were looked at last, and through no other: what a load balancer's clients see.
pub async fn count_balanced_until_stopped(rate: f64, rng: fastrand::Rng, shared: Shared) {
    let ready = Mutex::default();
    tokio::select! {
        () = count_balanced(rate, rng, &ready, &shared) => {}
        never = look(&ready, &shared) => match never {},
    }
}

async fn count_balanced(rate: f64, mut rng: fastrand::Rng, ready: &Ready, shared: &Shared) {
    let mut pace = Pace::new(rate, shared.stop.clone());
    let mut process = shared.processes.next();
    while pace.turn().await {
        let mut endpoints = shared.endpoints.borrow().clone();
        endpoints.retain(|endpoint| lock(ready).contains(&endpoint.node));
        if endpoints.is_empty() {
            continue;
        }
        let endpoint = endpoints.swap_remove(rng.usize(..endpoints.len()));
        let ask = Ask::begin(Manner::Balanced, shared);
        let answered = count(process, &endpoint, shared).await;
        ask.end(answered, shared);
        if !answered {
            process = shared.processes.next();
        }
    }
}

/// Looks over and over which nodes are ready.
async fn look(ready: &Ready, shared: &Shared) -> Infallible {
    loop {
        let endpoints = shared.endpoints.borrow().clone();
        join_all(endpoints.iter().map(|endpoint| look_at(endpoint, ready, shared))).await;
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

async fn look_at(endpoint: &Endpoint, ready: &Ready, shared: &Shared) {
    let is_ready = shared.client.ready(&endpoint.api).await;
    let mut ready = lock(ready);
    if is_ready {
        ready.insert(endpoint.node.clone());
    } else {
        ready.remove(&endpoint.node);
    }
}

/// Names of nodes.
type Ready = Mutex<BTreeSet<String>>;

fn lock(ready: &Ready) -> MutexGuard<'_, BTreeSet<String>> {
    ready.lock().expect("nobody panics while holding it")
}

/// One count; false when it has no answer.
async fn count(process: u32, endpoint: &Endpoint, shared: &Shared) -> bool {
    let invoked = Action::Count(Count::default());
    shared.recorder.record(process, Kind::Invoke, invoked.clone(), About::node(&endpoint.node));
    let to_ms = shared.clock.now_ms() + AHEAD_MS;
    let query = count_query(to_ms - shared.clock.since_ms() + 1);
    let answer = shared.client.query(&endpoint.api, &query, to_ms).await.and_then(Reading::into_count);
    let done = answer.is_ok();
    let (kind, action, error) = match answer {
        Ok((count, flagged)) => (Kind::Ok, Action::Count(Count { count: Some(count), flagged }), None),
        Err(error) => (Kind::Info, invoked, Some(error)),
    };
    shared.recorder.record(process, kind, action, About { node: Some(&endpoint.node), error });
    done
}
