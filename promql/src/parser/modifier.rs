//! What is written behind a selector: `[range]`, `[range:step]`, `offset`, `@`, `anchored` and `smoothed`.

use super::{Context, Parse, Parser, Tree};
use crate::ast::{AtModifier, Expr, ExprKind, MatrixSelector, Subquery};
use crate::duration::DurationValue;
use crate::span::Span;
use crate::token::{Preprocessor, TokenKind};

const BRACKETS: Context = Context::new("subquery or range selector", "number, duration, step(), or range()");
const BEHIND_RANGE: Context = Context::new("subquery or range", "\":\" or \"]\"");
const STEP: Context = Context::new("subquery selector", "number, duration, step(), range(), or \"]\"");
const BEHIND_STEP: Context = Context::new("subquery selector", "\"]\"");
const OFFSET: Context = Context::new("offset", "number, duration, step(), or range()");
const AT: Context = Context::new("@", "timestamp");
const SELECTOR_NEEDED: &str =
    "modifier must be preceded by an instant vector selector or range vector selector or a subquery";

impl Parser<'_> {
    /// `[range]` or `[range:step]` behind `tree`.
    pub(super) fn brackets(&mut self, tree: Tree) -> Parse<Tree> {
        let open = self.take()?;
        let range = self.within(BRACKETS, Self::positive_duration)?;
        if self.take_if(TokenKind::Colon)?.is_some() {
            return self.subquery(tree, range);
        }
        let close = self.expect_in(TokenKind::RightBracket, BEHIND_RANGE)?;
        let span = Span { end: close.span().end, ..tree.expr.span };
        let brackets = open.span().to(close.span());
        let ExprKind::Vector(selector) = tree.expr.kind else {
            self.error(brackets, "ranges only allowed for vector selectors");
            return Ok(self.placeholder(span));
        };
        if selector.offset != DurationValue::ZERO {
            self.error(brackets, "no offset modifiers allowed before range");
        } else if selector.at.is_some() {
            self.error(brackets, "no @ modifiers allowed before range");
        }
        self.tree(span, ExprKind::Matrix(MatrixSelector { selector, range }), 0)
    }

    fn subquery(&mut self, tree: Tree, range: DurationValue) -> Parse<Tree> {
        let step = match self.peek_kind()? {
            TokenKind::RightBracket => None,
            _ => Some(self.within(STEP, Self::positive_duration)?),
        };
        let close = self.expect_in(TokenKind::RightBracket, if step.is_some() { BEHIND_STEP } else { STEP })?;
        let span = Span { end: close.span().end, ..tree.expr.span };
        let subquery = Subquery { expr: tree.expr, range, step, offset: DurationValue::ZERO, at: None };
        self.tree(span, ExprKind::Subquery(subquery), tree.depth)
    }

    /// The duration behind `offset`, which is taken.
    pub(super) fn offset(&mut self, expr: &mut Expr) -> Parse<()> {
        let value = self.within(OFFSET, Self::offset_duration)?;
        let span = expr.span;
        let Some((offset, _)) = time_shift(expr) else {
            self.error(span, format!("offset {SELECTOR_NEEDED}"));
            return Ok(());
        };
        if *offset == DurationValue::ZERO {
            *offset = value;
        } else {
            self.error(span, "offset may not be set multiple times");
        }
        expr.span = Span::new(span.start as usize, self.last_closing);
        Ok(())
    }

    /// The time behind `@`, which is taken.
    pub(super) fn at_modifier(&mut self, expr: &mut Expr) -> Parse<()> {
        let at = self.within(AT, Self::at_time)?;
        let span = expr.span;
        let at = match at {
            // As Prometheus, which goes on to complain about the rest.
            Err(seconds) => {
                self.error(span, format!("timestamp out of bounds for @ modifier: {}", fixed_point(seconds)));
                AtModifier::Timestamp(0)
            }
            Ok(at) => at,
        };
        let Some((_, slot)) = time_shift(expr) else {
            self.error(span, format!("@ {SELECTOR_NEEDED}"));
            return Ok(());
        };
        if slot.is_some() {
            self.error(span, "@ <timestamp> may not be set multiple times");
            return Ok(());
        }
        *slot = Some(at);
        expr.span = Span::new(span.start as usize, self.last_closing);
        Ok(())
    }

    /// A time in seconds, `start()` or `end()`. The inner error is a time out of range.
    fn at_time(&mut self) -> Parse<Result<AtModifier, f64>> {
        let at = match self.peek_kind()? {
            TokenKind::Preprocessor(Preprocessor::Start) => AtModifier::Start,
            TokenKind::Preprocessor(Preprocessor::End) => AtModifier::End,
            _ => {
                let seconds = self.signed_number()?;
                let in_range = seconds > i64::MIN as f64 && seconds < i64::MAX as f64;
                // Milliseconds beyond 64 bits wrap to the smallest time, as Go's conversion does on common machines.
                let ms = (seconds * 1000.0).round();
                let ms = if ms.abs() < i64::MAX as f64 { ms as i64 } else { i64::MIN };
                return Ok(if in_range { Ok(AtModifier::Timestamp(ms)) } else { Err(seconds) });
            }
        };
        self.take()?;
        self.expect(TokenKind::LeftParen)?;
        self.expect(TokenKind::RightParen)?;
        Ok(Ok(at))
    }

    /// `anchored` or `smoothed` behind `expr`.
    pub(super) fn extend(&mut self, expr: &mut Expr, anchored: bool) {
        let (span, name) = (expr.span, if anchored { "anchored" } else { "smoothed" });
        if !self.options.extended_range_selectors {
            self.error(span, format!("{name} modifier is experimental and not enabled"));
            return;
        }
        if matches!(expr.kind, ExprKind::Subquery(_)) {
            self.error(span, format!("{name} modifier is not supported for subqueries"));
            return;
        }
        let Some(selector) = expr.selector_mut() else {
            self.error(span, format!("{name} modifier not implemented"));
            return;
        };
        if anchored {
            selector.anchored = true;
        } else {
            selector.smoothed = true;
        }
        if selector.anchored && selector.smoothed {
            self.error(span, "anchored and smoothed modifiers cannot be used together");
        }
    }
}

/// The offset and `@` of an expression that can have them.
fn time_shift(expr: &mut Expr) -> Option<(&mut DurationValue, &mut Option<AtModifier>)> {
    match &mut expr.kind {
        ExprKind::Vector(selector) => Some((&mut selector.offset, &mut selector.at)),
        ExprKind::Matrix(matrix) => Some((&mut matrix.selector.offset, &mut matrix.selector.at)),
        ExprKind::Subquery(subquery) => Some((&mut subquery.offset, &mut subquery.at)),
        _ => None,
    }
}

/// Go's `%f`.
fn fixed_point(value: f64) -> String {
    if value.is_finite() { format!("{value:.6}") } else { pharos_model::number::format_f(value) }
}
