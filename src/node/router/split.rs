//! From a batch of samples to append records: for each partition as many as its samples fill.

use bytes::Bytes;
use pharos_ingest::sink::SampleBatch;
use pharos_model::{LabelSet, partition};
use pharos_storage::record::{AppendLimits, AppendRecordBuilder, StartRule};

use super::open_handle;

/// What of a batch goes to one partition, in its order.
#[derive(Debug)]
pub(super) struct PartitionParts {
    pub partition: usize,
    pub parts: Vec<Part>,
}

/// One encoded record.
#[derive(Debug)]
pub(super) struct Part {
    pub command: Bytes,
    pub places: Places,
}

/// The places in the batch of a record's samples.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub known: Vec<usize>,
    pub fresh: Vec<usize>,
}

/// What every record of a batch says of its samples.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub limits: AppendLimits,
    pub starts: StartRule,
}

/// The parts of each partition that the batch has something for.
pub(super) fn split(batch: &SampleBatch, terms: Terms, partitions: u16) -> Vec<PartitionParts> {
    let mut splitter = Splitter::new(batch, terms, partitions);
    splitter.expect_known();
    let mut histograms = batch.histograms.known.iter().peekable();
    let mut starts = batch.starts.known.iter().peekable();
    for (place, sample) in batch.known.iter().enumerate() {
        let (partition, series) = open_handle(sample.series);
        let open = splitter.open(partition);
        match histograms.next_if(|(at, _)| *at == place) {
            Some((_, histogram)) => open.record.push_known_histogram(series, sample.ts, histogram),
            None => open.record.push_known(series, sample.ts, sample.value),
        }
        if let Some((_, start)) = starts.next_if(|(at, _)| *at == place) {
            open.record.start_known(*start);
        }
        open.places.known.push(place);
    }
    let mut histograms = batch.histograms.fresh.iter().peekable();
    let mut starts = batch.starts.fresh.iter().peekable();
    for (place, fresh) in batch.fresh.iter().enumerate() {
        let partition = splitter.partition_of(&fresh.labels);
        let open = splitter.open(partition);
        match histograms.next_if(|(at, _)| *at == place) {
            Some((_, histogram)) => open.record.push_fresh_histogram(&fresh.labels, fresh.sample.ts, histogram),
            None => open.record.push_fresh(&fresh.labels, fresh.sample.ts, fresh.sample.value),
        }
        if let Some((_, start)) = starts.next_if(|(at, _)| *at == place) {
            open.record.start_fresh(*start);
        }
        open.places.fresh.push(place);
    }
    for exemplar in &batch.exemplars {
        let partition = splitter.partition_of(&exemplar.series);
        splitter.open(partition).record.push_exemplar(&exemplar.series, &exemplar.exemplar);
    }
    splitter.finish()
}

struct Splitter<'a> {
    batch: &'a SampleBatch,
    terms: Terms,
    /// By partition: the records that are full, the one that is not, and the known samples of all.
    full: Vec<Vec<Part>>,
    open: Vec<Option<Open>>,
    expected: Vec<usize>,
    /// The last series and its partition: the samples of one come together.
    last: Option<(&'a LabelSet, usize)>,
}

struct Open {
    record: AppendRecordBuilder,
    places: Places,
}

impl Open {
    fn finish(self) -> Part {
        Part { command: self.record.finish(), places: self.places }
    }
}

impl<'a> Splitter<'a> {
    fn new(batch: &'a SampleBatch, terms: Terms, partitions: u16) -> Self {
        let (full, open) = (0..partitions).map(|_| (Vec::new(), None)).unzip();
        Self { batch, terms, full, open, expected: vec![0; usize::from(partitions)], last: None }
    }

    fn expect_known(&mut self) {
        for sample in &self.batch.known {
            self.expected[open_handle(sample.series).0] += 1;
        }
    }

    fn partition_of(&mut self, series: &'a LabelSet) -> usize {
        match self.last {
            Some((last, partition)) if last == series => partition,
            _ => {
                let partition = partition::of_series(&self.batch.tenant, series, self.open.len() as u16);
                let partition = usize::from(partition.0);
                self.last = Some((series, partition));
                partition
            }
        }
    }

    fn open(&mut self, partition: usize) -> &mut Open {
        let full = self.open[partition].take_if(|open| open.record.is_full());
        self.full[partition].extend(full.map(Open::finish));
        self.open[partition].get_or_insert_with(|| {
            let mut record = AppendRecordBuilder::new(self.batch.tenant.clone(), self.terms.limits);
            record.use_starts(self.terms.starts);
            let expected = self.expected[partition];
            record.reserve_known(expected);
            Open { record, places: Places { known: Vec::with_capacity(expected), fresh: Vec::new() } }
        })
    }

    fn finish(self) -> Vec<PartitionParts> {
        let parts = self.full.into_iter().zip(self.open).map(|(mut parts, open)| {
            parts.extend(open.map(Open::finish));
            parts
        });
        let by_partition = parts.enumerate().map(|(partition, parts)| PartitionParts { partition, parts });
        by_partition.filter(|of| !of.parts.is_empty()).collect()
    }
}
