//! `absent(v)`: one row, present where no series is. A part of it sends one where some series is.

use datafusion::common::Result;
use futures::TryStreamExt;

use super::input::{RowStream, once};
use super::node::{Call, Stage};
use crate::batch::BatchBuilder;
use crate::functions::RowOut;
use crate::functions::grid::is_set;
use crate::plan::Op;

pub(super) fn run(call: Call) -> Result<RowStream> {
    Ok(once(async move {
        let Op::Absent { labels } = &*call.op else { unreachable!("planned as absent") };
        let mut input = call.rows(0)?;
        let mut seen = vec![0u64; call.grid.words()];
        while let Some(batch) = input.try_next().await? {
            for row in batch.rows() {
                seen.iter_mut().zip(row.present).for_each(|(seen, present)| *seen |= present);
            }
        }
        let is_part = matches!(call.stage, Stage::Partial | Stage::Combine);
        let mut builder = BatchBuilder::new(call.grid.n);
        let Ok(()) = builder.push_with(labels.as_bytes(), false, |mut out: RowOut<'_>| {
            (0..call.grid.n).filter(|step| is_set(&seen, *step) == is_part).for_each(|step| out.set(step, 1.0));
            Ok::<_, std::convert::Infallible>(())
        });
        Ok(vec![builder.finish()?])
    }))
}
