//! Appends, truncations and purges across reopening; group commit; segments.

use super::*;
use crate::log::entry::{HardState, Vote};
use crate::log::segment;

#[test]
fn everything_acknowledged_is_there_after_the_power_went() {
    let sim = Sim::new();
    let (log, _) = open(&sim);
    let first = group(&log, 1);
    append_commands(&first, 0..20, 100);
    let vote = Vote { term: 3, node: 7, committed: true };
    Pending::of(|done| first.save_vote(vote, done)).wait().unwrap();
    let second = group(&log, 2);
    append_commands(&second, 0..5, 3000);
    Pending::of(|done| second.truncate(3, done)).wait().unwrap();

    for seed in 0..20 {
        let (log, report) = open(&sim.reboot(seed));
        assert_eq!(report, RecoveryReport { segments: 1, records: 27, ..RecoveryReport::default() });
        assert_eq!(indexes(&group(&log, 1)), (0..20).collect::<Vec<_>>());
        assert_eq!(group(&log, 1).hard_state().vote, Some(vote));
        assert_eq!(indexes(&group(&log, 2)), [0, 1, 2]);
        let read = group(&log, 2).read(1, 2).unwrap();
        assert_eq!(read, [command_entry(1, &[1; 3000])]);
    }
}

#[test]
fn waiting_appends_of_all_groups_share_one_sync() {
    let sim = Sim::new();
    let (log, _) = open(&sim);
    let groups: Vec<_> = (0..50).map(|id| group(&log, id)).collect();
    sim.hold_syncs(true);
    // The writer takes this one and waits in its sync, so all others meet in the queue.
    let held = append(&groups[0], vec![command_entry(0, b"first")]);
    while log.shared.metrics.queued_requests.get() > 0 {
        std::thread::yield_now();
    }
    let before = sim.syncs();
    let waiting: Vec<_> = groups[1..].iter().map(|group| append(group, vec![command_entry(0, b"x")])).collect();
    sim.hold_syncs(false);
    held.wait().unwrap();
    for pending in waiting {
        pending.wait().unwrap();
    }
    let spare_prepared = 1;
    assert!(sim.syncs() - before <= 2 + spare_prepared, "{} syncs for 50 appends", sim.syncs() - before);
}

#[test]
fn an_append_is_not_acknowledged_before_its_sync() {
    let sim = Sim::new();
    let (log, _) = open(&sim);
    sim.hold_syncs(true);
    let held = append(&group(&log, 1), vec![command_entry(0, b"x")]);
    while log.shared.metrics.queued_requests.get() > 0 {
        std::thread::yield_now();
    }
    assert!(held.is_open());
    assert_eq!(indexes(&group(&log, 1)), [0], "entries can be read as soon as they are handed in");
    sim.hold_syncs(false);
    held.wait().unwrap();
}

#[test]
fn purged_segments_are_recycled_and_their_stale_records_never_come_back() {
    let sim = Sim::new();
    let (log, _) = open(&sim);
    let one = group(&log, 1);
    let quiet = group(&log, 2);
    append_commands(&quiet, 0..1, 10);
    Pending::of(|done| quiet.save_vote(Vote { term: 9, node: 7, committed: false }, done)).wait().unwrap();
    quiet.purge(LogId { term: 1, node: 7, index: 0 });
    // Identical entries in every segment: a stale record differs from a fresh one in nothing but where it is.
    for round in 0..40 {
        append_commands(&one, round * 10..round * 10 + 10, 2000);
        one.purge(LogId { term: 1, node: 7, index: round * 10 + 9 });
    }
    append_commands(&one, 400..401, 2000);
    let segments = sim.paths().iter().filter(|path| is_segment(path)).count();
    assert!(segments <= 3, "{segments} segments are kept");

    for seed in 0..10 {
        let (log, report) = open(&sim.reboot(seed));
        assert_eq!(report.quarantined, []);
        assert_eq!(indexes(&group(&log, 1)), [400]);
        assert_eq!(group(&log, 2).hard_state().vote.map(|vote| vote.term), Some(9), "repeated in later segments");
        assert_eq!(group(&log, 2).last().map(|last| last.index), Some(0));
    }
}

#[test]
fn a_segment_that_cannot_be_given_back_leaves_no_gap() {
    let sim = Sim::new();
    let (log, _) = open(&sim);
    let one = group(&log, 1);
    append_commands(&one, 0..100, 2000);
    let segments = || sim.paths().iter().filter(|path| is_segment(path)).count();
    assert!(segments() > 3);
    sim.fail_next_change_of(&segment::path(&dir(), 1));
    let purge = |index| {
        one.purge(LogId { term: 1, node: 7, index });
        // What comes after a purge is written after it.
        append_commands(&one, index + 2..index + 3, 10);
    };
    purge(98);
    append_commands(&one, 101..102, 10);
    let (_, report) = open(&sim.kill());
    assert_eq!(report.quarantined, []);
    purge(100);
    append_commands(&one, 103..104, 10);
    assert_eq!(segments(), 1, "the next purge gives back all");
}

fn is_segment(path: &Path) -> bool {
    path.file_name().and_then(|name| segment::parse_name(name.to_str()?)).is_some()
}

#[test]
fn a_group_that_does_not_purge_keeps_its_segments() {
    let sim = Sim::new();
    let (log, _) = open(&sim);
    append_commands(&group(&log, 2), 0..1, 10);
    let busy = group(&log, 1);
    for round in 0..30 {
        append_commands(&busy, round * 10..round * 10 + 10, 2000);
        busy.purge(LogId { term: 1, node: 7, index: round * 10 + 9 });
    }
    assert_eq!(group(&log, 2).oldest_segment(), Some(1));
    drop(log);
    let (log, _) = open(&sim.reboot(0));
    assert_eq!(indexes(&group(&log, 2)), [0]);
}

#[test]
fn entries_are_replaced_after_a_truncation() {
    let sim = Sim::new();
    let (log, _) = open(&sim);
    let one = group(&log, 1);
    append_commands(&one, 0..10, 10);
    Pending::of(|done| one.truncate(4, done)).wait().unwrap();
    let replaced = Entry { id: LogId { term: 2, node: 8, index: 4 }, payload: Payload::Blank };
    append(&one, vec![replaced.clone()]).wait().unwrap();
    assert_eq!(one.last(), Some(replaced.id));
    drop(log);
    let (log, _) = open(&sim);
    assert_eq!(group(&log, 1).read(4, 100).unwrap(), std::slice::from_ref(&replaced));
    assert_eq!(group(&log, 1).last(), Some(replaced.id));
}

#[test]
fn truncations_and_appends_queued_together_end_in_the_newest_entry() {
    let sim = Sim::new();
    let (log, _) = open(&sim);
    let one = group(&log, 1);
    sim.hold_syncs(true);
    let mut pending = vec![append(&one, vec![command_entry(0, b"a"), command_entry(1, b"old")])];
    pending.push(Pending::of(|done| one.truncate(1, done)));
    pending.push(append(&one, vec![command_entry(1, b"newer")]));
    sim.hold_syncs(false);
    for pending in pending {
        pending.wait().unwrap();
    }
    // Taking entries drops them from memory, so the second reading is of the file.
    for _ in 0..2 {
        assert_eq!(one.take(0, 10).unwrap(), [command_entry(0, b"a"), command_entry(1, b"newer")]);
    }
}

#[test]
fn memory_for_entries_is_bounded_and_freed_when_they_are_taken() {
    let sim = Sim::new();
    let options = LogOptions { cache_bytes_max: 10_000, ..small() };
    let (log, _) = try_open(&sim, options).unwrap();
    let one = group(&log, 1);
    append_commands(&one, 0..40, 1000);
    let cached = &log.shared.metrics.cached_bytes;
    assert!((1000..=10_000).contains(&cached.get()), "{} bytes cached", cached.get());
    assert_eq!(one.take(0, 40).unwrap().len(), 40);
    assert_eq!(cached.get(), 0);
    assert_eq!(indexes(&one).len(), 40, "read from the file");
}

#[test]
fn an_unwritten_tail_of_another_run_is_zeroed_before_the_log_goes_on() {
    let sim = Sim::new();
    let (log, _) = open(&sim);
    append_commands(&group(&log, 1), 0..3, 100);
    let path = segment::path(&dir(), 1);
    let whole = sim.content(&path).unwrap();
    let scan = segment::scan(&whole, 1, segment::Place::Last);
    let batch: Vec<_> = scan.records.iter().map(|(at, record)| *at as usize..*at as usize + record.len).collect();
    drop(log);

    // The last batch lost its second record; its third is whole.
    let mut torn = whole.clone();
    torn[batch[1].clone()].fill(0);
    let sim = Sim::new();
    sim.put(&path, torn);
    let (log, report) = open(&sim);
    assert_eq!((report.quarantined.len(), report.torn_bytes as usize), (0, batch[2].end - batch[1].start));
    assert_eq!(indexes(&group(&log, 1)), [0]);
    // An entry of the same length goes where the lost one was, so the third would follow it.
    append_commands(&group(&log, 1), 1..2, 100);
    let (log, report) = open(&sim.kill());
    assert_eq!(report.quarantined, []);
    assert_eq!(indexes(&group(&log, 1)), [0, 1]);
}

#[test]
fn what_the_last_run_did_not_sync_is_synced_before_it_counts() {
    let sim = Sim::new();
    let (log, _) = open(&sim);
    append_commands(&group(&log, 1), 0..1, 100);
    sim.fail_next_sync();
    append(&group(&log, 1), vec![command_entry(1, b"in the page cache alone")]).wait().unwrap_err();
    drop(log);
    // The next process finds the record in the page cache, which holds it for clean.
    let sim = sim.kill();
    let (log, _) = open(&sim);
    let kept = indexes(&group(&log, 1));
    drop(log);
    for seed in 0..8 {
        let (log, _) = open(&sim.reboot(seed));
        assert_eq!(indexes(&group(&log, 1)), kept, "what was taken for durable is");
    }
}

#[test]
fn a_dropped_group_gives_its_segments_back_and_does_not_come_back_itself() {
    let sim = Sim::new();
    let (log, _) = open(&sim);
    let (dropped, stays) = (group(&log, 1), group(&log, 2));
    append_commands(&stays, 0..1, 10);
    append_commands(&dropped, 0..40, 7000);
    stays.purge(LogId { term: 1, node: 7, index: 0 });
    let vote = Vote { term: 3, node: 9, committed: true };
    Pending::of(|done| dropped.save_vote(vote, done)).wait().unwrap();
    assert!(log.live_bytes() > 4 * (64 << 10));
    Pending::of(|done| dropped.drop_group(30, done)).wait().unwrap();
    append_commands(&stays, 1..2, 10);
    assert_eq!(log.live_bytes(), 64 << 10);
    assert_eq!((log.groups(), dropped.live_bytes(), indexes(&dropped)), (vec![GroupId(2)], 0, vec![]));
    drop(log);

    let rebooted = sim.reboot(1);
    let (log, report) = open(&rebooted);
    assert_eq!((log.groups(), report.losses), (vec![GroupId(2)], vec![]));
    let again = group(&log, 1);
    assert_eq!(again.hard_state(), HardState { vote: Some(vote), dropped: Some(30), ..HardState::default() });
    append_commands(&again, 0..2, 10);
    drop(log);
    let (log, _) = open(&rebooted.reboot(1));
    assert_eq!((log.groups(), indexes(&group(&log, 1))), (vec![GroupId(1), GroupId(2)], vec![0, 1]));
}
