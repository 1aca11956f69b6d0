//! Questions and answers of [`super::find`] on their way between nodes. Numbers are their bits: JSON has no NaN.

use std::sync::Arc;

use pharos_model::histogram::{CounterResetHint, Span};
use pharos_model::{Exemplar, FloatHistogram, LabelSet, Matcher, PartitionId, TenantId, TimeRange};
use pharos_query::source::Readers;
use pharos_storage::index::stats::IndexStats;
use pharos_storage::manifest::MatcherText;
use serde::{Deserialize, Serialize};

use super::super::held::Held;
use super::super::index::HeadStats;
use super::{Found, IndexRequest, Newest, NewestValue, OfSeries, What, find};

/// [`find`] on its way to another node.
#[derive(Debug, Serialize, Deserialize)]
pub struct FindQuestion {
    what: What,
    tenant: String,
    matcher_sets: Vec<Vec<MatcherText>>,
    start_ms: i64,
    end_ms: i64,
    limit: usize,
    partitions: Vec<u16>,
}

/// The answer on its way: an error is one too.
pub type FindAnswer = Result<Vec<SentFound>, String>;

/// [`Found`] on its way.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SentFound {
    Texts(Vec<String>),
    Series(Vec<SentLabels>),
    Exemplars(Vec<(SentLabels, Vec<SentExemplar>)>),
    HeadStats(SentStats),
    Newest(Vec<(SentLabels, i64, SentValue)>),
}

type SentLabels = Vec<(String, String)>;
type SentCounts = Vec<(String, u64)>;
/// Labels, value, time.
type SentExemplar = (SentLabels, u64, i64);

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SentValue {
    Float(u64),
    Histogram(SentHistogram),
}

#[derive(Debug, Serialize, Deserialize)]
pub struct SentHistogram {
    hint: u8,
    schema: i32,
    /// Zero threshold, zero count, count, sum.
    numbers: [u64; 4],
    positive_spans: Vec<(i32, u32)>,
    negative_spans: Vec<(i32, u32)>,
    positive_buckets: Vec<u64>,
    negative_buckets: Vec<u64>,
    custom_values: Vec<u64>,
}

const HINTS: [CounterResetHint; 4] = [
    CounterResetHint::Unknown,
    CounterResetHint::CounterReset,
    CounterResetHint::NotCounterReset,
    CounterResetHint::Gauge,
];

#[derive(Debug, Serialize, Deserialize)]
pub struct SentStats {
    series: usize,
    label_pairs: usize,
    chunks: usize,
    min_ts: Option<i64>,
    max_ts: Option<i64>,
    series_by_metric: SentCounts,
    values_by_label: SentCounts,
    value_bytes_by_label: SentCounts,
    series_by_pair: SentCounts,
}

impl FindQuestion {
    pub fn new(what: &What, asked: &IndexRequest, partitions: &[PartitionId]) -> Self {
        let texts = |matchers: &Vec<Matcher>| matchers.iter().map(MatcherText::from).collect();
        Self {
            what: what.clone(),
            tenant: asked.tenant.as_str().to_owned(),
            matcher_sets: asked.matcher_sets.iter().map(texts).collect(),
            start_ms: asked.range.start_ms,
            end_ms: asked.range.end_ms,
            limit: asked.limit,
            partitions: partitions.iter().map(|partition| partition.0).collect(),
        }
    }

    fn read(self) -> Result<(What, IndexRequest, Vec<PartitionId>), String> {
        let compile = |matchers: Vec<MatcherText>| matchers.iter().map(MatcherText::compile).collect::<Result<_, _>>();
        let matcher_sets = self.matcher_sets.into_iter().map(compile).collect::<Result<_, _>>();
        let request = IndexRequest {
            tenant: TenantId::new(&self.tenant).map_err(|error| error.to_string())?,
            matcher_sets: matcher_sets.map_err(|error| error.to_string())?,
            range: TimeRange::new(self.start_ms, self.end_ms),
            limit: self.limit,
        };
        Ok((self.what, request, self.partitions.into_iter().map(PartitionId).collect()))
    }
}

/// Answers another node.
pub async fn answer(held: &Held, question: FindQuestion) -> FindAnswer {
    let (what, asked, partitions) = question.read()?;
    if let Some(unknown) = partitions.iter().find(|partition| usize::from(partition.0) >= Readers::partitions(held)) {
        return Err(format!("there is no partition {unknown}"));
    }
    let found = find(held, &what, &asked, &partitions).await.map_err(|error| error.to_string())?;
    Ok(found.into_iter().map(SentFound::from).collect())
}

fn sent_labels(labels: &LabelSet) -> SentLabels {
    labels.iter().map(|label| (label.name.to_owned(), label.value.to_owned())).collect()
}

fn labels(sent: &SentLabels) -> LabelSet {
    LabelSet::from_pairs(sent.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

impl From<Found> for SentFound {
    fn from(found: Found) -> Self {
        match found {
            Found::Texts(texts) => Self::Texts(texts.iter().map(str::to_owned).collect()),
            Found::Series(series) => Self::Series(series.iter().map(sent_labels).collect()),
            Found::Exemplars(found) => {
                let exemplar = |of: &Exemplar| (sent_labels(&of.labels), of.value.to_bits(), of.ts);
                let of_series =
                    |(labels, of): &OfSeries| (sent_labels(labels), of.iter().map(exemplar).collect::<Vec<_>>());
                Self::Exemplars(found.iter().map(of_series).collect())
            }
            Found::HeadStats(HeadStats { index, chunks, min_ts, max_ts }) => Self::HeadStats(SentStats {
                series: index.series,
                label_pairs: index.label_pairs,
                chunks,
                min_ts,
                max_ts,
                series_by_metric: index.series_by_metric,
                values_by_label: index.values_by_label,
                value_bytes_by_label: index.value_bytes_by_label,
                series_by_pair: index.series_by_pair,
            }),
            Found::Newest(found) => {
                let of_series =
                    |(labels, newest): &(LabelSet, Newest)| (sent_labels(labels), newest.ts, (&newest.value).into());
                Self::Newest(found.iter().map(of_series).collect())
            }
        }
    }
}

impl From<SentFound> for Found {
    fn from(sent: SentFound) -> Self {
        match sent {
            SentFound::Texts(texts) => Self::Texts(texts.iter().map(String::as_str).collect()),
            SentFound::Series(series) => Self::Series(series.iter().map(labels).collect()),
            SentFound::Exemplars(found) => {
                let exemplar = |(of, value, ts): &SentExemplar| Exemplar {
                    labels: labels(of),
                    value: f64::from_bits(*value),
                    ts: *ts,
                };
                let of_series = found.iter().map(|(of, list)| (labels(of), list.iter().map(exemplar).collect()));
                Self::Exemplars(of_series.collect())
            }
            SentFound::HeadStats(sent) => Self::HeadStats(HeadStats {
                index: IndexStats {
                    series: sent.series,
                    label_pairs: sent.label_pairs,
                    series_by_metric: sent.series_by_metric,
                    values_by_label: sent.values_by_label,
                    value_bytes_by_label: sent.value_bytes_by_label,
                    series_by_pair: sent.series_by_pair,
                },
                chunks: sent.chunks,
                min_ts: sent.min_ts,
                max_ts: sent.max_ts,
            }),
            SentFound::Newest(found) => {
                let of_series = |(of, ts, value): &(SentLabels, i64, SentValue)| {
                    (labels(of), Newest { ts: *ts, value: value.into() })
                };
                Self::Newest(found.iter().map(of_series).collect())
            }
        }
    }
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn numbers(bits: &[u64]) -> Vec<f64> {
    bits.iter().copied().map(f64::from_bits).collect()
}

fn sent_spans(spans: &[Span]) -> Vec<(i32, u32)> {
    spans.iter().map(|span| (span.offset, span.length)).collect()
}

fn spans(sent: &[(i32, u32)]) -> Vec<Span> {
    sent.iter().map(|&(offset, length)| Span { offset, length }).collect()
}

impl From<&NewestValue> for SentValue {
    fn from(value: &NewestValue) -> Self {
        let of = match value {
            NewestValue::Float(value) => return Self::Float(value.to_bits()),
            NewestValue::Histogram(of) => of,
        };
        Self::Histogram(SentHistogram {
            hint: HINTS.iter().position(|hint| *hint == of.counter_reset_hint).unwrap_or_default() as u8,
            schema: of.schema,
            numbers: [of.zero_threshold, of.zero_count, of.count, of.sum].map(f64::to_bits),
            positive_spans: sent_spans(&of.positive_spans),
            negative_spans: sent_spans(&of.negative_spans),
            positive_buckets: bits(&of.positive_buckets),
            negative_buckets: bits(&of.negative_buckets),
            custom_values: bits(&of.custom_values),
        })
    }
}

impl From<&SentValue> for NewestValue {
    fn from(sent: &SentValue) -> Self {
        let of = match sent {
            SentValue::Float(value) => return Self::Float(f64::from_bits(*value)),
            SentValue::Histogram(of) => of,
        };
        let [zero_threshold, zero_count, count, sum] = of.numbers.map(f64::from_bits);
        Self::Histogram(Arc::new(FloatHistogram {
            counter_reset_hint: HINTS.get(usize::from(of.hint)).copied().unwrap_or_default(),
            schema: of.schema,
            zero_threshold,
            zero_count,
            count,
            sum,
            positive_spans: spans(&of.positive_spans),
            negative_spans: spans(&of.negative_spans),
            positive_buckets: numbers(&of.positive_buckets),
            negative_buckets: numbers(&of.negative_buckets),
            custom_values: numbers(&of.custom_values),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(found: Found) -> Found {
        let sent = serde_json::to_string(&SentFound::from(found)).unwrap();
        serde_json::from_str::<SentFound>(&sent).unwrap().into()
    }

    #[test]
    fn a_question_comes_as_it_was_asked() {
        let matchers = vec![Matcher::new(pharos_model::MatchOp::NotRegex, "a", "b.*").unwrap()];
        let asked = IndexRequest {
            tenant: TenantId::new("t").unwrap(),
            matcher_sets: vec![matchers, Vec::new()],
            range: TimeRange::new(-5, i64::MAX),
            limit: usize::MAX,
        };
        let what = What::LabelValues("x".into());
        let sent = serde_json::to_string(&FindQuestion::new(&what, &asked, &[PartitionId(7)])).unwrap();
        let (came, read, partitions) = serde_json::from_str::<FindQuestion>(&sent).unwrap().read().unwrap();
        assert_eq!((came, partitions), (what, vec![PartitionId(7)]));
        assert_eq!((read.tenant, read.range, read.limit), (asked.tenant, asked.range, asked.limit));
        assert_eq!(format!("{:?}", read.matcher_sets), format!("{:?}", asked.matcher_sets));
    }

    #[test]
    fn answers_come_as_they_were_given() {
        let labels = LabelSet::from_pairs([("__name__", "a\"b"), ("x", "ä")]);
        let histogram = FloatHistogram {
            counter_reset_hint: CounterResetHint::Gauge,
            schema: 3,
            zero_count: 0.1,
            count: f64::INFINITY,
            sum: f64::NAN,
            positive_spans: vec![Span { offset: -2, length: 2 }],
            positive_buckets: vec![0.1, 1e300],
            ..FloatHistogram::default()
        };
        let newest = |value| (labels.clone(), Newest { ts: -1, value });
        let exemplar = Exemplar { labels: labels.clone(), value: f64::NAN, ts: 3 };
        let counts = vec![("n".to_owned(), u64::MAX)];
        let index = IndexStats { series: 3, series_by_pair: counts, ..IndexStats::default() };
        for found in [
            Found::Texts(["a", "b c"].into_iter().collect()),
            Found::Series(vec![labels.clone(), LabelSet::default()]),
            Found::Exemplars(vec![(labels.clone(), vec![exemplar])]),
            Found::HeadStats(HeadStats { index, chunks: 1, min_ts: None, max_ts: Some(-7) }),
            Found::Newest(vec![
                newest(NewestValue::Float(-0.0)),
                newest(NewestValue::Histogram(Arc::new(histogram.clone()))),
            ]),
        ] {
            assert_eq!(format!("{:?}", there_and_back(found.clone())), format!("{found:?}"));
        }
    }
}
