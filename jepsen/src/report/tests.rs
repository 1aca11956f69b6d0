use super::*;
use crate::check::limit::TimeBounds;
use crate::history::{Action, Sample, Trouble};
use crate::run::judge;

fn facts() -> Facts {
    Facts {
        seed: 7,
        command: "jepsen run --flag='<x>'".into(),
        nodes: 1,
        scrape_interval_seconds: 2,
        bound: false,
        time_bounds: TimeBounds::Strict,
        faults: BTreeMap::from([("kill".into(), 1)]),
        coverage: BTreeMap::from([("checkpoints".into(), 12.0)]),
        skipped: BTreeMap::from([("loss".into(), "needs 2 nodes".into())]),
        crashes: Vec::new(),
        alarms: Vec::new(),
        broken: None,
    }
}

fn event(kind: Kind, action: Action, t_ms: u64) -> Event {
    Event { process: 1, kind, action, t_ns: t_ms * 1_000_000, node: None, error: None }
}

fn events() -> Vec<Event> {
    let add = |ts_ms| Action::Add([Sample { series: 0, ts_ms, value: ts_ms }].into_iter().collect());
    let trouble = || Trouble { fault: "kill".into(), nodes: vec!["n1".into()], whole: true, leads: 0 };
    vec![
        event(Kind::Invoke, add(1), 100),
        event(Kind::Ok, add(1), 110),
        event(Kind::Info, Action::Fault(trouble()), 1000),
        event(Kind::Invoke, add(2), 1100),
        event(Kind::Info, add(2), 2500),
        event(Kind::Info, Action::Heal(trouble()), 3000),
        event(Kind::Invoke, add(3), 3100),
        event(Kind::Ok, add(3), 3140),
    ]
}

#[test]
fn a_second_has_its_work_and_its_times() {
    let timeline = Timeline::new(&events());
    assert_eq!(timeline.seconds.iter().map(|second| second.acked).collect::<Vec<_>>(), [1, 0, 0, 1]);
    assert_eq!(timeline.seconds[2].unknown, 1);
    assert_eq!(timeline.seconds[3].write_ms.map(|latency| latency.p50), Some(40.0));
    assert_eq!((timeline.bands[0].from, timeline.bands[0].until), (1.0, 3.0));
    assert_eq!(timeline.longest_silence(), 2);
}

#[test]
fn ends_are_counted_for_each_kind_of_operation() {
    let report = Report::new(facts(), &events(), judge);
    assert_eq!(report.operations, BTreeMap::from([("add".into(), Ends { ok: 2, fail: 0, info: 1 })]));
    assert!(!report.holds(), "nothing was read");
}

#[test]
fn the_page_says_all_and_is_well_escaped() {
    let events = events();
    let page = page::page(&Report::new(facts(), &events, judge), &Timeline::new(&events));
    for part in [
        "<code>7</code>",
        "--flag='&lt;x&gt;'",
        "W-set",
        "skipped: needs 2 nodes",
        "<svg",
        "kill n1",
        "checkpoints<td>12",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
}
