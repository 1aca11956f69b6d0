//! Recovery of a log whose records have valid checksums and any content, and of one with damaged bytes besides: it opens or says
//! why not, what it opens is consecutive, and opening it again finds the same and no damage.
#![no_main]

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use pharos_cluster::fs::{File, Fs, LockGuard};
use pharos_cluster::log::entry::{Entry, GroupId, HardState};
use pharos_cluster::log::record::{Frame, Kind, encode};
use pharos_cluster::log::segment::{HEADER_BYTES, header, path};
use pharos_cluster::log::{Log, LogError, LogOptions, OpenError, RecoveryReport};
use pharos_cluster::metrics::{LogMetrics, Metrics};
use pharos_model::clock::ManualClock;

const DIR: &str = "/log";
const SEGMENT_BYTES: usize = 4 << 10;
const SEGMENTS_MAX: usize = 4;
const GROUPS: u32 = 3;
const OPTIONS: LogOptions = LogOptions {
    segment_bytes: SEGMENT_BYTES as u64,
    first_segment_bytes: SEGMENT_BYTES as u64,
    record_bytes_max: SEGMENT_BYTES as u64 / 4,
    spare_segments: 1,
    batch_bytes_max: SEGMENT_BYTES,
    cache_bytes_max: SEGMENT_BYTES as u64,
    retry_interval: Duration::from_millis(1),
};

static METRICS: LazyLock<LogMetrics> =
    LazyLock::new(|| Metrics::register(&prometheus::Registry::new()).expect("a registry of its own").log);

#[derive(Arbitrary, Debug)]
struct Input {
    segments: Vec<Segment>,
    damage: Vec<Damage>,
}

#[derive(Arbitrary, Debug)]
struct Segment {
    is_missing: bool,
    records: Vec<Record>,
    is_sealed: bool,
}

#[derive(Arbitrary, Debug)]
struct Record {
    group: u8,
    begins_batch: bool,
    content: Content,
}

/// Contents that make sense, more often than random bytes would, and random bytes.
#[derive(Arbitrary, Debug)]
enum Content {
    Blank(Id),
    Commands(Id, Vec<Vec<u8>>),
    Membership(Id, Vec<u8>),
    Vote { term: u8, node: u8, committed: bool },
    Committed(Id),
    Truncate(Index),
    Purge(Id),
    Base { committed: Option<Id>, purged: Option<Id> },
    Raw { kind: u8, payload: Vec<u8> },
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Id {
    term: u8,
    index: Index,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Index {
    Near(u8),
    Far(u64),
}

#[derive(Arbitrary, Debug)]
enum Damage {
    Flip { segment: u8, at: u16, bits: u8 },
    Cut { segment: u8, len: u16 },
}

fuzz_target!(|input: Input| {
    let memory = Arc::new(Memory::default());
    for (at, segment) in input.segments.iter().take(SEGMENTS_MAX).enumerate().filter(|(_, it)| !it.is_missing) {
        let number = at as u64 + 1;
        memory.insert(&path(Path::new(DIR), number), segment_bytes(segment, number));
    }
    input.damage.iter().for_each(|damage| apply_damage(&memory, damage));
    let Ok((found, _)) = read_log(&memory) else { return };
    let (again, report) = read_log(&memory).expect("a log that was repaired opens");
    assert_eq!(again, found);
    assert_eq!((report.quarantined, report.losses), (Vec::new(), Vec::new()));
});

type Found = BTreeMap<GroupId, (HardState, Result<Vec<Entry>, LogError>)>;

/// What an opened log has of each group.
fn read_log(memory: &Arc<Memory>) -> Result<(Found, RecoveryReport), OpenError> {
    let fs = Arc::clone(memory) as Arc<dyn Fs>;
    let (log, report) = Log::open(fs, Path::new(DIR), OPTIONS, Arc::new(ManualClock::default()), METRICS.clone())?;
    let group = |id| {
        let handle = log.group(GroupId(id));
        let (hard, entries) = (handle.hard_state(), handle.read(0, u64::MAX));
        if let Ok(entries) = &entries {
            let first = hard.purged.map_or(0, |purged| purged.index.saturating_add(1));
            assert!(entries.iter().map(|entry| entry.id.index).eq((first..).take(entries.len())), "a gap");
            assert_eq!(handle.last(), entries.last().map(|entry| entry.id).or(hard.purged));
        }
        (GroupId(id), (hard, entries))
    };
    let found = (0..GROUPS).map(group).collect();
    log.stop();
    Ok((found, report))
}

fn segment_bytes(segment: &Segment, number: u64) -> Vec<u8> {
    let mut bytes = header(number).to_vec();
    let mut batch_start = HEADER_BYTES;
    for record in &segment.records {
        let start = bytes.len();
        if record.begins_batch {
            batch_start = start;
        }
        put_record(&mut bytes, number, batch_start, record);
        if bytes.len() + HEADER_BYTES > SEGMENT_BYTES {
            bytes.truncate(start);
            break;
        }
    }
    if segment.is_sealed {
        let offset = bytes.len() as u32;
        let frame = Frame { segment: number, offset, batch_start: offset, group: GroupId(u32::MAX), kind: Kind::Seal };
        encode(&mut bytes, frame, |_| {});
    }
    bytes.resize(SEGMENT_BYTES, 0);
    bytes
}

fn put_record(out: &mut Vec<u8>, segment: u64, batch_start: usize, record: &Record) {
    let (kind, payload) = payload(&record.content);
    let group = GroupId(u32::from(record.group) % GROUPS);
    let frame = Frame { segment, offset: out.len() as u32, batch_start: batch_start as u32, group, kind };
    encode(out, frame, |out| out.extend_from_slice(&payload));
}

/// The layouts of `docs/format/log.md`.
fn payload(content: &Content) -> (Kind, Vec<u8>) {
    const KINDS: [Kind; 6] = [Kind::Entry, Kind::Vote, Kind::Committed, Kind::Truncate, Kind::Purge, Kind::Base];
    match content {
        Content::Blank(id) => (Kind::Entry, [id.bytes(), vec![0]].concat()),
        Content::Commands(id, commands) => {
            let mut bytes = [id.bytes(), vec![1], (commands.len() as u32).to_le_bytes().to_vec()].concat();
            for command in commands {
                bytes.extend_from_slice(&(command.len() as u32).to_le_bytes());
                bytes.extend_from_slice(command);
            }
            (Kind::Entry, bytes)
        }
        Content::Membership(id, members) => (Kind::Entry, [id.bytes(), vec![2], members.clone()].concat()),
        Content::Vote { term, node, committed } => {
            let numbers = [u64::from(*term), u64::from(*node)].map(u64::to_le_bytes).concat();
            (Kind::Vote, [numbers, vec![u8::from(*committed)]].concat())
        }
        Content::Committed(id) => (Kind::Committed, id.bytes()),
        Content::Truncate(index) => (Kind::Truncate, index.number().to_le_bytes().to_vec()),
        Content::Purge(id) => (Kind::Purge, id.bytes()),
        Content::Base { committed, purged } => {
            let option = |id: &Option<Id>| id.map_or(vec![0], |id| [vec![1], id.bytes()].concat());
            (Kind::Base, [vec![0], option(committed), option(purged)].concat())
        }
        Content::Raw { kind, payload } => (KINDS[usize::from(*kind) % KINDS.len()], payload.clone()),
    }
}

impl Id {
    fn bytes(self) -> Vec<u8> {
        [u64::from(self.term), 1, self.index.number()].map(u64::to_le_bytes).concat()
    }
}

impl Index {
    fn number(self) -> u64 {
        match self {
            Self::Near(index) => u64::from(index % 16),
            Self::Far(index) => index,
        }
    }
}

fn apply_damage(memory: &Memory, damage: &Damage) {
    let (Damage::Flip { segment, .. } | Damage::Cut { segment, .. }) = damage;
    let path = path(Path::new(DIR), u64::from(*segment) % SEGMENTS_MAX as u64 + 1);
    let Ok(file) = memory.find(&path) else { return };
    let mut bytes = file.bytes();
    match damage {
        Damage::Flip { at, bits, .. } => {
            let at = usize::from(*at);
            bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= bits);
        }
        Damage::Cut { len, .. } => bytes.truncate(usize::from(*len)),
    }
}

/// Files in memory: one directory, durable at once.
#[derive(Debug, Default)]
struct Memory(Mutex<BTreeMap<PathBuf, Arc<MemoryFile>>>);

#[derive(Debug, Default)]
struct MemoryFile(Mutex<Vec<u8>>);

impl Memory {
    fn files(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Arc<MemoryFile>>> {
        self.0.lock().expect("no panic while locked")
    }

    fn insert(&self, path: &Path, bytes: Vec<u8>) -> Arc<MemoryFile> {
        let file = Arc::new(MemoryFile(Mutex::new(bytes)));
        self.files().insert(path.to_owned(), Arc::clone(&file));
        file
    }

    fn find(&self, path: &Path) -> io::Result<Arc<MemoryFile>> {
        self.files().get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl MemoryFile {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().expect("no panic while locked")
    }
}

impl Fs for Memory {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(self.insert(path, Vec::new()))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(self.find(path)?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let file = self.files().remove(from).ok_or(io::ErrorKind::NotFound)?;
        self.files().insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files().remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let files = self.files();
        let names =
            files.keys().filter(|path| path.parent() == Some(dir)).filter_map(|path| path.file_name()?.to_str());
        Ok(names.map(str::to_owned).collect())
    }

    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _: &Path) -> io::Result<LockGuard> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl File for MemoryFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.bytes().len() as u64)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start.checked_add(buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(self.bytes().get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_all_at(&self, written: &[u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let mut bytes = self.bytes();
        if bytes.len() < start + written.len() {
            bytes.resize(start + written.len(), 0);
        }
        bytes[start..start + written.len()].copy_from_slice(written);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}
