//! Puts a damaged log in order: the damaged segments are copied to `quarantine/`, then rewritten without what is lost.
//!
//! Works from the newest segment to the oldest, so that a crash in between leaves damage for the next start to find, never a gap
//! without a reason.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::OpenError;
use super::body;
use super::entry::GroupId;
use super::record::{self, Frame, Kind, Record};
use super::recovery::Quarantined;
use super::segment::{self, Place};
use crate::fs::{Fs, read_all};

/// The newest entry that a group keeps; entries above it are dropped wherever they are.
pub(super) type Keep = BTreeMap<GroupId, Option<u64>>;

const QUARANTINE: &str = "quarantine";

/// Rewrites these segments. Those with unreadable ranges, or gone, are reported.
pub(super) fn repair(
    fs: &dyn Fs,
    dir: &Path,
    segments: BTreeMap<u64, Vec<Range<usize>>>,
    keep: &Keep,
) -> Result<Vec<Quarantined>, OpenError> {
    let mut quarantined = Vec::new();
    for (number, ranges) in segments.into_iter().rev() {
        let path = segment::path(dir, number);
        let repaired = repair_segment(fs, dir, number, !ranges.is_empty(), keep);
        let copy = repaired.map_err(|source| OpenError::Io { path, source })?;
        match copy {
            Repaired::Rewritten => {}
            Repaired::Quarantined(copy) => quarantined.push(Quarantined { segment: number, ranges, copy: Some(copy) }),
            Repaired::Replaced => quarantined.push(Quarantined { segment: number, ranges, copy: None }),
        }
    }
    quarantined.reverse();
    Ok(quarantined)
}

enum Repaired {
    /// Undamaged itself; it lost entries that followed damage elsewhere.
    Rewritten,
    Quarantined(PathBuf),
    /// The segment was missing; an empty one stands in its place.
    Replaced,
}

fn repair_segment(fs: &dyn Fs, dir: &Path, number: u64, damaged: bool, keep: &Keep) -> io::Result<Repaired> {
    let path = segment::path(dir, number);
    let file = match fs.open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            write_segment(fs, dir, number, &[])?;
            return Ok(Repaired::Replaced);
        }
        Err(error) => return Err(error),
    };
    let bytes = read_all(&*file)?;
    // As the last one: a torn tail in it is still only a torn tail.
    let scan = segment::scan(&bytes, number, Place::Last);
    let kept: Vec<&Record<'_>> = scan.records.iter().map(|(_, record)| record).filter(|r| keeps(keep, r)).collect();
    let copy = if damaged { Some(quarantine(fs, dir, number, &bytes)?) } else { None };
    write_segment(fs, dir, number, &kept)?;
    Ok(copy.map_or(Repaired::Rewritten, Repaired::Quarantined))
}

fn keeps(keep: &Keep, record: &Record<'_>) -> bool {
    let Some(&last) = keep.get(&record.group).filter(|_| record.kind == Kind::Entry) else { return true };
    body::entry_id(record.payload).is_some_and(|id| Some(id.index) <= last)
}

/// Writes a sealed segment of these records under the number, in one step.
fn write_segment(fs: &dyn Fs, dir: &Path, number: u64, records: &[&Record<'_>]) -> io::Result<()> {
    let mut bytes = segment::repaired_header(number).to_vec();
    for record in records {
        let frame = alone(number, bytes.len(), record.group, record.kind);
        record::encode(&mut bytes, frame, |out| out.extend_from_slice(record.payload));
    }
    let seal = alone(number, bytes.len(), GroupId(u32::MAX), Kind::Seal);
    record::encode(&mut bytes, seal, |_| {});
    crate::fs::replace(fs, &segment::path(dir, number), &bytes)
}

/// Each record its own batch: everything in a rewritten segment is durable, so nothing of it can be torn.
fn alone(segment: u64, offset: usize, group: GroupId, kind: Kind) -> Frame {
    let offset = offset as u32;
    Frame { segment, offset, batch_start: offset, group, kind }
}

fn quarantine(fs: &dyn Fs, dir: &Path, number: u64, bytes: &[u8]) -> io::Result<PathBuf> {
    let quarantine = dir.join(QUARANTINE);
    fs.create_dir_all(&quarantine)?;
    fs.sync_dir(dir)?;
    let taken = fs.list(&quarantine)?;
    let names = (0..).map(|attempt| format!("{number:020}-{attempt}.seg"));
    let name = names.into_iter().find(|name| !taken.contains(name)).expect("names do not end");
    let copy = quarantine.join(name);
    crate::fs::replace(fs, &copy, bytes)?;
    Ok(copy)
}
