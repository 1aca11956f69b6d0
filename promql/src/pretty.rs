//! Expressions over several lines, as the query API's `format_query` lays them out: what fits into a line stays in
//! one, what does not is split at its operator, parentheses or arguments and indented.

use std::fmt::{self, Display, Write};

use crate::ast::{Aggregate, Binary, Call, Expr, ExprKind, Subquery, Unary};
use crate::printer::{Head, Left, Operator, Suffix};

/// Longest text that is left in one line, without its indentation, in bytes.
const LINE_BYTES_MAX: usize = 100;
const INDENT: &str = "  ";

impl Expr {
    /// The expression laid out over lines.
    pub fn pretty(&self) -> String {
        let mut layout = Layout { out: String::new() };
        layout.expr(self, 0);
        layout.out
    }
}

/// Writes lines into one text. A function for each kind of node keeps the frames of the recursion small.
struct Layout {
    out: String,
}

impl Layout {
    fn indent(&mut self, level: usize) {
        self.out.extend(std::iter::repeat_n(INDENT, level));
    }

    /// One expression, indented unless its parent goes on in the same line (level 0).
    fn expr(&mut self, expr: &Expr, level: usize) {
        match &expr.kind {
            ExprKind::Unary(unary) => self.unary(unary, level),
            // Prometheus does not indent it either.
            ExprKind::Subquery(_) if fits(expr) => self.plain(expr, 0),
            _ if fits(expr) => self.plain(expr, level),
            ExprKind::Aggregate(aggregate) => self.aggregate(aggregate, level),
            ExprKind::Binary(binary) => self.binary(binary, level),
            ExprKind::Call(call) => self.call(call, level),
            ExprKind::Paren(inner) => self.enclosed("(", &[inner], level),
            ExprKind::Subquery(subquery) => self.subquery(subquery, level),
            _ => self.plain(expr, level),
        }
    }

    fn plain(&mut self, text: impl Display, level: usize) {
        self.indent(level);
        self.write(text);
    }

    fn write(&mut self, text: impl Display) {
        write!(self.out, "{text}").expect("a string takes all text");
    }

    /// Parts on lines of their own between `open` and a closing parenthesis.
    fn enclosed(&mut self, open: impl Display, parts: &[&Expr], level: usize) {
        self.plain(open, level);
        for (i, part) in parts.iter().enumerate() {
            self.out.push_str(if i == 0 { "\n" } else { ",\n" });
            self.expr(part, level + 1);
        }
        self.out.push('\n');
        self.plain(")", level);
    }

    fn aggregate(&mut self, aggregate: &Aggregate, level: usize) {
        let parts: Vec<&Expr> = aggregate.param.as_deref().into_iter().chain([&*aggregate.expr]).collect();
        self.enclosed(format_args!("{}(", Head(aggregate)), &parts, level);
    }

    fn call(&mut self, call: &Call, level: usize) {
        let parts: Vec<&Expr> = call.args.iter().collect();
        self.enclosed(format_args!("{}(", call.function.name), &parts, level);
    }

    fn binary(&mut self, binary: &Binary, level: usize) {
        match binary.lhs.kind {
            ExprKind::Number(_) => self.plain(Left(binary), level + 1),
            _ => self.expr(&binary.lhs, level + 1),
        }
        self.out.push('\n');
        self.plain(Operator(binary), level);
        self.out.push('\n');
        self.expr(&binary.rhs, level + 1);
    }

    fn subquery(&mut self, subquery: &Subquery, level: usize) {
        self.expr(&subquery.expr, level);
        self.write(Suffix(subquery));
    }

    /// The sign goes between the indentation and the text of the operand.
    fn unary(&mut self, unary: &Unary, level: usize) {
        let begin = self.out.len();
        self.expr(&unary.expr, level);
        let operand = self.out.split_off(begin);
        self.plain(unary.op.as_str(), level);
        self.out.push_str(operand.trim());
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
