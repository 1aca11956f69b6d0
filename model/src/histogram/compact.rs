//! Removes buckets that count nothing, so that equal histograms have equal spans.

use super::{FloatHistogram, Span, indices};

impl FloatHistogram {
    /// Removes all empty buckets; spans that then touch become one. Nothing observable changes.
    pub fn compact(&mut self) {
        compact_side(&mut self.positive_spans, &mut self.positive_buckets);
        compact_side(&mut self.negative_spans, &mut self.negative_buckets);
    }
}

fn compact_side(spans: &mut Vec<Span>, buckets: &mut Vec<f64>) {
    let present: Vec<(i32, f64)> =
        indices(spans).zip(buckets.iter().copied()).filter(|(_, count)| *count != 0.0).collect();
    spans.clear();
    buckets.clear();
    let mut end = 0;
    for (index, count) in present {
        match spans.last_mut() {
            Some(span) if index == end => span.length += 1,
            _ => spans.push(Span { offset: index - end, length: 1 }),
        }
        buckets.push(count);
        end = index + 1;
    }
}
