//! Whether a group may elect on this node. A pure decision; [`crate::warden`] carries it out.
//!
//! The library has no pre-vote: a node that was cut off would stand for election alone, over and over, and with its high term
//! depose the leader when it is back. So a group elects here only while a majority of its voters is heard from, and not at once when
//! it is heard again: its leader is given time to be heard first.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::peers::NodeId;
use crate::raft::RaftTimes;

/// How long it takes to believe in others, and to stop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GateTimes {
    /// A node that was not heard from for so long does not count. Ends before an election could begin.
    pub silence_max: Duration,
    /// A majority has to be heard from for so long: longer than a leader takes to try a node again that it could not reach.
    pub settle: Duration,
}

impl GateTimes {
    pub(crate) fn of(times: RaftTimes) -> Self {
        Self { silence_max: times.election_max, settle: times.election_max }
    }
}

/// One group's gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gate {
    /// Since when, on the monotonic clock, a majority has been heard from.
    heard_since: Option<Duration>,
}

impl Gate {
    /// The next state, and whether the group may elect. `busy`: the group takes a snapshot in, and hears no leader meanwhile.
    pub(crate) fn step(self, majority: bool, busy: bool, now: Duration, times: GateTimes) -> (Self, bool) {
        if !majority || busy {
            return (Self::default(), false);
        }
        let since = self.heard_since.unwrap_or(now);
        (Self { heard_since: Some(since) }, now.saturating_sub(since) >= times.settle)
    }
}

/// Whether those of whom `counts` is true are a majority of each configuration of voters.
pub(crate) fn is_majority(voters: &[BTreeSet<NodeId>], counts: impl Fn(NodeId) -> bool) -> bool {
    let majority = |voters: &BTreeSet<NodeId>| voters.iter().filter(|&&voter| counts(voter)).count() > voters.len() / 2;
    !voters.is_empty() && voters.iter().all(majority)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: GateTimes = GateTimes { silence_max: Duration::from_secs(1), settle: Duration::from_secs(2) };

    fn voters(sets: &[&[u64]]) -> Vec<BTreeSet<u64>> {
        sets.iter().map(|set| set.iter().copied().collect()).collect()
    }

    #[test]
    fn a_majority_is_one_of_every_configuration() {
        let heard = |nodes: &'static [u64]| move |node| nodes.contains(&node);
        assert!(is_majority(&voters(&[&[1]]), heard(&[1])));
        assert!(is_majority(&voters(&[&[1, 2, 3]]), heard(&[1, 3])));
        assert!(!is_majority(&voters(&[&[1, 2, 3]]), heard(&[1, 4, 5])));
        assert!(!is_majority(&voters(&[&[1, 2]]), heard(&[1])));
        assert!(!is_majority(&voters(&[&[1, 2, 3], &[3, 4, 5]]), heard(&[1, 2, 3])));
        assert!(is_majority(&voters(&[&[1, 2, 3], &[3, 4, 5]]), heard(&[1, 3, 4])));
        assert!(!is_majority(&[], |_| true));
    }

    #[test]
    fn a_group_elects_once_a_majority_was_heard_for_a_while_without_a_break() {
        let seconds = Duration::from_secs;
        let mut gate = Gate::default();
        let mut step = |majority, busy, at| {
            let (next, elects) = gate.step(majority, busy, seconds(at), TIMES);
            gate = next;
            elects
        };
        assert!(!step(true, false, 10));
        assert!(!step(true, false, 11));
        assert!(step(true, false, 12));
        assert!(step(true, false, 13));
        assert!(!step(false, false, 14), "alone");
        assert!(!step(true, false, 15), "just back");
        assert!(!step(true, true, 17), "takes a snapshot in");
        assert!(!step(true, false, 18));
        assert!(step(true, false, 20));
    }
}
