//! Query answers as JSON text, written straight into the response buffer: a range query's answer is mostly numbers, and
//! a tree of values would cost more than the query.

use std::io::Write as _;

use pharos_model::{LabelSet, Sample, TimestampMs, number};
use pharos_query::{QueryOutcome, QueryStats, Series, Value, VectorElement};

/// Most warnings, and most infos, that an answer shows.
const ANNOTATIONS_MAX: usize = 10;

/// What the `stats` parameter asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatsDetail {
    None,
    Basic,
    All,
}

/// The whole body of a successful query.
pub fn query_body(outcome: &QueryOutcome, stats: StatsDetail) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    out.extend_from_slice(br#"{"status":"success","data":{"resultType":""#);
    let kind = match &outcome.value {
        Value::Scalar(_) => "scalar",
        Value::String { .. } => "string",
        Value::Vector(_) => "vector",
        Value::Matrix(_) => "matrix",
    };
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(br#"","result":"#);
    write_value(&mut out, &outcome.value);
    if stats != StatsDetail::None {
        out.extend_from_slice(br#","stats":"#);
        write_stats(&mut out, &outcome.stats, stats);
    }
    out.push(b'}');
    write_annotations(&mut out, "warnings", "warning", &outcome.warnings);
    write_annotations(&mut out, "infos", "info", &outcome.infos);
    out.push(b'}');
    out
}

/// The body of a success that carries any other data.
pub fn data_body(data: &impl serde::Serialize, warnings: &[String]) -> Vec<u8> {
    let mut out = br#"{"status":"success","data":"#.to_vec();
    serde_json::to_writer(&mut out, data).expect("data without maps of non-string keys");
    write_annotations(&mut out, "warnings", "warning", warnings);
    out.push(b'}');
    out
}

fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Scalar(sample) => write_sample(out, sample),
        Value::String { ts, text } => {
            out.push(b'[');
            write_timestamp(out, *ts);
            out.push(b',');
            write_string(out, text);
            out.push(b']');
        }
        Value::Vector(elements) => write_list(out, elements, |out, VectorElement { labels, sample }| {
            out.extend_from_slice(br#"{"metric":"#);
            write_labels(out, labels);
            out.extend_from_slice(br#","value":"#);
            write_sample(out, sample);
            out.push(b'}');
        }),
        Value::Matrix(series) => write_list(out, series, |out, Series { labels, samples }| {
            out.extend_from_slice(br#"{"metric":"#);
            write_labels(out, labels);
            out.extend_from_slice(br#","values":"#);
            write_list(out, samples, write_sample);
            out.push(b'}');
        }),
    }
}

fn write_list<T>(out: &mut Vec<u8>, items: &[T], mut write: impl FnMut(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

fn write_labels(out: &mut Vec<u8>, labels: &LabelSet) {
    out.push(b'{');
    for (i, label) in labels.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
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
    out.extend_from_slice(number::format_json(sample.value).as_bytes());
    out.extend_from_slice(b"\"]");
}

/// Seconds, with three decimals where there is a fraction.
pub fn write_timestamp(out: &mut Vec<u8>, ts: TimestampMs) {
    let (seconds, ms) = (ts.unsigned_abs() / 1000, ts.unsigned_abs() % 1000);
    let sign = if ts < 0 { "-" } else { "" };
    let written = if ms == 0 { write!(out, "{sign}{seconds}") } else { write!(out, "{sign}{seconds}.{ms:03}") };
    written.expect("a Vec takes every write");
}

fn write_string(out: &mut Vec<u8>, text: &str) {
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
    use super::*;

    fn outcome(value: Value) -> QueryOutcome {
        QueryOutcome { value, warnings: vec![], infos: vec![], stats: QueryStats::default() }
    }

    fn body(outcome: &QueryOutcome) -> String {
        String::from_utf8(query_body(outcome, StatsDetail::None)).unwrap()
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
            body(&outcome(Value::Matrix(vec![Series { labels, samples }]))),
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"up","job":"x"},"values":[[1,"1"],[2.005,"1e+21"]]}]}}"#
        );
    }

    #[test]
    fn more_than_ten_warnings_are_summed_up() {
        let mut many = outcome(Value::Vector(vec![]));
        many.warnings = (0..12).map(|i| format!("w{i}")).collect();
        assert!(body(&many).ends_with(r#""w9","2 more warning annotations omitted"]}"#), "{}", body(&many));
    }
}
