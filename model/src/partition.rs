//! Which partition owns a series, a target or a rule group.

use std::fmt;

use crate::labels::{BUCKET_LABEL, LabelSet, METRIC_NAME};
use crate::matcher::{MatchOp, Matcher};
use crate::tenant::TenantId;

/// One of the cluster's partitions, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionId(pub u16);

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The partition of a series among `partitions`: by `(tenant, job, instance)`, so that all series of one target and
/// both sides of most binary operators live together; a series that lacks either label goes by all its labels without
/// the metric name and `le`. Stable across versions: stored data depends on it.
pub fn of_series(tenant: &TenantId, labels: &LabelSet, partitions: u16) -> PartitionId {
    let key = match (labels.get("job"), labels.get("instance")) {
        (Some(job), Some(instance)) => target_key(tenant, job, instance),
        _ => {
            let rest = labels.filter(|name| name != METRIC_NAME && name != BUCKET_LABEL);
            hash_parts(&[tenant.as_str().as_bytes(), b"labels", rest.as_bytes()])
        }
    };
    pick(key, partitions)
}

/// The only partition that can have series which satisfy the matchers; `None` when that may be any.
pub fn of_matchers(tenant: &TenantId, matchers: &[Matcher], partitions: u16) -> Option<PartitionId> {
    let fixed = |name: &str| {
        let fixes =
            |matcher: &&Matcher| matcher.name == name && matcher.op == MatchOp::Equal && !matcher.value.is_empty();
        matchers.iter().find(fixes).map(|matcher| matcher.value.as_str())
    };
    Some(of_target(tenant, fixed("job")?, fixed("instance")?, partitions))
}

/// The partition of a scrape target: that of the series it will expose.
pub fn of_target(tenant: &TenantId, job: &str, instance: &str, partitions: u16) -> PartitionId {
    pick(target_key(tenant, job, instance), partitions)
}

fn target_key(tenant: &TenantId, job: &str, instance: &str) -> u64 {
    hash_parts(&[tenant.as_str().as_bytes(), b"target", job.as_bytes(), instance.as_bytes()])
}

fn hash_parts(parts: &[&[u8]]) -> u64 {
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len() + 4).sum());
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u32).to_le_bytes());
        bytes.extend_from_slice(part);
    }
    twox_hash::XxHash64::oneshot(0, &bytes)
}

/// Multiply-shift: even for any count, and no division.
fn pick(key: u64, partitions: u16) -> PartitionId {
    PartitionId(((u128::from(key) * u128::from(partitions)) >> 64) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_and_its_series_share_a_partition() {
        let tenant = TenantId::anonymous();
        let series = LabelSet::from_pairs([("__name__", "up"), ("job", "node"), ("instance", "a:9100"), ("x", "y")]);
        assert_eq!(of_series(&tenant, &series, 24), of_target(&tenant, "node", "a:9100", 24));
    }

    #[test]
    fn matchers_that_fix_the_target_fix_the_partition() {
        let tenant = TenantId::anonymous();
        let of = |matchers: &[Matcher]| of_matchers(&tenant, matchers, 24);
        let (job, instance) = (Matcher::equal("job", "node"), Matcher::equal("instance", "a:9100"));
        let other = Matcher::equal("__name__", "up");
        let series = LabelSet::from_pairs([("__name__", "up"), ("job", "node"), ("instance", "a:9100")]);
        assert_eq!(of(&[other, instance.clone(), job.clone()]), Some(of_series(&tenant, &series, 24)));
        assert_eq!(of(std::slice::from_ref(&job)), None);
        assert_eq!(of(&[job.clone(), Matcher::equal("instance", "")]), None);
        assert_eq!(of(&[job, Matcher::new(MatchOp::Regex, "instance", "a:9100").unwrap()]), None);
    }

    #[test]
    fn buckets_of_one_histogram_stay_together_without_a_job() {
        let tenant = TenantId::anonymous();
        let bucket = |name: &str, le: &str| LabelSet::from_pairs([("__name__", name), ("le", le), ("path", "/")]);
        let partition = of_series(&tenant, &bucket("a_bucket", "1"), 24);
        assert_eq!(partition, of_series(&tenant, &bucket("a_count", ""), 24));
        assert_eq!(partition, of_series(&tenant, &bucket("a_bucket", "2"), 24));
    }

    #[test]
    fn the_mapping_is_pinned() {
        let tenant = TenantId::anonymous();
        assert_eq!(of_target(&tenant, "node", "localhost:9100", 24), of_target(&tenant, "node", "localhost:9100", 24));
        let hit: std::collections::BTreeSet<_> =
            (0..1000).map(|i| of_target(&tenant, "node", &format!("h{i}"), 24)).collect();
        assert_eq!(hit.len(), 24);
    }
}
