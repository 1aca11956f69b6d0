//! Full disks, failing writes and syncs, damage.

use super::*;
use crate::log::record::{self, Frame, Kind};
use crate::log::{Damage, NoRoom, body, segment};

/// Polls a future on this thread until it is ready.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    futures::executor::block_on(future)
}

#[test]
fn a_full_disk_refuses_reservations_and_takes_them_again_when_there_is_room() {
    let sim = Sim::new();
    let (log, _) = open(&sim);
    let one = group(&log, 1);
    let mut index = 0;
    // No file may grow any more: the segments that are there are all there is.
    sim.set_space_left(Some(0));
    let refused = loop {
        match block_on(log.room().reserve(4200)) {
            Ok(room) => {
                append_commands(&one, index..index + 1, 4000);
                index += 1;
                drop(room);
            }
            Err(refused) => break refused,
        }
        assert!(index < 100, "the disk never gets full");
    };
    assert!(matches!(refused, NoRoom::DiskFull { .. }), "{refused}");
    assert!(index > 5);
    // Votes and the like still have room.
    Pending::of(|done| one.save_vote(Default::default(), done)).wait().unwrap();

    sim.set_space_left(None);
    while log.room().check().is_err() || log.shared.metrics.spare_segments.get() == 0 {
        std::thread::yield_now();
    }
    let room = block_on(log.room().reserve(4200)).unwrap();
    append_commands(&one, index..index + 1, 4000);
    drop(room);
    let (log, _) = open(&sim.reboot(1));
    assert_eq!(indexes(&group(&log, 1)), (0..=index).collect::<Vec<_>>());
}

#[test]
fn a_checkpoint_makes_room_on_a_full_disk() {
    let sim = Sim::new();
    let (log, _) = open(&sim);
    let one = group(&log, 1);
    // Without it all entries would be in the current segment, which no purge frees.
    while log.shared.metrics.spare_segments.get() == 0 {
        std::thread::yield_now();
    }
    sim.set_space_left(Some(0));
    let mut index = 0;
    while let Ok(_room) = block_on(log.room().reserve(4200)) {
        append_commands(&one, index..index + 1, 4000);
        index += 1;
    }
    one.purge(LogId { term: 1, node: 7, index: index - 1 });
    // Nothing but the purged segment can become a spare one.
    while block_on(log.room().reserve(4200)).is_err() {
        std::thread::yield_now();
    }
    append_commands(&one, index..index + 1, 4000);
}

#[test]
fn room_in_flight_is_never_promised_twice() {
    let sim = Sim::new();
    let (log, _) = open(&sim);
    while log.shared.metrics.spare_segments.get() == 0 {
        std::thread::yield_now();
    }
    sim.set_space_left(Some(0));
    let mut held = Vec::new();
    let all = 2 * small().segment_bytes;
    while let Some(Ok(room)) = futures::FutureExt::now_or_never(log.room().reserve(4096)) {
        held.push(room);
    }
    assert!((held.len() as u64) * 4096 < all, "{} reservations", held.len());
    drop(held);
    assert!(futures::FutureExt::now_or_never(log.room().reserve(4096)).is_some());
}

#[test]
fn failing_writes_are_held_and_written_when_they_work_again() {
    for kind in [std::io::ErrorKind::StorageFull, std::io::ErrorKind::Other] {
        let sim = Sim::new();
        let (log, _) = open(&sim);
        append_commands(&group(&log, 1), 0..1, 10);
        sim.set_write_error(Some(kind));
        let held = append(&group(&log, 1), vec![command_entry(1, b"held")]);
        while log.room().check().is_ok() {
            std::thread::yield_now();
        }
        assert!(held.is_open(), "neither acknowledged nor failed");
        assert!(matches!(block_on(log.room().reserve(1)), Err(NoRoom::DiskFull { .. })));
        sim.set_write_error(None);
        held.wait().unwrap();
        assert_eq!(log.room().check(), Ok(()));
        let (log, _) = open(&sim.reboot(0));
        assert_eq!(indexes(&group(&log, 1)), [0, 1]);
    }
}

#[test]
fn a_log_that_cannot_write_still_closes() {
    let sim = Sim::new();
    let (log, _) = open(&sim);
    sim.set_write_error(Some(std::io::ErrorKind::Other));
    let held = append(&group(&log, 1), vec![command_entry(0, b"held")]);
    drop(log);
    assert_eq!(held.wait(), Err(LogError::Stopped));
}

#[test]
fn a_failed_sync_ends_the_log_for_good() {
    let sim = Sim::new();
    let (log, _) = open(&sim);
    while log.shared.metrics.spare_segments.get() == 0 {
        std::thread::yield_now();
    }
    let failed = log.failed();
    sim.fail_next_sync();
    let lost = append(&group(&log, 1), vec![command_entry(0, b"x")]).wait();
    assert!(matches!(lost, Err(LogError::Failed { .. })), "{lost:?}");
    // The next sync would succeed; nothing may rely on it.
    let next = append(&group(&log, 2), vec![command_entry(0, b"x")]).wait();
    assert!(matches!(next, Err(LogError::Failed { .. })), "{next:?}");
    assert!(failed.borrow().as_ref().is_some_and(|reason| reason.contains("sync of /node/log/")));
    assert!(matches!(block_on(log.room().reserve(1)), Err(NoRoom::Failed { .. })));
    assert_eq!(log.shared.metrics.writes_failed.get(), 1);
}

#[test]
fn a_closed_log_refuses() {
    let sim = Sim::new();
    let (log, _) = open(&sim);
    let one = group(&log, 1);
    log.stop();
    assert_eq!(append(&one, vec![command_entry(0, b"x")]).wait(), Err(LogError::Stopped));
}

#[test]
fn a_record_larger_than_a_segment_fails_without_harm_to_what_is_there() {
    let sim = Sim::new();
    let (log, _) = open(&sim);
    append_commands(&group(&log, 1), 0..1, 10);
    let huge = append(&group(&log, 1), vec![command_entry(1, &vec![0; 70_000])]).wait();
    assert!(matches!(huge, Err(LogError::TooLarge { .. })), "{huge:?}");
    drop(log);
    let (log, _) = open(&sim);
    assert_eq!(indexes(&group(&log, 1)), [0]);
}

/// Three segments: group 1 all over, group 2 in the first and the last.
fn three_segments() -> Sim {
    let sim = Sim::new();
    let (log, _) = open(&sim);
    append_commands(&group(&log, 2), 0..3, 100);
    append_commands(&group(&log, 1), 0..70, 2000);
    append_commands(&group(&log, 2), 3..6, 100);
    drop(log);
    sim
}

fn flip(sim: &Sim, segment: u64, at: usize) {
    let path = segment::path(&dir(), segment);
    let mut bytes = sim.content(&path).unwrap();
    bytes[at] ^= 1;
    sim.put(&path, bytes);
}

#[test]
fn damage_in_an_inner_segment_is_quarantined_and_other_groups_keep_everything() {
    let sim = three_segments();
    flip(&sim, 2, 30_000);
    let damaged = sim.content(&segment::path(&dir(), 2)).unwrap();
    let (log, report) = open(&sim);
    let kept = indexes(&group(&log, 1));
    let lost = report.losses[0];
    assert_eq!((lost.group, lost.last), (GroupId(1), kept.last().copied()));
    assert_eq!(kept, (0..kept.len() as u64).collect::<Vec<_>>());
    assert!((35..60).contains(&kept.len()), "{} entries kept", kept.len());
    assert_eq!(lost.entries, 70 - kept.len() as u64 - 1);
    assert_eq!(indexes(&group(&log, 2)), (0..6).collect::<Vec<_>>());
    let copy = report.quarantined[0].copy.clone().unwrap();
    assert_eq!((report.quarantined[0].segment, sim.content(&copy).unwrap() == damaged), (2, true));
    assert_eq!(log.shared.metrics.corruptions.get(), 1);
    assert_eq!(report.damage, Damage::of([GroupId(1)], false));

    // The group goes on from where it is, and the next start finds nothing wrong.
    let next = kept.len() as u64;
    append_commands(&group(&log, 1), next..next + 5, 2000);
    drop(log);
    let sim = sim.reboot(3);
    let (log, report) = open(&sim);
    assert_eq!((report.quarantined, report.losses), (vec![], vec![]));
    assert_eq!(indexes(&group(&log, 1)), (0..next + 5).collect::<Vec<_>>());
    assert_eq!(report.damage, Damage::of([GroupId(1)], false), "it is remembered");
    log.forget_damage(GroupId(1)).unwrap();
    drop(log);
    assert!(open(&sim.reboot(4)).1.damage.is_none());
}

#[test]
fn a_group_whose_last_record_in_a_segment_is_damaged_shows_no_gap_and_is_found_out() {
    let sim = Sim::new();
    let (log, _) = open(&sim);
    append_commands(&group(&log, 2), 0..3, 100);
    append_commands(&group(&log, 1), 0..70, 2000);
    drop(log);
    let bytes = sim.content(&segment::path(&dir(), 1)).unwrap();
    let last = {
        let scan = segment::scan(&bytes, 1, segment::Place::Inner);
        scan.records.iter().rfind(|(_, record)| record.group == GroupId(2)).unwrap().0 as usize
    };
    flip(&sim, 1, last + 40);
    let (log, report) = open(&sim);
    assert_eq!((report.losses, indexes(&group(&log, 2))), (vec![], vec![0, 1]));
    assert_eq!(report.damage, Damage::of([GroupId(2)], false));
}

#[test]
fn what_is_in_later_segments_only_lost_nothing() {
    let sim = Sim::new();
    let (log, _) = open(&sim);
    append_commands(&group(&log, 2), 0..3, 100);
    append_commands(&group(&log, 1), 0..70, 2000);
    group(&log, 2).purge(LogId { term: 1, node: 7, index: 2 });
    append_commands(&group(&log, 2), 3..6, 100);
    drop(log);
    let bytes = sim.content(&segment::path(&dir(), 1)).unwrap();
    let first = segment::scan(&bytes, 1, segment::Place::Inner).records[0].0 as usize;
    flip(&sim, 1, first + 40);
    let (_log, report) = open(&sim);
    assert_eq!((report.quarantined.len(), report.damage.is_none()), (1, true), "{:?}", report.damage);
}

#[test]
fn damage_in_the_newest_segment_may_be_anybodys() {
    let sim = three_segments();
    let numbers = (1..9).filter(|number| sim.content(&segment::path(&dir(), *number)).is_some());
    let newest = numbers.max().unwrap();
    flip(&sim, newest, segment::HEADER_BYTES + 20);
    let (log, report) = open(&sim);
    assert!(report.damage.any && report.damage.has(GroupId(77)));
    drop(log);
    let sim = sim.reboot(1);
    let (log, report) = open(&sim);
    assert!(report.damage.any && report.quarantined.is_empty());
    log.forget_all_damage().unwrap();
    drop(log);
    assert!(open(&sim.reboot(1)).1.damage.is_none());
}

#[test]
fn a_missing_segment_costs_what_was_in_it() {
    let sim = three_segments();
    sim.delete(&segment::path(&dir(), 2));
    let (log, report) = open(&sim);
    assert_eq!((report.quarantined[0].segment, &report.quarantined[0].copy), (2, &None));
    assert_eq!(indexes(&group(&log, 2)), (0..6).collect::<Vec<_>>());
    let kept = indexes(&group(&log, 1)).len();
    assert!((20..35).contains(&kept), "{kept} entries kept");
    assert_eq!(report.damage, Damage::of([GroupId(1)], false));
    drop(log);
    let (_log, report) = open(&sim);
    assert_eq!((report.quarantined, report.losses), (vec![], vec![]));
}

#[test]
fn a_first_segment_that_was_not_given_back_is_missed() {
    let sim = Sim::new();
    let (log, _) = open(&sim);
    for id in 2..6 {
        append_commands(&group(&log, id), 0..3, 100);
    }
    let all = LogId { term: 1, node: 7, index: 2 };
    group(&log, 3).purge(all);
    append_commands(&group(&log, 1), 0..70, 2000);
    // These need nothing of the first segment any more.
    group(&log, 4).purge(all);
    Pending::of(|done| group(&log, 5).truncate(0, done)).wait().unwrap();
    append_commands(&group(&log, 5), 0..2, 100);
    drop(log);
    sim.delete(&segment::path(&dir(), 1));
    let (log, report) = open(&sim);
    let lost: Vec<GroupId> = report.losses.iter().map(|loss| loss.group).collect();
    assert_eq!((lost, report.damage), (vec![GroupId(1), GroupId(2)], Damage::of([GroupId(1), GroupId(2)], false)));
    assert_eq!((indexes(&group(&log, 2)), indexes(&group(&log, 5))), (vec![], vec![0, 1]));

    // Groups that were alone go on with what they have, and nothing is missed any more.
    for id in [1, 2] {
        append_commands(&group(&log, id), 0..3, 100);
    }
    log.forget_all_damage().unwrap();
    drop(log);
    let (_log, report) = open(&sim.reboot(1));
    assert_eq!((report.quarantined, report.losses, report.damage.is_none()), (vec![], vec![], true));
}

#[test]
fn entries_below_a_purge_before_them_are_no_loss() {
    let mut bytes = segment::header(1).to_vec();
    let id = LogId { term: 1, node: 7, index: 4 };
    for kind in [Kind::Purge, Kind::Entry] {
        let offset = bytes.len() as u32;
        let frame = Frame { segment: 1, offset, batch_start: offset, group: GroupId(1), kind };
        record::encode(&mut bytes, frame, |out| match kind {
            Kind::Entry => body::put_entry(out, &Entry { id, payload: Payload::Blank }),
            _ => body::put_log_id(out, id),
        });
    }
    bytes.resize(64 << 10, 0);
    let sim = Sim::new();
    sim.put(&segment::path(&dir(), 1), bytes);
    let (log, report) = open(&sim);
    assert_eq!((report.quarantined, report.losses), (vec![], vec![]));
    assert_eq!((group(&log, 1).last(), indexes(&group(&log, 1))), (Some(id), vec![]));
}

#[test]
fn power_loss_during_a_repair_leaves_the_damage_to_the_next_start() {
    for operations in 0..60 {
        let sim = three_segments();
        flip(&sim, 1, 40_000);
        sim.lose_power_after(operations, operations);
        let finished = try_open(&sim, small()).is_ok_and(|(log, _)| {
            drop(log);
            true
        });
        let sim = sim.reboot(operations);
        let (log, report) = open(&sim);
        let kept = indexes(&group(&log, 1));
        assert_eq!(kept, (0..kept.len() as u64).collect::<Vec<_>>());
        assert!((15..25).contains(&kept.len()), "{} entries kept, {finished}, {report:?}", kept.len());
        assert_eq!(indexes(&group(&log, 2)), (0..6).collect::<Vec<_>>());
    }
}

#[test]
fn an_unknown_version_is_refused_and_nothing_is_changed() {
    let sim = three_segments();
    let path = segment::path(&dir(), 1);
    let mut bytes = sim.content(&path).unwrap();
    bytes[8] = 2;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..12]);
    hasher.update(&bytes[16..64]);
    bytes[12..16].copy_from_slice(&hasher.finalize().to_le_bytes());
    sim.put(&path, bytes.clone());
    let refused = try_open(&sim, small()).unwrap_err().to_string();
    assert_eq!(refused, "log file /node/log/00000000000000000001.seg has version 2, which this program does not know");
    assert_eq!(sim.content(&path), Some(bytes));
}

#[test]
fn options_out_of_range_are_named() {
    let options = LogOptions { segment_bytes: 100, ..small() };
    let refused = try_open(&Sim::new(), options).unwrap_err().to_string();
    assert_eq!(refused, "log option segment_bytes is 100, allowed are 32768 to 4294967295");
}
