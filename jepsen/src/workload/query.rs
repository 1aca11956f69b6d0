//! PromQL that reads a workload back exactly: raw samples, no interpolation.

use super::Family;

/// Samples of a writer in the last `range_ms` before the query's time.
pub fn read_query(family: Family, writer: u32, range_ms: i64) -> String {
    format!("{}{{writer=\"{writer}\"}}[{range_ms}ms]", family.metric())
}

/// How many samples of W-set there are in the last `range_ms`.
pub fn count_query(range_ms: i64) -> String {
    format!("sum(count_over_time({}[{range_ms}ms]))", Family::Set.metric())
}
