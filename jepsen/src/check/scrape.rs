//! S-scrape: a target is scraped in every interval, and by one node but for a while. Promise W5.
//!
//! - missed: the time between two scrapes is longer than allowed, outages of a majority not counted.
//! - double: two nodes scrape a target for longer than a handover takes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use super::Verdict;
use super::limit::Limit;
use crate::history::{Action, Event, Kind, excused_ns};

/// What is allowed.
#[derive(Clone, Debug)]
pub struct Bounds {
    pub interval: Duration,
    /// Beyond one missed scrape; and two nodes may scrape for so long beyond a hand-over.
    pub failover: Limit,
    /// When nobody could scrape, and the whole time that is looked at.
    pub outages_ns: Vec<Range<u64>>,
    pub observed_ns: Range<u64>,
}

impl Bounds {
    fn gap(&self) -> Limit {
        self.failover.and(2 * self.interval)
    }

    /// Intervals in a row in which two nodes scrape. They do so for one interval at most, which touches two.
    fn doubles_max(&self) -> u128 {
        2 + (self.failover.judged - self.failover.promised).as_nanos() / self.interval.as_nanos()
    }
}

pub fn check(events: &[Event], bounds: &Bounds) -> Verdict {
    let mut verdict = Verdict::new("S-scrape");
    let mut targets: BTreeMap<&str, Vec<(u64, &str)>> = BTreeMap::new();
    for event in events.iter().filter(|event| event.kind == Kind::Ok) {
        if let Action::Scrape(scrape) = &event.action {
            let node = event.node.as_deref().unwrap_or("?");
            targets.entry(&scrape.target).or_default().push((event.t_ns, node));
        }
    }
    let (mut longest, mut beyond) = (0, 0);
    for (target, scrapes) in &targets {
        for gap in check_gaps(target, scrapes, bounds, &mut verdict) {
            longest = longest.max(gap);
            beyond += usize::from(bounds.gap().is_beyond_promise(gap));
        }
        check_doubles(target, scrapes, bounds, &mut verdict);
    }
    verdict.limit(bounds.gap(), beyond);
    verdict.count("targets", targets.len());
    verdict.count("scrapes", targets.values().map(Vec::len).sum());
    verdict.figure("longest gap s", longest as f64 / 1e9);
    verdict.unknown_if(targets.is_empty());
    verdict
}

/// All gaps, outages not counted.
fn check_gaps(target: &str, scrapes: &[(u64, &str)], bounds: &Bounds, verdict: &mut Verdict) -> Vec<u64> {
    let observed = &bounds.observed_ns;
    let within = scrapes.iter().map(|(at, _)| *at).filter(|at| observed.contains(at));
    let times: Vec<u64> = std::iter::once(observed.start).chain(within).chain([observed.end]).collect();
    let gap_between = |pair: &[u64]| {
        let gap = (pair[1] - pair[0]).saturating_sub(excused_ns(&bounds.outages_ns, &(pair[0]..pair[1])));
        if bounds.gap().is_broken(gap) {
            verdict.violate("missed", || format!("{target} for {:.1} s until {} ns", gap as f64 / 1e9, pair[1]));
        }
        gap
    };
    times.windows(2).map(gap_between).collect()
}

fn check_doubles(target: &str, scrapes: &[(u64, &str)], bounds: &Bounds, verdict: &mut Verdict) {
    let mut buckets: BTreeMap<u64, BTreeSet<&str>> = BTreeMap::new();
    for &(at, node) in scrapes {
        buckets.entry(at / bounds.interval.as_nanos() as u64).or_default().insert(node);
    }
    let mut run = (0, 0);
    for (&bucket, nodes) in &buckets {
        if nodes.len() < 2 {
            continue;
        }
        run = if run.0 + 1 == bucket { (bucket, run.1 + 1) } else { (bucket, 1) };
        if run.1 as u128 == bounds.doubles_max() + 1 {
            verdict.violate("double", || format!("{target} by {nodes:?} in interval {bucket} and those before"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Outcome;
    use crate::history::Scrape;

    const S: u64 = 1_000_000_000;

    fn verdict(scrapes: &[(u64, &str)], outages_ns: Vec<Range<u64>>) -> Verdict {
        judged(scrapes, outages_ns, Duration::from_secs(10))
    }

    fn judged(scrapes: &[(u64, &str)], outages_ns: Vec<Range<u64>>, judged: Duration) -> Verdict {
        let event = |&(at, node): &(u64, &str)| Event {
            process: 0,
            kind: Kind::Ok,
            action: Action::Scrape(Scrape { target: "t".into() }),
            t_ns: at * S,
            node: Some(node.into()),
            error: None,
        };
        let bounds = Bounds {
            interval: Duration::from_secs(10),
            failover: Limit { promised: Duration::from_secs(10), judged },
            outages_ns,
            observed_ns: 0..100 * S,
        };
        check(&scrapes.iter().map(event).collect::<Vec<_>>(), &bounds)
    }

    #[test]
    fn a_scrape_in_every_interval_holds() {
        let found = verdict(&[(5, "a"), (15, "a"), (25, "a"), (55, "b"), (65, "b"), (75, "b"), (95, "b")], vec![]);
        assert_eq!((found.outcome, found.figures["longest gap s"]), (Outcome::Holds, 30.0), "{found:?}");
    }

    #[test]
    fn a_gap_beyond_one_scrape_and_the_failover_is_missed() {
        let scrapes = [(5, "a"), (36, "b"), (66, "b"), (96, "b")];
        assert_eq!(verdict(&scrapes, vec![]).violated("missed"), 1);
        assert_eq!(verdict(&scrapes, std::iter::once(10 * S..12 * S).collect()).outcome, Outcome::Holds);
    }

    #[test]
    fn a_target_that_is_never_scraped_again_is_missed() {
        assert_eq!(verdict(&[(5, "a")], vec![]).violated("missed"), 1);
        let told = judged(&[(5, "a")], vec![], Duration::from_secs(80));
        assert_eq!((told.outcome, told.figures["beyond the promise"]), (Outcome::Holds, 1.0));
    }

    #[test]
    fn two_scrapers_for_a_while_are_a_handover_and_then_double() {
        let both =
            |from: u64, count: u64| (0..count).flat_map(move |i| [(from + 10 * i, "a"), (from + 1 + 10 * i, "b")]);
        let handover: Vec<_> = both(0, 2).chain((2..10).map(|i| (10 * i, "b"))).collect();
        assert_eq!(verdict(&handover, vec![]).outcome, Outcome::Holds);
        let lasting: Vec<_> = both(0, 10).collect();
        assert_eq!(verdict(&lasting, vec![]).violated("double"), 1);
        assert_eq!(judged(&lasting, vec![], Duration::from_secs(80)).violated("double"), 1);
        assert_eq!(judged(&lasting, vec![], Duration::from_secs(90)).violated("double"), 0);
    }
}
