//! Custom bounds of two histograms that differ: both go to the bounds that they share.

use super::count::Count;

/// The bounds that are in both; both ascend.
pub(super) fn intersection(a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut rest = b;
    let is_shared = |bound: &f64| {
        rest = &rest[rest.partition_point(|other| other < bound)..];
        rest.first() == Some(bound)
    };
    a.iter().copied().filter(is_shared).collect()
}

/// Adds buckets to those of the `common` bounds, a subset of `bounds`. The last of `counts` is the bucket up to `+Inf`.
pub(super) fn mapped<C: Count>(
    cells: impl Iterator<Item = (i32, C)>,
    bounds: &[f64],
    common: &[f64],
    counts: &mut [C],
) {
    for (index, count) in cells {
        let bound = usize::try_from(index).ok().and_then(|index| bounds.get(index));
        let target = bound.map_or(common.len(), |bound| common.partition_point(|other| other < bound));
        counts[target] = counts[target].plus(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_bounds_stay() {
        assert_eq!(intersection(&[1.0, 2.0, 3.0, 5.0], &[0.5, 2.0, 4.0, 5.0]), [2.0, 5.0]);
        assert_eq!(intersection(&[1.0, 2.0], &[1.0, 2.0, 3.0]), [1.0, 2.0]);
        assert_eq!(intersection(&[1.5], &[2.5]), []);
        assert_eq!(intersection(&[], &[2.5]), []);
        assert_eq!(intersection(&[2.5], &[]), []);
    }

    #[test]
    fn buckets_go_to_the_next_shared_bound() {
        let mut counts = [0.0; 3];
        let cells = [(0, 1.0), (1, 2.0), (3, 4.0), (4, 8.0), (5, 16.0)];
        mapped(cells.into_iter(), &[1.0, 2.0, 3.0, 4.0, 5.0], &[2.0, 4.0], &mut counts);
        assert_eq!(counts, [3.0, 4.0, 24.0]);
    }
}
