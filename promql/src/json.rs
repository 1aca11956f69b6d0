//! Expressions as the JSON tree that the query API's `parse_query` answers and user interfaces draw.

use pharos_model::{Matcher, number};
use serde_json::{Value, json};

use crate::ast::{AtModifier, Expr, ExprKind, VectorMatching, VectorSelector};
use crate::duration::DurationValue;
use crate::functions::{Arity, Function};

impl Expr {
    /// The tree as JSON. Durations are milliseconds; those that depend on the query's times are 0.
    pub fn to_json(&self) -> Value {
        match &self.kind {
            ExprKind::Number(literal) => json!({"type": "numberLiteral", "val": number::format_f(literal.value)}),
            ExprKind::String(literal) => json!({"type": "stringLiteral", "val": literal.text()}),
            ExprKind::Vector(selector) => selector_json("vectorSelector", selector),
            ExprKind::Matrix(matrix) => {
                let mut json = selector_json("matrixSelector", &matrix.selector);
                json["range"] = duration_json(&matrix.range);
                json
            }
            ExprKind::Subquery(subquery) => json!({
                "type": "subquery",
                "expr": subquery.expr.to_json(),
                "range": duration_json(&subquery.range),
                "offset": duration_json(&subquery.offset),
                "step": subquery.step.as_ref().map_or(json!(0), duration_json),
                "timestamp": timestamp_json(subquery.at),
                "startOrEnd": start_or_end_json(subquery.at),
            }),
            ExprKind::Call(call) => json!({
                "type": "call",
                "func": function_json(call.function),
                "args": call.args.iter().map(Self::to_json).collect::<Vec<_>>(),
            }),
            ExprKind::Aggregate(aggregate) => json!({
                "type": "aggregation",
                "op": aggregate.op.as_str(),
                "expr": aggregate.expr.to_json(),
                "param": aggregate.param.as_ref().map(|param| param.to_json()),
                "grouping": aggregate.grouping,
                "without": aggregate.without,
            }),
            ExprKind::Binary(binary) => json!({
                "type": "binaryExpr",
                "op": binary.op.as_str(),
                "lhs": binary.lhs.to_json(),
                "rhs": binary.rhs.to_json(),
                "matching": binary.matching.as_ref().map(matching_json),
                "bool": binary.return_bool,
            }),
            ExprKind::Unary(unary) => {
                json!({"type": "unaryExpr", "op": unary.op.as_str(), "expr": unary.expr.to_json()})
            }
            ExprKind::Paren(inner) => json!({"type": "parenExpr", "expr": inner.to_json()}),
        }
    }
}

fn selector_json(kind: &str, selector: &VectorSelector) -> Value {
    json!({
        "type": kind,
        "name": selector.name.as_deref().unwrap_or_default(),
        "offset": duration_json(&selector.offset),
        "matchers": selector.matchers.iter().map(matcher_json).collect::<Vec<_>>(),
        "timestamp": timestamp_json(selector.at),
        "startOrEnd": start_or_end_json(selector.at),
        "anchored": selector.anchored,
        "smoothed": selector.smoothed,
    })
}

fn matcher_json(matcher: &Matcher) -> Value {
    json!({"name": matcher.name, "value": matcher.value, "type": matcher.op.as_str()})
}

fn matching_json(matching: &VectorMatching) -> Value {
    json!({
        "card": matching.card.as_str(),
        "labels": matching.labels,
        "on": matching.on,
        "include": matching.include,
        "fillValues": {"lhs": matching.fill_left, "rhs": matching.fill_right},
    })
}

fn function_json(function: &Function) -> Value {
    json!({
        "name": function.name,
        "argTypes": function.args.iter().map(|arg| arg.as_str()).collect::<Vec<_>>(),
        "variadic": match function.arity {
            Arity::Exact => 0,
            Arity::Optional(more) => i64::try_from(more).unwrap_or(i64::MAX),
            Arity::Unbounded => -1,
        },
        "returnType": function.returns.as_str(),
    })
}

fn duration_json(value: &DurationValue) -> Value {
    match value {
        DurationValue::Ms(ms) => json!(ms),
        DurationValue::Expr(_) => json!(0),
    }
}

fn timestamp_json(at: Option<AtModifier>) -> Value {
    match at {
        Some(AtModifier::Timestamp(ms)) => json!(ms),
        Some(AtModifier::Start | AtModifier::End) | None => Value::Null,
    }
}

fn start_or_end_json(at: Option<AtModifier>) -> Value {
    match at {
        Some(AtModifier::Start) => json!("start"),
        Some(AtModifier::End) => json!("end"),
        Some(AtModifier::Timestamp(_)) | None => Value::Null,
    }
}
