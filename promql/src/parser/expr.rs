//! Operators and their modifiers, signs, parentheses and literals.

use super::{Parse, Parser, Tree};
use crate::ast::{Binary, BinaryOp, Cardinality, ExprKind, StringLiteral, Unary, UnaryOp, VectorMatching};
use crate::literal;
use crate::token::{Keyword, TokenKind};

/// How strongly operators bind, weakest first. Signs bind like [`Precedence::Product`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Precedence {
    Or,
    And,
    Comparison,
    Sum,
    Product,
    /// Right-associative, all others are left-associative.
    Power,
}

impl Precedence {
    pub(super) fn of(op: BinaryOp) -> Self {
        match op {
            BinaryOp::Or => Self::Or,
            BinaryOp::And | BinaryOp::Unless => Self::And,
            op if op.is_comparison() => Self::Comparison,
            BinaryOp::TrimUpper | BinaryOp::TrimLower => Self::Comparison,
            BinaryOp::Add | BinaryOp::Sub => Self::Sum,
            BinaryOp::Pow => Self::Power,
            _ => Self::Product,
        }
    }

    /// The weakest operator that may appear on the right side of one of this precedence.
    pub(super) fn of_right_side(self) -> Self {
        match self {
            Self::Or => Self::And,
            Self::And => Self::Comparison,
            Self::Comparison => Self::Sum,
            Self::Sum => Self::Product,
            Self::Product | Self::Power => Self::Power,
        }
    }
}

/// What stands between a binary operator and its right side.
struct BinaryModifiers {
    return_bool: bool,
    matching: VectorMatching,
}

impl Parser<'_> {
    pub(super) fn expression(&mut self) -> Parse<Tree> {
        self.binary(Precedence::Or)
    }

    /// An expression of operators that bind at least as strongly as `weakest`.
    fn binary(&mut self, weakest: Precedence) -> Parse<Tree> {
        self.enter()?;
        let mut lhs = self.operand()?;
        while let TokenKind::Operator(op) = self.peek_kind()?
            && Precedence::of(op) >= weakest
        {
            self.take()?;
            let modifiers = self.binary_modifiers()?;
            let rhs = self.binary(Precedence::of(op).of_right_side())?;
            lhs = self.binary_node(op, lhs, modifiers, rhs)?;
        }
        self.leave();
        Ok(lhs)
    }

    fn binary_node(&mut self, op: BinaryOp, lhs: Tree, modifiers: BinaryModifiers, rhs: Tree) -> Parse<Tree> {
        let BinaryModifiers { return_bool, matching } = modifiers;
        let span = lhs.expr.span.to(rhs.expr.span);
        let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
        if fills && !self.options.binop_fill_modifiers {
            self.error(span, "binop fill modifiers are experimental and not enabled");
        }
        let depth = lhs.depth.max(rhs.depth);
        let (lhs, rhs) = (lhs.expr, rhs.expr);
        self.tree(span, ExprKind::Binary(Binary { op, lhs, rhs, return_bool, matching: Some(matching) }), depth)
    }

    fn binary_modifiers(&mut self) -> Parse<BinaryModifiers> {
        let return_bool = self.take_keyword(Keyword::Bool)?;
        let mut matching = VectorMatching {
            card: Cardinality::OneToOne,
            labels: Vec::new(),
            on: false,
            include: Vec::new(),
            fill_left: None,
            fill_right: None,
        };
        matching.on = self.take_keyword(Keyword::On)?;
        if matching.on || self.take_keyword(Keyword::Ignoring)? {
            matching.labels = self.grouping_labels()?;
            let card = match self.peek_kind()? {
                TokenKind::Keyword(Keyword::GroupLeft) => Some(Cardinality::ManyToOne),
                TokenKind::Keyword(Keyword::GroupRight) => Some(Cardinality::OneToMany),
                _ => None,
            };
            if let Some(card) = card {
                self.take()?;
                matching.card = card;
                if self.peek_kind()? == TokenKind::LeftParen {
                    matching.include = self.grouping_labels()?;
                }
            }
        }
        self.fill_modifiers(&mut matching)?;
        Ok(BinaryModifiers { return_bool, matching })
    }

    /// `fill (1)`, or `fill_left (1)` and `fill_right (1)` in any order, each at most once.
    fn fill_modifiers(&mut self, matching: &mut VectorMatching) -> Parse<()> {
        if self.take_keyword(Keyword::Fill)? {
            let value = self.fill_value()?;
            (matching.fill_left, matching.fill_right) = (Some(value), Some(value));
            return Ok(());
        }
        loop {
            let side = match self.peek_kind()? {
                TokenKind::Keyword(Keyword::FillLeft) if matching.fill_left.is_none() => &mut matching.fill_left,
                TokenKind::Keyword(Keyword::FillRight) if matching.fill_right.is_none() => &mut matching.fill_right,
                _ => return Ok(()),
            };
            self.take()?;
            *side = Some(self.fill_value()?);
        }
    }

    fn fill_value(&mut self) -> Parse<f64> {
        self.expect(TokenKind::LeftParen)?;
        let value = self.signed_number()?;
        self.expect(TokenKind::RightParen)?;
        Ok(value)
    }

    /// A sign and its operand, or a primary expression with what is written behind it.
    fn operand(&mut self) -> Parse<Tree> {
        let op = match self.peek_kind()? {
            TokenKind::Operator(BinaryOp::Add) => UnaryOp::Plus,
            TokenKind::Operator(BinaryOp::Sub) => UnaryOp::Minus,
            _ => return self.modified(),
        };
        let sign = self.take()?;
        let mut operand = self.binary(Precedence::Product.of_right_side())?;
        let span = sign.span().to(operand.expr.span);
        if let ExprKind::Number(number) = &mut operand.expr.kind {
            if op == UnaryOp::Minus {
                *number = number.negated();
            }
            operand.expr.span = span;
            return Ok(operand);
        }
        let depth = operand.depth;
        self.tree(span, ExprKind::Unary(Unary { op, expr: operand.expr }), depth)
    }

    /// A primary expression, then any number of `[...]`, `offset`, `@`, `anchored` and `smoothed`.
    fn modified(&mut self) -> Parse<Tree> {
        let mut tree = self.primary()?;
        loop {
            match self.peek_kind()? {
                TokenKind::LeftBracket => tree = self.brackets(tree)?,
                TokenKind::Keyword(Keyword::Offset) => {
                    self.take()?;
                    self.offset(&mut tree.expr)?;
                }
                TokenKind::At => {
                    self.take()?;
                    self.at_modifier(&mut tree.expr)?;
                }
                TokenKind::Keyword(Keyword::Anchored) => {
                    self.take()?;
                    self.extend(&mut tree.expr, true);
                }
                TokenKind::Keyword(Keyword::Smoothed) => {
                    self.take()?;
                    self.extend(&mut tree.expr, false);
                }
                _ => return Ok(tree),
            }
        }
    }

    fn primary(&mut self) -> Parse<Tree> {
        match self.peek_kind()? {
            TokenKind::Number | TokenKind::Duration => {
                let (span, number) = self.number_literal()?;
                self.tree(span, ExprKind::Number(number), 0)
            }
            TokenKind::String => {
                let token = self.take()?;
                let value = literal::unquote(token.text);
                self.tree(token.span(), ExprKind::String(StringLiteral { value }), 0)
            }
            TokenKind::LeftParen => self.parentheses(),
            TokenKind::Identifier | TokenKind::Preprocessor(_) => self.call_or_selector(),
            TokenKind::Aggregate(op) => self.aggregate_or_selector(op),
            kind if kind.is_metric_name() || kind == TokenKind::LeftBrace => {
                let (span, selector) = self.vector_selector()?;
                self.tree(span, ExprKind::Vector(selector), 0)
            }
            _ => self.unexpected(),
        }
    }

    fn parentheses(&mut self) -> Parse<Tree> {
        let open = self.take()?;
        let inner = self.expression()?;
        let close = self.expect(TokenKind::RightParen)?;
        let depth = inner.depth;
        self.tree(open.span().to(close.span()), ExprKind::Paren(inner.expr), depth)
    }
}
