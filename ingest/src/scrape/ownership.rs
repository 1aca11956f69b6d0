//! Which of the targets that a node knows it scrapes itself: the port to whoever deals them out among the nodes.
//!
//! All nodes of a cluster have the same jobs and discover the same targets, and each scrapes those that it owns. A target that goes
//! from one node to another goes on where it was: same series, same phase (nodes of a cluster share
//! [`offset_seed`](super::ScrapeOptions::offset_seed)), no staleness markers. As over a restart of Prometheus, nothing is handed
//! over with it: a series that the new owner's first scrape does not expose any more, or that the old owner still had to end, gets no
//! marker and ends by the lookback.

use std::fmt;

use pharos_model::LabelSet;
use tokio::sync::watch;

/// Tells a node's targets from those of others. Implementations: [`OwnsAll`], and the node's in a cluster, which owns the targets of the
/// partitions that it leads.
pub trait Ownership: fmt::Debug + Send + Sync {
    /// Whether this node scrapes the target whose series get these labels. Asked of every target at each sync and each change,
    /// so it has to be quick and must not block. It may depend on nothing but the labels and what [`Self::changes`] announces.
    fn owns(&self, labels: &LabelSet) -> bool;

    /// Changes each time that answers may have changed, when the new ones are given already. What follows takes a look at
    /// every target, so announce what changes together at once. When the sender is gone, answers stay as they are.
    fn changes(&self) -> watch::Receiver<u64>;
}

/// A node alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnsAll;

impl Ownership for OwnsAll {
    fn owns(&self, _: &LabelSet) -> bool {
        true
    }

    fn changes(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }
}
