//! Spans and the buckets that they stand for: from a span to the index of each bucket, and back.

use super::Span;

/// The index of each present bucket.
pub(super) fn indices(spans: &[Span]) -> impl Iterator<Item = i32> + Clone {
    let mut next = 0i32;
    spans.iter().flat_map(move |span| {
        let start = next.saturating_add(span.offset);
        next = start.saturating_add_unsigned(span.length);
        start..next
    })
}

/// Each present bucket, its index and what it counts, by ascending index.
pub(super) fn cells<'a, C: Copy>(
    spans: &'a [Span],
    counts: &'a [C],
) -> impl Iterator<Item = (i32, C)> + Clone + use<'a, C> {
    indices(spans).zip(counts.iter().copied())
}

/// Spans and counts of buckets that come by ascending index. Neighbours share a span.
pub(super) fn packed<C>(cells: impl Iterator<Item = (i32, C)>) -> (Vec<Span>, Vec<C>) {
    let (mut spans, mut counts) = (Vec::<Span>::new(), Vec::with_capacity(cells.size_hint().0));
    let mut end = 0i32;
    for (index, count) in cells {
        match spans.last_mut() {
            Some(span) if index == end => span.length += 1,
            _ => spans.push(Span { offset: index.wrapping_sub(end), length: 1 }),
        }
        counts.push(count);
        end = index.saturating_add(1);
    }
    (spans, counts)
}

/// Whether two lists of spans are the same once spans without buckets are left out. Neighbouring spans are not joined: of
/// two layouts that differ in that way only, Prometheus says that they differ.
pub(super) fn spans_match(a: &[Span], b: &[Span]) -> bool {
    filled(a).eq(filled(b))
}

/// The spans that have buckets; the offsets of those without go to the next one.
fn filled(spans: &[Span]) -> impl Iterator<Item = Span> {
    let mut offset = 0i32;
    spans.iter().filter_map(move |span| {
        offset = offset.saturating_add(span.offset);
        (span.length > 0).then(|| Span { offset: std::mem::take(&mut offset), length: span.length })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(spans: &[(i32, u32)]) -> Vec<Span> {
        spans.iter().map(|&(offset, length)| Span { offset, length }).collect()
    }

    #[test]
    fn packing_undoes_the_indices() {
        let layout = spans(&[(-3, 2), (1, 1), (4, 3)]);
        let (packed, counts) = packed(cells(&layout, &[1, 2, 3, 4, 5, 6]));
        assert_eq!(indices(&layout).collect::<Vec<_>>(), [-3, -2, 0, 5, 6, 7]);
        assert_eq!((packed, counts), (layout, vec![1, 2, 3, 4, 5, 6]));
    }

    #[test]
    fn spans_without_buckets_do_not_count_but_seams_do() {
        let layout = spans(&[(1, 2), (3, 1)]);
        assert!(spans_match(&layout, &spans(&[(1, 0), (0, 2), (1, 0), (2, 1), (5, 0)])));
        assert!(spans_match(&[], &spans(&[(7, 0)])));
        assert!(!spans_match(&layout, &spans(&[(1, 1), (0, 1), (3, 1)])));
        assert!(!spans_match(&layout, &spans(&[(1, 2)])));
    }
}
