//! One file of the log: its name, its header, and reading it back.
//!
//! [`scan`] is pure and takes any bytes. It tells a torn tail, which power loss leaves in the last batch, from damage, which
//! needs an explanation: a record that cannot be read although a later batch exists was on disk before.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::record::{self, Kind, RECORD_ALIGN, Record};

/// Bytes before the first record.
pub const HEADER_BYTES: usize = 64;
const MAGIC: &[u8; 8] = b"PHAROSLG";
const VERSION: u32 = 1;
/// Offset of the byte that says that the segment was rewritten.
const REPAIRED: usize = 24;

const SUFFIX: &str = ".seg";
const SPARE_PREFIX: &str = "spare-";

/// The first bytes of a segment.
pub fn header(segment: u64) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..24].copy_from_slice(&segment.to_le_bytes());
    let checksum = header_checksum(&bytes);
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn header_checksum(bytes: &[u8; HEADER_BYTES]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..12]);
    hasher.update(&bytes[16..]);
    hasher.finalize()
}

/// The first bytes of a segment that was rewritten after damage: it may have fewer records than the next one says.
pub(super) fn repaired_header(segment: u64) -> [u8; HEADER_BYTES] {
    let mut bytes = header(segment);
    bytes[REPAIRED] = 1;
    let checksum = header_checksum(&bytes);
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Whether a segment was rewritten after damage. Only to be asked of one whose header is valid.
pub(super) fn is_repaired(bytes: &[u8]) -> bool {
    bytes.get(REPAIRED) == Some(&1)
}

/// What the header of a segment tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderCheck {
    Valid,
    /// Checksum or sequence number is wrong, or the file ends in it.
    Damaged,
    /// Whole, but of a version that we do not know.
    Version(u32),
}

pub fn check_header(bytes: &[u8], segment: u64) -> HeaderCheck {
    let Some(Ok(head)) = bytes.get(..HEADER_BYTES).map(<&[u8; HEADER_BYTES]>::try_from) else {
        return HeaderCheck::Damaged;
    };
    let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    if &head[..8] != MAGIC || number(12) != header_checksum(head) {
        return HeaderCheck::Damaged;
    }
    match number(8) {
        VERSION if head[16..24] == segment.to_le_bytes() => HeaderCheck::Valid,
        VERSION => HeaderCheck::Damaged,
        version => HeaderCheck::Version(version),
    }
}

pub fn path(dir: &Path, segment: u64) -> PathBuf {
    dir.join(format!("{segment:020}{SUFFIX}"))
}

/// The sequence number in a segment's file name.
pub fn parse_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    (digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// A file that waits to become a segment.
pub fn spare_name(number: u64) -> String {
    format!("{SPARE_PREFIX}{number}{SUFFIX}")
}

pub fn is_spare_name(name: &str) -> bool {
    name.starts_with(SPARE_PREFIX) && name.ends_with(SUFFIX)
}

/// The number in a spare file's name.
pub fn spare_number(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix(SPARE_PREFIX)?.strip_suffix(SUFFIX)?.parse().ok()
}

/// Whether another segment follows the one that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Last,
    /// It must end in a seal.
    Inner,
}

/// What a segment holds.
#[derive(Debug)]
pub struct Scan<'a> {
    /// Valid records with their offsets, in order; the seal is not among them.
    pub records: Vec<(u32, Record<'a>)>,
    /// Ranges that held records once and cannot be read any more.
    pub damage: Vec<Range<usize>>,
    /// Where the next record would go.
    pub end: usize,
    /// Leftovers of a torn batch lie in `end..leftover_end`; they must be zeroed before anything is appended.
    pub leftover_end: usize,
    pub sealed: bool,
}

/// Reads all records of a segment's bytes.
pub fn scan(bytes: &[u8], segment: u64, place: Place) -> Scan<'_> {
    let mut scan = Scan { records: Vec::new(), damage: Vec::new(), end: HEADER_BYTES, leftover_end: 0, sealed: false };
    if check_header(bytes, segment) != HeaderCheck::Valid {
        scan.damage.push(0..HEADER_BYTES.min(bytes.len()));
    }
    let mut at = HEADER_BYTES;
    loop {
        match record::decode(bytes, at, segment) {
            Some(found) if found.kind == Kind::Seal => {
                scan.end = at + found.len;
                scan.leftover_end = scan.end;
                scan.sealed = true;
                return scan;
            }
            Some(found) => {
                scan.records.push((at as u32, found));
                at += found.len;
            }
            None => match next_record(bytes, at, segment) {
                Some(next) => {
                    scan.damage.push(at..next);
                    at = next;
                }
                None => break,
            },
        }
    }
    scan.end = at;
    scan.leftover_end = at;
    match place {
        Place::Inner => scan.damage.push(at..bytes.len().max(at)),
        Place::Last => cut_torn_tail(&mut scan),
    }
    scan
}

/// Power loss may keep some sectors of the last batch and lose others. The first unreadable place that no later batch
/// follows is where the log ends; the valid records behind it were never acknowledged.
fn cut_torn_tail(scan: &mut Scan<'_>) {
    let header_damaged = scan.damage.first().is_some_and(|range| range.start == 0);
    let gaps = scan.damage.iter().skip(usize::from(header_damaged));
    let Some(torn) = gaps.map(|gap| gap.start).find(|&gap| {
        scan.records.iter().rev().take_while(|(at, _)| *at as usize > gap).all(|(_, r)| r.batch_start as usize <= gap)
    }) else {
        return;
    };
    scan.records.retain(|(at, _)| (*at as usize) < torn);
    scan.damage.retain(|range| range.start < torn);
    scan.end = torn;
}

/// Where the next valid record after `from` begins.
fn next_record(bytes: &[u8], from: usize, segment: u64) -> Option<usize> {
    (from + RECORD_ALIGN..bytes.len().saturating_sub(record::FRAME_BYTES - 1))
        .step_by(RECORD_ALIGN)
        .find(|&at| record::looks_like_record(&bytes[at..]) && record::decode(bytes, at, segment).is_some())
}
