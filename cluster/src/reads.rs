//! Read points: up to which entry a replica has to be for a read that begins now to see everything that was answered before.
//!
//! It is what the leader has applied, once a majority of voters confirms that it still is the leader: each looks whether its vote is
//! the leader's still. A later leader was elected by a majority, and one of these voters would have voted for it. The leader has to
//! have applied an entry of its own, which comes after all that earlier leaders answered; one that was started again in its term,
//! all of its log.
//!
//! Callers share calls: what waits for a node while a call to it is under way goes there in the next, for all groups together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;

use crate::gate::is_majority;
use crate::group::{Group, ReadError, Standing};
use crate::log::entry::GroupId;
use crate::messages::{self, Confirm};
use crate::peers::{CallError, NodeId, method};
use crate::rounds::Rounds;
use crate::router::Router;

/// A voter that does not confirm within this has not.
const CONFIRM_MAX: Duration = Duration::from_secs(2);
/// A leader that cannot give a read point within this says so.
const POINT_MAX: Duration = Duration::from_secs(5);

type Confirms = Rounds<(GroupId, u64), bool, CallError>;
type Points = Rounds<GroupId, Result<u64, ReadError>, CallError>;

#[derive(Debug)]
pub(crate) struct Reads {
    router: Arc<Router>,
    shared: Mutex<BTreeMap<NodeId, Shared>>,
}

/// What callers share on their way to one node.
#[derive(Clone, Default)]
struct Shared {
    confirms: Arc<Confirms>,
    points: Arc<Points>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

impl Reads {
    pub(crate) fn new(router: Arc<Router>) -> Self {
        Self { router, shared: Mutex::default() }
    }

    /// The read points of these groups, each asked of its leader within `patience`.
    pub(crate) async fn points(
        &self,
        groups: impl IntoIterator<Item = GroupId>,
        patience: Duration,
    ) -> BTreeMap<GroupId, Result<u64, ReadError>> {
        let asked = groups.into_iter().map(|group| async move { (group, self.point(group, patience).await) });
        join_all(asked).await.into_iter().collect()
    }

    /// The read point of one group.
    pub(crate) async fn point(&self, group: GroupId, patience: Duration) -> Result<u64, ReadError> {
        let mut last = ReadError::NotLeader { group, leader: None };
        let asked = async {
            let mut search = self.router.search(group, patience);
            while let Some(node) = search.next().await {
                let own = node == self.router.own;
                let point =
                    if own { self.led_point(group, search.left()).await } else { self.point_at(node, group).await };
                match point {
                    Ok(index) => {
                        search.found(node);
                        return Some(index);
                    }
                    Err(ReadError::NotLeader { leader, .. }) => search.elsewhere(node, leader),
                    Err(error) => {
                        let stopped = own && matches!(error, ReadError::Stopped { .. });
                        last = error;
                        if stopped {
                            break;
                        }
                    }
                }
            }
            None
        };
        let found = tokio::time::timeout(patience, asked).await.ok().flatten();
        found.ok_or(last)
    }

    async fn point_at(&self, node: NodeId, group: GroupId) -> Result<u64, ReadError> {
        let router = Arc::clone(&self.router);
        let ask = move |groups: Vec<GroupId>| async move {
            let request = messages::ReadPoints { patience: POINT_MAX, groups: groups.clone() };
            let answer = router.call(node, method::READ_POINTS, request.encode(), POINT_MAX + CONFIRM_MAX).await?;
            messages::decode_points(&answer, &groups).ok_or(CallError::Lost { node, reason: UNREADABLE.to_owned() })
        };
        let points = self.shared.lock().entry(node).or_default().points.clone();
        match points.join(group, ask).await {
            Ok(point) => point.unwrap_or(Err(ReadError::NotLeader { group, leader: None })),
            Err(error) => Err(ReadError::Unconfirmed { group, reason: error.to_string() }),
        }
    }

    /// The read point of a group that this node leads.
    pub(crate) async fn led_point(&self, group: GroupId, patience: Duration) -> Result<u64, ReadError> {
        let Some(group) = self.router.groups.get(group) else {
            return Err(ReadError::NotLeader { group, leader: None });
        };
        if group.is_ended() {
            return Err(ReadError::Stopped { group: group.id() });
        }
        let standing = group.standing();
        let refused = || ReadError::NotLeader { group: group.id(), leader: standing.leader };
        if !standing.leads || !group.votes_for(self.router.own, standing.term) {
            return Err(refused());
        }
        let index = group.own_applied(standing.term, patience).await?;
        self.router.metrics.read_points.inc();
        self.confirm(&group, &standing).await?;
        Ok(index)
    }

    /// Returns once a majority of voters has answered, after this was called, that their votes are this leader's.
    async fn confirm(&self, group: &Group, standing: &Standing) -> Result<(), ReadError> {
        let own = self.router.own;
        let voters = standing.all_voters();
        let mut confirmed = BTreeSet::from([own]);
        let mut denied = BTreeSet::new();
        let mut asked: FuturesUnordered<_> = voters
            .into_iter()
            .filter(|&voter| voter != own)
            .map(|voter| async move { (voter, self.confirm_at(voter, group.id(), standing.term).await) })
            .collect();
        while !is_majority(&standing.voters, |voter| confirmed.contains(&voter)) {
            let possible = is_majority(&standing.voters, |voter| !denied.contains(&voter));
            match asked.next().await.filter(|_| possible) {
                Some((voter, true)) => confirmed.insert(voter),
                Some((voter, false)) => denied.insert(voter),
                None => {
                    self.router.metrics.read_points_unconfirmed.inc();
                    let reason = format!(
                        "of {} voters only {} confirm the leader",
                        standing.all_voters().len(),
                        confirmed.len()
                    );
                    return Err(ReadError::Unconfirmed { group: group.id(), reason });
                }
            };
        }
        Ok(())
    }

    async fn confirm_at(&self, voter: NodeId, group: GroupId, term: u64) -> bool {
        let router = Arc::clone(&self.router);
        let ask = move |asked: Vec<(GroupId, u64)>| async move {
            router.metrics.confirm_calls.inc();
            let answer = router.call(voter, method::CONFIRM, Confirm(asked).encode(), CONFIRM_MAX).await?;
            messages::decode_bools(&answer).ok_or(CallError::Lost { node: voter, reason: UNREADABLE.to_owned() })
        };
        let confirms = self.shared.lock().entry(voter).or_default().confirms.clone();
        matches!(confirms.join((group, term), ask).await, Ok(Some(true)))
    }
}

const UNREADABLE: &str = "its answer cannot be read";
