//! How far it is to where the controller goes by itself, for those who wait for it.

use serde::{Deserialize, Serialize};

use super::{Limits, Observed, View, plan};
use crate::meta::Topology;

/// What is not where it should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Replicas that should be on another node, or be there and are not; those on their way too.
    pub replicas: usize,
    /// Partitions that another node should lead, one that is alive.
    pub leaders: usize,
}

/// Nothing is left when the controller has come to rest, or when nobody can take what is left.
pub fn left(topology: &Topology, observed: &Observed, limits: &Limits) -> Left {
    let view = View { topology, observed, limits, under_way: &[] };
    let mut left = Left::default();
    for ((partition, placed), wanted) in view.placement().zip(plan::wanted(view)) {
        let missing = wanted.iter().filter(|node| !placed.replicas.contains(node)).count();
        let superfluous = placed.replicas.iter().filter(|node| !wanted.contains(node)).count();
        left.replicas += missing.max(superfluous);
        let leader = observed.partitions.get(&partition).map(|report| report.leader);
        let elsewhere = |first| leader.is_some_and(|leader| leader != first) && view.is_alive(first);
        left.leaders += usize::from(wanted.first().copied().is_some_and(elsewhere));
    }
    left
}
