//! The values of an operator along the steps of a pair, in loops that are chosen once for all steps.

use pharos_promql::ast::BinaryOp;

use crate::functions::grid::set_steps;
use crate::plan::arithmetic::{compare, scalar_op};

/// One side of an operator: a value for each step, or the same at all of them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operand<'a> {
    Values(&'a [f64]),
    Fill(f64),
}

impl Operand<'_> {
    fn at(self, step: usize) -> f64 {
        match self {
            Self::Values(values) => values[step],
            Self::Fill(value) => value,
        }
    }
}

/// Left and right of an operator.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operands<'a> {
    pub left: Operand<'a>,
    pub right: Operand<'a>,
}

impl Operands<'_> {
    /// Writes `left op right` of every step to `out`; of steps without a value too, which is cheaper than to leave them out.
    pub(super) fn compute(self, op: BinaryOp, out: &mut [f64]) {
        match op {
            BinaryOp::Add => self.each(out, |left, right| left + right),
            BinaryOp::Sub => self.each(out, |left, right| left - right),
            BinaryOp::Mul => self.each(out, |left, right| left * right),
            BinaryOp::Div => self.each(out, |left, right| left / right),
            op => self.each(out, |left, right| scalar_op(op, left, right)),
        }
    }

    #[inline]
    fn each(self, out: &mut [f64], compute: impl Fn(f64, f64) -> f64) {
        match (self.left, self.right) {
            (Operand::Values(left), Operand::Values(right)) => {
                out.iter_mut().zip(left).zip(right).for_each(|((out, left), right)| *out = compute(*left, *right));
            }
            (Operand::Values(left), Operand::Fill(right)) => {
                out.iter_mut().zip(left).for_each(|(out, left)| *out = compute(*left, right));
            }
            (Operand::Fill(left), Operand::Values(right)) => {
                out.iter_mut().zip(right).for_each(|(out, right)| *out = compute(left, *right));
            }
            (Operand::Fill(left), Operand::Fill(right)) => out.fill(compute(left, right)),
        }
    }

    /// Clears the bits of steps at which the comparison does not hold, and writes the left values of all steps to `out`.
    pub(super) fn filter(self, op: BinaryOp, bits: &mut [u64], out: &mut [f64]) {
        for (word, bits) in bits.iter_mut().enumerate() {
            for bit in set_steps(&[*bits]) {
                let step = word * 64 + bit;
                if !compare(op, self.left.at(step), self.right.at(step)) {
                    *bits &= !(1 << bit);
                }
            }
        }
        match self.left {
            Operand::Values(left) => out.copy_from_slice(left),
            Operand::Fill(left) => out.fill(left),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPERATORS: [BinaryOp; 13] = [
        BinaryOp::Add,
        BinaryOp::Sub,
        BinaryOp::Mul,
        BinaryOp::Div,
        BinaryOp::Mod,
        BinaryOp::Pow,
        BinaryOp::Atan2,
        BinaryOp::Eq,
        BinaryOp::NotEq,
        BinaryOp::Less,
        BinaryOp::LessEq,
        BinaryOp::Greater,
        BinaryOp::GreaterEq,
    ];

    #[test]
    fn every_operator_gives_what_it_gives_between_scalars() {
        let (values, others) = ([5.0, 7.0, -3.0], [2.0, 7.0, 4.0]);
        let sides = [(Operand::Values(&values), [5.0, 7.0, -3.0]), (Operand::Fill(7.0), [7.0; 3])];
        for op in OPERATORS {
            for (left, left_values) in sides {
                for (right, right_values) in [(Operand::Values(&others), others), (Operand::Fill(2.0), [2.0; 3])] {
                    let mut out = [0.0; 3];
                    Operands { left, right }.compute(op, &mut out);
                    let want = [0, 1, 2].map(|step| scalar_op(op, left_values[step], right_values[step]));
                    assert_eq!(out, want, "{op:?}");
                }
            }
        }
    }

    #[test]
    fn a_filter_keeps_left_values_where_it_holds() {
        let (mut bits, mut out) = ([0b101], [0.0; 3]);
        let operands = Operands { left: Operand::Values(&[1.0, 2.0, 3.0]), right: Operand::Fill(2.0) };
        operands.filter(BinaryOp::Greater, &mut bits, &mut out);
        assert_eq!((bits, out[2]), ([0b100], 3.0));
    }
}
