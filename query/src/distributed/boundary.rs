//! Where the network boundary lies: as high as exactness permits.
//!
//! A series lives in one partition and a partition is read by one worker, so what is done to each row by itself may be
//! done where the row is, and so may the first half of an aggregation whose states merge to what one pass over all rows gives.
//! The boundary lies where rows of several partitions meet. That is the same place at which a plan of this process alone
//! gathers its partitions: both plans are made of the same operators, and differ in what carries the rows.
//!
//! There is one leaf below each boundary. Scalars that a part below it needs are either made there of constants and times, or were
//! evaluated before ([`wants_known`]): a scalar of series needs the rows of all workers.

use std::ops::Range;
use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion_distributed::{DistributedLeafExec, NetworkCoalesceExec};
use pharos_model::{TimeRange, TimestampMs};

use super::fragment::{FragmentExec, Settings};
use super::placement::{Share, Snapshot};
use super::receive::ReceiveExec;
use crate::exec::context::QueryContext;
use crate::exec::logical::QueryNode;
use crate::exec::node::OperatorExec;
use crate::plan::{KKind, Op, Scan};
use crate::source::{SelectRequest, partitions_of};

/// Operators below a boundary, one above the other: twice as many messages are nested, of which protobuf reads a hundred.
const PART_DEPTH_MAX: usize = 32;
/// Of them, those of a scalar.
const SCALAR_DEPTH_MAX: usize = 8;

/// How an operator takes the rows of its first input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// It has none, and reads series.
    Leaf,
    /// One by one.
    Each,
    /// One by one, and where the query is: it sends many times what it takes, or to several places.
    EachHere,
    /// In parts, whose results are then taken together.
    Parts,
    /// All at once, or it has none.
    All,
}

impl Reach {
    pub(crate) fn of(op: &Op) -> Self {
        match op {
            Op::Scan(_) | Op::Raw { .. } => Self::Leaf,
            Op::Map { .. } | Op::Relabel(_) | Op::RangeOverSubquery { .. } => Self::Each,
            // The hash of a row says whether it stays.
            Op::AggregateK { kind: KKind::LimitRatio, .. } => Self::Each,
            Op::Repeat | Op::Share(_) => Self::EachHere,
            Op::Aggregate { .. } | Op::Absent { .. } => Self::Parts,
            // The pick of the picks of all partitions is the pick of all rows.
            Op::AggregateK { kind: KKind::Topk | KKind::Bottomk | KKind::Limitk, .. } => Self::Parts,
            _ => Self::All,
        }
    }
}

/// Whether the rows of a node are on workers.
fn is_spread_node(node: &QueryNode) -> bool {
    match Reach::of(&node.op) {
        Reach::Leaf => true,
        Reach::Each => first(node).is_some_and(is_spread_node),
        Reach::EachHere | Reach::Parts | Reach::All => false,
    }
}

/// Whether some of a node's work is done on workers.
fn works_below(node: &QueryNode) -> bool {
    is_spread_node(node) || Reach::of(&node.op) == Reach::Parts && first(node).is_some_and(is_spread_node)
}

fn first(node: &QueryNode) -> Option<&QueryNode> {
    node.inputs.first().and_then(QueryNode::of)
}

/// Whether a plan reads series at all.
pub(crate) fn reads_series(plan: &LogicalPlan) -> bool {
    QueryNode::of(plan).is_some_and(|node| Reach::of(&node.op) == Reach::Leaf || node.inputs.iter().any(reads_series))
}

/// Whether an input of a node has to be known before the node is sent to workers: a scalar of series, or one that is too
/// large to be sent.
pub(crate) fn wants_known(node: &QueryNode, input: usize) -> bool {
    let is_scalar = input > 0 || Reach::of(&node.op) == Reach::Leaf;
    let scalar = &node.inputs[input];
    is_scalar && works_below(node) && (reads_series(scalar) || !is_shallow(scalar, SCALAR_DEPTH_MAX))
}

fn is_shallow(plan: &LogicalPlan, depth: usize) -> bool {
    depth > 0 && plan.inputs().iter().all(|input| is_shallow(input, depth - 1))
}

/// The shares that a leaf's matchers leave something to read for. Two at least: a boundary between one task and one other
/// is taken out, and the leaf would be read where the query is.
pub(crate) fn shares_of(query: &QueryContext, op: &Op) -> Vec<Share> {
    let all = query.snapshot.as_ref().map_or(&[][..], Snapshot::shares);
    let may_match = partitions_of_leaf(query, op);
    let mut shares: Vec<Share> =
        all.iter().map(|share| share.within(&may_match)).filter(|share| !share.partitions.is_empty()).collect();
    if let Some(any) = shares.first().or(all.first()) {
        let idle = Share::new(any.worker.clone(), Vec::new());
        shares.resize(shares.len().max(2), idle);
    }
    shares
}

/// The partitions that can have what a leaf reads.
fn partitions_of_leaf(query: &QueryContext, op: &Op) -> Range<usize> {
    let (Op::Scan(Scan { selector, .. }) | Op::Raw { selector, .. }) = op else { unreachable!("{op} is no leaf") };
    let (tenant, matchers) = (query.tenant.clone(), selector.matchers.clone());
    let range = TimeRange::new(TimestampMs::MIN, TimestampMs::MAX);
    let request = SelectRequest { tenant, matchers, range, newest_only: false, totals_only: false, starts: false };
    partitions_of(&*query.source, &request)
}

/// Whether the rows of a physical plan are on workers.
pub(crate) fn is_spread(plan: &Arc<dyn ExecutionPlan>) -> bool {
    if plan.is::<DistributedLeafExec>() {
        return true;
    }
    let passes_on = plan.is::<OperatorExec>() || plan.is::<CoalescePartitionsExec>();
    passes_on && plan.children().first().is_some_and(|input| is_spread(input))
}

/// Whether another operator fits above a plan that is on workers.
pub(crate) fn has_room(plan: &Arc<dyn ExecutionPlan>) -> bool {
    fn depth(plan: &Arc<dyn ExecutionPlan>) -> usize {
        1 + plan.children().first().map_or(0, |input| depth(input))
    }
    // Above may come a pick, its gathering, the pick of the picks, and the head of the part.
    depth(plan) + 4 + SCALAR_DEPTH_MAX < PART_DEPTH_MAX
}

/// All rows in one partition, where they are.
pub(crate) fn together(plan: &Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    match plan.output_partitioning().partition_count() {
        1 => Arc::clone(plan),
        _ => Arc::new(CoalescePartitionsExec::new(Arc::clone(plan))),
    }
}

/// All rows in one partition, here.
pub(crate) fn gather(plan: &Arc<dyn ExecutionPlan>, query: Option<&QueryContext>) -> Result<Arc<dyn ExecutionPlan>> {
    match query {
        Some(query) if is_spread(plan) => cross(plan, query),
        _ => Ok(together(plan)),
    }
}

/// Puts the boundary above a plan.
fn cross(plan: &Arc<dyn ExecutionPlan>, query: &QueryContext) -> Result<Arc<dyn ExecutionPlan>> {
    let shares = shares_below(plan)?;
    let fragment = Arc::new(FragmentExec::new(Arc::clone(plan), Settings::of(query)));
    let boundary = Arc::new(NetworkCoalesceExec::try_new(fragment, shares.len(), 1)?);
    Ok(together(&(Arc::new(ReceiveExec::new(boundary, shares.into())) as Arc<dyn ExecutionPlan>)))
}

/// What each task of a part reads with its leaf, in their order.
pub(super) fn shares_below(plan: &Arc<dyn ExecutionPlan>) -> Result<Vec<Share>> {
    let mut shares = Vec::new();
    plan.apply(|node| {
        let Some(leaf) = node.downcast_ref::<DistributedLeafExec>() else { return Ok(TreeNodeRecursion::Continue) };
        let operators = leaf.variants().iter().filter_map(|variant| variant.downcast_ref::<OperatorExec>());
        shares = operators.filter_map(|leaf| leaf.operator().share.clone()).collect();
        Ok(TreeNodeRecursion::Stop)
    })?;
    if shares.is_empty() {
        Err(internal_datafusion_err!("a part of a plan has no leaf on workers"))
    } else {
        Ok(shares)
    }
}

/// The leaf that a task of a part runs, where that is another for each.
pub(crate) fn leaf_of(plan: &Arc<dyn ExecutionPlan>, task: usize) -> Option<&Arc<dyn ExecutionPlan>> {
    plan.downcast_ref::<DistributedLeafExec>()?.variants().get(task)
}
