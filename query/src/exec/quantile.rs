//! `quantile(phi, v)`: needs all values of a group at once.

use datafusion::common::{DataFusionError, Result};
use hashbrown::HashMap;

use super::aggregate_k::bounds;
use super::context::QueryContext;
use super::input::{Gathered, Output, RowStream, once, scalar_values};
use super::node::Call;
use crate::annotation::Annotation;
use crate::batch::{Row, RowId};
use crate::functions::quantile::quantile;
use crate::functions::{RowOut, ScalarArg, annotations};
use crate::plan::Op;

pub(super) fn run(call: Call) -> Result<RowStream> {
    Ok(once(async move {
        let Op::Quantile { grouping, phi, vector } = &*call.op else { unreachable!("planned as a quantile") };
        let phi = call.param(*phi).await?;
        warn_outside(&phi, &call);
        let input = Gathered::from_input(&call, 0).await?;
        let mut groups: HashMap<Vec<u8>, (bool, Vec<RowId>)> = HashMap::new();
        let mut key = Vec::new();
        for id in input.rows.ids() {
            let row = input.rows.get(id);
            grouping.key_of(row.labels, &mut key);
            let (drop_name, members) = groups.entry_ref(key.as_slice()).or_default();
            *drop_name |= row.drop_name;
            members.push(id);
        }
        if input.rows.rows().any(|row| row.has_histograms()) {
            let note = annotations::ignored_in_aggregation("quantile");
            call.query.annotations.add(Annotation { note, span: *vector });
        }
        let reservation = QueryContext::reserve(&call.task, "quantile");
        reservation.try_grow(groups.len() * call.grid.n * 8)?;
        let mut output = Output::new(call.grid.n);
        let mut values = Vec::new();
        for (key, (drop_name, members)) in &groups {
            output.builder()?.push_with(key, *drop_name, |mut out: RowOut<'_>| {
                for step in 0..call.grid.n {
                    call.query.check_deadline()?;
                    let present = members.iter().map(|id| input.rows.get(*id)).filter(|row| is_float(*row, step));
                    values.clear();
                    values.extend(present.map(|row| row.values[step]));
                    if !values.is_empty() {
                        out.set(step, quantile(phi.at(step), &mut values));
                    }
                }
                Ok::<_, DataFusionError>(())
            })?;
        }
        output.finish()
    }))
}

fn is_float(row: Row<'_>, step: usize) -> bool {
    row.float_word(step / 64) >> (step % 64) & 1 == 1
}

fn warn_outside(phi: &ScalarArg, call: &Call) {
    let warn = |value: f64| {
        call.query.annotations.add(Annotation { note: annotations::invalid_quantile(value), span: call.span });
    };
    if scalar_values(phi).iter().any(|value| value.is_nan()) {
        warn(f64::NAN);
    }
    let (min, max) = bounds(phi);
    if max > 1.0 {
        warn(max);
    }
    if min < 0.0 {
        warn(min);
    }
}
