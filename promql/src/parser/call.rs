//! Function calls and aggregations.

use pharos_model::labels::quote;

use super::{Context, Parse, Parser, Tree};
use crate::ast::{Aggregate, AggregateOp, Call, Expr, ExprKind};
use crate::functions::Function;
use crate::literal;
use crate::span::Span;
use crate::token::{Keyword, Token, TokenKind};

const AGGREGATION: Context = Context::new("aggregation", "");
const GROUPING_OPEN: Context = Context::new("grouping opts", "\"(\"");
const GROUPING_LABEL: Context = Context::new("grouping opts", "label");
const GROUPING_NEXT: Context = Context::new("grouping opts", "\",\" or \")\"");

/// `by (labels)` or `without (labels)`; the default groups by no label.
#[derive(Default)]
struct Grouping {
    without: bool,
    labels: Vec<String>,
}

impl Parser<'_> {
    /// A name that may be that of a function.
    pub(super) fn call_or_selector(&mut self) -> Parse<Tree> {
        let name = self.take()?;
        if self.peek_kind()? != TokenKind::LeftParen {
            return self.named_selector_tree(name);
        }
        let (args, depth) = self.arguments()?;
        let span = Span::new(name.start, self.last_closing);
        let Some(function) = Function::by_name(name.text) else {
            self.error(name.span(), format!("unknown function with name {}", quote(name.text)));
            return Ok(self.placeholder(span));
        };
        if function.experimental && !self.options.experimental_functions {
            self.error(name.span(), format!("function {} is not enabled", quote(name.text)));
        }
        self.tree(span, ExprKind::Call(Call { function, args }), depth)
    }

    /// Arguments in parentheses, and the depth of the deepest.
    fn arguments(&mut self) -> Parse<(Vec<Expr>, usize)> {
        self.expect(TokenKind::LeftParen)?;
        let (mut args, mut depth) = (Vec::new(), 0);
        if self.take_if(TokenKind::RightParen)?.is_some() {
            return Ok((args, depth));
        }
        loop {
            let arg = self.expression()?;
            depth = depth.max(arg.depth);
            args.push(*arg.expr);
            let mut comma = self.take_if(TokenKind::Comma)?;
            while let Some(at) = comma
                && !self.peek_kind()?.begins_expression()
            {
                self.error(at.span(), "trailing commas not allowed in function call args");
                comma = self.take_if(TokenKind::Comma)?;
            }
            if comma.is_none() {
                self.expect(TokenKind::RightParen)?;
                return Ok((args, depth));
            }
        }
    }

    /// The name of an aggregation, which names a metric when nothing of an aggregation follows.
    pub(super) fn aggregate_or_selector(&mut self, op: AggregateOp) -> Parse<Tree> {
        use TokenKind as T;
        let name = self.take()?;
        match self.peek_kind()? {
            T::LeftParen | T::Keyword(Keyword::By | Keyword::Without) => {
                self.within(AGGREGATION, |parser| parser.aggregate(name, op))
            }
            _ => self.named_selector_tree(name),
        }
    }

    fn aggregate(&mut self, name: Token<'_>, op: AggregateOp) -> Parse<Tree> {
        let mut grouping = self.grouping()?;
        let (args, depth) = self.arguments()?;
        let mut span = Span::new(name.start, self.last_closing);
        if grouping.is_none() {
            grouping = self.grouping()?;
            if grouping.is_some() {
                span = Span::new(name.start, self.last_closing);
            }
        }
        if let Some(complaint) = self.aggregate_complaint(op, args.len()) {
            self.error(span, complaint);
            return Ok(self.placeholder(span));
        }
        let mut args = args.into_iter();
        let param = if op.has_param() { args.next().map(Box::new) } else { None };
        let expr = Box::new(args.next().expect("the arguments were counted"));
        let Grouping { without, labels: grouping } = grouping.unwrap_or_default();
        self.tree(span, ExprKind::Aggregate(Aggregate { op, expr, param, grouping, without }), depth)
    }

    /// What is wrong with an aggregation of so many arguments.
    fn aggregate_complaint(&self, op: AggregateOp, given: usize) -> Option<String> {
        let wanted = if op.has_param() { 2 } else { 1 };
        match () {
            () if given == 0 => Some("no arguments for aggregate expression provided".into()),
            () if op.is_experimental() && !self.options.experimental_functions => Some(format!(
                "{}() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
                op.as_str()
            )),
            () if given != wanted => Some(format!(
                "wrong number of arguments for aggregate expression provided, expected {wanted}, got {given}"
            )),
            () => None,
        }
    }

    fn grouping(&mut self) -> Parse<Option<Grouping>> {
        let without = match self.peek_kind()? {
            TokenKind::Keyword(Keyword::By) => false,
            TokenKind::Keyword(Keyword::Without) => true,
            _ => return Ok(None),
        };
        self.take()?;
        Ok(Some(Grouping { without, labels: self.grouping_labels()? }))
    }

    /// Label names in parentheses; a comma may come last.
    pub(super) fn grouping_labels(&mut self) -> Parse<Vec<String>> {
        self.expect_in(TokenKind::LeftParen, GROUPING_OPEN)?;
        let mut labels = Vec::new();
        while self.take_if(TokenKind::RightParen)?.is_none() {
            labels.push(self.grouping_label()?);
            match self.peek_kind()? {
                TokenKind::Comma => drop(self.take()?),
                TokenKind::RightParen => {}
                _ => return self.unexpected_in(GROUPING_NEXT),
            }
        }
        Ok(labels)
    }

    fn grouping_label(&mut self) -> Parse<String> {
        match self.peek_kind()? {
            kind if kind.is_grouping_label() => Ok(self.take()?.text.to_owned()),
            TokenKind::String => {
                let token = self.take()?;
                let bytes = literal::unquote(token.text);
                match String::from_utf8(bytes) {
                    Ok(label) if !label.is_empty() => Ok(label),
                    refused => {
                        let bytes = refused.map_or_else(|error| error.into_bytes(), String::into_bytes);
                        let quoted = literal::quote_bytes(&bytes);
                        self.error(token.span(), format!("invalid label name for grouping: {quoted}"));
                        Ok(String::new())
                    }
                }
            }
            _ => self.unexpected_in(GROUPING_LABEL),
        }
    }

    /// Takes a keyword if it is next.
    pub(super) fn take_keyword(&mut self, keyword: Keyword) -> Parse<bool> {
        Ok(self.take_if(TokenKind::Keyword(keyword))?.is_some())
    }
}
