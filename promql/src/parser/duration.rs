//! Numbers, durations, and arithmetic on durations in brackets and behind `offset`.
//!
//! Behind `offset` a number, `step()` and its kind end the duration, so that `x offset 5m * 2` multiplies `x`; only
//! what begins with a parenthesis goes on.

use super::expr::Precedence;
use super::{Parse, Parser};
use crate::DEPTH_MAX;
use crate::ast::{BinaryOp, NumberLiteral};
use crate::duration::{DurationExpr, DurationExprKind, DurationOp, DurationValue};
use crate::literal;
use crate::span::Span;
use crate::token::{Preprocessor, TokenKind};

/// Most seconds of a duration: 2^63 nanoseconds.
const SECONDS_MAX: f64 = 9_223_372_036_854_775_808.0 / 1e9;

/// A duration and the number of nodes on its longest path.
struct Duration {
    expr: DurationExpr,
    depth: usize,
}

/// A plus or minus, and where.
#[derive(Clone, Copy)]
struct Sign {
    span: Span,
    negative: bool,
}

impl Parser<'_> {
    /// A number, or a duration in seconds.
    pub(super) fn number_literal(&mut self) -> Parse<(Span, NumberLiteral)> {
        let token = match self.peek_kind()? {
            TokenKind::Number | TokenKind::Duration => self.take()?,
            _ => return self.unexpected(),
        };
        let is_duration = token.kind == TokenKind::Duration;
        let value = if is_duration {
            pharos_model::duration::parse_ms(token.text).map(seconds_of_ms).map_err(|error| error.to_string())
        } else {
            literal::parse_number(token.text).map_err(|error| format!("error parsing number: {error}"))
        };
        let value = value.unwrap_or_else(|message| {
            self.error(token.span(), message);
            0.0
        });
        Ok((token.span(), NumberLiteral { value, is_duration }))
    }

    /// A number or duration with or without a sign.
    pub(super) fn signed_number(&mut self) -> Parse<f64> {
        let sign = self.take_sign()?;
        let (_, number) = self.number_literal()?;
        Ok(if sign.is_some_and(|sign| sign.negative) { number.negated().value } else { number.value })
    }

    fn take_sign(&mut self) -> Parse<Option<Sign>> {
        let negative = match self.peek_kind()? {
            TokenKind::Operator(BinaryOp::Add) => false,
            TokenKind::Operator(BinaryOp::Sub) => true,
            _ => return Ok(None),
        };
        Ok(Some(Sign { span: self.take()?.span(), negative }))
    }

    /// A range or a step.
    pub(super) fn positive_duration(&mut self) -> Parse<DurationValue> {
        let duration = self.duration(Precedence::Or)?.expr;
        if let DurationExprKind::Number(number) = duration.kind
            && number.value <= 0.0
        {
            self.error(duration.span, "duration must be greater than 0");
        }
        Ok(value_of(duration))
    }

    /// What stands behind `offset`.
    pub(super) fn offset_duration(&mut self) -> Parse<DurationValue> {
        let duration = match self.take_sign()? {
            Some(sign) => self.signed_offset(sign)?,
            None => match self.peek_kind()? {
                TokenKind::LeftParen => self.duration(Precedence::Or)?,
                _ => self.duration_operand()?,
            },
        };
        Ok(value_of(duration.expr))
    }

    /// What stands behind `offset` and a sign.
    fn signed_offset(&mut self, sign: Sign) -> Parse<Duration> {
        match self.peek_kind()? {
            TokenKind::LeftParen => {
                self.take()?;
                let inner = self.duration(Precedence::Or)?;
                self.expect(TokenKind::RightParen)?;
                let span = inner.expr.span;
                let operand = self.wrapped(inner, span)?;
                self.signed(sign, operand)
            }
            TokenKind::Operator(_) => {
                let operand = self.duration(Precedence::Product.of_right_side())?;
                let signed = self.signed(sign, operand)?;
                let mut duration = self.duration_from(signed, Precedence::Or)?;
                // Once the two signs are folded into a literal, only parentheses keep what follows it in the offset.
                duration.expr.wrapped |= matches!(duration.expr.kind, DurationExprKind::Binary { .. });
                Ok(duration)
            }
            _ => {
                let operand = self.duration_operand()?;
                self.signed(sign, operand)
            }
        }
    }

    /// Arithmetic of operators that bind at least as strongly as `weakest`.
    fn duration(&mut self, weakest: Precedence) -> Parse<Duration> {
        self.enter()?;
        let operand = match self.take_sign()? {
            Some(sign) => {
                let operand = self.duration(Precedence::Product.of_right_side())?;
                self.signed(sign, operand)?
            }
            None => self.duration_operand()?,
        };
        let duration = self.duration_from(operand, weakest)?;
        self.leave();
        Ok(duration)
    }

    /// As [`Self::duration`], the first operand being parsed.
    fn duration_from(&mut self, mut lhs: Duration, weakest: Precedence) -> Parse<Duration> {
        while let TokenKind::Operator(operator) = self.peek_kind()?
            && let Some(op) = duration_op(operator)
            && Precedence::of(operator) >= weakest
        {
            let at = self.take()?.span();
            let rhs = self.duration(Precedence::of(operator).of_right_side())?;
            self.require_duration_expressions(lhs.expr.span);
            let by_zero = matches!(rhs.expr.kind, DurationExprKind::Number(number) if number.value == 0.0);
            match op {
                DurationOp::Div if by_zero => self.error(at, "division by zero"),
                DurationOp::Mod if by_zero => self.error(at, "modulo by zero"),
                _ => {}
            }
            let span = lhs.expr.span.to(rhs.expr.span);
            lhs = self.duration_binary(span, op, lhs, rhs)?;
        }
        Ok(lhs)
    }

    /// A literal, `step()`, `range()`, `min_of(a, b)`, `max_of(a, b)` or a duration in parentheses.
    fn duration_operand(&mut self) -> Parse<Duration> {
        match self.peek_kind()? {
            TokenKind::Number | TokenKind::Duration => {
                let (span, mut number) = self.number_literal()?;
                if number.value.abs() > SECONDS_MAX {
                    self.error(span, "duration out of range");
                    number.value = 0.0;
                }
                self.duration_node(span, DurationExprKind::Number(number), 0)
            }
            TokenKind::Preprocessor(Preprocessor::Step) => self.duration_constant(DurationExprKind::Step),
            TokenKind::Preprocessor(Preprocessor::Range) => self.duration_constant(DurationExprKind::Range),
            TokenKind::Preprocessor(Preprocessor::MinOf) => self.duration_choice(DurationOp::MinOf),
            TokenKind::Preprocessor(Preprocessor::MaxOf) => self.duration_choice(DurationOp::MaxOf),
            TokenKind::LeftParen => {
                let open = self.take()?;
                let inner = self.duration(Precedence::Or)?;
                let close = self.expect(TokenKind::RightParen)?;
                self.require_duration_expressions(inner.expr.span);
                self.wrapped(inner, open.span().to(close.span()))
            }
            _ => self.unexpected(),
        }
    }

    fn duration_constant(&mut self, kind: DurationExprKind) -> Parse<Duration> {
        let name = self.take()?;
        self.expect(TokenKind::LeftParen)?;
        let close = self.expect(TokenKind::RightParen)?;
        let span = name.span().to(close.span());
        self.require_duration_expressions(span);
        self.duration_node(span, kind, 0)
    }

    fn duration_choice(&mut self, op: DurationOp) -> Parse<Duration> {
        let name = self.take()?;
        self.expect(TokenKind::LeftParen)?;
        let lhs = self.duration(Precedence::Or)?;
        self.expect(TokenKind::Comma)?;
        let rhs = self.duration(Precedence::Or)?;
        let close = self.expect(TokenKind::RightParen)?;
        let span = name.span().to(close.span());
        self.require_duration_expressions(span);
        self.duration_binary(span, op, lhs, rhs)
    }

    /// A sign before a duration: part of a literal, and dropped when it is a plus before anything else.
    fn signed(&mut self, sign: Sign, mut operand: Duration) -> Parse<Duration> {
        let span = sign.span.to(operand.expr.span);
        if let DurationExprKind::Number(number) = &mut operand.expr.kind {
            if sign.negative {
                *number = number.negated();
            }
            operand.expr.span = span;
            return Ok(operand);
        }
        if !sign.negative {
            return Ok(operand);
        }
        self.duration_node(span, DurationExprKind::Minus(Box::new(operand.expr)), operand.depth)
    }

    /// Marks a duration as written in parentheses. A literal cannot carry the mark, so it gets a plus that does.
    fn wrapped(&mut self, mut inner: Duration, span: Span) -> Parse<Duration> {
        if matches!(inner.expr.kind, DurationExprKind::Number(_)) {
            inner = self.duration_node(span, DurationExprKind::Plus(Box::new(inner.expr)), inner.depth)?;
        }
        inner.expr.wrapped = true;
        Ok(inner)
    }

    fn duration_binary(&mut self, span: Span, op: DurationOp, lhs: Duration, rhs: Duration) -> Parse<Duration> {
        let depth = lhs.depth.max(rhs.depth);
        let kind = DurationExprKind::Binary { op, lhs: Box::new(lhs.expr), rhs: Box::new(rhs.expr) };
        self.duration_node(span, kind, depth)
    }

    fn duration_node(&mut self, span: Span, kind: DurationExprKind, depth: usize) -> Parse<Duration> {
        if depth >= DEPTH_MAX {
            return self.too_deep(span);
        }
        Ok(Duration { expr: DurationExpr { span, wrapped: false, kind }, depth: depth + 1 })
    }

    fn require_duration_expressions(&mut self, span: Span) {
        if !self.options.duration_expressions {
            self.error(span, "experimental duration expression is not enabled");
        }
    }
}

fn duration_op(op: BinaryOp) -> Option<DurationOp> {
    Some(match op {
        BinaryOp::Add => DurationOp::Add,
        BinaryOp::Sub => DurationOp::Sub,
        BinaryOp::Mul => DurationOp::Mul,
        BinaryOp::Div => DurationOp::Div,
        BinaryOp::Mod => DurationOp::Mod,
        BinaryOp::Pow => DurationOp::Pow,
        _ => return None,
    })
}

/// A literal becomes milliseconds, by way of Go's nanoseconds; everything else stays as it is.
fn value_of(duration: DurationExpr) -> DurationValue {
    match duration.kind {
        DurationExprKind::Number(number) => DurationValue::Ms((number.value * 1e9).round() as i64 / 1_000_000),
        _ => DurationValue::Expr(duration),
    }
}

/// Go's `time.Duration.Seconds`: the whole seconds and the rest are converted apart.
fn seconds_of_ms(ms: i64) -> f64 {
    (ms / 1000) as f64 + (ms % 1000 * 1_000_000) as f64 / 1e9
}
