//! `count_values("label", v)`: how many series of a group have each value.

use datafusion::common::Result;
use futures::TryStreamExt;
use hashbrown::HashMap;
use pharos_model::LabelSetBuilder;
use pharos_model::number::format_f;
use pharos_model::sample::NORMAL_NAN_BITS;

use super::context::QueryContext;
use super::input::{Output, RowStream, once};
use super::node::Call;
use crate::batch::Row;
use crate::plan::{Grouping, Op};

pub(super) fn run(call: Call) -> Result<RowStream> {
    Ok(once(async move {
        let Op::CountValues { grouping, label } = &*call.op else { unreachable!("planned as count_values") };
        let mut input = call.rows(0)?;
        let mut counts = Counts::new(grouping, label, call.grid.n);
        let reservation = QueryContext::reserve(&call.task, "count_values");
        while let Some(batch) = input.try_next().await? {
            for row in batch.rows() {
                counts.add(row);
            }
            reservation.try_resize(counts.bytes())?;
        }
        let mut output = Output::new(call.grid.n);
        for (labels, count) in &counts.rows {
            call.query.check_deadline()?;
            let (present, values) = (&count.present, &count.values);
            output.builder()?.push(Row { labels, drop_name: false, present, values, histograms: None });
        }
        output.finish()
    }))
}

struct Counts<'a> {
    grouping: &'a Grouping,
    label: &'a str,
    steps: usize,
    rows: HashMap<Vec<u8>, Count>,
    key: Vec<u8>,
}

struct Count {
    present: Vec<u64>,
    values: Vec<f64>,
}

impl<'a> Counts<'a> {
    fn new(grouping: &'a Grouping, label: &'a str, steps: usize) -> Self {
        Self { grouping, label, steps, rows: HashMap::new(), key: Vec::new() }
    }

    fn add(&mut self, row: Row<'_>) {
        let labels = pharos_model::LabelSet::from_canonical_trusted(row.labels).to_builder();
        // A series mostly keeps its value, so the labels are made once for each run of equal values.
        let mut last: Option<u64> = None;
        for step in row.float_steps() {
            let value = row.values[step];
            let bits = if value.is_nan() { NORMAL_NAN_BITS } else { value.to_bits() };
            if last != Some(bits) {
                self.set_key(labels.clone(), &format_f(value));
                last = Some(bits);
            }
            self.count(step);
        }
        for (step, histogram) in row.histogram_steps() {
            self.set_key(labels.clone(), &histogram.to_string());
            self.count(step);
        }
    }

    fn set_key(&mut self, mut labels: LabelSetBuilder, value: &str) {
        labels.set(self.label, value);
        self.grouping.key_of(labels.build().as_bytes(), &mut self.key);
    }

    /// Counts a series in the group whose key was set last.
    fn count(&mut self, step: usize) {
        let steps = self.steps;
        let count = self
            .rows
            .entry_ref(self.key.as_slice())
            .or_insert_with(|| Count { present: vec![0; steps.div_ceil(64)], values: vec![0.0; steps] });
        count.present[step / 64] |= 1 << (step % 64);
        count.values[step] += 1.0;
    }

    fn bytes(&self) -> usize {
        self.rows.len() * (self.steps * 8 + self.steps / 8 + self.label.len() + 64)
    }
}
