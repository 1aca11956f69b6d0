//! Everything that this node reads of what another one says about a query, in one place for those who look for bytes that it cannot
//! stand.

use std::fmt::Debug;

use super::codec::{self, Node};
use super::question::{self, Answer, Question};
use super::report::LastWord;
use crate::value::Series;
use crate::wire::{Wire, WireError};

/// Reads bytes as whoever gets them would: a node of a plan, a last word, a question, an answer, or the samples of a series, as the first
/// byte says. Whether they are that.
///
/// # Panics
/// When they are, and do not come back as they were once they are written again.
pub fn read(bytes: &[u8]) -> bool {
    match bytes.split_first() {
        Some((0, bytes)) => comes_back(bytes, codec::decode, Node::to_versioned_bytes),
        Some((1, bytes)) => comes_back(bytes, LastWord::from_bytes, LastWord::to_bytes),
        Some((2, bytes)) => comes_back(bytes, question::decode::<Question>, question::encode),
        Some((3, bytes)) => comes_back(bytes, question::decode::<Answer>, question::encode),
        Some((4, bytes)) => comes_back(bytes, Series::from_bytes, Series::to_bytes),
        _ => false,
    }
}

fn comes_back<T: Debug>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, WireError>,
    encode: impl Fn(&T) -> Vec<u8>,
) -> bool {
    let Ok(value) = decode(bytes) else { return false };
    let written = encode(&value);
    let again = decode(&written).expect("what was written can be read");
    // Not its bytes, which have a longer form too; and floats may be no number.
    assert_eq!(format!("{again:?}"), format!("{value:?}"));
    true
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::physical_plan::ExecutionPlan;
    use pharos_model::{CounterResetHint, FloatHistogram, LabelSet, Matcher, Sample, TenantId, TimeRange};
    use pharos_promql::script::EvalTime;
    use pharos_promql::{ParserOptions, Span, parse_expr};
    use pharos_storage::select::{Estimate, Relied};

    use super::*;
    use crate::annotation::Annotation;
    use crate::distributed::question::Noted;
    use crate::distributed::report::Report;
    use crate::distributed::tests::{physical, plans};
    use crate::error::QueryError;
    use crate::exec::node::OperatorExec;
    use crate::exec::{Measured, OperatorFigures};
    use crate::functions::{Note, Severity};
    use crate::source::{Relying, Revision, SelectRequest};
    use crate::value::HistogramSample;

    /// What the fuzzer begins with: a line each, in the escapes of printf's `%b`.
    const SEEDS: &str = include_str!("../../../fuzz/seeds/query_part.txt");

    /// Expressions whose operators are all that there are.
    const EXPRESSIONS: &[&str] = &[
        "topk by (a) (2, sum by (a, b) (rate({x=~\"a.*\"}[5m] offset 1m)) + 3) * on (a) group_left (b) clamp_max(y @ 7, 1)",
        "histogram_quantile(0.9, sum without (i) (increase(h[1m]))) or label_replace(x, \"a\", \"$1\", \"b\", \"(.*)\")",
        "absent(x{a!=\"b\"}) and count_values(\"v\", stddev_over_time(x[5m:30s])) unless -sort(x)",
        "quantile(0.5, x) / ignoring (a) fill_left (0) label_join(y, \"a\", \",\", \"b\", \"c\") > bool 1",
        "x + vector(scalar(x) ^ time()) % hour(timestamp(x)) + limit_ratio(0.5, x)",
    ];

    fn operators(plan: &Arc<dyn ExecutionPlan>, found: &mut Vec<Vec<u8>>) {
        if let Some(operator) = plan.downcast_ref::<OperatorExec>() {
            found.push(tagged(0, Node::Operator(operator.operator().clone()).to_versioned_bytes()));
        }
        plan.children().into_iter().for_each(|input| operators(input, found));
    }

    fn tagged(kind: u8, bytes: Vec<u8>) -> Vec<u8> {
        [vec![kind], bytes].concat()
    }

    /// Something of each kind.
    fn examples() -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        for text in EXPRESSIONS {
            let parsed = parse_expr(text, &ParserOptions::ALL).unwrap_or_else(|error| panic!("{text}: {error:?}"));
            let time = EvalTime::Range { start_ms: 0, end_ms: 60_000, step_ms: 30_000 };
            let (plan, grid) = plans(&parsed, time).unwrap_or_else(|| panic!("{text} has a plan"));
            operators(&physical(&plan, grid), &mut found);
        }
        let note = Note { severity: Severity::Info, text: "so".into(), argument: 1, monotonicity: None };
        let report = Report {
            annotations: vec![Annotation { note, span: Span { start: 3, end: 900 } }],
            samples_per_step: vec![0, 300],
            operators: vec![OperatorFigures { given: Measured::default(), read: Measured::default() }],
            ..Report::default()
        };
        let failed = LastWord::Failed(QueryError::Timeout { phase: "query queue" }.into());
        found.extend([LastWord::Done(report), failed].iter().map(|word| tagged(1, word.to_bytes())));

        let tenant = TenantId::anonymous();
        let revision = Revision::Partitions(Arc::new(vec![(0, Relied { head: 1, files: 2 })]));
        let noted = Noted { incarnation: u64::MAX, revision };
        let relying = Relying { tenant: tenant.clone(), partitions: vec![0, 7], until_ms: -3 };
        let (matchers, range) = (vec![Matcher::equal("a", "b")], TimeRange::new(1, 2));
        let request = SelectRequest { tenant, matchers, range, newest_only: true, totals_only: false, starts: true };
        let rely = Question::Rely { relying, since: Some(noted.clone()) };
        let estimate = Question::Estimate { request, partitions: vec![3] };
        found.extend([rely, estimate].iter().map(|question| tagged(2, question::encode(question))));
        let relied = Answer::Relied { noted, amended: vec![TimeRange::ALL] };
        let estimated = Answer::Estimated(Estimate { series: 1, samples: 2, bytes: 3 });
        found.extend([relied, estimated].iter().map(|answer| tagged(3, question::encode(answer))));

        let histogram = FloatHistogram { counter_reset_hint: CounterResetHint::Gauge, ..FloatHistogram::default() };
        let series = Series {
            labels: LabelSet::from_pairs([("a", "b")]),
            samples: vec![Sample { ts: -1, value: 0.5 }],
            histograms: vec![HistogramSample { ts: 1, histogram: Arc::new(histogram) }],
        };
        found.push(tagged(4, series.to_bytes()));
        found.sort();
        found.dedup();
        found
    }

    fn escaped(bytes: &[u8]) -> String {
        let escape = |byte: &u8| match byte {
            b'\\' => "\\\\".to_owned(),
            byte if byte.is_ascii_graphic() || *byte == b' ' => char::from(*byte).to_string(),
            byte => format!("\\0{byte:03o}"),
        };
        bytes.iter().map(escape).collect()
    }

    #[test]
    fn the_fuzzer_begins_with_what_is_written_today() {
        let seeds: Vec<String> = examples().iter().map(|bytes| escaped(bytes)).collect();
        assert!(SEEDS.lines().eq(&seeds), "fuzz/seeds/query_part.txt should be\n{}\n", seeds.join("\n"));
    }

    #[test]
    fn bytes_that_are_damaged_are_refused_or_are_something_else() {
        for bytes in examples() {
            assert!(read(&bytes), "{bytes:?}");
            for at in 0..bytes.len() {
                assert!(!read(&bytes[..at]));
                for bit in 0..8 {
                    let mut damaged = bytes.clone();
                    damaged[at] ^= 1 << bit;
                    read(&damaged);
                }
                // A length that there is no room for, and the largest number.
                for long in [&[0xff, 0xff, 0xff, 0x7f][..], &[0xff; 9]] {
                    read(&[&bytes[..at], long, &bytes[at..]].concat());
                    read(&[&bytes[..at], long].concat());
                }
            }
        }
    }
}
