//! Types and other rules that the grammar does not say, checked over a whole tree.
//!
//! Also settles what depends on types: only operators between two vectors keep their matching, set operators match many to
//! many, and the second argument of `info()` may select everything.

use pharos_model::labels::{METRIC_NAME, quote};

use crate::ast::{Aggregate, AggregateOp, Binary, Call, Cardinality, Expr, ExprKind, ValueType, VectorSelector};
use crate::error::{ParseError, ParseErrors};
use crate::functions::{Arity, FunctionId};
use crate::span::Span;

/// Checks an expression; all complaints come together.
pub(crate) fn check(mut expr: Expr, input: &str) -> Result<Expr, ParseErrors> {
    let mut checker = Checker { input, errors: Vec::new() };
    checker.expr(&mut expr);
    if checker.errors.is_empty() { Ok(expr) } else { Err(ParseErrors(checker.errors)) }
}

struct Checker<'a> {
    input: &'a str,
    errors: Vec<ParseError>,
}

impl Checker<'_> {
    fn error(&mut self, span: Span, message: impl Into<String>) {
        self.errors.push(ParseError { span, position: span.position(self.input), message: message.into() });
    }

    fn expr(&mut self, expr: &mut Expr) -> ValueType {
        let span = expr.span;
        match &mut expr.kind {
            ExprKind::Number(_) | ExprKind::String(_) => {}
            ExprKind::Vector(selector) => self.selector(span, selector),
            ExprKind::Matrix(matrix) => self.selector(span, &matrix.selector),
            ExprKind::Subquery(subquery) => {
                let inner = self.expr(&mut subquery.expr);
                if inner != ValueType::Vector {
                    let inner = inner.as_str();
                    self.error(span, format!("subquery is only allowed on instant vector, got {inner} instead"));
                }
            }
            ExprKind::Call(call) => self.call(span, call),
            ExprKind::Aggregate(aggregate) => self.aggregate(aggregate),
            ExprKind::Binary(binary) => self.binary(span, binary),
            ExprKind::Unary(unary) => {
                let inner = self.expr(&mut unary.expr);
                if !matches!(inner, ValueType::Scalar | ValueType::Vector) {
                    let inner = quote(inner.documented());
                    self.error(
                        span,
                        format!(
                            "unary expression only allowed on expressions of type scalar or instant vector, got {inner}"
                        ),
                    );
                }
            }
            ExprKind::Paren(inner) => {
                self.expr(inner);
            }
        }
        expr.value_type()
    }

    fn expect(&mut self, expr: &mut Expr, wanted: ValueType, context: &str) {
        let got = self.expr(expr);
        if got != wanted {
            let (wanted, got) = (wanted.documented(), got.documented());
            self.error(expr.span, format!("expected type {wanted} in {context}, got {got}"));
        }
    }

    fn aggregate(&mut self, aggregate: &mut Aggregate) {
        self.expect(&mut aggregate.expr, ValueType::Vector, "aggregation expression");
        if let Some(param) = &mut aggregate.param {
            let wanted = if aggregate.op == AggregateOp::CountValues { ValueType::String } else { ValueType::Scalar };
            self.expect(param, wanted, "aggregation parameter");
        }
    }

    fn call(&mut self, span: Span, call: &mut Call) {
        let (function, given) = (call.function, call.args.len());
        let (name, listed) = (quote(function.name), function.args.len());
        match function.arity {
            Arity::Exact if given != listed => {
                self.error(span, format!("expected {listed} argument(s) in call to {name}, got {given}"));
            }
            Arity::Optional(_) | Arity::Unbounded if given + 1 < listed => {
                let least = listed - 1;
                self.error(span, format!("expected at least {least} argument(s) in call to {name}, got {given}"));
            }
            Arity::Optional(more) if given + 1 > listed + more => {
                let most = listed - 1 + more;
                self.error(span, format!("expected at most {most} argument(s) in call to {name}, got {given}"));
            }
            _ => {}
        }
        if function.id == FunctionId::Info {
            self.info_selector(span, call);
        }
        for (i, arg) in call.args.iter_mut().enumerate() {
            let wanted = match (function.args.get(i), function.arity) {
                (Some(wanted), _) => *wanted,
                // There are too many, which was said above.
                (None, Arity::Exact) => break,
                (None, _) => function.args[listed - 1],
            };
            self.expect(arg, wanted, &format!("call to function {name}"));
        }
    }

    /// The second argument of `info()` says which labels to add, and selects no metric of its own.
    fn info_selector(&mut self, span: Span, call: &mut Call) {
        let Some(arg) = call.args.get_mut(1) else {
            return;
        };
        let got = arg.value_type();
        if got != ValueType::Vector {
            let (wanted, got) = (ValueType::Vector.documented(), got.documented());
            self.error(span, format!("expected type {wanted} in call to function \"info\", got {got}"));
        }
        match &mut arg.kind {
            ExprKind::Vector(selector) if selector.name.is_some() => {
                self.error(arg.span, "expected label selectors only, got vector selector instead");
            }
            ExprKind::Vector(selector) => selector.bypass_empty_matcher_check = true,
            _ => self.error(arg.span, "expected label selectors only"),
        }
    }

    fn selector(&mut self, span: Span, selector: &VectorSelector) {
        if let Some(name) = &selector.name {
            // The last matcher is that of the name itself.
            let written = &selector.matchers[..selector.matchers.len() - 1];
            for matcher in written.iter().filter(|matcher| matcher.name == METRIC_NAME) {
                let (name, other) = (quote(name), quote(&matcher.value));
                self.error(span, format!("metric name must not be set twice: {name} or {other}"));
            }
        } else if !selector.bypass_empty_matcher_check
            && selector.matchers.iter().all(|matcher| matcher.matches_empty())
        {
            self.error(span, "vector selector must contain at least one non-empty matcher");
        }
    }

    fn binary(&mut self, span: Span, binary: &mut Binary) {
        let (lhs, rhs) = (self.expr(&mut binary.lhs), self.expr(&mut binary.rhs));
        let op = binary.op;
        let operator_span = self.operator_span(binary);
        let matching = binary.matching.as_mut().expect("the parser gives every operator a matching");
        if binary.return_bool && !op.is_comparison() {
            self.error(operator_span, "bool modifier can only be used on comparison operators");
        }
        let both_scalar = lhs == ValueType::Scalar && rhs == ValueType::Scalar;
        if op.is_comparison() && !binary.return_bool && both_scalar {
            self.error(operator_span, "comparisons between scalars must use BOOL modifier");
        }
        if op.is_set() && matching.card == Cardinality::OneToOne {
            matching.card = Cardinality::ManyToMany;
        }
        if matching.on {
            for label in matching.labels.iter().flat_map(|l| matching.include.iter().filter(move |i| *i == l)) {
                let label = quote(label);
                self.error(operator_span, format!("label {label} must not occur in ON and GROUP clause at once"));
            }
        }
        for (side, got) in [(&binary.lhs, lhs), (&binary.rhs, rhs)] {
            if !matches!(got, ValueType::Scalar | ValueType::Vector) {
                self.error(side.span, "binary expression must contain only scalar and instant vector types");
            }
        }
        let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
        let quoted = quote(op.as_str());
        if lhs != ValueType::Vector || rhs != ValueType::Vector {
            if !matching.labels.is_empty() {
                self.error(span, "vector matching only allowed between instant vectors");
            }
            if fills {
                self.error(span, "filling in missing series only allowed between instant vectors");
            }
            binary.matching = None;
        } else if op.is_set() {
            if matching.card != Cardinality::ManyToMany {
                self.error(span, format!("no grouping allowed for {quoted} operation"));
                self.error(span, "set operations must always be many-to-many");
            }
            if fills {
                self.error(span, "filling in missing series not allowed for set operators");
            }
        }
        if op.is_set() && (lhs == ValueType::Scalar || rhs == ValueType::Scalar) {
            self.error(span, format!("set operator {quoted} not allowed in binary scalar expression"));
        }
    }

    /// What stands between the two sides, without the space around it.
    fn operator_span(&self, binary: &Binary) -> Span {
        let (start, end) = (binary.lhs.span.end as usize, binary.rhs.span.start as usize);
        let between = self.input.get(start..end).unwrap_or_default();
        let trimmed = between.trim_matches([' ', '\t', '\n', '\r']);
        let lead = between.len() - between.trim_start_matches([' ', '\t', '\n', '\r']).len();
        Span::new(start + lead, start + lead + trimmed.len())
    }
}
