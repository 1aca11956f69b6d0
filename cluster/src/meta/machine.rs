//! The metadata as a state machine: kept in memory, checkpointed to one file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use pharos_model::PartitionId;
use serde::{Deserialize, Serialize};

use super::checkpoint_file;
use super::command::{Answer, Cluster, Command, ManifestPointer, ManifestRow, OBJECT_NAME_BYTES_MAX};
use crate::fs::Fs;
use crate::state_machine::{CheckpointError, FinishCheckpoint, StateMachine};

/// All metadata, readable while entries are applied.
#[derive(Debug)]
pub(crate) struct MetaMachine {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    state: RwLock<State>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub cluster: Option<Cluster>,
    manifests: BTreeMap<(u16, String), ManifestPointer>,
}

/// The state as it is written: a map's pairs become rows.
#[derive(Serialize, Deserialize)]
struct Document {
    cluster: Option<Cluster>,
    manifests: Vec<ManifestRow>,
}

impl MetaMachine {
    /// Opens the metadata kept in `dir`, empty when there is no checkpoint yet. Also returns what the checkpoint carried.
    pub(crate) fn open(fs: Arc<dyn Fs>, dir: &Path) -> Result<(Self, Option<Bytes>), CheckpointError> {
        fs.create_dir_all(dir)?;
        if let Some(parent) = dir.parent() {
            fs.sync_dir(parent)?;
        }
        let path = dir.join("checkpoint");
        let (state, raft_state) = match checkpoint_file::read(&*fs, &path)? {
            Some(found) => (State::from_json(&found.content)?, Some(found.raft_state)),
            None => (State::default(), None),
        };
        Ok((Self { fs, path, state: RwLock::new(state) }, raft_state))
    }

    pub(crate) fn cluster(&self) -> Option<Cluster> {
        self.state.read().cluster.clone()
    }

    pub(crate) fn manifests_of(&self, tenant: &str, partitions: &[PartitionId]) -> Vec<Option<ManifestPointer>> {
        let state = self.state.read();
        let of = |partition: &PartitionId| state.manifests.get(&(partition.0, tenant.to_owned())).cloned();
        partitions.iter().map(of).collect()
    }

    pub(crate) fn manifests(&self) -> Vec<ManifestRow> {
        self.state.read().rows()
    }
}

impl StateMachine for MetaMachine {
    fn apply(&self, commands: &[Bytes]) -> Vec<Bytes> {
        let mut state = self.state.write();
        let answer = |command: &Bytes| match serde_json::from_slice(command) {
            Ok(command) => state.step(command),
            Err(error) => Answer::Refused(format!("unknown command: {error}")),
        };
        commands.iter().map(answer).map(|answer| to_json(&answer)).collect()
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
        let state = State::from_json(snapshot)?;
        checkpoint_file::write(&*self.fs, &self.path, &raft_state, snapshot)?;
        *self.state.write() = state;
        Ok(())
    }
}

impl State {
    /// The next state and the answer: a function of both alone.
    pub(super) fn step(&mut self, command: Command) -> Answer {
        match command {
            Command::Found(cluster) => Answer::Cluster(self.cluster.get_or_insert(cluster).clone()),
            Command::SwapManifest { partition, tenant, expected, object } => {
                if object.len() > OBJECT_NAME_BYTES_MAX {
                    let bytes = object.len();
                    return Answer::Refused(format!(
                        "object name of {bytes} bytes, allowed are {OBJECT_NAME_BYTES_MAX}"
                    ));
                }
                self.swap(partition, tenant, expected, object)
            }
        }
    }

    fn swap(&mut self, partition: u16, tenant: String, expected: u64, object: String) -> Answer {
        let partitions = self.cluster.as_ref().map_or(0, |cluster| cluster.partitions);
        if partition >= partitions {
            return Answer::Refused(format!("partition {partition} of {partitions}"));
        }
        let key = (partition, tenant);
        let current = self.manifests.get(&key);
        let wanted = ManifestPointer { version: expected + 1, object };
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

    fn to_json(&self) -> Bytes {
        to_json(&Document { cluster: self.cluster.clone(), manifests: self.rows() })
    }

    fn from_json(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let damaged = |error: serde_json::Error| CheckpointError::Damaged { reason: error.to_string() };
        let document: Document = serde_json::from_slice(bytes).map_err(damaged)?;
        let manifests = document.manifests.into_iter().map(|row| ((row.partition, row.tenant), row.pointer)).collect();
        Ok(Self { cluster: document.cluster, manifests })
    }
}

fn to_json(value: &impl Serialize) -> Bytes {
    Bytes::from(serde_json::to_vec(value).expect("strings, numbers and lists of them always have a JSON form"))
}
