//! Tells the cluster where this node is, and learns where the others are while no leader finds it.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use pharos_model::Clock;
use tracing::{info, warn};

use super::book::Book;
use super::front::heard;
use super::start::{introduce, jittered};
use crate::founding::{Flags, addresses};
use crate::meta::MemberChange;
use crate::node::{Node, NodePlace};
use crate::rpc::Network;

/// Nodes that are asked in one go.
const ASKED_MAX: usize = 64;
const ASKED_AT_ONCE: usize = 8;

/// Puts this node's addresses and zone into the metadata where they are not what they are there.
pub(super) async fn announce(node: Arc<Node>, place: NodePlace, clock: Arc<dyn Clock>, retry: Duration) {
    let spec = place.spec(node.node_id());
    let mut topology = node.meta().topology();
    loop {
        let differs = topology
            .borrow_and_update()
            .members
            .get(&spec.id)
            .is_some_and(|known| !known.is_removed() && known.spec != spec);
        if differs {
            let change = MemberChange::Put { node: spec.clone(), replaces: None, force: false };
            match node.meta().change_members(change, clock.now_ms()).await {
                Ok(()) => {
                    info!(peer = spec.peer, http = spec.http, zone = spec.zone, "this node's addresses are announced")
                }
                Err(error) => {
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "this node's addresses cannot be announced, it is tried again"
                    );
                    tokio::time::sleep(retry).await;
                    continue;
                }
            }
        }
        if topology.changed().await.is_err() {
            return;
        }
    }
}

/// Asks all nodes that are known, while nothing comes from a leader of the metadata: others may have moved meanwhile.
pub(super) struct Rumours {
    pub(super) node: Arc<Node>,
    pub(super) network: Arc<Network>,
    pub(super) book: Arc<Book>,
    pub(super) flags: Flags,
    pub(super) silence_max: Duration,
}

impl Rumours {
    pub(super) async fn run(self, pause: Duration, mut random: fastrand::Rng) {
        loop {
            tokio::time::sleep(jittered(pause, &mut random)).await;
            let meta = self.node.meta_group();
            let led = meta.standing().leads || meta.leader_silence().is_some_and(|silence| silence < self.silence_max);
            if !led {
                self.ask_around(&mut random).await;
            }
        }
    }

    async fn ask_around(&self, random: &mut fastrand::Rng) {
        let own = &self.flags.address;
        let known = self.book.known();
        let mut asked: Vec<String> = addresses(&self.flags).into_iter().map(str::to_owned).collect();
        asked.extend(known.members.into_values());
        asked.sort_unstable();
        asked.dedup();
        asked.retain(|address| address != own);
        random.shuffle(&mut asked);
        let cluster = self.node.cluster();
        let me = introduce(&self.flags, self.node.node_id(), Some(cluster.id.clone()));
        let me = &me;
        asked.truncate(ASKED_MAX);
        let answers = asked.into_iter().map(|address| async move { self.network.probe(&address, me).await });
        let answers: Vec<_> = stream::iter(answers).buffer_unordered(ASKED_AT_ONCE).collect().await;
        for answer in answers.into_iter().flatten().filter(|answer| answer.cluster.as_ref() == Some(&cluster.id)) {
            self.book.hear(heard(answer));
        }
    }
}
