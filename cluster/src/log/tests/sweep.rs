//! A log of 64 KiB cut at every byte, and with a bit flipped at every byte.

use std::collections::BTreeMap;

use super::*;
use crate::log::body;
use crate::log::entry::{HardState, Vote};
use crate::log::record::{self, Kind};
use crate::log::recovery::{Recovered, read, recover};
use crate::log::segment::{self, HEADER_BYTES, Place};

/// One record of the whole log.
#[derive(Clone, Copy)]
struct Step {
    start: usize,
    end: usize,
    batch_start: usize,
    group: GroupId,
    event: Event,
}

#[derive(Clone, Copy)]
enum Event {
    Entry(LogId),
    Vote(Vote),
    Committed(LogId),
    Truncate(u64),
    Purge(LogId),
}

/// A log of four groups and all kinds of records that ends close to its segment's end.
fn whole_log() -> Vec<u8> {
    let sim = Sim::new();
    let (log, _) = open(&sim);
    let groups: Vec<_> = (0..4).map(|id| group(&log, id)).collect();
    let mut round = 0;
    let second = segment::path(&dir(), 2);
    while !sim.paths().contains(&second) {
        for (at, group) in groups.iter().enumerate() {
            let next = group.last().map_or(0, |last| last.index + 1);
            group.set_committed(group.last());
            let entries =
                (next..next + 3).map(|index| command_entry(index, &vec![round as u8; 40 + 400 * at])).collect();
            append(group, entries).wait().unwrap();
        }
        let turn = &groups[round as usize % 4];
        let last = turn.last().unwrap();
        match round % 5 {
            0 => Pending::of(|done| turn.save_vote(Vote { term: round, node: 7, committed: false }, done))
                .wait()
                .unwrap(),
            1 => Pending::of(|done| turn.truncate(last.index, done)).wait().unwrap(),
            2 => turn.purge(LogId { index: last.index - 4, ..last }),
            _ => {}
        }
        round += 1;
    }
    drop(log);
    let sealed = sim.content(&segment::path(&dir(), 1)).unwrap();
    // Without its seal it is a last segment, as a crash just before the rotation leaves it.
    let scan = segment::scan(&sealed, 1, Place::Inner);
    let end = scan.records.last().map(|(at, record)| *at as usize + record.len).unwrap();
    let mut bytes = sealed.clone();
    bytes[end..].fill(0);
    assert!(end > 60 << 10, "the log fills 64 KiB but for {} bytes", (64 << 10) - end);
    bytes
}

fn steps(bytes: &[u8]) -> Vec<Step> {
    let scan = segment::scan(bytes, 1, Place::Last);
    assert!(scan.damage.is_empty());
    let step = |(at, record): &(u32, record::Record<'_>)| {
        let event = match record.kind {
            Kind::Entry => Event::Entry(body::entry_id(record.payload).unwrap()),
            Kind::Vote => Event::Vote(body::vote(record.payload).unwrap()),
            Kind::Committed => Event::Committed(body::log_id(record.payload).unwrap()),
            Kind::Truncate => Event::Truncate(body::index(record.payload).unwrap()),
            Kind::Purge => Event::Purge(body::log_id(record.payload).unwrap()),
            Kind::Base | Kind::Seal | Kind::Drop => unreachable!("a first segment has none before its end"),
        };
        let start = *at as usize;
        Step { start, end: start + record.len, batch_start: record.batch_start as usize, group: record.group, event }
    };
    scan.records.iter().map(step).collect()
}

type State = BTreeMap<GroupId, (HardState, Vec<LogId>)>;

/// What the groups have after these steps, told without the code under test.
fn fold<'a>(steps: impl Iterator<Item = &'a Step>) -> State {
    let mut groups: BTreeMap<GroupId, (HardState, BTreeMap<u64, LogId>)> = BTreeMap::new();
    for step in steps {
        let (hard, entries) = groups.entry(step.group).or_default();
        match step.event {
            Event::Entry(id) => {
                entries.retain(|index, _| *index < id.index);
                entries.insert(id.index, id);
            }
            Event::Vote(vote) => hard.vote = Some(vote),
            Event::Committed(id) => hard.committed = Some(id),
            Event::Truncate(from) => entries.retain(|index, _| *index < from),
            Event::Purge(upto) => {
                hard.purged = Some(upto);
                entries.retain(|index, _| *index > upto.index);
            }
        }
    }
    let finish = |(hard, entries): (HardState, BTreeMap<u64, LogId>)| {
        let mut next = hard.purged.map_or(0, |id| id.index + 1);
        let mut run = Vec::new();
        while let Some(id) = entries.get(&next) {
            run.push(*id);
            next += 1;
        }
        let committed = hard.committed.min(run.last().copied().or(hard.purged));
        (HardState { committed, ..hard }, run)
    };
    groups.into_iter().map(|(group, state)| (group, finish(state))).collect()
}

fn state_of(recovered: &Recovered) -> State {
    let groups = recovered.groups.iter();
    groups.map(|(&id, group)| (id, (group.hard, group.entries.iter().map(|(id, _)| *id).collect()))).collect()
}

fn disk_with(bytes: Vec<u8>) -> Sim {
    let sim = Sim::new();
    sim.put(&segment::path(&dir(), 1), bytes);
    sim
}

/// Checks all positions below `len`, each core a run of them.
fn sweep(len: usize, check: impl Fn(std::ops::Range<usize>) + Sync) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let run = len.div_ceil(cores);
    std::thread::scope(|scope| {
        for start in (0..len).step_by(run) {
            let check = &check;
            scope.spawn(move || check(start..(start + run).min(len)));
        }
    });
}

#[test]
fn a_log_cut_at_any_byte_keeps_the_exact_valid_prefix() {
    let whole = whole_log();
    let steps = steps(&whole);
    sweep(whole.len(), |cuts| {
        let mut kept = steps.iter().take_while(|step| step.end <= cuts.start).count();
        let mut expected = fold(steps[..kept].iter());
        for cut in cuts {
            if steps.get(kept).is_some_and(|next| next.end <= cut) {
                kept += 1;
                expected = fold(steps[..kept].iter());
            }
            let (recovered, report) = recover(&disk_with(whole[..cut].to_vec()), &dir()).unwrap();
            assert_eq!(state_of(&recovered), expected, "cut at {cut}");
            assert_eq!(report.quarantined.is_empty(), cut >= HEADER_BYTES, "cut at {cut}");
            assert_eq!(report.losses, vec![], "cut at {cut}");
        }
    });
}

/// What is expected of a log with one damaged record, or none.
struct Expected {
    state: State,
    /// The unreadable range, when it must be reported.
    quarantined: Option<std::ops::Range<usize>>,
}

impl Expected {
    fn without(steps: &[Step], hit: Option<usize>) -> Self {
        let Some(hit) = hit else { return Self { state: fold(steps.iter()), quarantined: None } };
        let last_batch = steps.last().unwrap().batch_start;
        if steps[hit].batch_start == last_batch {
            return Self { state: fold(steps[..hit].iter()), quarantined: None };
        }
        let rest = steps[..hit].iter().chain(&steps[hit + 1..]);
        Self { state: fold(rest), quarantined: Some(steps[hit].start..steps[hit].end) }
    }
}

/// Repairing takes longer than reading, and ends in reading again: without optimization it is tried at some bytes only.
const REPAIR_EVERY: usize = if cfg!(debug_assertions) { 61 } else { 1 };

#[test]
fn a_bit_flipped_at_any_byte_costs_one_record_or_the_torn_tail() {
    let whole = whole_log();
    let steps = steps(&whole);
    sweep(whole.len(), |flips| {
        let mut hit_before = None;
        let mut expected = Expected::without(&steps, None);
        for at in flips {
            let hit = steps.iter().position(|step| (step.start..step.end).contains(&at));
            if hit != hit_before {
                hit_before = hit;
                expected = Expected::without(&steps, hit);
            }
            check_flip(&whole, at, &expected);
        }
    });
}

fn check_flip(whole: &[u8], at: usize, expected: &Expected) {
    let quarantined = if at < HEADER_BYTES { Some(0..HEADER_BYTES) } else { expected.quarantined.clone() };
    let mut bytes = whole.to_vec();
    bytes[at] ^= 1 << (at % 8);
    let sim = disk_with(bytes);
    let reading = read(&sim, &dir()).unwrap();
    assert_eq!(state_of(&reading.recovered), expected.state, "flipped at {at}");
    let ranges: Vec<_> = reading.repairs.into_values().flatten().collect();
    assert_eq!(ranges, Vec::from_iter(quarantined.clone()), "flipped at {at}");
    if at.is_multiple_of(REPAIR_EVERY) {
        let (recovered, report) = recover(&sim, &dir()).unwrap();
        assert_eq!(state_of(&recovered), expected.state, "repaired at {at}");
        let ranges: Vec<_> = report.quarantined.into_iter().flat_map(|found| found.ranges).collect();
        assert_eq!(ranges, Vec::from_iter(quarantined), "repaired at {at}");
    }
}

#[test]
fn a_damaged_log_opens_goes_on_and_opens_clean() {
    let whole = whole_log();
    for at in (0..whole.len()).step_by(997) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        let sim = Sim::new();
        sim.put(&segment::path(&dir(), 1), bytes);
        let (log, _) = open(&sim);
        let expected: Vec<_> = (0..4)
            .map(|id| {
                append_next(&group(&log, id));
                indexes(&group(&log, id))
            })
            .collect();
        drop(log);
        let (log, report) = open(&sim.reboot(at as u64));
        assert_eq!((report.quarantined, report.losses), (vec![], vec![]), "flipped at {at}");
        let found: Vec<_> = (0..4).map(|id| indexes(&group(&log, id))).collect();
        assert_eq!(found, expected, "flipped at {at}");
    }
}

fn append_next(group: &GroupHandle) {
    let next = group.last().map_or(0, |last| last.index + 1);
    append_commands(group, next..next + 2, 100);
}
