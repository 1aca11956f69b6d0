//! Reading a log back: what every group still has, and what was found damaged.
//!
//! A torn tail is cut without a word: nothing in it was acknowledged. Damage elsewhere is handed to [`super::repair`], which
//! quarantines the segment and rewrites what is left, so that a second reading finds a whole log; groups lose the entries
//! that do not follow one another any more.
//!
//! **Whose records were damaged** is told by the next segment, which begins with how many each group had before. Where it does not tell,
//! any group may have lost something: entries that it acknowledged, or whom it voted for. A group that has all of its log in later
//! segments lost nothing that counts: these begin with its vote, too. Segments before the first one may be given back, or lost: that one tells which
//! entries each group had then, and those that were not purged meanwhile have to be there.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tracing::{error, info};

use super::body::{self, Base};
use super::damage::{self, Damage};
use super::entry::{GroupId, HardState, LogId};
use super::index::Place;
use super::record::{Kind, Record};
use super::repair::{self, Keep};
use super::segment::{self, HEADER_BYTES, HeaderCheck, Scan};
use super::spare::write_zeros;
use super::writer::Current;
use super::{OpenError, SegmentFile};
use crate::fs::{File, Fs, read_all};

/// What opening a log found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    pub segments: usize,
    pub records: u64,
    /// Bytes of records that the last batch lost: never acknowledged.
    pub torn_bytes: u64,
    pub quarantined: Vec<Quarantined>,
    /// Groups that lost entries because of damage, as far as it shows in what is left of them.
    pub losses: Vec<GroupLoss>,
    /// Groups that may have lost something, at this start or one before, and have not been made anew.
    pub damage: Damage,
}

/// A segment that was damaged other than by a torn tail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    pub segment: u64,
    /// Unreadable ranges of bytes.
    pub ranges: Vec<Range<usize>>,
    /// The copy; `None` for a segment that was gone.
    pub copy: Option<PathBuf>,
}

/// What damage took from a group, as far as it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupLoss {
    pub group: GroupId,
    /// Index of the newest entry that is left.
    pub last: Option<u64>,
    /// Readable entries given up because some before them are gone.
    pub entries: u64,
}

/// A log as read back.
#[derive(Debug, Default)]
pub(super) struct Recovered {
    pub groups: BTreeMap<GroupId, RecoveredGroup>,
    pub segments: BTreeMap<u64, SegmentFile>,
    /// The segment to go on with.
    pub tail: Option<Current>,
    /// Records of each group in the newest segment, without the bases.
    pub newest_records: BTreeMap<GroupId, u64>,
}

#[derive(Debug, Default)]
pub(super) struct RecoveredGroup {
    pub hard: HardState,
    /// Consecutive, beginning after `hard.purged`.
    pub entries: Vec<(LogId, Place)>,
}

impl RecoveredGroup {
    /// Index of its newest entry, or of the newest one purged.
    pub(super) fn last(&self) -> Option<u64> {
        self.entries.last().map(|(id, _)| id.index).or(self.hard.purged.map(|id| id.index))
    }
}

/// Reads the log in `dir`, repairing it first if needed.
pub(super) fn recover(fs: &dyn Fs, dir: &Path) -> Result<(Recovered, RecoveryReport), OpenError> {
    let first = read(fs, dir)?;
    let mut report = first.report;
    let io_error = |source| OpenError::Io { path: dir.to_owned(), source };
    let known = damage::read(fs, dir).map_err(io_error)?;
    report.damage.add(&known);
    if report.damage != known {
        damage::write(fs, dir, &report.damage).map_err(io_error)?;
    }
    if !first.repairs.is_empty() || report.damage != known {
        report.quarantined = repair::repair(fs, dir, first.repairs, &first.keep)?;
        report_damage(&report);
        let second = read(fs, dir)?;
        if let Some(segment) = second.repairs.keys().next() {
            return Err(OpenError::RepairFailed { segment: *segment });
        }
        return finish(dir, second.recovered, second.tail, report);
    }
    finish(dir, first.recovered, first.tail, report)
}

fn report_damage(report: &RecoveryReport) {
    for Quarantined { segment, ranges, copy } in &report.quarantined {
        error!(segment, ?ranges, ?copy, "damaged log segment quarantined");
    }
    for GroupLoss { group, last, entries } in &report.losses {
        error!(%group, ?last, entries, "a group lost entries of its log, what came after the damage was given up");
    }
    if report.damage.any {
        error!("nothing tells which groups had records where the log is damaged, all of them count as damaged");
    } else if !report.damage.is_none() {
        error!(damage = ?report.damage, "groups count as damaged, they may have lost entries or votes");
    }
}

/// Makes sure of what the last run may not have synced, now that it counts as part of the log.
fn finish(
    dir: &Path,
    mut recovered: Recovered,
    tail: Option<Tail>,
    report: RecoveryReport,
) -> Result<(Recovered, RecoveryReport), OpenError> {
    if let Some(tail) = tail {
        let path = segment::path(dir, tail.segment);
        settle(&tail).map_err(|source| OpenError::Io { path, source })?;
        let len = tail.bytes.len() as u64;
        recovered.tail = Some(Current { segment: tail.segment, file: tail.file, len, end: tail.end as u64 });
    }
    info!(segments = report.segments, records = report.records, torn_bytes = report.torn_bytes, "log read");
    Ok((recovered, report))
}

/// Writes the last batch once more before syncing: if the last run's sync failed, the kernel holds these bytes for clean and
/// would not write them. What a torn batch left behind is zeroed, lest it follow a record written in its place.
fn settle(tail: &Tail) -> io::Result<()> {
    tail.file.write_all_at(&tail.bytes[tail.batch_start..tail.end], tail.batch_start as u64)?;
    write_zeros(&*tail.file, tail.end as u64, tail.leftover_end as u64)?;
    tail.file.sync_data()
}

/// The last segment, when more can be appended to it.
struct Tail {
    segment: u64,
    file: Arc<dyn File>,
    bytes: Vec<u8>,
    batch_start: usize,
    end: usize,
    leftover_end: usize,
}

/// One pass over all segments.
pub(super) struct Reading {
    pub recovered: Recovered,
    report: RecoveryReport,
    tail: Option<Tail>,
    /// Segments to rewrite, with their unreadable ranges.
    pub repairs: BTreeMap<u64, Vec<Range<usize>>>,
    /// Newest entry to keep of each group that lost some.
    keep: Keep,
}

pub(super) fn read(fs: &dyn Fs, dir: &Path) -> Result<Reading, OpenError> {
    let io_error = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Io { path, source }
    };
    let names = fs.list(dir).map_err(io_error(dir))?;
    let numbers: Vec<u64> = names.iter().filter_map(|name| segment::parse_name(name)).collect();
    let mut reader = Reader::default();
    let (Some(&first), Some(&last)) = (numbers.iter().min(), numbers.iter().max()) else {
        return Ok(reader.finish());
    };
    for number in first..=last {
        let place = if number == last { segment::Place::Last } else { segment::Place::Inner };
        if !numbers.contains(&number) {
            reader.repairs.insert(number, Vec::new());
            reader.judge(number, true, BTreeMap::new());
            continue;
        }
        let path = segment::path(dir, number);
        let file = fs.open(&path).map_err(io_error(&path))?;
        let bytes = read_all(&*file).map_err(io_error(&path))?;
        if let HeaderCheck::Version(version) = segment::check_header(&bytes, number) {
            return Err(OpenError::Version { path, version });
        }
        let scan = segment::scan(&bytes, number, place);
        reader.take(number, &scan, segment::is_repaired(&bytes))?;
        reader.recovered.segments.insert(number, SegmentFile::new(&file, bytes.len() as u64));
        if place == segment::Place::Last && !scan.sealed && scan.damage.is_empty() {
            reader.report.torn_bytes = (scan.leftover_end - scan.end) as u64;
            let batch_start = scan.records.last().map_or(HEADER_BYTES, |(_, record)| record.batch_start as usize);
            let (end, leftover_end) = (scan.end, scan.leftover_end);
            drop(scan);
            reader.tail = Some(Tail { segment: number, file, bytes, batch_start, end, leftover_end });
        }
    }
    Ok(reader.finish())
}

#[derive(Default)]
struct Reader {
    recovered: Recovered,
    report: RecoveryReport,
    tail: Option<Tail>,
    repairs: BTreeMap<u64, Vec<Range<usize>>>,
    groups: BTreeMap<GroupId, Replay>,
    /// Records of each group in the segment that was read last, if that is damaged.
    damaged: Option<(u64, BTreeMap<GroupId, u64>)>,
    /// Groups that had more records in a damaged segment than were read, with the newest such segment.
    suspects: BTreeMap<GroupId, u64>,
    /// It cannot be told whose records were damaged.
    any: bool,
}

/// How many records each group had in the segment before, as this one says; `None` when it does not.
fn bases(scan: &Scan<'_>) -> Option<Vec<(GroupId, u64)>> {
    let bases = scan.records.iter().map(|(_, record)| record).take_while(|record| record.kind == Kind::Base);
    bases.map(|record| Some((record.group, body::base(record.payload)?.records?))).collect()
}

/// A group's records replayed. Entries may have gaps until the end, for later records may purge what was before them.
#[derive(Default)]
struct Replay {
    hard: HardState,
    entries: BTreeMap<u64, (LogId, Place)>,
    /// All segments that hold entries of the group, with the highest index in them.
    highest: BTreeMap<u64, u64>,
    /// The newest entry of those that were written before the first segment and that nothing was written in place of.
    before: Option<u64>,
}

/// A group's log as far as it goes without gaps.
struct Replayed {
    group: RecoveredGroup,
    /// Entries behind a gap.
    lost: u64,
    /// Entries are missing that were there when the first segment began.
    begins_late: bool,
}

impl Reader {
    fn take(&mut self, segment: u64, scan: &Scan<'_>, repaired: bool) -> Result<(), OpenError> {
        self.report.segments += 1;
        self.report.records += scan.records.len() as u64;
        let is_damaged = !scan.damage.is_empty();
        if is_damaged {
            self.repairs.insert(segment, scan.damage.clone());
            // What it lost before is not known any more.
            self.any |= repaired;
        }
        let mut records = BTreeMap::new();
        // What bases say is said again by the next ones.
        for (_, record) in scan.records.iter().filter(|(_, record)| record.kind != Kind::Base) {
            *records.entry(record.group).or_default() += 1;
        }
        if let Some((before, read)) = self.damaged.take() {
            match bases(scan).filter(|_| !is_damaged) {
                Some(counts) => {
                    let fewer = |(group, count): &(GroupId, u64)| read.get(group).copied().unwrap_or(0) < *count;
                    self.suspects.extend(counts.into_iter().filter(fewer).map(|(group, _)| (group, before)));
                }
                None => self.any = true,
            }
        }
        self.recovered.newest_records.clone_from(&records);
        self.judge(segment, is_damaged, records);
        for (offset, record) in &scan.records {
            let place = Place { segment, offset: *offset, len: record.len as u32 };
            let replay = self.groups.entry(record.group).or_default();
            replay
                .apply(record, place, self.report.segments == 1)
                .ok_or(OpenError::UnknownRecord { segment, offset: *offset })?;
        }
        Ok(())
    }

    /// Notes what was read of a segment, for the next one to tell what is missing.
    fn judge(&mut self, segment: u64, is_damaged: bool, records: BTreeMap<GroupId, u64>) {
        // Two in a row: the second might have told.
        self.any |= self.damaged.is_some();
        self.damaged = is_damaged.then_some((segment, records));
    }

    fn finish(mut self) -> Reading {
        let mut keep = Keep::new();
        // Nothing comes after it that tells.
        let any = self.any || self.damaged.is_some();
        let mut damaged = BTreeSet::new();
        for (id, replay) in std::mem::take(&mut self.groups) {
            let highest = replay.highest.clone();
            let Replayed { group, lost, begins_late } = replay.finish();
            let begins = group.entries.first().map(|(_, place)| place.segment);
            let suspect = self.suspects.remove(&id).is_some_and(|segment| begins.is_none_or(|first| first <= segment));
            if suspect || lost > 0 || begins_late {
                damaged.insert(id);
            }
            if lost > 0 || begins_late {
                let last = group.last();
                keep.insert(id, last);
                self.report.losses.push(GroupLoss { group: id, last, entries: lost });
                for (&segment, _) in highest.iter().filter(|(_, highest)| Some(**highest) > last) {
                    self.repairs.entry(segment).or_default();
                }
            }
            self.recovered.groups.insert(id, group);
        }
        // Groups of which nothing is left at all.
        damaged.extend(self.suspects.into_keys());
        self.report.damage = Damage::of(damaged, any);
        let Self { recovered, report, tail, repairs, .. } = self;
        Reading { recovered, report, tail, repairs, keep }
    }
}

impl Replay {
    /// `None` when the payload cannot be understood. `is_first`: the record is in the first segment.
    fn apply(&mut self, record: &Record<'_>, place: Place, is_first: bool) -> Option<()> {
        match record.kind {
            Kind::Entry => {
                let id = body::entry_id(record.payload)?;
                // What is purged stays so, whatever comes after it.
                if self.hard.purged.is_some_and(|purged| id.index <= purged.index) {
                    return Some(());
                }
                self.truncate(id.index);
                self.entries.insert(id.index, (id, place));
                let highest = self.highest.entry(place.segment).or_default();
                *highest = id.index.max(*highest);
            }
            Kind::Vote => self.hard.vote = Some(body::vote(record.payload)?),
            Kind::Committed => self.hard.committed = Some(body::log_id(record.payload)?),
            Kind::Truncate => self.truncate(body::index(record.payload)?),
            Kind::Purge => self.purge(body::log_id(record.payload)?),
            Kind::Base => {
                let Base { state, last, .. } = body::base(record.payload)?;
                self.hard = HardState { purged: self.hard.purged, ..state };
                if is_first {
                    self.before = last;
                }
                if let Some(purged) = state.purged {
                    self.purge(purged);
                }
            }
            Kind::Drop => *self = Self { hard: self.hard.dropped_at(body::index(record.payload)?), ..Self::default() },
            Kind::Seal => {}
        }
        Some(())
    }

    fn truncate(&mut self, from: u64) {
        self.entries.split_off(&from);
        self.before = self.before.min(from.checked_sub(1));
    }

    fn purge(&mut self, upto: LogId) {
        if self.hard.purged < Some(upto) {
            self.hard.purged = Some(upto);
            self.entries = self.entries.split_off(&(upto.index + 1));
        }
    }

    fn finish(self) -> Replayed {
        let first = self.hard.purged.map_or(0, |purged| purged.index + 1);
        let total = self.entries.len() as u64;
        let run = self.entries.into_iter().zip(first..);
        let entries: Vec<_> = run.take_while(|((index, _), want)| index == want).map(|((_, entry), _)| entry).collect();
        let lost = total - entries.len() as u64;
        let last = entries.last().map(|(id, _)| *id).or(self.hard.purged);
        let hard = HardState { committed: self.hard.committed.min(last), ..self.hard };
        let begins_late = entries.is_empty() && self.before.is_some_and(|before| before >= first);
        Replayed { group: RecoveredGroup { hard, entries }, lost, begins_late }
    }
}

/// The entry in a record that was read from `place`, checked again.
pub(super) fn read_entry(bytes: Vec<u8>, place: Place) -> Option<super::entry::Entry> {
    let bytes = Bytes::from(bytes);
    let record = super::record::decode_alone(&bytes, place.offset, place.segment)?;
    if record.kind != Kind::Entry {
        return None;
    }
    body::entry(&bytes.slice_ref(record.payload))
}
