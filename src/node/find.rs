//! What indexes and heads know of some partitions, and the newest samples there: the question, and the answer of a node that has them.

mod newest;
mod sent;

use futures::{StreamExt, TryStreamExt, stream};
use pharos_model::{Exemplar, LabelSet, Matcher, PartitionId, TenantId, Texts, TimeRange};
use pharos_query::source::Readers;
use pharos_storage::select::{PartitionReader, ReadError, SelectRequest};
use serde::{Deserialize, Serialize};

pub use self::newest::{Newest, NewestValue};
pub use self::sent::{FindAnswer, FindQuestion, answer};
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
    /// The newest sample of each series that has not ended.
    Newest,
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
    Newest(Vec<(LabelSet, Newest)>),
}

impl IndexRequest {
    fn selects(&self, newest_only: bool) -> Vec<SelectRequest> {
        let select = |matchers| SelectRequest {
            tenant: self.tenant.clone(),
            matchers,
            range: self.range,
            newest_only,
            totals_only: false,
            starts: false,
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
        What::Newest => {
            let mut found = Vec::new();
            for select in asked.selects(true) {
                found.extend(newest::of_all(&readers, &select).await?);
            }
            vec![Found::Newest(found)]
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
    let selects = asked.selects(false);
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
