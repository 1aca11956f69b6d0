//! One caller's calls on one connection. A stream that reads calls while it is asked for answers: so a caller who does not read its
//! answers is not read either.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::{BoxFuture, CatchUnwind};
use futures::{FutureExt, Stream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tonic::{Status, Streaming};
use tracing::error;

use super::Hall;
use super::visit::From;
use crate::peers::{CallError, Method};
use crate::rpc::record::Serving;
use crate::rpc::status::shortened;
use crate::rpc::wire::{Frame, Kind};

/// Most frames that are looked at before others get their turn, and what is ready is sent.
const FRAMES_AT_ONCE: usize = 128;

type Work = CatchUnwind<AssertUnwindSafe<BoxFuture<'static, Result<Bytes, CallError>>>>;
type Outcome = std::thread::Result<Result<Bytes, CallError>>;

/// An answer, and the place of its call until it is sent.
type Answered = (Frame, Serving);

pub(super) struct Exchange {
    hall: Arc<Hall>,
    from: From,
    frames: Streaming<Frame>,
    /// No more calls come; answers still go.
    ended: bool,
    running: BTreeMap<u64, AbortHandle>,
    /// Bounded by the calls that may be worked on at a time.
    answers: mpsc::UnboundedReceiver<Answered>,
    answer: mpsc::UnboundedSender<Answered>,
}

impl Exchange {
    pub(super) fn new(hall: &Arc<Hall>, from: From, frames: Streaming<Frame>) -> Self {
        let (answer, answers) = mpsc::unbounded_channel();
        Self { hall: Arc::clone(hall), from, frames, ended: false, running: BTreeMap::new(), answers, answer }
    }

    /// Does what the frame asks; the answer if there is one already.
    fn take(&mut self, frame: Frame, cx: &mut Context<'_>) -> Option<Frame> {
        match frame.kind() {
            Kind::Call => self.begin(frame, cx),
            Kind::Cancel => {
                if let Some(running) = self.running.remove(&frame.id) {
                    running.abort();
                }
                None
            }
            Kind::Ping => Some(Frame::new(Kind::Pong, frame.id, Bytes::new())),
            // Of one who answers, not of a caller.
            Kind::Answer | Kind::Refusal | Kind::TurnedAway | Kind::Pong => None,
        }
    }

    /// Begins calls in the order in which they came: each gets as far as it gets without waiting before the next one is begun.
    /// What is not answered then becomes a task.
    fn begin(&mut self, frame: Frame, cx: &mut Context<'_>) -> Option<Frame> {
        let shared = &self.hall.shared;
        let (id, options) = (frame.id, &shared.options);
        let Ok(method) = u16::try_from(frame.method).map(Method) else {
            return Some(Frame::new(Kind::TurnedAway, id, Bytes::from_static(b"method numbers are below 65536")));
        };
        let (calls_max, bytes_max) = (options.serving_calls_max, options.serving_bytes_max);
        let Some(mut serving) = self.from.record.begin_call(frame.body.len(), calls_max, bytes_max) else {
            shared.metrics.refused.with_label_values(&["busy"]).inc();
            let reason =
                format!("{calls_max} calls or {bytes_max} bytes of this caller are worked on, no more are begun");
            return Some(Frame::new(Kind::TurnedAway, id, reason.into()));
        };
        shared.metrics.served_calls.count(method);
        let service = Arc::clone(&self.hall.service);
        let (node, body) = (self.from.node, frame.body);
        let work: BoxFuture<'static, _> = Box::pin(async move { service.call(node, method, body).await });
        let mut work: Work = AssertUnwindSafe(work).catch_unwind();
        if let Poll::Ready(outcome) = work.poll_unpin(cx) {
            return Some(answer(id, outcome, options.body_bytes_max));
        }
        let (answers, bytes_max) = (self.answer.clone(), options.body_bytes_max);
        let task = shared.tasks.spawn(async move {
            let frame = answer(id, work.await, bytes_max);
            serving.hold(frame.body.len());
            // Nobody listens when the connection is gone.
            let _ = answers.send((frame, serving));
        });
        self.running.insert(id, task.abort_handle());
        None
    }
}

/// A service that panics refuses.
fn answer(id: u64, outcome: Outcome, bytes_max: usize) -> Frame {
    let outcome = outcome.unwrap_or_else(|_| {
        error!("a call of another node panicked");
        Err(CallError::Refused { reason: "the call panicked, see the log of the node that was called".to_owned() })
    });
    match outcome {
        Ok(body) if body.len() > bytes_max => {
            let reason = format!("an answer of {} bytes is larger than any may be ({bytes_max})", body.len());
            Frame::new(Kind::Refusal, id, reason.into())
        }
        Ok(body) => Frame::new(Kind::Answer, id, body),
        Err(error) => Frame::new(Kind::Refusal, id, shortened(error.to_string()).into()),
    }
}

impl Stream for Exchange {
    type Item = Result<Frame, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Poll::Ready(Some((frame, _serving))) = this.answers.poll_recv(cx) {
            this.running.remove(&frame.id);
            return Poll::Ready(Some(Ok(frame)));
        }
        for _ in 0..FRAMES_AT_ONCE {
            if this.ended {
                return if this.running.is_empty() { Poll::Ready(None) } else { Poll::Pending };
            }
            match Pin::new(&mut this.frames).poll_next(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Some(answer) = this.take(frame, cx) {
                        return Poll::Ready(Some(Ok(answer)));
                    }
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(None),
                Poll::Ready(None) => this.ended = true,
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        for running in self.running.values() {
            running.abort();
        }
    }
}
