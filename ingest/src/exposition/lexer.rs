//! Tokens of the two text formats.
//!
//! Follows Prometheus' lexers state by state, so that errors name the same token and the same piece of the line. Leaves
//! the order of tokens to [`super::line`].

use std::fmt;

use super::error::{ParseErrorKind, quote_bytes};

/// Which text format is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Prometheus text 0.0.4 and 1.0.0: blanks between tokens, comments, a missing last newline is added.
    Text,
    /// OpenMetrics 1.0: single spaces, no comments, ends with `# EOF`.
    OpenMetrics,
}

/// A kind of token. Displays as Prometheus' error texts name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    Invalid,
    Eof,
    Linebreak,
    Help,
    Type,
    Unit,
    EofWord,
    Text,
    Comment,
    MetricName,
    QuotedString,
    BraceOpen,
    BraceClose,
    LabelName,
    LabelValue,
    Comma,
    Equal,
    Timestamp,
    Value,
}

impl Token {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "INVALID",
            Self::Eof => "EOF",
            Self::Linebreak => "LINEBREAK",
            Self::Help => "HELP",
            Self::Type => "TYPE",
            Self::Unit => "UNIT",
            Self::EofWord => "EOFWORD",
            Self::Text => "TEXT",
            Self::Comment => "COMMENT",
            Self::MetricName => "MNAME",
            Self::QuotedString => "QSTRING",
            Self::BraceOpen => "BOPEN",
            Self::BraceClose => "BCLOSE",
            Self::LabelName => "LNAME",
            Self::LabelValue => "LVALUE",
            Self::Comma => "COMMA",
            Self::Equal => "EQUAL",
            Self::Timestamp => "TIMESTAMP",
            Self::Value => "VALUE",
        }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the lexer expects next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Init,
    MetaName,
    MetaText,
    Labels,
    LabelValue,
    Value,
    Timestamp,
    Exemplar,
    /// A label value or the exemplar's own value, depending on the token before.
    ExemplarValue,
    ExemplarTimestamp,
}

/// Cuts a body into tokens.
#[derive(Clone, Debug)]
pub(super) struct Lexer<'a> {
    body: &'a [u8],
    pub dialect: Dialect,
    state: State,
    /// Start of the last token.
    pub start: usize,
    /// Where the next token starts; after [`Token::Invalid`] the byte that does not fit.
    pub pos: usize,
}

pub(super) fn is_name_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte == b':'
}

pub(super) fn is_name_byte(byte: u8) -> bool {
    is_name_start(byte) || byte.is_ascii_digit()
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

impl<'a> Lexer<'a> {
    /// Starts at a line's beginning.
    pub(super) fn new(body: &'a [u8], dialect: Dialect, pos: usize) -> Self {
        Self { body, dialect, state: State::Init, start: pos, pos }
    }

    /// The bytes of the last token.
    pub(super) fn token(&self) -> &'a [u8] {
        &self.body[self.start.min(self.body.len())..self.pos.min(self.body.len())]
    }

    pub(super) fn body(&self) -> &'a [u8] {
        self.body
    }

    /// Length with the newline that the text format adds at the end.
    fn len(&self) -> usize {
        self.body.len() + usize::from(self.dialect == Dialect::Text)
    }

    fn peek(&self) -> Option<u8> {
        match self.body.get(self.pos) {
            Some(byte) => Some(*byte),
            None => (self.pos < self.len()).then_some(b'\n'),
        }
    }

    /// The piece of the body from `start` to `end`, quoted for an error.
    pub(super) fn excerpt(&self, start: usize, end: usize) -> String {
        let end = end.min(self.len());
        let mut bytes = self.body[start.min(self.body.len())..end.min(self.body.len())].to_vec();
        if end > self.body.len() {
            bytes.push(b'\n');
        }
        quote_bytes(&bytes)
    }

    /// The error that `token` came instead of what was expected, in an entry that began at `entry`.
    pub(super) fn unexpected(&self, expected: &'static str, token: Token, entry: usize) -> ParseErrorKind {
        let end = self.pos + 1;
        ParseErrorKind::Unexpected {
            expected,
            got: self.excerpt(self.start, end),
            token,
            line: self.excerpt(entry, end),
        }
    }

    pub(super) fn next(&mut self) -> Token {
        if self.dialect == Dialect::Text && self.state != State::MetaText {
            self.take_while(is_blank);
        }
        let Some(byte) = self.peek() else { return Token::Eof };
        self.start = self.pos;
        match (self.state, self.dialect) {
            (State::Init, _) => self.entry_start(byte),
            (State::MetaName, _) => self.meta_name(byte),
            (State::MetaText, Dialect::Text) => self.text_meta_text(),
            (State::MetaText, Dialect::OpenMetrics) => self.openmetrics_meta_text(byte),
            (State::Labels | State::Exemplar, _) => self.label_syntax(byte),
            (State::LabelValue, _) => self.string(byte, Token::LabelValue, State::Labels),
            (State::ExemplarValue, _) if byte == b'"' => self.string(byte, Token::LabelValue, State::Exemplar),
            (State::ExemplarValue, _) => self.spaced_word(byte, Token::Value, State::ExemplarTimestamp),
            (State::Value, _) if byte == b'{' => self.single(Token::BraceOpen, State::Labels),
            (State::Value, Dialect::Text) => self.text_value(),
            (State::Value, Dialect::OpenMetrics) => self.spaced_word(byte, Token::Value, State::Timestamp),
            (State::Timestamp | State::ExemplarTimestamp, _) if byte == b'\n' => {
                self.single(Token::Linebreak, State::Init)
            }
            (State::Timestamp, Dialect::Text) => self.text_timestamp(),
            (State::Timestamp, Dialect::OpenMetrics) => self.openmetrics_timestamp(byte),
            (State::ExemplarTimestamp, _) => self.spaced_word(byte, Token::Timestamp, State::ExemplarTimestamp),
        }
    }

    fn single(&mut self, token: Token, state: State) -> Token {
        self.pos += 1;
        self.state = state;
        token
    }

    /// Passes over bytes of the body that satisfy a condition, returns whether there were any.
    fn take_while(&mut self, accept: impl Fn(u8) -> bool) -> bool {
        let rest = &self.body[self.pos.min(self.body.len())..];
        let taken = rest.iter().take_while(|byte| accept(**byte)).count();
        self.pos += taken;
        taken > 0
    }

    /// Passes over the rest of the line.
    fn take_line(&mut self) {
        let rest = &self.body[self.pos.min(self.body.len())..];
        self.pos += memchr::memchr(b'\n', rest).unwrap_or(rest.len());
    }

    fn take_literal(&mut self, literal: &[u8]) -> bool {
        for byte in literal {
            if self.peek() != Some(*byte) {
                return false;
            }
            self.pos += 1;
        }
        true
    }

    fn entry_start(&mut self, byte: u8) -> Token {
        match (byte, self.dialect) {
            (b'#', Dialect::Text) => self.text_comment(),
            (b'#', Dialect::OpenMetrics) => self.openmetrics_comment(),
            (b'\n', Dialect::Text) => self.single(Token::Linebreak, State::Init),
            (b'{', _) => self.single(Token::BraceOpen, State::Labels),
            (byte, _) if is_name_start(byte) => {
                self.take_while(is_name_byte);
                self.state = State::Value;
                Token::MetricName
            }
            _ => Token::Invalid,
        }
    }

    /// `# HELP `, `# TYPE ` or any other line that begins with `#`.
    fn text_comment(&mut self) -> Token {
        self.pos += 1;
        if self.take_while(is_blank) {
            for (word, token) in [(b"HELP", Token::Help), (b"TYPE", Token::Type)] {
                let start = self.pos;
                if self.take_literal(word) && self.take_while(is_blank) {
                    self.state = State::MetaName;
                    return token;
                }
                self.pos = start;
            }
        }
        self.take_line();
        Token::Comment
    }

    fn openmetrics_comment(&mut self) -> Token {
        self.pos += 1;
        if !self.take_literal(b" ") {
            return Token::Invalid;
        }
        let (word, token) = match self.peek() {
            Some(b'H') => (&b"HELP "[..], Token::Help),
            Some(b'T') => (&b"TYPE "[..], Token::Type),
            Some(b'U') => (&b"UNIT "[..], Token::Unit),
            _ => (&b"EOF"[..], Token::EofWord),
        };
        if !self.take_literal(word) {
            return Token::Invalid;
        }
        match token {
            Token::EofWord => drop(self.take_literal(b"\n")),
            _ => self.state = State::MetaName,
        }
        token
    }

    fn meta_name(&mut self, byte: u8) -> Token {
        if byte == b'"' {
            return self.string(byte, Token::MetricName, State::MetaText);
        }
        if !is_name_start(byte) {
            return Token::Invalid;
        }
        self.take_while(is_name_byte);
        self.state = State::MetaText;
        Token::MetricName
    }

    /// The rest of the line; nothing when it is blank.
    fn text_meta_text(&mut self) -> Token {
        self.take_line();
        if self.token().iter().all(|byte| is_blank(*byte)) {
            self.start = self.pos;
        }
        self.state = State::Init;
        Token::Text
    }

    /// A space and the rest of the line with its newline.
    fn openmetrics_meta_text(&mut self, byte: u8) -> Token {
        if byte != b' ' {
            return Token::Invalid;
        }
        self.take_line();
        if !self.take_literal(b"\n") {
            return Token::Invalid;
        }
        self.state = State::Init;
        Token::Text
    }

    fn label_syntax(&mut self, byte: u8) -> Token {
        let in_exemplar = self.state == State::Exemplar;
        match byte {
            b'}' => self.single(Token::BraceClose, if in_exemplar { State::ExemplarValue } else { State::Value }),
            b'=' => self.single(Token::Equal, if in_exemplar { State::ExemplarValue } else { State::LabelValue }),
            b',' => self.single(Token::Comma, self.state),
            b'"' => self.string(byte, Token::QuotedString, self.state),
            byte if is_name_start(byte) && byte != b':' => {
                self.take_while(|byte| is_name_byte(byte) && byte != b':');
                Token::LabelName
            }
            _ => Token::Invalid,
        }
    }

    /// A string in double quotes; a backslash takes the next byte along, whatever it is.
    fn string(&mut self, byte: u8, token: Token, next: State) -> Token {
        if byte != b'"' {
            return Token::Invalid;
        }
        let takes_newline = self.dialect == Dialect::Text || matches!(self.state, State::MetaName | State::Labels);
        let takes_nul = self.state == State::LabelValue;
        self.pos += 1;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => return self.single(token, next),
                b'\n' if !takes_newline => break,
                0 if !takes_nul => break,
                b'\\' => {
                    self.pos += 1;
                    if self.peek() == Some(b'\n') {
                        break;
                    }
                }
                _ => {}
            }
            self.pos = (self.pos + 1).min(self.len());
        }
        Token::Invalid
    }

    fn text_value(&mut self) -> Token {
        if !self.take_while(|byte| !is_blank(byte) && !b"{\n\0".contains(&byte)) {
            return Token::Invalid;
        }
        self.state = State::Timestamp;
        Token::Value
    }

    fn text_timestamp(&mut self) -> Token {
        if self.take_while(|byte| byte.is_ascii_digit()) { Token::Timestamp } else { Token::Invalid }
    }

    /// A space and a word; the word is the token's bytes without the first.
    fn spaced_word(&mut self, byte: u8, token: Token, next: State) -> Token {
        if byte != b' ' {
            return Token::Invalid;
        }
        self.pos += 1;
        if !self.take_while(|byte| byte != b' ' && byte != b'\n' && byte != 0) {
            return Token::Invalid;
        }
        self.state = next;
        token
    }

    /// A timestamp, or ` # {`, which opens an exemplar.
    fn openmetrics_timestamp(&mut self, byte: u8) -> Token {
        if self.body[self.pos..].starts_with(b" # ") {
            self.pos += 3;
            return if self.peek() == Some(b'{') {
                self.single(Token::Comment, State::Exemplar)
            } else {
                Token::Invalid
            };
        }
        self.spaced_word(byte, Token::Timestamp, State::Timestamp)
    }
}
