//! Our nodes of the physical plan as bytes. DataFusion writes the tree and its own nodes.

use std::sync::Arc;

use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};

use super::fragment::{FragmentExec, Settings};
use crate::batch::steps_of;
use crate::exec::node::{Operator, OperatorExec, Stage};
use crate::plan::{Op, Param, Read, STEPS_MAX};
use crate::wire::{Wire, WireError, wire_enum, wire_struct};

/// Raised when an operator begins to mean something else: nodes of different versions run in one cluster while it is upgraded, and
/// then refuse each other's plans rather than answer them wrongly.
const VERSION: u8 = 2;

/// Parts that a leaf is read in: far more than a node has cores.
const PARTITIONS_MAX: usize = 1 << 12;

/// A node without its inputs.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Operator(Operator),
    Fragment(Settings),
}

wire_enum!(Node { 0 = Operator(operator), 1 = Fragment(settings) });
wire_struct!(Operator { op, stage, grid, span, partitions, share });
wire_enum!(Stage { 0 = Whole, 1 = Partial, 2 = Combine, 3 = Final });

/// The codec of [`OperatorExec`] and of the heads of fragments.
#[derive(Debug)]
pub(super) struct PlanCodec;

impl PhysicalExtensionCodec for PlanCodec {
    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        _task: &TaskContext,
        _converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match decode(bytes).map_err(|error| DataFusionError::External(Box::new(error)))? {
            Node::Operator(operator) => {
                check(&operator, inputs)?;
                Ok(Arc::new(OperatorExec::new(operator, inputs.to_vec())))
            }
            Node::Fragment(settings) => match inputs {
                [input] => Ok(Arc::new(FragmentExec::new(Arc::clone(input), settings))),
                _ => internal_err!("a fragment with {} inputs", inputs.len()),
            },
        }
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        out: &mut Vec<u8>,
        _converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let node = if let Some(operator) = node.downcast_ref::<OperatorExec>() {
            Node::Operator(operator.operator().clone())
        } else if let Some(fragment) = node.downcast_ref::<FragmentExec>() {
            Node::Fragment(fragment.settings().clone())
        } else {
            return internal_err!("{} is not a node of a query", node.name());
        };
        out.extend(node.to_versioned_bytes());
        Ok(())
    }
}

impl Node {
    pub(super) fn to_versioned_bytes(&self) -> Vec<u8> {
        let mut bytes = VERSION.to_bytes();
        self.put(&mut bytes);
        bytes
    }
}

pub(super) fn decode(mut bytes: &[u8]) -> Result<Node, WireError> {
    match u8::take(&mut bytes)? {
        VERSION => Node::from_bytes(bytes),
        tag => Err(WireError::Tag { kind: "version of plans", tag: u64::from(tag) }),
    }
}

/// Refuses what an operator takes for granted about itself and its inputs.
fn check(operator: &Operator, inputs: &[Arc<dyn ExecutionPlan>]) -> Result<()> {
    let Operator { op, grid, partitions, .. } = operator;
    // The grid first: states are a few times as long.
    if grid.n > STEPS_MAX || operator.steps() > STEPS_MAX || !(1..=PARTITIONS_MAX).contains(partitions) {
        return internal_err!("{op} for {} steps in {partitions} partitions", grid.n);
    }
    if let Some(input) = inputs.iter().find(|input| steps_of(&input.schema()).is_none()) {
        return internal_err!("{op} over {}, which has no rows of series", input.name());
    }
    if matches!(&**op, Op::Values(values) if values.len() != grid.n) {
        return internal_err!("{op} for {} steps", grid.n);
    }
    if inputs.len() < least_inputs(op) || params(op).any(|input| input >= inputs.len()) {
        return internal_err!("{op} with {} inputs", inputs.len());
    }
    let own = match &**op {
        Op::Scan(_) | Op::Raw { .. } => *partitions,
        _ => inputs.first().map_or(1, |input| input.output_partitioning().partition_count()),
    };
    if own == *partitions { Ok(()) } else { internal_err!("{op} in {partitions} partitions over {own}") }
}

/// Inputs that an operator has besides its parameters.
fn least_inputs(op: &Op) -> usize {
    match op {
        Op::Constant(_) | Op::Time | Op::Values(_) | Op::Empty | Op::Scan(_) | Op::Raw { .. } => 0,
        Op::ScalarBinary(_) | Op::Match { .. } | Op::Set { .. } | Op::Info(_) => 2,
        _ => 1,
    }
}

/// The inputs that parameters name.
fn params(op: &Op) -> impl Iterator<Item = usize> + '_ {
    let params = match op {
        Op::Scan(scan) => match &scan.read {
            Read::Range { call, .. } => call.params.as_slice(),
            _ => &[],
        },
        Op::RangeOverSubquery { call, .. } => call.params.as_slice(),
        Op::Map { params, .. } | Op::Histogram { params, .. } => params.as_slice(),
        Op::AggregateK { k, .. } => std::slice::from_ref(k),
        Op::Quantile { phi, .. } => std::slice::from_ref(phi),
        _ => &[],
    };
    params.iter().filter_map(|param| match param {
        Param::Input(input) => Some(*input),
        Param::Constant(_) => None,
    })
}
