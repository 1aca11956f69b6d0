//! From a compressed body to one batch, without waiting for anything.
//!
//! Three passes: walk the request and hash each series' label bytes; look all hashes up; build the batch, parsing the
//! labels of what was not found. A request that is broken anywhere yields nothing.

mod building;

use std::sync::Arc;

use pharos_model::{LabelSet, Metadata, Sample, TenantId, TimestampMs};

use super::histogram::Histograms;
use super::labels::{self, LabelsError, SeriesError};
use super::refusals::{HISTOGRAM, INVALID_LABELS, Refusals};
use super::request::{Item, RequestMetadata, Series, Walker};
use super::version2::Rewriting;
use super::{Version, WriteError};
use crate::compression::{BodyLimits, snappy_block};
use crate::label_limits::LabelLimits;
use crate::raw_cache::RawCache;
use crate::series_hash::SeriesHasher;
use crate::sink::{AppendOutcome, FreshSample, Place, SampleBatch, SeriesHandle};
use crate::wire::WireError;
use building::Building;

/// How much one request may bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    pub body: BodyLimits,
    pub labels: LabelLimits,
    /// Series of a request.
    pub series_max: usize,
    /// Samples of a request.
    pub samples_max: usize,
    /// Exemplars of a request.
    pub exemplars_max: usize,
    /// Counts in all histograms of a request, which take 8 bytes each.
    pub histogram_counts_max: usize,
}

impl Default for RequestLimits {
    /// 8 MiB compressed and 64 MiB decompressed, 500,000 series, a million samples, 100,000 exemplars,
    /// four million counts in histograms, [`LabelLimits::CEILING`].
    fn default() -> Self {
        Self {
            body: BodyLimits { compressed_bytes_max: 8 << 20, decompressed_bytes_max: 64 << 20 },
            labels: LabelLimits::CEILING,
            series_max: 500_000,
            samples_max: 1_000_000,
            exemplars_max: 100_000,
            histogram_counts_max: 4_000_000,
        }
    }
}

/// Decodes requests. Cheap to share; the cache is the only state.
#[derive(Debug)]
pub struct Decoder {
    cache: Arc<RawCache>,
    hasher: SeriesHasher,
    limits: RequestLimits,
    rewriting: Rewriting,
}

/// Buffers of one decoding, to be used again. Holds the decompressed body until the answer is known.
#[derive(Debug, Default)]
pub struct Scratch {
    body: Vec<u8>,
    series: Vec<SeriesPlace>,
    /// Floats, then histograms of each series.
    samples: Vec<Sample>,
    histograms: Histograms,
    /// When the counters of samples began, by their places, ascending; of those alone that say so.
    starts: Vec<(u32, TimestampMs)>,
    keys: Vec<u128>,
    handles: Vec<Option<SeriesHandle>>,
}

/// A series between the passes.
#[derive(Clone, Copy, Debug)]
struct SeriesPlace {
    /// Where it starts in the body.
    at: u32,
    /// Where its samples end among all samples.
    samples_end: u32,
    has_exemplars: bool,
}

/// Which series and which sample of the request a sample of a batch is.
#[derive(Clone, Copy, Debug)]
struct Origin {
    series: u32,
    sample: u32,
}

/// Where the samples of a batch come from, by their places in it.
#[derive(Debug, Default)]
pub(super) struct Sent {
    tenant: TenantId,
    known: Vec<Origin>,
    fresh: Vec<Origin>,
}

/// A request as a batch.
#[derive(Debug, Default)]
pub struct Decoded {
    /// What is to be appended.
    pub batch: SampleBatch,
    /// What the request says about metrics.
    pub metadata: Vec<(String, Metadata)>,
    /// Samples of the request, refused ones and histograms included.
    pub samples: usize,
    /// Histograms that may be stored.
    pub histograms: usize,
    /// Series whose labels had to be parsed because their bytes were not known.
    pub fresh_series: usize,
    pub(super) refusals: Refusals,
    pub(super) sent: Sent,
}

impl Sent {
    fn origin(&self, place: Place) -> Origin {
        match place {
            Place::Known(at) => self.known[at],
            Place::Fresh(at) => self.fresh[at],
        }
    }
}

impl Scratch {
    /// Heap bytes held.
    pub fn capacity_bytes(&self) -> usize {
        self.body.capacity()
            + self.series.capacity() * size_of::<SeriesPlace>()
            + self.samples.capacity() * size_of::<Sample>()
            + self.starts.capacity() * size_of::<(u32, TimestampMs)>()
            + self.keys.capacity() * size_of::<u128>()
            + self.handles.capacity() * size_of::<Option<SeriesHandle>>()
    }

    /// When the counter of a sample began, if it is said.
    #[inline]
    fn start_at(&self, sample: u32) -> Option<TimestampMs> {
        if self.starts.is_empty() {
            return None;
        }
        let found = self.starts.binary_search_by_key(&sample, |(sample, _)| *sample).ok()?;
        Some(self.starts[found].1)
    }

    fn label_fields(&self, origin: Origin) -> Result<Vec<u8>, WireError> {
        series_at(&self.body, self.series[origin.series as usize].at, |series| series.labels.to_vec())
    }
}

impl Decoder {
    /// The decompressed size is held under 4 GiB whatever the limit says.
    pub fn new(cache: Arc<RawCache>, hasher: SeriesHasher, mut limits: RequestLimits) -> Self {
        limits.body.decompressed_bytes_max = limits.body.decompressed_bytes_max.min(u32::MAX as usize);
        let rewriting = Rewriting { bytes_max: limits.body.decompressed_bytes_max, metadata_labels: false };
        Self { cache, hasher, limits, rewriting }
    }

    /// Gives series of version 2.0 what is known of their type and unit as labels.
    pub fn with_metadata_labels(mut self, metadata_labels: bool) -> Self {
        self.rewriting.metadata_labels = metadata_labels;
        self
    }

    /// Decodes a snappy-compressed request. Samples later than `ts_max` are refused.
    pub fn decode(
        &self,
        tenant: &TenantId,
        (version, compressed): (Version, &[u8]),
        ts_max: TimestampMs,
        scratch: &mut Scratch,
    ) -> Result<Decoded, WriteError> {
        let mut buffer = std::mem::take(&mut scratch.body);
        let decoded = match (snappy_block(compressed, &self.limits.body, &mut buffer), version) {
            (Ok(body), Version::One) => self.decode_body(tenant, (body, Refusals::default()), ts_max, scratch),
            (Ok(body), Version::Two) => {
                let (mut rewritten, mut refusals) = (Vec::with_capacity(2 * body.len()), Refusals::default());
                let decoded = self
                    .rewriting
                    .rewrite(body, &mut rewritten, &mut refusals)
                    .and_then(|()| self.decode_body(tenant, (&rewritten, refusals), ts_max, scratch));
                buffer = rewritten;
                decoded
            }
            (Err(error), _) => Err(error.into()),
        };
        scratch.body = buffer;
        decoded
    }

    /// Decodes a body of version 1.0, of which something may have been refused before.
    fn decode_body(
        &self,
        tenant: &TenantId,
        (body, mut refusals): (&[u8], Refusals),
        ts_max: TimestampMs,
        scratch: &mut Scratch,
    ) -> Result<Decoded, WriteError> {
        let metadata = self.walk(tenant, body, scratch, &mut refusals)?;
        self.cache.resolve(&scratch.keys, &mut scratch.handles);
        let kept = scratch.samples.len();
        let samples = kept + refusals.samples;
        let batch = SampleBatch { tenant: tenant.clone(), known: Vec::with_capacity(kept), ..SampleBatch::default() };
        let sent = Sent { tenant: tenant.clone(), known: Vec::with_capacity(kept), fresh: Vec::new() };
        let histograms = scratch.histograms.len();
        let decoded = Decoded { batch, metadata, samples, histograms, sent, refusals, ..Decoded::default() };
        Building { body, limits: &self.limits.labels, ts_max, scratch, decoded }.build()
    }

    /// First pass: finds series and samples, hashes label bytes. Histograms that are refused are left out.
    fn walk(
        &self,
        tenant: &TenantId,
        body: &[u8],
        scratch: &mut Scratch,
        refusals: &mut Refusals,
    ) -> Result<Vec<(String, Metadata)>, WriteError> {
        let tenant_key = self.hasher.hash(tenant.as_str().as_bytes());
        let RequestLimits { series_max, samples_max, exemplars_max, .. } = self.limits;
        let too_many = |what, max| Err(WriteError::TooMany { what, max });
        let (mut metadata, mut exemplars) = (Vec::new(), 0);
        scratch.series.clear();
        scratch.samples.clear();
        scratch.histograms.clear();
        scratch.starts.clear();
        scratch.keys.clear();
        let mut walker = Walker::new(body);
        while let Some(item) = walker.next()? {
            match item {
                Item::Series(_) if scratch.series.len() == series_max => return too_many("series", series_max),
                Item::Series(series) if series.sample_count() > samples_max - scratch.samples.len() => {
                    return too_many("samples", samples_max);
                }
                Item::Series(series) if series.exemplars > exemplars_max - exemplars => {
                    return too_many("exemplars", exemplars_max);
                }
                Item::Series(series) => {
                    exemplars += series.exemplars;
                    let place = |at: usize| (scratch.samples.len() + at) as u32;
                    let starts = series.starts.iter().enumerate().filter(|(_, start)| **start != 0);
                    scratch.starts.extend(starts.map(|(at, start)| (place(at), *start)));
                    scratch.samples.extend_from_slice(series.samples);
                    if series.histograms > 0 {
                        self.take_histograms(&series, scratch, refusals)?;
                    }
                    scratch.keys.push(self.hasher.hash(series.labels) ^ tenant_key);
                    scratch.series.push(SeriesPlace {
                        at: series.at as u32,
                        samples_end: scratch.samples.len() as u32,
                        has_exemplars: series.exemplars > 0,
                    });
                }
                Item::Metadata(_) if metadata.len() == series_max => return too_many("metadata", series_max),
                Item::Metadata(entry) => metadata.push(to_model(entry)),
            }
        }
        Ok(metadata)
    }

    /// Reads the histograms of a series and puts them behind its floats.
    fn take_histograms(
        &self,
        series: &Series<'_>,
        scratch: &mut Scratch,
        refusals: &mut Refusals,
    ) -> Result<(), WriteError> {
        for histogram in series.histograms()? {
            let start = histogram.start;
            let (sample, histogram) = match histogram.into_stored() {
                Ok(stored) => stored,
                Err(reason) => {
                    let name = || labels::series_name(series.labels);
                    refusals.add(HISTOGRAM, 1, || format!("{reason}: series {}", name()));
                    continue;
                }
            };
            if let Some(histogram) = histogram {
                scratch.histograms.push(scratch.samples.len(), histogram);
            }
            if start != 0 {
                scratch.starts.push((scratch.samples.len() as u32, start));
            }
            scratch.samples.push(sample);
        }
        let max = self.limits.histogram_counts_max;
        if scratch.histograms.numbers() > max {
            return Err(WriteError::TooMany { what: "counts in histograms", max });
        }
        Ok(())
    }

    /// Takes in what the store said about a batch of this request: learns handles, counts refusals. Returns the samples whose
    /// handles are stale as one more batch, this time with labels; an empty one if there are none.
    pub(super) fn settle(
        &self,
        sent: &Sent,
        outcome: &AppendOutcome,
        refusals: &mut Refusals,
        scratch: &Scratch,
    ) -> Result<(SampleBatch, Sent), WriteError> {
        let learnt = sent.fresh.iter().zip(&outcome.handles);
        let learnt = learnt.filter_map(|(origin, handle)| Some((scratch.keys[origin.series as usize], (*handle)?)));
        let learnt: Vec<_> = learnt.collect();
        self.cache.learn(&learnt);
        for (place, refusal) in &outcome.refused {
            let origin = sent.origin(*place);
            refusals.histograms += usize::from(scratch.histograms.at(origin.sample).is_some());
            refusals.add_one(*refusal, scratch.samples[origin.sample as usize], || scratch.label_fields(origin))?;
        }
        self.send_again(sent, outcome, refusals, scratch)
    }

    /// The samples whose handles are stale, with labels. Those of one series stand together, so its labels are parsed once.
    fn send_again(
        &self,
        sent: &Sent,
        outcome: &AppendOutcome,
        refusals: &mut Refusals,
        scratch: &Scratch,
    ) -> Result<(SampleBatch, Sent), WriteError> {
        let mut batch = SampleBatch { tenant: sent.tenant.clone(), ..SampleBatch::default() };
        let mut again = Sent { tenant: sent.tenant.clone(), ..Sent::default() };
        let mut last: Option<(u32, Result<LabelSet, SeriesError>)> = None;
        for origin in outcome.stale.iter().map(|at| sent.known[*at]) {
            let labels = match last.take().filter(|(series, _)| *series == origin.series) {
                Some((_, labels)) => labels,
                None => match labels::of_series(&scratch.label_fields(origin)?, &self.limits.labels) {
                    Ok(labels) => Ok(labels),
                    Err(LabelsError::Series(error)) => Err(error),
                    Err(LabelsError::Wire(error)) => return Err(error.into()),
                },
            };
            match &labels {
                Ok(labels) => {
                    let (labels, sample) = (labels.clone(), scratch.samples[origin.sample as usize]);
                    let histogram = scratch.histograms.at(origin.sample).cloned();
                    batch.histograms.fresh.extend(histogram.map(|histogram| (batch.fresh.len(), histogram)));
                    batch.starts.fresh.extend(scratch.start_at(origin.sample).map(|start| (batch.fresh.len(), start)));
                    batch.fresh.push(FreshSample { labels, sample });
                    again.fresh.push(origin);
                }
                Err(error) => {
                    refusals.histograms += usize::from(scratch.histograms.at(origin.sample).is_some());
                    refusals.add(INVALID_LABELS, 1, || error.to_string());
                }
            }
            last = Some((origin.series, labels));
        }
        Ok((batch, again))
    }
}

/// Reads once more a series that the first pass found.
fn series_at<T>(body: &[u8], at: u32, read: impl FnOnce(Series<'_>) -> T) -> Result<T, WireError> {
    match Walker::series_at(body, at as usize).next()? {
        Some(Item::Series(series)) => Ok(read(series)),
        _ => unreachable!("the first pass found a series here"),
    }
}

fn to_model(entry: RequestMetadata<'_>) -> (String, Metadata) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let metadata = Metadata { metric_type: entry.metric_type, help: text(entry.help), unit: text(entry.unit) };
    (text(entry.family), metadata)
}
