//! The step axis, and rows of values along it.

use std::sync::Arc;

use pharos_model::{TimeRange, TimestampMs};

/// The evaluation times of a plan edge: `n` of them, `step_ms` apart. An instant query has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Grid {
    pub start_ms: TimestampMs,
    /// Positive unless `n` is at most 1.
    pub step_ms: i64,
    pub n: usize,
}

impl Grid {
    /// The grid of one evaluation time.
    pub fn instant(at_ms: TimestampMs) -> Self {
        Self { start_ms: at_ms, step_ms: 0, n: 1 }
    }

    /// Evaluation time of step `i`.
    pub fn at(&self, i: usize) -> TimestampMs {
        self.start_ms + self.step_ms * i as i64
    }

    /// From the first to the last evaluation time; empty when there is no step.
    pub fn range(&self) -> TimeRange {
        match self.n.checked_sub(1) {
            Some(last) => TimeRange::new(self.start_ms, self.at(last)),
            None => TimeRange::new(self.start_ms, self.start_ms - 1),
        }
    }

    /// Words of a `present` bitmap.
    pub fn words(&self) -> usize {
        self.n.div_ceil(64)
    }
}

/// Float samples of one series: ascending by time, one for each timestamp, no staleness markers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Samples<'a> {
    pub ts: &'a [TimestampMs],
    pub values: &'a [f64],
}

/// One value for each step that has its bit set; other values are undefined.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    pub present: &'a [u64],
    pub values: &'a [f64],
}

impl Row<'_> {
    pub fn get(&self, i: usize) -> Option<f64> {
        is_set(self.present, i).then(|| self.values[i])
    }
}

/// A row that is being written; see the contract in [`crate::functions`].
#[derive(Debug)]
pub struct RowOut<'a> {
    pub present: &'a mut [u64],
    pub values: &'a mut [f64],
}

impl RowOut<'_> {
    pub fn set(&mut self, i: usize, value: f64) {
        self.present[i / 64] |= 1 << (i % 64);
        self.values[i] = value;
    }
}

/// Whether bit `i` of a `present` bitmap is set.
pub fn is_set(present: &[u64], i: usize) -> bool {
    present[i / 64] >> (i % 64) & 1 == 1
}

/// Steps whose bit is set, ascending.
pub fn set_steps(present: &[u64]) -> impl Iterator<Item = usize> {
    present.iter().enumerate().flat_map(|(word_at, &word)| set_bits(word).map(move |bit| word_at * 64 + bit))
}

/// Bits that are set in one word, ascending.
pub fn set_bits(word: u64) -> impl Iterator<Item = usize> {
    let mut rest = word;
    std::iter::from_fn(move || {
        (rest != 0).then(|| {
            let bit = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            bit
        })
    })
}

/// A scalar parameter of a function. A scalar is present at every step.
#[derive(Clone, Debug, PartialEq)]
pub enum ScalarArg {
    Constant(f64),
    /// One value for each step.
    PerStep(Arc<[f64]>),
}

impl ScalarArg {
    pub fn at(&self, i: usize) -> f64 {
        match self {
            Self::Constant(value) => *value,
            Self::PerStep(values) => values[i],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_ranges_from_its_first_to_its_last_step() {
        let grid = Grid { start_ms: 10, step_ms: 5, n: 3 };
        assert_eq!((grid.at(2), grid.range()), (20, TimeRange::new(10, 20)));
        assert_eq!(Grid::instant(7).range(), TimeRange::new(7, 7));
        assert!(Grid { n: 0, ..grid }.range().is_empty());
        assert_eq!([0, 1, 64, 65].map(|n| Grid { n, ..grid }.words()), [0, 1, 1, 2]);
    }

    #[test]
    fn steps_that_are_set_are_found_in_order() {
        let (mut present, mut values) = ([0; 2], [0.0; 70]);
        let mut out = RowOut { present: &mut present, values: &mut values };
        [69, 0, 63, 64].into_iter().for_each(|step| out.set(step, step as f64));
        assert_eq!(set_steps(&present).collect::<Vec<_>>(), [0, 63, 64, 69]);
        let row = Row { present: &present, values: &values };
        assert_eq!((row.get(63), row.get(62)), (Some(63.0), None));
    }
}
