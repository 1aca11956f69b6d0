//! Sums that do not lose small terms, quantiles, and the operators between two numbers.

use std::cmp::Ordering;

use pharos_promql::ast::BinaryOp;

/// A sum and what rounding took from it (Neumaier's variant of Kahan's summation).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Compensated {
    pub sum: f64,
    pub lost: f64,
}

impl Compensated {
    pub(super) fn add(self, term: f64) -> Self {
        let sum = self.sum + term;
        let lost = match () {
            () if sum.is_infinite() => 0.0,
            () if self.sum.abs() >= term.abs() => self.lost + ((self.sum - sum) + term),
            () => self.lost + ((term - sum) + self.sum),
        };
        Self { sum, lost }
    }

    pub(super) fn total(self) -> f64 {
        self.sum + self.lost
    }
}

pub(super) fn sum(values: &[f64]) -> f64 {
    values.iter().fold(Compensated::default(), |sum, value| sum.add(*value)).total()
}

/// The mean: sum over count, or from where the sum would overflow a running mean.
pub(super) fn mean(values: &[f64]) -> f64 {
    let mut sum = Compensated { sum: values[0], lost: 0.0 };
    let mut running = false;
    for (i, value) in values.iter().enumerate().skip(1) {
        let count = (i + 1) as f64;
        if !running {
            let next = sum.add(*value);
            if next.sum.is_finite() || next.sum.is_nan() {
                sum = next;
                continue;
            }
            running = true;
            sum = Compensated { sum: sum.sum / (count - 1.0), lost: sum.lost / (count - 1.0) };
        }
        let share = (count - 1.0) / count;
        sum = Compensated { sum: share * sum.sum, lost: share * sum.lost }.add(value / count);
    }
    let count = if running { 1.0 } else { values.len() as f64 };
    sum.sum / count + sum.lost / count
}

/// The smaller value is less, NaN is less than all.
pub(super) fn nan_first(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

/// The value that a share of the others is below, between two neighbours by weight.
pub(super) fn quantile(phi: f64, values: &[f64]) -> f64 {
    match () {
        () if values.is_empty() || phi.is_nan() => return f64::NAN,
        () if phi < 0.0 => return f64::NEG_INFINITY,
        () if phi > 1.0 => return f64::INFINITY,
        () => {}
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| nan_first(*a, *b));
    let rank = phi * (sorted.len() - 1) as f64;
    let lower = rank.floor();
    let upper = (lower + 1.0).min((sorted.len() - 1) as f64);
    let weight = rank - lower;
    sorted[lower as usize] * (1.0 - weight) + sorted[upper as usize] * weight
}

/// The result of an operator that is no comparison.
pub(super) fn calculate(op: BinaryOp, a: f64, b: f64) -> f64 {
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Mod => a % b,
        BinaryOp::Pow => a.powf(b),
        BinaryOp::Atan2 => a.atan2(b),
        other => unreachable!("`{}` does not calculate", other.as_str()),
    }
}

/// Whether a comparison holds.
pub(super) fn holds(op: BinaryOp, a: f64, b: f64) -> bool {
    match op {
        BinaryOp::Eq => a == b,
        BinaryOp::NotEq => a != b,
        BinaryOp::Less => a < b,
        BinaryOp::LessEq => a <= b,
        BinaryOp::Greater => a > b,
        BinaryOp::GreaterEq => a >= b,
        other => unreachable!("`{}` does not compare", other.as_str()),
    }
}
