//! What nodes did meanwhile, by their own metrics: a run that never made a checkpoint proves nothing about checkpoints.

use std::collections::{BTreeMap, HashMap};

/// Counters that are followed, and what they are called here.
const COUNTERS: [(&str, &str); 8] = [
    ("pharos_raft_entries_total", "entries proposed"),
    ("pharos_raft_replayed_entries_total", "entries replayed"),
    ("pharos_raft_checkpoints_total", "checkpoints"),
    ("prometheus_tsdb_wal_segment_current", "log segments"),
    ("prometheus_tsdb_head_truncations_total", "heads cut after a seal"),
    ("pharos_storage_samples_sealed_total", "samples sealed"),
    ("pharos_storage_duplicate_samples_total", "duplicates dropped"),
    ("prometheus_tsdb_head_out_of_order_samples_appended_total", "late samples taken"),
];

/// Sums over all nodes and all their lives; what a life did after the last look at it is not in them.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    totals: BTreeMap<&'static str, f64>,
    last: HashMap<(String, &'static str), f64>,
}

impl Coverage {
    /// Takes a node's `/metrics`. A counter that fell began anew.
    pub fn observe(&mut self, node: &str, exposition: &str) {
        for (counter, name) in COUNTERS {
            let Some(value) = sum_of(exposition, counter) else { continue };
            let last = self.last.insert((node.to_owned(), name), value).unwrap_or(0.0);
            *self.totals.entry(name).or_default() += if value >= last { value - last } else { value };
        }
    }

    pub fn totals(&self) -> &BTreeMap<&'static str, f64> {
        &self.totals
    }
}

/// The sum over all series of a metric.
fn sum_of(exposition: &str, metric: &str) -> Option<f64> {
    let values = exposition.lines().filter_map(|line| {
        let rest = line.strip_prefix(metric)?;
        let rest = if rest.starts_with('{') { rest.rsplit_once('}')?.1 } else { rest };
        rest.strip_prefix(' ')?.split(' ').next()?.parse::<f64>().ok()
    });
    values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_add_up_over_lives_and_nodes() {
        let mut coverage = Coverage::default();
        let metrics = |checkpoints: u32| {
            format!("# TYPE pharos_raft_checkpoints_total counter\npharos_raft_checkpoints_total {checkpoints}\n")
        };
        for (node, checkpoints) in [("n1", 3), ("n1", 5), ("n2", 1), ("n1", 2)] {
            coverage.observe(node, &metrics(checkpoints));
        }
        assert_eq!(coverage.totals().get("checkpoints"), Some(&8.0));
        assert_eq!(coverage.totals().get("samples sealed"), None);
    }

    #[test]
    fn series_of_a_metric_are_added_and_longer_names_are_others() {
        let text = "m{a=\"} 1\"} 2\nm{a=\"b\"} 3\nm_total 9\nm 1 1700000000\n";
        assert_eq!(sum_of(text, "m"), Some(6.0));
        assert_eq!(sum_of(text, "n"), None);
    }
}
