//! A partition for tests that keeps all commands, with checkpoints in one file.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::fs::{Fs, read_all, replace};
use crate::state_machine::{FinishCheckpoint, StateMachine};

#[derive(Debug)]
pub(crate) struct Journal {
    sim: Sim,
    path: PathBuf,
    commands: Mutex<Vec<Bytes>>,
    /// Commands in one apply call, the most seen.
    most_at_once: Mutex<usize>,
    /// A sync has failed.
    pub lost: AtomicBool,
}

impl Journal {
    pub(crate) fn open(sim: &Sim, partition: PartitionId) -> (Arc<Self>, Option<Bytes>) {
        let path = Self::path(partition);
        let mut fields = match sim.open(&path) {
            Ok(file) => split(Bytes::from(read_all(&*file).unwrap())),
            Err(_) => Vec::new(),
        }
        .into_iter();
        let raft_state = fields.next();
        let journal = Self {
            sim: sim.clone(),
            path,
            commands: Mutex::new(fields.collect()),
            most_at_once: Mutex::default(),
            lost: AtomicBool::new(false),
        };
        (Arc::new(journal), raft_state)
    }

    pub(crate) fn path(partition: PartitionId) -> PathBuf {
        Path::new("/stores").join(partition.to_string())
    }

    pub(crate) fn commands(&self) -> Vec<Bytes> {
        self.commands.lock().clone()
    }

    pub(crate) fn most_at_once(&self) -> usize {
        *self.most_at_once.lock()
    }
}

/// Fields with their lengths before them.
fn split(mut bytes: Bytes) -> Vec<Bytes> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let len = u32::from_le_bytes(bytes.split_to(4)[..].try_into().unwrap());
        fields.push(bytes.split_to(len as usize));
    }
    fields
}

fn join<'a>(fields: impl IntoIterator<Item = &'a Bytes>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for field in fields {
        bytes.extend_from_slice(&(field.len() as u32).to_le_bytes());
        bytes.extend_from_slice(field);
    }
    bytes
}

impl StateMachine for Journal {
    /// Answers with the position.
    fn apply(&self, commands: &[Bytes]) -> Vec<Bytes> {
        let mut kept = self.commands.lock();
        let mut most = self.most_at_once.lock();
        *most = commands.len().max(*most);
        let answer = |command: &Bytes| {
            kept.push(command.clone());
            Bytes::from(kept.len().to_string())
        };
        commands.iter().map(answer).collect()
    }

    fn begin_checkpoint(&self, raft_state: Bytes) -> Result<FinishCheckpoint, CheckpointError> {
        if self.lost.load(Ordering::SeqCst) {
            return Err(CheckpointError::Lost("no sync".into()));
        }
        let bytes = join(std::iter::once(&raft_state).chain(self.commands.lock().iter()));
        let (sim, path) = (self.sim.clone(), self.path.clone());
        Ok(Box::new(move || Ok(replace(&sim, &path, &bytes)?)))
    }

    fn export(&self) -> Result<Vec<u8>, CheckpointError> {
        Ok(join(self.commands.lock().iter()))
    }

    fn install(&self, snapshot: &[u8], raft_state: Bytes) -> Result<(), CheckpointError> {
        let commands = split(Bytes::copy_from_slice(snapshot));
        replace(&self.sim, &self.path, &join(std::iter::once(&raft_state).chain(&commands)))?;
        *self.commands.lock() = commands;
        Ok(())
    }
}
