//! What others ask of this node: at its door before they are in the cluster, and by calls of members.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pharos_model::Clock;

use super::book::{Book, Heard};
use super::messages::{self, Admission, Application, refused};
use super::start::introduce;
use super::{gather, steps};
use crate::founding::Flags;
use crate::meta::{MemberChange, MetaError, NodeSpec};
use crate::node::Node;
use crate::peers::{CallError, Method, NodeId, Pieces, Service, method};
use crate::rpc::introduction::{Door, Introduction};
use crate::service::GroupService;

/// This node to others. Made before its node is open.
pub(super) struct Front {
    pub(super) own: NodeId,
    pub(super) flags: Flags,
    pub(super) book: Arc<Book>,
    pub(super) groups: Arc<GroupService>,
    pub(super) application: Arc<dyn Service>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) lead_silence: Duration,
    /// The id of the cluster, once this node is in it.
    pub(super) cluster: OnceLock<String>,
    /// Not held: the network serves this, and the node holds the network.
    pub(super) node: OnceLock<Weak<Node>>,
}

impl Front {
    fn node(&self) -> Result<Arc<Node>, CallError> {
        let node = self.node.get().and_then(Weak::upgrade);
        node.ok_or_else(|| refused("this node is not open, it starts or it stops"))
    }
}

#[async_trait]
impl Door for Front {
    fn introduction(&self) -> Introduction {
        let mut introduction = introduce(&self.flags, self.own, self.cluster.get().cloned());
        if introduction.cluster.is_some() {
            let Heard { revision, members, removed } = self.book.known();
            introduction.revision = revision;
            introduction.members = members.into_iter().collect();
            introduction.removed = removed.into_iter().collect();
        }
        introduction
    }

    /// Makes the applicant a member. The controller sees it then, makes it a learner of the metadata group, and gives it its share.
    async fn admit(&self, applicant: Introduction, details: Bytes) -> Result<Bytes, CallError> {
        let Application { http, zone, replaces } = messages::decode(&details)?;
        let node = self.node()?;
        let spec = NodeSpec { id: applicant.node, peer: applicant.address, http, zone };
        let change = MemberChange::Put { node: spec, replaces, force: false };
        node.meta().change_members(change, self.clock.now_ms()).await.map_err(|error| refused(words(&error)))?;
        let topology = node.meta().read_topology().await.map_err(|error| refused(words(&error)))?;
        let cluster = topology.cluster.clone().ok_or_else(|| refused("the cluster is not founded yet"))?;
        let Heard { revision, members, .. } = self.book.known();
        Ok(messages::encode(&Admission { cluster, revision, members: members.into_iter().collect() }))
    }
}

/// An error with its causes.
fn words(error: &MetaError) -> String {
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}

#[async_trait]
impl Service for Front {
    async fn call(&self, from: NodeId, method: Method, body: Bytes) -> Result<Bytes, CallError> {
        match method {
            method::REPORT => Ok(messages::encode(&gather::report(&*self.node()?))),
            method::STEP => {
                let done = steps::carry_out(&*self.node()?, messages::decode(&body)?, self.lead_silence).await;
                done.map(|()| Bytes::new()).map_err(refused)
            }
            _ if method < Method::APPLICATION => self.groups.call(from, method, body).await,
            _ => self.application.call(from, method, body).await,
        }
    }

    async fn upload(&self, from: NodeId, method: Method, header: Bytes, pieces: Pieces) -> Result<Bytes, CallError> {
        let service: &dyn Service = if method < Method::APPLICATION { &*self.groups } else { &*self.application };
        service.upload(from, method, header, pieces).await
    }

    async fn download(&self, from: NodeId, method: Method, header: Bytes) -> Result<Pieces, CallError> {
        let service: &dyn Service = if method < Method::APPLICATION { &*self.groups } else { &*self.application };
        service.download(from, method, header).await
    }
}

/// What a node of this cluster said about who is where.
pub(super) fn heard(introduction: Introduction) -> Heard {
    let Introduction { node, address, revision, members, removed, .. } = introduction;
    let mut heard = Heard { revision, members: members.into_iter().collect(), removed: BTreeSet::from_iter(removed) };
    // Of itself it knows best.
    heard.members.insert(node, address);
    heard
}
