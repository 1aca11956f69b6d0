//! Selectors: a metric's name and matchers in braces.

use pharos_model::labels::METRIC_NAME;
use pharos_model::{MatchOp, Matcher};

use super::{Context, Parse, Parser, Tree};
use crate::ast::{ExprKind, VectorSelector};
use crate::duration::DurationValue;
use crate::literal;
use crate::operators::BinaryOp;
use crate::span::Span;
use crate::token::{Token, TokenKind};

const MATCHER: Context = Context::new("label matching", "identifier or \"}\"");
const MATCH_OPERATOR: Context = Context::new("label matching", "label matching operator");
const MATCH_VALUE: Context = Context::new("label matching", "string");
const MATCHER_NEXT: Context = Context::new("label matching", "\",\" or \"}\"");

impl Parser<'_> {
    pub(super) fn vector_selector(&mut self) -> Parse<(Span, VectorSelector)> {
        match self.peek_kind()? {
            kind if kind.is_metric_name() => {
                let name = self.take()?;
                self.named_selector(name)
            }
            TokenKind::LeftBrace => {
                let (span, matchers) = self.label_matchers()?;
                Ok((span, selector(None, matchers)))
            }
            _ => self.unexpected(),
        }
    }

    /// The selector of a name that is taken.
    fn named_selector(&mut self, name: Token<'_>) -> Parse<(Span, VectorSelector)> {
        let (mut span, mut matchers) = (name.span(), Vec::new());
        if self.peek_kind()? == TokenKind::LeftBrace {
            let (braces, inside) = self.label_matchers()?;
            (span, matchers) = (span.to(braces), inside);
        }
        matchers.push(Matcher::equal(METRIC_NAME, name.text));
        Ok((span, selector(Some(name.text.to_owned()), matchers)))
    }

    pub(super) fn named_selector_tree(&mut self, name: Token<'_>) -> Parse<Tree> {
        let (span, selector) = self.named_selector(name)?;
        self.tree(span, ExprKind::Vector(selector), 0)
    }

    /// Matchers in braces; a comma may come last.
    fn label_matchers(&mut self) -> Parse<(Span, Vec<Matcher>)> {
        let open = self.expect(TokenKind::LeftBrace)?;
        let mut matchers = Vec::new();
        loop {
            if let Some(close) = self.take_if(TokenKind::RightBrace)? {
                return Ok((open.span().to(close.span()), matchers));
            }
            matchers.extend(self.label_matcher()?);
            match self.peek_kind()? {
                TokenKind::Comma => drop(self.take()?),
                TokenKind::RightBrace => {}
                _ => return self.unexpected_in(MATCHER_NEXT),
            }
        }
    }

    /// `name="value"` and its kind, or a metric's name in quotes. `None` when its meaning was complained about.
    fn label_matcher(&mut self) -> Parse<Option<Matcher>> {
        let (name, name_text) = match self.peek_kind()? {
            TokenKind::Identifier => {
                let name = self.take()?;
                (name, Some(name.text.to_owned()))
            }
            TokenKind::String => {
                let name = self.take()?;
                let text = self.utf8_text(name);
                if self.peek_match_op()?.is_none() {
                    return Ok(text.map(|text| Matcher::equal(METRIC_NAME, text)));
                }
                (name, text)
            }
            _ => return self.unexpected_in(MATCHER),
        };
        let Some(op) = self.peek_match_op()? else {
            return self.unexpected_in(MATCH_OPERATOR);
        };
        self.take()?;
        let value = self.expect_in(TokenKind::String, MATCH_VALUE)?;
        let (Some(name_text), Some(value_text)) = (name_text, self.utf8_text(value)) else {
            return Ok(None);
        };
        match Matcher::new(op, name_text, value_text) {
            Ok(matcher) => Ok(Some(matcher)),
            Err(error) => {
                self.error(name.span().to(value.span()), error.to_string());
                Ok(None)
            }
        }
    }

    fn peek_match_op(&mut self) -> Parse<Option<MatchOp>> {
        Ok(match self.peek_kind()? {
            TokenKind::Assign => Some(MatchOp::Equal),
            TokenKind::Operator(BinaryOp::NotEq) => Some(MatchOp::NotEqual),
            TokenKind::MatchRegex => Some(MatchOp::Regex),
            TokenKind::MatchNotRegex => Some(MatchOp::NotRegex),
            _ => None,
        })
    }

    /// The text of a string that has to do with labels, which are UTF-8 throughout.
    pub(super) fn utf8_text(&mut self, token: Token<'_>) -> Option<String> {
        String::from_utf8(literal::unquote(token.text))
            .map_err(|error| {
                let quoted = literal::quote_bytes(error.as_bytes());
                self.error(token.span(), format!("label name or value is not valid UTF-8: {quoted}"));
            })
            .ok()
    }
}

fn selector(name: Option<String>, matchers: Vec<Matcher>) -> VectorSelector {
    VectorSelector {
        name,
        matchers,
        offset: DurationValue::ZERO,
        at: None,
        anchored: false,
        smoothed: false,
        bypass_empty_matcher_check: false,
    }
}
