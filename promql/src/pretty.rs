//! Expressions over several lines, as the query API's `format_query` lays them out: what fits into a line stays in
//! one, what does not is split at its operator, parentheses or arguments and indented.

use std::fmt::{self, Write};

use crate::ast::{Expr, ExprKind};
use crate::printer::{Head, Operator, Suffix};

/// Longest text that is left in one line, without its indentation, in bytes.
const LINE_BYTES_MAX: usize = 100;
const INDENT: &str = "  ";

impl Expr {
    /// The expression laid out over lines.
    pub fn pretty(&self) -> String {
        pretty(self, 0)
    }
}

/// One expression, indented unless its parent goes on in the same line (level 0).
fn pretty(expr: &Expr, level: usize) -> String {
    let indent = INDENT.repeat(level);
    let split = !fits(expr);
    match &expr.kind {
        ExprKind::Aggregate(aggregate) if split => {
            let param = match &aggregate.param {
                Some(param) => format!("{},\n", pretty(param, level + 1)),
                None => String::new(),
            };
            let operand = pretty(&aggregate.expr, level + 1);
            format!("{indent}{}(\n{param}{operand}\n{indent})", Head(aggregate))
        }
        ExprKind::Binary(binary) if split => {
            let (lhs, rhs) = (pretty(&binary.lhs, level + 1), pretty(&binary.rhs, level + 1));
            format!("{lhs}\n{indent}{}\n{rhs}", Operator(binary))
        }
        ExprKind::Call(call) if split => {
            let args: Vec<String> = call.args.iter().map(|arg| pretty(arg, level + 1)).collect();
            format!("{indent}{}(\n{}\n{indent})", call.function.name, args.join(",\n"))
        }
        ExprKind::Paren(inner) if split => format!("{indent}(\n{}\n{indent})", pretty(inner, level + 1)),
        ExprKind::Subquery(subquery) if split => format!("{}{}", pretty(&subquery.expr, level), Suffix(subquery)),
        // Prometheus does not indent it either.
        ExprKind::Subquery(_) => expr.to_string(),
        ExprKind::Unary(unary) => format!("{indent}{}{}", unary.op.as_str(), pretty(&unary.expr, level).trim()),
        _ => format!("{indent}{expr}"),
    }
}

/// Whether the text of an expression is short enough for one line. Prints no more of it than that takes.
fn fits(expr: &Expr) -> bool {
    struct Line {
        left: usize,
    }
    impl Write for Line {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.left = self.left.checked_sub(text.len()).ok_or(fmt::Error)?;
            Ok(())
        }
    }
    write!(Line { left: LINE_BYTES_MAX }, "{expr}").is_ok()
}
