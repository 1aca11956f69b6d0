//! A plan bound to its grids, as DataFusion sees it: one opaque extension node for each operator.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::common::{DFSchema, DFSchemaRef, Result};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};
use hashbrown::HashMap;
use pharos_promql::Span;

use super::context::fail;
use super::share::SharedRows;
use crate::batch::batch_schema;
use crate::error::QueryError;
use crate::functions::Grid;
use crate::plan::{Op, Plan, STEPS_MAX};

/// An operator at evaluation times.
#[derive(Clone, Debug)]
pub struct QueryNode {
    pub op: Arc<Op>,
    pub grid: Grid,
    pub span: Span,
    pub inputs: Vec<LogicalPlan>,
    /// What the places of an [`Op::Share`] have in common.
    pub(super) shared: Option<Arc<SharedRows>>,
    schema: DFSchemaRef,
}

impl QueryNode {
    /// The node at the top of a bound plan.
    pub fn of(plan: &LogicalPlan) -> Option<&Self> {
        match plan {
            LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref(),
            _ => None,
        }
    }

    /// The node with another operator on the same grid, and other inputs.
    pub fn replaced(&self, op: Op, inputs: Vec<LogicalPlan>) -> LogicalPlan {
        let node = Self { op: Arc::new(op), inputs, ..self.clone() };
        LogicalPlan::Extension(Extension { node: Arc::new(node) })
    }
}

/// Binds a plan to the evaluation times of the query.
///
/// # Errors
/// When a grid has more steps than could be answered within `samples_max`.
pub fn bind(plan: &Plan, grid: Grid, samples_max: u64) -> Result<LogicalPlan> {
    Binder { samples_max, shared: HashMap::new() }.bind(plan, grid)
}

struct Binder {
    samples_max: u64,
    /// By the id of the places that use them.
    shared: HashMap<u32, Arc<SharedRows>>,
}

impl Binder {
    fn bind(&mut self, plan: &Plan, grid: Grid) -> Result<LogicalPlan> {
        if grid.n > STEPS_MAX || grid.n as u64 > self.samples_max {
            return Err(fail(QueryError::TooManySamples { phase: "query execution" }));
        }
        match &plan.op {
            Op::Repeat if grid.n == 1 => self.bind(&plan.inputs[0], grid),
            Op::Repeat => {
                let once = self.bind(&plan.inputs[0], Grid::instant(grid.start_ms))?;
                node(plan, grid, vec![once])
            }
            Op::RangeOverSubquery { window, .. } => {
                let too_many = || fail(QueryError::TooManySamples { phase: "query execution" });
                let inner_grid = window.grid(&grid).ok_or_else(too_many)?;
                if inner_grid.n == 0 {
                    return node(&Plan::vector(Op::Empty, Vec::new(), plan.span), grid, Vec::new());
                }
                let mut inputs = vec![self.bind(&plan.inputs[0], inner_grid)?];
                for scalar in &plan.inputs[1..] {
                    inputs.push(self.bind(scalar, grid)?);
                }
                node(plan, grid, inputs)
            }
            Op::Share(share) => {
                let input = self.bind(&plan.inputs[0], grid)?;
                let shared = self.shared.entry(share.id).or_insert_with(|| Arc::new(SharedRows::new(share)));
                shared_node(plan, grid, input, Arc::clone(shared))
            }
            _ => {
                let inputs = plan.inputs.iter().map(|input| self.bind(input, grid)).collect::<Result<_>>()?;
                node(plan, grid, inputs)
            }
        }
    }
}

fn node(plan: &Plan, grid: Grid, inputs: Vec<LogicalPlan>) -> Result<LogicalPlan> {
    Ok(extension(QueryNode::new(plan, grid, inputs)?))
}

fn shared_node(plan: &Plan, grid: Grid, input: LogicalPlan, shared: Arc<SharedRows>) -> Result<LogicalPlan> {
    Ok(extension(QueryNode { shared: Some(shared), ..QueryNode::new(plan, grid, vec![input])? }))
}

fn extension(node: QueryNode) -> LogicalPlan {
    LogicalPlan::Extension(Extension { node: Arc::new(node) })
}

impl QueryNode {
    fn new(plan: &Plan, grid: Grid, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let schema = Arc::new(DFSchema::try_from(batch_schema(grid.n))?);
        Ok(Self { op: Arc::new(plan.op.clone()), grid, span: plan.span, inputs, shared: None, schema })
    }
}

impl UserDefinedLogicalNodeCore for QueryNode {
    fn name(&self) -> &str {
        "PromQL"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        self.inputs.iter().collect()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} steps={}", self.op, self.grid.n)
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        Ok(Self { inputs, ..self.clone() })
    }
}

impl PartialEq for QueryNode {
    fn eq(&self, other: &Self) -> bool {
        (&self.op, self.grid, self.span, &self.inputs) == (&other.op, other.grid, other.span, &other.inputs)
    }
}

impl Eq for QueryNode {}

impl Hash for QueryNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.op, self.grid, self.span, &self.inputs).hash(state);
    }
}

/// There is no meaningful order; DataFusion asks for one that agrees with equality.
impl PartialOrd for QueryNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}
