use pharos_model::LabelSet;
use proptest::prelude::*;

use super::*;

fn buckets(list: &[(f64, f64)]) -> Vec<Bucket> {
    list.iter().map(|&(upper_bound, count)| Bucket { upper_bound, count }).collect()
}

const INF: f64 = f64::INFINITY;

#[test]
fn quantiles_are_interpolated_within_their_bucket() {
    for (list, phi, result) in [
        (&[(0.1, 50.0), (0.2, 70.0), (1.0, 110.0), (INF, 120.0)][..], 0.0, 0.0),
        (&[(0.1, 50.0), (0.2, 70.0), (1.0, 110.0), (INF, 120.0)], 0.5, 0.15),
        (&[(0.1, 50.0), (0.2, 70.0), (1.0, 110.0), (INF, 120.0)], 0.25, 0.06),
        (&[(0.1, 50.0), (0.2, 70.0), (1.0, 110.0), (INF, 120.0)], 1.0, 1.0),
        (&[(-0.2, 10.0), (0.0, 20.0), (0.3, 40.0), (INF, 40.0)], 0.1, -0.2),
        (&[(-0.2, 10.0), (0.0, 20.0), (0.3, 40.0), (INF, 40.0)], 0.5, 0.0),
        (&[(0.0, 10.0), (1.0, 20.0), (INF, 20.0)], 0.25, 0.0),
        (&[(1.0, 10.0), (INF, 10.0)], 0.5, 0.5),
        // In any order, and equal bounds are added up.
        (&[(INF, 4.0), (1.0, 1.0), (2.0, 3.0), (1.0, 1.0)], 0.5, 1.0),
        (&[(1.0, 1.0), (INF, 4.0)], -0.1, -INF),
        (&[(1.0, 1.0), (INF, 4.0)], 1.1, INF),
    ] {
        let (value, raised) = quantile(phi, &mut buckets(list));
        assert!((value - result).abs() < 1e-12 || value == result, "{phi} of {list:?} is {value}");
        assert_eq!(raised, None);
    }
}

#[test]
fn quantiles_without_a_meaning_are_nan() {
    for (list, phi) in [
        (&[][..], 0.5),
        (&[(INF, 5.0)], 0.5),
        (&[(1.0, 5.0), (2.0, 6.0)], 0.5),
        (&[(1.0, 0.0), (INF, 0.0)], 0.5),
        (&[(1.0, 1.0), (INF, 2.0)], f64::NAN),
        (&[(f64::NAN, 1.0), (1.0, 1.0), (INF, 2.0)], 0.5),
    ] {
        let (value, raised) = quantile(phi, &mut buckets(list));
        assert!(value.is_nan() && raised.is_none(), "{phi} of {list:?}");
    }
}

#[test]
fn decreasing_counts_are_raised_and_reported() {
    let list = [(0.1, 2.0), (1.0, 1.0), (10.0, 5.0), (100.0, 4.0), (1000.0, 9.0), (INF, 8.0)];
    let raised = Some(Raised { min_bucket: 1.0, max_bucket: INF, max_diff: 1.0 });
    for (phi, result) in [(0.01, 0.0045), (0.5, 8.5), (0.99, 979.75)] {
        let (value, got) = quantile(phi, &mut buckets(&list));
        assert!((value - result).abs() < 1e-12, "{phi}: {value}");
        assert_eq!(got, raised);
    }
}

#[test]
fn noise_is_levelled_without_a_word() {
    let noisy = [(1.0, 1e15), (2.0, 1e15 - 1.0), (3.0, 1e15 + 1.0), (INF, 2e15)];
    let (value, raised) = quantile(0.75, &mut buckets(&noisy));
    assert_eq!((value, raised), (3.0, None));
    let not_noise = [(1.0, 1e9), (2.0, 1e9 - 1.0), (INF, 2e9)];
    assert!(quantile(0.5, &mut buckets(&not_noise)).1.is_some());
}

#[test]
fn fractions_are_the_share_between_two_values() {
    let positive = [(1.0, 10.0), (INF, 30.0)];
    let wide = [(-2.0, 1.0), (0.0, 5.0), (2.0, 9.0), (INF, 10.0)];
    for (list, lower, upper, result) in [
        (&positive[..], 0.0, 0.5, 5.0 / 30.0),
        (&positive, 0.0, INF, 1.0),
        (&positive, -INF, INF, 1.0),
        (&positive, -5.0, 0.0, 0.0),
        (&positive, 1.0, 0.0, 0.0),
        (&positive, 1.0, 1.0, 0.0),
        (&positive, 1.0, 2.0, 0.0),
        (&positive, 0.0, 1.0, 1.0 / 3.0),
        (&wide, -INF, -3.0, 0.1),
        (&wide, -3.0, -2.0, 0.0),
        (&wide, -1.0, 1.0, 0.4),
        (&wide, 0.0, 2.0, 0.4),
        (&wide, -INF, INF, 1.0),
        (&wide, 3.0, INF, 0.1),
    ] {
        let value = fraction(lower, upper, &mut buckets(list));
        assert!((value - result).abs() < 1e-12, "{lower} to {upper} of {list:?} is {value}");
    }
    for (list, lower, upper) in [
        (&[][..], 0.0, 1.0),
        (&[(1.0, 1.0)], 0.0, 1.0),
        (&[(1.0, 0.0), (INF, 0.0)], 0.0, 1.0),
        (&positive, f64::NAN, 1.0),
        (&positive, 0.0, f64::NAN),
    ] {
        assert!(fraction(lower, upper, &mut buckets(list)).is_nan());
    }
}

#[test]
fn buckets_are_grouped_by_all_labels_but_le() {
    let labels = LabelSet::from_pairs([("__name__", "h_bucket"), ("le", "0.5"), ("job", "x")]);
    let mut key = vec![1, 2, 3];
    group_key(labels.as_bytes(), &mut key);
    assert_eq!(key, LabelSet::from_pairs([("__name__", "h_bucket"), ("job", "x")]).as_bytes());
}

#[test]
fn bounds_are_go_floats() {
    for (text, bound) in [
        ("0.5", Ok(0.5)),
        ("+Inf", Ok(INF)),
        ("1e3", Ok(1000.0)),
        ("", Err("")),
        ("Hello World", Err("Hello World")),
        ("1e999", Err("1e999")),
    ] {
        let labels = LabelSet::from_pairs([("le", text), ("job", "x")]);
        assert_eq!(upper_bound(labels.as_bytes()), bound);
    }
}

proptest! {
    #[test]
    fn a_fraction_is_the_inverse_of_a_quantile(
        counts in prop::collection::vec(1.0f64..100.0, 2..8),
        phi in 0.01f64..0.99,
    ) {
        let mut total = 0.0;
        let last = counts.len() - 1;
        let list: Vec<(f64, f64)> = counts.iter().enumerate().map(|(i, count)| {
            total += count;
            (if i == last { INF } else { (i + 1) as f64 }, total)
        }).collect();
        let (value, raised) = quantile(phi, &mut buckets(&list));
        prop_assert!(raised.is_none());
        // What is above the last bound cannot be told apart.
        prop_assume!(phi * total <= list[last - 1].1);
        let share = fraction(-INF, value, &mut buckets(&list));
        prop_assert!((share - phi).abs() < 1e-9, "{} of {:?} is {}, which is above {}", phi, list, value, share);
    }
}
