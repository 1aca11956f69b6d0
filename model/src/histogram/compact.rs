//! Removes buckets that count nothing, so that equal histograms have equal spans.

use super::count::Count;
use super::spans::{cells, packed};
use super::{FloatHistogram, Span};

impl FloatHistogram {
    /// Removes all empty buckets; spans that then touch become one. Nothing observable changes.
    pub fn compact(&mut self) {
        self.compact_keeping(0);
    }

    /// As [`Self::compact`], but up to `empty_max` empty buckets between two that count something are written out, because a
    /// span of its own costs more (Prometheus' `Compact` with its argument).
    pub fn compact_keeping(&mut self, empty_max: u32) {
        compact_side(&mut self.positive_spans, &mut self.positive_buckets, empty_max);
        compact_side(&mut self.negative_spans, &mut self.negative_buckets, empty_max);
    }
}

fn compact_side(spans: &mut Vec<Span>, buckets: &mut Vec<f64>, empty_max: u32) {
    if is_compact(spans, buckets) && empty_max == 0 {
        return;
    }
    let mut end = None;
    let present = cells(spans, buckets).filter(|(_, count)| !count.is_empty()).flat_map(|(index, count)| {
        let start = end.filter(|&end: &i32| index.abs_diff(end) <= empty_max).unwrap_or(index);
        end = Some(index.saturating_add(1));
        (start..index).map(|empty| (empty, 0.0)).chain([(index, count)])
    });
    (*spans, *buckets) = packed(present);
}

/// Whether compacting would change nothing. Most histograms are compact already.
fn is_compact(spans: &[Span], buckets: &[f64]) -> bool {
    buckets.iter().all(|count| *count != 0.0)
        && spans.iter().all(|span| span.length > 0)
        && spans.iter().skip(1).all(|span| span.offset != 0)
}
