//! What the indexes know, merged over the partitions of all nodes: label names, label values, series, exemplars, head statistics.

use std::collections::BTreeMap;

use futures::future::join_all;
use pharos_cluster::peers::NodeId;
use pharos_model::{Exemplar, LabelSet, PartitionId, Texts, TimestampMs};
use pharos_query::QueryError;
use pharos_query::distributed::Unplaced;
use pharos_storage::index::stats::{IndexStats, NamedCount};
use tracing::warn;

use super::Node;
use super::find::{FindAnswer, FindQuestion, Found, What, find};
pub use super::find::{IndexRequest, Newest, NewestValue};
use super::others::{self, method};
use super::workers::worker_of;

/// Nodes that one request may lose before it fails.
const LOST_MAX: usize = 2;

/// What a tenant's heads are made of.
#[derive(Clone, Debug, Default)]
pub struct HeadStats {
    pub index: IndexStats,
    pub chunks: usize,
    /// `None` while the heads are empty.
    pub min_ts: Option<TimestampMs>,
    pub max_ts: Option<TimestampMs>,
}

impl Node {
    /// Sorted names of the labels that the series have.
    pub async fn label_names(&self, asked: &IndexRequest) -> Result<Texts, QueryError> {
        self.texts(What::LabelNames, asked).await
    }

    /// Sorted values that a label has among the series.
    pub async fn label_values(&self, name: &str, asked: &IndexRequest) -> Result<Texts, QueryError> {
        self.texts(What::LabelValues(name.to_owned()), asked).await
    }

    async fn texts(&self, what: What, asked: &IndexRequest) -> Result<Texts, QueryError> {
        let found = self.find(&what, asked).await?;
        let lists = found.into_iter().map(|found| match found {
            Found::Texts(texts) => Ok(texts),
            other => Err(astray(&other)),
        });
        let lists: Vec<Texts> = lists.collect::<Result<_, _>>()?;
        Ok(Texts::merge(&lists, asked.limit))
    }

    /// Sorted label sets of the series.
    pub async fn series(&self, asked: &IndexRequest) -> Result<Vec<LabelSet>, QueryError> {
        let mut all = Vec::new();
        for found in self.find(&What::Series, asked).await? {
            match found {
                Found::Series(series) => all.extend(series),
                other => return Err(astray(&other)),
            }
        }
        // The stable sort merges what is sorted in stretches already.
        all.sort();
        all.dedup();
        all.truncate(asked.limit);
        Ok(all)
    }

    /// Exemplars of the series that match any of the sets, by series.
    pub async fn exemplars(&self, asked: &IndexRequest) -> Result<Vec<(LabelSet, Vec<Exemplar>)>, QueryError> {
        let mut all = BTreeMap::new();
        for found in self.find(&What::Exemplars, asked).await? {
            match found {
                Found::Exemplars(exemplars) => all.extend(exemplars),
                other => return Err(astray(&other)),
            }
        }
        Ok(all.into_iter().collect())
    }

    /// What the tenant's heads are made of, each list with its `limit` largest.
    pub async fn head_stats(&self, asked: &IndexRequest) -> Result<HeadStats, QueryError> {
        let mut merged = HeadStats::default();
        for found in self.find(&What::HeadStats, asked).await? {
            match found {
                Found::HeadStats(stats) => merged.add(stats),
                other => return Err(astray(&other)),
            }
        }
        merged.truncate(asked.limit);
        Ok(merged)
    }

    /// The newest sample of each series that has not ended.
    pub async fn newest(&self, asked: &IndexRequest) -> Result<BTreeMap<LabelSet, Newest>, QueryError> {
        let mut all = BTreeMap::new();
        for found in self.find(&What::Newest, asked).await? {
            match found {
                Found::Newest(newest) => all.extend(newest),
                other => return Err(astray(&other)),
            }
        }
        Ok(all)
    }

    /// Asks a node that has them for each partition, and others for those of a node that is lost.
    async fn find(&self, what: &What, asked: &IndexRequest) -> Result<Vec<Found>, QueryError> {
        let mut lost = Vec::new();
        loop {
            let shares = self.shares(&lost)?;
            let asking = shares.iter().map(|(node, partitions)| self.find_at(*node, what, asked, partitions));
            let mut answers = Vec::new();
            let mut failed = None;
            for (answer, (node, _)) in join_all(asking).await.into_iter().zip(&shares) {
                match answer {
                    Ok(found) => answers.extend(found),
                    Err(error) => failed = Some((*node, error)),
                }
            }
            let Some((node, error)) = failed else { return Ok(answers) };
            lost.push(node);
            if lost.len() > LOST_MAX || self.shares(&lost).is_err() {
                return Err(error);
            }
            warn!(node = %worker_of(node), %error, "indexes are read again without a node");
        }
    }

    /// By node, the partitions that it is to be asked for.
    fn shares(&self, lost: &[NodeId]) -> Result<Vec<(NodeId, Vec<PartitionId>)>, Unplaced> {
        match &self.member {
            Some(_) => self.whereabouts.shares(lost),
            None => Ok(vec![(self.id(), self.held.partitions().collect())]),
        }
    }

    async fn find_at(
        &self,
        node: NodeId,
        what: &What,
        asked: &IndexRequest,
        partitions: &[PartitionId],
    ) -> Result<Vec<Found>, QueryError> {
        if node == self.id() {
            return Ok(find(&self.held, what, asked, partitions).await?);
        }
        let question = FindQuestion::new(what, asked, partitions);
        let broken = |reason: String| QueryError::Worker { worker: worker_of(node), reason };
        let answer: FindAnswer = others::download(&**self.whereabouts.peers(), node, method::FIND, &question)
            .await
            .map_err(|error| broken(error.to_string()))?;
        Ok(answer.map_err(broken)?.into_iter().map(Found::from).collect())
    }
}

fn astray(found: &Found) -> QueryError {
    QueryError::Internal(format!("a node answered another question: {found:?}"))
}

impl HeadStats {
    fn add(&mut self, mut more: Self) {
        self.chunks += more.chunks;
        self.min_ts = self.min_ts.into_iter().chain(more.min_ts).min();
        self.max_ts = self.max_ts.max(more.max_ts);
        self.index.series += more.index.series;
        self.index.label_pairs += more.index.label_pairs;
        for (list, more) in self.lists().into_iter().zip(more.lists().map(std::mem::take)) {
            add(list, more);
        }
    }

    fn truncate(&mut self, limit: usize) {
        for list in self.lists() {
            list.sort_by(|(a_name, a), (b_name, b)| b.cmp(a).then_with(|| a_name.cmp(b_name)));
            list.truncate(limit);
        }
    }

    fn lists(&mut self) -> [&mut Vec<NamedCount>; 4] {
        let index = &mut self.index;
        [
            &mut index.series_by_metric,
            &mut index.values_by_label,
            &mut index.value_bytes_by_label,
            &mut index.series_by_pair,
        ]
    }
}

/// Adds the counts of one partition to those of the others.
fn add(total: &mut Vec<NamedCount>, more: Vec<NamedCount>) {
    for (name, count) in more {
        match total.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += count,
            None => total.push((name, count)),
        }
    }
}
