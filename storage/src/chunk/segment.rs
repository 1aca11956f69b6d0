//! One append-only file of full chunks.
//!
//! Chunks are first kept in a tail in memory, then written behind one another; what is written is read through a map.
//! So a full disk never fails an append: the tail grows until there is room again, and whoever proposes samples is
//! told to wait. Layout: `docs/format/chunk.md`.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use pharos_model::TimestampMs;

use super::codec::{CHUNK_BYTES_MAX, CHUNK_SAMPLES_MAX};
use super::histogram::HISTOGRAM_CHUNK_BYTES_MAX;
use crate::fs::{File, FileSystem, Map};
use crate::record::SeriesRef;
use crate::wire::Reader;

pub(crate) const CHUNK_HEADER_BYTES: usize = 28;
pub(crate) const SEGMENT_HEADER_BYTES: usize = 16;
const SEGMENT_MAGIC: &[u8; 8] = b"PHCHUNK1";
const FLAG_LATE: u8 = 1;
const FLAG_HISTOGRAM: u8 = 2;
const FLAG_STARTS: u8 = 4;
const STARTS_LEN_BYTES: usize = 2;

/// Where a full chunk is: segment number and byte offset.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ChunkPtr(u64);

impl ChunkPtr {
    /// No chunk: segments count from 1.
    pub(crate) const NONE: Self = Self(0);

    fn new(segment: u32, offset: usize) -> Self {
        Self(u64::from(segment) << 32 | offset as u64)
    }

    pub(crate) fn segment(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(crate) fn offset(self) -> usize {
        self.0 as u32 as usize
    }

    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

impl fmt::Debug for ChunkPtr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.segment(), self.offset())
    }
}

/// What stands before the stream of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkHeader {
    pub(crate) series: SeriesRef,
    /// The chunk of the same series that was cut before this one.
    pub(crate) prev: ChunkPtr,
    pub(crate) max_ts: TimestampMs,
    pub(crate) count: u8,
    /// Whether it holds late samples, which lie among those of other chunks.
    pub(crate) late: bool,
    pub(crate) kind: ChunkKind,
}

/// What the samples of a chunk are, and so which stream it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChunkKind {
    Float,
    Histogram,
}

impl ChunkKind {
    fn stream_bytes_max(self) -> usize {
        match self {
            Self::Float => CHUNK_BYTES_MAX,
            Self::Histogram => HISTOGRAM_CHUNK_BYTES_MAX,
        }
    }
}

/// A chunk that was read: its stream, and the start timestamps of its samples, empty when none has one. To be used again.
#[derive(Debug, Default)]
pub(crate) struct ChunkBytes {
    pub(crate) stream: Vec<u8>,
    pub(crate) starts: Vec<u8>,
}

impl ChunkBytes {
    fn clear(&mut self) {
        self.stream.clear();
        self.starts.clear();
    }
}

/// Bytes that a chunk takes in its file.
pub(crate) fn chunk_bytes(stream: &[u8], starts: &[u8]) -> usize {
    let starts_len = if starts.is_empty() { 0 } else { STARTS_LEN_BYTES + starts.len() };
    CHUNK_HEADER_BYTES + stream.len() + starts_len
}

/// Why the bytes at a place are not the chunk that should be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkDamage {
    pub(crate) at: ChunkPtr,
    pub(crate) reason: &'static str,
}

/// A segment: its file, or what of it is not in the file yet.
#[derive(Debug)]
pub(crate) struct Segment {
    id: u32,
    path: PathBuf,
    capacity: usize,
    backing: OnceLock<Backing>,
    /// Bytes that the file has; everything below is read through the map. Only moves under the lock of `tail`.
    written: AtomicUsize,
    /// Bytes of the file that survive a power loss.
    synced: AtomicUsize,
    /// A sync failed. The kernel may have dropped what it could not write, and would call the next sync a success.
    sync_failed: AtomicBool,
    tail: Mutex<Vec<u8>>,
}

#[derive(Debug)]
struct Backing {
    file: Arc<dyn File>,
    map: Map,
}

impl Segment {
    /// A new, empty segment. Its file is made by the first [`Self::flush`].
    pub(crate) fn create(id: u32, path: PathBuf, capacity: usize) -> Self {
        let mut tail = Vec::new();
        tail.extend_from_slice(SEGMENT_MAGIC);
        tail.extend_from_slice(&id.to_le_bytes());
        tail.extend_from_slice(&crc32fast::hash(&tail).to_le_bytes());
        Self {
            id,
            path,
            capacity,
            backing: OnceLock::new(),
            written: AtomicUsize::new(0),
            synced: AtomicUsize::new(0),
            sync_failed: AtomicBool::new(false),
            tail: Mutex::new(tail),
        }
    }

    /// A segment that a checkpoint says has `len` bytes. Changes nothing; [`Self::cut`] comes before the first append.
    pub(crate) fn reopen(
        files: &dyn FileSystem,
        id: u32,
        path: PathBuf,
        capacity: usize,
        len: usize,
    ) -> io::Result<Self> {
        let file = files.open(&path)?;
        let found = file.len()?;
        if found < len as u64 {
            let text = format!("{} has {found} bytes where the checkpoint says {len}", path.display());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        let capacity = capacity.max(len);
        let map = file.map(capacity)?;
        if !is_segment_header(&map.as_slice()[..len], id) {
            let text = format!("{} does not begin like chunk segment {id}", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let segment = Self {
            id,
            path,
            capacity,
            backing: OnceLock::new(),
            written: AtomicUsize::new(len),
            synced: AtomicUsize::new(len),
            sync_failed: AtomicBool::new(false),
            tail: Mutex::new(Vec::new()),
        };
        segment.backing.set(Backing { file, map }).expect("the segment was just made");
        Ok(segment)
    }

    /// Cuts off what the file of a reopened segment has beyond its checkpoint: the log brings it again.
    pub(crate) fn cut(&self) -> io::Result<()> {
        let Some(backing) = self.backing.get() else { return Ok(()) };
        backing.file.set_len(self.written.load(Ordering::Acquire) as u64)
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    pub(crate) fn path(&self) -> &PathBuf {
        &self.path
    }

    /// Bytes with and without those that are not in the file yet.
    pub(crate) fn len(&self) -> usize {
        let tail = self.tail.lock();
        self.written.load(Ordering::Acquire) + tail.len()
    }

    pub(crate) fn tail_len(&self) -> usize {
        self.tail.lock().len()
    }

    pub(crate) fn has_room_for(&self, bytes: usize) -> bool {
        self.len() + bytes <= self.capacity
    }

    /// Appends a chunk to the tail. The caller has asked [`Self::has_room_for`].
    pub(crate) fn append(&self, header: &ChunkHeader, stream: &[u8], starts: &[u8]) -> ChunkPtr {
        let mut tail = self.tail.lock();
        let offset = self.written.load(Ordering::Acquire) + tail.len();
        let start = tail.len();
        tail.extend_from_slice(&[0; 4]);
        tail.extend_from_slice(&(stream.len() as u16).to_le_bytes());
        tail.push(header.count);
        tail.push(flags(header) | if starts.is_empty() { 0 } else { FLAG_STARTS });
        tail.extend_from_slice(&header.series.0.to_le_bytes());
        tail.extend_from_slice(&header.prev.to_bits().to_le_bytes());
        tail.extend_from_slice(&header.max_ts.to_le_bytes());
        tail.extend_from_slice(stream);
        if !starts.is_empty() {
            tail.extend_from_slice(&(starts.len() as u16).to_le_bytes());
            tail.extend_from_slice(starts);
        }
        let crc = crc32fast::hash(&tail[start + 4..]);
        tail[start..start + 4].copy_from_slice(&crc.to_le_bytes());
        ChunkPtr::new(self.id, offset)
    }

    /// Writes the tail to the file. After a failure the tail is whole, and is written again at the same place.
    pub(crate) fn flush(&self, files: &dyn FileSystem) -> io::Result<()> {
        let mut tail = self.tail.lock();
        if tail.is_empty() {
            return Ok(());
        }
        let backing = match self.backing.get() {
            Some(backing) => backing,
            None => {
                let file = files.open(&self.path)?;
                // Anything there is left over from before a crash: no checkpoint knows it.
                file.set_len(0)?;
                let map = file.map(self.capacity)?;
                self.backing.get_or_init(|| Backing { file, map })
            }
        };
        let written = self.written.load(Ordering::Acquire);
        backing.file.write_all_at(&tail, written as u64)?;
        self.written.store(written + tail.len(), Ordering::Release);
        *tail = Vec::new();
        Ok(())
    }

    /// Makes what was flushed durable; does nothing when it is. Once this has failed it always does: only a new process, which
    /// writes everything after the last checkpoint again, can go on with the file.
    pub(crate) fn sync(&self) -> io::Result<()> {
        if self.sync_failed.load(Ordering::Acquire) {
            return Err(io::Error::other(format!("{} was not made durable before", self.path.display())));
        }
        let written = self.written.load(Ordering::Acquire);
        if written > self.synced.load(Ordering::Acquire)
            && let Some(backing) = self.backing.get()
        {
            backing.file.sync().inspect_err(|_| self.sync_failed.store(true, Ordering::Release))?;
            self.synced.fetch_max(written, Ordering::AcqRel);
        }
        Ok(())
    }

    /// Appends the first `len` bytes to `out`, for an export.
    pub(crate) fn copy_prefix(&self, len: usize, out: &mut Vec<u8>) {
        let tail = self.tail.lock();
        let written = self.written.load(Ordering::Acquire).min(len);
        if let Some(backing) = self.backing.get() {
            out.extend_from_slice(&backing.map.as_slice()[..written]);
        }
        out.extend_from_slice(&tail[..len - written]);
    }

    /// Replaces `chunk` by what is at a place.
    pub(crate) fn read(&self, offset: usize, chunk: &mut ChunkBytes) -> Result<ChunkHeader, ChunkDamage> {
        chunk.clear();
        let damage = |reason| ChunkDamage { at: ChunkPtr::new(self.id, offset), reason };
        if offset < self.written.load(Ordering::Acquire) {
            return self.read_written(offset, chunk).map_err(damage);
        }
        let tail = self.tail.lock();
        let written = self.written.load(Ordering::Acquire);
        if offset < written {
            drop(tail);
            return self.read_written(offset, chunk).map_err(damage);
        }
        let bytes = tail.get(offset - written..).ok_or(damage("beyond the end of the segment"))?;
        parse_chunk(bytes, chunk).map_err(damage)
    }

    fn read_written(&self, offset: usize, chunk: &mut ChunkBytes) -> Result<ChunkHeader, &'static str> {
        let backing = self.backing.get().ok_or("segment without a file")?;
        let written = &backing.map.as_slice()[..self.written.load(Ordering::Acquire)];
        parse_chunk(written.get(offset..).ok_or("beyond the end of the segment")?, chunk)
    }
}

/// Whether bytes begin like segment `id`.
fn is_segment_header(bytes: &[u8], id: u32) -> bool {
    let Some((head, crc)) = bytes.get(..SEGMENT_HEADER_BYTES).and_then(|header| header.split_last_chunk::<4>()) else {
        return false;
    };
    head.starts_with(SEGMENT_MAGIC)
        && head.ends_with(&id.to_le_bytes())
        && crc32fast::hash(head) == u32::from_le_bytes(*crc)
}

fn flags(header: &ChunkHeader) -> u8 {
    let late = if header.late { FLAG_LATE } else { 0 };
    let histogram = if header.kind == ChunkKind::Histogram { FLAG_HISTOGRAM } else { 0 };
    late | histogram
}

/// Checks the chunk at the start of `bytes` and copies it out.
fn parse_chunk(bytes: &[u8], chunk: &mut ChunkBytes) -> Result<ChunkHeader, &'static str> {
    let mut reader = Reader::new(bytes);
    let mut parse = || {
        let crc = reader.u32("checksum")?;
        let checked = reader.rest();
        let len = take_len(&mut reader)?;
        let count = reader.u8("count")?;
        let flags = reader.u8("flags")?;
        let series = SeriesRef(reader.u32("series")?);
        let prev = ChunkPtr::from_bits(reader.u64("chunk before")?);
        let max_ts = reader.i64("newest time")?;
        let stream = reader.bytes(len, "stream")?;
        let starts = match flags & FLAG_STARTS {
            0 => &[],
            _ => {
                let len = take_len(&mut reader)?;
                reader.bytes(len, "start timestamps")?
            }
        };
        let checked = &checked[..checked.len() - reader.rest().len()];
        let kind = if flags & FLAG_HISTOGRAM != 0 { ChunkKind::Histogram } else { ChunkKind::Float };
        let header = ChunkHeader { series, prev, max_ts, count, late: flags & FLAG_LATE != 0, kind };
        Ok::<_, crate::wire::Malformed>((crc, checked, stream, starts, header))
    };
    let (crc, checked, stream, starts, header) = parse().map_err(|_| "cut off")?;
    if stream.len() > header.kind.stream_bytes_max() || header.count > CHUNK_SAMPLES_MAX || header.count == 0 {
        return Err("impossible header");
    }
    if crc32fast::hash(checked) != crc {
        return Err("checksum mismatch");
    }
    chunk.stream.extend_from_slice(stream);
    chunk.starts.extend_from_slice(starts);
    Ok(header)
}

fn take_len(reader: &mut Reader<'_>) -> Result<usize, crate::wire::Malformed> {
    Ok(usize::from(reader.u8("length")?) | usize::from(reader.u8("length")?) << 8)
}
