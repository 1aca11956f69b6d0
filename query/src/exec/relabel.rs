//! `label_replace` and `label_join`: labels of each row change, values do not.

use std::sync::Arc;

use datafusion::common::Result;
use futures::{StreamExt, TryStreamExt};
use pharos_model::LabelSet;
use pharos_model::labels::METRIC_NAME;

use super::context::fail;
use super::input::{Output, RowStream, batches};
use super::node::Call;
use crate::batch::{Row, RowBatch};
use crate::functions::LabelKernel;
use crate::plan::Op;

pub(super) fn run(call: Call) -> Result<RowStream> {
    let op = Arc::clone(&call.op);
    let Op::Relabel(relabel) = &*op else { unreachable!("planned as a change of labels") };
    let kernel = relabel.kernel().map_err(fail)?;
    let steps = call.grid.n;
    let rows = call.rows(0)?;
    Ok(rows.map(move |batch| change(&kernel, &batch?, steps).map(batches)).try_flatten().boxed())
}

fn change(kernel: &LabelKernel, batch: &RowBatch, steps: usize) -> Result<Vec<RowBatch>> {
    let writes_name = kernel.destination() == METRIC_NAME;
    let mut output = Output::new(steps);
    for row in batch.rows() {
        match kernel.apply(&LabelSet::from_canonical_trusted(row.labels)) {
            None => output.builder()?.push(row),
            Some(labels) => {
                // A name that was just written is there to stay.
                let drop_name = row.drop_name && !writes_name;
                output.builder()?.push(Row { labels: labels.as_bytes(), drop_name, ..row });
            }
        }
    }
    output.finish()
}
