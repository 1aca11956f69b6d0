//! Expressions as the JSON tree that the query API's `parse_query` answers and user interfaces draw.

use pharos_model::{Matcher, number};
use serde_json::{Value, json};

use crate::ast::{
    Aggregate, AtModifier, Binary, Call, Expr, ExprKind, MatrixSelector, NumberLiteral, Subquery, Unary,
    VectorMatching, VectorSelector,
};
use crate::duration::DurationValue;
use crate::functions::{Arity, Function};

impl Expr {
    /// The tree as JSON. Durations are milliseconds; those that depend on the query's times are 0.
    pub fn to_json(&self) -> Value {
        // A function for each kind keeps the frame of this recursion small.
        match &self.kind {
            ExprKind::Number(literal) => number_json(literal),
            ExprKind::String(literal) => json!({"type": "stringLiteral", "val": literal.text()}),
            ExprKind::Vector(selector) => selector_json("vectorSelector", selector),
            ExprKind::Matrix(matrix) => matrix_json(matrix),
            ExprKind::Subquery(subquery) => subquery_json(subquery),
            ExprKind::Call(call) => call_json(call),
            ExprKind::Aggregate(aggregate) => aggregate_json(aggregate),
            ExprKind::Binary(binary) => binary_json(binary),
            ExprKind::Unary(unary) => unary_json(unary),
            ExprKind::Paren(inner) => object("parenExpr", [("expr", inner.to_json())]),
        }
    }
}

/// An object of a type with further fields.
fn object<const N: usize>(kind: &str, fields: [(&str, Value); N]) -> Value {
    let kind = std::iter::once(("type".to_owned(), Value::from(kind)));
    Value::Object(kind.chain(fields.map(|(name, value)| (name.to_owned(), value))).collect())
}

fn number_json(literal: &NumberLiteral) -> Value {
    object("numberLiteral", [("val", number::format_f(literal.value).into())])
}

fn matrix_json(matrix: &MatrixSelector) -> Value {
    let mut json = selector_json("matrixSelector", &matrix.selector);
    json["range"] = duration_json(&matrix.range);
    json
}

fn subquery_json(subquery: &Subquery) -> Value {
    let fields = [
        ("expr", subquery.expr.to_json()),
        ("range", duration_json(&subquery.range)),
        ("offset", duration_json(&subquery.offset)),
        ("step", subquery.step.as_ref().map_or(json!(0), duration_json)),
        ("timestamp", timestamp_json(subquery.at)),
        ("startOrEnd", start_or_end_json(subquery.at)),
    ];
    object("subquery", fields)
}

fn call_json(call: &Call) -> Value {
    let args: Vec<Value> = call.args.iter().map(Expr::to_json).collect();
    object("call", [("func", function_json(call.function)), ("args", args.into())])
}

fn aggregate_json(aggregate: &Aggregate) -> Value {
    let fields = [
        ("op", aggregate.op.as_str().into()),
        ("expr", aggregate.expr.to_json()),
        ("param", aggregate.param.as_ref().map_or(Value::Null, |param| param.to_json())),
        ("grouping", aggregate.grouping.clone().into()),
        ("without", aggregate.without.into()),
    ];
    object("aggregation", fields)
}

fn binary_json(binary: &Binary) -> Value {
    let fields = [
        ("op", binary.op.as_str().into()),
        ("lhs", binary.lhs.to_json()),
        ("rhs", binary.rhs.to_json()),
        ("matching", binary.matching.as_ref().map_or(Value::Null, matching_json)),
        ("bool", binary.return_bool.into()),
    ];
    object("binaryExpr", fields)
}

fn unary_json(unary: &Unary) -> Value {
    object("unaryExpr", [("op", unary.op.as_str().into()), ("expr", unary.expr.to_json())])
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
