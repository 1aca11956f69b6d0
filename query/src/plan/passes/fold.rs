//! Computes what depends on constants alone, and puts constant arguments into the node that uses them.

use crate::functions::math::{go_max, go_min};
use crate::plan::arithmetic::scalar_op;
use crate::plan::{Float, MapFunction, Op, Param, Plan, ScalarFunction};

/// Folds bottom up.
pub(super) fn fold(mut plan: Plan) -> Plan {
    plan.inputs = plan.inputs.into_iter().map(fold).collect();
    match &plan.op {
        Op::ScalarBinary(function) => match (plan.inputs[0].as_constant(), plan.inputs[1].as_constant()) {
            (Some(left), Some(right)) => Plan::constant(apply(*function, left, right), plan.span),
            _ => plan,
        },
        Op::Map { function: MapFunction::Negate, .. } => match plan.inputs[0].as_constant() {
            Some(value) => Plan::constant(-value, plan.span),
            None => plan,
        },
        _ => inline_params(plan),
    }
}

/// The value of a function of two scalars.
pub fn apply(function: ScalarFunction, left: f64, right: f64) -> f64 {
    match function {
        ScalarFunction::Operator(op) => scalar_op(op, left, right),
        ScalarFunction::MinOf => go_min(left, right),
        ScalarFunction::MaxOf => go_max(left, right),
    }
}

/// Turns parameters that name a constant input into constants, and drops those inputs.
fn inline_params(mut plan: Plan) -> Plan {
    let constants: Vec<Option<f64>> = plan.inputs.iter().map(Plan::as_constant).collect();
    let mut params = params_of(&mut plan.op);
    let mut dropped: Vec<usize> = Vec::new();
    for param in &mut params {
        if let Param::Input(index) = **param
            && let Some(value) = constants[index]
        {
            **param = Param::Constant(Float(value));
            dropped.push(index);
        }
    }
    for param in params {
        if let Param::Input(index) = param {
            *index -= dropped.iter().filter(|gone| **gone < *index).count();
        }
    }
    let mut at = 0;
    plan.inputs.retain(|_| {
        at += 1;
        !dropped.contains(&(at - 1))
    });
    plan
}

/// The parameters of a node.
fn params_of(op: &mut Op) -> Vec<&mut Param> {
    match op {
        Op::Scan(scan) => match &mut scan.read {
            crate::plan::Read::Range { call, .. } => call.params.iter_mut().collect(),
            _ => Vec::new(),
        },
        Op::RangeOverSubquery { call, .. } => call.params.iter_mut().collect(),
        Op::Map { params, .. } | Op::Histogram { params, .. } => params.iter_mut().collect(),
        Op::AggregateK { k, .. } => vec![k],
        Op::Quantile { phi, .. } => vec![phi],
        _ => Vec::new(),
    }
}
