//! From words to a tree: recursive descent, operators by precedence.
//!
//! A syntax error is reported with what encloses it ("in aggregation", "in offset"), which is what the innermost
//! construct with a message of its own says; the others inherit. Words are read only when they are needed, so that errors
//! come in Prometheus' order. The first syntax error ends the parse, complaints about meaning do not.
//!
//! [`expr`] has the operators, [`call`] calls and aggregations, [`modifier`] what is written behind a selector, [`selector`] what
//! stands in braces, [`duration`] the duration language, [`series`] the series descriptions of test scripts. Types are
//! left to [`crate::check`].

mod call;
mod duration;
mod expr;
mod modifier;
mod selector;
mod series;

use crate::ast::{Expr, ExprKind, NumberLiteral};
use crate::error::{ParseError, ParseErrors};
use crate::lexer::Lexer;
use crate::span::Span;
use crate::token::{Token, TokenKind};
use crate::{DEPTH_MAX, NESTING_MAX, ParserOptions, TEXT_BYTES_MAX};

pub(crate) use series::parse_series;

/// The parse cannot go on; the reason is in [`Parser::errors`].
#[derive(Debug)]
struct Abort;

type Parse<T> = Result<T, Abort>;

/// What a syntax error is said to be in, and what was expected there; both may be empty.
#[derive(Clone, Copy, Debug)]
struct Context {
    within: &'static str,
    expected: &'static str,
}

impl Context {
    const NONE: Self = Self::new("", "");

    const fn new(within: &'static str, expected: &'static str) -> Self {
        Self { within, expected }
    }
}

/// An expression and the number of nodes on its longest path. Boxed early, since it is moved through every level of the descent.
struct Tree {
    expr: Box<Expr>,
    depth: usize,
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    input: &'a str,
    options: ParserOptions,
    /// The word after the last one taken, once somebody asked for it.
    lookahead: Option<Token<'a>>,
    /// End of the last number, duration or closing bracket read: where selectors, calls and aggregations end.
    last_closing: usize,
    context: Context,
    /// Expressions being parsed around the current one.
    nesting: usize,
    errors: Vec<ParseError>,
}

/// Parses an expression and checks its types.
pub(crate) fn parse(input: &str, options: &ParserOptions) -> Result<Expr, ParseErrors> {
    let mut parser = Parser::new(input, Lexer::new(input), options)?;
    let parsed = parser.whole_expression();
    let expr = parser.finish(parsed)?;
    crate::check::check(expr, input)
}

/// Parses a selector without offset, `@` or range.
pub(crate) fn parse_selector(input: &str, options: &ParserOptions) -> Result<Vec<pharos_model::Matcher>, ParseErrors> {
    let mut parser = Parser::new(input, Lexer::new(input), options)?;
    let parsed = parser.whole_selector();
    parser.finish(parsed)
}

impl<'a> Parser<'a> {
    fn new(input: &'a str, lexer: Lexer<'a>, options: &ParserOptions) -> Result<Self, ParseErrors> {
        let mut parser = Self {
            lexer,
            input,
            options: *options,
            lookahead: None,
            last_closing: 0,
            context: Context::NONE,
            nesting: 0,
            errors: Vec::new(),
        };
        if input.len() > TEXT_BYTES_MAX {
            parser.error(Span::default(), format!("text is {} bytes long, the limit is {TEXT_BYTES_MAX}", input.len()));
            return Err(ParseErrors(parser.errors));
        }
        Ok(parser)
    }

    /// The result, unless there was anything to complain about.
    fn finish<T>(self, parsed: Parse<T>) -> Result<T, ParseErrors> {
        match parsed {
            Ok(result) if self.errors.is_empty() => Ok(result),
            Ok(_) | Err(Abort) => Err(ParseErrors(self.errors)),
        }
    }

    fn error(&mut self, span: Span, message: impl Into<String>) {
        self.errors.push(ParseError { span, position: span.position(self.input), message: message.into() });
    }

    /// The next word, without taking it.
    fn peek(&mut self) -> Parse<Token<'a>> {
        if let Some(token) = self.lookahead {
            return Ok(token);
        }
        loop {
            match self.lexer.next_token() {
                Ok(token) if token.kind == TokenKind::Comment => {}
                Ok(token) => {
                    use TokenKind as T;
                    if matches!(token.kind, T::RightBrace | T::RightParen | T::RightBracket | T::Duration | T::Number) {
                        self.last_closing = token.start + token.text.len();
                    }
                    self.lookahead = Some(token);
                    return Ok(token);
                }
                Err(error) => {
                    self.error(Span::new(error.start, self.input.len()), error.message);
                    return Err(Abort);
                }
            }
        }
    }

    fn peek_kind(&mut self) -> Parse<TokenKind> {
        Ok(self.peek()?.kind)
    }

    /// Takes the next word, whatever it is.
    fn take(&mut self) -> Parse<Token<'a>> {
        let token = self.peek()?;
        self.lookahead = None;
        Ok(token)
    }

    /// Takes the next word if it is of this kind.
    fn take_if(&mut self, kind: TokenKind) -> Parse<Option<Token<'a>>> {
        if self.peek_kind()? == kind { self.take().map(Some) } else { Ok(None) }
    }

    /// Takes a word of this kind; anything else is an error of the current context.
    fn expect(&mut self, kind: TokenKind) -> Parse<Token<'a>> {
        match self.take_if(kind)? {
            Some(token) => Ok(token),
            None => self.unexpected(),
        }
    }

    /// As [`Self::expect`], with a context for this word only.
    fn expect_in(&mut self, kind: TokenKind, context: Context) -> Parse<Token<'a>> {
        match self.take_if(kind)? {
            Some(token) => Ok(token),
            None => self.unexpected_in(context),
        }
    }

    /// The next word has no place here.
    fn unexpected<T>(&mut self) -> Parse<T> {
        self.unexpected_in(self.context)
    }

    fn unexpected_in<T>(&mut self, context: Context) -> Parse<T> {
        let token = self.peek()?;
        let mut message = format!("unexpected {}", token.description());
        if !context.within.is_empty() {
            message.push_str(&format!(" in {}", context.within));
        }
        if !context.expected.is_empty() {
            message.push_str(&format!(", expected {}", context.expected));
        }
        self.error(token.span(), message);
        Err(Abort)
    }

    /// Runs `parse` with the context that its errors are reported in.
    fn within<T>(&mut self, context: Context, parse: impl FnOnce(&mut Self) -> Parse<T>) -> Parse<T> {
        let outer = std::mem::replace(&mut self.context, context);
        let result = parse(self);
        self.context = outer;
        result
    }

    /// Begins an expression inside another, unless that is too deep; [`Self::leave`] ends it.
    fn enter(&mut self) -> Parse<()> {
        if self.nesting == NESTING_MAX {
            let span = self.peek()?.span();
            self.error(span, format!("expression is nested more than {NESTING_MAX} levels deep"));
            return Err(Abort);
        }
        self.nesting += 1;
        Ok(())
    }

    fn leave(&mut self) {
        self.nesting -= 1;
    }

    fn too_deep<T>(&mut self, span: Span) -> Parse<T> {
        self.error(span, format!("expression has more than {DEPTH_MAX} levels"));
        Err(Abort)
    }

    /// A node over children of which the deepest has `depth` levels.
    fn tree(&mut self, span: Span, kind: ExprKind, depth: usize) -> Parse<Tree> {
        if depth >= DEPTH_MAX {
            return self.too_deep(span);
        }
        Ok(Tree { expr: Box::new(Expr::new(span, kind)), depth: depth + 1 })
    }

    /// Stands in for an expression that was complained about, so that the parse can go on.
    fn placeholder(&mut self, span: Span) -> Tree {
        debug_assert!(!self.errors.is_empty(), "a placeholder never reaches a caller");
        let zero = ExprKind::Number(NumberLiteral { value: 0.0, is_duration: false });
        Tree { expr: Box::new(Expr::new(span, zero)), depth: 1 }
    }

    fn whole_expression(&mut self) -> Parse<Expr> {
        if self.peek_kind()? == TokenKind::Eof {
            self.error(Span::default(), "no expression found in input");
            return Err(Abort);
        }
        let tree = self.expression()?;
        self.expect(TokenKind::Eof)?;
        Ok(*tree.expr)
    }

    fn whole_selector(&mut self) -> Parse<Vec<pharos_model::Matcher>> {
        let (_, selector) = self.vector_selector()?;
        self.expect(TokenKind::Eof)?;
        Ok(selector.matchers)
    }
}
