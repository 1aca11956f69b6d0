//! Reads and changes of the metadata. Linearizable: a read sees every change that was answered before it began (M1).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pharos_model::{PartitionId, TenantId};

use super::command::{Answer, Cluster, Command, ManifestPointer, ManifestRow};
use super::machine::MetaMachine;
use crate::group::{Group, ReadError};
use crate::proposer::ProposeError;
use crate::reads::Reads;
use crate::router::{Repeat, Router, Sending};

/// Why the metadata could not be read or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetaError {
    #[error("reading the metadata")]
    Read(#[from] ReadError),
    #[error("changing the metadata")]
    Propose(#[from] ProposeError),
    #[error("the metadata group refused: {reason}")]
    Refused { reason: String },
    #[error("the cluster is not founded yet")]
    NoCluster,
    #[error("the metadata group gave an answer of another kind or version")]
    Answer,
}

/// Why a manifest pointer was not swapped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SwapError {
    #[error("the manifest changed meanwhile, it is at version {}", current.as_ref().map_or(0, |pointer| pointer.version))]
    Conflict { current: Option<ManifestPointer> },
    /// Unless the cause says that nothing was written, the same swap may be tried again: it succeeds once.
    #[error(transparent)]
    Meta(#[from] MetaError),
}

/// Talks to the metadata group.
#[derive(Clone, Debug)]
pub struct MetaClient {
    group: Arc<Group>,
    machine: Arc<MetaMachine>,
    router: Arc<Router>,
    reads: Arc<Reads>,
    /// A read or a change that takes longer is given up.
    patience: Duration,
}

impl MetaClient {
    pub(crate) fn new(
        group: Arc<Group>,
        machine: Arc<MetaMachine>,
        router: Arc<Router>,
        reads: Arc<Reads>,
        patience: Duration,
    ) -> Self {
        Self { group, machine, router, reads, patience }
    }

    /// After this returns, the local copy has everything that was answered when it was called.
    async fn read_point(&self) -> Result<(), ReadError> {
        let index = self.reads.point(self.group.id(), self.patience).await?;
        self.group.wait_applied(index, self.patience).await
    }

    /// The cluster's name and partition count.
    pub async fn cluster(&self) -> Result<Cluster, MetaError> {
        self.read_point().await?;
        self.machine.cluster().ok_or(MetaError::NoCluster)
    }

    /// Founds the cluster, or tells what it was founded as.
    pub(crate) async fn found(&self, cluster: Cluster) -> Result<Cluster, MetaError> {
        match self.change(Command::Found(cluster)).await? {
            Answer::Cluster(cluster) => Ok(cluster),
            _ => Err(MetaError::Answer),
        }
    }

    /// The current manifest of a partition's and tenant's data files.
    pub async fn manifest(
        &self,
        partition: PartitionId,
        tenant: &TenantId,
    ) -> Result<Option<ManifestPointer>, MetaError> {
        self.read_point().await?;
        Ok(self.machine.manifest(partition.0, tenant.as_str()))
    }

    /// All manifests, by partition and tenant.
    pub async fn manifests(&self) -> Result<Vec<ManifestRow>, MetaError> {
        self.read_point().await?;
        Ok(self.machine.manifests())
    }

    /// Points to `object` if the manifest is still at version `expected` (0 when there is none). Repeating a swap that
    /// succeeded succeeds.
    pub async fn swap_manifest(
        &self,
        partition: PartitionId,
        tenant: &TenantId,
        expected: u64,
        object: String,
    ) -> Result<ManifestPointer, SwapError> {
        let tenant = tenant.as_str().to_owned();
        match self.change(Command::SwapManifest { partition: partition.0, tenant, expected, object }).await? {
            Answer::Swapped(pointer) => Ok(pointer),
            Answer::Conflict(current) => Err(SwapError::Conflict { current }),
            _ => Err(MetaError::Answer.into()),
        }
    }

    async fn change(&self, command: Command) -> Result<Answer, MetaError> {
        let command = serde_json::to_vec(&command).map_err(|_| MetaError::Answer)?;
        let sending = Sending { linger: Duration::ZERO, patience: self.patience, repeat: Repeat::Harmless };
        let answer = self.router.propose(self.group.id(), Bytes::from(command), sending).await?;
        match serde_json::from_slice(&answer) {
            Ok(Answer::Refused(reason)) => Err(MetaError::Refused { reason }),
            Ok(answer) => Ok(answer),
            Err(_) => Err(MetaError::Answer),
        }
    }
}
