//! The words of PromQL, and how error texts call them.

use pharos_model::CounterResetHint;
use pharos_model::labels::quote;

use crate::operators::{AggregateOp, BinaryOp};
use crate::span::Span;

/// Longest value that an error text shows whole, in characters.
const SHOWN_CHARS_MAX: usize = 10;

/// A word and the text it was written as.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token<'a> {
    pub(crate) kind: TokenKind,
    pub(crate) start: usize,
    pub(crate) text: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Eof,
    Comment,
    Identifier,
    /// An identifier with a colon in it: can only be a metric's name.
    MetricIdentifier,
    Number,
    Duration,
    String,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Comma,
    Colon,
    /// `=`
    Assign,
    /// `=~`
    MatchRegex,
    /// `!~`
    MatchNotRegex,
    /// `@`
    At,
    Operator(BinaryOp),
    Aggregate(AggregateOp),
    Keyword(Keyword),
    Preprocessor(Preprocessor),
    /// Between the values of a series description, where space has a meaning.
    Space,
    /// `_` in a series description.
    Blank,
    /// `x` in a series description.
    Times,
    /// `{{`
    OpenHistogram,
    /// `}}`
    CloseHistogram,
    Descriptor(Descriptor),
    ResetHint(CounterResetHint),
}

/// Words with a meaning of their own that may still be label or metric names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keyword {
    Anchored,
    Bool,
    By,
    Fill,
    FillLeft,
    FillRight,
    GroupLeft,
    GroupRight,
    Ignoring,
    Offset,
    On,
    Smoothed,
    Without,
}

/// Words that stand for the query's own times, or compute with durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Preprocessor {
    Start,
    End,
    Step,
    Range,
    MinOf,
    MaxOf,
}

/// Keys of a histogram literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Descriptor {
    Schema,
    Sum,
    Count,
    Offset,
    NegativeOffset,
    Buckets,
    NegativeBuckets,
    ZeroBucket,
    ZeroBucketWidth,
    CustomValues,
    CounterResetHint,
}

impl TokenKind {
    /// The word with a meaning of its own that an identifier is, in any case of its letters.
    pub(crate) fn of_word(word: &str) -> Option<Self> {
        use {AggregateOp as A, BinaryOp as B, Keyword as K, Preprocessor as P};
        Some(match word.to_ascii_lowercase().as_str() {
            "and" => Self::Operator(B::And),
            "or" => Self::Operator(B::Or),
            "unless" => Self::Operator(B::Unless),
            "atan2" => Self::Operator(B::Atan2),
            "sum" => Self::Aggregate(A::Sum),
            "avg" => Self::Aggregate(A::Avg),
            "count" => Self::Aggregate(A::Count),
            "min" => Self::Aggregate(A::Min),
            "max" => Self::Aggregate(A::Max),
            "group" => Self::Aggregate(A::Group),
            "stddev" => Self::Aggregate(A::Stddev),
            "stdvar" => Self::Aggregate(A::Stdvar),
            "topk" => Self::Aggregate(A::Topk),
            "bottomk" => Self::Aggregate(A::Bottomk),
            "count_values" => Self::Aggregate(A::CountValues),
            "quantile" => Self::Aggregate(A::Quantile),
            "limitk" => Self::Aggregate(A::Limitk),
            "limit_ratio" => Self::Aggregate(A::LimitRatio),
            "anchored" => Self::Keyword(K::Anchored),
            "bool" => Self::Keyword(K::Bool),
            "by" => Self::Keyword(K::By),
            "fill" => Self::Keyword(K::Fill),
            "fill_left" => Self::Keyword(K::FillLeft),
            "fill_right" => Self::Keyword(K::FillRight),
            "group_left" => Self::Keyword(K::GroupLeft),
            "group_right" => Self::Keyword(K::GroupRight),
            "ignoring" => Self::Keyword(K::Ignoring),
            "offset" => Self::Keyword(K::Offset),
            "on" => Self::Keyword(K::On),
            "smoothed" => Self::Keyword(K::Smoothed),
            "without" => Self::Keyword(K::Without),
            "start" => Self::Preprocessor(P::Start),
            "end" => Self::Preprocessor(P::End),
            "inf" | "nan" => Self::Number,
            word => Self::of_duration_word(word)?,
        })
    }

    /// The words that are also known inside brackets, where no other word is.
    pub(crate) fn of_duration_word(word: &str) -> Option<Self> {
        Some(Self::Preprocessor(match word.to_ascii_lowercase().as_str() {
            "step" => Preprocessor::Step,
            "range" => Preprocessor::Range,
            "min_of" => Preprocessor::MinOf,
            "max_of" => Preprocessor::MaxOf,
            _ => return None,
        }))
    }

    /// Whether the word may name a metric.
    pub(crate) fn is_metric_name(self) -> bool {
        use Keyword as K;
        match self {
            Self::Identifier | Self::MetricIdentifier | Self::Aggregate(_) | Self::Preprocessor(_) => true,
            Self::Operator(op) => op.is_set(),
            Self::Keyword(keyword) => matches!(
                keyword,
                K::Anchored | K::By | K::Fill | K::FillLeft | K::FillRight | K::Offset | K::Smoothed | K::Without
            ),
            _ => false,
        }
    }

    /// Whether the word may be a label's name in `by (...)` and its kind.
    pub(crate) fn is_grouping_label(self) -> bool {
        match self {
            Self::Identifier
            | Self::MetricIdentifier
            | Self::Aggregate(_)
            | Self::Keyword(_)
            | Self::Preprocessor(_) => true,
            Self::Operator(op) => op.is_set() || op == BinaryOp::Atan2,
            _ => false,
        }
    }

    /// Whether an expression can begin with it.
    pub(crate) fn begins_expression(self) -> bool {
        self.is_metric_name()
            || matches!(
                self,
                Self::Number
                    | Self::Duration
                    | Self::String
                    | Self::LeftParen
                    | Self::LeftBrace
                    | Self::Operator(BinaryOp::Add | BinaryOp::Sub)
            )
    }
}

impl Token<'_> {
    pub(crate) fn span(self) -> Span {
        Span::new(self.start, self.start + self.text.len())
    }

    /// What an error text calls it.
    pub(crate) fn description(self) -> String {
        let quoted = || {
            if self.text.chars().count() > SHOWN_CHARS_MAX {
                let shown: String = self.text.chars().take(SHOWN_CHARS_MAX).collect();
                format!("{}...", quote(&shown))
            } else {
                quote(self.text)
            }
        };
        match self.kind {
            TokenKind::Eof => "end of input".into(),
            TokenKind::Comment => format!("comment {}", quoted()),
            TokenKind::Identifier => format!("identifier {}", quote(self.text)),
            TokenKind::MetricIdentifier => format!("metric identifier {}", quote(self.text)),
            TokenKind::Number => format!("number {}", quoted()),
            TokenKind::Duration => format!("duration {}", quoted()),
            TokenKind::String => format!("string {}", quoted()),
            TokenKind::Keyword(_) => format!("<{}>", self.text),
            TokenKind::Operator(_) | TokenKind::MatchRegex | TokenKind::MatchNotRegex | TokenKind::At => {
                format!("<op:{}>", self.text)
            }
            TokenKind::Aggregate(_) => format!("<aggr:{}>", self.text),
            _ => quoted(),
        }
    }
}
