//! How busy this node is, for gossip.

use std::sync::Arc;

use pharos_cluster::gossip::{Meter, TellMeter};
use pharos_storage::partition;

/// Linux counts a process' time in these, whatever the kernel's own clock does.
const TICKS_PER_SECOND: f64 = 100.0;

/// Tells what the process used and what its heads took in.
pub fn meter(heads: partition::Metrics) -> TellMeter {
    Arc::new(move || Meter {
        cpu_seconds: std::fs::read_to_string("/proc/self/stat").ok().and_then(|stat| cpu_seconds(&stat)).unwrap_or(0.0),
        samples: heads.samples_appended(),
        series: heads.series(),
    })
}

/// Of all threads, in user space and in the kernel. Counted from behind the name of the program, which may have spaces in it.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let ticks = times.next()?.parse::<u64>().ok()? + times.next()?.parse::<u64>().ok()?;
    Some(ticks as f64 / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_process_is_read_whatever_its_name() {
        let stat = "4242 (a ) name) S 1 4242 4242 0 -1 4194560 1234 0 5 0 150 50 0 0 20 0 9 0 12345 1000 200";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds(""), None);
        assert_eq!(cpu_seconds("1 (x) S 1"), None);
        let own = std::fs::read_to_string("/proc/self/stat").unwrap();
        assert!(cpu_seconds(&own).is_some(), "{own}");
    }
}
