//! A typed, read-only view of a record batch.

use arrow::array::{AsArray, BinaryArray, BooleanArray, RecordBatch};
use arrow::buffer::{Buffer, ScalarBuffer};
use arrow::datatypes::Float64Type;
use datafusion::common::{Result, internal_datafusion_err};

use super::schema::steps_of;

/// Rows of one batch; cloning is cheap.
#[derive(Clone, Debug)]
pub struct RowBatch {
    steps: usize,
    words: usize,
    labels: BinaryArray,
    drop_name: BooleanArray,
    present: ScalarBuffer<u64>,
    values: ScalarBuffer<f64>,
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
    /// One value for each step, undefined where the bit is clear.
    pub values: &'a [f64],
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
        Ok(Self { steps, words, labels, drop_name, present, values, record })
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
        }
    }

    pub fn rows(&self) -> impl ExactSizeIterator<Item = Row<'_>> {
        (0..self.len()).map(|i| self.row(i))
    }

    /// Bytes that the rows keep in memory.
    pub fn bytes(&self) -> usize {
        self.record.get_array_memory_size()
    }

    /// Samples: bits that are set.
    pub fn points(&self) -> u64 {
        self.present.iter().map(|word| u64::from(word.count_ones())).sum()
    }
}

/// The bitmap words in place, or a copy when the bytes came over a wire and lie at an odd address.
fn aligned_words(bytes: &Buffer) -> ScalarBuffer<u64> {
    if cfg!(target_endian = "little") && bytes.as_ptr().align_offset(align_of::<u64>()) == 0 {
        return ScalarBuffer::new(bytes.clone(), 0, bytes.len() / 8);
    }
    bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("chunks of eight"))).collect()
}
