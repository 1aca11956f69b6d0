//! What nodes of one cluster do for each other beside replicating: parts of queries, what indexes know, deletions. Methods and layout of the
//! messages: `docs/format/wire.md`.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use parking_lot::RwLock;
use pharos_cluster::peers::{CallError, Method, NodeId, Peers, Pieces, Service};
use pharos_query::distributed::Worker;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::deletion::{self, DeleteQuestion};
use super::find::{self, FindQuestion};
use super::held::Held;
use super::targets::{Scrapes, TargetAnswer, TargetQuestion};

/// Methods of this package.
pub mod method {
    use pharos_cluster::peers::Method;

    /// A call: [`pharos_query::distributed::Worker::answer`].
    pub const QUERY_QUESTION: Method = Method(0x100);
    /// A download: [`pharos_query::distributed::Worker::serve`].
    pub const QUERY_PART: Method = Method(0x101);
    /// A download: what indexes and heads know of some partitions.
    pub const FIND: Method = Method(0x102);
    /// A download: what the node knows of the targets that it scrapes.
    pub const TARGETS: Method = Method(0x104);
    /// A call: to delete series of a partition that the node leads.
    pub const DELETE: Method = Method(0x103);
    /// A call: what the node says of the configuration that it goes by.
    pub const CONFIG: Method = Method(0x105);
}

/// Longest wait for the answer to a call.
pub const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Pieces of an answer that are ready before they are asked for.
const PIECES_AHEAD: usize = 2;
const PIECE_BYTES: usize = 256 << 10;
/// Most bytes of an answer about indexes of one node.
const FOUND_BYTES_MAX: usize = 256 << 20;

/// Answers other nodes. There before the node is open, and refuses until then.
#[derive(Debug, Default)]
pub struct Office {
    open: OnceLock<Serving>,
    scrapes: OnceLock<Scrapes>,
    /// What this node says of its configuration; the node does not know what that means.
    config: RwLock<Option<Bytes>>,
}

/// What answers are made of.
#[derive(Debug)]
pub struct Serving {
    pub held: Arc<Held>,
    pub worker: Worker,
    /// Where parts of queries work, as whole ones do.
    pub threads: Handle,
}

impl Office {
    /// # Panics
    /// When it is open.
    pub fn open(&self, serving: Serving) {
        assert!(self.open.set(serving).is_ok(), "an office is of one node");
    }

    /// # Panics
    /// When it tells already.
    pub fn tell_of(&self, scrapes: Scrapes) {
        assert!(self.scrapes.set(scrapes).is_ok(), "an office is of one node");
    }

    /// What this node knows of the targets that it scrapes.
    pub fn targets(&self, question: TargetQuestion) -> TargetAnswer {
        match self.scrapes.get() {
            Some(scrapes) => scrapes.answer(question),
            None => TargetAnswer::Failed("it does not scrape yet".to_owned()),
        }
    }

    /// From now on others are told this of the configuration that the node goes by.
    pub fn say_config(&self, report: &impl Serialize) {
        *self.config.write() = Some(encode(report));
    }

    fn config(&self) -> Result<Bytes, CallError> {
        self.config.read().clone().ok_or_else(|| refused("this node has no configuration in force yet"))
    }

    fn serving(&self) -> Result<&Serving, CallError> {
        self.open.get().ok_or_else(|| refused("this node is not open yet"))
    }
}

#[async_trait]
impl Service for Office {
    async fn call(&self, _: NodeId, method: Method, body: Bytes) -> Result<Bytes, CallError> {
        if method == method::CONFIG {
            return self.config();
        }
        let serving = self.serving()?;
        match method {
            method::QUERY_QUESTION => {
                let worker = serving.worker.clone();
                let answer = AbortOnDropHandle::new(serving.threads.spawn(async move { worker.answer(&body).await }));
                answer.await.map(Bytes::from).map_err(|panicked| refused(panicked.to_string()))
            }
            method::DELETE => {
                let question: DeleteQuestion = decode(&body)?;
                let answer = deletion::answer(&serving.held, &question).await;
                Ok(encode(&answer))
            }
            _ => Err(unknown(method)),
        }
    }

    async fn upload(&self, _: NodeId, method: Method, _: Bytes, _: Pieces) -> Result<Bytes, CallError> {
        Err(unknown(method))
    }

    async fn download(&self, _: NodeId, method: Method, header: Bytes) -> Result<Pieces, CallError> {
        let serving = self.serving()?;
        match method {
            method::QUERY_PART => Ok(serving.part(header)),
            method::FIND => {
                let question: FindQuestion = decode(&header)?;
                let answer = find::answer(&serving.held, question).await;
                Ok(in_pieces(encode(&answer)))
            }
            method::TARGETS => Ok(in_pieces(encode(&self.targets(decode(&header)?)))),
            _ => Err(unknown(method)),
        }
    }
}

impl Serving {
    /// Does a part of a query on the threads of queries. Dropping the pieces gives up.
    fn part(&self, request: Bytes) -> Pieces {
        let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
        let worker = self.worker.clone();
        let work = self.threads.spawn(async move {
            let mut pieces = match worker.serve(&request).await {
                Ok(pieces) => pieces,
                Err(reason) => return drop(sender.send(Err(refused(reason))).await),
            };
            while let Some(piece) = pieces.next().await {
                if sender.send(piece.map_err(refused)).await.is_err() {
                    return;
                }
            }
        });
        let work = AbortOnDropHandle::new(work);
        stream::unfold((receiver, work), |(mut receiver, work)| async move {
            receiver.recv().await.map(|piece| (piece, (receiver, work)))
        })
        .boxed()
    }
}

fn in_pieces(whole: Bytes) -> BoxStream<'static, Result<Bytes, CallError>> {
    let cuts = (0..whole.len()).step_by(PIECE_BYTES);
    let pieces: Vec<_> = cuts.map(|at| Ok(whole.slice(at..whole.len().min(at + PIECE_BYTES)))).collect();
    stream::iter(pieces).boxed()
}

/// Asks a node for an answer that may be large.
pub async fn download<T: DeserializeOwned>(
    peers: &dyn Peers,
    node: NodeId,
    method: Method,
    question: &impl Serialize,
) -> Result<T, CallError> {
    let mut pieces = peers.download(node, method, encode(question)).await?;
    let mut whole = Vec::new();
    while let Some(piece) = pieces.try_next().await? {
        if whole.len() + piece.len() > FOUND_BYTES_MAX {
            return Err(refused(format!("node {node:016x} answers with more than {FOUND_BYTES_MAX} bytes")));
        }
        whole.extend_from_slice(&piece);
    }
    decode(&whole)
}

/// Asks a node something with a small answer.
pub async fn call<T: DeserializeOwned>(
    peers: &dyn Peers,
    node: NodeId,
    method: Method,
    question: &impl Serialize,
) -> Result<T, CallError> {
    decode(&peers.call(node, method, encode(question), ANSWER_MAX).await?)
}

fn encode(message: &impl Serialize) -> Bytes {
    Bytes::from(serde_json::to_vec(message).expect("texts, numbers and lists of them always have a JSON form"))
}

pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CallError> {
    serde_json::from_slice(bytes).map_err(|error| refused(format!("a message cannot be read: {error}")))
}

fn refused(reason: impl Into<String>) -> CallError {
    CallError::Refused { reason: reason.into() }
}

fn unknown(method: Method) -> CallError {
    refused(format!("method {:#x} is not known to this version", method.0))
}
