//! One tenant's newest samples in one partition.
//!
//! [`append`] judges and stores samples, `histograms` has what is special about those that are one, `starts` their start timestamps, [`expiry`] seals, drops and deletes, [`selection`] reads, [`snapshot`] turns
//! a head into bytes and back. The files that full chunks go to and the numbers of series belong to the partition,
//! because its tenants share them.
//! Invariant: a head changes only by commands, and as a function of itself and the command, so that all replicas stay
//! equal. Which chunk a sample sits in is no part of that: it may differ between replicas, what is read may not.

mod append;
pub mod exemplars;
mod expiry;
mod histograms;
mod late;
mod lookup;
pub(crate) mod refs;
pub mod sealing;
pub mod selection;
pub(crate) mod snapshot;
mod starts;

use std::collections::{BTreeSet, HashMap};

use pharos_model::{TenantId, TimeRange, TimestampMs};

use crate::chunk::blocks::BlockPool;
use crate::chunk::codec::OpenChunk;
use crate::chunk::files::ChunkFiles;
use crate::chunk::histogram::OpenHistogramChunk;
use crate::chunk::segment::{ChunkHeader, ChunkKind, ChunkPtr};
use crate::index::{Index, Slot};
use crate::record::SeriesRef;

pub use exemplars::SeriesExemplars;
pub use sealing::{HeadExtent, SealRule, sealable};
pub use selection::HeadSelection;

pub(crate) use append::AppendCounts;

use exemplars::ExemplarRing;
use histograms::LateHistograms;
use late::LateBuffer;
use refs::RefTable;
use starts::HeadStarts;

/// Width of a cell of [`Head::occupied`]: a slice, as slices usually are.
const CELL_MS: i64 = 7_200_000;

/// What the heads of a partition share, lent to a head while it changes.
#[derive(Debug)]
pub(crate) struct Shared<'a> {
    pub(crate) refs: &'a mut RefTable,
    pub(crate) files: &'a mut ChunkFiles,
}

/// What a head keeps of a series beside its labels.
#[derive(Clone, Copy, Debug)]
struct Series {
    chunk: OpenChunk,
    /// The full chunk that was cut last.
    last_chunk: ChunkPtr,
    series: SeriesRef,
}

/// The head of one tenant.
#[derive(Debug)]
pub(crate) struct Head {
    tenant: TenantId,
    /// Its number in the partition.
    place: u32,
    index: Index,
    /// By slot; entries of removed series are left over.
    series: Vec<Series>,
    pool: BlockPool,
    /// Late samples that are in no chunk yet.
    late: HashMap<Slot, LateBuffer>,
    /// The open chunks of series whose newest sample is a histogram.
    histograms: HashMap<Slot, Box<OpenHistogramChunk>>,
    late_histograms: HashMap<Slot, LateHistograms>,
    starts: HeadStarts,
    /// Deleted ranges, apart and ascending.
    tombstones: HashMap<SeriesRef, Vec<TimeRange>>,
    exemplars: ExemplarRing,
    /// No sample is older.
    min_ts: Option<TimestampMs>,
    /// Which cells of time have samples, so that `min_ts` can jump over a gap when what is before it is dropped.
    occupied: BTreeSet<i64>,
    /// The cell of the newest entry there.
    last_cell: Option<i64>,
    /// Newest sample ever taken; stays when its series is dropped.
    max_ts: Option<TimestampMs>,
    sealed_until_ms: TimestampMs,
    dropped_until_ms: TimestampMs,
    open_chunks: usize,
}

impl Head {
    pub(crate) fn new(tenant: TenantId, place: u32, options: HeadOptions) -> Self {
        Self {
            tenant,
            place,
            index: Index::new(options.hash_seed),
            series: Vec::new(),
            pool: BlockPool::default(),
            late: HashMap::new(),
            histograms: HashMap::new(),
            late_histograms: HashMap::new(),
            starts: HeadStarts::default(),
            tombstones: HashMap::new(),
            exemplars: ExemplarRing::new(options.exemplars_max),
            min_ts: None,
            occupied: BTreeSet::new(),
            last_cell: None,
            max_ts: None,
            sealed_until_ms: TimestampMs::MIN,
            dropped_until_ms: TimestampMs::MIN,
            open_chunks: 0,
        }
    }

    pub(crate) fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    pub(crate) fn place(&self) -> u32 {
        self.place
    }

    pub(crate) fn index(&self) -> &Index {
        &self.index
    }

    pub(crate) fn exemplars(&self) -> &ExemplarRing {
        &self.exemplars
    }

    pub(crate) fn dropped_until_ms(&self) -> TimestampMs {
        self.dropped_until_ms
    }

    pub(crate) fn extent(&self, files: &ChunkFiles) -> HeadExtent {
        HeadExtent {
            min_ts: self.min_ts.filter(|_| self.index.len() > 0),
            max_ts: self.max_ts,
            sealed_until_ms: self.sealed_until_ms,
            dropped_until_ms: self.dropped_until_ms,
            series: self.index.len(),
            chunks: files.chunks_of(self.place) + self.open_chunks,
        }
    }

    /// Packs the index; changes nothing that can be read.
    pub(crate) fn optimize(&mut self) {
        self.index.optimize();
    }

    /// Moves the open chunk of a series to the files.
    fn cut(&mut self, slot: Slot, files: &mut ChunkFiles) {
        let series = &mut self.series[slot.0 as usize];
        let mut stream = Vec::with_capacity(series.chunk.byte_len());
        series.chunk.copy_to(&self.pool, &mut stream);
        let header = ChunkHeader {
            series: series.series,
            prev: series.last_chunk,
            max_ts: series.chunk.newest_ts(),
            count: series.chunk.count(),
            late: false,
            kind: ChunkKind::Float,
        };
        let starts = self.starts.cut(slot, header.count);
        series.last_chunk = files.append(self.place, &header, &stream, &starts);
        series.chunk.clear(&mut self.pool);
        self.open_chunks -= 1;
    }
}

/// What a head is made with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadOptions {
    pub(crate) hash_seed: u64,
    pub(crate) exemplars_max: usize,
}
