//! Histograms of one series, and their hints: a hint that there was no reset holds for the sample before, and is taken back
//! when that may have become another one.

use std::sync::Arc;

use pharos_model::histogram::packed::PackedHistogram;
use pharos_model::sample::is_stale;
use pharos_model::{CounterResetHint, FloatHistogram, TimeRange, TimestampMs};

use super::SampleColumns;
use crate::starts;

/// What is read of histograms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Whole,
    /// Count and sum, and buckets only where a reset is still to be looked for: at a hint that is unknown, and at the one before
    /// it. Not for samples that others may come between: their hints are taken back.
    Totals,
}

/// What is read of a run of samples.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub range: TimeRange,
    pub form: Form,
}

/// Takes the histograms of one chunk or row.
pub(crate) struct Run<'a> {
    wanted: Wanted,
    /// Whether one was taken.
    has_begun: bool,
    pub out: &'a mut SampleColumns,
}

impl<'a> Run<'a> {
    pub(crate) fn new(wanted: Wanted, out: &'a mut SampleColumns) -> Self {
        Self { wanted, has_begun: false, out }
    }

    /// Takes the next histogram, if it lies in the range; `before` is the one before it.
    pub(crate) fn push(
        &mut self,
        ts: TimestampMs,
        histogram: &PackedHistogram,
        before: Option<&PackedHistogram>,
        is_last: bool,
    ) {
        if !self.wanted.range.contains(ts) {
            return;
        }
        // After a staleness marker, the sample before that is the one to compare with.
        let looks_back = histogram.hint == CounterResetHint::Unknown || is_stale(f64::from_bits(histogram.sum_bits));
        if let (Some(before), Some(last)) = (before, self.out.histograms.last_mut())
            && self.wanted.form == Form::Totals
            && looks_back
            && self.has_begun
        {
            *last = Arc::new(before.to_float());
        }
        // The first of the next run may look back to the last of this one.
        let form = if looks_back || is_last { Form::Whole } else { self.wanted.form };
        push(self.out, form, ts, histogram);
        self.has_begun = true;
    }
}

/// Adds one histogram.
pub(crate) fn push(out: &mut SampleColumns, form: Form, ts: TimestampMs, histogram: &PackedHistogram) {
    out.histogram_ts.push(ts);
    out.histograms.push(Arc::new(match form {
        Form::Whole => histogram.to_float(),
        Form::Totals => histogram.totals(),
    }));
}

/// Takes back what the hint says about the sample before.
pub(crate) fn forget_before(histogram: &mut Arc<FloatHistogram>) {
    if histogram.counter_reset_hint == CounterResetHint::NotCounterReset {
        Arc::make_mut(histogram).counter_reset_hint = CounterResetHint::Unknown;
    }
}

/// Orders histograms by time. Of those at one time the first stays.
pub(crate) fn sort(out: &mut SampleColumns) {
    let SampleColumns { histogram_ts, histograms, histogram_start_ts, .. } = out;
    starts::sort_by_time(histogram_ts, histograms, histogram_start_ts);
    histograms.iter_mut().for_each(forget_before);
}

/// Leaves out the histograms at times that are not kept.
pub(crate) fn retain(out: &mut SampleColumns, keep: impl Fn(TimestampMs) -> bool) {
    let mut behind_gap = false;
    let (mut ts, mut histograms, mut starts) = (Vec::new(), Vec::new(), Vec::new());
    let samples = out.histogram_ts.drain(..).zip(out.histograms.drain(..));
    for (i, (at, mut histogram)) in samples.enumerate() {
        if !keep(at) {
            behind_gap = true;
            continue;
        }
        if std::mem::take(&mut behind_gap) {
            forget_before(&mut histogram);
        }
        ts.push(at);
        histograms.push(histogram);
        starts.extend(out.histogram_start_ts.get(i));
    }
    (out.histogram_ts, out.histograms, out.histogram_start_ts) = (ts, histograms, starts);
}
