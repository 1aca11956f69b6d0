//! The parser of both text formats: the short way for ordinary sample lines, the strict way for everything else.

use std::borrow::Cow;

use pharos_model::labels::METRIC_NAME;
use pharos_model::{LabelSet, LabelSetBuilder, MetricType, TimestampMs};

use super::created::CreatedLines;
use super::error::{ParseError, ParseErrorKind, Position};
use super::lexer::{Dialect, Lexer};
use super::line::{Entry, LabelSpan, Labels, Line, metric_type};
use super::series::{self, Pair, unescape, unescape_help};
use super::{Event, Exemplar, ExemplarSource, LabelSource, Sample, fast, set_metadata_labels};
use crate::label_limits::LabelLimits;

#[derive(Debug)]
pub(super) struct Parser<'a> {
    body: &'a [u8],
    dialect: Dialect,
    pos: usize,
    /// The end of the body was reached, or an error.
    is_done: bool,
    /// From the last TYPE line. As in Prometheus it holds until the next one, whatever the family of a sample.
    metric_type: MetricType,
    line: Line,
    /// Boxed because it is rare.
    created: Option<Box<CreatedLines>>,
    /// Where series get their metadata as labels: the unit of the last UNIT line, which as in Prometheus holds until the next one.
    unit: Option<String>,
}

impl<'a> Parser<'a> {
    pub(super) fn new(body: &'a [u8], dialect: Dialect) -> Self {
        let (metric_type, line) = (MetricType::Unknown, Line::default());
        Self { body, dialect, pos: 0, is_done: false, metric_type, line, created: None, unit: None }
    }

    /// The text format does not say when counters began.
    pub(super) fn read_starts(&mut self) {
        self.created = (self.dialect == Dialect::OpenMetrics).then(Box::default);
    }

    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<Event<'_>>, ParseError> {
        self.skip_created();
        if let Some(sample) = fast::sample(self.body, self.pos, self.dialect) {
            let entry = self.pos;
            self.pos = sample.end;
            let start = self.start_of(entry);
            return Ok(Some(Event::Sample(Sample {
                series: &self.body[sample.series.clone()],
                ts: sample.ts,
                value: sample.value,
                start,
                exemplar: None,
                beside_native: false,
                labels: LabelSource::Text(SeriesText { parser: self, entry, start: sample.series.start }),
            })));
        }
        self.next_strictly()
    }

    pub(super) fn label_metadata(&mut self) {
        self.unit = Some(String::new());
    }

    #[inline]
    fn skip_created(&mut self) {
        if let Some(created) = &mut self.created {
            while let Some(next) = created.skip(self.body, self.pos, self.metric_type) {
                self.pos = next;
            }
        }
    }

    /// When the counter of the series that begins at `entry` began. The parser stands behind its line.
    #[inline]
    fn start_of(&mut self, entry: usize) -> Option<TimestampMs> {
        let created = self.created.as_mut()?;
        created.start_of(self.body, entry..self.pos, self.metric_type)
    }

    fn next_strictly(&mut self) -> Result<Option<Event<'_>>, ParseError> {
        if self.is_done {
            return Ok(None);
        }
        if let Some(event) = self.ordinary_metadata() {
            return Ok(Some(event));
        }
        let mut lexer = Lexer::new(self.body, self.dialect, self.pos);
        let entry = self.line.read(&mut lexer);
        self.pos = lexer.pos;
        match entry {
            Ok(Some(entry)) => Ok(Some(self.event(entry))),
            Ok(None) => {
                self.is_done = true;
                Ok(None)
            }
            Err(kind) => {
                self.is_done = true;
                self.pos = self.body.len();
                Err(at_line(self.body, lexer.pos, kind))
            }
        }
    }

    fn ordinary_metadata(&mut self) -> Option<Event<'a>> {
        let found = fast::metadata(self.body, self.pos)?;
        if let Some(created) = &mut self.created {
            created.set_family(found.family.as_bytes());
        }
        let family = Cow::Borrowed(found.family);
        let event = if found.is_help {
            Event::Help { family, text: self.help(found.text) }
        } else {
            self.metric_type = metric_type(found.text, self.dialect)?;
            Event::Type { family, metric_type: self.metric_type }
        };
        self.pos = found.end;
        Some(event)
    }

    fn help<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.dialect {
            Dialect::Text => unescape_help(text),
            Dialect::OpenMetrics => unescape(text),
        }
    }

    fn event(&mut self, entry: Entry) -> Event<'_> {
        let start = if entry == Entry::Series { self.start_of(self.line.series.start) } else { None };
        if let (Entry::Help | Entry::Type | Entry::Unit, Some(created)) = (entry, &mut self.created) {
            created.set_family(&self.body[self.line.family.clone()]);
        }
        if let (Entry::Unit, Some(unit)) = (entry, &mut self.unit) {
            *unit = String::from_utf8_lossy(&self.body[self.line.text.clone()]).into_owned();
        }
        let line = &self.line;
        let text = || String::from_utf8_lossy(&self.body[line.text.clone()]);
        let family = || plain(&self.body[line.family.clone()], unescape);
        match entry {
            Entry::Help => {
                Event::Help { family: family(), text: plain(&self.body[line.text.clone()], |text| self.help(text)) }
            }
            Entry::Type => {
                self.metric_type = line.metric_type;
                Event::Type { family: family(), metric_type: line.metric_type }
            }
            Entry::Unit => Event::Unit { family: family(), unit: text() },
            Entry::Comment => Event::Comment(&self.body[line.text.clone()]),
            Entry::Series => Event::Sample(self.sample(start)),
        }
    }

    /// The sample that was just read strictly.
    fn sample(&self, start: Option<TimestampMs>) -> Sample<'_> {
        let line = &self.line;
        Sample {
            series: &self.body[line.series.clone()],
            ts: line.ts,
            value: line.value,
            start,
            exemplar: line.exemplar.map(|exemplar| {
                let labels = ExemplarSource::Text(ExemplarText { parser: self });
                Box::new(Exemplar { value: exemplar.value, ts: exemplar.ts, labels })
            }),
            beside_native: false,
            labels: LabelSource::Text(SeriesText { parser: self, entry: line.series.start, start: line.series.start }),
        }
    }
}

/// Where the labels of a sample stand. The parser does not move on while it is borrowed here.
#[derive(Debug)]
pub(super) struct SeriesText<'p> {
    parser: &'p Parser<'p>,
    entry: usize,
    start: usize,
}

impl SeriesText<'_> {
    pub(super) fn labels(&self, limits: &LabelLimits) -> Result<LabelSetBuilder, ParseError> {
        let body = self.parser.body;
        let mut lexer = Lexer::new(body, self.parser.dialect, self.start);
        let mut line = Line::default();
        line.read_series(&mut lexer, self.entry)
            .and_then(|()| self.build(&line, limits))
            .map_err(|kind| at_line(body, self.start, kind))
    }

    fn build(&self, line: &Line, limits: &LabelLimits) -> Result<LabelSetBuilder, ParseErrorKind> {
        let body = self.parser.body;
        let text = &body[line.series.clone()];
        let name = line.name.clone().expect("a series without a name is refused when it is read");
        let name = utf8(&body[name], text)?;
        limits.check_count(line.labels.count + 1, || &name)?;
        let mut pairs = pairs(body, &line.labels, text)?;
        for (name, value) in &mut pairs {
            *value = series::normalize_bound(self.parser.metric_type, name, std::mem::take(value));
        }
        pairs.push((Cow::Borrowed(METRIC_NAME), name));
        let mut labels = series::build(pairs, limits, text)?;
        if let Some(unit) = &self.parser.unit {
            set_metadata_labels(&mut labels, self.parser.metric_type, unit);
        }
        Ok(labels)
    }
}

/// The exemplar of the line that was read last.
#[derive(Debug)]
pub(super) struct ExemplarText<'p> {
    parser: &'p Parser<'p>,
}

impl ExemplarText<'_> {
    pub(super) fn labels(&self, limits: &LabelLimits) -> Result<LabelSet, ParseError> {
        let (body, line) = (self.parser.body, &self.parser.line);
        self.build(line, limits).map_err(|kind| at_line(body, line.series.end, kind))
    }

    fn build(&self, line: &Line, limits: &LabelLimits) -> Result<LabelSet, ParseErrorKind> {
        limits.check_count(line.exemplar_labels.count, || "")?;
        let mut pairs = pairs(self.parser.body, &line.exemplar_labels, &[])?;
        series::build_without_name(&mut pairs, limits).map(|builder| builder.build())
    }
}

fn pairs<'p>(body: &'p [u8], labels: &Labels, text: &[u8]) -> Result<Vec<Pair<'p>>, ParseErrorKind> {
    let pair = |span: &LabelSpan| Ok((utf8(&body[span.name.clone()], text)?, utf8(&body[span.value.clone()], text)?));
    labels.spans.iter().map(pair).collect()
}

/// A name or value without its escapes. Values were checked when they were read; names of any bytes come this far.
fn utf8<'p>(bytes: &'p [u8], text: &[u8]) -> Result<Cow<'p, str>, ParseErrorKind> {
    match std::str::from_utf8(bytes) {
        Ok(bytes) => Ok(unescape(bytes)),
        Err(_) => Err(ParseErrorKind::Names(super::error::lossy(text))),
    }
}

fn plain(bytes: &[u8], unescape: impl for<'b> Fn(&'b str) -> Cow<'b, str>) -> Cow<'_, str> {
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) => unescape(text),
        Cow::Owned(text) => Cow::Owned(unescape(&text).into_owned()),
    }
}

fn at_line(body: &[u8], pos: usize, kind: ParseErrorKind) -> ParseError {
    let before = &body[..pos.min(body.len())];
    ParseError { kind, at: Position::Line(1 + before.iter().filter(|byte| **byte == b'\n').count()) }
}
