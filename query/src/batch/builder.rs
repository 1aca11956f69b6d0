//! Builds a batch row by row.

use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, BinaryBuilder, BooleanBuilder, FixedSizeBinaryArray, FixedSizeListArray, Float64Array,
    RecordBatch,
};
use arrow::buffer::{Buffer, ScalarBuffer};
use arrow::datatypes::SchemaRef;
use datafusion::common::Result;

use super::rows::RowBatch;
use super::schema::{batch_schema, item_field};
use super::{BATCH_BYTES, Row, hist};
use crate::functions::{HistogramSteps, PointsOut, RowOut};

/// Collects rows until [`BatchBuilder::is_full`]; reusable after [`BatchBuilder::finish`].
#[derive(Debug)]
pub struct BatchBuilder {
    schema: SchemaRef,
    steps: usize,
    words: usize,
    labels: BinaryBuilder,
    label_bytes: usize,
    drop_name: BooleanBuilder,
    present: Vec<u64>,
    values: Vec<f64>,
    histograms: HistogramColumn,
    /// Of the row under way.
    row_histograms: HistogramSteps,
}

/// The `hist` column, which is not begun before there is a histogram.
#[derive(Debug, Default)]
struct HistogramColumn {
    column: Option<BinaryBuilder>,
    bytes: usize,
    row: Vec<u8>,
}

impl BatchBuilder {
    pub fn new(steps: usize) -> Self {
        Self {
            schema: batch_schema(steps),
            steps,
            words: steps.div_ceil(64),
            // Without room: most batches of short queries are small.
            labels: BinaryBuilder::with_capacity(0, 0),
            label_bytes: 0,
            drop_name: BooleanBuilder::with_capacity(0),
            present: Vec::new(),
            values: Vec::new(),
            histograms: HistogramColumn::default(),
            row_histograms: HistogramSteps::default(),
        }
    }

    /// Lets `write` fill a row of floats whose bits are all clear, and keeps the row if a bit is set afterwards.
    pub fn push_with<E>(
        &mut self,
        labels: &[u8],
        drop_name: bool,
        write: impl FnOnce(RowOut<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.push_points(labels, drop_name, |mut points| write(points.floats()))
    }

    /// As [`BatchBuilder::push_with`], for floats and native histograms.
    pub fn push_points<E>(
        &mut self,
        labels: &[u8],
        drop_name: bool,
        write: impl FnOnce(PointsOut<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (bits, floats) = (self.present.len(), self.values.len());
        self.present.resize(bits + self.words, 0);
        self.values.resize(floats + self.steps, 0.0);
        self.row_histograms.clear();
        let (present, values) = (&mut self.present[bits..], &mut self.values[floats..]);
        let written = write(PointsOut { present, values, histograms: &mut self.row_histograms });
        if written.is_err() || self.present[bits..].iter().all(|word| *word == 0) {
            self.present.truncate(bits);
            self.values.truncate(floats);
            return written;
        }
        self.histograms.push(self.drop_name.len(), Some(&self.row_histograms), &self.present[bits..]);
        self.labels.append_value(labels);
        self.label_bytes += labels.len();
        self.drop_name.append_value(drop_name);
        Ok(())
    }

    /// Adds a row as it is, unless no bit is set.
    pub fn push(&mut self, row: Row<'_>) {
        if row.present.iter().all(|word| *word == 0) {
            return;
        }
        self.present.extend_from_slice(row.present);
        self.values.extend_from_slice(row.values);
        self.histograms.push(self.drop_name.len(), row.histograms, row.present);
        self.labels.append_value(row.labels);
        self.label_bytes += row.labels.len();
        self.drop_name.append_value(row.drop_name);
    }

    pub fn is_empty(&self) -> bool {
        self.present.is_empty()
    }

    /// Whether the rows have reached the size of a batch.
    pub fn is_full(&self) -> bool {
        self.bytes() >= BATCH_BYTES
    }

    /// Bytes of the rows so far.
    pub fn bytes(&self) -> usize {
        (self.present.len() + self.values.len()) * 8 + self.label_bytes + self.histograms.bytes
    }

    /// The batch of all rows so far; the builder is empty afterwards.
    pub fn finish(&mut self) -> Result<RowBatch> {
        let words = i32::try_from(self.words * 8).expect("checked by batch_schema");
        let list = i32::try_from(self.steps).expect("checked by batch_schema");
        let present = Buffer::from_vec(std::mem::take(&mut self.present));
        let values = Float64Array::new(ScalarBuffer::from(std::mem::take(&mut self.values)), None);
        let histograms = self.histograms.finish(self.drop_name.len());
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.labels.finish()),
            Arc::new(self.drop_name.finish()),
            Arc::new(FixedSizeBinaryArray::new(words, present, None)),
            Arc::new(FixedSizeListArray::new(item_field(), list, Arc::new(values), None)),
            histograms,
        ];
        self.label_bytes = 0;
        RowBatch::new(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

impl HistogramColumn {
    /// Adds the histograms of a row at the steps in `present`, after `rows` rows.
    fn push(&mut self, rows: usize, histograms: Option<&HistogramSteps>, present: &[u64]) {
        let histograms = histograms.filter(|histograms| histograms.is_among(present));
        match (histograms, &mut self.column) {
            (None, None) => {}
            (None, Some(column)) => column.append_null(),
            (Some(histograms), column) => {
                self.row.clear();
                hist::encode(histograms, present, &mut self.row);
                self.bytes += self.row.len();
                column.get_or_insert_with(|| nulls(rows)).append_value(&self.row);
            }
        }
    }

    fn finish(&mut self, rows: usize) -> ArrayRef {
        self.bytes = 0;
        Arc::new(self.column.take().unwrap_or_else(|| nulls(rows)).finish())
    }
}

fn nulls(rows: usize) -> BinaryBuilder {
    let mut column = BinaryBuilder::with_capacity(rows, 0);
    column.append_nulls(rows);
    column
}
