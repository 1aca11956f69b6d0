//! What indexes and heads know of some partitions: the question, the answer of a node that has them, and both on their way.

use futures::{StreamExt, TryStreamExt, stream};
use pharos_model::{Exemplar, LabelSet, Matcher, PartitionId, TenantId, Texts, TimeRange};
use pharos_query::source::Readers;
use pharos_storage::index::stats::IndexStats;
use pharos_storage::manifest::MatcherText;
use pharos_storage::select::{PartitionReader, ReadError, SelectRequest};
use serde::{Deserialize, Serialize};

use super::held::Held;
use super::index::HeadStats;

/// Partitions that are read together, one after the other.
const GROUP_PARTITIONS: usize = 8;
/// Groups that one request reads at the same time.
const READS_MAX: usize = 8;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Sorted names of the labels that the series have.
    LabelNames,
    /// Sorted values that a label has among the series.
    LabelValues(String),
    /// Sorted label sets of the series.
    Series,
    /// Exemplars of the series that satisfy one of the sets of matchers, by series.
    Exemplars,
    /// What the tenant's heads are made of.
    HeadStats,
}

/// What is asked of the indexes of partitions.
#[derive(Clone, Debug)]
pub struct IndexRequest {
    pub tenant: TenantId,
    /// Series count that satisfy one of these; all series where there is none.
    pub matcher_sets: Vec<Vec<Matcher>>,
    pub range: TimeRange,
    /// Most entries of the answer, and of each list of statistics; the first ones in order, but for series any.
    pub limit: usize,
}

/// Exemplars of one series.
pub type OfSeries = (LabelSet, Vec<Exemplar>);

/// The answer of some partitions.
#[derive(Clone, Debug)]
pub enum Found {
    Texts(Texts),
    Series(Vec<LabelSet>),
    Exemplars(Vec<OfSeries>),
    HeadStats(HeadStats),
}

impl IndexRequest {
    fn selects(&self) -> Vec<SelectRequest> {
        let select = |matchers| SelectRequest {
            tenant: self.tenant.clone(),
            matchers,
            range: self.range,
            newest_only: false,
            totals_only: false,
        };
        if self.matcher_sets.is_empty() {
            vec![select(Vec::new())]
        } else {
            self.matcher_sets.iter().cloned().map(select).collect()
        }
    }
}

/// Asks partitions that are here.
pub async fn find(
    held: &Held,
    what: &What,
    asked: &IndexRequest,
    partitions: &[PartitionId],
) -> Result<Vec<Found>, ReadError> {
    let partitions: Vec<usize> = partitions.iter().map(|partition| usize::from(partition.0)).collect();
    let readers = held.readers(&partitions).await?;
    let texts = |texts: Vec<Texts>| texts.into_iter().map(Found::Texts).collect();
    Ok(match what {
        What::LabelNames => {
            let read =
                |readers, select: SelectRequest| async move { PartitionReader::label_names(readers, &select).await };
            texts(of_groups(&readers, asked, read).await?.into_iter().flatten().collect())
        }
        What::LabelValues(name) => {
            let read = |readers, select: SelectRequest| async move {
                PartitionReader::label_values(readers, name, &select).await
            };
            texts(of_groups(&readers, asked, read).await?.into_iter().flatten().collect())
        }
        What::Series => {
            let limit = asked.limit;
            let read =
                |readers, select: SelectRequest| async move { PartitionReader::series(readers, &select, limit).await };
            of_groups(&readers, asked, read)
                .await?
                .into_iter()
                .map(|series| Found::Series(series.into_iter().collect()))
                .collect()
        }
        What::Exemplars => readers.iter().map(|reader| Found::Exemplars(exemplars(reader, asked))).collect(),
        What::HeadStats => {
            let stats = readers.iter().filter_map(|reader| reader.partition().stats(&asked.tenant, asked.limit));
            let stats = stats.map(|stats| HeadStats {
                index: stats.index,
                chunks: stats.extent.chunks,
                min_ts: stats.extent.min_ts,
                max_ts: stats.extent.max_ts,
            });
            stats.map(Found::HeadStats).collect()
        }
    })
}

/// Asks each set of matchers of each group of partitions, some at a time.
async fn of_groups<T, F: Future<Output = Result<T, ReadError>>>(
    readers: &[PartitionReader],
    asked: &IndexRequest,
    read: impl Fn(Vec<PartitionReader>, SelectRequest) -> F,
) -> Result<Vec<T>, ReadError> {
    let groups = || readers.chunks(GROUP_PARTITIONS);
    let selects = asked.selects();
    let reads: Vec<_> =
        selects.iter().flat_map(|select| groups().map(|group| read(group.to_vec(), select.clone()))).collect();
    stream::iter(reads).buffer_unordered(READS_MAX).try_collect().await
}

fn exemplars(reader: &PartitionReader, asked: &IndexRequest) -> Vec<OfSeries> {
    if asked.matcher_sets.is_empty() {
        return Vec::new();
    }
    let found = reader.partition().exemplars(&asked.tenant, &asked.matcher_sets, asked.range);
    found.into_iter().map(|of| (of.labels, of.exemplars)).collect()
}

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

/// [`Found`] on its way. Numbers are their bits: JSON has no NaN.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SentFound {
    Texts(Vec<String>),
    Series(Vec<SentLabels>),
    Exemplars(Vec<(SentLabels, Vec<(SentLabels, u64, i64)>)>),
    HeadStats(SentStats),
}

type SentLabels = Vec<(String, String)>;
type SentCounts = Vec<(String, u64)>;

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
        }
    }
}

impl From<SentFound> for Found {
    fn from(sent: SentFound) -> Self {
        match sent {
            SentFound::Texts(texts) => Self::Texts(texts.iter().map(String::as_str).collect()),
            SentFound::Series(series) => Self::Series(series.iter().map(labels).collect()),
            SentFound::Exemplars(found) => {
                let exemplar = |(of, value, ts): &(SentLabels, u64, i64)| Exemplar {
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
        }
    }
}
