//! Words of series descriptions: the values behind the labels, and histogram literals `{{...}}` among them.

use pharos_model::CounterResetHint;

use super::{Lexer, Scanned, State, is_alpha, is_space, quote_char};
use crate::operators::BinaryOp;
use crate::token::{Descriptor, TokenKind};

impl Lexer<'_> {
    /// Between values, where space separates and is a word.
    pub(super) fn value_sequence(&mut self) -> Scanned {
        use TokenKind as T;
        let Some(c) = self.advance() else {
            self.state = State::Statements;
            return Ok(None);
        };
        Ok(Some(match c {
            '{' if self.take('{') => {
                self.state = State::Histogram;
                T::OpenHistogram
            }
            c if is_space(c) => return self.space(),
            '+' => T::Operator(BinaryOp::Add),
            '-' => T::Operator(BinaryOp::Sub),
            'x' => T::Times,
            '_' => T::Blank,
            c if self.begins_number(c) => return self.plain_number(),
            // What is no word here is found by the parser.
            c if is_alpha(c) => return self.word(),
            c => return Err(format!("unexpected character in series sequence: {}", quote_char(Some(c)))),
        }))
    }

    /// A run of space, the first of which is read: one word, shown as its first character.
    fn space(&mut self) -> Scanned {
        self.take_while(is_space);
        Ok(Some(TokenKind::Space))
    }

    /// A number without unit, the first character of which is read.
    fn plain_number(&mut self) -> Scanned {
        self.pos = self.start;
        if self.scan_number() {
            Ok(Some(TokenKind::Number))
        } else {
            Err(format!("bad number syntax: {}", self.quoted_word()))
        }
    }

    /// Between `{{` and `}}`, outside brackets.
    pub(super) fn histogram(&mut self) -> Scanned {
        use TokenKind as T;
        let incomplete = |c| Err(format!("histogram description incomplete unexpected: {}", quote_char(c)));
        let Some(c) = self.advance() else {
            return incomplete(None);
        };
        Ok(Some(match c {
            c if is_space(c) => return self.space(),
            c if is_alpha(c) => return self.histogram_word(),
            ':' => T::Colon,
            '-' => T::Operator(BinaryOp::Sub),
            c if self.begins_number(c) => return self.plain_number(),
            '[' => {
                self.state = State::Buckets;
                T::LeftBracket
            }
            '}' if self.take('}') => {
                self.state = State::ValueSequence;
                T::CloseHistogram
            }
            c => return incomplete(Some(c)),
        }))
    }

    /// A key of a histogram literal or one of its words, the first character of which is read.
    fn histogram_word(&mut self) -> Scanned {
        use Descriptor as D;
        self.take_while(is_alpha);
        let word = self.input[self.start..self.pos].to_ascii_lowercase();
        let key = match word.as_str() {
            "sum" => D::Sum,
            "count" => D::Count,
            "schema" => D::Schema,
            "offset" => D::Offset,
            "n_offset" => D::NegativeOffset,
            "buckets" => D::Buckets,
            "n_buckets" => D::NegativeBuckets,
            "z_bucket" => D::ZeroBucket,
            "z_bucket_w" => D::ZeroBucketWidth,
            "custom_values" => D::CustomValues,
            "counter_reset_hint" => D::CounterResetHint,
            "inf" | "nan" => return Ok(Some(TokenKind::Number)),
            "unknown" => return Ok(Some(TokenKind::ResetHint(CounterResetHint::Unknown))),
            "reset" => return Ok(Some(TokenKind::ResetHint(CounterResetHint::CounterReset))),
            "not_reset" => return Ok(Some(TokenKind::ResetHint(CounterResetHint::NotCounterReset))),
            "gauge" => return Ok(Some(TokenKind::ResetHint(CounterResetHint::Gauge))),
            _ => return Err(format!("bad histogram descriptor found: {}", self.quoted_word())),
        };
        if self.peek() != Some(':') {
            return Err("missing `:` for histogram descriptor".into());
        }
        Ok(Some(TokenKind::Descriptor(key)))
    }

    /// Between `[` and `]` of a histogram literal.
    pub(super) fn buckets(&mut self) -> Scanned {
        use TokenKind as T;
        let invalid = |c| Err(format!("invalid character in buckets description: {}", quote_char(c)));
        let Some(c) = self.advance() else {
            return invalid(None);
        };
        Ok(Some(match c {
            c if is_space(c) => return self.space(),
            '-' => T::Operator(BinaryOp::Sub),
            c if self.begins_number(c) => return self.plain_number(),
            ']' => {
                self.state = State::Histogram;
                T::RightBracket
            }
            c if is_alpha(c) => {
                self.take_while(is_alpha);
                match TokenKind::of_word(&self.input[self.start..self.pos]) {
                    Some(T::Number) => T::Number,
                    _ => return invalid(Some(c)),
                }
            }
            c => return invalid(Some(c)),
        }))
    }
}
