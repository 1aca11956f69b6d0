//! Watches over all groups of a node: tells who leads which, lets them elect while a majority is heard, and lets leads go while the
//! log cannot be written.
//!
//! One task for a node. What it decides is [`crate::gate`]'s.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use pharos_model::Clock;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::gate::{Gate, GateTimes, is_majority};
use crate::group::{Group, Standing};
use crate::groups::Groups;
use crate::log::Room;
use crate::log::entry::GroupId;
use crate::metrics::RaftMetrics;
use crate::peers::{NodeId, Peers};

/// Where every open group stands.
pub(crate) type Standings = BTreeMap<GroupId, Standing>;

pub(crate) struct Warden {
    pub own: NodeId,
    pub groups: Arc<Groups>,
    pub peers: Arc<dyn Peers>,
    pub times: GateTimes,
    /// How often the gates are looked at.
    pub tick: Duration,
    pub clock: Arc<dyn Clock>,
    /// Tells whether the log can be written.
    pub room: Arc<Room>,
    pub standings: watch::Sender<Standings>,
    pub metrics: RaftMetrics,
}

/// A group that is watched, and the next change of its standing.
type Watched = Pin<Box<dyn Future<Output = Option<(Arc<Group>, crate::group::Changes)>> + Send>>;

impl Warden {
    pub(crate) async fn run(self, mut stopping: watch::Receiver<bool>) {
        let mut tick = tokio::time::interval(self.tick);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut opened = self.groups.changes();
        let mut gates: BTreeMap<GroupId, Gate> = BTreeMap::new();
        let mut watched = self.watch_all();
        loop {
            tokio::select! {
                _ = tick.tick() => self.look(&mut gates),
                Some(changed) = watched.next(), if !watched.is_empty() => {
                    if let Some((group, mut changes)) = changed {
                        self.tell(&group, changes.standing());
                        watched.push(watch_one(group, changes));
                    }
                }
                _ = opened.changed() => {
                    watched = self.watch_all();
                    self.look(&mut gates);
                }
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
        }
    }

    /// Begins to watch all groups that are open, and tells where they stand.
    fn watch_all(&self) -> FuturesUnordered<Watched> {
        let groups = self.groups.all();
        let mut standings = Standings::new();
        let watched = FuturesUnordered::new();
        for group in groups {
            let mut changes = group.standings();
            standings.insert(group.id(), changes.standing());
            watched.push(watch_one(group, changes));
        }
        self.standings.send_replace(standings);
        watched
    }

    fn tell(&self, group: &Group, standing: Standing) {
        if self.groups.get(group.id()).is_some_and(|open| std::ptr::eq(&*open, group)) {
            self.standings.send_modify(|standings| drop(standings.insert(group.id(), standing)));
        }
    }

    /// Opens and closes the groups' gates.
    fn look(&self, gates: &mut BTreeMap<GroupId, Gate>) {
        let now = self.clock.monotonic();
        let groups = self.groups.all();
        gates.retain(|id, _| groups.iter().any(|group| group.id() == *id));
        // A leader that cannot write takes no command, and while it is heard no other is elected.
        let writes = self.room.check().is_ok();
        let mut shut = 0;
        for group in groups {
            let standing = group.standing();
            if standing.is_only_voter(self.own) || !standing.is_voter(self.own) {
                group.set_elects(standing.is_voter(self.own));
                continue;
            }
            // Followers have nothing to call each other for, and have to hear each other when their leader is gone.
            standing
                .all_voters()
                .into_iter()
                .filter(|voter| *voter != self.own)
                .for_each(|voter| self.peers.meet(voter));
            let majority = is_majority(&standing.voters, |voter| voter == self.own || self.hears(voter));
            let gate = gates.entry(group.id()).or_default();
            let (next, elects) = gate.step(majority, group.is_installing(), now, self.times);
            *gate = next;
            group.set_elects(elects && writes);
            group.set_heard(writes);
            shut += i64::from(!elects);
        }
        self.metrics.gates_shut.set(shut);
    }

    fn hears(&self, node: NodeId) -> bool {
        self.peers.hears(node, self.times.silence_max)
    }
}

fn watch_one(group: Arc<Group>, mut changes: crate::group::Changes) -> Watched {
    Box::pin(async move { changes.next().await.then_some((group, changes)) })
}
