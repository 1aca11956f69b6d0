//! Sorting that can be stopped.

use std::cmp::Ordering;

use datafusion::common::Result;

/// What is sorted at a time: some ten milliseconds.
const SLICE: usize = 1 << 14;

/// Sorts, equal ones in the order in which they are. Looks now and then whether to go on.
pub fn sort_by<T>(
    list: &mut [T],
    mut compare: impl FnMut(&T, &T) -> Ordering,
    go_on: impl Fn() -> Result<()>,
) -> Result<()> {
    let mut width = SLICE;
    for slice in list.chunks_mut(width) {
        go_on()?;
        slice.sort_by(&mut compare);
    }
    while width < list.len() {
        width = width.saturating_mul(2);
        for two in list.chunks_mut(width) {
            go_on()?;
            // Two sorted runs: the standard library finds them, and only merges.
            two.sort_by(&mut compare);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::error::QueryError;
    use crate::exec::context::fail;

    #[test]
    fn a_long_list_is_sorted_and_equal_ones_keep_their_order() {
        for length in [0, 1, SLICE, 3 * SLICE + 7] {
            let key = |i: usize| i.wrapping_mul(0x9e37_79b9) % 1_000;
            let mut list: Vec<_> = (0..length).map(|i| (key(i), i)).collect();
            let mut want = list.clone();
            sort_by(&mut list, |a, b| a.0.cmp(&b.0), || Ok(())).unwrap();
            want.sort_unstable();
            assert!(list == want, "{length}");
        }
    }

    #[test]
    fn no_more_than_a_slice_is_sorted_for_nobody() {
        let compared = Cell::new(0_usize);
        let compare = |a: &usize, b: &usize| {
            compared.set(compared.get() + 1);
            a.cmp(b)
        };
        let stop = || match compared.get() {
            0 => Ok(()),
            _ => Err(fail(QueryError::Canceled { phase: "expression evaluation" })),
        };
        let mut list: Vec<_> = (0..10 * SLICE).collect();
        assert!(sort_by(&mut list, compare, stop).is_err());
        assert!((1..2 * SLICE).contains(&compared.get()));
    }
}
