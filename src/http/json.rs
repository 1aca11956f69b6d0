//! Query answers as JSON text, written straight into the response's buffers: a range query's answer is mostly numbers, and
//! a tree of values would cost more than the query.

mod histogram;
mod list;

use std::convert::Infallible;
use std::io::Write as _;

use axum::body::Body;
use pharos_model::{Exemplar, LabelSet, Sample, TimestampMs, number};
use pharos_query::{Point, QueryOutcome, QueryStats, Series, Value, VectorElement};

use self::histogram::write_histogram;
pub use self::list::list_answer;

/// Most warnings, and most infos, that an answer shows.
const ANNOTATIONS_MAX: usize = 10;

/// Size at which a piece of a long answer is handed over; an answer that stays below is sent whole.
const PIECE_BYTES: usize = 64 << 10;

/// What the `stats` parameter asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatsDetail {
    None,
    Basic,
    All,
}

/// The answer of a successful query. A long one is written while it is sent, a piece at a time: neither a second copy of it
/// in memory, nor a thread that is busy with it for long.
pub fn query_answer(outcome: QueryOutcome, stats: StatsDetail) -> Body {
    let mut pieces = Pieces::new(outcome, stats);
    let first = pieces.next().expect("an answer has a beginning");
    if pieces.next == Next::Nothing {
        return Body::from(first);
    }
    let pieces = std::iter::once(first).chain(pieces);
    Body::from_stream(futures::stream::iter(pieces.map(Ok::<_, Infallible>)))
}

/// An answer in pieces of about [`PIECE_BYTES`].
struct Pieces {
    outcome: QueryOutcome,
    stats: StatsDetail,
    next: Next,
}

/// What of the answer comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Beginning,
    /// An element of a vector.
    Element(usize),
    /// A sample of a series of a matrix.
    Sample(usize, usize),
    End,
    Nothing,
}

impl Pieces {
    fn new(outcome: QueryOutcome, stats: StatsDetail) -> Self {
        Self { outcome, stats, next: Next::Beginning }
    }

    /// Writes the next part and says which one follows.
    fn write(&self, out: &mut Vec<u8>) -> Next {
        match (self.next, &self.outcome.value) {
            (Next::Beginning, value) => write_beginning(out, value),
            (Next::Element(at), Value::Vector(elements)) => match elements.get(at) {
                Some(element) => {
                    separate(out, at);
                    write_element(out, element);
                    Next::Element(at + 1)
                }
                None => Next::End,
            },
            (Next::Sample(at, sample), Value::Matrix(series)) => match series.get(at) {
                Some(series) => write_samples(out, series, at, sample),
                None => Next::End,
            },
            _ => {
                self.write_end(out);
                Next::Nothing
            }
        }
    }

    fn write_end(&self, out: &mut Vec<u8>) {
        if matches!(self.outcome.value, Value::Vector(_) | Value::Matrix(_)) {
            out.push(b']');
        }
        if self.stats != StatsDetail::None {
            out.extend_from_slice(br#","stats":"#);
            write_stats(out, &self.outcome.stats, self.stats);
        }
        out.push(b'}');
        write_annotations(out, "warnings", "warning", &self.outcome.warnings);
        write_annotations(out, "infos", "info", &self.outcome.infos);
        out.push(b'}');
    }
}

impl Iterator for Pieces {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        while self.next != Next::Nothing && out.len() < PIECE_BYTES {
            self.next = self.write(&mut out);
        }
        (!out.is_empty()).then_some(out)
    }
}

/// Everything before the first element, or all of a value that has none.
fn write_beginning(out: &mut Vec<u8>, value: &Value) -> Next {
    let (kind, next) = match value {
        Value::Scalar(_) => ("scalar", Next::End),
        Value::String { .. } => ("string", Next::End),
        Value::Vector(_) => ("vector", Next::Element(0)),
        Value::Matrix(_) => ("matrix", Next::Sample(0, 0)),
    };
    write!(out, r#"{{"status":"success","data":{{"resultType":"{kind}","result":"#).expect("a Vec takes every write");
    match value {
        Value::Scalar(sample) => write_sample(out, sample),
        Value::String { ts, text } => {
            out.push(b'[');
            write_timestamp(out, *ts);
            out.push(b',');
            write_string(out, text);
            out.push(b']');
        }
        Value::Vector(_) | Value::Matrix(_) => out.push(b'['),
    }
    next
}

fn write_element(out: &mut Vec<u8>, element: &VectorElement) {
    out.extend_from_slice(br#"{"metric":"#);
    write_labels(out, &element.labels);
    match &element.point {
        Point::Float(value) => {
            out.extend_from_slice(br#","value":"#);
            write_sample(out, &Sample { ts: element.ts, value: *value });
        }
        Point::Histogram(histogram) => {
            out.extend_from_slice(br#","histogram":"#);
            write_histogram(out, element.ts, histogram);
        }
    }
    out.push(b'}');
}

/// Writes the samples from `from` on, as many as a piece takes: floats first, then native histograms, each kind in a list of
/// its own.
fn write_samples(out: &mut Vec<u8>, series: &Series, at: usize, from: usize) -> Next {
    let (floats, histograms) = (series.samples.len(), series.histograms.len());
    if from == 0 {
        separate(out, at);
        out.extend_from_slice(br#"{"metric":"#);
        write_labels(out, &series.labels);
    }
    for i in from..floats + histograms {
        match i.checked_sub(floats) {
            None => {
                out.extend_from_slice(if i == 0 { br#","values":["# } else { b"," });
                write_sample(out, &series.samples[i]);
            }
            Some(own) => {
                out.extend_from_slice(if own == 0 { br#","histograms":["# } else { b"," });
                let sample = &series.histograms[own];
                write_histogram(out, sample.ts, &sample.histogram);
            }
        }
        if i + 1 == floats || i + 1 == floats + histograms {
            out.push(b']');
        }
        // Never before the first one, because that is how the beginning of a series is told from its middle.
        if out.len() >= PIECE_BYTES && i + 1 < floats + histograms {
            return Next::Sample(at, i + 1);
        }
    }
    out.push(b'}');
    Next::Sample(at + 1, 0)
}

fn separate(out: &mut Vec<u8>, at: usize) {
    if at > 0 {
        out.push(b',');
    }
}

/// The body of `query_exemplars`: exemplars by series.
pub fn exemplars_body(found: &[(LabelSet, Vec<Exemplar>)]) -> Vec<u8> {
    let mut out = br#"{"status":"success","data":"#.to_vec();
    write_list(&mut out, found, |out, (series, exemplars)| {
        out.extend_from_slice(br#"{"seriesLabels":"#);
        write_labels(out, series);
        out.extend_from_slice(br#","exemplars":"#);
        write_list(out, exemplars, |out, exemplar| {
            out.extend_from_slice(br#"{"labels":"#);
            write_labels(out, &exemplar.labels);
            out.extend_from_slice(br#","value":""#);
            number::push_json(out, exemplar.value);
            out.extend_from_slice(br#"","timestamp":"#);
            write_timestamp(out, exemplar.ts);
            out.push(b'}');
        });
        out.push(b'}');
    });
    out.push(b'}');
    out
}

/// The body of a success that carries any other data.
pub fn data_body(data: &impl serde::Serialize, warnings: &[String], infos: &[String]) -> Vec<u8> {
    let mut out = br#"{"status":"success","data":"#.to_vec();
    serde_json::to_writer(&mut out, data).expect("data without maps of non-string keys");
    write_annotations(&mut out, "warnings", "warning", warnings);
    write_annotations(&mut out, "infos", "info", infos);
    out.push(b'}');
    out
}

fn write_list<T>(out: &mut Vec<u8>, items: &[T], mut write: impl FnMut(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (i, item) in items.iter().enumerate() {
        separate(out, i);
        write(out, item);
    }
    out.push(b']');
}

fn write_labels(out: &mut Vec<u8>, labels: &LabelSet) {
    out.push(b'{');
    for (i, label) in labels.iter().enumerate() {
        separate(out, i);
        write_string(out, label.name);
        out.push(b':');
        write_string(out, label.value);
    }
    out.push(b'}');
}

fn write_sample(out: &mut Vec<u8>, sample: &Sample) {
    out.push(b'[');
    write_timestamp(out, sample.ts);
    out.extend_from_slice(b",\"");
    number::push_json(out, sample.value);
    out.extend_from_slice(b"\"]");
}

/// Seconds, with three decimals where there is a fraction.
fn write_timestamp(out: &mut Vec<u8>, ts: TimestampMs) {
    if ts < 0 {
        out.push(b'-');
    }
    let (seconds, ms) = (ts.unsigned_abs() / 1000, ts.unsigned_abs() % 1000);
    number::push_u64(out, seconds);
    if ms > 0 {
        out.push(b'.');
        out.extend([ms / 100, ms / 10 % 10, ms % 10].map(|digit| b'0' + digit as u8));
    }
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    // Nearly all: looked at without a branch for each byte.
    let is_plain = |byte: u8| (byte >= b' ') & (byte != b'"') & (byte != b'\\');
    if text.bytes().fold(true, |plain, byte| plain & is_plain(byte)) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return;
    }
    serde_json::to_writer(out, text).expect("a Vec takes every write");
}

fn write_annotations(out: &mut Vec<u8>, key: &str, word: &str, texts: &[String]) {
    if texts.is_empty() {
        return;
    }
    let mut shown: Vec<String> = texts.iter().take(ANNOTATIONS_MAX).cloned().collect();
    if texts.len() > ANNOTATIONS_MAX {
        shown.push(format!("{} more {word} annotations omitted", texts.len() - ANNOTATIONS_MAX));
    }
    write!(out, ",\"{key}\":").expect("a Vec takes every write");
    write_list(out, &shown, |out, text| write_string(out, text));
}

fn write_stats(out: &mut Vec<u8>, stats: &QueryStats, detail: StatsDetail) {
    write!(
        out,
        r#"{{"timings":{{"evalTotalTime":{},"resultSortTime":{},"queryPreparationTime":{},"innerEvalTime":{},"execQueueTime":{},"execTotalTime":{}}}"#,
        stats.eval_total_secs,
        stats.result_sort_secs,
        stats.query_preparation_secs,
        stats.inner_eval_secs,
        stats.exec_queue_secs,
        stats.exec_queue_secs + stats.eval_total_secs,
    )
    .expect("a Vec takes every write");
    out.extend_from_slice(br#","samples":{"#);
    if let (StatsDetail::All, Some(steps)) = (detail, &stats.samples_per_step) {
        out.extend_from_slice(br#""totalQueryableSamplesPerStep":"#);
        write_list(out, steps, |out, (ts, samples)| {
            out.push(b'[');
            write_timestamp(out, *ts);
            write!(out, ",{samples}]").expect("a Vec takes every write");
        });
        out.push(b',');
    }
    write!(
        out,
        r#""totalQueryableSamples":{},"peakSamples":{}}}}}"#,
        stats.total_queryable_samples, stats.peak_samples
    )
    .expect("a Vec takes every write");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pharos_model::FloatHistogram;
    use pharos_query::HistogramSample;

    use super::*;

    fn outcome(value: Value) -> QueryOutcome {
        QueryOutcome { value, warnings: vec![], infos: vec![], stats: QueryStats::default() }
    }

    fn body(outcome: &QueryOutcome) -> String {
        String::from_utf8(Pieces::new(outcome.clone(), StatsDetail::None).collect::<Vec<_>>().concat()).unwrap()
    }

    #[test]
    fn values_are_texts_and_times_are_seconds() {
        let scalar = outcome(Value::Scalar(Sample { ts: 1_435_781_451_781, value: f64::NAN }));
        assert_eq!(
            body(&scalar),
            r#"{"status":"success","data":{"resultType":"scalar","result":[1435781451.781,"NaN"]}}"#
        );
        let string = outcome(Value::String { ts: -1500, text: "a\"b".into() });
        assert_eq!(body(&string), r#"{"status":"success","data":{"resultType":"string","result":[-1.500,"a\"b"]}}"#);
    }

    #[test]
    fn an_empty_vector_is_an_empty_list() {
        assert_eq!(
            body(&outcome(Value::Vector(vec![]))),
            r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#
        );
    }

    #[test]
    fn a_matrix_lists_its_samples() {
        let labels = LabelSet::from_pairs([("__name__", "up"), ("job", "x")]);
        let samples = vec![Sample { ts: 1000, value: 1.0 }, Sample { ts: 2005, value: 1e21 }];
        assert_eq!(
            body(&outcome(Value::Matrix(vec![Series { labels, samples, ..Series::default() }]))),
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"up","job":"x"},"values":[[1,"1"],[2.005,"1e+21"]]}]}}"#
        );
    }

    #[test]
    fn histograms_are_told_apart_by_their_keys() {
        let histogram = Arc::new(FloatHistogram { count: 1.0, ..FloatHistogram::default() });
        let point = Point::Histogram(Arc::clone(&histogram));
        let element = VectorElement { labels: LabelSet::empty(), ts: 1000, point };
        let shown = r#"[1,{"count":"1","sum":"0"}]"#;
        assert!(body(&outcome(Value::Vector(vec![element]))).contains(&format!(r#""histogram":{shown}"#)));
        let histograms = vec![HistogramSample { ts: 1000, histogram }];
        let series = Series { samples: vec![Sample { ts: 0, value: 2.0 }], histograms, ..Series::default() };
        let both = format!(r#""values":[[0,"2"]],"histograms":[{shown}]"#);
        assert!(body(&outcome(Value::Matrix(vec![series]))).contains(&both));
    }

    #[test]
    fn more_than_ten_warnings_are_summed_up() {
        let mut many = outcome(Value::Vector(vec![]));
        many.warnings = (0..12).map(|i| format!("w{i}")).collect();
        assert!(body(&many).ends_with(r#""w9","2 more warning annotations omitted"]}"#), "{}", body(&many));
    }

    #[test]
    fn a_long_answer_comes_in_pieces() {
        let samples: Vec<_> = (0..20_000).map(|i| Sample { ts: i * 500, value: i as f64 / 4.0 }).collect();
        let histogram = HistogramSample { ts: 0, histogram: Arc::new(FloatHistogram::default()) };
        let histograms = vec![histogram; 5_000];
        let series = |job: &str| Series {
            labels: LabelSet::from_pairs([("job", job)]),
            samples: samples.clone(),
            histograms: histograms.clone(),
        };
        let long = outcome(Value::Matrix(vec![series("a"), series("b")]));
        let pieces: Vec<_> = Pieces::new(long.clone(), StatsDetail::None).collect();
        assert!(pieces.len() > 10 && pieces.iter().all(|piece| piece.len() < 2 * PIECE_BYTES));
        let whole: serde_json::Value = serde_json::from_str(&body(&long)).unwrap();
        let result = whole["data"]["result"].as_array().unwrap();
        assert_eq!(result.len(), 2);
        for series in result {
            let values = series["values"].as_array().unwrap();
            assert_eq!(values.len(), samples.len());
            assert_eq!(values[19_999], serde_json::json!([9999.5, "4999.75"]));
            assert_eq!(series["histograms"].as_array().unwrap().len(), histograms.len());
        }
    }

    #[test]
    fn labels_may_be_longer_than_a_piece() {
        let long = "x".repeat(2 * PIECE_BYTES);
        let samples = vec![Sample { ts: 0, value: 1.0 }; 3];
        let series = |job: &str| {
            let labels = LabelSet::from_pairs([("job", job)]);
            Series { labels, samples: samples.clone(), ..Series::default() }
        };
        let whole: serde_json::Value =
            serde_json::from_str(&body(&outcome(Value::Matrix(vec![series(&long), series("b")])))).unwrap();
        let lengths: Vec<_> = whole["data"]["result"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["values"].as_array().unwrap().len())
            .collect();
        assert_eq!(lengths, [3, 3]);
    }

    #[test]
    fn exemplars_print_like_samples() {
        let exemplar = Exemplar { labels: LabelSet::from_pairs([("trace", "x")]), value: 6.0, ts: 1_600_096_945_050 };
        assert_eq!(
            String::from_utf8(exemplars_body(&[(LabelSet::from_pairs([("job", "a")]), vec![exemplar])])).unwrap(),
            r#"{"status":"success","data":[{"seriesLabels":{"job":"a"},"exemplars":[{"labels":{"trace":"x"},"value":"6","timestamp":1600096945.050}]}]}"#
        );
    }
}
