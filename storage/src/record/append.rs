//! The append record: what one scrape or request brings to one partition, in columns.

use bytes::Bytes;
use pharos_model::histogram::packed::PackedHistogram;
use pharos_model::{Exemplar, LabelSet, TenantId, TimestampMs};

use super::histograms::{self, HistogramColumn};
use super::starts::{SampleStarts, StartColumns};
use super::{KIND_APPEND, KIND_APPEND_MIXED, KIND_APPEND_STARTED, RecordError, SeriesRef, begin};
use crate::starts::StartRule;
use crate::wire::{Malformed, Reader, put_prefixed, put_signed, put_varint, unzigzag, zigzag};

/// Largest body, decompressed, that is accepted. A builder says [`AppendRecordBuilder::is_full`] far below.
pub const RECORD_BODY_BYTES_MAX: u64 = 256 << 20;
/// A builder is full at this many body bytes: the caller starts another record.
const RECORD_BODY_BYTES_FULL: usize = 768 << 10;
/// LZ4 cannot expand a byte to more than this many.
const LZ4_RATIO_MAX: u64 = 255;
/// What a body may have beyond the ratio: the last literals of a block.
const LZ4_SLACK_BYTES: u64 = 64;
const VALUE_BYTES: usize = 8;

/// The bounds that samples are judged by. They travel in the record, because applying it must not ask a clock or a
/// configuration that differs between replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendLimits {
    /// How far behind the head's newest sample a late one may be, in milliseconds; 0 takes none.
    pub out_of_order_window_ms: i64,
    /// Samples after this time are refused: the proposer's wall clock and its tolerance.
    pub newest_allowed_ms: TimestampMs,
    /// Series that the tenant may have in this partition's head.
    pub series_max: u32,
}

/// The first sample of a series that the sender has no reference for.
#[derive(Clone, Debug, PartialEq)]
pub struct FreshSeries {
    pub labels: LabelSet,
    pub ts: TimestampMs,
    /// Bits of the value: a NaN's payload matters.
    pub value_bits: u64,
}

/// An exemplar and the series it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesExemplar {
    pub series: LabelSet,
    pub exemplar: Exemplar,
}

/// A decoded append record. The three columns of known samples have one length.
#[derive(Clone, Debug, PartialEq)]
pub struct AppendRecord {
    pub tenant: TenantId,
    pub limits: AppendLimits,
    pub known_refs: Vec<SeriesRef>,
    pub known_ts: Vec<TimestampMs>,
    pub known_value_bits: Vec<u64>,
    pub fresh: Vec<FreshSeries>,
    pub exemplars: Vec<SeriesExemplar>,
    /// The samples that are histograms, ascending by position: that of a known sample, or of a fresh one behind all known
    /// ones. The value in the column means nothing.
    pub histograms: Vec<(u32, PackedHistogram)>,
    pub starts: SampleStarts,
}

/// Collects samples for one tenant and partition and encodes them as one record.
#[derive(Debug)]
pub struct AppendRecordBuilder {
    tenant: TenantId,
    limits: AppendLimits,
    known: usize,
    last_ref: u32,
    refs: Vec<u8>,
    known_ts: TimestampColumn,
    known_values: Vec<u64>,
    fresh_ts: Vec<TimestampMs>,
    fresh_values: Vec<u64>,
    fresh_labels: Vec<u8>,
    last_fresh: Option<LabelSet>,
    exemplars: usize,
    exemplar_bytes: Vec<u8>,
    last_exemplar: Option<LabelSet>,
    known_histograms: HistogramColumn,
    fresh_histograms: HistogramColumn,
    starts: StartColumns,
}

impl AppendRecordBuilder {
    pub fn new(tenant: TenantId, limits: AppendLimits) -> Self {
        Self {
            tenant,
            limits,
            known: 0,
            last_ref: 0,
            refs: Vec::new(),
            known_ts: TimestampColumn::default(),
            known_values: Vec::new(),
            fresh_ts: Vec::new(),
            fresh_values: Vec::new(),
            fresh_labels: Vec::new(),
            last_fresh: None,
            exemplars: 0,
            exemplar_bytes: Vec::new(),
            last_exemplar: None,
            known_histograms: HistogramColumn::default(),
            fresh_histograms: HistogramColumn::default(),
            starts: StartColumns::default(),
        }
    }

    /// Makes room for so many samples of known series.
    pub fn reserve_known(&mut self, samples: usize) {
        let samples = samples.min(RECORD_BODY_BYTES_FULL / VALUE_BYTES);
        self.refs.reserve(samples);
        self.known_ts.bytes.reserve(samples);
        self.known_values.reserve(samples);
    }

    /// A sample of a series that the partition gave a reference for.
    #[inline]
    pub fn push_known(&mut self, series: SeriesRef, ts: TimestampMs, value: f64) {
        put_signed(&mut self.refs, i64::from(series.0) - i64::from(self.last_ref));
        self.last_ref = series.0;
        self.known_ts.push(ts);
        self.known_values.push(value.to_bits());
        self.known += 1;
    }

    /// A sample that comes with its labels. Those of one series had better come together: their labels are written once.
    ///
    /// # Panics Without any label: that is no series.
    pub fn push_fresh(&mut self, labels: &LabelSet, ts: TimestampMs, value: f64) {
        put_series(&mut self.fresh_labels, &mut self.last_fresh, labels);
        self.fresh_ts.push(ts);
        self.fresh_values.push(value.to_bits());
    }

    /// As [`Self::push_known`], with a histogram.
    pub fn push_known_histogram(&mut self, series: SeriesRef, ts: TimestampMs, histogram: &PackedHistogram) {
        self.known_histograms.push(self.known, histogram);
        self.push_known(series, ts, 0.0);
    }

    /// As [`Self::push_fresh`], with a histogram.
    pub fn push_fresh_histogram(&mut self, labels: &LabelSet, ts: TimestampMs, histogram: &PackedHistogram) {
        self.fresh_histograms.push(self.fresh_len(), histogram);
        self.push_fresh(labels, ts, 0.0);
    }

    /// What is to become of start timestamps. Without it they mean nothing.
    pub fn use_starts(&mut self, rule: StartRule) {
        self.starts.rule = rule;
    }

    /// When the counter of the known sample that was pushed last began.
    pub fn start_known(&mut self, start_ts: TimestampMs) {
        self.starts.known.pad(self.known - 1);
        self.starts.known.push(start_ts);
    }

    /// As [`Self::start_known`], of the fresh sample that was pushed last.
    pub fn start_fresh(&mut self, start_ts: TimestampMs) {
        self.starts.fresh.pad(self.fresh_len() - 1);
        self.starts.fresh.push(start_ts);
    }

    pub fn push_exemplar(&mut self, series: &LabelSet, exemplar: &Exemplar) {
        let out = &mut self.exemplar_bytes;
        put_series(out, &mut self.last_exemplar, series);
        put_prefixed(out, exemplar.labels.as_bytes());
        put_signed(out, exemplar.ts);
        out.extend_from_slice(&exemplar.value.to_bits().to_le_bytes());
        self.exemplars += 1;
    }

    /// Known samples so far: the next [`Self::push_known`] has this position in the answer.
    pub fn known_len(&self) -> usize {
        self.known
    }

    /// Fresh samples so far: the next [`Self::push_fresh`] has this position in the answer.
    pub fn fresh_len(&self) -> usize {
        self.fresh_ts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.known == 0 && self.fresh_ts.is_empty() && self.exemplars == 0
    }

    /// Whether the record has its size (768 KiB before compression, so that it fits into a log entry) and the next
    /// sample belongs in another one.
    pub fn is_full(&self) -> bool {
        self.body_bytes() >= RECORD_BODY_BYTES_FULL
    }

    fn body_bytes(&self) -> usize {
        let values = (self.known + self.fresh_ts.len()) * VALUE_BYTES;
        let histograms = self.known_histograms.byte_len() + self.fresh_histograms.byte_len();
        let floats = self.refs.len() + self.known_ts.bytes.len() + values;
        floats + self.fresh_labels.len() + self.exemplar_bytes.len() + histograms + self.starts.byte_len()
    }

    /// The encoded command.
    pub fn finish(mut self) -> Bytes {
        for &ts in &self.fresh_ts {
            self.known_ts.push(ts);
        }
        self.known_values.extend_from_slice(&self.fresh_values);
        let mut body = Vec::with_capacity(self.body_bytes() + self.fresh_ts.len() * VALUE_BYTES);
        body.extend_from_slice(&self.refs);
        body.extend_from_slice(&self.known_ts.bytes);
        push_planes(&mut body, &self.known_values);
        body.extend_from_slice(&self.fresh_labels);
        body.extend_from_slice(&self.exemplar_bytes);
        let histograms = self.put_histograms(&mut body);
        let has_starts = !self.starts.is_empty();
        if has_starts {
            self.starts.put(&mut body, self.known, self.fresh_ts.len());
        }

        let kind = match (has_starts, histograms) {
            (true, _) => KIND_APPEND_STARTED,
            (false, 0) => KIND_APPEND,
            (false, _) => KIND_APPEND_MIXED,
        };
        let mut out = begin(kind, &self.tenant);
        put_signed(&mut out, self.limits.out_of_order_window_ms);
        put_signed(&mut out, self.limits.newest_allowed_ms);
        put_varint(&mut out, u64::from(self.limits.series_max));
        put_varint(&mut out, self.known as u64);
        put_varint(&mut out, self.fresh_ts.len() as u64);
        put_varint(&mut out, self.exemplars as u64);
        if kind != KIND_APPEND {
            put_varint(&mut out, histograms as u64);
        }
        if has_starts {
            out.push(self.starts.rule.byte());
        }
        put_varint(&mut out, body.len() as u64);
        out.extend_from_slice(&lz4_flex::block::compress(&body));
        out.into()
    }

    /// Returns how many there are.
    fn put_histograms(&self, body: &mut Vec<u8>) -> usize {
        let mut next = 0;
        self.known_histograms.put_positions(body, 0, &mut next);
        self.fresh_histograms.put_positions(body, self.known, &mut next);
        self.known_histograms.put_histograms(body);
        self.fresh_histograms.put_histograms(body);
        self.known_histograms.len() + self.fresh_histograms.len()
    }
}

/// Timestamps as differences to the one before: a scrape's are all equal, so its column is zeros, which LZ4 folds.
#[derive(Debug, Default)]
struct TimestampColumn {
    last: TimestampMs,
    bytes: Vec<u8>,
}

impl TimestampColumn {
    #[inline]
    fn push(&mut self, ts: TimestampMs) {
        put_varint(&mut self.bytes, zigzag(ts.wrapping_sub(self.last)));
        self.last = ts;
    }
}

/// Byte `k` of every value, for `k` from the highest down: signs and exponents alike lie together, zero mantissas too.
fn push_planes(out: &mut Vec<u8>, values: &[u64]) {
    for plane in (0..VALUE_BYTES).rev() {
        out.extend(values.iter().map(|bits| (bits >> (8 * plane)) as u8));
    }
}

fn join_planes(planes: &[u8], count: usize) -> Vec<u64> {
    let mut values = vec![0_u64; count];
    if count > 0 {
        for plane in planes.chunks_exact(count) {
            for (value, byte) in values.iter_mut().zip(plane) {
                *value = *value << 8 | u64::from(*byte);
            }
        }
    }
    values
}

impl AppendRecord {
    /// Times of all samples.
    fn times(&self) -> impl Iterator<Item = TimestampMs> {
        self.known_ts.iter().copied().chain(self.fresh.iter().map(|fresh| fresh.ts))
    }

    /// Times at which applying the record may add or change samples.
    pub(crate) fn touched(&self) -> impl Iterator<Item = TimestampMs> {
        self.times().chain(self.starts.zero_samples().iter().copied().filter(|start| *start != 0))
    }

    pub(super) fn decode_body(kind: u8, tenant: TenantId, reader: &mut Reader<'_>) -> Result<Self, RecordError> {
        let limits = AppendLimits {
            out_of_order_window_ms: reader.signed("out-of-order window")?,
            newest_allowed_ms: reader.signed("newest allowed time")?,
            series_max: reader.varint32("series limit")?,
        };
        let known = reader.varint32("count of known samples")? as usize;
        let fresh = reader.varint32("count of fresh samples")? as usize;
        let exemplars = reader.varint32("count of exemplars")? as usize;
        let histograms = if kind == KIND_APPEND { 0 } else { reader.varint32("count of histograms")? as usize };
        let start_rule = if kind == KIND_APPEND_STARTED { Some(StartRule::take(reader)?) } else { None };
        let body_bytes = reader.varint("body length")?;
        let body = decompress(reader.rest(), body_bytes)?;
        // Each sample takes at least a byte of time and eight of value: the counts bound what is allocated below.
        let samples = known as u64 + fresh as u64;
        let others = exemplars as u64 + histograms as u64;
        if samples * (1 + VALUE_BYTES as u64) > body_bytes || others > body_bytes {
            return Err(Malformed("sample counts").into());
        }
        let mut body = Reader::new(&body);
        let known_refs = decode_refs(&mut body, known)?;
        let mut known_ts = decode_timestamps(&mut body, known + fresh)?;
        let mut known_value_bits = join_planes(body.bytes((known + fresh) * VALUE_BYTES, "values")?, known + fresh);
        let fresh_ts = known_ts.split_off(known);
        let fresh_values = known_value_bits.split_off(known);
        let mut last = None;
        let fresh: Vec<_> = std::iter::zip(fresh_ts, fresh_values)
            .map(|(ts, value_bits)| {
                let labels = decode_series(&mut body, &mut last, "labels of a fresh series")?;
                Ok(FreshSeries { labels, ts, value_bits })
            })
            .collect::<Result<_, RecordError>>()?;
        let mut last = None;
        let exemplars =
            (0..exemplars).map(|_| decode_exemplar(&mut body, &mut last)).collect::<Result<_, RecordError>>()?;
        let histograms = histograms::decode(&mut body, histograms, known_ts.len() + fresh.len())?;
        let starts = match start_rule {
            Some(rule) => SampleStarts::take(&mut body, rule, known_ts.len(), fresh.len())?,
            None => SampleStarts::default(),
        };
        if !body.is_empty() {
            return Err(Malformed("end of record").into());
        }
        Ok(Self { tenant, limits, known_refs, known_ts, known_value_bits, fresh, exemplars, histograms, starts })
    }
}

fn decompress(block: &[u8], body_bytes: u64) -> Result<Vec<u8>, RecordError> {
    if body_bytes > RECORD_BODY_BYTES_MAX {
        return Err(RecordError::BodyTooLarge { bytes: body_bytes });
    }
    if body_bytes > block.len() as u64 * LZ4_RATIO_MAX + LZ4_SLACK_BYTES {
        return Err(Malformed("body length").into());
    }
    let mut body = vec![0; body_bytes as usize];
    match lz4_flex::block::decompress_into(block, &mut body) {
        Ok(len) if len == body.len() => Ok(body),
        _ => Err(Malformed("compressed body").into()),
    }
}

fn decode_refs(body: &mut Reader<'_>, count: usize) -> Result<Vec<SeriesRef>, RecordError> {
    let mut refs = Vec::with_capacity(count);
    let mut last = 0_u32;
    for _ in 0..count {
        let step = body.signed("series reference")?;
        let next = i64::from(last).checked_add(step).and_then(|next| u32::try_from(next).ok());
        last = next.ok_or(Malformed("series reference"))?;
        refs.push(SeriesRef(last));
    }
    Ok(refs)
}

fn decode_timestamps(body: &mut Reader<'_>, count: usize) -> Result<Vec<TimestampMs>, RecordError> {
    let mut timestamps = Vec::with_capacity(count);
    let mut last: TimestampMs = 0;
    for _ in 0..count {
        last = last.wrapping_add(unzigzag(body.varint("timestamp")?));
        timestamps.push(last);
    }
    Ok(timestamps)
}

/// Labels, or the length 0 for those of the one before.
fn put_series(out: &mut Vec<u8>, last: &mut Option<LabelSet>, labels: &LabelSet) {
    assert!(!labels.as_bytes().is_empty(), "a series has labels");
    if last.as_ref() == Some(labels) {
        put_prefixed(out, &[]);
    } else {
        put_prefixed(out, labels.as_bytes());
        *last = Some(labels.clone());
    }
}

fn decode_series(
    body: &mut Reader<'_>,
    last: &mut Option<LabelSet>,
    field: &'static str,
) -> Result<LabelSet, RecordError> {
    let bytes = body.prefixed(field)?;
    if !bytes.is_empty() {
        *last = Some(LabelSet::from_canonical(bytes)?);
    }
    last.clone().ok_or(Malformed(field).into())
}

fn decode_exemplar(body: &mut Reader<'_>, last: &mut Option<LabelSet>) -> Result<SeriesExemplar, RecordError> {
    let series = decode_series(body, last, "series of an exemplar")?;
    let labels = LabelSet::from_canonical(body.prefixed("labels of an exemplar")?)?;
    let ts = body.signed("time of an exemplar")?;
    let value = f64::from_bits(body.u64("value of an exemplar")?);
    Ok(SeriesExemplar { series, exemplar: Exemplar { labels, value, ts } })
}
