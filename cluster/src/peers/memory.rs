//! Peers in one process, for tests: links that are cut one way or both, messages that are held, counted, and answers that are lost.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{CallError, Method, NodeId, Peers, Pieces, Service};

/// Called with every message before it arrives: the sender, the receiver and what it is about. It arrives when this is done.
pub(crate) type Hook = Arc<dyn Fn(NodeId, NodeId, Method) -> BoxFuture<'static, ()> + Send + Sync>;

/// A process on the web. Once it has left, nothing comes from it any more, also no answer to what came in before.
#[derive(Clone)]
struct Member {
    service: Weak<dyn Service>,
    left: Arc<AtomicBool>,
}

/// The network between all nodes of a test.
#[derive(Clone, Default)]
pub(crate) struct Web {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    nodes: BTreeMap<NodeId, Member>,
    /// Since when nothing passes from the first to the second.
    cut: BTreeMap<(NodeId, NodeId), Instant>,
    /// Answers to these are lost on their way.
    deaf: BTreeSet<Method>,
    sent: BTreeMap<(NodeId, NodeId, u16), u64>,
    hook: Option<Hook>,
}

impl std::fmt::Debug for Web {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Web")
    }
}

impl Web {
    /// The peers of a node, which others reach from now on through `service`.
    pub(crate) fn join(&self, own: NodeId, service: &Arc<dyn Service>) -> Arc<dyn Peers> {
        let left = Arc::new(AtomicBool::new(false));
        let member = Member { service: Arc::downgrade(service), left: Arc::clone(&left) };
        self.state.lock().nodes.insert(own, member);
        Arc::new(End { own, left, web: self.clone() })
    }

    /// The process is gone for the others, whatever it still does.
    pub(crate) fn leave(&self, node: NodeId) {
        if let Some(member) = self.state.lock().nodes.remove(&node) {
            member.left.store(true, Ordering::SeqCst);
        }
    }

    /// Nothing passes from one to the other any more; the other way is open.
    pub(crate) fn cut_one_way(&self, from: NodeId, to: NodeId) {
        self.state.lock().cut.entry((from, to)).or_insert_with(Instant::now);
    }

    pub(crate) fn cut(&self, one: NodeId, other: NodeId) {
        self.cut_one_way(one, other);
        self.cut_one_way(other, one);
    }

    /// Cuts a node off from all others.
    pub(crate) fn isolate(&self, node: NodeId) {
        let others: Vec<NodeId> = self.state.lock().nodes.keys().copied().filter(|&other| other != node).collect();
        others.into_iter().for_each(|other| self.cut(node, other));
    }

    /// Everything passes again.
    pub(crate) fn heal(&self) {
        self.state.lock().cut.clear();
    }

    /// Loses the answers to these calls, or no more.
    pub(crate) fn lose_answers(&self, method: Method, lose: bool) {
        let deaf = &mut self.state.lock().deaf;
        if lose {
            deaf.insert(method)
        } else {
            deaf.remove(&method)
        };
    }

    pub(crate) fn set_hook(&self, hook: Option<Hook>) {
        self.state.lock().hook = hook;
    }

    /// Messages of a method so far, between all nodes.
    pub(crate) fn sent(&self, method: Method) -> u64 {
        let state = self.state.lock();
        state.sent.iter().filter(|((_, _, of), _)| *of == method.0).map(|(_, count)| count).sum()
    }

    /// Where a message arrives, if it does.
    async fn deliver(&self, from: &End, to: NodeId, method: Method) -> Result<(Member, Arc<dyn Service>), CallError> {
        let hook = {
            let mut state = self.state.lock();
            *state.sent.entry((from.own, to, method.0)).or_default() += 1;
            state.hook.clone()
        };
        if let Some(hook) = hook {
            hook(from.own, to, method).await;
        }
        // As a network whose packets vanish: the sender learns nothing, it gives up.
        if self.is_cut(from.own, to) || from.left.load(Ordering::SeqCst) {
            return pending().await;
        }
        let member = self.state.lock().nodes.get(&to).cloned();
        let found = member.and_then(|member| Some((member.clone(), member.service.upgrade()?)));
        found.ok_or(CallError::Unreachable { node: to, reason: "nobody is there".to_owned() })
    }

    async fn carry_back<T>(&self, from: &End, to: (NodeId, &Member), method: Method, answer: T) -> T {
        let left = from.left.load(Ordering::SeqCst) || to.1.left.load(Ordering::SeqCst);
        if left || self.is_cut(to.0, from.own) || self.state.lock().deaf.contains(&method) {
            return pending().await;
        }
        answer
    }

    fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.state.lock().cut.contains_key(&(from, to))
    }
}

/// A node's end of the web.
struct End {
    own: NodeId,
    left: Arc<AtomicBool>,
    web: Web,
}

impl std::fmt::Debug for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("End").field("own", &self.own).finish_non_exhaustive()
    }
}

/// An upload that is stuck is noticed, as a network's keep-alive does.
const STUCK: Duration = Duration::from_secs(1);

#[async_trait]
impl Peers for End {
    async fn call(&self, to: NodeId, method: Method, body: Bytes, timeout: Duration) -> Result<Bytes, CallError> {
        let call = async {
            let (member, service) = self.web.deliver(self, to, method).await?;
            let answer = service.call(self.own, method, body).await;
            self.web.carry_back(self, (to, &member), method, answer).await
        };
        let lost = || CallError::Lost { node: to, reason: format!("no answer within {timeout:?}") };
        tokio::time::timeout(timeout, call).await.unwrap_or_else(|_| Err(lost()))
    }

    async fn upload(&self, to: NodeId, method: Method, header: Bytes, pieces: Pieces) -> Result<Bytes, CallError> {
        let lost = move || CallError::Lost { node: to, reason: "the link is cut".to_owned() };
        let delivered = tokio::time::timeout(STUCK, self.web.deliver(self, to, method)).await;
        let (member, service) = delivered.map_err(|_| lost())??;
        let (web, own) = (self.web.clone(), self.own);
        let pieces = pieces.map(move |piece| if web.is_cut(own, to) { Err(lost()) } else { piece }).boxed();
        let answer = service.upload(self.own, method, header, pieces).await;
        let answer = tokio::time::timeout(STUCK, self.web.carry_back(self, (to, &member), method, answer)).await;
        answer.unwrap_or_else(|_| Err(lost()))
    }

    async fn download(&self, to: NodeId, method: Method, header: Bytes) -> Result<Pieces, CallError> {
        let (_, service) = self.web.deliver(self, to, method).await?;
        service.download(self.own, method, header).await
    }

    fn meet(&self, _: NodeId) {}

    /// As if nodes sent each other something all the time.
    fn silence(&self, node: NodeId) -> Option<Duration> {
        let state = self.web.state.lock();
        state.nodes.get(&node)?;
        Some(state.cut.get(&(node, self.own)).map_or(Duration::ZERO, |since| since.elapsed()))
    }
}
