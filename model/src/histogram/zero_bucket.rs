//! How far a zero bucket has to reach, and what it then counts.

use super::bounds;
use super::count::Count;

/// The zero count under a zero threshold of at least `threshold`, and that threshold. It is raised to the outer bound of a
/// bucket that counts something and would be cut in two, until there is none. `zero` is the count so far, `sides` are the
/// buckets of both sides. As Prometheus' `zeroCountForLargerThreshold`.
pub(super) fn absorbed<C: Count>(
    schema: i32,
    zero: C,
    sides: [impl Iterator<Item = (i32, C)> + Clone; 2],
    mut threshold: f64,
) -> (C, f64) {
    // Each further round has a higher threshold, which is a bucket's bound.
    'raised: loop {
        let mut total = zero;
        for side in &sides {
            for (index, count) in side.clone() {
                if bounds::inner(index, schema) >= threshold {
                    break;
                }
                total = total.plus(count);
                let outer = bounds::exponential(index, schema);
                if outer > threshold {
                    if count.value() != 0.0 {
                        threshold = outer;
                        continue 'raised;
                    }
                    break;
                }
            }
        }
        return (total, threshold);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn absorbed_by(threshold: f64, positive: &[(i32, f64)], negative: &[(i32, f64)]) -> (f64, f64) {
        let sides = [positive.iter().copied(), negative.iter().copied()];
        absorbed(0, 100.0, sides, threshold)
    }

    #[test]
    fn a_bucket_that_counts_is_absorbed_whole() {
        // Buckets (0.5,1], (1,2], (2,4] and the same below zero.
        let (positive, negative) = ([(0, 1.0), (1, 2.0), (2, 4.0)], [(0, 8.0), (1, 16.0), (2, 32.0)]);
        assert_eq!(absorbed_by(0.5, &positive, &negative), (100.0, 0.5));
        assert_eq!(absorbed_by(1.0, &positive, &negative), (109.0, 1.0));
        assert_eq!(absorbed_by(1.5, &positive, &negative), (127.0, 2.0));
        // The negative side raises it to 2, which the positive side then follows.
        assert_eq!(absorbed_by(1.5, &[(1, 0.0), (2, 4.0)], &negative), (124.0, 2.0));
        assert_eq!(absorbed_by(1.5, &[(0, 1.0), (1, 2.0)], &[(1, 0.0)]), (103.0, 2.0));
    }

    #[test]
    fn an_empty_bucket_may_be_cut() {
        assert_eq!(absorbed_by(1.5, &[(0, 1.0), (1, 0.0), (2, 4.0)], &[]), (101.0, 1.5));
    }

    #[test]
    fn nothing_goes_on_for_ever() {
        assert_eq!(absorbed_by(f64::INFINITY, &[(0, 1.0), (1025, 2.0)], &[(3, 4.0)]), (107.0, f64::INFINITY));
        assert_eq!(absorbed_by(f64::NAN, &[(0, 1.0)], &[]).0, 101.0);
    }
}
