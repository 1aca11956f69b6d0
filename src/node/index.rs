//! What the indexes know, merged over partitions: label names, label values, series, exemplars, head statistics.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use pharos_model::{Exemplar, LabelSet, Matcher, TenantId, Texts, TimeRange, TimestampMs};
use pharos_storage::index::stats::{IndexStats, NamedCount};
use pharos_storage::select::{PartitionReader, ReadError, SelectRequest};

use super::Node;

/// Partitions that are read together, one after the other.
const GROUP_PARTITIONS: usize = 8;
/// Groups that one request reads at the same time.
const READS_MAX: usize = 8;

/// What a tenant's heads are made of.
#[derive(Clone, Debug, Default)]
pub struct HeadStats {
    pub index: IndexStats,
    pub chunks: usize,
    /// `None` while the heads are empty.
    pub min_ts: Option<TimestampMs>,
    pub max_ts: Option<TimestampMs>,
}

/// What is asked of the indexes of all partitions.
#[derive(Clone, Debug)]
pub struct IndexRequest {
    pub tenant: TenantId,
    /// Series count that satisfy one of these; all series where there is none.
    pub matcher_sets: Vec<Vec<Matcher>>,
    pub range: TimeRange,
    /// Most entries of the answer; the first ones in order, but for series any.
    pub limit: usize,
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

impl Node {
    /// Sorted names of the labels that the series have.
    pub async fn label_names(&self, asked: &IndexRequest) -> Result<Texts, ReadError> {
        let read =
            |readers, request: SelectRequest| async move { PartitionReader::label_names(readers, &request).await };
        let lists: Vec<Texts> = self.of_groups(asked, read).await?.into_iter().flatten().collect();
        Ok(Texts::merge(&lists, asked.limit))
    }

    /// Sorted values that a label has among the series.
    pub async fn label_values(&self, name: &str, asked: &IndexRequest) -> Result<Texts, ReadError> {
        let read = |readers, request: SelectRequest| async move {
            PartitionReader::label_values(readers, name, &request).await
        };
        let lists: Vec<Texts> = self.of_groups(asked, read).await?.into_iter().flatten().collect();
        Ok(Texts::merge(&lists, asked.limit))
    }

    /// Sorted label sets of the series.
    pub async fn series(&self, asked: &IndexRequest) -> Result<Vec<LabelSet>, ReadError> {
        let limit = asked.limit;
        let read =
            |readers, request: SelectRequest| async move { PartitionReader::series(readers, &request, limit).await };
        let mut found: Vec<LabelSet> = self.of_groups(asked, read).await?.into_iter().flatten().collect();
        // The stable sort merges what is sorted in stretches already.
        found.sort();
        found.dedup();
        found.truncate(limit);
        Ok(found)
    }

    /// Asks each set of matchers of each group of partitions, some at a time.
    async fn of_groups<T, F: Future<Output = Result<T, ReadError>>>(
        &self,
        asked: &IndexRequest,
        read: impl Fn(Vec<PartitionReader>, SelectRequest) -> F,
    ) -> Result<Vec<T>, ReadError> {
        let groups = || self.readers.chunks(GROUP_PARTITIONS);
        let reader_of = |reader: &Arc<PartitionReader>| PartitionReader::clone(reader);
        let reads: Vec<_> = asked
            .selects()
            .iter()
            .flat_map(|request| groups().map(|group| read(group.iter().map(reader_of).collect(), request.clone())))
            .collect();
        stream::iter(reads).buffer_unordered(READS_MAX).try_collect().await
    }

    /// Exemplars of the series that match any of the sets, by series.
    pub fn exemplars(
        &self,
        tenant: &TenantId,
        matcher_sets: &[Vec<Matcher>],
        range: TimeRange,
    ) -> Vec<(LabelSet, Vec<Exemplar>)> {
        if matcher_sets.is_empty() {
            return Vec::new();
        }
        let mut found = BTreeMap::new();
        for reader in &self.readers {
            found.extend(
                reader
                    .partition()
                    .exemplars(tenant, matcher_sets, range)
                    .into_iter()
                    .map(|of| (of.labels, of.exemplars)),
            );
        }
        found.into_iter().collect()
    }

    /// What the tenant's heads are made of, each list with its `limit` largest.
    pub fn head_stats(&self, tenant: &TenantId, limit: usize) -> HeadStats {
        let mut merged = HeadStats::default();
        for stats in self.readers.iter().filter_map(|reader| reader.partition().stats(tenant, limit)) {
            merged.chunks += stats.extent.chunks;
            merged.min_ts = merged.min_ts.into_iter().chain(stats.extent.min_ts).min();
            merged.max_ts = merged.max_ts.max(stats.extent.max_ts);
            merged.index.series += stats.index.series;
            merged.index.label_pairs += stats.index.label_pairs;
            add(&mut merged.index.series_by_metric, stats.index.series_by_metric);
            add(&mut merged.index.values_by_label, stats.index.values_by_label);
            add(&mut merged.index.value_bytes_by_label, stats.index.value_bytes_by_label);
            add(&mut merged.index.series_by_pair, stats.index.series_by_pair);
        }
        for list in [
            &mut merged.index.series_by_metric,
            &mut merged.index.values_by_label,
            &mut merged.index.value_bytes_by_label,
            &mut merged.index.series_by_pair,
        ] {
            list.sort_by(|(a_name, a), (b_name, b)| b.cmp(a).then_with(|| a_name.cmp(b_name)));
            list.truncate(limit);
        }
        merged
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
