//! Clients of one member: they add elements, read, and write documents, until the member ends.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use pharos_model::{Clock, PartitionId};
use tokio::time::sleep;

use super::history::{History, What};
use super::house::Stores;
use crate::member::Member;
use crate::meta::{DocumentError, Documents};
use crate::router::{Repeat, Sending};

/// Documents that clients fight over.
const DOCUMENTS: usize = 2;
const PATIENCE: Duration = Duration::from_secs(4);

#[derive(Clone)]
pub(super) struct Client {
    pub member: Arc<Member>,
    pub stores: Stores,
    pub history: Arc<Mutex<History>>,
    pub partitions: u16,
    pub clock: Arc<dyn Clock>,
    pub random: fastrand::Rng,
}

impl Client {
    /// Pauses are so long at most.
    async fn pause(&mut self, most_ms: u64) {
        sleep(Duration::from_millis(self.random.u64(1..most_ms))).await;
    }

    pub(super) async fn add_elements(mut self) {
        let sending = Sending { linger: Duration::ZERO, patience: PATIENCE, repeat: Repeat::Harmless };
        loop {
            self.pause(200).await;
            let partition = self.random.u16(0..self.partitions);
            let element = self.history.lock().propose(partition);
            let command = Bytes::copy_from_slice(&element.to_le_bytes());
            if self.member.node().propose(PartitionId(partition), command, sending).await.is_ok() {
                self.history.lock().answered(partition, element);
            }
        }
    }

    /// Reads from replicas of this node.
    pub(super) async fn read_elements(mut self) {
        loop {
            self.pause(200).await;
            let own = self.member.node().replicas();
            let own: Vec<PartitionId> = own.into_iter().collect();
            let Some(&partition) = own.get(self.random.usize(0..own.len().max(1))) else { continue };
            let before = self.history.lock().answers(partition.0);
            let point = self.member.node().read_points([partition], PATIENCE).await.remove(&partition);
            let Some(Ok(point)) = point else { continue };
            let store = self.stores.lock().get(&partition).cloned();
            let Some((group, store)) = self.member.node().replica(partition).zip(store) else { continue };
            if group.wait_applied(point, PATIENCE).await.is_err() {
                continue;
            }
            let mut history = self.history.lock();
            history.reads += 1;
            let missed = store.lacks(&history.answered_first(partition.0, before));
            if !missed.is_empty() {
                let node = self.member.node().node_id();
                history.violated(format!(
                    "a read of partition {partition} on node {node:x} at entry {point} missed {missed:?}, answered before"
                ));
            }
        }
    }

    pub(super) async fn write_documents(mut self) {
        let mut written = 0_u32;
        loop {
            self.pause(2500).await;
            let name = format!("document-{}", self.random.usize(0..DOCUMENTS));
            let Some(version) = self.read_document(&name).await else { continue };
            self.pause(30).await;
            written += 1;
            let content = format!("{:x}-{written}", self.random.u64(..));
            let at = self.history.lock().begin(&name, &content);
            let now = self.clock.now_ms();
            let meta = self.member.node().meta();
            let what = match meta.put_document(&name, version, content.clone(), now).await {
                Ok(version) => What::Wrote { version: version.version, content: version.content },
                Err(DocumentError::Conflict { current, .. }) => What::Conflict { expected: version, current, content },
                // It may be written all the same.
                Err(DocumentError::Overtaken { .. } | DocumentError::Meta(_)) => continue,
            };
            self.history.lock().end(&name, at, what);
        }
    }

    /// The version that the document is at.
    async fn read_document(&self, name: &str) -> Option<u64> {
        let began = self.history.lock().moment();
        let documents = self.member.node().meta().read_documents().await.ok()?;
        let (version, content) = current(&documents, name);
        let mut history = self.history.lock();
        let ended = Some(history.moment());
        let access = super::history::Access { began, ended, what: What::Read { version, content } };
        history.registers.entry(name.to_owned()).or_default().push(access);
        Some(version)
    }
}

fn current(documents: &Documents, name: &str) -> (u64, String) {
    documents.get(name).map_or((0, String::new()), |document| {
        let current = document.current();
        (current.version, current.content.clone())
    })
}
