//! Aggregations.

use pharos_promql::ast::{Aggregate, AggregateOp, ExprKind};
use pharos_promql::{Expr, Span};

use super::Lowering;
use crate::error::QueryError;
use crate::plan::{AggregateKind, Grouping, KKind, Op, Param, Plan};

impl Lowering<'_> {
    pub(super) fn aggregate(&mut self, aggregate: &Aggregate, span: Span) -> Result<Plan, QueryError> {
        let grouping = Grouping::new(aggregate.without, &aggregate.grouping);
        if aggregate.op == AggregateOp::CountValues {
            return self.count_values(aggregate, grouping, span);
        }
        let mut inputs = vec![self.plan(&aggregate.expr)?];
        if let Some(param) = &aggregate.param {
            inputs.push(self.plan(param)?);
        }
        let kind = |kind| Op::Aggregate { kind, grouping: grouping.clone() };
        let picks = |kind| Op::AggregateK { kind, grouping: grouping.clone(), k: Param::Input(1), whole: span };
        let vector = aggregate.expr.without_parens().span;
        let op = match aggregate.op {
            AggregateOp::Sum => kind(AggregateKind::Sum),
            AggregateOp::Avg => kind(AggregateKind::Avg),
            AggregateOp::Count => kind(AggregateKind::Count),
            AggregateOp::Min => kind(AggregateKind::Min),
            AggregateOp::Max => kind(AggregateKind::Max),
            AggregateOp::Group => kind(AggregateKind::Group),
            AggregateOp::Stddev => kind(AggregateKind::Stddev),
            AggregateOp::Stdvar => kind(AggregateKind::Stdvar),
            AggregateOp::Topk => picks(KKind::Topk),
            AggregateOp::Bottomk => picks(KKind::Bottomk),
            AggregateOp::Limitk => picks(KKind::Limitk),
            AggregateOp::LimitRatio => picks(KKind::LimitRatio),
            AggregateOp::Quantile => Op::Quantile { grouping, phi: Param::Input(1), vector },
            AggregateOp::CountValues => unreachable!("handled above"),
        };
        // Warnings point at the parameter if there is one, and otherwise at the vector.
        let at = aggregate.param.as_ref().map_or(vector, |param| param.without_parens().span);
        Ok(Plan::vector(op, inputs, at))
    }

    fn count_values(&mut self, aggregate: &Aggregate, mut grouping: Grouping, span: Span) -> Result<Plan, QueryError> {
        let label = label_name(aggregate.param.as_deref().expect("count_values has a parameter"))?;
        if !grouping.without {
            grouping.labels.push(label.clone());
            grouping = Grouping::by(&grouping.labels);
        }
        let input = self.plan(&aggregate.expr)?;
        Ok(Plan::vector(Op::CountValues { grouping, label }, vec![input], span))
    }
}

fn label_name(param: &Expr) -> Result<String, QueryError> {
    let ExprKind::String(literal) = &param.without_parens().kind else {
        unreachable!("the parser checked the parameter's type")
    };
    match std::str::from_utf8(&literal.value) {
        Ok(name) if !name.is_empty() => Ok(name.to_owned()),
        _ => Err(QueryError::Execution(format!("invalid label name {}", quote_bytes(&literal.value)))),
    }
}

/// A Go string in double quotes, bytes that are not UTF-8 as `\xff`.
fn quote_bytes(bytes: &[u8]) -> String {
    let mut quoted = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        let text = pharos_model::labels::quote(chunk.valid());
        quoted.push_str(&text[1..text.len() - 1]);
        for byte in chunk.invalid() {
            quoted.push_str(&format!("\\x{byte:02x}"));
        }
    }
    quoted.push('"');
    quoted
}
