//! What the indexes know, merged over partitions: label names, label values, series, exemplars, head statistics.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join_all;
use pharos_model::{Exemplar, LabelSet, Matcher, TenantId, TimeRange, TimestampMs};
use pharos_storage::index::stats::{IndexStats, NamedCount};
use pharos_storage::select::{ReadError, SelectRequest};

use super::Node;

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
    /// Sorted names of the labels of series that match any of the sets; of all series when there is none.
    pub async fn label_names(
        &self,
        tenant: &TenantId,
        matcher_sets: &[Vec<Matcher>],
        range: TimeRange,
    ) -> Result<Vec<String>, ReadError> {
        let mut names = BTreeSet::new();
        for request in requests(tenant, matcher_sets, range) {
            let all = self.readers.iter().map(|reader| reader.label_names(&request));
            names.extend(try_join_all(all).await?.into_iter().flatten());
        }
        Ok(names.into_iter().collect())
    }

    /// Sorted values of a label among series that match any of the sets.
    pub async fn label_values(
        &self,
        tenant: &TenantId,
        name: &str,
        matcher_sets: &[Vec<Matcher>],
        range: TimeRange,
    ) -> Result<Vec<String>, ReadError> {
        let mut values = BTreeSet::new();
        for request in requests(tenant, matcher_sets, range) {
            let all = self.readers.iter().map(|reader| reader.label_values(name, &request));
            values.extend(try_join_all(all).await?.into_iter().flatten());
        }
        Ok(values.into_iter().collect())
    }

    /// Sorted label sets of the series that match any of the sets.
    pub async fn series(
        &self,
        tenant: &TenantId,
        matcher_sets: &[Vec<Matcher>],
        range: TimeRange,
    ) -> Result<Vec<LabelSet>, ReadError> {
        let mut found = BTreeSet::new();
        for request in requests(tenant, matcher_sets, range) {
            let all = self.readers.iter().map(|reader| reader.series(&request, usize::MAX));
            found.extend(try_join_all(all).await?.into_iter().flatten());
        }
        Ok(found.into_iter().collect())
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

fn requests(tenant: &TenantId, matcher_sets: &[Vec<Matcher>], range: TimeRange) -> Vec<SelectRequest> {
    let request = |matchers| SelectRequest { tenant: tenant.clone(), matchers, range, newest_only: false };
    if matcher_sets.is_empty() {
        vec![request(Vec::new())]
    } else {
        matcher_sets.iter().cloned().map(request).collect()
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
