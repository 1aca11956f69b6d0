//! Functions of histograms. Rows of floats that differ in their `le` label only are the buckets of one classic histogram;
//! native ones have a row each. At a step with both under one label set, neither is evaluated.

use datafusion::common::Result;
use hashbrown::HashMap;
use pharos_model::labels::METRIC_NAME;
use pharos_model::number::format_openmetrics;
use pharos_model::{FloatHistogram, LabelSet, TimestampMs};

use super::context::QueryContext;
use super::input::{Gathered, RowStream, once, scalar_values};
use super::merge::RowMerger;
use super::node::Call;
use crate::batch::{Row, RowBuffer, RowId};
use crate::functions::buckets::{self, Bucket};
use crate::functions::grid::is_set;
use crate::functions::notes::Monotonicity;
use crate::functions::{Notes, ScalarArg, annotations};
use crate::plan::{HistogramCall, NameRule, Op};

pub(super) fn run(call: Call) -> Result<RowStream> {
    Ok(once(async move {
        let Op::Histogram { call: histogram, params, names, arg_spans } = &*call.op else {
            unreachable!("planned as a histogram function")
        };
        let params = call.params(params).await?;
        let input = Gathered::from_input(&call, 0).await?;
        let mut evaluation = Evaluation {
            call: &call,
            histogram,
            params: &params,
            names: *names,
            rows: &input.rows,
            notes: Notes::default(),
            output: RowMerger::new(call.grid.n),
        };
        evaluation.check_quantiles();
        let reservation = QueryContext::reserve(&call.task, "histogram");
        for (key, group) in &evaluation.groups() {
            evaluation.group(key, group)?;
            reservation.try_resize(evaluation.output.bytes())?;
        }
        call.query.annotations.add_notes(evaluation.notes.times(call.evaluations), arg_spans);
        evaluation.output.finish(&call.query)
    }))
}

struct Evaluation<'a> {
    call: &'a Call,
    histogram: &'a HistogramCall,
    params: &'a [ScalarArg],
    names: NameRule,
    rows: &'a RowBuffer,
    notes: Notes,
    output: RowMerger,
}

/// What has the labels of one histogram.
#[derive(Default)]
struct Group {
    drop_name: bool,
    buckets: Vec<(f64, RowId)>,
    /// Rows with native histograms.
    native: Vec<RowId>,
}

/// A histogram at one step.
enum Found<'a> {
    Classic(&'a mut Vec<Bucket>),
    Native(&'a FloatHistogram),
}

/// What there is to say about one histogram.
struct HistogramNotes<'a> {
    /// Its labels.
    key: &'a [u8],
    list: Notes,
}

/// The row of a result under way.
struct Answer {
    present: Vec<u64>,
    values: Vec<f64>,
}

impl Evaluation<'_> {
    /// Index of the call's vector argument.
    fn vector_argument(&self) -> u8 {
        match self.histogram {
            HistogramCall::Quantile => 1,
            HistogramCall::Fraction => 2,
            HistogramCall::Quantiles { .. } => 0,
        }
    }

    fn check_quantiles(&mut self) {
        let first_argument = match self.histogram {
            HistogramCall::Quantile => 0,
            HistogramCall::Quantiles { .. } => 2,
            HistogramCall::Fraction => return,
        };
        for (i, param) in self.params.iter().enumerate() {
            for phi in scalar_values(param).iter().filter(|phi| !(0.0..=1.0).contains(*phi)) {
                let note = annotations::invalid_quantile(*phi);
                self.notes.add(crate::functions::Note { argument: first_argument + i as u8, ..note });
            }
        }
    }

    /// Rows by histogram. Rows whose bound is no number are reported and left out.
    fn groups(&mut self) -> HashMap<Vec<u8>, Group> {
        let mut groups: HashMap<Vec<u8>, Group> = HashMap::new();
        let mut key = Vec::new();
        for id in self.rows.ids() {
            let row = self.rows.get(id);
            if row.has_histograms() {
                let group = groups.entry_ref(row.labels).or_default();
                group.drop_name |= row.drop_name;
                group.native.push(id);
            }
            if row.float_steps().next().is_none() {
                continue;
            }
            match buckets::upper_bound(row.labels) {
                Ok(bound) => {
                    buckets::group_key(row.labels, &mut key);
                    let group = groups.entry_ref(key.as_slice()).or_default();
                    group.drop_name |= row.drop_name;
                    group.buckets.push((bound, id));
                }
                Err(text) => {
                    let name = self.shown_name(row.labels);
                    self.notes.add(annotations::bad_bucket_label(&name, text, self.vector_argument()));
                }
            }
        }
        groups
    }

    /// The metric name for texts, which is known only when names are kept.
    fn shown_name(&self, labels: &[u8]) -> String {
        match self.names {
            NameRule::Mark => LabelSet::from_canonical_trusted(labels).get_or_empty(METRIC_NAME).to_owned(),
            _ => String::new(),
        }
    }

    fn group(&mut self, key: &[u8], group: &Group) -> Result<()> {
        match self.histogram {
            HistogramCall::Quantiles { label } => {
                for i in 0..self.params.len() {
                    // One row for each text that the quantile has; it is one unless the parameter changes.
                    let mut texts: Vec<String> =
                        scalar_values(&self.params[i]).iter().map(|phi| format_openmetrics(*phi)).collect();
                    texts.sort();
                    texts.dedup();
                    for text in texts {
                        let answer = self.answer(key, group, |evaluation, step, found, notes| {
                            let phi = evaluation.params[i].at(step);
                            (format_openmetrics(phi) == text).then(|| evaluation.quantile(phi, step, found, notes))
                        })?;
                        let mut labels = LabelSet::from_canonical_trusted(key).to_builder();
                        labels.set(label, &text);
                        self.send(labels.build().as_bytes(), group.drop_name, &answer)?;
                    }
                }
                Ok(())
            }
            HistogramCall::Quantile => {
                let answer = self.answer(key, group, |evaluation, step, found, notes| {
                    Some(evaluation.quantile(evaluation.params[0].at(step), step, found, notes))
                })?;
                self.send(key, group.drop_name, &answer)
            }
            HistogramCall::Fraction => {
                let answer = self.answer(key, group, |evaluation, step, found, notes| {
                    let (lower, upper) = (evaluation.params[0].at(step), evaluation.params[1].at(step));
                    Some(evaluation.fraction((lower, upper), found, notes))
                })?;
                self.send(key, group.drop_name, &answer)
            }
        }
    }

    /// Evaluates a histogram at each step where it has a bucket.
    fn answer(
        &mut self,
        key: &[u8],
        group: &Group,
        eval: impl Fn(&Self, usize, Found<'_>, &mut HistogramNotes<'_>) -> Option<f64>,
    ) -> Result<Answer> {
        let mut notes = HistogramNotes { key, list: std::mem::take(&mut self.notes) };
        let steps = self.call.grid.n;
        let mut answer = Answer { present: vec![0; steps.div_ceil(64)], values: vec![0.0; steps] };
        let mut found = Vec::with_capacity(group.buckets.len());
        for step in 0..steps {
            self.call.query.check_deadline()?;
            self.buckets_at(step, group, &mut found);
            let native = group.native.iter().map(|id| self.rows.get(*id)).filter(|row| is_set(row.present, step));
            let native = native.filter_map(|row| row.histograms?.get(step)).next();
            let at_step = match (found.is_empty(), native) {
                (true, None) => continue,
                (true, Some(native)) => Found::Native(native),
                (false, None) => Found::Classic(&mut found),
                (false, Some(_)) => {
                    let name = self.shown_name(key);
                    notes.list.add(annotations::mixed_classic_and_native(&name, self.vector_argument()));
                    continue;
                }
            };
            if let Some(value) = eval(self, step, at_step, &mut notes) {
                answer.present[step / 64] |= 1 << (step % 64);
                answer.values[step] = value;
            }
        }
        self.notes = notes.list;
        Ok(answer)
    }

    fn buckets_at(&self, step: usize, group: &Group, found: &mut Vec<Bucket>) {
        found.clear();
        for (upper_bound, id) in &group.buckets {
            let row = self.rows.get(*id);
            if row.float_word(step / 64) >> (step % 64) & 1 == 1 {
                found.push(Bucket { upper_bound: *upper_bound, count: row.values[step] });
            }
        }
    }

    fn fraction(&self, (lower, upper): (f64, f64), found: Found<'_>, notes: &mut HistogramNotes<'_>) -> f64 {
        let native = match found {
            Found::Classic(found) => return buckets::fraction(lower, upper, found),
            Found::Native(native) => native,
        };
        let fraction = native.fraction(lower, upper);
        if fraction.has_nan {
            notes.list.add(annotations::nan_in_fraction(&self.shown_name(notes.key), self.vector_argument()));
        }
        fraction.value
    }

    fn quantile(&self, phi: f64, step: usize, found: Found<'_>, notes: &mut HistogramNotes<'_>) -> f64 {
        let found = match found {
            Found::Classic(found) => found,
            Found::Native(native) => return self.native_quantile(phi, native, notes),
        };
        let (value, raised) = buckets::quantile(phi, found);
        if let Some(raised) = raised {
            let ts: TimestampMs = self.call.grid.at(step);
            let details = Monotonicity::at(ts, raised.min_bucket, raised.max_bucket, raised.max_diff);
            let name = self.shown_name(notes.key);
            notes.list.add(annotations::forced_monotonicity(&name, details, self.vector_argument()));
        }
        value
    }

    fn native_quantile(&self, phi: f64, native: &FloatHistogram, notes: &mut HistogramNotes<'_>) -> f64 {
        let quantile = native.quantile(phi);
        if let Some(effect) = quantile.nan_effect {
            let name = self.shown_name(notes.key);
            notes.list.add(annotations::nan_in_quantile(&name, effect, self.vector_argument()));
        }
        quantile.value
    }

    fn send(&mut self, labels: &[u8], drop_name: bool, answer: &Answer) -> Result<()> {
        if answer.present.iter().all(|word| *word == 0) {
            return Ok(());
        }
        let mut buffer = Vec::new();
        let (labels, drop_name) = self.names.apply(labels, drop_name, &mut buffer);
        let (present, values) = (&answer.present, &answer.values);
        self.output.add(Row { labels, drop_name, present, values, histograms: None })
    }
}
