//! Binary operators between scalars and vectors.

use pharos_promql::Span;
use pharos_promql::ast::{Binary, BinaryOp, Cardinality, VectorMatching};

use super::{Buckets, Lowering};
use crate::error::QueryError;
use crate::plan::arithmetic::{changes_meaning, is_trim};
use crate::plan::{Float, Grouping, MapFunction, Matching, NameRule, Op, Plan, ScalarFunction, SetOp, Shape};

impl Lowering<'_> {
    pub(super) fn binary(&mut self, binary: &Binary, span: Span) -> Result<Plan, QueryError> {
        let buckets = if is_trim(binary.op) { Buckets::Needed } else { self.buckets };
        let (left, right) =
            self.with_buckets(buckets, |lowering| (lowering.plan(&binary.lhs), lowering.plan(&binary.rhs)));
        let (left, right) = (left?, right?);
        let changed = changes_meaning(binary.op) || binary.return_bool;
        let names = if changed { self.changed() } else { NameRule::Keep };
        let with_scalar =
            |scalar_left| MapFunction::WithScalar { op: binary.op, scalar_left, return_bool: binary.return_bool };
        Ok(match (left.shape, right.shape) {
            (Shape::Scalar, Shape::Scalar) => {
                Plan::scalar(Op::ScalarBinary(ScalarFunction::Operator(binary.op)), vec![left, right], span)
            }
            (Shape::Vector, Shape::Scalar) => self.map(with_scalar(false), vec![left, right], names, span),
            (Shape::Scalar, Shape::Vector) => self.map(with_scalar(true), vec![right, left], names, span),
            (Shape::Vector, Shape::Vector) => {
                let matching = binary.matching.as_ref().expect("the parser sets it when both sides are vectors");
                let op = match set_op(binary.op) {
                    Some(op) => Op::Set { op, grouping: grouping(matching) },
                    None => {
                        // Arithmetic removes the name at once, whichever way is chosen for all else.
                        let names = if changes_meaning(binary.op) { NameRule::Drop } else { names };
                        Op::Match {
                            op: binary.op,
                            matching: self.matching(matching),
                            return_bool: binary.return_bool,
                            names,
                        }
                    }
                };
                Plan::vector(op, vec![left, right], span)
            }
        })
    }

    fn matching(&self, matching: &VectorMatching) -> Matching {
        assert!(matching.card != Cardinality::ManyToMany, "the parser keeps many-to-many for set operators");
        Matching {
            card: matching.card,
            on: grouping(matching),
            include: matching.include.clone(),
            fill_left: matching.fill_left.map(Float),
            fill_right: matching.fill_right.map(Float),
        }
    }
}

fn grouping(matching: &VectorMatching) -> Grouping {
    Grouping::new(!matching.on, &matching.labels)
}

fn set_op(op: BinaryOp) -> Option<SetOp> {
    match op {
        BinaryOp::And => Some(SetOp::And),
        BinaryOp::Or => Some(SetOp::Or),
        BinaryOp::Unless => Some(SetOp::Unless),
        _ => None,
    }
}
