//! What goes wrong, when and where.
//!
//! [`schedule`] draws steps from the seed and decides all of it but who leads; [`act`] does it to processes, disks and networks.

mod act;
mod members;
pub mod partition;
pub mod schedule;

pub use act::{Nemesis, Outcome};

use crate::env::abilities::Need;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Kill(Extent),
    Pause(Extent),
    PowerLoss(Extent),
    PowerLossAndPause,
    Terminate,
    Rolling,
    Partition,
    LeaderAlone,
    Loss(Extent),
    SlowLink(Extent),
    DiskFull,
    FullRestart,
    SlowDisk,
    HungDisk,
    Clock,
    Replace,
    Resize,
}

/// How many nodes a fault strikes that may strike more or fewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extent {
    One,
    /// The one that leads most partitions.
    Leader,
    Majority,
    All,
}

/// Whom a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    One,
    Two,
    Majority,
    All,
    /// All, by their links or one after the other: a majority goes on.
    Across,
}

impl Fault {
    pub const ALL: [Self; 28] = [
        Self::Kill(Extent::One),
        Self::Kill(Extent::Leader),
        Self::Kill(Extent::Majority),
        Self::Kill(Extent::All),
        Self::Pause(Extent::One),
        Self::Pause(Extent::Leader),
        Self::Pause(Extent::Majority),
        Self::Pause(Extent::All),
        Self::PowerLoss(Extent::One),
        Self::PowerLoss(Extent::Leader),
        Self::PowerLoss(Extent::Majority),
        Self::PowerLoss(Extent::All),
        Self::PowerLossAndPause,
        Self::Terminate,
        Self::Rolling,
        Self::Partition,
        Self::LeaderAlone,
        Self::Loss(Extent::One),
        Self::Loss(Extent::All),
        Self::SlowLink(Extent::One),
        Self::SlowLink(Extent::All),
        Self::DiskFull,
        Self::FullRestart,
        Self::SlowDisk,
        Self::HungDisk,
        Self::Clock,
        Self::Replace,
        Self::Resize,
    ];

    pub fn name(self) -> &'static str {
        use Extent::{All, Leader, Majority, One};
        match self {
            Self::Kill(One) => "kill",
            Self::Kill(Leader) => "kill-leader",
            Self::Kill(Majority) => "kill-majority",
            Self::Kill(All) => "kill-all",
            Self::Pause(One) => "pause",
            Self::Pause(Leader) => "pause-leader",
            Self::Pause(Majority) => "pause-majority",
            Self::Pause(All) => "pause-all",
            Self::PowerLoss(One) => "power-loss",
            Self::PowerLoss(Leader) => "power-loss-leader",
            Self::PowerLoss(Majority) => "power-loss-majority",
            Self::PowerLoss(All) => "power-loss-all",
            Self::PowerLossAndPause => "power-loss-and-pause",
            Self::Terminate => "terminate",
            Self::Rolling => "rolling",
            Self::Partition => "partition",
            Self::LeaderAlone => "leader-alone",
            Self::Loss(All) => "loss-all",
            Self::Loss(_) => "loss",
            Self::SlowLink(All) => "slow-link-all",
            Self::SlowLink(_) => "slow-link",
            Self::DiskFull => "disk-full",
            Self::FullRestart => "full-restart",
            Self::SlowDisk => "slow-disk",
            Self::HungDisk => "hung-disk",
            Self::Clock => "clock",
            Self::Replace => "replace",
            Self::Resize => "resize",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.name() == name)
    }

    /// What it does, for the list of faults.
    pub fn about(self) -> &'static str {
        match self {
            Self::Kill(_) => "SIGKILL, started again after a while",
            Self::Pause(_) => "SIGSTOP, SIGCONT after a while",
            Self::PowerLoss(_) => "disks forget what was not synced, at once; the nodes are killed",
            Self::PowerLossAndPause => "power loss of one node while another is paused",
            Self::Terminate => "SIGTERM to one node, which has to end by itself",
            Self::Rolling => "SIGTERM to all nodes, one after the other, each when the one before is ready again",
            Self::Partition => "nodes do not hear others: halves, deaf, mute, ring, one alone, flapping",
            Self::LeaderAlone => "the node that leads most partitions is alone",
            Self::Loss(_) => "a part of all packets to one node or to all is dropped, but for clients'",
            Self::SlowLink(_) => "one node or all take 64 to 512 KB a second from others",
            Self::DiskFull => "one node's disk has no room left",
            Self::FullRestart => "SIGKILL to a node whose disk has no room left, and it has to start all the same",
            Self::SlowDisk => "one node's disk takes 256 KB to 1 MB a second",
            Self::HungDisk => "one node's disk takes nothing at all",
            Self::Clock => "one node's wall clock jumps, back by up to 100 days, or runs 10 % fast or slow",
            Self::Replace => "one node is gone for ever, an empty one comes at its address",
            Self::Resize => "a new node joins, then one of all leaves: drained and removed, or dead and removed",
        }
    }

    pub fn needs(self) -> &'static [Need] {
        use Extent::{Leader, One};
        match self {
            Self::Kill(One) | Self::Terminate | Self::Pause(One) => &[],
            Self::Kill(_) | Self::Pause(_) | Self::Rolling => &[Need::TwoNodes],
            Self::PowerLoss(One) => &[Need::Image, Need::PowerCut],
            Self::PowerLoss(_) => &[Need::Image, Need::PowerCut, Need::TwoNodes],
            Self::PowerLossAndPause => &[Need::Image, Need::PowerCut, Need::ThreeNodes],
            Self::Partition | Self::LeaderAlone => &[Need::Firewall, Need::ThreeNodes],
            Self::Loss(One | Leader) | Self::SlowLink(One | Leader) => &[Need::Firewall, Need::ThreeNodes],
            Self::Loss(_) | Self::SlowLink(_) => &[Need::Firewall, Need::TwoNodes],
            Self::DiskFull | Self::FullRestart => &[Need::Image],
            Self::SlowDisk => &[Need::Image, Need::Throttle],
            Self::HungDisk => &[Need::Image, Need::Freeze],
            Self::Clock => &[Need::ShiftClock],
            Self::Replace | Self::Resize => &[Need::ThreeNodes, Need::Join],
        }
    }

    pub fn reach(self) -> Reach {
        match self {
            Self::Kill(extent)
            | Self::Pause(extent)
            | Self::PowerLoss(extent)
            | Self::Loss(extent)
            | Self::SlowLink(extent) => match extent {
                Extent::One | Extent::Leader => Reach::One,
                Extent::Majority => Reach::Majority,
                Extent::All => Reach::All,
            },
            Self::PowerLossAndPause => Reach::Two,
            Self::Partition | Self::LeaderAlone | Self::Rolling => Reach::Across,
            _ => Reach::One,
        }
    }

    /// Whether it is meant for the node that leads most partitions.
    pub fn aims_at_leader(self) -> bool {
        use Extent::Leader;
        matches!(self, Self::Kill(Leader) | Self::Pause(Leader) | Self::PowerLoss(Leader) | Self::LeaderAlone)
    }

    /// Whether nodes' processes end without a warning.
    pub fn is_death(self) -> bool {
        matches!(self, Self::Kill(_) | Self::PowerLoss(_))
    }

    /// Whether nodes are told to end, in the middle of their work, and nothing else happens.
    pub fn is_graceful(self) -> bool {
        matches!(self, Self::Terminate | Self::Rolling)
    }

    /// How long it lasts, in milliseconds.
    pub fn hold_ms(self) -> std::ops::Range<u64> {
        match self {
            // Some come back before others notice, some are away for longer than an election takes.
            Self::Kill(Extent::One | Extent::Leader) | Self::PowerLoss(Extent::One | Extent::Leader) => 0..8_000,
            Self::Kill(_) | Self::PowerLoss(_) => 0..3_000,
            Self::Terminate | Self::Rolling => 0..500,
            // Before it is disturbed.
            Self::Replace | Self::Resize => 500..8_000,
            Self::Pause(_) | Self::HungDisk => 2_000..12_000,
            // Before the one comes back, and again before the other does.
            Self::PowerLossAndPause => 1_000..5_000,
            Self::DiskFull | Self::FullRestart => 3_000..8_000,
            Self::Partition | Self::LeaderAlone | Self::Loss(_) | Self::SlowLink(_) | Self::SlowDisk | Self::Clock => {
                5_000..15_000
            }
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
