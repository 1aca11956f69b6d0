//! The metadata as a state machine: kept in memory, checkpointed to one file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use pharos_model::PartitionId;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::checkpoint_file;
use super::command::{
    Answer, Cluster, Command, Founding, ManifestPointer, ManifestRow, OBJECT_NAME_BYTES_MAX, STORE_MARK_BYTES_MAX,
};
use super::documents::{Documents, Unchanged, Version};
use super::member::{CLUSTER_NAME_BYTES_MAX, Member};
use super::moves::Unplaced;
use super::topology::{PartitionPlacement, Topology};
use crate::fs::Fs;
use crate::metrics::MetaMetrics;
use crate::state_machine::{CheckpointError, FinishCheckpoint, StateMachine};

/// The document's format. 1 had a cluster and manifests only.
const DOCUMENT_VERSION: u32 = 2;

/// All metadata, readable while entries are applied.
#[derive(Debug)]
pub(crate) struct MetaMachine {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    state: RwLock<State>,
    topology: watch::Sender<Arc<Topology>>,
    documents: watch::Sender<Arc<Documents>>,
    metrics: MetaMetrics,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// Shared with readers; copied when it changes while one of them has it.
    pub topology: Arc<Topology>,
    pub documents: Arc<Documents>,
    manifests: BTreeMap<(u16, String), ManifestPointer>,
    /// By which mark the cluster's object store is known.
    store: Option<String>,
}

/// The state as it is written: a map's pairs become rows.
#[derive(Serialize, Deserialize)]
struct Document {
    #[serde(default = "first_version")]
    version: u32,
    cluster: Option<Cluster>,
    #[serde(default)]
    revision: u64,
    #[serde(default)]
    members: Vec<Member>,
    #[serde(default)]
    placement: Vec<PartitionPlacement>,
    #[serde(default)]
    documents: Documents,
    manifests: Vec<ManifestRow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    store: Option<String>,
}

fn first_version() -> u32 {
    1
}

impl MetaMachine {
    /// Opens the metadata kept in `dir`, empty when there is no checkpoint yet. Also returns what the checkpoint carried.
    pub(crate) fn open(
        fs: Arc<dyn Fs>,
        dir: &Path,
        metrics: MetaMetrics,
    ) -> Result<(Self, Option<Bytes>), CheckpointError> {
        fs.create_dir_all(dir)?;
        if let Some(parent) = dir.parent() {
            fs.sync_dir(parent)?;
        }
        let path = dir.join("checkpoint");
        let (state, raft_state) = match checkpoint_file::read(&*fs, &path)? {
            Some(found) => (State::from_json(&found.content)?, Some(found.raft_state)),
            None => (State::default(), None),
        };
        let topology = watch::Sender::new(Arc::clone(&state.topology));
        let documents = watch::Sender::new(Arc::clone(&state.documents));
        let machine = Self { fs, path, state: RwLock::new(state), topology, documents, metrics };
        machine.count();
        Ok((machine, raft_state))
    }

    pub(crate) fn cluster(&self) -> Option<Cluster> {
        self.state.read().topology.cluster.clone()
    }

    pub(crate) fn store(&self) -> Option<String> {
        self.state.read().store.clone()
    }

    pub(crate) fn manifests_of(&self, tenant: &str, partitions: &[PartitionId]) -> Vec<Option<ManifestPointer>> {
        let state = self.state.read();
        let of = |partition: &PartitionId| state.manifests.get(&(partition.0, tenant.to_owned())).cloned();
        partitions.iter().map(of).collect()
    }

    pub(crate) fn manifests(&self) -> Vec<ManifestRow> {
        self.state.read().rows()
    }

    /// Members and placement as far as this node has applied them, and each change from then on.
    pub(crate) fn topology(&self) -> watch::Receiver<Arc<Topology>> {
        self.topology.subscribe()
    }

    /// Documents as far as this node has applied them, and each change from then on.
    pub(crate) fn documents(&self) -> watch::Receiver<Arc<Documents>> {
        self.documents.subscribe()
    }

    #[cfg(test)]
    pub(super) fn metrics(&self) -> &MetaMetrics {
        &self.metrics
    }

    /// Tells readers what changed. With the state locked, so that they see changes in their order.
    fn publish(&self, state: &State) {
        let members = publish(&self.topology, &state.topology);
        let documents = publish(&self.documents, &state.documents);
        if members || documents {
            self.count();
        }
    }

    fn count(&self) {
        let (topology, documents) = (self.topology.borrow(), self.documents.borrow());
        let present = topology.present().count();
        let moves = topology.placement.iter().filter(|placed| placed.moving.is_some()).count();
        self.metrics.members.set(present as i64);
        self.metrics.tombstones.set((topology.members.len() - present) as i64);
        self.metrics.moves.set(moves as i64);
        self.metrics.documents.set(documents.iter().count() as i64);
        self.metrics.document_bytes.set(documents.bytes() as i64);
    }
}

/// Returns whether there was a change.
fn publish<T: PartialEq>(readers: &watch::Sender<Arc<T>>, now: &Arc<T>) -> bool {
    readers.send_if_modified(|seen| {
        let changed = !Arc::ptr_eq(seen, now) && seen != now;
        seen.clone_from(now);
        changed
    })
}

impl StateMachine for MetaMachine {
    fn apply(&self, commands: &[Bytes]) -> Vec<Bytes> {
        let mut state = self.state.write();
        let answer = |command: &Bytes| match serde_json::from_slice(command) {
            Ok(command) => state.step(command),
            Err(error) => Answer::Refused(format!("unknown command: {error}")),
        };
        let answers: Vec<Answer> = commands.iter().map(answer).collect();
        self.publish(&state);
        self.metrics.commands.inc_by(answers.len() as u64);
        self.metrics.commands_refused.inc_by(answers.iter().filter(|answer| answer.is_refusal()).count() as u64);
        answers.iter().map(to_json).collect()
    }

    fn begin_checkpoint(&self, raft_state: Bytes) -> Result<FinishCheckpoint, CheckpointError> {
        let content = self.state.read().to_json();
        let (fs, path) = (Arc::clone(&self.fs), self.path.clone());
        Ok(Box::new(move || checkpoint_file::write(&*fs, &path, &raft_state, &content)))
    }

    fn export(&self) -> Result<Vec<u8>, CheckpointError> {
        Ok(self.state.read().to_json().to_vec())
    }

    fn install(&self, snapshot: &[u8], raft_state: Bytes) -> Result<(), CheckpointError> {
        let installed = State::from_json(snapshot)?;
        checkpoint_file::write(&*self.fs, &self.path, &raft_state, snapshot)?;
        let mut state = self.state.write();
        *state = installed;
        self.publish(&state);
        Ok(())
    }
}

impl State {
    /// The next state and the answer: a function of both alone.
    pub(super) fn step(&mut self, command: Command) -> Answer {
        match command {
            Command::Found(founding) => self.found(founding),
            Command::SwapManifest { partition, tenant, expected, object } => {
                if object.len() > OBJECT_NAME_BYTES_MAX {
                    let bytes = object.len();
                    return Answer::Refused(format!(
                        "object name of {bytes} bytes, allowed are {OBJECT_NAME_BYTES_MAX}"
                    ));
                }
                self.swap(partition, tenant, expected, object)
            }
            Command::PutNode { node, replaces, force, at_ms } => {
                self.member(|topology| topology.put(node, replaces, force, at_ms))
            }
            Command::DrainNode { node, at_ms } => self.member(|topology| topology.drain(node, at_ms)),
            Command::UndrainNode { node, at_ms } => self.member(|topology| topology.undrain(node, at_ms)),
            Command::RemoveNode { node, force, at_ms } => self.member(|topology| topology.remove(node, force, at_ms)),
            Command::BeginMove(at) => {
                self.place(at.partition, |topology| topology.begin_move(at.partition, at.epoch, at.moving))
            }
            Command::FinishMove(at) => {
                self.place(at.partition, |topology| topology.finish_move(at.partition, at.epoch, at.moving))
            }
            Command::CancelMove(at) => {
                self.place(at.partition, |topology| topology.cancel_move(at.partition, at.epoch, at.moving))
            }
            Command::PreferLeader { partition, epoch, leader } => {
                self.place(partition, |topology| topology.prefer(partition, epoch, leader))
            }
            Command::PutDocument { name, expected, content, at_ms } => {
                written(Arc::make_mut(&mut self.documents).put(&name, expected, content, at_ms))
            }
            Command::RollBackDocument { name, expected, to, at_ms } => {
                written(Arc::make_mut(&mut self.documents).roll_back(&name, expected, to, at_ms))
            }
            Command::MarkStore { mark } if mark.len() > STORE_MARK_BYTES_MAX => {
                let bytes = mark.len();
                Answer::Refused(format!("mark of {bytes} bytes, allowed are {STORE_MARK_BYTES_MAX}"))
            }
            Command::MarkStore { mark } => Answer::Store(self.store.get_or_insert(mark).clone()),
        }
    }

    fn found(&mut self, founding: Founding) -> Answer {
        let Founding { cluster, founder } = founding;
        if cluster.name.len() > CLUSTER_NAME_BYTES_MAX {
            let bytes = cluster.name.len();
            return Answer::Refused(format!("cluster name of {bytes} bytes, allowed are {CLUSTER_NAME_BYTES_MAX}"));
        }
        let topology = Arc::make_mut(&mut self.topology);
        let name = cluster.name.clone();
        let founded = topology.cluster.get_or_insert(cluster);
        if founded.name.is_empty() {
            founded.name = name;
        }
        let founded = founded.clone();
        if let Some(founder) = founder {
            topology.found(founder.node, founder.at_ms);
        }
        Answer::Cluster(founded)
    }

    fn member(&mut self, change: impl FnOnce(&mut Topology) -> Result<(), String>) -> Answer {
        match change(Arc::make_mut(&mut self.topology)) {
            Ok(()) => Answer::Done,
            Err(reason) => Answer::Refused(reason),
        }
    }

    fn place(&mut self, partition: u16, change: impl FnOnce(&mut Topology) -> Result<(), Unplaced>) -> Answer {
        let changed = change(Arc::make_mut(&mut self.topology));
        let now = || self.topology.placement[usize::from(partition)].clone();
        match changed {
            Ok(()) => Answer::Placed(now()),
            Err(Unplaced::Conflict) => Answer::PlacedElsewhere(now()),
            Err(Unplaced::Refused(reason)) => Answer::Refused(reason),
        }
    }

    fn swap(&mut self, partition: u16, tenant: String, expected: u64, object: String) -> Answer {
        let partitions = self.topology.cluster.as_ref().map_or(0, |cluster| cluster.partitions);
        if partition >= partitions {
            return Answer::Refused(format!("partition {partition} of {partitions}"));
        }
        let key = (partition, tenant);
        let current = self.manifests.get(&key);
        let wanted = ManifestPointer { version: expected.saturating_add(1), object };
        // The same swap again, by a caller who did not learn how the first one ended.
        if current == Some(&wanted) {
            return Answer::Swapped(wanted);
        }
        if current.map_or(0, |current| current.version) != expected {
            return Answer::Conflict(current.cloned());
        }
        self.manifests.insert(key, wanted.clone());
        Answer::Swapped(wanted)
    }

    fn rows(&self) -> Vec<ManifestRow> {
        let rows = self.manifests.iter();
        rows.map(|((partition, tenant), pointer)| ManifestRow {
            partition: *partition,
            tenant: tenant.clone(),
            pointer: pointer.clone(),
        })
        .collect()
    }

    pub(super) fn to_json(&self) -> Bytes {
        to_json(&Document {
            version: DOCUMENT_VERSION,
            cluster: self.topology.cluster.clone(),
            revision: self.topology.revision,
            members: self.topology.members.values().cloned().collect(),
            placement: self.topology.placement.clone(),
            documents: Documents::clone(&self.documents),
            manifests: self.rows(),
            store: self.store.clone(),
        })
    }

    pub(super) fn from_json(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let damaged = |reason: String| CheckpointError::Damaged { reason };
        let document: Document = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        if document.version > DOCUMENT_VERSION {
            let version = document.version;
            return Err(damaged(format!("version {version}, this program knows those up to {DOCUMENT_VERSION}")));
        }
        let members = document.members.into_iter().map(|member| (member.spec.id, member)).collect();
        let topology =
            Topology { cluster: document.cluster, revision: document.revision, members, placement: document.placement };
        if let Some(reason) = topology.invalid().or_else(|| document.documents.invalid()) {
            return Err(damaged(reason));
        }
        let manifests = document.manifests.into_iter().map(|row| ((row.partition, row.tenant), row.pointer)).collect();
        let store = document.store;
        Ok(Self { topology: Arc::new(topology), documents: Arc::new(document.documents), manifests, store })
    }
}

fn written(written: Result<Version, Unchanged>) -> Answer {
    match written {
        Ok(version) => Answer::Written(version),
        Err(Unchanged::Conflict(current)) => Answer::WrittenMeanwhile(current),
        Err(Unchanged::Overtaken(current)) => Answer::Overtaken(current),
        Err(Unchanged::Refused(reason)) => Answer::Refused(reason),
    }
}

fn to_json(value: &impl Serialize) -> Bytes {
    Bytes::from(serde_json::to_vec(value).expect("strings, numbers and lists of them always have a JSON form"))
}
