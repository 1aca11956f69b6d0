//! The way to one other node: one connection, made when first needed and kept while the node is known.

mod calls;
mod transfers;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, Stream};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tonic::{Request, Streaming};
use tracing::{debug, info};

use super::Shared;
use super::backoff::Backoff;
use super::connect::{Channel, Opened, open};
use super::identity::Standing;
use super::metrics::OneOf;
use super::record::{Record, Wire};
use super::status::words;
use super::wire::peer_client::PeerClient;
use super::wire::{Frame, Kind, put_caller};
use crate::peers::{CallError, Method, NodeId};
use calls::{Answer, Calls};

/// A client of the other node's service.
type Client = PeerClient<Channel>;

pub(super) struct Link {
    node: NodeId,
    shared: Arc<Shared>,
    record: Arc<Record>,
    state: Mutex<State>,
    /// The phase is another one.
    changed: Notify,
    /// The node was heard of: no need to wait before the next try.
    hint: Notify,
    transfers: Arc<Semaphore>,
}

struct State {
    phase: Phase,
    /// Which connection may send: one that is gone takes no more calls from the queue.
    generation: u64,
    calls: Calls,
    /// Of the connection's sending side, when it has nothing to send.
    sender: Option<Waker>,
}

enum Phase {
    /// For the first time: calls wait for it.
    Connecting,
    Up(Client),
    /// Tried again in the background; calls fail at once.
    Down(String),
    /// For good.
    Closed(String),
}

impl Link {
    pub(super) fn new(node: NodeId, shared: &Arc<Shared>) -> Arc<Self> {
        let record = shared.records.get_or_new(node);
        let options = &shared.options;
        let calls = Calls::new(node, options.calls_max, options.queue_bytes_max, record.metrics.clone());
        Arc::new(Self {
            node,
            shared: Arc::clone(shared),
            record,
            state: Mutex::new(State { phase: Phase::Connecting, generation: 0, calls, sender: None }),
            changed: Notify::new(),
            hint: Notify::new(),
            transfers: Arc::new(Semaphore::new(options.transfers_max)),
        })
    }

    /// Connects, and connects again, until the node is no longer known or the network is closed.
    pub(super) async fn run(self: Arc<Self>) {
        let options = &self.shared.options;
        let mut backoff = Backoff::new(options.retry_min, options.retry_max, self.shared.seed ^ self.node);
        let stop = self.shared.stop.clone();
        let reason = loop {
            let address = match (self.shared.members)(self.node) {
                Standing::Member { address } => address,
                Standing::Removed => break "it was removed from the cluster",
                Standing::Unknown => break "no such node is known",
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => break "this node stops",
                reason = self.connect(&address, &mut backoff) => self.leave(Phase::Down(reason)),
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => break "this node stops",
                () = self.hint.notified() => {}
                () = sleep(backoff.wait()) => {}
            }
        };
        self.shared.links.lock().remove(&self.node);
        self.shared.forget_unless_member(self.node);
        self.leave(Phase::Closed(reason.to_owned()));
    }

    /// The node is there: it called.
    pub(super) fn hint(&self) {
        self.hint.notify_one();
    }

    /// One connection, from the first try to its end; says why that came.
    async fn connect(self: &Arc<Self>, address: &str, backoff: &mut Backoff) -> String {
        let metrics = &self.shared.metrics;
        let patience = self.shared.options.connect_timeout;
        let established = timeout(patience, self.establish(address)).await;
        let (opened, frames) = match established.unwrap_or_else(|_| Err(format!("no connection within {patience:?}"))) {
            Ok(established) => established,
            Err(reason) => {
                metrics.connects_failed.inc();
                debug!(node = %format_args!("{:016x}", self.node), address, reason, "cannot connect to node");
                return reason;
            }
        };
        metrics.connects.inc();
        let _open = OneOf::new(&metrics.connections_out);
        info!(node = %format_args!("{:016x}", self.node), address, "connected to node");
        let began = self.shared.clock.monotonic();
        let reason = self.attend(opened, frames, address).await;
        info!(node = %format_args!("{:016x}", self.node), address, reason, "connection to node ended");
        if self.shared.clock.monotonic().saturating_sub(began) >= self.shared.options.retry_max {
            backoff.reset();
        }
        reason
    }

    /// Connects and has the other side's consent.
    async fn establish(self: &Arc<Self>, address: &str) -> Result<(Opened, Streaming<Frame>), String> {
        let caller = self.shared.identity.caller(self.node).ok_or("this node is in no cluster yet")?;
        let mut opened = open(&self.shared, address).await?;
        let mut client = self.client(opened.channel.clone());
        let mut request = Request::new(self.next_sender());
        put_caller(&caller, request.metadata_mut());
        let frames = tokio::select! {
            biased;
            reason = &mut opened.driver => return Err(reason),
            response = client.exchange(request) => response.map_err(|status| words(&status))?.into_inner(),
        };
        opened.wire.belongs_to(Arc::clone(&self.record));
        self.enter_up(client);
        Ok((opened, frames))
    }

    fn client(&self, channel: Channel) -> Client {
        let bytes_max = self.shared.options.message_bytes_max();
        PeerClient::new(channel).max_decoding_message_size(bytes_max).max_encoding_message_size(bytes_max)
    }

    /// Hands answers to their callers until the connection ends; says why.
    async fn attend(&self, mut opened: Opened, mut frames: Streaming<Frame>, address: &str) -> String {
        let mut tick = interval(self.shared.options.ping_every / 2);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                reason = &mut opened.driver => return reason,
                _ = tick.tick() => {
                    if let Err(reason) = self.check(&opened.wire, address) {
                        return reason;
                    }
                }
                frame = frames.message() => {
                    let mut next = Some(frame);
                    // All that came in one packet, before the connection is polled again.
                    while let Some(frame) = next {
                        match frame {
                            Ok(Some(frame)) => self.take(frame),
                            Ok(None) => return "the other side ended the exchange".to_owned(),
                            Err(status) => return words(&status),
                        }
                        next = frames.message().now_or_never();
                    }
                }
            }
        }
    }

    fn take(&self, frame: Frame) {
        let node = self.node;
        let words = |body: Bytes| String::from_utf8_lossy(&body).into_owned();
        let answer = match frame.kind() {
            Kind::Answer => Ok(frame.body),
            Kind::Refusal => Err(CallError::Refused { reason: words(frame.body) }),
            Kind::TurnedAway => Err(CallError::Unreachable { node, reason: words(frame.body) }),
            // That it came is all there is to it.
            Kind::Pong => return,
            // Of a caller, not of one who answers.
            Kind::Call | Kind::Cancel | Kind::Ping => return,
        };
        self.state.lock().calls.answered(frame.id, answer);
    }

    /// Whether the connection is to be kept; a silent node is pinged.
    fn check(&self, wire: &Wire, address: &str) -> Result<(), String> {
        match (self.shared.members)(self.node) {
            Standing::Member { address: now } if now == address => {}
            Standing::Member { address: now } => return Err(format!("it moved from {address} to {now}")),
            Standing::Removed => return Err("it was removed from the cluster".to_owned()),
            Standing::Unknown => return Err("no such node is known any more".to_owned()),
        }
        let options = &self.shared.options;
        let silence = wire.silence(self.shared.clock.monotonic());
        if silence > options.silence_max {
            return Err(format!("nothing came from it for {silence:?}"));
        }
        if silence >= options.ping_every / 2 {
            let mut state = self.state.lock();
            state.calls.ping();
            wake(state.sender.take());
        }
        Ok(())
    }

    /// A call and its answer. Dropping it takes the call back, or cancels it at the other side.
    pub(super) async fn call(&self, method: Method, body: Bytes, patience: Duration) -> Answer {
        let failures = &self.shared.metrics.failures;
        let (mut call, mut receiver) = self.begin_call(method, body)?;
        self.shared.metrics.sent_calls.count(method);
        let answer = match timeout(patience, &mut receiver).await {
            Ok(answer) => answer,
            Err(_) => match call.give_up() {
                Some(sent) => {
                    failures.timed_out.inc();
                    return Err(self.too_late(sent, patience));
                }
                None => receiver.await,
            },
        };
        call.underway = false;
        // The sending half goes only after it was used.
        let answer = answer.unwrap_or_else(|_| {
            Err(CallError::Lost { node: self.node, reason: "the connection was closed".to_owned() })
        });
        answer.inspect_err(|error| failures.count(error))
    }

    fn too_late(&self, sent: bool, patience: Duration) -> CallError {
        let node = self.node;
        if sent {
            CallError::Lost { node, reason: format!("no answer within {patience:?}") }
        } else {
            CallError::Unreachable { node, reason: format!("the call could not be sent within {patience:?}") }
        }
    }

    fn begin_call(
        &self,
        method: Method,
        body: Bytes,
    ) -> Result<(Underway<'_>, tokio::sync::oneshot::Receiver<Answer>), CallError> {
        let failures = &self.shared.metrics.failures;
        let mut state = self.state.lock();
        let unreachable = |reason: String| CallError::Unreachable { node: self.node, reason };
        if let Phase::Down(reason) | Phase::Closed(reason) = &state.phase {
            failures.unreachable.inc();
            return Err(unreachable(reason.clone()));
        }
        let (id, receiver) = state.calls.push(method, body).map_err(|full| {
            failures.queue_full.inc();
            unreachable(full.to_string())
        })?;
        let sender = state.sender.take();
        drop(state);
        wake(sender);
        Ok((Underway { link: self, id, underway: true }, receiver))
    }

    /// A connection's sending side; those before it send no more.
    fn next_sender(self: &Arc<Self>) -> Sender {
        let mut state = self.state.lock();
        state.generation += 1;
        wake(state.sender.take());
        Sender { link: Arc::clone(self), generation: state.generation }
    }

    fn enter_up(&self, client: Client) {
        let mut state = self.state.lock();
        state.phase = Phase::Up(client);
        wake(state.sender.take());
        drop(state);
        self.changed.notify_waiters();
    }

    /// There is no connection now: all who wait for one, or for an answer, hear of it.
    fn leave(&self, phase: Phase) {
        let mut state = self.state.lock();
        if let Phase::Down(reason) | Phase::Closed(reason) = &phase {
            state.calls.fail_all(reason);
        }
        state.phase = phase;
        state.generation += 1;
        wake(state.sender.take());
        drop(state);
        self.changed.notify_waiters();
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// A call whose caller waits.
struct Underway<'a> {
    link: &'a Link,
    id: u64,
    underway: bool,
}

impl Underway<'_> {
    /// Whether the call had been sent; `None` if it has its answer already.
    fn give_up(&mut self) -> Option<bool> {
        self.underway = false;
        let mut state = self.link.state.lock();
        let sent = state.calls.give_up(self.id)?;
        if sent {
            wake(state.sender.take());
        }
        Some(sent)
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        if self.underway && self.give_up().is_some() {
            self.link.shared.metrics.failures.given_up.inc();
        }
    }
}

/// What a connection sends on its exchange: all that waits goes into one packet.
struct Sender {
    link: Arc<Link>,
    generation: u64,
}

impl Stream for Sender {
    type Item = Frame;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Frame>> {
        let mut state = self.link.state.lock();
        if state.generation != self.generation {
            return Poll::Ready(None);
        }
        // Nothing is sent before the other side has agreed to talk.
        if matches!(state.phase, Phase::Up(_))
            && let Some(frame) = state.calls.next_frame()
        {
            return Poll::Ready(Some(frame));
        }
        state.sender = Some(cx.waker().clone());
        Poll::Pending
    }
}
