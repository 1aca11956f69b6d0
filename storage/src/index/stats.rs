//! What of the index is large, for `/api/v1/status/tsdb`.

use pharos_model::labels::METRIC_NAME;

use super::Index;
use super::pairs::PairId;

/// A name and what was counted for it.
pub type NamedCount = (String, u64);

/// The largest of everything; each list is ordered from the largest count down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexStats {
    pub series: usize,
    pub label_pairs: usize,
    pub series_by_metric: Vec<NamedCount>,
    pub values_by_label: Vec<NamedCount>,
    /// Bytes of all values of a label, counted once for each series that has them.
    pub value_bytes_by_label: Vec<NamedCount>,
    /// Keyed `name=value`.
    pub series_by_pair: Vec<NamedCount>,
}

impl Index {
    /// The `limit` largest of each list.
    pub(crate) fn stats(&self, limit: usize) -> IndexStats {
        let mut stats = IndexStats { series: self.len(), ..IndexStats::default() };
        for (name, pairs) in self.pairs.names() {
            let mut bytes = 0;
            let mut values = 0;
            for &pair in pairs {
                let series = self.postings[pair as usize].len();
                if series == 0 {
                    continue;
                }
                let value = self.pairs.value(PairId(pair));
                values += 1;
                bytes += value.len() as u64 * series;
                offer(&mut stats.series_by_pair, limit, series, || format!("{name}={value}"));
                if name == METRIC_NAME {
                    offer(&mut stats.series_by_metric, limit, series, || value.to_owned());
                }
            }
            stats.label_pairs += values as usize;
            if values > 0 {
                offer(&mut stats.values_by_label, limit, values, || name.to_owned());
                offer(&mut stats.value_bytes_by_label, limit, bytes, || name.to_owned());
            }
        }
        stats
    }
}

/// Puts a count into an ordered list when it is among the `limit` largest.
fn offer(list: &mut Vec<NamedCount>, limit: usize, count: u64, name: impl FnOnce() -> String) {
    let at = list.partition_point(|(_, other)| *other >= count);
    if at < limit {
        list.insert(at, (name(), count));
        list.truncate(limit);
    }
}
