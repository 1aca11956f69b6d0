//! One entry of a text format, read strictly: the order of tokens, and what may not be combined.
//!
//! Leaves the meaning of labels to [`super::series`]. Everything is kept as places in the body; nothing is copied.

use std::ops::Range;

use pharos_model::{MetricType, TimestampMs};

use super::error::{ParseErrorKind, quote_bytes};
use super::lexer::{Dialect, Lexer, Token};
use super::value;
use crate::label_limits::LabelLimits;

/// Where a label's name and value stand, without their quotes and with their escapes.
#[derive(Clone, Debug)]
pub(super) struct LabelSpan {
    pub name: Range<usize>,
    pub value: Range<usize>,
}

/// The labels of a series or exemplar. What is beyond [`LabelLimits::CEILING`] is counted and not kept, because a label of five
/// bytes takes 32 here.
#[derive(Debug, Default)]
pub(super) struct Labels {
    pub spans: Vec<LabelSpan>,
    pub count: usize,
}

impl Labels {
    fn clear(&mut self) {
        self.spans.clear();
        self.count = 0;
    }

    fn push(&mut self, span: LabelSpan) {
        self.count += 1;
        if LabelLimits::CEILING.allows_labels(self.count) {
            self.spans.push(span);
        }
    }
}

/// What kind of entry [`Line::read`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Help,
    Type,
    Unit,
    Comment,
    Series,
}

/// The exemplar behind a sample's value.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExemplarValue {
    pub value: f64,
    pub ts: Option<TimestampMs>,
}

/// The parts of the last entry; which ones are filled depends on its kind. Kept between entries for its buffers.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Metadata: the metric family and the rest of the line.
    pub family: Range<usize>,
    pub text: Range<usize>,
    pub metric_type: MetricType,
    /// Series: the text up to the end of the labels, and its parts.
    pub series: Range<usize>,
    pub name: Option<Range<usize>>,
    pub labels: Labels,
    pub value: f64,
    pub ts: Option<TimestampMs>,
    pub exemplar: Option<ExemplarValue>,
    pub exemplar_labels: Labels,
    /// Where the entry starts, for errors.
    start: usize,
}

type Result<T> = std::result::Result<T, ParseErrorKind>;

impl Line {
    /// Reads the next entry; `None` at the regular end of the body.
    pub(super) fn read(&mut self, lexer: &mut Lexer<'_>) -> Result<Option<Entry>> {
        loop {
            self.start = lexer.pos;
            let token = lexer.next();
            return match token {
                Token::Linebreak if lexer.dialect == Dialect::Text => continue,
                Token::Eof if lexer.dialect == Dialect::Text => Ok(None),
                Token::Eof => Err(ParseErrorKind::NoEof),
                Token::EofWord if lexer.next() == Token::Eof => Ok(None),
                Token::EofWord => Err(ParseErrorKind::DataAfterEof),
                Token::Help | Token::Type | Token::Unit => self.metadata(lexer, token).map(Some),
                Token::Comment => {
                    self.text = lexer.start..lexer.pos;
                    self.expect_linebreak(lexer, "linebreak expected after comment")?;
                    Ok(Some(Entry::Comment))
                }
                Token::BraceOpen | Token::MetricName => {
                    let next = self.series_after(lexer, token)?;
                    self.value_and_rest(lexer, next)?;
                    Ok(Some(Entry::Series))
                }
                _ => Err(lexer.unexpected("expected a valid start token", token, self.start)),
            };
        }
    }

    /// Reads only the name and labels of the series that starts at the lexer's position, in an entry that starts at `entry`.
    pub(super) fn read_series(&mut self, lexer: &mut Lexer<'_>, entry: usize) -> Result<()> {
        self.start = entry;
        let first = lexer.next();
        self.series_after(lexer, first).map(drop)
    }

    fn expect_linebreak(&self, lexer: &mut Lexer<'_>, expected: &'static str) -> Result<()> {
        match lexer.next() {
            Token::Linebreak => Ok(()),
            token => Err(lexer.unexpected(expected, token, self.start)),
        }
    }

    fn metadata(&mut self, lexer: &mut Lexer<'_>, keyword: Token) -> Result<Entry> {
        let token = lexer.next();
        if token != Token::MetricName {
            let expected = match keyword {
                Token::Help => "expected metric name after HELP",
                Token::Type => "expected metric name after TYPE",
                _ => "expected metric name after UNIT",
            };
            return Err(lexer.unexpected(expected, token, self.start));
        }
        self.family = unquoted(lexer);
        if lexer.next() != Token::Text {
            return Err(ParseErrorKind::NoText(keyword.as_str()));
        }
        // The blank after the name is no part of the text, nor is OpenMetrics' newline.
        let end = lexer.pos - usize::from(lexer.dialect == Dialect::OpenMetrics);
        self.text = (lexer.start + 1).min(end)..end;
        let text = &lexer.body()[self.text.clone()];
        let entry = match keyword {
            Token::Type => {
                self.metric_type = std::str::from_utf8(text)
                    .ok()
                    .and_then(|word| metric_type(word, lexer.dialect))
                    .ok_or_else(|| ParseErrorKind::MetricType(quote_bytes(text)))?;
                Entry::Type
            }
            Token::Help if std::str::from_utf8(text).is_err() => {
                return Err(ParseErrorKind::HelpNotUtf8(quote_bytes(text)));
            }
            Token::Help => Entry::Help,
            _ => {
                self.check_unit(lexer.body())?;
                Entry::Unit
            }
        };
        if lexer.dialect == Dialect::Text {
            self.expect_linebreak(lexer, "linebreak expected after metadata")?;
        }
        Ok(entry)
    }

    fn check_unit(&self, body: &[u8]) -> Result<()> {
        let (family, unit) = (&body[self.family.clone()], &body[self.text.clone()]);
        if unit.is_empty() || is_unit_suffix(family, unit) {
            return Ok(());
        }
        Err(ParseErrorKind::Unit { unit: quote_bytes(unit), metric: quote_bytes(family) })
    }

    /// The series whose first token was just read. Returns the token after it.
    fn series_after(&mut self, lexer: &mut Lexer<'_>, first: Token) -> Result<Token> {
        self.labels.clear();
        self.exemplar = None;
        let start = lexer.start;
        let next = if first == Token::BraceOpen {
            self.name = None;
            self.labels(lexer)?;
            self.series = start..lexer.pos;
            lexer.next()
        } else {
            self.name = Some(start..lexer.pos);
            self.series = start..lexer.pos;
            match lexer.next() {
                Token::BraceOpen => {
                    self.labels(lexer)?;
                    self.series = start..lexer.pos;
                    lexer.next()
                }
                token => token,
            }
        };
        match self.name {
            Some(_) => Ok(next),
            None => Err(ParseErrorKind::NameNotSet(lexer.excerpt(self.start, lexer.pos))),
        }
    }

    /// What stands between the braces of a series, the closing one included. A quoted string alone is the metric name.
    fn labels(&mut self, lexer: &mut Lexer<'_>) -> Result<()> {
        let mut token = lexer.next();
        loop {
            let is_quoted = token == Token::QuotedString;
            match token {
                Token::BraceClose => return Ok(()),
                Token::LabelName | Token::QuotedString => {}
                _ => return Err(lexer.unexpected("expected label name", token, self.start)),
            }
            let name = unquoted(lexer);
            token = lexer.next();
            if is_quoted && matches!(token, Token::Comma | Token::BraceClose) {
                if self.name.is_some() {
                    return Err(ParseErrorKind::NameAlreadySet(lexer.excerpt(self.start, lexer.pos)));
                }
                self.name = Some(name);
                if token == Token::BraceClose {
                    return Ok(());
                }
                token = lexer.next();
                continue;
            }
            let value = label_value(lexer, token, self.start)?;
            self.labels.push(LabelSpan { name, value });
            token = after_label(lexer, self.start)?;
        }
    }

    fn exemplar_labels(&mut self, lexer: &mut Lexer<'_>) -> Result<()> {
        self.exemplar_labels.clear();
        let mut token = lexer.next();
        loop {
            match token {
                Token::BraceClose => return Ok(()),
                Token::LabelName | Token::QuotedString => {}
                _ => return Err(lexer.unexpected("expected label name", token, self.start)),
            }
            let name = unquoted(lexer);
            token = lexer.next();
            if matches!(token, Token::Comma | Token::BraceClose) {
                return Err(lexer.unexpected("expected label name", token, self.start));
            }
            let value = label_value(lexer, token, self.start)?;
            self.exemplar_labels.push(LabelSpan { name, value });
            token = after_label(lexer, self.start)?;
        }
    }

    fn value_and_rest(&mut self, lexer: &mut Lexer<'_>, token: Token) -> Result<()> {
        if token != Token::Value {
            return Err(lexer.unexpected("expected value after metric", token, self.start));
        }
        self.value = self.float(lexer)?;
        self.ts = None;
        match lexer.dialect {
            Dialect::Text => self.text_timestamp(lexer),
            Dialect::OpenMetrics => self.openmetrics_timestamp(lexer),
        }
    }

    /// The float that the last token is, without OpenMetrics' leading space.
    fn float(&self, lexer: &Lexer<'_>) -> Result<f64> {
        let word = match lexer.dialect {
            Dialect::Text => lexer.token(),
            Dialect::OpenMetrics => &lexer.token()[1..],
        };
        value::parse(word)
            .map_err(|reason| ParseErrorKind::Float { reason, line: lexer.excerpt(self.start, lexer.pos) })
    }

    /// Milliseconds, digits only.
    fn text_timestamp(&mut self, lexer: &mut Lexer<'_>) -> Result<()> {
        match lexer.next() {
            Token::Linebreak => Ok(()),
            Token::Timestamp => {
                let digits = lexer.token();
                let ts = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
                self.ts = Some(ts.ok_or_else(|| ParseErrorKind::TimestampRange {
                    text: quote_bytes(digits),
                    line: lexer.excerpt(self.start, lexer.pos),
                })?);
                self.expect_linebreak(lexer, "expected next entry after timestamp")
            }
            token => Err(lexer.unexpected("expected timestamp or new record", token, self.start)),
        }
    }

    /// Seconds as a float, then perhaps an exemplar.
    fn openmetrics_timestamp(&mut self, lexer: &mut Lexer<'_>) -> Result<()> {
        match lexer.next() {
            Token::Eof => Err(ParseErrorKind::NoEof),
            Token::Linebreak => Ok(()),
            Token::Comment => self.read_exemplar(lexer),
            Token::Timestamp => {
                self.ts = Some(milliseconds(self.float(lexer)?).map_err(ParseErrorKind::Timestamp)?);
                match lexer.next() {
                    Token::Linebreak => Ok(()),
                    Token::Comment => self.read_exemplar(lexer),
                    token => Err(lexer.unexpected("expected next entry after timestamp", token, self.start)),
                }
            }
            token => Err(lexer.unexpected("expected timestamp or exemplar", token, self.start)),
        }
    }

    fn read_exemplar(&mut self, lexer: &mut Lexer<'_>) -> Result<()> {
        self.exemplar_labels(lexer)?;
        let token = lexer.next();
        if token != Token::Value {
            return Err(lexer.unexpected("expected value after exemplar labels", token, self.start));
        }
        let value = self.float(lexer)?;
        let ts = match lexer.next() {
            Token::Eof => return Err(ParseErrorKind::NoEof),
            Token::Linebreak => None,
            Token::Timestamp => {
                let ts = milliseconds(self.float(lexer)?).map_err(ParseErrorKind::ExemplarTimestamp)?;
                self.expect_linebreak(lexer, "expected next entry after exemplar timestamp")?;
                Some(ts)
            }
            token => return Err(lexer.unexpected("expected timestamp or comment", token, self.start)),
        };
        self.exemplar = Some(ExemplarValue { value, ts });
        Ok(())
    }
}

/// `=` and the value of a label whose name was read; `token` is the one after the name.
fn label_value(lexer: &mut Lexer<'_>, token: Token, entry: usize) -> Result<Range<usize>> {
    if token != Token::Equal {
        return Err(lexer.unexpected("expected equal", token, entry));
    }
    let token = lexer.next();
    if token != Token::LabelValue {
        return Err(lexer.unexpected("expected label value", token, entry));
    }
    if std::str::from_utf8(lexer.token()).is_err() {
        return Err(ParseErrorKind::LabelValueNotUtf8(quote_bytes(lexer.token())));
    }
    Ok(lexer.start + 1..lexer.pos - 1)
}

/// The first token of the next label or the closing brace. The text format does without the comma.
fn after_label(lexer: &mut Lexer<'_>, entry: usize) -> Result<Token> {
    match lexer.next() {
        Token::Comma => Ok(lexer.next()),
        token if token == Token::BraceClose || lexer.dialect == Dialect::Text => Ok(token),
        token => Err(lexer.unexpected("expected comma or brace close", token, entry)),
    }
}

/// The place of the last token without its quotes.
fn unquoted(lexer: &Lexer<'_>) -> Range<usize> {
    let quotes = usize::from(lexer.token().first() == Some(&b'"'));
    lexer.start + quotes..lexer.pos - quotes
}

/// Seconds to milliseconds as Go's `int64(ts * 1000)`; what is no point in time is returned as its name.
fn milliseconds(seconds: f64) -> std::result::Result<TimestampMs, &'static str> {
    match seconds {
        s if s.is_nan() => Err("NaN"),
        f64::INFINITY => Err("+Inf"),
        f64::NEG_INFINITY => Err("-Inf"),
        s => Ok((s * 1000.0) as TimestampMs),
    }
}

/// Whether `family` ends with `_unit`.
pub(super) fn is_unit_suffix(family: &[u8], unit: &[u8]) -> bool {
    family.strip_suffix(unit).is_some_and(|stem| stem.last() == Some(&b'_'))
}

/// The type that a TYPE line of a dialect may name.
pub(super) fn metric_type(word: &str, dialect: Dialect) -> Option<MetricType> {
    let metric_type = MetricType::parse(word)?;
    let is_known = match dialect {
        Dialect::Text => ["counter", "gauge", "histogram", "summary", "untyped"].contains(&word),
        Dialect::OpenMetrics => word != "untyped",
    };
    is_known.then_some(metric_type)
}
