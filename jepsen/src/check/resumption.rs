//! M3: how long writes stop when a leader dies, and how long queries fail, as clients see it who ask another node when one does not answer.
//!
//! A death is a fault that ends one node's process without a warning while a majority lives. What counts is the longest time from then on,
//! until something else goes wrong, in which no write of a W-append series was acknowledged.

use serde::{Deserialize, Serialize};

use super::limit::Limit;
use super::silences::{Silence, silences};
use super::{Verdict, quantile};
use crate::history::{Action, Event, Mark, Trouble, excused_ns, operations, outages};
use crate::nemesis::Fault;

/// The longest silence of a series after something that spared a majority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumption {
    pub fault: String,
    pub millis: u64,
    /// Partitions that the nodes led.
    pub leads: usize,
}

/// Silences after everything that spared a majority.
pub fn resumptions(events: &[Event]) -> Vec<Resumption> {
    let outages = outages(events);
    let load = || events.iter().take_while(|event| event.action != Action::Mark(Mark::LoadEnds));
    let faults: Vec<(u64, &Trouble)> = load().filter_map(fault_of).collect();
    let mut longest = vec![0; faults.len()];
    for Silence { from_ns, until_ns, .. } in silences(events) {
        let next = faults.partition_point(|&(at, _)| at <= from_ns);
        // The first fault within the silence is its reason, or else the last one before.
        let (fault, from) = match faults.get(next) {
            Some(&(at, _)) if at <= until_ns => (next, at),
            _ if next > 0 => (next - 1, from_ns),
            _ => continue,
        };
        let silence = (until_ns - from).saturating_sub(excused_ns(&outages, &(from..until_ns)));
        longest[fault] = silence.max(longest[fault]);
    }
    let silences = faults.into_iter().zip(longest).filter(|((_, trouble), silence)| !trouble.whole && *silence > 0);
    let resumption = |((_, trouble), silence): ((u64, &Trouble), u64)| Resumption {
        fault: trouble.fault.clone(),
        millis: silence / 1_000_000,
        leads: trouble.leads,
    };
    silences.map(resumption).collect()
}

fn fault_of(event: &Event) -> Option<(u64, &Trouble)> {
    if let Action::Fault(trouble) = &event.action { Some((event.t_ns, trouble)) } else { None }
}

/// Times in which no query was answered, in milliseconds; outages of a majority are left out.
pub fn query_failures(events: &[Event]) -> Vec<u64> {
    let outages = outages(events);
    let ends =
        events.iter().find(|event| event.action == Action::Mark(Mark::LoadEnds)).map_or(u64::MAX, |end| end.t_ns);
    let mut queries: Vec<(u64, u64, bool)> = operations(events, is_query)
        .into_iter()
        .filter_map(|query| Some((query.complete?.t_ns, query.invoke.t_ns, query.ok().is_some())))
        .filter(|&(completed, _, _)| completed < ends)
        .collect();
    queries.sort_unstable();
    let (mut windows, mut since) = (Vec::new(), None);
    for (completed, invoked, answered) in queries {
        if !answered {
            since.get_or_insert(invoked);
        } else if let Some(since) = since.take()
            && !outages.iter().any(|outage| outage.start < completed && since < outage.end)
        {
            windows.push((completed - since) / 1_000_000);
        }
    }
    windows
}

fn is_query(action: &Action) -> bool {
    matches!(action, Action::ReadSet(_) | Action::ReadList(_) | Action::Count(_))
}

impl Resumption {
    fn is_after_death(&self) -> bool {
        Fault::named(&self.fault).is_some_and(Fault::is_death)
    }

    /// Whether nodes died that led something.
    pub fn is_after_leaders_death(&self) -> bool {
        self.is_after_death() && self.leads > 0
    }
}

/// Each death must be over within the limit; without one they are only told. The median is judged over many runs, by `jepsen sum`.
pub fn check(events: &[Event], limit: Option<Limit>) -> Verdict {
    let mut verdict = Verdict::new("M3-resumption");
    let all = resumptions(events);
    let deaths = || all.iter().filter(|one| one.is_after_death());
    let ns = |death: &Resumption| death.millis * 1_000_000;
    for death in deaths() {
        if limit.is_some_and(|limit| limit.is_broken(ns(death))) {
            verdict.violate("late", || format!("{death:?}"));
        }
    }
    if let Some(limit) = limit {
        verdict.limit(limit, deaths().filter(|death| limit.is_beyond_promise(ns(death))).count());
    }
    let mut millis: Vec<u64> = deaths().map(|death| death.millis).collect();
    let led = all.iter().filter(|one| one.is_after_leaders_death());
    let mut led: Vec<u64> = led.map(|death| death.millis).collect();
    verdict.count("deaths", millis.len());
    verdict.count("deaths of leaders", led.len());
    verdict.figure("leader's death to all series written p50 ms", quantile(&mut led, 0.5) as f64);
    verdict.figure("leader's death to all series written p90 ms", quantile(&mut led, 0.9) as f64);
    verdict.figure("leader's death to all series written max ms", quantile(&mut led, 1.0) as f64);
    verdict.figure("death to all series written max ms", quantile(&mut millis, 1.0) as f64);
    let mut windows = query_failures(events);
    verdict.count("windows of failed queries", windows.len());
    verdict.figure("window of failed queries p50 ms", quantile(&mut windows, 0.5) as f64);
    verdict.figure("window of failed queries max ms", quantile(&mut windows, 1.0) as f64);
    verdict
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Script, sample};
    use super::*;
    use std::time::Duration;

    use crate::check::Outcome;
    use crate::history::{Count, Kind, Sample, Trouble};

    fn trouble(fault: &str, whole: bool) -> Trouble {
        Trouble { fault: fault.into(), nodes: Vec::new(), whole, leads: 1 }
    }

    /// Two series acknowledged, then a death, then one is acknowledged again at once and the other late.
    fn death(whole: bool, late_ms: u64) -> Vec<Event> {
        let other = |ts_ms| Sample { series: 2000, ..sample(ts_ms) };
        let mut script = Script::default();
        let ack = |sample| Action::Append([sample].into_iter().collect());
        script.event(0, Kind::Ok, ack(sample(1))).event(1, Kind::Ok, ack(other(1)));
        script.event(2, Kind::Info, Action::Fault(trouble("kill", whole)));
        script.event(0, Kind::Ok, ack(sample(2))).event(1, Kind::Ok, ack(other(2)));
        let times = [1, 2, 1000, 1010, 1000 + late_ms];
        script.events.iter_mut().zip(times).for_each(|(event, ms)| event.t_ns = ms * 1_000_000);
        script.events
    }

    #[test]
    fn a_death_lasts_as_long_as_the_longest_silence() {
        let expected = |millis| Resumption { fault: "kill".into(), millis, leads: 1 };
        assert_eq!(resumptions(&death(false, 3000)), [expected(3000)]);
        assert_eq!(resumptions(&death(true, 3000)), [], "a majority was away");
        let mut events = death(false, 3000);
        // What was on its way is acknowledged, then comes the silence.
        let late = Event { t_ns: 1_001_000_000, ..events[4].clone() };
        events.insert(3, late);
        assert_eq!(resumptions(&events), [expected(2999)]);
    }

    #[test]
    fn a_death_has_its_bound() {
        let limit = |judged| Some(Limit { promised: Duration::from_secs(5), judged: Duration::from_secs(judged) });
        assert_eq!(check(&death(false, 5000), limit(5)).outcome, Outcome::Holds);
        assert_eq!(check(&death(false, 5001), limit(5)).violated("late"), 1);
        let told = check(&death(false, 5001), limit(6));
        assert_eq!((told.outcome, told.figures["beyond the promise"]), (Outcome::Holds, 1.0));
        assert_eq!(check(&death(false, 5001), None).outcome, Outcome::Holds);
    }

    #[test]
    fn queries_fail_until_one_is_answered() {
        let count = || Action::Count(Count::default());
        let mut script = Script::default();
        script.op(Kind::Ok, count()).op(Kind::Info, count()).op(Kind::Info, count()).op(Kind::Ok, count());
        script.events.iter_mut().for_each(|event| event.t_ns *= 1_000_000);
        assert_eq!(query_failures(&script.events), [5]);
        script.event(9, Kind::Info, Action::Fault(trouble("kill-all", true)));
        script.events.rotate_right(1);
        script.events[0].t_ns = 0;
        assert_eq!(query_failures(&script.events), [] as [u64; 0]);
    }
}
