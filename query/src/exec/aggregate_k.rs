//! Aggregations that keep rows: `topk`, `bottomk`, `limitk`, `limit_ratio`.
//!
//! Ties are broken by the canonical label bytes, so that the answer depends neither on partitions nor on the order of
//! reading, and the pick of several partitions' picks is the pick of all.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::ops::Range;

use datafusion::common::Result;
use datafusion::execution::memory_pool::MemoryReservation;
use futures::TryStreamExt;
use hashbrown::HashMap;
use pharos_model::number::format_g;

use super::context::{QueryContext, fail};
use super::input::{Gathered, Output, RowStream, once, scalar_values};
use super::node::Call;
use crate::annotation::Annotation;
use crate::batch::{Row, RowBatch, RowBuffer, RowId};
use crate::error::QueryError;
use crate::functions::grid::is_set;
use crate::functions::{ScalarArg, annotations};
use crate::plan::{Grouping, KKind, Op};

/// Heaps are kept for as many steps at a time as fit into these bytes: what a core's cache holds.
const HEAPS_BYTES: usize = 1 << 20;
/// Rows are picked from as soon as they take so much, or twice what the last pick left.
const PICK_BYTES: usize = 16 << 20;
/// What is kept of a row besides its bitmap: its place, its group, its part of the group's key.
const ROW_BYTES: usize = 64;
/// The clock is looked at once for so many rows.
const ROWS_PER_CHECK: usize = 1_024;
/// Bounds of what fits a 64-bit integer, as Prometheus tests for them.
const INT64_MAX: f64 = 9_223_372_036_854_774_784.0;
const INT64_MIN: f64 = -9_223_372_036_854_775_808.0;

pub(super) fn run(call: Call) -> Result<RowStream> {
    Ok(once(async move {
        let Op::AggregateK { kind, grouping, k, whole } = &*call.op else { unreachable!("planned as a pick of rows") };
        let k = call.param(*k).await?;
        let usable = match kind {
            KKind::LimitRatio => check_ratio(&k, &call),
            _ => check_count(&k),
        };
        let pick = |rows: &RowBuffer| match kind {
            KKind::LimitRatio => by_ratio(rows, &k, &call),
            _ => {
                let memory = QueryContext::reserve(&call.task, "pick of rows");
                Picker::new(*kind, rows, grouping, call.grid.n, memory)?.pick(&k, &call.query)
            }
        };
        let mut input = call.rows(0)?;
        let mut gathered = Gathered::new(&call);
        let mut has_histograms = false;
        let mut rest_bytes = PICK_BYTES;
        while let Some(batch) = input.try_next().await? {
            has_histograms |= batch.rows().any(|row| row.has_histograms());
            gathered.push(batch)?;
            // The pick of a pick and further rows is that of all, so that only what may still be picked is kept.
            if gathered.rows.bytes() >= rest_bytes && matches!(usable, Ok(true)) {
                let picked = pick(&gathered.rows)?;
                gathered.replace(picked)?;
                rest_bytes = PICK_BYTES.max(2 * gathered.rows.bytes());
            }
        }
        if !usable.map_err(fail)? {
            return Ok(Vec::new());
        }
        if let Some(name) = ignores_histograms(*kind)
            && has_histograms
        {
            let note = annotations::ignored_in_aggregation(name);
            call.query.annotations.add(Annotation { note, span: *whole });
        }
        pick(&gathered.rows)
    }))
}

/// The name of an aggregation that orders rows by their values, which histograms cannot be.
fn ignores_histograms(kind: KKind) -> Option<&'static str> {
    match kind {
        KKind::Topk => Some("topk"),
        KKind::Bottomk => Some("bottomk"),
        KKind::Limitk | KKind::LimitRatio => None,
    }
}

/// Whether any step asks for a row.
fn check_count(k: &ScalarArg) -> Result<bool, QueryError> {
    let execution = |text: String| Err(QueryError::Execution(text));
    if scalar_values(k).iter().any(|value| value.is_nan()) {
        return execution("Parameter value is NaN".into());
    }
    let (min, max) = bounds(k);
    match () {
        () if max < 1.0 => Ok(false),
        () if min <= INT64_MIN => execution(format!("Scalar value {} underflows int64", format_g(min))),
        () if max >= INT64_MAX => execution(format!("Scalar value {} overflows int64", format_g(max))),
        () => Ok(true),
    }
}

fn check_ratio(ratio: &ScalarArg, call: &Call) -> Result<bool, QueryError> {
    if scalar_values(ratio).iter().any(|value| value.is_nan()) {
        return Err(QueryError::Execution("Ratio value is NaN".into()));
    }
    let (min, max) = bounds(ratio);
    let warn = |value: f64, used: f64| {
        call.query.annotations.add(Annotation { note: annotations::invalid_ratio(value, used), span: call.span });
    };
    if max > 1.0 {
        warn(max, 1.0);
    }
    if min < -1.0 {
        warn(min, -1.0);
    }
    Ok(min != 0.0 || max != 0.0)
}

/// Smallest and largest value over all steps.
pub(super) fn bounds(param: &ScalarArg) -> (f64, f64) {
    let values = scalar_values(param);
    (values.iter().copied().fold(f64::INFINITY, f64::min), values.iter().copied().fold(f64::NEG_INFINITY, f64::max))
}

/// Keeps the series whose label hash falls into the share.
fn by_ratio(rows: &RowBuffer, ratio: &ScalarArg, call: &Call) -> Result<Vec<RowBatch>> {
    let steps = call.grid.n;
    let mut output = Output::new(steps);
    for row in rows.rows() {
        call.query.check_deadline()?;
        let place = label_hash(row.labels) as f64 / u64::MAX as f64;
        let mut present = row.present.to_vec();
        for step in 0..steps {
            let ratio = ratio.at(step).clamp(-1.0, 1.0);
            let kept = if ratio >= 0.0 { place < ratio } else { place >= 1.0 + ratio };
            if !kept {
                present[step / 64] &= !(1 << (step % 64));
            }
        }
        output.builder()?.push(Row { present: &present, ..row });
    }
    output.finish()
}

/// The hash of [`pharos_model::LabelSet::hash64`], on bytes.
fn label_hash(labels: &[u8]) -> u64 {
    twox_hash::XxHash64::oneshot(0, labels)
}

/// A row that may be kept at one step.
struct Candidate<'a> {
    kind: KKind,
    value: f64,
    labels: &'a [u8],
    row: usize,
}

impl Candidate<'_> {
    /// Better is greater.
    fn compare(&self, other: &Self) -> Ordering {
        let (own, theirs) = (self.value, other.value);
        let by_value = match self.kind {
            // NaN loses either way.
            KKind::Topk | KKind::Bottomk if own.is_nan() || theirs.is_nan() => theirs.is_nan().cmp(&own.is_nan()),
            KKind::Topk => own.partial_cmp(&theirs).expect("no NaN here"),
            KKind::Bottomk => theirs.partial_cmp(&own).expect("no NaN here"),
            KKind::Limitk | KKind::LimitRatio => Ordering::Equal,
        };
        by_value.then_with(|| other.labels.cmp(self.labels))
    }
}

impl Ord for Candidate<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.compare(other)
    }
}

impl PartialOrd for Candidate<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate<'_> {}

struct Picker<'a> {
    kind: KKind,
    rows: &'a RowBuffer,
    ids: Vec<RowId>,
    /// Group of each row.
    groups: Vec<usize>,
    /// How many rows each group has.
    group_rows: Vec<usize>,
    steps: usize,
    /// Pays for what is kept of each row, and for the heaps.
    memory: MemoryReservation,
}

impl<'a> Picker<'a> {
    fn new(
        kind: KKind,
        rows: &'a RowBuffer,
        grouping: &Grouping,
        steps: usize,
        memory: MemoryReservation,
    ) -> Result<Self> {
        let ids: Vec<RowId> = rows.ids().collect();
        memory.try_resize(ids.len() * (steps.div_ceil(64) * 8 + ROW_BYTES))?;
        let mut keys: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut key = Vec::new();
        let mut groups: Vec<usize> = Vec::with_capacity(ids.len());
        for id in &ids {
            grouping.key_of(rows.get(*id).labels, &mut key);
            let next = keys.len();
            groups.push(*keys.entry_ref(key.as_slice()).or_insert(next));
        }
        // Groups in the order of their keys: the order in which an instant query shows them.
        let mut order: Vec<(&Vec<u8>, usize)> = keys.iter().map(|(key, at)| (key, *at)).collect();
        order.sort();
        let mut rank = vec![0; order.len()];
        order.iter().enumerate().for_each(|(place, (_, at))| rank[*at] = place);
        let mut group_rows = vec![0; rank.len()];
        for group in &mut groups {
            *group = rank[*group];
            group_rows[*group] += 1;
        }
        Ok(Self { kind, rows, ids, groups, group_rows, steps, memory })
    }

    fn pick(&self, k: &ScalarArg, query: &QueryContext) -> Result<Vec<RowBatch>> {
        let words = self.steps.div_ceil(64);
        let mut kept = vec![0u64; self.ids.len() * words];
        let mut best_first = Vec::new();
        let step_bytes = self.step_bytes(k).max(1);
        let steps_at_once = (HEAPS_BYTES / step_bytes).clamp(1, 64).min(self.steps);
        self.memory.try_grow(steps_at_once * step_bytes)?;
        for steps in slices(self.steps, steps_at_once) {
            query.check_deadline()?;
            for (at, heap) in self.pick_steps(&steps, k, query)?.into_iter().enumerate() {
                let step = steps.start + at % steps.len();
                for Reverse(candidate) in heap.into_sorted_vec() {
                    kept[candidate.row * words + step / 64] |= 1 << (step % 64);
                    if self.steps == 1 {
                        best_first.push(candidate.row);
                    }
                }
            }
        }
        let mut output = Output::new(self.steps);
        // An instant query shows the best of each group first; otherwise rows stay as they came.
        let order = if self.steps == 1 { best_first } else { (0..self.ids.len()).collect() };
        for row in order {
            let present = &kept[row * words..(row + 1) * words];
            output.builder()?.push(Row { present, ..self.rows.get(self.ids[row]) });
        }
        output.finish()
    }

    /// Bytes that the heaps of all groups take at one step.
    fn step_bytes(&self, k: &ScalarArg) -> usize {
        let count = bounds(k).1 as usize;
        let candidates: usize = self.group_rows.iter().map(|rows| count.min(*rows)).sum();
        // A heap that grows doubles what it holds.
        candidates * 2 * size_of::<Candidate<'_>>() + self.group_rows.len() * size_of::<BinaryHeap<Candidate<'_>>>()
    }

    /// The best rows of each group at some steps: `group * steps.len() + place of the step`. Some steps at a time, because
    /// their heaps fit the cache while rows are read along their length.
    fn pick_steps(
        &self,
        steps: &Range<usize>,
        k: &ScalarArg,
        query: &QueryContext,
    ) -> Result<Vec<BinaryHeap<Reverse<Candidate<'a>>>>> {
        let counts: Vec<usize> = steps.clone().map(|step| k.at(step) as usize).collect();
        let heap_count = self.group_rows.len() * steps.len();
        let mut heaps: Vec<_> = std::iter::repeat_with(BinaryHeap::new).take(heap_count).collect();
        for (at, id) in self.ids.iter().enumerate() {
            if at % ROWS_PER_CHECK == 0 {
                query.check_deadline()?;
            }
            let row = self.rows.get(*id);
            let ordered = ignores_histograms(self.kind).is_some();
            let is_candidate = |step: usize| is_set(row.present, step) && !(ordered && row.is_histogram(step));
            for (step, count) in steps.clone().zip(&counts).filter(|(step, _)| is_candidate(*step)) {
                let candidate = Candidate { kind: self.kind, value: row.values[step], labels: row.labels, row: at };
                offer(&mut heaps[self.groups[at] * steps.len() + step - steps.start], candidate, *count);
            }
        }
        Ok(heaps)
    }
}

/// Cuts the steps of a grid.
fn slices(steps: usize, at_once: usize) -> impl Iterator<Item = Range<usize>> {
    (0..steps).step_by(at_once).map(move |start| start..steps.min(start + at_once))
}

/// Keeps a candidate if it is among the best `count`.
fn offer<'a>(heap: &mut BinaryHeap<Reverse<Candidate<'a>>>, candidate: Candidate<'a>, count: usize) {
    if heap.len() < count {
        heap.push(Reverse(candidate));
    } else if let Some(mut worst) = heap.peek_mut()
        && candidate > worst.0
    {
        *worst = Reverse(candidate);
    }
}
