//! Disks that are full, files that are damaged, checkpoints that are cut off.

use std::fs;

use tempfile::TempDir;

use super::*;
use crate::fs::faults::FaultyFileSystem;
use crate::record::drop_covered;

fn file_names(dir: &Path, suffix: &str) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(suffix))
        .collect();
    names.sort();
    names
}

fn chunk_files(dir: &Path) -> Vec<String> {
    let generations = file_names(dir, "").into_iter().filter(|name| name.starts_with("chunks-"));
    generations.flat_map(|name| file_names(&dir.join(name), ".chunks")).collect()
}

#[test]
fn a_full_disk_loses_nothing_and_heals() {
    let dir = TempDir::new().unwrap();
    let files = FaultyFileSystem::default();
    let partition = open_with(dir.path(), Arc::new(files.clone())).partition;
    append_run(&partition, 0, 0, 500);
    files.set_room(700);
    assert!(partition.flush().is_err(), "the write is torn");
    append_run(&partition, 0, 500 * 15_000, 5_000);
    assert!(partition.flush().is_err());
    assert!(partition.writable().is_err());
    assert!(matches!(partition.checkpoint(b""), Err(CheckpointError::Chunks(_))));
    let full = dump(&partition);
    assert_eq!(full[0].1.len(), 5_500);
    files.set_room(i64::MAX);
    partition.flush().unwrap();
    assert_eq!(partition.writable(), Ok(()));
    assert_eq!(dump(&partition), full);
    partition.checkpoint(b"healed").unwrap();
    drop(partition);
    let opened = open(dir.path());
    assert_eq!(opened.raft_state.as_deref(), Some(&b"healed"[..]));
    assert_eq!(dump(&opened.partition), full);
}

#[test]
fn a_full_disk_has_room_for_a_start_without_a_checkpoint() {
    let dir = TempDir::new().unwrap();
    let files = FaultyFileSystem::default();
    let partition = open_with(dir.path(), Arc::new(files.clone())).partition;
    append_run(&partition, 0, 0, 500);
    partition.flush().unwrap();
    assert!(!chunk_files(dir.path()).is_empty());
    drop(partition);
    files.set_room(0);
    let partition = open_with(dir.path(), Arc::new(files.clone())).partition;
    assert_eq!((dump(&partition), chunk_files(dir.path())), (vec![], vec![]), "the log brings everything again");
    files.set_room(i64::MAX);
    append_run(&partition, 0, 0, 500);
    partition.checkpoint(b"whole").unwrap();
    let full = dump(&partition);
    drop(partition);
    assert_eq!(dump(&open(dir.path()).partition), full);
}

#[test]
fn a_checkpoint_that_fails_leaves_the_one_before() {
    let dir = TempDir::new().unwrap();
    let files = FaultyFileSystem::default();
    let partition = open_with(dir.path(), Arc::new(files.clone())).partition;
    append_run(&partition, 0, 0, 300);
    partition.checkpoint(b"good").unwrap();
    let at_checkpoint = dump(&partition);
    append_run(&partition, 0, 300 * 15_000, 300);
    files.set_sync_fails(true);
    assert!(partition.checkpoint(b"bad").is_err());
    files.set_sync_fails(false);
    files.set_room(40);
    assert!(partition.checkpoint(b"bad").is_err());
    drop(partition);
    let opened = open(dir.path());
    assert_eq!(opened.raft_state.as_deref(), Some(&b"good"[..]));
    assert_eq!(dump(&opened.partition), at_checkpoint);
    assert_eq!(file_names(dir.path(), ".tmp"), [""; 0]);
}

#[test]
fn chunks_that_were_not_made_durable_once_are_not_believed_later() {
    let dir = TempDir::new().unwrap();
    let files = FaultyFileSystem::default();
    let partition = open_with(dir.path(), Arc::new(files.clone())).partition;
    partition.checkpoint(b"empty").unwrap();
    append_run(&partition, 0, 0, 300);
    files.set_sync_fails(true);
    assert!(matches!(partition.checkpoint(b"bad"), Err(CheckpointError::Sync(_))));
    // The kernel calls the next sync a success, whatever it dropped.
    files.set_sync_fails(false);
    assert!(matches!(partition.checkpoint(b"bad"), Err(CheckpointError::Sync(_))));
    drop(partition);
    let partition = open_with(dir.path(), Arc::new(files)).partition;
    append_run(&partition, 0, 0, 300);
    partition.checkpoint(b"replayed").unwrap();
    assert_eq!(open_copy(dir.path()).raft_state.as_deref(), Some(&b"replayed"[..]));
}

#[test]
fn want_of_descriptors_stops_the_start_and_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let partition = open(dir.path()).partition;
    append_run(&partition, 0, 0, 2_000);
    partition.checkpoint(b"good").unwrap();
    append_run(&partition, 0, 2_000 * 15_000, 100);
    partition.flush().unwrap();
    drop(partition);
    let sizes = |dir: &Path| {
        let chunks = dir.join("chunks-00000001");
        chunk_files(dir).into_iter().map(|name| fs::metadata(chunks.join(name)).unwrap().len()).collect::<Vec<_>>()
    };
    let before = sizes(dir.path());
    assert!(before.len() > 2);
    for descriptors in 0..2 {
        let files = FaultyFileSystem::default();
        files.set_descriptors(descriptors);
        let refused = Partition::open(dir.path(), Arc::new(files), small(), &metrics()).unwrap_err();
        assert!(matches!(refused, OpenError::Io { .. }), "{refused}");
        assert_eq!(sizes(dir.path()), before);
    }
    let opened = open(dir.path());
    assert_eq!((opened.raft_state.as_deref(), opened.quarantined), (Some(&b"good"[..]), Vec::new()));
}

#[test]
fn a_damaged_checkpoint_is_set_aside_for_the_one_before() {
    let dir = TempDir::new().unwrap();
    let partition = open(dir.path()).partition;
    append_run(&partition, 0, 0, 300);
    partition.checkpoint(b"older").unwrap();
    let at_older = dump(&partition);
    append_run(&partition, 0, 300 * 15_000, 300);
    partition.checkpoint(b"newer").unwrap();
    drop(partition);
    let newest = dir.path().join(file_names(dir.path(), ".checkpoint").pop().unwrap());
    let whole = fs::read(&newest).unwrap();
    for (what, damaged) in [
        ("flipped", {
            let mut bytes = whole.clone();
            let at = bytes.len() / 2;
            bytes[at] ^= 4;
            bytes
        }),
        ("cut", whole[..whole.len() - 1].to_vec()),
        ("empty", Vec::new()),
    ] {
        let copy = TempDir::new().unwrap();
        copy_dir(dir.path(), copy.path());
        fs::write(copy.path().join(newest.file_name().unwrap()), damaged).unwrap();
        let opened = open(copy.path());
        assert_eq!(opened.raft_state.as_deref(), Some(&b"older"[..]), "{what}");
        assert_eq!(opened.quarantined.len(), 1);
        assert!(opened.quarantined[0].path.exists());
        assert_eq!(dump(&opened.partition), at_older);
        append_run(&opened.partition, 0, 300 * 15_000, 300);
        opened.partition.checkpoint(b"again").unwrap();
        drop(opened);
        let opened = open(copy.path());
        assert_eq!((opened.raft_state.as_deref(), opened.quarantined.len()), (Some(&b"again"[..]), 0));
        assert_eq!(dump(&opened.partition)[0].1.len(), 600);
    }
}

#[test]
fn the_chunks_of_a_damaged_checkpoint_are_kept_whole() {
    let dir = TempDir::new().unwrap();
    let partition = open(dir.path()).partition;
    append_run(&partition, 0, 0, 300);
    partition.checkpoint(b"older").unwrap();
    append_run(&partition, 0, 300 * 15_000, 2_000);
    partition.checkpoint(b"newer").unwrap();
    drop(partition);
    let chunks = dir.path().join("chunks-00000001");
    let content = |dir: &Path| {
        let names = file_names(dir, ".chunks");
        names.into_iter().map(|name| (fs::read(dir.join(&name)).unwrap(), name)).collect::<Vec<_>>()
    };
    let before = content(&chunks);
    let newest = dir.path().join(file_names(dir.path(), ".checkpoint").pop().unwrap());
    fs::write(&newest, b"damaged").unwrap();
    let opened = open(dir.path());
    assert_eq!(opened.raft_state.as_deref(), Some(&b"older"[..]));
    assert!(content(&chunks).len() < before.len(), "what the older one does not know is gone");
    append_run(&opened.partition, 0, 300 * 15_000, 10);
    opened.partition.checkpoint(b"later").unwrap();
    opened.partition.checkpoint(b"and later").unwrap();
    assert_eq!(content(&dir.path().join("chunks-00000001-0000000000000002.damaged")), before);
}

#[test]
fn a_checkpoint_that_reads_back_differently_is_none() {
    let dir = TempDir::new().unwrap();
    let files = FaultyFileSystem::default();
    let partition = open_with(dir.path(), Arc::new(files.clone())).partition;
    append_run(&partition, 0, 0, 300);
    files.set_reads_differ(true);
    assert!(matches!(partition.checkpoint(b"bad"), Err(CheckpointError::Write(_))));
    files.set_reads_differ(false);
    partition.checkpoint(b"good").unwrap();
}

/// What a restart at this moment would find.
fn open_copy(dir: &Path) -> Opened {
    let copy = TempDir::new().unwrap();
    copy_dir(dir, copy.path());
    open(copy.path())
}

fn copy_dir(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn every_flipped_byte_of_a_checkpoint_is_noticed() {
    let dir = TempDir::new().unwrap();
    let partition = open(dir.path()).partition;
    append(&partition, 0, &[(0, 1, 1.0), (1, 2, 2.0)]);
    let exported = partition.export_checkpoint();
    let target = TempDir::new().unwrap();
    let other = open(target.path()).partition;
    for at in 0..exported.len() {
        let mut damaged = exported.clone();
        damaged[at] ^= 0x10;
        assert!(other.install_checkpoint(&damaged, b"").is_err(), "byte {at}");
        assert!(other.install_checkpoint(&exported[..at], b"").is_err(), "cut at {at}");
    }
    other.install_checkpoint(&exported, b"").unwrap();
    assert_eq!(dump(&other), dump(&partition));
}

#[test]
fn a_damaged_chunk_is_an_error_and_never_a_wrong_value() {
    let dir = TempDir::new().unwrap();
    let partition = open(dir.path()).partition;
    append_run(&partition, 0, 0, 400);
    partition.checkpoint(b"").unwrap();
    let whole = dump(&partition);
    drop(partition);
    let path = dir.path().join("chunks-00000001/00000001.chunks");
    let bytes = fs::read(&path).unwrap();
    let used = 600;
    for at in (16..used).step_by(7) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x40;
        fs::write(&path, &damaged).unwrap();
        let partition = open(dir.path()).partition;
        let selection = partition.select(&request(Vec::new(), TimeRange::ALL));
        let mut samples = SampleColumns::default();
        let error = selection.read(0, TimeRange::ALL, &mut samples).unwrap_err();
        assert!(error.to_string().contains("00000001.chunks"), "{error}");
        let newest = *whole[0].1.last().unwrap();
        selection.read(0, TimeRange::new(newest.0, newest.0), &mut samples).unwrap();
        assert_eq!(samples.values[0].to_bits(), newest.1, "what is not damaged is still read");
        let answer = append(&partition, 2 * HOUR_MS, &[(0, newest.0 + 15_000, 1.0), (0, newest.0 - HOUR_MS, 5.0)]);
        assert!(answer.stale.is_empty(), "a committed record is applied all the same");
    }
}

#[test]
fn a_missing_or_short_chunk_file_is_no_whole_checkpoint() {
    let dir = TempDir::new().unwrap();
    let partition = open(dir.path()).partition;
    append_run(&partition, 0, 0, 2_000);
    partition.checkpoint(b"one").unwrap();
    drop(partition);
    let first = dir.path().join("chunks-00000001/00000001.chunks");
    let file = fs::OpenOptions::new().write(true).open(&first).unwrap();
    file.set_len(100).unwrap();
    let opened = open(dir.path());
    assert_eq!((&opened.raft_state, opened.quarantined.len()), (&None, 1));
    assert!(dump(&opened.partition).is_empty());
    append_run(&opened.partition, 0, 0, 2_000);
    opened.partition.checkpoint(b"two").unwrap();
    drop(opened);
    assert_eq!(dump(&open(dir.path()).partition)[0].1.len(), 2_000);
}

#[test]
fn chunk_files_go_when_no_checkpoint_needs_them() {
    let dir = TempDir::new().unwrap();
    let partition = open(dir.path()).partition;
    append_run(&partition, 0, 0, 6_000);
    partition.checkpoint(b"1").unwrap();
    let all = chunk_files(dir.path());
    assert!(all.len() > 5, "{all:?}");
    partition.apply(&drop_covered(&tenant(), 5_900 * 15_000));
    partition.checkpoint(b"2").unwrap();
    assert_eq!(chunk_files(dir.path()), all, "the checkpoint before needs them");
    partition.checkpoint(b"3").unwrap();
    let left = chunk_files(dir.path());
    assert!(left.len() <= 2, "{left:?}");
    assert_eq!(file_names(dir.path(), ".checkpoint").len(), 2);
    let expected = dump(&partition);
    assert_eq!(expected[0].1.len(), 100);
    drop(partition);
    assert_eq!(dump(&open(dir.path()).partition), expected);
}

#[test]
fn a_capture_is_of_its_moment() {
    let dir = TempDir::new().unwrap();
    let partition = open(dir.path()).partition;
    append_run(&partition, 0, 0, 700);
    let captured = dump(&partition);
    let capture = partition.capture_checkpoint(b"then").unwrap();
    append_run(&partition, 0, 700 * 15_000, 2_000);
    partition.flush().unwrap();
    let later = partition.capture_checkpoint(b"later").unwrap();
    partition.save_checkpoint(capture).unwrap();
    let opened = open_copy(dir.path());
    assert_eq!(opened.raft_state.as_deref(), Some(&b"then"[..]));
    assert_eq!(dump(&opened.partition), captured);
    let last = partition.capture_checkpoint(b"last").unwrap();
    partition.save_checkpoint(last).unwrap();
    partition.save_checkpoint(later).unwrap();
    assert_eq!(open_copy(dir.path()).raft_state.as_deref(), Some(&b"last"[..]), "the last capture counts");
}

#[test]
fn an_installed_checkpoint_replaces_files_and_survives_a_restart() {
    let (from, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let source = open(from.path()).partition;
    append_run(&source, 0, 0, 1_500);
    append(&source, HOUR_MS, &[(0, 1_499 * 15_000 - 7, 4.0)]);
    let target = open(to.path()).partition;
    append_run(&target, 1, 0, 3_000);
    target.checkpoint(b"own").unwrap();
    let outdated = target.capture_checkpoint(b"own").unwrap();
    target.install_checkpoint(&source.export_checkpoint(), b"theirs").unwrap();
    assert!(matches!(target.save_checkpoint(outdated), Err(CheckpointError::Replaced)));
    assert_eq!(dump(&target), dump(&source));
    assert_eq!(open_copy(to.path()).raft_state.as_deref(), Some(&b"theirs"[..]));
    append_run(&target, 0, 1_500 * 15_000, 700);
    let expected = dump(&target);
    target.checkpoint(b"later").unwrap();
    drop(target);
    let opened = open(to.path());
    assert_eq!(opened.raft_state.as_deref(), Some(&b"later"[..]));
    assert_eq!(dump(&opened.partition), expected);
    assert_eq!(file_names(to.path(), "").iter().filter(|name| name.starts_with("chunks-")).count(), 1);
}
