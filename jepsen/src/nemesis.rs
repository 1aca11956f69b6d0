//! What goes wrong, when and where.
//!
//! [`schedule`] draws steps from the seed and decides all of it; [`act`] does it to processes, disks and networks.

mod act;
pub mod partition;
pub mod schedule;

pub use act::{Nemesis, Outcome};

use crate::env::abilities::Need;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Kill,
    KillAll,
    Terminate,
    Pause,
    PowerLoss,
    PowerLossAll,
    PowerLossAndPause,
    Partition,
    Loss,
    DiskFull,
    FullRestart,
    SlowDisk,
    HungDisk,
    Clock,
    Replace,
    Grow,
}

/// Whom a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    One,
    Two,
    All,
    /// Links rather than nodes.
    Links,
}

impl Fault {
    pub const ALL: [Self; 16] = [
        Self::Kill,
        Self::KillAll,
        Self::Terminate,
        Self::Pause,
        Self::PowerLoss,
        Self::PowerLossAll,
        Self::PowerLossAndPause,
        Self::Partition,
        Self::Loss,
        Self::DiskFull,
        Self::FullRestart,
        Self::SlowDisk,
        Self::HungDisk,
        Self::Clock,
        Self::Replace,
        Self::Grow,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::KillAll => "kill-all",
            Self::Terminate => "terminate",
            Self::Pause => "pause",
            Self::PowerLoss => "power-loss",
            Self::PowerLossAll => "power-loss-all",
            Self::PowerLossAndPause => "power-loss-and-pause",
            Self::Partition => "partition",
            Self::Loss => "loss",
            Self::DiskFull => "disk-full",
            Self::FullRestart => "full-restart",
            Self::SlowDisk => "slow-disk",
            Self::HungDisk => "hung-disk",
            Self::Clock => "clock",
            Self::Replace => "replace",
            Self::Grow => "grow",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.name() == name)
    }

    /// What it does, for the list of faults.
    pub fn about(self) -> &'static str {
        match self {
            Self::Kill => "SIGKILL to one node, started again after a while",
            Self::KillAll => "SIGKILL to all nodes at once",
            Self::Terminate => "SIGTERM to one node, which has to end by itself",
            Self::Pause => "SIGSTOP to one node, SIGCONT after a while",
            Self::PowerLoss => "one node's disk forgets what was not synced; the node is killed",
            Self::PowerLossAll => "all disks forget what was not synced, at once",
            Self::PowerLossAndPause => "power loss of one node while another is paused",
            Self::Partition => "nodes do not hear others: halves, one way, ring, one alone, flapping",
            Self::Loss => "a part of all packets between nodes is dropped",
            Self::DiskFull => "one node's disk has no room left",
            Self::FullRestart => "SIGKILL to a node whose disk has no room left, and it has to start all the same",
            Self::SlowDisk => "one node's disk takes 256 KB to 1 MB a second",
            Self::HungDisk => "one node's disk takes nothing at all",
            Self::Clock => "one node's wall clock jumps, back by up to 100 days",
            Self::Replace => "one node is gone for ever, an empty one comes in its place",
            Self::Grow => "a new node joins",
        }
    }

    pub fn needs(self) -> &'static [Need] {
        match self {
            Self::Kill | Self::Terminate | Self::Pause => &[],
            Self::KillAll => &[Need::TwoNodes],
            Self::PowerLoss => &[Need::Image, Need::PowerCut],
            Self::PowerLossAll => &[Need::Image, Need::PowerCut, Need::TwoNodes],
            Self::PowerLossAndPause => &[Need::Image, Need::PowerCut, Need::ThreeNodes],
            Self::Partition => &[Need::Firewall, Need::ThreeNodes],
            Self::Loss => &[Need::Firewall, Need::TwoNodes],
            Self::DiskFull | Self::FullRestart => &[Need::Image],
            Self::SlowDisk => &[Need::Image, Need::Throttle],
            Self::HungDisk => &[Need::Image, Need::Freeze],
            Self::Clock => &[Need::ShiftClock],
            Self::Replace => &[Need::ThreeNodes, Need::Join],
            Self::Grow => &[Need::Join],
        }
    }

    pub fn reach(self) -> Reach {
        match self {
            Self::KillAll | Self::PowerLossAll => Reach::All,
            Self::PowerLossAndPause => Reach::Two,
            Self::Partition | Self::Loss => Reach::Links,
            _ => Reach::One,
        }
    }

    /// Whether it cannot be undone, so comes once in a run: W2 promises to bear one node that is lost for ever, not two.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Replace | Self::Grow)
    }

    /// How long it lasts, in milliseconds.
    pub fn hold_ms(self) -> std::ops::Range<u64> {
        match self {
            Self::Kill | Self::KillAll | Self::PowerLoss | Self::PowerLossAll => 0..1500,
            Self::Terminate | Self::Replace | Self::Grow => 0..500,
            Self::Pause | Self::HungDisk => 2_000..12_000,
            // Before the one comes back, and again before the other does.
            Self::PowerLossAndPause => 1_000..5_000,
            Self::DiskFull | Self::FullRestart => 3_000..8_000,
            Self::Partition | Self::Loss | Self::SlowDisk | Self::Clock => 5_000..15_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_found_by_their_names() {
        for fault in Fault::ALL {
            assert_eq!(Fault::named(fault.name()), Some(fault));
            assert!(!fault.hold_ms().is_empty(), "{fault:?}");
        }
        assert_eq!(Fault::named("meteor"), None);
    }
}
