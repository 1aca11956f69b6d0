//! Damage to what a node that does not run has on disk: bits that flip in its log, files that are gone.
//!
//! Left alone is the last batch of the log, for nobody could tell it from one that was torn when the power went; and with it
//! what was acknowledged last would go. That disks do not do that is what a single replica's promise rests on.

use std::path::{Path, PathBuf};

use super::store::ElementList;
use crate::fs::sim::Sim;
use crate::log::segment::{self, HEADER_BYTES, Place};
use pharos_model::PartitionId;

const LOG: &str = "/node/log";

/// Does some harm, and says which; `None` when there is nothing to harm.
pub(super) fn harm(disk: &Sim, random: &mut fastrand::Rng) -> Option<String> {
    match random.u8(..8) {
        0 => lose_segment(disk, random),
        1 => lose(disk, &ElementList::path(PartitionId(random.u16(..5)))),
        2 => lose(disk, Path::new("/node/meta/checkpoint")),
        3 if random.bool() => lose_log(disk),
        _ => flip(disk, random),
    }
}

/// Numbers of the segments that there are, ascending.
fn segments(disk: &Sim) -> Vec<u64> {
    let in_log = disk.paths().into_iter().filter(|path| path.parent() == Some(Path::new(LOG)));
    let mut numbers: Vec<u64> = in_log.filter_map(|path| segment::parse_name(path.file_name()?.to_str()?)).collect();
    numbers.sort_unstable();
    numbers
}

fn path(number: u64) -> PathBuf {
    segment::path(Path::new(LOG), number)
}

fn lose(disk: &Sim, path: &Path) -> Option<String> {
    disk.content(path)?;
    disk.delete(path);
    Some(format!("{} is gone", path.display()))
}

/// One that another follows: which was the last, nobody knows.
fn lose_segment(disk: &Sim, random: &mut fastrand::Rng) -> Option<String> {
    let numbers = segments(disk);
    let inner = numbers.len().checked_sub(2)?;
    // The first may be gone because nobody needs it: that is seen where somebody does.
    let at = random.usize(1.min(inner)..=inner);
    lose(disk, &path(numbers[at]))
}

fn lose_log(disk: &Sim) -> Option<String> {
    let numbers = segments(disk);
    let lost: Vec<String> = numbers.iter().filter_map(|number| lose(disk, &path(*number))).collect();
    (!lost.is_empty()).then(|| "the log is gone".to_owned())
}

fn flip(disk: &Sim, random: &mut fastrand::Rng) -> Option<String> {
    let numbers = segments(disk);
    let number = *numbers.get(random.usize(..numbers.len().max(1)))?;
    let path = path(number);
    let mut bytes = disk.content(&path)?;
    let end = {
        let scan = segment::scan(&bytes, number, Place::Last);
        let last_batch = scan.records.last().map_or(0, |(_, record)| record.batch_start as usize);
        if scan.sealed { scan.end } else { last_batch }
    };
    if end <= HEADER_BYTES {
        return None;
    }
    let at = random.usize(..end);
    bytes[at] ^= 1 << random.u8(..8);
    disk.put(&path, bytes);
    Some(format!("a bit of byte {at} of segment {number} has flipped"))
}
