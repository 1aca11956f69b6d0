//! Pairs of rows with native histograms, step by step.

use pharos_promql::ast::BinaryOp;

use super::Side;
use crate::functions::grid::set_bits;
use crate::functions::histogram::{Outcome, binary};
use crate::functions::{HistogramSteps, Notes};
use crate::plan::arithmetic::{compare, is_trim, scalar_op};
use crate::value::Point;

pub(super) struct Points {
    op: BinaryOp,
    return_bool: bool,
    /// Of the row under way.
    pub histograms: HistogramSteps,
    /// Steps of the row under way at which a comparison does not hold.
    dropped: Vec<u64>,
    /// What there is to say about all rows.
    pub notes: Notes,
}

impl Points {
    pub(super) fn new(op: BinaryOp, return_bool: bool) -> Self {
        Self { op, return_bool, histograms: HistogramSteps::default(), dropped: Vec::new(), notes: Notes::default() }
    }

    /// Computes the steps in `bits` of left and right, and clears those without an answer. Floats go to `values`.
    pub(super) fn compute(&mut self, [left, right]: [Side<'_>; 2], bits: &mut [u64], values: &mut [f64]) {
        self.histograms.clear();
        self.dropped.clear();
        self.dropped.resize(bits.len(), 0);
        for (word, bits) in bits.iter_mut().enumerate() {
            for bit in set_bits(*bits) {
                let step = word * 64 + bit;
                match self.element(left.point(step), &right.point(step)) {
                    Answer::Point(Point::Float(value)) => values[step] = value,
                    Answer::Point(Point::Histogram(histogram)) => self.histograms.set(step, histogram),
                    Answer::Dropped => self.dropped[word] |= 1 << bit,
                    Answer::None => *bits &= !(1 << bit),
                }
            }
        }
    }

    /// Clears the steps at which a comparison does not hold.
    pub(super) fn filter(&self, bits: &mut [u64]) {
        bits.iter_mut().zip(&self.dropped).for_each(|(bits, dropped)| *bits &= !dropped);
    }

    fn element(&mut self, left: Point, right: &Point) -> Answer {
        let outcome = match (&left, right) {
            (Point::Float(left), Point::Float(right)) if self.op.is_comparison() => {
                Outcome::Holds(compare(self.op, *left, *right))
            }
            (Point::Float(left), Point::Float(right)) if !is_trim(self.op) => {
                Outcome::Value(Point::Float(scalar_op(self.op, *left, *right)))
            }
            _ => binary::apply(self.op, &left, right, &mut self.notes),
        };
        match outcome {
            Outcome::Value(point) => Answer::Point(point),
            Outcome::Holds(holds) if self.return_bool => Answer::Point(Point::Float(f64::from(holds))),
            Outcome::Holds(true) => Answer::Point(left),
            Outcome::Holds(false) => Answer::Dropped,
            Outcome::Nothing => Answer::None,
        }
    }
}

/// What comes of a step.
enum Answer {
    Point(Point),
    /// The comparison does not hold.
    Dropped,
    None,
}
