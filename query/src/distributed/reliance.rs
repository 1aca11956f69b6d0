//! What kept answers rely on, when samples may be on workers.
//!
//! Each worker notes changes to the samples that it has, from when it was asked to: replicas of a partition apply the same log,
//! but not at the same moment, so what one has noted says nothing about what another has read. A kept answer is therefore
//! right only as long as the same processes answer for the same partitions; what was read elsewhere, or before a restart, counts as
//! changed altogether.

use std::sync::Arc;

use futures::future::try_join_all;
use pharos_model::{TenantId, TimeRange, TimestampMs};

use super::channel::Channels;
use super::placement::{Share, Snapshot};
use super::question::{Answer, Noted, Question, ask, astray};
use crate::error::QueryError;
use crate::source::{Relying, Revision};

/// The state of all samples that an answer was made of.
#[derive(Clone, Debug, PartialEq)]
pub enum Basis {
    /// Of the node's own.
    Here(Revision),
    /// Of those of each worker.
    Workers(Arc<[OfWorker]>),
}

/// What one worker has noted for its share.
#[derive(Clone, Debug, PartialEq)]
pub struct OfWorker {
    share: Share,
    noted: Noted,
}

impl Basis {
    /// Bytes that it takes besides itself.
    pub(crate) fn memory_bytes(&self) -> usize {
        match self {
            Self::Here(revision) => revision.memory_bytes(),
            Self::Workers(of_workers) => of_workers.iter().map(OfWorker::memory_bytes).sum(),
        }
    }
}

impl OfWorker {
    fn memory_bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(self.share.partitions.as_slice()) + self.noted.revision.memory_bytes()
    }
}

/// A basis, and where samples have changed since an earlier one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Relied {
    pub basis: Basis,
    pub amended: Vec<TimeRange>,
}

/// Asks all workers of a snapshot to note changes from now on.
pub(crate) async fn rely_on_workers(
    channels: &dyn Channels,
    snapshot: &Snapshot,
    (tenant, until_ms): (&TenantId, TimestampMs),
    since: Option<&Basis>,
) -> Result<Relied, QueryError> {
    let earlier = since.map(|since| earlier_of(since, snapshot.shares()));
    let asked = snapshot.shares().iter().enumerate().map(|(at, share)| {
        let partitions = share.partitions.to_vec();
        let relying = Relying { tenant: tenant.clone(), partitions, until_ms };
        let since = earlier.as_ref().and_then(|earlier| earlier[at].cloned());
        async move {
            match ask(channels, &share.worker, &Question::Rely { relying, since }).await? {
                Answer::Relied { noted, amended } => Ok((OfWorker { share: share.clone(), noted }, amended)),
                _ => Err(astray(&share.worker)),
            }
        }
    });
    let (of_workers, amended): (Vec<_>, Vec<_>) = try_join_all(asked).await?.into_iter().unzip();
    let mut amended = amended.concat();
    if earlier.is_some_and(|earlier| earlier.contains(&None)) {
        amended.push(TimeRange::ALL);
    }
    Ok(Relied { basis: Basis::Workers(of_workers.into()), amended })
}

/// What each share has noted before; `None` where that was not the same worker for the same partitions.
fn earlier_of<'a>(since: &'a Basis, shares: &[Share]) -> Vec<Option<&'a Noted>> {
    let known = match since {
        Basis::Workers(known) => &known[..],
        Basis::Here(_) => &[],
    };
    let noted = |share: &Share| known.iter().find(|known| known.share == *share).map(|known| &known.noted);
    shares.iter().map(noted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distributed::WorkerId;

    fn share(worker: &str, partitions: &[usize]) -> Share {
        Share::new(WorkerId::new(worker).unwrap(), partitions.to_vec())
    }

    #[test]
    fn only_the_same_worker_for_the_same_partitions_goes_on_from_what_it_noted() {
        let noted = |incarnation| Noted { incarnation, revision: Revision::Whole(0) };
        let of = |share: Share, incarnation| OfWorker { share, noted: noted(incarnation) };
        let since = Basis::Workers([of(share("a", &[0, 1]), 1), of(share("b", &[2]), 2)].into());
        for (shares, want) in [
            (vec![share("a", &[0, 1]), share("b", &[2])], vec![Some(1), Some(2)]),
            (vec![share("b", &[2]), share("a", &[0, 1])], vec![Some(2), Some(1)]),
            (vec![share("a", &[0, 1, 2])], vec![None]),
            (vec![share("a", &[0]), share("b", &[1, 2])], vec![None, None]),
            (vec![share("a", &[0, 1]), share("c", &[2])], vec![Some(1), None]),
        ] {
            let earlier = earlier_of(&since, &shares);
            let earlier: Vec<_> = earlier.into_iter().map(|noted| noted.map(|noted| noted.incarnation)).collect();
            assert_eq!(earlier, want, "{shares:?}");
        }
        assert_eq!(earlier_of(&Basis::Here(Revision::Whole(0)), &[share("a", &[0, 1])]), [None]);
    }
}
