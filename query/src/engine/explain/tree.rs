//! The tree that is shown of a physical plan, and what is read in it.
//!
//! Parts that run on workers are there once, with the figures of each worker beside those of all. Every function here goes through
//! the plan in the same order: a node before its inputs, and of a part on workers one worker after the other.

use std::collections::VecDeque;
use std::sync::Arc;

use datafusion::physical_plan::ExecutionPlan;
use pharos_model::TenantId;

use super::{Explained, OnWorker};
use crate::distributed::boundary::leaf_of;
use crate::distributed::{ReceiveExec, Share};
use crate::exec::node::{OperatorExec, Stage};
use crate::exec::{Measured, OperatorFigures, measured, request_of};
use crate::plan::{Figures, Op};
use crate::source::SelectRequest;

/// What a scan reads.
pub(super) struct Read {
    pub request: SelectRequest,
    /// By whom, when not by the node that is asked.
    pub share: Option<Share>,
}

/// Where a part of a plan runs.
#[derive(Clone, Copy)]
enum Place {
    Here,
    /// As this task of its stage.
    Task(usize),
}

/// What is known of a node below which the plan goes on.
enum Node<'a> {
    Operator(&'a OperatorExec),
    /// What comes from workers.
    Received(&'a ReceiveExec),
    /// Brings rows together, or somewhere, and changes nothing.
    Passing(&'a Arc<dyn ExecutionPlan>),
}

impl<'a> Node<'a> {
    fn of(plan: &'a Arc<dyn ExecutionPlan>, place: Place) -> Self {
        if let Some(operator) = plan.downcast_ref::<OperatorExec>() {
            return Self::Operator(operator);
        }
        if let Some(received) = plan.downcast_ref::<ReceiveExec>() {
            return Self::Received(received);
        }
        if let Place::Task(task) = place
            && let Some(leaf) = leaf_of(plan, task)
        {
            return Self::Passing(leaf);
        }
        Self::Passing(plan.children()[0])
    }
}

/// Every scan below a node, itself first.
pub(super) fn reads(plan: &Arc<dyn ExecutionPlan>, tenant: &TenantId) -> Vec<Read> {
    let mut found = Vec::new();
    collect_reads(plan, Place::Here, tenant, &mut found);
    found
}

fn collect_reads(plan: &Arc<dyn ExecutionPlan>, place: Place, tenant: &TenantId, found: &mut Vec<Read>) {
    match Node::of(plan, place) {
        Node::Operator(node) => {
            let operator = node.operator();
            if let Op::Scan(scan) = node.op() {
                found.push(Read { request: request_of(scan, &operator.grid, tenant), share: operator.share.clone() });
            }
            node.children().into_iter().for_each(|child| collect_reads(child, place, tenant, found));
        }
        Node::Received(received) => received.working().into_iter().for_each(|(task, _)| {
            collect_reads(received.children()[0], Place::Task(task), tenant, found);
        }),
        Node::Passing(below) => collect_reads(below, place, tenant, found),
    }
}

/// Makes the tree.
pub(super) struct Tree {
    /// Of [`reads`], in their order.
    pub estimates: VecDeque<Figures>,
    /// Whether the plan was run.
    pub analyze: bool,
}

impl Tree {
    pub(super) fn of(mut self, plan: &Arc<dyn ExecutionPlan>) -> Explained {
        self.explained(plan, Place::Here, &mut VecDeque::new())
    }

    /// `given` is what the operators of a task gave.
    fn explained(
        &mut self,
        plan: &Arc<dyn ExecutionPlan>,
        place: Place,
        given: &mut VecDeque<OperatorFigures>,
    ) -> Explained {
        match Node::of(plan, place) {
            Node::Operator(node) => {
                let figures = match place {
                    Place::Here => node.metrics().map(|metrics| measured(&metrics)).unwrap_or_default(),
                    Place::Task(_) => given.pop_front().unwrap_or_default(),
                };
                self.operator(node, figures, |tree, child| tree.explained(child, place, given))
            }
            Node::Received(received) => {
                let of_task = |(task, share): (usize, Share)| {
                    let mut given = received.figures(task).into();
                    let part = self.explained(received.children()[0], Place::Task(task), &mut given);
                    (share, part)
                };
                merged(received.working().into_iter().map(of_task).collect())
            }
            Node::Passing(below) => self.explained(below, place, given),
        }
    }

    fn operator(
        &mut self,
        node: &OperatorExec,
        figures: OperatorFigures,
        mut explained: impl FnMut(&mut Self, &Arc<dyn ExecutionPlan>) -> Explained,
    ) -> Explained {
        let mut children = Vec::new();
        if matches!(node.op(), Op::Scan(_)) {
            let estimated = self.estimates.pop_front().expect("there is an estimate for each scan");
            children.push(reading(estimated, self.analyze.then_some(figures.read)));
        }
        children.extend(node.children().into_iter().map(|child| explained(self, child)));
        let partitions = node.operator().partitions;
        let inputs: Vec<Figures> = children.iter().map(|child| child.estimated).collect();
        Explained {
            operator: node.op().name(),
            detail: detail(node),
            estimated: node.op().estimate(&inputs, node.operator().grid.n, partitions),
            measured: self.analyze.then_some(figures.given),
            workers: Vec::new(),
            children,
        }
    }
}

/// One tree of those of several workers, which are of one shape.
fn merged(parts: Vec<(Share, Explained)>) -> Explained {
    let mut merged = Explained::default();
    let mut below: Vec<Vec<(Share, Explained)>> = Vec::new();
    for (share, part) in parts {
        let Explained { operator, detail, estimated, measured, children, .. } = part;
        below.resize_with(children.len(), Vec::new);
        below.iter_mut().zip(children).for_each(|(list, child)| list.push((share.clone(), child)));
        merged.estimated = merged.estimated.plus(estimated);
        merged.measured = match (merged.measured, measured) {
            (Some(all), Some(more)) => Some(all.plus(more)),
            (all, more) => all.or(more),
        };
        (merged.operator, merged.detail) = (operator, detail);
        merged.workers.push(OnWorker { worker: share.worker, estimated, measured });
    }
    merged.children = below.into_iter().map(self::merged).collect();
    merged
}

fn detail(node: &OperatorExec) -> String {
    let stage = match node.operator().stage {
        Stage::Whole => "",
        Stage::Partial => "in each partition",
        Stage::Combine => "of some partitions",
        Stage::Final => "of all partitions",
    };
    let detail = node.op().detail();
    [detail.as_str(), stage].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

fn reading(estimated: Figures, measured: Option<Measured>) -> Explained {
    Explained { operator: "Read", detail: "storage".into(), estimated, measured, ..Explained::default() }
}
