//! Random work, power lost in the middle of any file operation, and a model of what may be left.
//!
//! A group's records are written in order, so after a crash its log is that of some prefix of them: all that were
//! acknowledged, and perhaps some more that were not.

use proptest::prelude::*;

use super::*;
use crate::log::entry::{HardState, Vote};

#[derive(Clone, Debug)]
enum Work {
    Append {
        group: u32,
        count: u64,
        bytes: usize,
    },
    Vote {
        group: u32,
    },
    /// Drops so many of the newest entries.
    Truncate {
        group: u32,
        count: u64,
    },
    /// Drops so many of the oldest.
    Purge {
        group: u32,
        count: u64,
    },
    Drop {
        group: u32,
    },
}

impl Work {
    fn group(&self) -> u32 {
        match self {
            Self::Append { group, .. }
            | Self::Vote { group }
            | Self::Truncate { group, .. }
            | Self::Purge { group, .. }
            | Self::Drop { group } => *group,
        }
    }
}

const GROUPS: u32 = 3;

fn any_work() -> impl Strategy<Value = Work> {
    let group = 0..GROUPS;
    prop_oneof![
        6 => (group.clone(), 1..6u64, 0..3000usize).prop_map(|(group, count, bytes)| Work::Append { group, count, bytes }),
        1 => group.clone().prop_map(|group| Work::Vote { group }),
        1 => (group.clone(), 1..5u64).prop_map(|(group, count)| Work::Truncate { group, count }),
        1 => group.clone().prop_map(|group| Work::Drop { group }),
        2 => (group, 1..30u64).prop_map(|(group, count)| Work::Purge { group, count }),
    ]
}

/// A life of the process: work, then an end.
#[derive(Clone, Debug)]
struct Life {
    work: Vec<Work>,
    /// The power goes in this operation.
    power_after: u64,
    /// If it did not go by then: the process is killed, else the power goes at the end.
    killed: bool,
    seed: u64,
}

fn any_life() -> impl Strategy<Value = Life> {
    (prop::collection::vec(any_work(), 1..60), 0..120u64, any::<bool>(), any::<u64>())
        .prop_map(|(work, power_after, killed, seed)| Life { work, power_after, killed, seed })
}

/// What one group's log should hold.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    vote: Option<Vote>,
    purged: Option<LogId>,
    entries: Vec<Entry>,
}

impl Model {
    fn next_index(&self) -> u64 {
        let last = self.entries.last().map(|entry| entry.id);
        last.or(self.purged).map_or(0, |id| id.index + 1)
    }

    fn of(group: &GroupHandle) -> Self {
        let HardState { vote, purged, .. } = group.hard_state();
        Self { vote, purged, entries: group.read(0, u64::MAX).unwrap() }
    }
}

/// Asks the log for one piece of work; tells what the group's log is then, and how to learn the outcome.
fn ask(log: &Log, model: &mut Model, work: &Work, serial: u64) -> Option<Pending> {
    let handle = group(log, work.group());
    match work {
        Work::Append { count, bytes, .. } => {
            let first = model.next_index();
            let entry = |index| {
                let mut entry = command_entry(index, &vec![serial as u8; *bytes]);
                entry.id.term = serial;
                entry
            };
            let entries: Vec<_> = (first..first + count).map(entry).collect();
            model.entries.extend(entries.clone());
            Some(append(&handle, entries))
        }
        Work::Vote { .. } => {
            let vote = Vote { term: serial, node: 7, committed: false };
            model.vote = Some(vote);
            Some(Pending::of(|done| handle.save_vote(vote, done)))
        }
        Work::Truncate { count, .. } => {
            let keep = model.entries.len().saturating_sub(*count as usize);
            let from = model.entries.get(keep)?.id.index;
            model.entries.truncate(keep);
            Some(Pending::of(|done| handle.truncate(from, done)))
        }
        Work::Purge { count, .. } => {
            let upto = model.entries.get((*count as usize).min(model.entries.len()).checked_sub(1)?)?.id;
            model.purged = Some(upto);
            model.entries.retain(|entry| entry.id.index > upto.index);
            handle.purge(upto);
            None
        }
        Work::Drop { .. } => {
            *model = Model { vote: model.vote, ..Model::default() };
            Some(Pending::of(|done| handle.drop_group(1, done)))
        }
    }
}

/// Lives one life. `models` are what the logs hold at its start, and at its end what they hold after the crash.
fn live(sim: &Sim, life: &Life, models: &mut [Model], serial: &mut u64) -> Result<Sim, TestCaseError> {
    sim.lose_power_after(life.power_after, life.seed);
    // For each group, what its log is after each of its records, and how many of them are certain.
    let mut histories: Vec<Vec<Model>> = models.iter().map(|model| vec![model.clone()]).collect();
    let mut certain = vec![0; models.len()];
    if let Ok((log, report)) = try_open(sim, small()) {
        prop_assert_eq!(report.quarantined, vec![], "power loss is not damage");
        let mut asked = Vec::new();
        for work in &life.work {
            *serial += 1;
            let at = work.group() as usize;
            let before = histories[at].last().unwrap().clone();
            let mut model = before.clone();
            let outcome = ask(&log, &mut model, work, *serial);
            // A batch may be torn between two entries of one request.
            for count in before.entries.len() + 1..model.entries.len() {
                histories[at].push(Model { entries: model.entries[..count].to_vec(), ..before.clone() });
            }
            histories[at].push(model);
            asked.push((at, histories[at].len() - 1, outcome));
        }
        // A log without power tries for ever, so it is told to stop.
        while !sim.is_dark() && asked.iter().any(|(_, _, outcome)| outcome.as_ref().is_some_and(Pending::is_open)) {
            std::thread::yield_now();
        }
        log.stop();
        for (at, position, outcome) in asked {
            if outcome.is_some_and(|outcome| outcome.wait().is_ok()) {
                certain[at] = position;
            }
        }
    }
    let after = if sim.is_dark() || !life.killed { sim.reboot(life.seed) } else { sim.kill() };
    let (log, report) = try_open(&after, small()).unwrap();
    prop_assert_eq!(report.quarantined, vec![], "power loss is not damage");
    prop_assert_eq!(report.losses, vec![]);
    for (at, model) in models.iter_mut().enumerate() {
        let found = Model::of(&group(&log, at as u32));
        let allowed = &histories[at][certain[at]..];
        prop_assert!(allowed.contains(&found), "group {}: found {:?}, allowed {:?}", at, found, allowed);
        *model = found;
    }
    Ok(after)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn acknowledged_work_survives_and_nothing_else_appears(lives in prop::collection::vec(any_life(), 1..5)) {
        let mut sim = Sim::new();
        let mut models = vec![Model::default(); GROUPS as usize];
        let mut serial = 0;
        for life in &lives {
            sim = live(&sim, life, &mut models, &mut serial)?;
        }
    }
}
