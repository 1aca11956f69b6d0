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
    /// What there is to say about all rows.
    pub notes: Notes,
}

impl Points {
    pub(super) fn new(op: BinaryOp, return_bool: bool) -> Self {
        Self { op, return_bool, histograms: HistogramSteps::default(), notes: Notes::default() }
    }

    /// Computes the steps in `bits` of left and right, and clears those without a result. Floats go to `values`.
    pub(super) fn compute(&mut self, [left, right]: [Side<'_>; 2], bits: &mut [u64], values: &mut [f64]) {
        self.histograms.clear();
        for (word, bits) in bits.iter_mut().enumerate() {
            for bit in set_bits(*bits) {
                let step = word * 64 + bit;
                match self.element(left.point(step), &right.point(step)) {
                    Some(Point::Float(value)) => values[step] = value,
                    Some(Point::Histogram(histogram)) => self.histograms.set(step, histogram),
                    None => *bits &= !(1 << bit),
                }
            }
        }
    }

    /// `None` when a filter drops the result, or there is none.
    fn element(&mut self, left: Point, right: &Point) -> Option<Point> {
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
            Outcome::Value(point) => Some(point),
            Outcome::Holds(holds) if self.return_bool => Some(Point::Float(f64::from(holds))),
            Outcome::Holds(holds) => holds.then_some(left),
            Outcome::Nothing => None,
        }
    }
}
