//! A typed, read-only view of a record batch.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BinaryArray, BooleanArray, RecordBatch};
use arrow::buffer::{Buffer, ScalarBuffer};
use arrow::datatypes::Float64Type;
use datafusion::common::{Result, internal_datafusion_err};
use pharos_model::FloatHistogram;

use super::hist;
use super::schema::steps_of;
use crate::functions::HistogramSteps;
use crate::functions::grid::set_bits;
use crate::value::Point;

/// Rows of one batch; cloning is cheap.
#[derive(Clone, Debug)]
pub struct RowBatch {
    steps: usize,
    words: usize,
    labels: BinaryArray,
    drop_name: BooleanArray,
    present: ScalarBuffer<u64>,
    values: ScalarBuffer<f64>,
    /// For each row; `None` when no row has a histogram.
    histograms: Option<Arc<[Option<HistogramSteps>]>>,
    record: RecordBatch,
}

/// One series.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// Canonical bytes of the label set.
    pub labels: &'a [u8],
    pub drop_name: bool,
    /// One bit for each step, in words; bits past the last step are clear.
    pub present: &'a [u64],
    /// One value for each step, undefined where the bit is clear or the step has a histogram.
    pub values: &'a [f64],
    /// Native histograms; at these steps, if the bit is set, the value is one. `None` when all are floats.
    pub histograms: Option<&'a HistogramSteps>,
}

impl Row<'_> {
    /// The bits of 64 steps whose value is a float.
    pub fn float_word(&self, at: usize) -> u64 {
        self.present[at] & !self.histograms.map_or(0, |histograms| histograms.word(at))
    }

    /// Steps whose value is a float, ascending.
    pub fn float_steps(&self) -> impl Iterator<Item = usize> {
        (0..self.present.len()).flat_map(|at| set_bits(self.float_word(at)).map(move |bit| at * 64 + bit))
    }

    /// Steps whose value is a histogram, ascending, with the histogram.
    pub fn histogram_steps(&self) -> impl Iterator<Item = (usize, &Arc<FloatHistogram>)> {
        self.histograms.into_iter().flat_map(|histograms| histograms.among(self.present))
    }

    /// What is at a step whose bit is set.
    pub fn point(&self, step: usize) -> Point {
        match self.histograms.and_then(|histograms| histograms.get(step)) {
            Some(histogram) => Point::Histogram(Arc::clone(histogram)),
            None => Point::Float(self.values[step]),
        }
    }

    /// Whether a step, if its bit is set, has a histogram.
    pub fn is_histogram(&self, step: usize) -> bool {
        self.histograms.is_some_and(|histograms| histograms.has(step))
    }

    /// Whether any value is a histogram.
    pub fn has_histograms(&self) -> bool {
        self.histograms.is_some_and(|histograms| histograms.is_among(self.present))
    }
}

impl RowBatch {
    /// A view of a record batch of [`super::batch_schema`].
    pub fn new(record: RecordBatch) -> Result<Self> {
        let malformed = || internal_datafusion_err!("not a batch of series rows: {:?}", record.schema());
        let steps = steps_of(&record.schema()).ok_or_else(malformed)?;
        let words = steps.div_ceil(64);
        let labels = record.column(0).as_binary_opt::<i32>().ok_or_else(malformed)?.clone();
        let drop_name = record.column(1).as_boolean_opt().ok_or_else(malformed)?.clone();
        let present = record.column(2).as_fixed_size_binary_opt().ok_or_else(malformed)?;
        let present = aligned_words(present.values());
        let list = record.column(3).as_fixed_size_list_opt().ok_or_else(malformed)?;
        let values = list.values().as_primitive_opt::<Float64Type>().ok_or_else(malformed)?.values().clone();
        let histograms = record.column(4).as_binary_opt::<i32>().ok_or_else(malformed)?;
        let histograms = decoded_histograms(histograms, words)?;
        Ok(Self { steps, words, labels, drop_name, present, values, histograms, record })
    }

    pub fn into_record(self) -> RecordBatch {
        self.record
    }

    pub fn len(&self) -> usize {
        self.record.num_rows()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn row(&self, i: usize) -> Row<'_> {
        Row {
            labels: self.labels.value(i),
            drop_name: self.drop_name.value(i),
            present: &self.present[i * self.words..(i + 1) * self.words],
            values: &self.values[i * self.steps..(i + 1) * self.steps],
            histograms: self.histograms.as_ref().and_then(|rows| rows[i].as_ref()),
        }
    }

    pub fn rows(&self) -> impl ExactSizeIterator<Item = Row<'_>> {
        (0..self.len()).map(|i| self.row(i))
    }

    /// Bytes that the rows keep in memory.
    pub fn bytes(&self) -> usize {
        let decoded: usize = self.histograms().map(|histogram| histogram.size_bytes()).sum();
        self.record.get_array_memory_size() + decoded
    }

    /// Samples: bits that are set; a histogram weighs as many as take its place.
    pub fn points(&self) -> u64 {
        let set: u64 = self.present.iter().map(|word| u64::from(word.count_ones())).sum();
        set + self.histograms().map(|histogram| histogram.size_in_samples() as u64 - 1).sum::<u64>()
    }

    fn histograms(&self) -> impl Iterator<Item = &Arc<FloatHistogram>> {
        let rows = self.histograms.iter().flat_map(|rows| rows.iter().flatten());
        rows.flat_map(|row| row.iter().map(|(_, histogram)| histogram))
    }
}

fn decoded_histograms(column: &BinaryArray, words: usize) -> Result<Option<Arc<[Option<HistogramSteps>]>>> {
    if column.null_count() == column.len() {
        return Ok(None);
    }
    let rows = column.iter().map(|bytes| bytes.map(|bytes| hist::decode(bytes, words)).transpose());
    rows.collect::<Result<Arc<[_]>>>().map(Some)
}

/// The bitmap words in place, or a copy when the bytes came over a wire and lie at an odd address.
fn aligned_words(bytes: &Buffer) -> ScalarBuffer<u64> {
    if cfg!(target_endian = "little") && bytes.as_ptr().align_offset(align_of::<u64>()) == 0 {
        return ScalarBuffer::new(bytes.clone(), 0, bytes.len() / 8);
    }
    bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("chunks of eight"))).collect()
}
