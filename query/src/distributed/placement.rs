//! Where the parts of a query run: which worker answers for which partitions.

use std::fmt;
use std::sync::Arc;

use url::Url;

/// A worker's name: letters, digits, `.`, `-` and `_`. Errors show it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(Arc<str>);

/// A name that no worker can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a worker's name: letters, digits, `.`, `-` and `_` are")]
pub struct WorkerIdError(String);

/// What one worker reads of the whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    pub worker: WorkerId,
    /// Ascending. A worker that has a partition reads its head and its data files as one, so it alone knows where the boundary
    /// between them lies, and it may lie elsewhere than with another replica.
    pub partitions: Arc<Vec<usize>>,
}

/// The shares of all workers at one time. Each partition is in one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    shares: Arc<[Share]>,
}

/// Nobody can read a partition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no live worker holds partition {partition}")]
pub struct Unplaced {
    pub partition: usize,
}

/// Who says where partitions are: [`FixedPlacement`], or whoever watches the replicas of a cluster.
pub trait Placement: fmt::Debug + Send + Sync {
    /// The shares as they are now, without workers that a query has lost. `None` when the node that asks has all partitions:
    /// its engine reads them itself, without a worker.
    fn snapshot(&self, lost: &[WorkerId]) -> Result<Option<Snapshot>, Unplaced>;
    /// The node that asks, if it is a worker too.
    fn here(&self) -> Option<WorkerId>;
}

/// Partitions whose replicas do not move.
#[derive(Clone, Debug)]
pub struct FixedPlacement {
    /// The workers that hold each partition, the one that is asked first in front.
    pub replicas: Vec<Vec<WorkerId>>,
    /// See [`Placement::here`].
    pub here: Option<WorkerId>,
}

impl WorkerId {
    pub fn new(name: &str) -> Result<Self, WorkerIdError> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if name.is_empty() || !name.bytes().all(fits) {
            return Err(WorkerIdError(name.to_owned()));
        }
        Ok(Self(name.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address that DataFusion's stages know the worker by.
    pub(super) fn url(&self) -> Url {
        Url::parse(&format!("worker://{}", self.0)).expect("the name is a host")
    }

    pub(super) fn of_url(url: &Url) -> Result<Self, WorkerIdError> {
        Self::new(url.host_str().unwrap_or_default())
    }
}

impl Share {
    pub fn new(worker: WorkerId, partitions: Vec<usize>) -> Self {
        Self { worker, partitions: Arc::new(partitions) }
    }

    /// A share that nobody can read.
    pub(crate) fn nowhere() -> Self {
        Self::new(WorkerId("nowhere".into()), vec![usize::MAX])
    }

    /// The part of it that lies among `partitions`.
    pub(super) fn within(&self, partitions: &std::ops::Range<usize>) -> Self {
        let inside = self.partitions.iter().copied().filter(|partition| partitions.contains(partition));
        Self::new(self.worker.clone(), inside.collect())
    }
}

impl Snapshot {
    /// # Panics
    /// When a partition is in two shares: its series would be counted twice.
    pub fn new(shares: Vec<Share>) -> Self {
        let mut all: Vec<usize> = shares.iter().flat_map(|share| share.partitions.iter().copied()).collect();
        all.sort_unstable();
        assert!(all.windows(2).all(|pair| pair[0] != pair[1]), "a partition is in two shares: {shares:?}");
        Self { shares: shares.into() }
    }

    pub fn shares(&self) -> &[Share] {
        &self.shares
    }
}

impl Placement for FixedPlacement {
    fn snapshot(&self, lost: &[WorkerId]) -> Result<Option<Snapshot>, Unplaced> {
        let mut shares: Vec<(WorkerId, Vec<usize>)> = Vec::new();
        for (partition, replicas) in self.replicas.iter().enumerate() {
            let worker = replicas.iter().find(|worker| !lost.contains(worker)).ok_or(Unplaced { partition })?;
            match shares.iter_mut().find(|(known, _)| known == worker) {
                Some((_, partitions)) => partitions.push(partition),
                None => shares.push((worker.clone(), vec![partition])),
            }
        }
        if shares.iter().all(|(worker, _)| Some(worker) == self.here.as_ref()) {
            return Ok(None);
        }
        let shares = shares.into_iter().map(|(worker, partitions)| Share::new(worker, partitions));
        Ok(Some(Snapshot::new(shares.collect())))
    }

    fn here(&self) -> Option<WorkerId> {
        self.here.clone()
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.worker, self.partitions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(name: &str) -> WorkerId {
        WorkerId::new(name).unwrap()
    }

    #[test]
    fn a_name_survives_its_address() {
        for name in ["a", "Node-1", "n_2.example.com", "10.0.0.1"] {
            assert_eq!(WorkerId::of_url(&worker(name).url()), Ok(worker(name)));
        }
        for name in ["", "a b", "a/b", "ä"] {
            assert!(WorkerId::new(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_lost_worker_is_stood_in_for_by_the_next_replica() {
        let [a, b] = ["a", "b"].map(worker);
        let replicas = vec![vec![a.clone(), b.clone()], vec![b.clone()], vec![a.clone()]];
        let placement = FixedPlacement { replicas, here: None };
        let whole = placement.snapshot(&[]).unwrap().unwrap();
        assert_eq!(whole.shares(), [Share::new(a.clone(), vec![0, 2]), Share::new(b.clone(), vec![1])]);
        assert_eq!(placement.snapshot(&[a]), Err(Unplaced { partition: 2 }));
        assert_eq!(placement.snapshot(&[b]), Err(Unplaced { partition: 1 }));
    }

    #[test]
    fn a_node_that_has_all_needs_no_worker() {
        let [a, b] = ["a", "b"].map(worker);
        let replicas = vec![vec![a.clone(), b.clone()], vec![a.clone(), b.clone()]];
        let of = |here: &WorkerId, lost: &[WorkerId]| {
            let here = Some(here.clone());
            FixedPlacement { replicas: replicas.clone(), here }.snapshot(lost).unwrap()
        };
        assert_eq!(of(&a, &[]), None);
        assert_eq!(of(&b, &[]), Some(Snapshot::new(vec![Share::new(a.clone(), vec![0, 1])])));
        assert_eq!(of(&b, &[a]), None);
    }

    #[test]
    #[should_panic(expected = "a partition is in two shares")]
    fn a_partition_is_read_once() {
        Snapshot::new(vec![Share::new(worker("a"), vec![0, 1]), Share::new(worker("b"), vec![1])]);
    }
}
