//! When a series of W-append was not written, though somebody tried.

use std::collections::BTreeMap;

use crate::history::{Action, Event, Kind, Mark};

/// Between two acknowledgements of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Silence {
    pub series: u32,
    pub from_ns: u64,
    pub until_ns: u64,
}

/// All of them in order of their ends. The first begins with the first attempt. Where no acknowledgement came any more before all was
/// healed, the last one lasts until then.
pub(super) fn silences(events: &[Event]) -> Vec<Silence> {
    let mut silences = Vec::new();
    let mut last_acks: BTreeMap<u32, u64> = BTreeMap::new();
    let mut healed = None;
    for event in events {
        match &event.action {
            Action::Append(samples) => {
                let Some(series) = samples.iter().next().map(|sample| sample.series) else { continue };
                if event.kind == Kind::Ok {
                    let from = last_acks.insert(series, event.t_ns);
                    silences.extend(from.map(|from_ns| Silence { series, from_ns, until_ns: event.t_ns }));
                } else if event.kind == Kind::Invoke {
                    last_acks.entry(series).or_insert(event.t_ns);
                }
            }
            Action::Mark(Mark::Healed) => healed = Some(event.t_ns),
            Action::Mark(Mark::LoadEnds) => break,
            _ => {}
        }
    }
    if let Some(until_ns) = healed {
        let silent = last_acks.into_iter().filter(|&(_, from)| from < until_ns);
        silences.extend(silent.map(|(series, from_ns)| Silence { series, from_ns, until_ns }));
        silences.sort_by_key(|silence| silence.until_ns);
    }
    silences
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Script, sample};
    use super::*;
    use crate::history::Sample;

    #[test]
    fn a_series_that_is_never_written_again_is_silent_until_all_is_healed() {
        let other = Sample { series: 2000, ..sample(1) };
        let mut script = Script::default();
        script.append(1, Kind::Ok).append(2, Kind::Ok);
        script.op(Kind::Info, Action::Append([other].into_iter().collect()));
        script.append(3, Kind::Info);
        script.event(9, Kind::Info, Action::Mark(Mark::Healed));
        let silence = |series, from_ns, until_ns| Silence { series, from_ns, until_ns };
        let own = sample(1).series;
        assert_eq!(silences(&script.events[..4]), [silence(own, 1, 2), silence(own, 2, 4)]);
        let all = [silence(own, 1, 2), silence(own, 2, 4), silence(own, 4, 9), silence(2000, 5, 9)];
        assert_eq!(silences(&script.events), all);
        script.event(9, Kind::Info, Action::Mark(Mark::LoadEnds)).append(4, Kind::Ok);
        assert_eq!(silences(&script.events), all, "what comes after the load is not looked at");
    }
}
