//! When the counters of OpenMetrics series began. Lines named `…_created` say so, behind the series that they are about.
//!
//! Every answer is Prometheus': the next such line of the same run of series decides, if it is about the same metric, and
//! holds for further series of that metric. A run is looked through once.

use std::ops::Range;

use pharos_model::{MetricType, TimestampMs};

use super::lexer::{Dialect, Lexer};
use super::line::{Entry, Line};
use super::series::QUANTILE_LABEL;
use pharos_model::labels::BUCKET_LABEL;

const SUFFIX: &[u8] = b"_created";
/// Stands between the parts of a key. No name or value has it.
const SEPARATOR: u8 = 0xff;

/// What the `_created` lines of a body say.
#[derive(Debug, Default)]
pub(super) struct CreatedLines {
    /// Length of the family's name in the last line of metadata.
    family_bytes: usize,
    /// The part of the body that `lines` are known of.
    looked_through: Range<usize>,
    lines: Vec<CreatedLine>,
    /// What was found last.
    last: Option<(Vec<u8>, TimestampMs)>,
    scratch: Line,
}

#[derive(Debug)]
struct CreatedLine {
    at: usize,
    /// The metric that it is about.
    key: Vec<u8>,
    start: TimestampMs,
}

/// Whether samples of a type may have `_created` lines.
fn has_starts(metric_type: MetricType) -> bool {
    matches!(metric_type, MetricType::Counter | MetricType::Summary | MetricType::Histogram)
}

impl CreatedLines {
    pub(super) fn set_family(&mut self, name: &[u8]) {
        self.family_bytes = name.len();
    }

    /// Where the line after a `_created` line begins, if one begins at `at`. It is no sample of its own.
    pub(super) fn skip(&mut self, body: &[u8], at: usize, metric_type: MetricType) -> Option<usize> {
        if !has_starts(metric_type) || !may_be_created(&body[at..]) {
            return None;
        }
        let mut lexer = Lexer::new(body, Dialect::OpenMetrics, at);
        // What does not read is for the parser to refuse.
        let is_series = matches!(self.scratch.read(&mut lexer), Ok(Some(Entry::Series)));
        (is_series && base(body, &self.scratch).is_some()).then_some(lexer.pos)
    }

    /// When the counter of the series that begins at `at` began, whose line ends before `next`.
    pub(super) fn start_of(
        &mut self,
        body: &[u8],
        Range { start: at, end: next }: Range<usize>,
        metric_type: MetricType,
    ) -> Option<TimestampMs> {
        if !has_starts(metric_type) {
            self.last = None;
            return None;
        }
        self.scratch.read_series(&mut Lexer::new(body, Dialect::OpenMetrics, at), at).ok()?;
        let name = &body[self.scratch.name.clone()?];
        let key = key(body, &self.scratch, &name[..self.family_bytes.min(name.len())], metric_type);
        if let Some((_, start)) = self.last.as_ref().filter(|(last, start)| *last == key && *start > 0) {
            return Some(*start);
        }
        if !self.looked_through.contains(&next) {
            self.look_through(body, next, metric_type);
        }
        let following = self.lines.partition_point(|line| line.at < next);
        self.last = self.lines.get(following).filter(|line| line.key == key).map(|line| (key, line.start));
        self.last.as_ref().map(|(_, start)| *start).filter(|start| *start != 0)
    }

    /// Finds the `_created` lines from a place on to the end of the series, which is the next line of metadata.
    fn look_through(&mut self, body: &[u8], from: usize, metric_type: MetricType) {
        self.lines.clear();
        let mut at = from;
        while at < body.len() && body[at] != b'#' {
            let len = body[at..].iter().position(|byte| *byte == b'\n').map_or(body.len() - at, |newline| newline + 1);
            if may_be_created(&body[at..]) {
                let mut lexer = Lexer::new(body, Dialect::OpenMetrics, at);
                if matches!(self.scratch.read(&mut lexer), Ok(Some(Entry::Series)))
                    && let Some(base) = base(body, &self.scratch)
                {
                    let key = key(body, &self.scratch, base, metric_type);
                    self.lines.push(CreatedLine { at, key, start: (self.scratch.value * 1000.0) as TimestampMs });
                }
            }
            at += len;
        }
        self.looked_through = from..at + 1;
    }
}

/// Whether the name of the series that begins here can end as that of a `_created` line does. One in quotes always can.
fn may_be_created(rest: &[u8]) -> bool {
    rest.first() == Some(&b'{')
        || rest.iter().position(|byte| matches!(byte, b'{' | b' ')).is_some_and(|end| rest[..end].ends_with(SUFFIX))
}

/// What stands before the suffix in the name of a `_created` line.
fn base<'b>(body: &'b [u8], line: &Line) -> Option<&'b [u8]> {
    body[line.name.clone()?].strip_suffix(SUFFIX)
}

/// A metric by the name of its family and its labels, as they are written and in their order, without bound or quantile.
fn key(body: &[u8], line: &Line, family: &[u8], metric_type: MetricType) -> Vec<u8> {
    let left_out = match metric_type {
        MetricType::Histogram => BUCKET_LABEL.as_bytes(),
        MetricType::Summary => QUANTILE_LABEL.as_bytes(),
        _ => b"",
    };
    let mut key = family.to_vec();
    for label in &line.labels.spans {
        let name = &body[label.name.clone()];
        if name != left_out {
            for part in [name, &body[label.value.clone()]] {
                key.push(SEPARATOR);
                key.extend_from_slice(part);
            }
        }
    }
    key
}
