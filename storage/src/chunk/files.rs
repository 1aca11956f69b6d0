//! The segments of one partition's full chunks: appending, rotating, forgetting.
//!
//! Segments are forgotten oldest first only. A chunk points to the one of its series that was cut before it, so a
//! reader that meets a pointer into a forgotten segment knows that nothing that is still needed lies beyond.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pharos_model::TimestampMs;

use super::segment::{ChunkBytes, ChunkDamage, ChunkHeader, ChunkPtr, SEGMENT_HEADER_BYTES, Segment, chunk_bytes};
use crate::fs::FileSystem;

/// What a segment has of one tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Coverage {
    /// The tenant's head by its place in the partition.
    pub(crate) head: u32,
    pub(crate) newest_ts: TimestampMs,
    pub(crate) chunks: u32,
}

/// The live segments as readers see them: consecutive ids. Cheap to clone; keeps what it names readable.
#[derive(Clone, Debug, Default)]
pub(crate) struct SegmentList(Arc<Vec<Arc<Segment>>>);

impl SegmentList {
    /// The segment with this id; `None` when it is forgotten.
    pub(crate) fn get(&self, id: u32) -> Option<&Arc<Segment>> {
        let first = self.0.first()?.id();
        self.0.get(id.checked_sub(first)? as usize)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Segment>> {
        self.0.iter()
    }

    /// Reads a chunk; `None` when it lies in a forgotten segment, and so do all before it.
    pub(crate) fn read(&self, at: ChunkPtr, chunk: &mut ChunkBytes) -> Option<Result<ChunkHeader, ChunkDamage>> {
        if at == ChunkPtr::NONE || self.0.first().is_none_or(|first| at.segment() < first.id()) {
            return None;
        }
        let Some(segment) = self.get(at.segment()) else {
            return Some(Err(ChunkDamage { at, reason: "segment does not exist" }));
        };
        Some(segment.read(at.offset(), chunk))
    }
}

/// The segments of one partition, owned by its writer.
#[derive(Debug)]
pub(crate) struct ChunkFiles {
    dir: PathBuf,
    segment_bytes_max: usize,
    segments: SegmentList,
    /// One entry for each segment.
    coverage: Vec<Vec<Coverage>>,
    next_id: u32,
    /// Bytes appended and not in a file.
    tail_bytes: usize,
}

impl ChunkFiles {
    /// No segments yet. `dir` exists when the first flush comes.
    pub(crate) fn new(dir: PathBuf, segment_bytes_max: usize) -> Self {
        let segments = SegmentList::default();
        Self { dir, segment_bytes_max, segments, coverage: Vec::new(), next_id: 1, tail_bytes: 0 }
    }

    /// The segments that a checkpoint lists, oldest first, and the id of the next one.
    pub(crate) fn restore(
        dir: PathBuf,
        segment_bytes_max: usize,
        segments: Vec<(Segment, Vec<Coverage>)>,
        next_id: u32,
    ) -> Self {
        let (segments, coverage): (Vec<_>, Vec<_>) =
            segments.into_iter().map(|(segment, coverage)| (Arc::new(segment), coverage)).unzip();
        let segments = SegmentList(Arc::new(segments));
        Self { dir, segment_bytes_max, segments, coverage, next_id, tail_bytes: 0 }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn next_id(&self) -> u32 {
        self.next_id
    }

    pub(crate) fn list(&self) -> &SegmentList {
        &self.segments
    }

    /// Segments with what they have of each tenant, oldest first.
    pub(crate) fn with_coverage(&self) -> impl Iterator<Item = (&Arc<Segment>, &[Coverage])> {
        self.segments.iter().zip(self.coverage.iter().map(Vec::as_slice))
    }

    /// Bytes that wait for room on the disk.
    pub(crate) fn tail_bytes(&self) -> usize {
        self.tail_bytes
    }

    /// Full chunks of one tenant.
    pub(crate) fn chunks_of(&self, head: u32) -> usize {
        self.coverage.iter().flatten().filter(|c| c.head == head).map(|c| c.chunks as usize).sum()
    }

    /// Full chunks of all tenants.
    pub(crate) fn chunks(&self) -> usize {
        self.coverage.iter().flatten().map(|c| c.chunks as usize).sum()
    }

    /// Takes a chunk of the tenant's head into memory; [`Self::flush`] brings it to the file. `starts` is empty where no sample
    /// has a start timestamp.
    pub(crate) fn append(&mut self, head: u32, header: &ChunkHeader, stream: &[u8], starts: &[u8]) -> ChunkPtr {
        let bytes = chunk_bytes(stream, starts);
        let last = match self.segments.0.last() {
            Some(last) if last.has_room_for(bytes) => last,
            _ => self.rotate(bytes),
        };
        let at = last.append(header, stream, starts);
        self.tail_bytes += bytes;
        let coverage = self.coverage.last_mut().expect("there is a coverage for each segment");
        match coverage.iter_mut().find(|c| c.head == head) {
            Some(found) => {
                found.newest_ts = found.newest_ts.max(header.max_ts);
                found.chunks += 1;
            }
            None => coverage.push(Coverage { head, newest_ts: header.max_ts, chunks: 1 }),
        }
        at
    }

    /// Opens the next segment, with room for a chunk of `chunk_bytes` whatever the limit.
    fn rotate(&mut self, chunk_bytes: usize) -> &Arc<Segment> {
        let id = self.next_id;
        self.next_id += 1;
        let capacity = self.segment_bytes_max.max(SEGMENT_HEADER_BYTES + chunk_bytes);
        let segment = Segment::create(id, segment_path(&self.dir, id), capacity);
        self.coverage.push(Vec::new());
        let segments = Arc::make_mut(&mut self.segments.0);
        segments.push(Arc::new(segment));
        segments.last().expect("a segment was just pushed")
    }

    /// Writes all tails, oldest first, and stops at the first failure.
    pub(crate) fn flush(&mut self, files: &dyn FileSystem) -> io::Result<()> {
        let result = self.segments.iter().try_for_each(|segment| segment.flush(files));
        self.tail_bytes = self.segments.iter().map(|segment| segment.tail_len()).sum();
        result
    }

    /// Forgets the oldest segments as long as they have only samples before the floor of their tenant. The files stay:
    /// checkpoints may name them.
    pub(crate) fn forget_covered(&mut self, floor_of: impl Fn(u32) -> TimestampMs) {
        let covered = |coverage: &Vec<Coverage>| coverage.iter().all(|c| c.newest_ts < floor_of(c.head));
        let count = self.coverage.iter().take_while(|coverage| covered(coverage)).count();
        if count > 0 {
            self.coverage.drain(..count);
            Arc::make_mut(&mut self.segments.0).drain(..count);
            self.tail_bytes = self.segments.iter().map(|segment| segment.tail_len()).sum();
        }
    }
}

pub(crate) fn segment_path(dir: &Path, id: u32) -> PathBuf {
    dir.join(format!("{id:08}.chunks"))
}
