//! A word beside the rows: one row without a single bit, which no operator sends, whose labels are the word.
//!
//! So what a part of a query has to say when it ends travels with its rows, whatever carries them.

use std::sync::Arc;

use arrow::array::{BinaryArray, BooleanArray, FixedSizeBinaryArray, FixedSizeListArray, Float64Array, RecordBatch};
use arrow::buffer::Buffer;
use datafusion::common::Result;

use super::rows::RowBatch;
use super::schema::{batch_schema, item_field};

/// The batch that carries `word` on an edge of `steps` steps.
pub fn aside(steps: usize, word: &[u8]) -> Result<RecordBatch> {
    let list = i32::try_from(steps).expect("checked by batch_schema");
    let words = i32::try_from(steps.div_ceil(64) * 8).expect("checked by batch_schema");
    let values = Float64Array::from(vec![0.0; steps]);
    let columns = RecordBatch::try_new(
        batch_schema(steps),
        vec![
            Arc::new(BinaryArray::from_vec(vec![word])),
            Arc::new(BooleanArray::from(vec![false])),
            Arc::new(FixedSizeBinaryArray::new(words, Buffer::from_vec(vec![0u64; steps.div_ceil(64)]), None)),
            Arc::new(FixedSizeListArray::new(item_field(), list, Arc::new(values), None)),
            Arc::new(BinaryArray::new_null(1)),
        ],
    )?;
    Ok(columns)
}

impl RowBatch {
    /// The word, if the batch is one.
    pub fn as_aside(&self) -> Option<&[u8]> {
        let first = (self.len() == 1).then(|| self.row(0))?;
        first.present.iter().all(|word| *word == 0).then_some(first.labels)
    }
}
