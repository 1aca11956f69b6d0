//! M3: while a majority of nodes lives, a series takes samples again soon, whatever happens to one node.
//!
//! Looks at W-append's writers, each of whom writes to one partition. Outages of a majority are not counted.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Verdict;
use crate::history::{Action, Event, Kind, Mark, excused_ns, outages};

/// Without a bound the longest silence is only told.
pub fn check(events: &[Event], silence_max: Option<Duration>) -> Verdict {
    let mut verdict = Verdict::new("M3-silence");
    let outages = outages(events);
    let mut last_acks: BTreeMap<u32, u64> = BTreeMap::new();
    let mut longest = 0;
    for event in events {
        let series = match &event.action {
            Action::Append(samples) if event.kind == Kind::Ok => samples.iter().next().map(|sample| sample.series),
            Action::Mark(Mark::LoadEnds) => break,
            _ => None,
        };
        let Some(series) = series else { continue };
        let from = last_acks.insert(series, event.t_ns).unwrap_or(event.t_ns);
        let silence = (event.t_ns - from).saturating_sub(excused_ns(&outages, &(from..event.t_ns)));
        longest = longest.max(silence);
        if silence_max.is_some_and(|max| silence > max.as_nanos() as u64) {
            verdict.violate("silent", || {
                format!("series {series} for {:.1} s until {} ns", silence as f64 / 1e9, event.t_ns)
            });
        }
    }
    verdict.count("writers", last_acks.len());
    verdict.figure("longest silence s", longest as f64 / 1e9);
    verdict.unknown_if(last_acks.is_empty());
    verdict
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Script, sample};
    use super::*;
    use crate::check::Outcome;
    use crate::history::Trouble;

    /// Acknowledged at these seconds, with an outage from 10 to 20.
    fn verdict(acks: &[u64], silence_max: Option<Duration>) -> Verdict {
        let trouble = || Trouble { fault: "kill-all".into(), nodes: Vec::new(), whole: true, leads: 0 };
        let mut script = Script::default();
        for _ in acks {
            script.event(0, Kind::Ok, Action::Append([sample(1)].into_iter().collect()));
        }
        script.event(1, Kind::Info, Action::Fault(trouble())).event(1, Kind::Info, Action::Heal(trouble()));
        let times = acks.iter().copied().chain([10, 20]);
        script.events.iter_mut().zip(times).for_each(|(event, second)| event.t_ns = second * 1_000_000_000);
        script.events.sort_by_key(|event| event.t_ns);
        check(&script.events, silence_max)
    }

    #[test]
    fn a_silence_is_as_long_as_somebody_could_have_answered() {
        let five = Some(Duration::from_secs(5));
        assert_eq!(verdict(&[1, 5, 9, 23], five).outcome, Outcome::Holds);
        assert_eq!(verdict(&[1, 7, 9, 23], five).violated("silent"), 1);
        assert_eq!(verdict(&[1, 9, 26], None).figures["longest silence s"], 8.0);
    }
}
