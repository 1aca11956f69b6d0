//! Binary operators with a native histogram on either side, at one step.

use pharos_model::histogram::add::{IncompatibleSchemas, Settled};
use pharos_model::{CounterResetHint, FloatHistogram};
use pharos_promql::ast::BinaryOp;

use crate::functions::annotations::{self, Operation};
use crate::functions::notes::Notes;
use crate::value::Point;

/// What comes of two elements.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Value(Point),
    /// Of a comparison: whether it holds.
    Holds(bool),
    /// No answer; the notes say why.
    Nothing,
}

/// The outcome of `left op right`.
///
/// # Panics
/// When both are floats and `op` is no trim operator, or when `op` is a set operator: neither comes here.
pub fn apply(op: BinaryOp, left: &Point, right: &Point, notes: &mut Notes) -> Outcome {
    match (left, right) {
        (Point::Histogram(left), Point::Histogram(right)) => histograms(op, left, right, notes),
        (Point::Histogram(left), Point::Float(right)) => with_float(op, left, *right, notes),
        (Point::Float(left), Point::Histogram(right)) if op == BinaryOp::Mul => scaled(right, |h| h.mul(*left)),
        (Point::Float(_), Point::Histogram(_)) => incompatible("float", op, "histogram", notes),
        (Point::Float(_), Point::Float(_)) => {
            assert!(matches!(op, BinaryOp::TrimLower | BinaryOp::TrimUpper), "floats have a way of their own");
            incompatible("float", op, "float", notes)
        }
    }
}

fn with_float(op: BinaryOp, left: &FloatHistogram, right: f64, notes: &mut Notes) -> Outcome {
    match op {
        BinaryOp::Mul => scaled(left, |h| h.mul(right)),
        BinaryOp::Div => scaled(left, |h| h.div(right)),
        BinaryOp::TrimUpper => changed(left, |h| h.trim_upper(right)),
        BinaryOp::TrimLower => changed(left, |h| h.trim_lower(right)),
        _ => incompatible("histogram", op, "float", notes),
    }
}

fn histograms(op: BinaryOp, left: &FloatHistogram, right: &FloatHistogram, notes: &mut Notes) -> Outcome {
    match op {
        BinaryOp::Add => {
            let mut sum = left.clone();
            let settled = sum.add(right);
            combined(op, sum, settled, Operation::Addition, notes)
        }
        BinaryOp::Sub => {
            let mut difference = left.clone();
            let settled = difference.sub(right);
            difference.counter_reset_hint = CounterResetHint::Gauge;
            combined(op, difference, settled, Operation::Subtraction, notes)
        }
        BinaryOp::Eq => Outcome::Holds(left.has_same_data(right)),
        BinaryOp::NotEq => Outcome::Holds(!left.has_same_data(right)),
        _ => incompatible("histogram", op, "histogram", notes),
    }
}

/// A sum or difference, unless it means nothing.
fn combined(
    op: BinaryOp,
    mut result: FloatHistogram,
    settled: Result<Settled, IncompatibleSchemas>,
    operation: Operation,
    notes: &mut Notes,
) -> Outcome {
    match settled {
        Err(IncompatibleSchemas) => {
            notes.add(annotations::incompatible_buckets(op.as_str()));
            Outcome::Nothing
        }
        Ok(Settled { hints_collided: true, .. }) => {
            notes.add(annotations::hints_collided(operation));
            Outcome::Nothing
        }
        Ok(Settled { bounds_reconciled, .. }) => {
            if bounds_reconciled {
                notes.add(annotations::bounds_reconciled(operation));
            }
            result.compact();
            Outcome::Value(result.into())
        }
    }
}

fn scaled(histogram: &FloatHistogram, scale: impl FnOnce(&mut FloatHistogram)) -> Outcome {
    changed(histogram, |copy| {
        scale(copy);
        copy.compact();
    })
}

fn changed(histogram: &FloatHistogram, change: impl FnOnce(&mut FloatHistogram)) -> Outcome {
    let mut copy = histogram.clone();
    change(&mut copy);
    Outcome::Value(copy.into())
}

fn incompatible(left: &str, op: BinaryOp, right: &str, notes: &mut Notes) -> Outcome {
    notes.add(annotations::incompatible_types(left, op.as_str(), right));
    Outcome::Nothing
}

#[cfg(test)]
mod tests {
    use super::*;
    use pharos_model::histogram::{CUSTOM_BUCKETS_SCHEMA, Span};

    fn histogram(count: f64) -> FloatHistogram {
        FloatHistogram {
            count,
            sum: count,
            positive_spans: vec![Span { offset: 0, length: 2 }],
            positive_buckets: vec![count, 0.0],
            ..FloatHistogram::default()
        }
    }

    fn custom() -> FloatHistogram {
        FloatHistogram { schema: CUSTOM_BUCKETS_SCHEMA, custom_values: vec![1.0], ..FloatHistogram::default() }
    }

    fn check(op: BinaryOp, left: impl Into<Point>, right: impl Into<Point>) -> (Outcome, Vec<String>) {
        let mut notes = Notes::default();
        let outcome = apply(op, &left.into(), &right.into(), &mut notes);
        (outcome, notes.iter().map(crate::functions::Note::to_text).collect())
    }

    fn value(outcome: Outcome) -> String {
        match outcome {
            Outcome::Value(Point::Histogram(histogram)) => {
                assert!(histogram.positive_buckets.iter().all(|count| *count != 0.0), "compact");
                format!("{histogram} {:?}", histogram.counter_reset_hint)
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn what_can_be_computed_is_and_is_compact() {
        for (op, right, expected) in [
            (BinaryOp::Add, Point::from(histogram(1.0)), "{count:4, sum:4, (0.5,1]:4} Unknown"),
            (BinaryOp::Sub, Point::from(histogram(1.0)), "{count:2, sum:2, (0.5,1]:2} Gauge"),
            (BinaryOp::Mul, Point::from(2.0), "{count:6, sum:6, (0.5,1]:6} Unknown"),
            (BinaryOp::Div, Point::from(-3.0), "{count:-1, sum:-1, (0.5,1]:-1} Gauge"),
            (BinaryOp::TrimLower, Point::from(1.0), "{count:0, sum:0} Unknown"),
            (BinaryOp::Eq, Point::from(histogram(3.0)), "Holds(true)"),
            (BinaryOp::NotEq, Point::from(histogram(3.0)), "Holds(false)"),
        ] {
            let (outcome, notes) = check(op, histogram(3.0), right);
            assert_eq!((value(outcome).as_str(), notes.len()), (expected, 0), "{op:?}");
        }
        assert_eq!(value(check(BinaryOp::Mul, 2.0, histogram(1.0)).0), "{count:2, sum:2, (0.5,1]:2} Unknown");
    }

    #[test]
    fn what_cannot_be_computed_is_said() {
        let text = |left: Point, op: BinaryOp, right: Point| {
            let (outcome, notes) = check(op, left, right);
            assert_eq!((outcome, notes.len()), (Outcome::Nothing, 1));
            notes[0].clone()
        };
        let info = "PromQL info: incompatible sample types encountered for binary operator";
        assert_eq!(text(1.0.into(), BinaryOp::Div, histogram(1.0).into()), format!(r#"{info} "/": float / histogram"#));
        assert_eq!(
            text(histogram(1.0).into(), BinaryOp::Less, histogram(1.0).into()),
            format!(r#"{info} "<": histogram < histogram"#)
        );
        assert_eq!(text(1.0.into(), BinaryOp::TrimUpper, 2.0.into()), format!(r#"{info} "</": float </ float"#));
        assert_eq!(
            text(histogram(1.0).into(), BinaryOp::Add, custom().into()),
            "PromQL warning: incompatible bucket layout encountered for binary operator +"
        );
        let hinted = |hint| Point::from(FloatHistogram { counter_reset_hint: hint, ..histogram(1.0) });
        assert_eq!(
            text(hinted(CounterResetHint::CounterReset), BinaryOp::Sub, hinted(CounterResetHint::NotCounterReset)),
            "PromQL warning: conflicting counter resets during histogram subtraction"
        );
    }
}
