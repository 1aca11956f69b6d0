//! What a partition replicates in a simulation: a list of elements, each added once however often it is proposed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use pharos_model::PartitionId;

use crate::fs::sim::Sim;
use crate::fs::{Fs, read_all, replace};
use crate::state_machine::{CheckpointError, FinishCheckpoint, StateMachine};

/// A unique number that a client adds.
pub(super) type Element = u64;

const ELEMENT_BYTES: usize = 8;

/// A store on a simulated disk.
#[derive(Debug)]
pub(super) struct ElementList {
    disk: Sim,
    path: PathBuf,
    kept: Mutex<Kept>,
}

#[derive(Clone, Debug, Default)]
struct Kept {
    order: Vec<Element>,
    known: BTreeSet<Element>,
}

impl ElementList {
    /// With what its last checkpoint carried.
    pub(super) fn open(disk: &Sim, partition: PartitionId) -> std::io::Result<(Arc<Self>, Option<Bytes>)> {
        let path = Self::path(partition);
        let (kept, raft_state) = match disk.open(&path) {
            Ok(file) => {
                let bytes = Bytes::from(read_all(&*file)?);
                let state_bytes = u32::from_le_bytes(bytes[..4].try_into().expect("four bytes")) as usize;
                (Kept::of(&bytes[4 + state_bytes..]), Some(bytes.slice(4..4 + state_bytes)))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => (Kept::default(), None),
            Err(error) => return Err(error),
        };
        Ok((Arc::new(Self { disk: disk.clone(), path, kept: Mutex::new(kept) }), raft_state))
    }

    pub(super) fn path(partition: PartitionId) -> PathBuf {
        Path::new("/stores").join(partition.to_string())
    }

    /// In the order in which they were added.
    pub(super) fn elements(&self) -> Vec<Element> {
        self.kept.lock().order.clone()
    }

    /// Those of `elements` that are not here.
    pub(super) fn lacks(&self, elements: &[Element]) -> Vec<Element> {
        let kept = self.kept.lock();
        elements.iter().copied().filter(|element| !kept.known.contains(element)).collect()
    }
}

impl Kept {
    fn of(bytes: &[u8]) -> Self {
        let elements = bytes.chunks_exact(ELEMENT_BYTES).map(|bytes| u64::from_le_bytes(bytes.try_into().expect("8")));
        let order: Vec<Element> = elements.collect();
        Self { known: order.iter().copied().collect(), order }
    }

    fn bytes(&self) -> Vec<u8> {
        self.order.iter().flat_map(|element| element.to_le_bytes()).collect()
    }

    fn file(&self, raft_state: &Bytes) -> Vec<u8> {
        let mut file = (raft_state.len() as u32).to_le_bytes().to_vec();
        file.extend_from_slice(raft_state);
        file.extend_from_slice(&self.bytes());
        file
    }
}

impl StateMachine for ElementList {
    fn apply(&self, commands: &[Bytes]) -> Vec<Bytes> {
        let mut kept = self.kept.lock();
        let add = |command: &Bytes| {
            let element = u64::from_le_bytes(command[..].try_into().expect("a command is an element"));
            if kept.known.insert(element) {
                kept.order.push(element);
            }
            Bytes::new()
        };
        commands.iter().map(add).collect()
    }

    fn begin_checkpoint(&self, raft_state: Bytes) -> Result<FinishCheckpoint, CheckpointError> {
        let file = self.kept.lock().file(&raft_state);
        let (disk, path) = (self.disk.clone(), self.path.clone());
        Ok(Box::new(move || Ok(replace(&disk, &path, &file)?)))
    }

    fn export(&self) -> Result<Vec<u8>, CheckpointError> {
        Ok(self.kept.lock().bytes())
    }

    fn install(&self, snapshot: &[u8], raft_state: Bytes) -> Result<(), CheckpointError> {
        let kept = Kept::of(snapshot);
        replace(&self.disk, &self.path, &kept.file(&raft_state))?;
        *self.kept.lock() = kept;
        Ok(())
    }
}
