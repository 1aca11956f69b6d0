//! Series descriptions: a metric, then values with repetitions and histogram literals.

use std::sync::Arc;

use pharos_model::labels::METRIC_NAME;
use pharos_model::{CounterResetHint, FloatHistogram, LabelSet, histogram};

use super::{Context, Parse, Parser};
use crate::error::ParseErrors;
use crate::lexer::Lexer;
use crate::operators::BinaryOp;
use crate::series::histogram::{Combine, combine};
use crate::series::{SEQUENCE_VALUES_MAX, SequenceValue, SeriesDescription};
use crate::span::Span;
use crate::token::{Descriptor, TokenKind};
use crate::{ParserOptions, literal};

const VALUES: Context = Context::new("series values", "");
const VALUE: Context = Context::new("series values", "number or \"stale\"");
const LABEL: Context = Context::new("label set", "identifier or \"}\"");
const LABEL_EQUALS: Context = Context::new("label set", "\"=\"");
const LABEL_VALUE: Context = Context::new("label set", "string");
const LABEL_NEXT: Context = Context::new("label set", "\",\" or \"}\"");
const HISTOGRAM: Context = Context::new("histogram description", "histogram description key, e.g. buckets:[5 10 7]");

pub(crate) fn parse_series(input: &str) -> Result<SeriesDescription, ParseErrors> {
    let mut parser = Parser::new(input, Lexer::for_series(input), &ParserOptions::default())?;
    let parsed = parser.series_description();
    parser.finish(parsed)
}

/// A histogram literal, read.
struct Literal {
    histogram: FloatHistogram,
    hint_given: bool,
}

/// How often a value is repeated, and where that was written.
struct Repetition {
    count: usize,
    span: Span,
}

impl Literal {
    fn value(self) -> SequenceValue {
        SequenceValue::Histogram { histogram: Arc::new(self.histogram), hint_given: self.hint_given }
    }
}

impl Parser<'_> {
    fn series_description(&mut self) -> Parse<SeriesDescription> {
        let name = match self.peek_kind()? {
            kind if kind.is_metric_name() => Some(self.take()?.text),
            _ => None,
        };
        let mut labels = self.label_set()?;
        labels.extend(name.map(|name| (METRIC_NAME.to_owned(), name.to_owned())));
        let values = self.within(VALUES, Self::sequence)?;
        Ok(SeriesDescription { labels: LabelSet::from_pairs(labels), values })
    }

    /// Labels in braces, which may be missing; a comma may come last.
    fn label_set(&mut self) -> Parse<Vec<(String, String)>> {
        let mut labels = Vec::new();
        if self.take_if(TokenKind::LeftBrace)?.is_none() {
            return Ok(labels);
        }
        while self.take_if(TokenKind::RightBrace)?.is_none() {
            labels.extend(self.label()?);
            match self.peek_kind()? {
                TokenKind::Comma => drop(self.take()?),
                TokenKind::RightBrace => {}
                _ => return self.unexpected_in(LABEL_NEXT),
            }
        }
        Ok(labels)
    }

    /// `name="value"`, or a metric's name in quotes. `None` when its text was complained about.
    fn label(&mut self) -> Parse<Option<(String, String)>> {
        let (name, quoted) = match self.peek_kind()? {
            TokenKind::Identifier => (Some(self.take()?.text.to_owned()), false),
            TokenKind::String => {
                let token = self.take()?;
                (self.utf8_text(token), true)
            }
            _ => return self.unexpected_in(LABEL),
        };
        if quoted && self.peek_kind()? != TokenKind::Assign {
            return Ok(name.map(|name| (METRIC_NAME.to_owned(), name)));
        }
        self.expect_in(TokenKind::Assign, LABEL_EQUALS)?;
        let value = self.expect_in(TokenKind::String, LABEL_VALUE)?;
        let value = self.utf8_text(value);
        Ok(name.zip(value))
    }

    fn sequence(&mut self) -> Parse<Vec<SequenceValue>> {
        let mut values = Vec::new();
        loop {
            match self.peek_kind()? {
                TokenKind::Eof => return Ok(values),
                TokenKind::Space => drop(self.take()?),
                _ => return self.unexpected(),
            }
            if !matches!(self.peek_kind()?, TokenKind::Eof | TokenKind::Space) {
                self.sequence_item(&mut values)?;
            }
        }
    }

    fn sequence_item(&mut self, values: &mut Vec<SequenceValue>) -> Parse<()> {
        match self.peek_kind()? {
            TokenKind::Blank => {
                self.take()?;
                let count = self.repetition_or_once(values.len(), 0)?;
                values.resize(values.len() + count, SequenceValue::Omitted);
                Ok(())
            }
            TokenKind::OpenHistogram => self.histogram_item(values),
            _ => self.float_item(values),
        }
    }

    fn float_item(&mut self, values: &mut Vec<SequenceValue>) -> Parse<()> {
        let mut value = self.sequence_float()?;
        let step = match self.peek_kind()? {
            TokenKind::Operator(_) => Some(self.signed_number()?),
            _ => None,
        };
        let repeated = self.repetition(values.len(), 1)?;
        if step.is_some() && repeated.is_none() {
            return self.unexpected();
        }
        for _ in 0..repeated.map_or(1, |repetition| repetition.count) {
            values.push(SequenceValue::Float(value));
            value += step.unwrap_or(0.0);
        }
        Ok(())
    }

    fn sequence_float(&mut self) -> Parse<f64> {
        if self.peek_kind()? == TokenKind::Identifier {
            if self.peek()?.text != "stale" {
                return self.unexpected_in(VALUE);
            }
            self.take()?;
            return Ok(pharos_model::sample::stale_nan());
        }
        self.signed_number()
    }

    /// `xN`: N and `more` values; `None` when nothing is repeated. `already` values are there.
    fn repetition(&mut self, already: usize, more: usize) -> Parse<Option<Repetition>> {
        if self.take_if(TokenKind::Times)?.is_none() {
            return Ok(None);
        }
        let token = self.expect(TokenKind::Number)?;
        let span = token.span();
        let count = match parse_uint(token.text) {
            Ok(count) => usize::try_from(count).unwrap_or(usize::MAX).saturating_add(more),
            Err(error) => {
                self.error(span, format!("invalid repetition in series values: {error}"));
                0
            }
        };
        if already.saturating_add(count) > SEQUENCE_VALUES_MAX {
            self.error(span, format!("series has more than {SEQUENCE_VALUES_MAX} values"));
            return Ok(Some(Repetition { count: 0, span }));
        }
        Ok(Some(Repetition { count, span }))
    }

    /// As [`Self::repetition`]; one value when nothing is repeated.
    fn repetition_or_once(&mut self, already: usize, more: usize) -> Parse<usize> {
        Ok(self.repetition(already, more)?.map_or(1, |repetition| repetition.count))
    }

    fn histogram_item(&mut self, values: &mut Vec<SequenceValue>) -> Parse<()> {
        let base = self.histogram()?;
        let operation = match self.peek_kind()? {
            TokenKind::Operator(BinaryOp::Add) => Combine::Add,
            TokenKind::Operator(BinaryOp::Sub) => Combine::Subtract,
            _ => {
                let count = self.repetition_or_once(values.len(), 1)?;
                values.resize(values.len() + count, base.value());
                return Ok(());
            }
        };
        self.take()?;
        let step = self.histogram()?;
        let Some(Repetition { count, span }) = self.repetition(values.len(), 1)? else {
            return self.unexpected();
        };
        let (mut current, hint_given) = (base.histogram, step.hint_given);
        for i in 0..count {
            if i > 0 {
                current = match combine(&current, &step.histogram, operation) {
                    Ok(next) => next,
                    Err(error) => {
                        self.error(span, error);
                        return Ok(());
                    }
                };
            }
            values.push(Literal { histogram: current.clone(), hint_given }.value());
        }
        Ok(())
    }

    /// `{{key:value key:value}}`.
    fn histogram(&mut self) -> Parse<Literal> {
        self.expect(TokenKind::OpenHistogram)?;
        let mut fields = Fields::default();
        let mut seen = Vec::new();
        loop {
            let space = self.take_if(TokenKind::Space)?.is_some();
            if self.take_if(TokenKind::CloseHistogram)?.is_some() {
                break;
            }
            if space == seen.is_empty() {
                return self.unexpected_in(if seen.is_empty() { VALUES } else { HISTOGRAM });
            }
            let context = if seen.is_empty() { VALUES } else { HISTOGRAM };
            let token = self.peek()?;
            let TokenKind::Descriptor(key) = token.kind else {
                return self.unexpected_in(context);
            };
            self.take()?;
            if seen.contains(&key) {
                self.error(Span::default(), format!("duplicate key \"{}\" in histogram", token.text));
            }
            seen.push(key);
            self.within(context, |parser| parser.histogram_field(key, &mut fields))?;
        }
        Ok(fields.into_literal())
    }

    fn histogram_field(&mut self, key: Descriptor, fields: &mut Fields) -> Parse<()> {
        use Descriptor as D;
        self.expect(TokenKind::Colon)?;
        let histogram = &mut fields.histogram;
        match key {
            D::Schema => histogram.schema = self.int32()?,
            D::Sum => histogram.sum = self.signed_number()?,
            D::Count => histogram.count = self.signed_number()?,
            D::ZeroBucket => histogram.zero_count = self.signed_number()?,
            D::ZeroBucketWidth => histogram.zero_threshold = self.number_literal()?.1.value,
            D::CustomValues => histogram.custom_values = self.bucket_set()?,
            D::Buckets => histogram.positive_buckets = self.bucket_set()?,
            D::NegativeBuckets => histogram.negative_buckets = self.bucket_set()?,
            D::Offset => fields.offset = self.int32()?,
            D::NegativeOffset => fields.negative_offset = self.int32()?,
            D::CounterResetHint => match self.peek_kind()? {
                TokenKind::ResetHint(hint) => {
                    self.take()?;
                    fields.hint = Some(hint);
                }
                _ => return self.unexpected(),
            },
        }
        Ok(())
    }

    /// Numbers in brackets, separated by space.
    fn bucket_set(&mut self) -> Parse<Vec<f64>> {
        self.expect(TokenKind::LeftBracket)?;
        let mut buckets = vec![self.signed_number()?];
        while self.take_if(TokenKind::RightBracket)?.is_none() {
            self.expect(TokenKind::Space)?;
            if self.peek_kind()? != TokenKind::RightBracket {
                buckets.push(self.signed_number()?);
            }
        }
        Ok(buckets)
    }

    /// An integer, cut to 32 bits.
    fn int32(&mut self) -> Parse<i32> {
        let negative = self.take_if(TokenKind::Operator(BinaryOp::Sub))?.is_some();
        let token = self.expect(TokenKind::Number)?;
        let value = parse_uint(token.text).unwrap_or_else(|error| {
            self.error(token.span(), format!("invalid repetition in series values: {error}"));
            0
        });
        Ok(if negative { (value as i32).wrapping_neg() } else { value as i32 })
    }
}

/// A histogram literal being read.
#[derive(Default)]
struct Fields {
    histogram: FloatHistogram,
    offset: i32,
    negative_offset: i32,
    hint: Option<CounterResetHint>,
}

impl Fields {
    fn into_literal(self) -> Literal {
        let span = |offset, buckets: &[f64]| match u32::try_from(buckets.len()) {
            Ok(length) if length > 0 => vec![histogram::Span { offset, length }],
            _ => Vec::new(),
        };
        let mut histogram = self.histogram;
        histogram.positive_spans = span(self.offset, &histogram.positive_buckets);
        histogram.negative_spans = span(self.negative_offset, &histogram.negative_buckets);
        histogram.counter_reset_hint = self.hint.unwrap_or_default();
        Literal { histogram, hint_given: self.hint.is_some() }
    }
}

/// Go's `strconv.ParseUint` in base 10.
fn parse_uint(text: &str) -> Result<u64, String> {
    text.parse().map_err(|error: std::num::ParseIntError| {
        let why = match error.kind() {
            std::num::IntErrorKind::PosOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("strconv.ParseUint: parsing {}: {why}", literal::quote_bytes(text.as_bytes()))
    })
}
