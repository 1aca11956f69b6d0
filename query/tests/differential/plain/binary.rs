//! Operators with a vector on at least one side.

use pharos_promql::ValueType;
use pharos_promql::ast::{Binary, BinaryOp};

use super::arithmetic::{calculate, holds};
use super::matching::Matcher;
use super::rows::{Element, Grid, Rows, assemble, vector_at};
use super::{Plain, Result, both};

impl Plain<'_> {
    pub(super) fn binary(&self, binary: &Binary, grid: &Grid) -> Result<Rows> {
        match (binary.lhs.value_type(), binary.rhs.value_type()) {
            (ValueType::Scalar, ValueType::Vector) => {
                let (scalars, rows) = both(self.scalar(&binary.lhs, grid), self.vector(&binary.rhs, grid))?;
                self.with_scalar(binary, &rows, grid, |step, value| (scalars[step], value))
            }
            (ValueType::Vector, ValueType::Scalar) => {
                let (rows, scalars) = both(self.vector(&binary.lhs, grid), self.scalar(&binary.rhs, grid))?;
                self.with_scalar(binary, &rows, grid, |step, value| (value, scalars[step]))
            }
            _ => {
                let (left, right) = both(self.vector(&binary.lhs, grid), self.vector(&binary.rhs, grid))?;
                let matching = binary.matching.as_ref().expect("two vectors are matched");
                assemble(self, grid, |step| {
                    let (left, right) = (vector_at(&left, step), vector_at(&right, step));
                    match binary.op.is_set() {
                        true => Ok(set(binary.op, left, right, &Matcher(matching))),
                        false => self.match_vectors(binary, (left, right), &Matcher(matching), |a, b| {
                            Some(elementwise(binary, *a, *b))
                        }),
                    }
                })
            }
        }
    }

    /// Each element with a number; `order` puts the two in their places. A filter returns the element.
    fn with_scalar(
        &self,
        binary: &Binary,
        rows: &Rows,
        grid: &Grid,
        order: impl Fn(usize, f64) -> (f64, f64),
    ) -> Result<Rows> {
        assemble(self, grid, |step| {
            let elements = vector_at(rows, step).into_iter();
            let results = elements.filter_map(|element| {
                let (a, b) = order(step, element.value);
                match elementwise(binary, a, b) {
                    Outcome::Filtered(keeps) => keeps.then_some(element),
                    Outcome::Value(value) => Some(self.changed(&element, value)),
                }
            });
            Ok(results.collect())
        })
    }
}

/// What an operator says of two values.
pub(super) enum Outcome<V = f64> {
    /// The left element stays as it is, or goes.
    Filtered(bool),
    Value(V),
}

pub(super) fn elementwise(binary: &Binary, a: f64, b: f64) -> Outcome {
    match binary.op.is_comparison() {
        false => Outcome::Value(calculate(binary.op, a, b)),
        true if binary.return_bool => Outcome::Value(f64::from(u8::from(holds(binary.op, a, b)))),
        true => Outcome::Filtered(holds(binary.op, a, b)),
    }
}

pub(super) fn set<V>(
    op: BinaryOp,
    left: Vec<Element<V>>,
    right: Vec<Element<V>>,
    matcher: &Matcher<'_>,
) -> Vec<Element<V>> {
    let is_among = |element: &Element<V>, others: &[Element<V>]| {
        let signature = matcher.signature(&element.labels);
        others.iter().any(|other| matcher.signature(&other.labels) == signature)
    };
    match op {
        BinaryOp::And => left.into_iter().filter(|element| is_among(element, &right)).collect(),
        BinaryOp::Unless => left.into_iter().filter(|element| !is_among(element, &right)).collect(),
        _ => {
            let added: Vec<Element<V>> = right.into_iter().filter(|element| !is_among(element, &left)).collect();
            left.into_iter().chain(added).collect()
        }
    }
}
