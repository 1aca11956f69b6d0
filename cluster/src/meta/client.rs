//! Reads and changes of the metadata. Linearizable: a read sees every change that was answered before it began (M1).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pharos_model::{PartitionId, TenantId};
use tokio::sync::watch;

use super::command::{Answer, Cluster, Command, Founder, Founding, ManifestPointer, ManifestRow, Placing};
use super::documents::{Documents, Version};
use super::machine::MetaMachine;
use super::member::NodeSpec;
use super::topology::{Move, PartitionPlacement, Topology};
use crate::group::{Group, ReadError};
use crate::peers::NodeId;
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

/// Why a partition's placement was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    #[error("the placement changed meanwhile, it is at epoch {}", current.epoch)]
    Conflict { current: PartitionPlacement },
    /// Unless the cause says that nothing was written, the same change may be tried again: it succeeds once.
    #[error(transparent)]
    Meta(#[from] MetaError),
}

/// Why a document was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    #[error("document {name} changed meanwhile, it is at version {current}")]
    Conflict { name: String, current: u64 },
    /// Perhaps it was: of an attempt before this one nobody would know any more.
    #[error("document {name} is at version {current}, whether this was written before it is not kept any more")]
    Overtaken { name: String, current: u64 },
    /// Unless the cause says that nothing was written, the same change may be tried again: it succeeds once.
    #[error(transparent)]
    Meta(#[from] MetaError),
}

/// A change of who holds a partition, if its placement is still at `epoch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlaceChange {
    Begin(Move),
    Finish(Move),
    Cancel(Move),
    /// Makes a replica the preferred leader.
    Prefer(NodeId),
}

/// A change of members. Repeating one that succeeded succeeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// Takes a node in, or takes note of what it says about itself. At the address of another member only in its place: that one
    /// is removed, by force if that is needed and allowed.
    Put { node: NodeSpec, replaces: Option<NodeId>, force: bool },
    /// What the node holds goes elsewhere, leaders first; it still works.
    Drain(NodeId),
    /// The node may hold replicas again.
    Undrain(NodeId),
    /// The node is gone for ever. What `force` risks is told at [`Topology::without_leader_for_ever`].
    Remove { node: NodeId, force: bool },
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

    /// Founds the cluster, or tells what it was founded as. A cluster without members gets this one.
    pub(crate) async fn found(&self, cluster: Cluster, founder: Founder) -> Result<Cluster, MetaError> {
        match self.change(Command::Found(Founding { cluster, founder: Some(founder) })).await? {
            Answer::Cluster(cluster) => Ok(cluster),
            _ => Err(MetaError::Answer),
        }
    }

    /// Members and placement as far as this node has applied them, and each change from then on. Not linearizable.
    pub fn topology(&self) -> watch::Receiver<Arc<Topology>> {
        self.machine.topology()
    }

    /// Members and placement with every change that was answered before.
    pub async fn read_topology(&self) -> Result<Arc<Topology>, MetaError> {
        self.read_point().await?;
        Ok(Arc::clone(&self.machine.topology().borrow()))
    }

    /// Changes members; `at_ms` is what the clock says, in milliseconds since 1970.
    pub async fn change_members(&self, change: MemberChange, at_ms: i64) -> Result<(), MetaError> {
        let command = match change {
            MemberChange::Put { node, replaces, force } => Command::PutNode { node, replaces, force, at_ms },
            MemberChange::Drain(node) => Command::DrainNode { node, at_ms },
            MemberChange::Undrain(node) => Command::UndrainNode { node, at_ms },
            MemberChange::Remove { node, force } => Command::RemoveNode { node, force, at_ms },
        };
        match self.change(command).await? {
            Answer::Done => Ok(()),
            _ => Err(MetaError::Answer),
        }
    }

    /// Changes a partition's placement if it is still at `epoch`. Repeating a change that succeeded succeeds.
    pub async fn place(
        &self,
        partition: PartitionId,
        epoch: u64,
        change: PlaceChange,
    ) -> Result<PartitionPlacement, PlaceError> {
        let partition = partition.0;
        let placing = |moving| Placing { partition, epoch, moving };
        let command = match change {
            PlaceChange::Begin(moving) => Command::BeginMove(placing(moving)),
            PlaceChange::Finish(moving) => Command::FinishMove(placing(moving)),
            PlaceChange::Cancel(moving) => Command::CancelMove(placing(moving)),
            PlaceChange::Prefer(leader) => Command::PreferLeader { partition, epoch, leader },
        };
        match self.change(command).await? {
            Answer::Placed(placed) => Ok(placed),
            Answer::PlacedElsewhere(current) => Err(PlaceError::Conflict { current }),
            _ => Err(MetaError::Answer.into()),
        }
    }

    /// Documents as far as this node has applied them, and each change from then on. Not linearizable.
    pub fn documents(&self) -> watch::Receiver<Arc<Documents>> {
        self.machine.documents()
    }

    /// Documents with every change that was answered before.
    pub async fn read_documents(&self) -> Result<Arc<Documents>, MetaError> {
        self.read_point().await?;
        Ok(Arc::clone(&self.machine.documents().borrow()))
    }

    /// Makes `content` a document's current version if it is still at version `expected` (0 when there is none). Repeating a
    /// change that succeeded succeeds.
    pub async fn put_document(
        &self,
        name: &str,
        expected: u64,
        content: String,
        at_ms: i64,
    ) -> Result<Version, DocumentError> {
        let name = name.to_owned();
        self.write(Command::PutDocument { name: name.clone(), expected, content, at_ms }, name).await
    }

    /// Makes the content of version `to` current again, as a new version, if the document is still at version `expected`.
    pub async fn roll_back_document(
        &self,
        name: &str,
        expected: u64,
        to: u64,
        at_ms: i64,
    ) -> Result<Version, DocumentError> {
        let name = name.to_owned();
        self.write(Command::RollBackDocument { name: name.clone(), expected, to, at_ms }, name).await
    }

    async fn write(&self, command: Command, name: String) -> Result<Version, DocumentError> {
        match self.change(command).await? {
            Answer::Written(version) => Ok(version),
            Answer::WrittenMeanwhile(current) => Err(DocumentError::Conflict { name, current }),
            Answer::Overtaken(current) => Err(DocumentError::Overtaken { name, current }),
            _ => Err(MetaError::Answer.into()),
        }
    }

    /// By which mark the cluster's object store is known, as far as this node has applied it. Never changes.
    pub fn store(&self) -> Option<String> {
        self.machine.store()
    }

    /// Says by which mark the object store is known, unless one was said before. Returns the one in force.
    pub async fn mark_store(&self, mark: String) -> Result<String, MetaError> {
        match self.change(Command::MarkStore { mark }).await? {
            Answer::Store(mark) => Ok(mark),
            _ => Err(MetaError::Answer),
        }
    }

    /// The current manifests of a tenant's data files in some partitions, all at one moment.
    pub async fn manifests_of(
        &self,
        tenant: &TenantId,
        partitions: &[PartitionId],
    ) -> Result<Vec<Option<ManifestPointer>>, MetaError> {
        self.read_point().await?;
        Ok(self.machine.manifests_of(tenant.as_str(), partitions))
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
