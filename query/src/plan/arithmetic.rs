//! Binary operators on floats, with Go's results where Rust leaves a choice.

use pharos_promql::ast::BinaryOp;

/// The value of `left op right` between scalars; a comparison is 1 or 0.
///
/// # Panics
/// For set and histogram operators, which the parser refuses between scalars.
pub fn scalar_op(op: BinaryOp, left: f64, right: f64) -> f64 {
    match op {
        BinaryOp::Add => left + right,
        BinaryOp::Sub => left - right,
        BinaryOp::Mul => left * right,
        BinaryOp::Div => left / right,
        // The sign is that of the dividend, as in C.
        BinaryOp::Mod => left % right,
        BinaryOp::Pow => left.powf(right),
        BinaryOp::Atan2 => left.atan2(right),
        _ => f64::from(compare(op, left, right)),
    }
}

/// Whether a comparison holds; no comparison with a NaN does, but for `!=`.
///
/// # Panics
/// When `op` is no comparison.
pub fn compare(op: BinaryOp, left: f64, right: f64) -> bool {
    match op {
        BinaryOp::Eq => left == right,
        BinaryOp::NotEq => left != right,
        BinaryOp::Less => left < right,
        BinaryOp::LessEq => left <= right,
        BinaryOp::Greater => left > right,
        BinaryOp::GreaterEq => left >= right,
        _ => unreachable!("{op:?} has no value for two floats"),
    }
}

/// Whether the result is another quantity than the operands, so that their name no longer fits.
pub fn changes_meaning(op: BinaryOp) -> bool {
    use BinaryOp::{Add, Atan2, Div, Mod, Mul, Pow, Sub};
    matches!(op, Add | Sub | Mul | Div | Mod | Pow | Atan2)
}

/// Whether the operator works on native histograms only, so that two floats have no answer.
pub fn is_trim(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::TrimLower | BinaryOp::TrimUpper)
}
