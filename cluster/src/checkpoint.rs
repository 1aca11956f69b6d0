//! Which group makes a checkpoint next. A pure decision; [`crate::node`] carries it out.

use std::time::Duration;

/// Bounds what has to be replayed after a crash, and what the log takes on disk.
#[derive(Clone, Copy, Debug)]
pub struct CheckpointPolicy {
    /// A group with more log than this since its checkpoint is due. Default 16 MiB.
    pub group_bytes_max: u64,
    /// A group with any log is due after this long. Default 2 min.
    pub age_max: Duration,
    /// When all segments take more than this, the group that needs the oldest one is due. Default 512 MiB.
    pub log_bytes_max: u64,
    /// A group whose checkpoint failed is left alone for so long. Default 30 s.
    pub retry_after: Duration,
    /// How often the policy is asked. Default 1 s.
    pub tick: Duration,
}

impl Default for CheckpointPolicy {
    fn default() -> Self {
        Self {
            group_bytes_max: 16 << 20,
            age_max: Duration::from_secs(120),
            log_bytes_max: 512 << 20,
            retry_after: Duration::from_secs(30),
            tick: Duration::from_secs(1),
        }
    }
}

/// One group as the policy sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupLoad {
    /// Bytes of log that no checkpoint covers.
    pub log_bytes: u64,
    /// The oldest segment it needs.
    pub oldest_segment: Option<u64>,
    /// Time since its last checkpoint, or since the node's start.
    pub age: Duration,
    /// Time since a checkpoint failed, if the last one did.
    pub failed_ago: Option<Duration>,
}

/// The group that is due, by its position: the one with most log to cover among those that are.
pub fn next_due(groups: &[GroupLoad], log_bytes: u64, policy: &CheckpointPolicy) -> Option<usize> {
    let held =
        if log_bytes > policy.log_bytes_max { groups.iter().filter_map(|g| g.oldest_segment).min() } else { None };
    let is_due = |group: &GroupLoad| {
        let holds_oldest = held.is_some() && group.oldest_segment == held;
        let waits = group.failed_ago.is_some_and(|ago| ago < policy.retry_after);
        let full = group.log_bytes > policy.group_bytes_max || group.age >= policy.age_max || holds_oldest;
        group.log_bytes > 0 && full && !waits
    };
    let due = groups.iter().enumerate().filter(|(_, group)| is_due(group));
    due.max_by_key(|(_, group)| group.log_bytes).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: CheckpointPolicy = CheckpointPolicy {
        group_bytes_max: 100,
        age_max: Duration::from_secs(60),
        log_bytes_max: 1000,
        retry_after: Duration::from_secs(10),
        tick: Duration::from_secs(1),
    };

    fn group(log_bytes: u64, oldest_segment: u64, age_s: u64) -> GroupLoad {
        let oldest_segment = (log_bytes > 0).then_some(oldest_segment);
        GroupLoad { log_bytes, oldest_segment, age: Duration::from_secs(age_s), failed_ago: None }
    }

    #[test]
    fn the_due_group_with_most_log_goes_first() {
        let groups = [group(101, 5, 0), group(300, 5, 0), group(90, 5, 0)];
        assert_eq!(next_due(&groups, 0, &POLICY), Some(1));
    }

    #[test]
    fn nothing_is_due_below_the_limits() {
        assert_eq!(next_due(&[group(100, 1, 59), group(1, 1, 59)], 1000, &POLICY), None);
    }

    #[test]
    fn age_makes_a_group_due_unless_it_has_no_log() {
        assert_eq!(next_due(&[group(0, 0, 600), group(1, 1, 60)], 0, &POLICY), Some(1));
        assert_eq!(next_due(&[group(0, 0, 600)], 0, &POLICY), None);
    }

    #[test]
    fn a_log_too_large_makes_the_holder_of_its_oldest_segment_due() {
        let groups = [group(90, 7, 0), group(3, 2, 0), group(50, 3, 0)];
        assert_eq!(next_due(&groups, 1001, &POLICY), Some(1));
        assert_eq!(next_due(&groups, 1000, &POLICY), None);
    }

    #[test]
    fn a_failed_checkpoint_waits_before_the_next_attempt() {
        let mut failing = group(500, 1, 0);
        failing.failed_ago = Some(Duration::from_secs(9));
        assert_eq!(next_due(&[failing, group(101, 1, 0)], 0, &POLICY), Some(1));
        failing.failed_ago = Some(Duration::from_secs(10));
        assert_eq!(next_due(&[failing, group(101, 1, 0)], 0, &POLICY), Some(0));
    }
}
