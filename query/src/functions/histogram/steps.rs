//! The native histograms of a row: few or none, so they lie beside the floats rather than among them.

use std::sync::Arc;

use pharos_model::FloatHistogram;

use crate::functions::grid::{RowOut, is_set, set_steps};
use crate::value::Point;

/// A histogram for some of the steps of a row. What a row's bitmap leaves out counts for nothing, so filtering a row does
/// not touch this.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistogramSteps {
    /// As `present`; words at the end may be missing.
    bits: Vec<u64>,
    /// By ascending step.
    list: Vec<Arc<FloatHistogram>>,
}

impl HistogramSteps {
    /// Of histograms in the order of the steps in `bits`.
    ///
    /// # Panics
    /// If there are not as many histograms as bits.
    pub fn new(bits: Vec<u64>, list: Vec<Arc<FloatHistogram>>) -> Self {
        assert_eq!(count(&bits), list.len(), "one histogram for each bit");
        Self { bits, list }
    }

    pub fn clear(&mut self) {
        self.bits.clear();
        self.list.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Replaces what is at the step.
    pub fn set(&mut self, step: usize, histogram: Arc<FloatHistogram>) {
        if self.bits.len() <= step / 64 {
            self.bits.resize(step / 64 + 1, 0);
        }
        let at = self.rank(step);
        if is_set(&self.bits, step) {
            self.list[at] = histogram;
            return;
        }
        self.bits[step / 64] |= 1 << (step % 64);
        self.list.insert(at, histogram);
    }

    pub fn get(&self, step: usize) -> Option<&Arc<FloatHistogram>> {
        self.has(step).then(|| &self.list[self.rank(step)])
    }

    pub fn has(&self, step: usize) -> bool {
        step / 64 < self.bits.len() && is_set(&self.bits, step)
    }

    /// The bits of 64 steps.
    pub fn word(&self, at: usize) -> u64 {
        self.bits.get(at).copied().unwrap_or(0)
    }

    /// All histograms with their steps, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Arc<FloatHistogram>)> {
        set_steps(&self.bits).zip(&self.list)
    }

    /// Those at steps that a bitmap has.
    pub fn among<'a>(&'a self, present: &'a [u64]) -> impl Iterator<Item = (usize, &'a Arc<FloatHistogram>)> {
        self.iter().filter(|(step, _)| is_set(present, *step))
    }

    /// Whether a bitmap has a step with a histogram.
    pub fn is_among(&self, present: &[u64]) -> bool {
        self.bits.iter().zip(present).any(|(bits, present)| bits & present != 0)
    }

    /// How many histograms there are before a step.
    fn rank(&self, step: usize) -> usize {
        let word = step / 64;
        let below = self.word(word) & ((1 << (step % 64)) - 1);
        count(&self.bits[..word.min(self.bits.len())]) + below.count_ones() as usize
    }
}

fn count(bits: &[u64]) -> usize {
    bits.iter().map(|word| word.count_ones() as usize).sum()
}

/// A row of floats and histograms that is being written. Its bitmap has the steps of both.
#[derive(Debug)]
pub struct PointsOut<'a> {
    pub present: &'a mut [u64],
    pub values: &'a mut [f64],
    pub histograms: &'a mut HistogramSteps,
}

impl PointsOut<'_> {
    /// The row without its histograms, for kernels that know floats only.
    pub fn floats(&mut self) -> RowOut<'_> {
        RowOut { present: self.present, values: self.values }
    }

    pub fn set(&mut self, step: usize, point: impl Into<Point>) {
        self.present[step / 64] |= 1 << (step % 64);
        match point.into() {
            Point::Float(value) => self.values[step] = value,
            Point::Histogram(histogram) => self.histograms.set(step, histogram),
        }
    }

    /// Takes back the float at a step.
    pub fn unset(&mut self, step: usize) {
        self.present[step / 64] &= !(1 << (step % 64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(count: f64) -> Arc<FloatHistogram> {
        Arc::new(FloatHistogram { count, ..FloatHistogram::default() })
    }

    #[test]
    fn histograms_are_found_by_step_whatever_the_order_they_came_in() {
        let mut steps = HistogramSteps::default();
        for step in [130, 3, 64, 3, 0] {
            steps.set(step, histogram(step as f64));
        }
        assert_eq!(
            steps.iter().map(|(step, h)| (step, h.count)).collect::<Vec<_>>(),
            [(0, 0.0), (3, 3.0), (64, 64.0), (130, 130.0)]
        );
        assert_eq!(steps.get(64).unwrap().count, 64.0);
        assert!(steps.get(65).is_none() && steps.get(1000).is_none());
        assert_eq!((steps.word(0), steps.word(2), steps.word(9)), (9, 4, 0));
    }

    #[test]
    fn a_bitmap_hides_what_it_does_not_have() {
        let mut steps = HistogramSteps::default();
        steps.set(1, histogram(1.0));
        steps.set(70, histogram(2.0));
        let seen = |present: &[u64]| steps.among(present).map(|(step, _)| step).collect::<Vec<_>>();
        assert_eq!(seen(&[3, 0]), [1]);
        assert_eq!(seen(&[1, 64]), [70]);
        assert!(steps.is_among(&[2, 0]) && !steps.is_among(&[1, 1]));
    }
}
