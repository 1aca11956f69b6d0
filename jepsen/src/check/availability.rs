//! M3: while a majority of nodes lives, a series takes samples again soon, whatever happens to one node.
//!
//! Looks at W-append's writers, each of whom writes to one partition. Outages of a majority are not counted.

use std::collections::BTreeSet;

use super::Verdict;
use super::limit::Limit;
use super::silences::silences;
use crate::history::{Event, excused_ns, outages};

/// Without a limit the longest silence is only told.
pub fn check(events: &[Event], limit: Option<Limit>) -> Verdict {
    let mut verdict = Verdict::new("M3-silence");
    let (outages, all) = (outages(events), silences(events));
    let (mut longest, mut beyond) = (0, 0);
    for silence in &all {
        let excused = excused_ns(&outages, &(silence.from_ns..silence.until_ns));
        let ns = (silence.until_ns - silence.from_ns).saturating_sub(excused);
        longest = longest.max(ns);
        beyond += usize::from(limit.is_some_and(|limit| limit.is_beyond_promise(ns)));
        if limit.is_some_and(|limit| limit.is_broken(ns)) {
            verdict.violate("silent", || {
                format!("series {} for {:.1} s until {} ns", silence.series, ns as f64 / 1e9, silence.until_ns)
            });
        }
    }
    let writers: BTreeSet<u32> = all.iter().map(|silence| silence.series).collect();
    verdict.count("writers", writers.len());
    verdict.figure("longest silence s", longest as f64 / 1e9);
    if let Some(limit) = limit {
        verdict.limit(limit, beyond);
    }
    verdict.unknown_if(writers.is_empty());
    verdict
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Script, sample};
    use super::*;
    use std::time::Duration;

    use crate::check::Outcome;
    use crate::history::{Action, Kind, Trouble};

    /// Acknowledged at these seconds, with an outage from 10 to 20.
    fn verdict(acks: &[u64], limit: Option<Limit>) -> Verdict {
        let trouble = || Trouble { fault: "kill-all".into(), nodes: Vec::new(), whole: true, leads: 0 };
        let mut script = Script::default();
        for _ in acks {
            script.event(0, Kind::Ok, Action::Append([sample(1)].into_iter().collect()));
        }
        script.event(1, Kind::Info, Action::Fault(trouble())).event(1, Kind::Info, Action::Heal(trouble()));
        let times = acks.iter().copied().chain([10, 20]);
        script.events.iter_mut().zip(times).for_each(|(event, second)| event.t_ns = second * 1_000_000_000);
        script.events.sort_by_key(|event| event.t_ns);
        check(&script.events, limit)
    }

    #[test]
    fn a_silence_is_as_long_as_somebody_could_have_answered() {
        let judged = |judged| Some(Limit { promised: Duration::from_secs(5), judged: Duration::from_secs(judged) });
        assert_eq!(verdict(&[1, 5, 9, 23], judged(5)).outcome, Outcome::Holds);
        assert_eq!(verdict(&[1, 7, 9, 23], judged(5)).violated("silent"), 1);
        let told = verdict(&[1, 7, 9, 23], judged(6));
        assert_eq!((told.outcome, told.figures["beyond the promise"]), (Outcome::Holds, 1.0));
        assert_eq!(verdict(&[1, 9, 26], None).figures["longest silence s"], 8.0);
    }
}
