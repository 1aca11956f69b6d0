//! A row group in the making: one open column writer for each column.

use parquet::column::writer::{ColumnCloseResult, ColumnWriterImpl};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::Result;
use parquet::file::properties::WriterPropertiesPtr;
use parquet::schema::types::ColumnDescPtr;
use pharos_model::LabelSet;
use pharos_model::labels::METRIC_NAME;

use super::page::{ChunkBuffer, ChunkSink};
use super::schema::{
    DEF_NULL_LIST, FileColumns, FileSchema, SampleColumn, label_column, label_properties, sample_properties,
};
use super::split::SplitValues;

/// Label and fact columns are handed to their writers this many rows at a time: a call costs more than a value.
const BUFFERED_ROWS: usize = 1_024;
/// Scale of a row without mantissas.
pub(crate) const NO_SCALE: i32 = 0;

/// The open row group.
pub(crate) struct RowGroup {
    rows: usize,
    samples: u64,
    name: Column<ByteArrayType>,
    promoted: Vec<(String, Column<ByteArrayType>)>,
    rest_keys: Column<ByteArrayType>,
    rest_values: Column<ByteArrayType>,
    first_ts: Column<Int64Type>,
    last_ts: Column<Int64Type>,
    counts: Column<Int32Type>,
    scales: Column<Int32Type>,
    ts: Column<Int64Type>,
    mantissas: Column<Int64Type>,
    doubles: Column<DoubleType>,
    histograms: Column<ByteArrayType>,
    starts: Option<Column<Int64Type>>,
}

/// A finished column chunk.
pub(crate) struct ClosedColumn {
    pub chunk: ChunkBuffer,
    pub close: ColumnCloseResult,
    /// Which of the columns that the index lists, if any.
    pub sample_column: Option<SampleColumn>,
}

impl RowGroup {
    pub(crate) fn new(columns: &FileColumns) -> Result<Self> {
        let schema = FileSchema::new(columns)?.descriptor();
        let (labels, samples) = (label_properties(), sample_properties());
        let find = |path: &str| {
            let column = schema.columns().iter().find(|column| column.path().string() == path);
            column.cloned().expect("a column of the schema")
        };
        Ok(Self {
            rows: 0,
            samples: 0,
            name: Column::new(find("name"), &labels),
            promoted: columns
                .promoted
                .iter()
                .map(|label| (label.clone(), Column::new(find(&label_column(label)), &labels)))
                .collect(),
            rest_keys: Column::new(find("labels_rest.key_value.key"), &labels),
            rest_values: Column::new(find("labels_rest.key_value.value"), &labels),
            first_ts: Column::new(find("min_ts"), &labels),
            last_ts: Column::new(find("max_ts"), &labels),
            counts: Column::new(find("n"), &labels),
            scales: Column::new(find("scale"), &labels),
            ts: Column::new(find(SampleColumn::Timestamps.path()), &samples),
            mantissas: Column::new(find(SampleColumn::Mantissas.path()), &samples),
            doubles: Column::new(find(SampleColumn::Doubles.path()), &samples),
            histograms: Column::new(find(SampleColumn::Histograms.path()), &samples),
            starts: columns.starts.then(|| Column::new(find(SampleColumn::Starts.path()), &samples)),
        })
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn samples(&self) -> u64 {
        self.samples
    }

    /// Appends one row, which is not empty.
    pub(crate) fn append(&mut self, labels: &LabelSet, values: &SplitValues) -> Result<()> {
        let ts = &values.ts;
        self.append_labels(labels);
        self.first_ts.push(ts[0]);
        self.last_ts.push(ts[ts.len() - 1]);
        self.counts.push(ts.len() as i32);
        self.scales.push(values.scale.map_or(NO_SCALE, i32::from));
        self.ts.write_list(ts, 1, ts.len())?;
        self.mantissas.write_nullable_list(&values.mantissas, &values.mantissa_def)?;
        self.doubles.write_nullable_list(&values.doubles, &values.double_def)?;
        self.histograms.write_nullable_list(&values.histograms, &values.histogram_def)?;
        if let Some(starts) = &mut self.starts {
            starts.write_nullable_list(&values.starts, &values.start_def)?;
        }
        self.rows += 1;
        self.samples += ts.len() as u64;
        if self.rows.is_multiple_of(BUFFERED_ROWS) {
            self.flush()?;
        }
        Ok(())
    }

    fn append_labels(&mut self, labels: &LabelSet) {
        let mut in_map = false;
        for label in labels {
            let value = || ByteArray::from(label.value);
            if label.name == METRIC_NAME {
                self.name.push_optional(value(), self.rows % BUFFERED_ROWS);
            } else if let Ok(i) = self.promoted.binary_search_by(|(name, _)| name.as_str().cmp(label.name)) {
                self.promoted[i].1.push_optional(value(), self.rows % BUFFERED_ROWS);
            } else {
                self.rest_keys.push_repeated(ByteArray::from(label.name), !in_map);
                self.rest_values.push_repeated(value(), !in_map);
                in_map = true;
            }
        }
        if !in_map {
            self.rest_keys.push_empty();
            self.rest_values.push_empty();
        }
    }

    /// Hands what is buffered to the column writers.
    fn flush(&mut self) -> Result<()> {
        let rows = match self.rows % BUFFERED_ROWS {
            0 if self.rows > 0 => BUFFERED_ROWS,
            rows => rows,
        };
        self.name.flush_optional(rows)?;
        self.promoted.iter_mut().try_for_each(|(_, column)| column.flush_optional(rows))?;
        self.rest_keys.flush()?;
        self.rest_values.flush()?;
        self.first_ts.flush()?;
        self.last_ts.flush()?;
        self.counts.flush()?;
        self.scales.flush()
    }

    /// Closes all columns, in file order.
    pub(crate) fn close(mut self) -> Result<Vec<ClosedColumn>> {
        if !self.rows.is_multiple_of(BUFFERED_ROWS) {
            self.flush()?;
        }
        let mut closed = vec![self.name.close(None)?];
        for (_, column) in self.promoted {
            closed.push(column.close(None)?);
        }
        closed.push(self.rest_keys.close(None)?);
        closed.push(self.rest_values.close(None)?);
        closed.push(self.first_ts.close(None)?);
        closed.push(self.last_ts.close(None)?);
        closed.push(self.counts.close(None)?);
        closed.push(self.scales.close(None)?);
        closed.push(self.ts.close(Some(SampleColumn::Timestamps))?);
        closed.push(self.mantissas.close(Some(SampleColumn::Mantissas))?);
        closed.push(self.doubles.close(Some(SampleColumn::Doubles))?);
        closed.push(self.histograms.close(Some(SampleColumn::Histograms))?);
        if let Some(starts) = self.starts {
            closed.push(starts.close(Some(SampleColumn::Starts))?);
        }
        Ok(closed)
    }
}

/// A column writer with the values and levels it has not been given yet.
struct Column<T: DataType> {
    writer: ColumnWriterImpl<'static, T>,
    sink: ChunkSink,
    values: Vec<T::T>,
    def: Vec<i16>,
    rep: Vec<i16>,
}

impl<T: DataType> Column<T> {
    fn new(column: ColumnDescPtr, properties: &WriterPropertiesPtr) -> Self {
        let sink = ChunkSink::default();
        let writer = ColumnWriterImpl::new(column, WriterPropertiesPtr::clone(properties), Box::new(sink.clone()));
        Self { writer, sink, values: Vec::new(), def: Vec::new(), rep: Vec::new() }
    }

    /// Buffers a value of a required column.
    fn push(&mut self, value: T::T) {
        self.values.push(value);
    }

    /// Buffers a value of an optional column for the row at `place` of the buffer; rows passed over have none.
    fn push_optional(&mut self, value: T::T, place: usize) {
        self.def.resize(place, 0);
        self.def.push(1);
        self.values.push(value);
    }

    /// Buffers an element of a repeated group; `first` of its row or not.
    fn push_repeated(&mut self, value: T::T, first: bool) {
        self.def.push(1);
        self.rep.push(i16::from(!first));
        self.values.push(value);
    }

    /// Buffers a row without elements.
    fn push_empty(&mut self) {
        self.def.push(0);
        self.rep.push(0);
    }

    fn flush_optional(&mut self, rows: usize) -> Result<()> {
        self.def.resize(rows, 0);
        self.flush()
    }

    fn flush(&mut self) -> Result<()> {
        let def = (!self.def.is_empty()).then_some(self.def.as_slice());
        let rep = (!self.rep.is_empty()).then_some(self.rep.as_slice());
        self.writer.write_batch(&self.values, def, rep)?;
        self.values.clear();
        self.def.clear();
        self.rep.clear();
        Ok(())
    }

    /// Writes a whole list of non-null elements at definition level `def`.
    fn write_list(&mut self, values: &[T::T], def: i16, len: usize) -> Result<()> {
        self.def.clear();
        self.def.resize(len, def);
        self.set_list_levels(len);
        self.writer.write_batch(values, Some(&self.def), Some(&self.rep)).map(drop)
    }

    /// Writes a list whose elements have the given definition levels, or a null list when it has no value at all.
    fn write_nullable_list(&mut self, values: &[T::T], def: &[i16]) -> Result<()> {
        if values.is_empty() {
            return self.writer.write_batch(&[], Some(&[DEF_NULL_LIST]), Some(&[0])).map(drop);
        }
        self.set_list_levels(def.len());
        self.writer.write_batch(values, Some(def), Some(&self.rep)).map(drop)
    }

    fn set_list_levels(&mut self, len: usize) {
        self.rep.clear();
        self.rep.resize(len, 1);
        self.rep[0] = 0;
    }

    fn close(self, sample_column: Option<SampleColumn>) -> Result<ClosedColumn> {
        let close = self.writer.close()?;
        Ok(ClosedColumn { chunk: self.sink.take(), close, sample_column })
    }
}
