//! Cuts a text into words. What a character means depends on where it stands: there are states for the
//! expression itself, the inside of braces, the duration language inside brackets, and (in [`series`]) the values of a series
//! description and its histogram literals.
//!
//! Positions and texts of errors are Prometheus'; a few of its positions lie behind the offending character, and are kept so.

mod series;

use crate::operators::BinaryOp;
use crate::token::{Keyword, Token, TokenKind};

/// A text that is not made of words. Where it begins, and what to tell the user.
#[derive(Debug)]
pub(crate) struct LexError {
    pub(crate) start: usize,
    pub(crate) message: String,
}

/// Where the next word stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Statements,
    InsideBraces,
    /// Inside `[...]`, as long as only operators, parentheses and `step()` and its kind were seen.
    Duration,
    ValueSequence,
    Histogram,
    Buckets,
}

/// What a state answers: a word, or that it only skipped something.
type Scanned = Result<Option<TokenKind>, String>;

#[derive(Debug)]
pub(crate) struct Lexer<'a> {
    input: &'a str,
    state: State,
    /// Everything before is consumed.
    pos: usize,
    /// Where the word being read began.
    start: usize,
    paren_depth: usize,
    bracket_open: bool,
    /// A colon was seen since `[`.
    got_colon: bool,
    /// A number or duration was seen inside brackets.
    got_duration: bool,
    /// The text is a series description.
    series: bool,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(input: &'a str) -> Self {
        Self {
            input,
            state: State::Statements,
            pos: 0,
            start: 0,
            paren_depth: 0,
            bracket_open: false,
            got_colon: false,
            got_duration: false,
            series: false,
        }
    }

    /// For `metric{labels} value value ...`.
    pub(crate) fn for_series(input: &'a str) -> Self {
        Self { series: true, ..Self::new(input) }
    }

    /// The next word; [`TokenKind::Eof`] for ever once the text has ended.
    pub(crate) fn next_token(&mut self) -> Result<Token<'a>, LexError> {
        loop {
            self.start = self.pos;
            let scanned = match self.state {
                State::Statements => self.statements(),
                State::InsideBraces => self.inside_braces(),
                State::Duration => self.duration_expression(),
                State::ValueSequence => self.value_sequence(),
                State::Histogram => self.histogram(),
                State::Buckets => self.buckets(),
            };
            match scanned {
                Ok(Some(kind)) => {
                    return Ok(Token { kind, start: self.start, text: &self.input[self.start..self.pos] });
                }
                Ok(None) => {}
                Err(message) => return Err(LexError { start: self.start, message }),
            }
        }
    }

    fn rest(&self) -> &'a str {
        &self.input[self.pos..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn advance(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.pos += c.len_utf8();
        Some(c)
    }

    /// Consumes the next character if it is `c`.
    fn take(&mut self, c: char) -> bool {
        self.take_if(|next| next == c)
    }

    fn take_if(&mut self, wanted: impl Fn(char) -> bool) -> bool {
        let found = self.peek().is_some_and(wanted);
        if found {
            self.advance();
        }
        found
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) {
        while self.take_if(&wanted) {}
    }

    /// An error whose place is behind what was read, not at its start.
    fn error_behind(&mut self, message: String) -> Scanned {
        self.start = self.pos;
        Err(message)
    }

    fn statements(&mut self) -> Scanned {
        use {BinaryOp as B, TokenKind as T};
        if self.peek() == Some('#') {
            return self.comment();
        }
        let Some(c) = self.advance() else {
            return match () {
                () if self.paren_depth != 0 => Err("unclosed left parenthesis".into()),
                () if self.bracket_open => Err("unclosed left bracket".into()),
                () => Ok(Some(T::Eof)),
            };
        };
        Ok(Some(match c {
            c if is_space(c) => {
                self.take_while(is_space);
                return Ok(None);
            }
            ',' => T::Comma,
            '*' => T::Operator(B::Mul),
            '/' => T::Operator(B::Div),
            '%' => T::Operator(B::Mod),
            '+' => T::Operator(B::Add),
            '-' => T::Operator(B::Sub),
            '^' => T::Operator(B::Pow),
            '@' => T::At,
            '=' if self.take('=') => T::Operator(B::Eq),
            '=' if self.peek() == Some('~') => return Err("unexpected character after '=': '~'".into()),
            '=' => T::Assign,
            '!' => match self.advance() {
                Some('=') => T::Operator(B::NotEq),
                other => return Err(format!("unexpected character after '!': {}", quote_char(other))),
            },
            '<' if self.take('=') => T::Operator(B::LessEq),
            '<' if self.take('/') => T::Operator(B::TrimUpper),
            '<' => T::Operator(B::Less),
            '>' if self.take('=') => T::Operator(B::GreaterEq),
            '>' if self.take('/') => T::Operator(B::TrimLower),
            '>' => T::Operator(B::Greater),
            '"' | '\'' | '`' => return self.string(c),
            c if self.begins_number(c) => return self.number_or_duration(),
            ':' if self.bracket_open => {
                if self.got_colon {
                    return Err("unexpected colon ':'".into());
                }
                self.got_colon = true;
                T::Colon
            }
            c if is_alpha(c) && self.bracket_open => {
                return match self.duration_word(c) {
                    Some(kind) => Ok(Some(kind)),
                    None => Err(format!("unexpected character: {}, expected ':'", quote_char(Some(c)))),
                };
            }
            c if is_alpha(c) || c == ':' => return self.word(),
            '(' => {
                self.paren_depth += 1;
                T::LeftParen
            }
            ')' => return self.right_paren(),
            '{' => {
                self.state = State::InsideBraces;
                T::LeftBrace
            }
            '[' if self.bracket_open => return Err("unexpected left bracket '['".into()),
            '[' => {
                self.got_colon = false;
                self.bracket_open = true;
                self.state = State::Duration;
                T::LeftBracket
            }
            ']' if !self.bracket_open => return Err("unexpected right bracket ']'".into()),
            ']' => {
                self.bracket_open = false;
                T::RightBracket
            }
            c => return Err(format!("unexpected character: {}", quote_char(Some(c)))),
        }))
    }

    fn right_paren(&mut self) -> Scanned {
        match self.paren_depth.checked_sub(1) {
            Some(depth) => {
                self.paren_depth = depth;
                Ok(Some(TokenKind::RightParen))
            }
            None => self.error_behind("unexpected right parenthesis ')'".into()),
        }
    }

    /// Inside `{...}`: no keywords, other operators.
    fn inside_braces(&mut self) -> Scanned {
        use TokenKind as T;
        if self.peek() == Some('#') {
            return self.comment();
        }
        let Some(c) = self.advance() else {
            return Err("unexpected end of input inside braces".into());
        };
        Ok(Some(match c {
            c if is_space(c) => {
                self.take_while(is_space);
                return Ok(None);
            }
            c if is_alpha(c) => {
                self.take_while(is_alphanumeric);
                T::Identifier
            }
            ',' => T::Comma,
            '"' | '\'' | '`' => return self.string(c),
            '=' if self.take('~') => T::MatchRegex,
            '=' => T::Assign,
            '!' => match self.advance() {
                Some('~') => T::MatchNotRegex,
                Some('=') => T::Operator(BinaryOp::NotEq),
                other => return Err(format!("unexpected character after '!' inside braces: {}", quote_char(other))),
            },
            '{' => return Err("unexpected left brace '{'".into()),
            '}' => {
                self.state = if self.series { State::ValueSequence } else { State::Statements };
                T::RightBrace
            }
            c => return Err(format!("unexpected character inside braces: {}", quote_char(Some(c)))),
        }))
    }

    /// Inside `[...]`.
    fn duration_expression(&mut self) -> Scanned {
        use {BinaryOp as B, TokenKind as T};
        let Some(c) = self.advance() else {
            return Err("unexpected end of input in duration expression".into());
        };
        Ok(Some(match c {
            ']' => {
                self.bracket_open = false;
                self.got_colon = false;
                self.state = State::Statements;
                T::RightBracket
            }
            ':' if !self.got_duration => {
                return self.error_behind("unexpected colon before duration in duration expression".into());
            }
            ':' if self.got_colon => {
                return self.error_behind("unexpected repeated colon in duration expression".into());
            }
            ':' => {
                self.got_colon = true;
                T::Colon
            }
            '(' => {
                self.paren_depth += 1;
                T::LeftParen
            }
            ')' => return self.right_paren(),
            c if is_space(c) => {
                self.take_while(is_space);
                return Ok(None);
            }
            '+' => T::Operator(B::Add),
            '-' => T::Operator(B::Sub),
            '*' => T::Operator(B::Mul),
            '/' => T::Operator(B::Div),
            '%' => T::Operator(B::Mod),
            '^' => T::Operator(B::Pow),
            ',' => T::Comma,
            c if self.begins_number(c) => {
                self.got_duration = true;
                return self.number_or_duration();
            }
            c => match self.duration_word(c) {
                Some(kind) => kind,
                None => return Err(format!("unexpected character in duration expression: {}", quote_char(Some(c)))),
            },
        }))
    }

    /// `step`, `range`, `min_of` or `max_of`, the first letter of which is read.
    fn duration_word(&mut self, first: char) -> Option<TokenKind> {
        if !matches!(first.to_ascii_lowercase(), 's' | 'r' | 'm') {
            return None;
        }
        self.take_while(is_alpha);
        TokenKind::of_duration_word(&self.input[self.start..self.pos])
    }

    /// A comment up to the end of its line.
    fn comment(&mut self) -> Scanned {
        self.take_while(|c| c != '\n' && c != '\r');
        Ok(Some(TokenKind::Comment))
    }

    /// An identifier or keyword, the first character of which is read.
    fn word(&mut self) -> Scanned {
        self.take_while(|c| is_alphanumeric(c) || c == ':');
        let word = &self.input[self.start..self.pos];
        let plain = if word.contains(':') { TokenKind::MetricIdentifier } else { TokenKind::Identifier };
        let kind = match TokenKind::of_word(word) {
            // These came late to the language: metrics of that name must go on working.
            Some(TokenKind::Keyword(Keyword::Fill | Keyword::FillLeft | Keyword::FillRight))
                if !self.rest().trim_start_matches(is_space).starts_with('(') =>
            {
                plain
            }
            Some(kind) => kind,
            None => plain,
        };
        if self.series && self.peek() != Some('{') {
            self.state = State::ValueSequence;
        }
        Ok(Some(kind))
    }

    /// A string, the opening quote of which is read. Checks escapes, and leaves resolving them to [`crate::literal`].
    fn string(&mut self, quote: char) -> Scanned {
        let raw = quote == '`';
        loop {
            match self.advance() {
                None if raw => return Err("unterminated raw string".into()),
                None => return Err("unterminated quoted string".into()),
                Some('\n') if !raw => return Err("unterminated quoted string".into()),
                // What could not be decoded was replaced by this before it came here.
                Some(char::REPLACEMENT_CHARACTER) => return Err("invalid UTF-8 rune".into()),
                Some('\\') if !raw => self.escape(quote)?,
                Some(c) if c == quote => return Ok(Some(TokenKind::String)),
                Some(_) => {}
            }
        }
    }

    /// An escape sequence, the backslash of which is read.
    fn escape(&mut self, quote: char) -> Result<(), String> {
        let (digits, base, max) = match self.peek() {
            Some('a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\') => {
                self.advance();
                return Ok(());
            }
            Some(c) if c == quote => {
                self.advance();
                return Ok(());
            }
            Some('0'..='7') => (3, 8, 255),
            Some('x') => (2, 16, 255),
            Some('u') => (4, 16, u32::from(char::MAX)),
            Some('U') => (8, 16, u32::from(char::MAX)),
            None => return Err("escape sequence not terminated".into()),
            Some(c) => return Err(format!("unknown escape sequence {}", unicode_name(c))),
        };
        if base == 16 {
            self.advance();
        }
        let mut value: u32 = 0;
        for _ in 0..digits {
            let Some(c) = self.advance() else {
                return Err("escape sequence not terminated".into());
            };
            let Some(digit) = c.to_digit(base) else {
                return Err(format!("illegal character {} in escape sequence", unicode_name(c)));
            };
            value = value.wrapping_mul(base).wrapping_add(digit);
        }
        if value > max || (0xd800..0xe000).contains(&value) {
            return Err("escape sequence is an invalid Unicode code point".into());
        }
        Ok(())
    }

    /// Whether a number starts with `c`, which is read.
    fn begins_number(&self, c: char) -> bool {
        c.is_ascii_digit() || (c == '.' && self.peek().is_some_and(|next| next.is_ascii_digit()))
    }

    /// A number or duration, the first character of which is read.
    fn number_or_duration(&mut self) -> Scanned {
        self.pos = self.start;
        if self.state == State::Duration {
            self.state = State::Statements;
        }
        if self.scan_number() {
            return Ok(Some(TokenKind::Number));
        }
        if self.scan_duration_rest() {
            return Ok(Some(TokenKind::Duration));
        }
        Err(format!("bad number or duration syntax: {}", self.quoted_word()))
    }

    /// What was read of the current word, for an error text.
    fn quoted_word(&self) -> String {
        pharos_model::labels::quote(&self.input[self.start..self.pos])
    }

    /// Reads on from where [`Self::scan_number`] gave up, at a unit.
    fn scan_duration_rest(&mut self) -> bool {
        if !self.take_if(|c| "smhdwy".contains(c)) {
            return false;
        }
        // For `ms`. Units that do not exist, such as `hs`, are found when the duration is evaluated.
        self.take('s');
        while self.take_if(|c| c.is_ascii_digit()) {
            self.take_while(|c| c.is_ascii_digit());
            if !self.take_if(|c| "smhdw".contains(c)) {
                return false;
            }
            self.take('s');
        }
        // The character that spoils it shows in the error text.
        !self.take_if(is_alphanumeric)
    }

    /// Reads what looks like a number. `false` when it is none; then what was read shows in the error text.
    fn scan_number(&mut self) -> bool {
        let begin = self.pos;
        let mut hexadecimal = false;
        // `0x` would be ambiguous in a series description, where `x` repeats.
        if !self.series && self.take('0') && self.take_if(|c| matches!(c, 'x' | 'X')) {
            self.take('_');
            hexadecimal = true;
        }
        let is_digit = move |c: char| if hexadecimal { c.is_ascii_hexdigit() } else { c.is_ascii_digit() };
        let is_exponent = |c: char| matches!(c, 'e' | 'E');
        let may_not_follow = |c: char| matches!(c, '.' | '_' | 'e' | 'E');
        self.take('.');
        self.take_if(is_digit);
        let (mut got_dot, mut got_exponent) = (false, false);
        loop {
            match self.peek() {
                Some('.') => {
                    self.advance();
                    if got_dot || self.take_if(|c| matches!(c, '.' | '_')) || hexadecimal {
                        return false;
                    }
                    got_dot = true;
                }
                Some(c) if is_exponent(c) && got_exponent => {
                    self.advance();
                    return false;
                }
                Some(c) if is_exponent(c) && !hexadecimal => {
                    self.advance();
                    got_exponent = true;
                    self.take_if(|c| matches!(c, '+' | '-'));
                    if self.take_if(may_not_follow) || self.peek().is_none() {
                        return false;
                    }
                }
                Some('_') => {
                    self.advance();
                    if self.take_if(may_not_follow) || self.peek().is_none() {
                        return false;
                    }
                }
                Some(c) if is_digit(c) => self.take_while(is_digit),
                _ => break,
            }
        }
        if self.pos == begin {
            return false;
        }
        match self.peek() {
            Some('x') if self.series => true,
            Some(c) => !is_alphanumeric(c),
            None => true,
        }
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn is_alpha(c: char) -> bool {
    c == '_' || c.is_ascii_alphabetic()
}

fn is_alphanumeric(c: char) -> bool {
    is_alpha(c) || c.is_ascii_digit()
}

/// A character in single quotes as Go's `%q` writes it; the end of the text shows as U+FFFD.
fn quote_char(c: Option<char>) -> String {
    match c.unwrap_or(char::REPLACEMENT_CHARACTER) {
        '\'' => "'\\''".into(),
        '"' => "'\"'".into(),
        c => {
            let quoted = pharos_model::labels::quote(c.encode_utf8(&mut [0; 4]));
            format!("'{}'", &quoted[1..quoted.len() - 1])
        }
    }
}

/// A character as Go's `%#U` writes it: `U+0078 'x'`.
fn unicode_name(c: char) -> String {
    if c.is_control() { format!("U+{:04X}", u32::from(c)) } else { format!("U+{:04X} '{c}'", u32::from(c)) }
}
