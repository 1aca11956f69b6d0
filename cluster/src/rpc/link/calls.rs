//! The calls to one node: those that wait to be sent, in order, and those that wait for their answer. No IO, no time.
//!
//! Invariant: a call is in `pending` until it is answered, given up or failed, and in `waiting` only while it is in `pending`.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::peers::{CallError, Method, NodeId};
use crate::rpc::metrics::PeerMetrics;
use crate::rpc::wire::{Frame, Kind};

/// What a caller waits for.
pub(super) type Answer = Result<Bytes, CallError>;

#[derive(Debug)]
pub(super) struct Calls {
    node: NodeId,
    calls_max: usize,
    bytes_max: usize,
    next_id: u64,
    /// By ascending id.
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    cancels: VecDeque<u64>,
    ping: bool,
    /// In order, as all that a simulation has to see happen the same way each time.
    pending: BTreeMap<u64, Pending>,
    metrics: PeerMetrics,
}

#[derive(Debug)]
struct Waiting {
    id: u64,
    method: Method,
    body: Bytes,
}

#[derive(Debug)]
struct Pending {
    answer: oneshot::Sender<Answer>,
    sent: bool,
}

/// No more calls are taken for this node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{calls} calls to it are under way and {bytes} bytes of them wait to be sent, no more are taken")]
pub(super) struct Full {
    calls: usize,
    bytes: usize,
}

impl Calls {
    pub(super) fn new(node: NodeId, calls_max: usize, bytes_max: usize, metrics: PeerMetrics) -> Self {
        Self {
            node,
            calls_max,
            bytes_max,
            next_id: 1,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            cancels: VecDeque::new(),
            ping: false,
            pending: BTreeMap::new(),
            metrics,
        }
    }

    /// Queues a call.
    pub(super) fn push(&mut self, method: Method, body: Bytes) -> Result<(u64, oneshot::Receiver<Answer>), Full> {
        if self.pending.len() >= self.calls_max || self.waiting_bytes + body.len() > self.bytes_max {
            return Err(Full { calls: self.pending.len(), bytes: self.waiting_bytes });
        }
        let id = self.next_id;
        self.next_id += 1;
        let (answer, receiver) = oneshot::channel();
        self.waiting_bytes += body.len();
        self.metrics.queue_calls.inc();
        self.metrics.queue_bytes.add(body.len() as i64);
        self.metrics.unanswered.inc();
        self.waiting.push_back(Waiting { id, method, body });
        self.pending.insert(id, Pending { answer, sent: false });
        Ok((id, receiver))
    }

    /// A ping with the next packet.
    pub(super) fn ping(&mut self) {
        self.ping = true;
    }

    /// What is to be sent next. A call counts as sent from here on.
    pub(super) fn next_frame(&mut self) -> Option<Frame> {
        if std::mem::take(&mut self.ping) {
            return Some(Frame::new(Kind::Ping, 0, Bytes::new()));
        }
        if let Some(id) = self.cancels.pop_front() {
            return Some(Frame::new(Kind::Cancel, id, Bytes::new()));
        }
        let Waiting { id, method, body } = self.waiting.pop_front()?;
        self.left_queue(body.len());
        if let Some(pending) = self.pending.get_mut(&id) {
            pending.sent = true;
        }
        Some(Frame { method: method.0.into(), ..Frame::new(Kind::Call, id, body) })
    }

    /// Hands an answer to whoever waits for it; nobody may. Answers to what was not asked yet are none.
    pub(super) fn answered(&mut self, id: u64, answer: Answer) {
        if self.pending.get(&id).is_some_and(|pending| pending.sent)
            && let Some(pending) = self.pending.remove(&id)
        {
            self.metrics.unanswered.dec();
            // Its caller may have gone this instant.
            let _ = pending.answer.send(answer);
        }
    }

    /// Nobody waits for this answer any more. Returns whether the call was sent, in which case the other side hears of it;
    /// `None` if it is answered already.
    pub(super) fn give_up(&mut self, id: u64) -> Option<bool> {
        let pending = self.pending.remove(&id)?;
        self.metrics.unanswered.dec();
        if pending.sent {
            self.cancels.push_back(id);
        } else if let Ok(at) = self.waiting.binary_search_by_key(&id, |waiting| waiting.id) {
            let bytes = self.waiting.remove(at).map_or(0, |waiting| waiting.body.len());
            self.left_queue(bytes);
        }
        Some(pending.sent)
    }

    /// The connection is gone, or there will be none: what was sent is lost, what was not is not.
    pub(super) fn fail_all(&mut self, reason: &str) {
        for waiting in std::mem::take(&mut self.waiting) {
            self.left_queue(waiting.body.len());
        }
        self.cancels.clear();
        self.ping = false;
        for (_, pending) in std::mem::take(&mut self.pending) {
            self.metrics.unanswered.dec();
            let (node, reason) = (self.node, reason.to_owned());
            let error =
                if pending.sent { CallError::Lost { node, reason } } else { CallError::Unreachable { node, reason } };
            let _ = pending.answer.send(Err(error));
        }
    }

    fn left_queue(&mut self, bytes: usize) {
        self.waiting_bytes -= bytes;
        self.metrics.queue_calls.dec();
        self.metrics.queue_bytes.sub(bytes as i64);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rpc::metrics::RpcMetrics;

    fn calls(calls_max: usize, bytes_max: usize) -> Calls {
        let metrics = RpcMetrics::register(&prometheus::Registry::new()).expect("an empty registry");
        Calls::new(7, calls_max, bytes_max, metrics.peer(7))
    }

    fn push(calls: &mut Calls, body: &'static [u8]) -> (u64, oneshot::Receiver<Answer>) {
        calls.push(Method(1), Bytes::from_static(body)).expect("room")
    }

    #[test]
    fn calls_leave_in_the_order_they_came() {
        let mut calls = calls(10, 100);
        let ids: Vec<u64> = [&b"a"[..], b"b", b"c"].into_iter().map(|body| push(&mut calls, body).0).collect();
        let sent: Vec<u64> = std::iter::from_fn(|| calls.next_frame()).map(|frame| frame.id).collect();
        assert_eq!(sent, ids);
    }

    #[test]
    fn full_by_number_and_by_bytes() {
        let mut calls = calls(2, 4);
        let (first, _) = push(&mut calls, b"123");
        assert_eq!(calls.push(Method(1), Bytes::from_static(b"45")).expect_err("bytes"), Full { calls: 1, bytes: 3 });
        calls.next_frame();
        push(&mut calls, b"45");
        assert_eq!(calls.push(Method(1), Bytes::new()).expect_err("number"), Full { calls: 2, bytes: 2 });
        calls.answered(first, Ok(Bytes::new()));
        push(&mut calls, b"6");
    }

    #[test]
    fn a_call_given_up_before_it_was_sent_is_never_sent() {
        let mut calls = calls(10, 100);
        let (first, _) = push(&mut calls, b"1");
        let (second, _) = push(&mut calls, b"2");
        assert_eq!(calls.give_up(first), Some(false));
        assert_eq!(calls.next_frame().map(|frame| frame.id), Some(second));
        assert_eq!(calls.next_frame(), None);
    }

    #[test]
    fn a_call_given_up_after_it_was_sent_is_cancelled_ahead_of_others() {
        let mut calls = calls(10, 100);
        let (first, _) = push(&mut calls, b"1");
        calls.next_frame();
        let (second, _) = push(&mut calls, b"2");
        assert_eq!(calls.give_up(first), Some(true));
        let frames: Vec<(Kind, u64)> =
            std::iter::from_fn(|| calls.next_frame()).map(|frame| (frame.kind(), frame.id)).collect();
        assert_eq!(frames, [(Kind::Cancel, first), (Kind::Call, second)]);
    }

    #[test]
    fn when_the_connection_breaks_only_what_was_sent_is_lost() {
        let mut calls = calls(10, 100);
        let (_, mut sent) = push(&mut calls, b"1");
        calls.next_frame();
        let (_, mut unsent) = push(&mut calls, b"2");
        calls.fail_all("cut");
        let reason = "cut".to_owned();
        assert_eq!(sent.try_recv(), Ok(Err(CallError::Lost { node: 7, reason: reason.clone() })));
        assert_eq!(unsent.try_recv(), Ok(Err(CallError::Unreachable { node: 7, reason })));
        assert_eq!(calls.next_frame(), None);
    }

    proptest! {
        /// Whatever happens, the counts are those of what is there, and never beyond the limits.
        #[test]
        fn counts_stay_true(steps in proptest::collection::vec((0u8..5, 0usize..40), 0..200)) {
            let mut calls = calls(8, 64);
            let mut receivers = Vec::new();
            for (step, size) in steps {
                let some_id = calls.next_id.saturating_sub(1 + size as u64 % 9);
                match step {
                    0 | 1 => receivers.extend(calls.push(Method(1), Bytes::from(vec![0; size])).ok()),
                    2 => drop(calls.next_frame()),
                    3 => calls.answered(some_id, Ok(Bytes::new())),
                    _ => _ = calls.give_up(some_id),
                }
                let bytes: usize = calls.waiting.iter().map(|waiting| waiting.body.len()).sum();
                prop_assert_eq!(bytes, calls.waiting_bytes);
                prop_assert!(bytes <= 64 && calls.pending.len() <= 8);
                prop_assert!(calls.waiting.iter().all(|waiting| !calls.pending[&waiting.id].sent));
                prop_assert_eq!(calls.metrics.queue_bytes.get(), bytes as i64);
                prop_assert_eq!(calls.metrics.queue_calls.get(), calls.waiting.len() as i64);
                prop_assert_eq!(calls.metrics.unanswered.get(), calls.pending.len() as i64);
            }
        }
    }
}
