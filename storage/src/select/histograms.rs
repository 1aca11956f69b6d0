//! Histograms of one series, and their hints: a hint that there was no reset holds for the sample before, and is taken back
//! when that may have become another one.

use std::sync::Arc;

use pharos_model::{CounterResetHint, FloatHistogram, TimestampMs};

use super::SampleColumns;

/// Takes back what the hint says about the sample before.
pub(crate) fn forget_before(histogram: &mut Arc<FloatHistogram>) {
    if histogram.counter_reset_hint == CounterResetHint::NotCounterReset {
        Arc::make_mut(histogram).counter_reset_hint = CounterResetHint::Unknown;
    }
}

/// Orders histograms by time. Of those at one time the first stays.
pub(crate) fn sort(out: &mut SampleColumns) {
    let mut samples: Vec<_> = out.histogram_ts.drain(..).zip(out.histograms.drain(..)).collect();
    samples.sort_by_key(|(ts, _)| *ts);
    samples.dedup_by_key(|(ts, _)| *ts);
    samples.iter_mut().for_each(|(_, histogram)| forget_before(histogram));
    (out.histogram_ts, out.histograms) = samples.into_iter().unzip();
}

/// Leaves out the histograms at times that are not kept.
pub(crate) fn retain(out: &mut SampleColumns, keep: impl Fn(TimestampMs) -> bool) {
    let mut behind_gap = false;
    let (mut ts, mut histograms) = (Vec::new(), Vec::new());
    for (at, mut histogram) in out.histogram_ts.drain(..).zip(out.histograms.drain(..)) {
        if !keep(at) {
            behind_gap = true;
            continue;
        }
        if std::mem::take(&mut behind_gap) {
            forget_before(&mut histogram);
        }
        ts.push(at);
        histograms.push(histogram);
    }
    (out.histogram_ts, out.histograms) = (ts, histograms);
}
