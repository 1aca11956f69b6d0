//! The commands that wait for a group: first in, first out, bounded by count and bytes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use pharos_model::Clock;
use tokio::sync::{Notify, oneshot};

use super::{ProposeError, ProposerOptions};
use crate::log::body::COMMAND_OVERHEAD_BYTES;
use crate::metrics::RaftMetrics;

/// A command and who waits for its answer.
#[derive(Debug)]
pub(super) struct Waiting {
    ticket: u64,
    pub command: Bytes,
    pub answer: oneshot::Sender<Result<Bytes, ProposeError>>,
}

#[derive(Debug)]
pub(super) struct Queue {
    options: ProposerOptions,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    pushed: Notify,
    /// An entry's commands were answered.
    answered: Notify,
    metrics: RaftMetrics,
}

#[derive(Debug, Default)]
struct State {
    /// Tickets ascend.
    waiting: VecDeque<Waiting>,
    bytes: usize,
    next_ticket: u64,
    /// When, on the monotonic clock, the next entry is to be proposed: by the most hurried command that waits.
    due: Option<Duration>,
    /// Entries whose commands have left and are not answered.
    in_flight: usize,
    /// Nothing leaves, because the group's leader is about to change.
    held: bool,
    closed: bool,
}

/// What the proposer is to do next.
#[derive(Debug)]
pub(super) enum Next {
    Propose(Vec<Waiting>),
    /// Nothing is due so soon, unless something is pushed.
    Wait(Duration),
    /// Nothing waits.
    Idle,
}

impl Queue {
    pub(super) fn new(options: ProposerOptions, metrics: RaftMetrics, clock: Arc<dyn Clock>) -> Self {
        Self { options, clock, state: Mutex::default(), pushed: Notify::new(), answered: Notify::new(), metrics }
    }

    /// Adds a command that waits at most `linger` for others to share its entry. Returns its ticket, and where its answer comes.
    pub(super) fn push(
        &self,
        command: Bytes,
        linger: Duration,
    ) -> Result<(u64, oneshot::Receiver<Result<Bytes, ProposeError>>), ProposeError> {
        let (bytes, max) = (command.len(), self.options.entry_bytes_max);
        if bytes > max {
            return Err(ProposeError::TooLarge { bytes, max });
        }
        let (answer, answered) = oneshot::channel();
        let mut state = self.state.lock();
        if state.closed {
            return Err(ProposeError::Stopped { reason: "the node is shutting down".to_owned() });
        }
        let commands = state.waiting.len();
        if commands >= self.options.queue_commands_max || state.bytes + bytes > self.options.queue_bytes_max {
            return Err(ProposeError::Overloaded { commands, bytes: state.bytes });
        }
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.bytes += bytes;
        state.waiting.push_back(Waiting { ticket, command, answer });
        let due = due(self.clock.monotonic(), linger);
        let sooner = state.due.is_none_or(|earliest| due < earliest);
        if sooner {
            state.due = Some(due);
        }
        // The worker sleeps until what it knew to be due, or until an entry is answered.
        let company_bytes = self.options.company_bytes;
        let has_company = state.bytes >= company_bytes && state.bytes - bytes < company_bytes;
        let wakes = sooner || has_company || self.fills_entry(&state);
        drop(state);
        self.metrics.proposals.inc();
        self.metrics.queued_proposals.inc();
        self.metrics.queued_bytes.add(bytes as i64);
        if wakes {
            self.pushed.notify_one();
        }
        Ok((ticket, answered))
    }

    /// Takes a command out again; `false` when it has left already.
    pub(super) fn take_back(&self, ticket: u64) -> bool {
        let mut state = self.state.lock();
        let Ok(at) = state.waiting.binary_search_by_key(&ticket, |waiting| waiting.ticket) else { return false };
        let removed = state.waiting.remove(at);
        removed.into_iter().for_each(|waiting| self.removed(&mut state, &waiting));
        true
    }

    /// The commands of the next entry once they are due or fill it.
    pub(super) fn next(&self) -> Next {
        let mut state = self.state.lock();
        if state.held && !state.closed {
            return Next::Idle;
        }
        let Some(due) = state.due else { return Next::Idle };
        let company = if self.wants_company(&state) { self.options.company } else { Duration::ZERO };
        let left = (due + company).saturating_sub(self.clock.monotonic());
        if !left.is_zero() && !state.closed && !self.fills_entry(&state) {
            return Next::Wait(left);
        }
        let mut bytes = 0;
        let mut batch = Vec::new();
        while let Some(next) = state.waiting.front() {
            let entry_bytes = bytes + COMMAND_OVERHEAD_BYTES + next.command.len();
            if !batch.is_empty() && entry_bytes > self.options.entry_bytes_max {
                break;
            }
            let Some(waiting) = state.waiting.pop_front() else { break };
            self.removed(&mut state, &waiting);
            if waiting.answer.is_closed() {
                continue;
            }
            bytes = entry_bytes;
            batch.push(waiting);
        }
        if state.waiting.is_empty() {
            state.due = None;
        }
        if batch.is_empty() {
            return Next::Idle;
        }
        state.in_flight += 1;
        Next::Propose(batch)
    }

    /// The commands of an entry were answered.
    pub(super) fn answered(&self) {
        self.state.lock().in_flight -= 1;
        self.answered.notify_waiters();
    }

    /// Lets nothing leave, or again.
    pub(super) fn hold(&self, held: bool) {
        self.state.lock().held = held;
        self.pushed.notify_one();
    }

    /// Returns when no entry is in flight. Comes to an end only while the queue is held.
    pub(super) async fn settled(&self) {
        loop {
            let mut answered = std::pin::pin!(self.answered.notified());
            answered.as_mut().enable();
            if self.state.lock().in_flight == 0 {
                return;
            }
            answered.await;
        }
    }

    /// What waits is little, and there is an entry whose end it can wait for.
    fn wants_company(&self, state: &State) -> bool {
        state.in_flight > 0 && state.bytes < self.options.company_bytes
    }

    /// What waits is worth an entry of its own, or keeps others out.
    fn fills_entry(&self, state: &State) -> bool {
        let ProposerOptions { queue_commands_max, queue_bytes_max, entry_bytes_max, .. } = self.options;
        state.bytes >= entry_bytes_max.min(queue_bytes_max / 2) || state.waiting.len() >= queue_commands_max / 2
    }

    fn removed(&self, state: &mut State, waiting: &Waiting) {
        state.bytes -= waiting.command.len();
        self.metrics.queued_proposals.dec();
        self.metrics.queued_bytes.sub(waiting.command.len() as i64);
    }

    /// Waits for a push or the close.
    pub(super) async fn pushed(&self) {
        self.pushed.notified().await;
    }

    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.pushed.notify_one();
    }

    /// Closed and empty.
    pub(super) fn is_done(&self) -> bool {
        let state = self.state.lock();
        state.closed && state.waiting.is_empty()
    }
}

/// When a command has to leave that comes `now` and may wait for `linger`. All groups of a node take the same moments for it, so that
/// their entries share a write and a sync.
fn due(now: Duration, linger: Duration) -> Duration {
    if linger.is_zero() {
        return now;
    }
    let latest = (now + linger).as_nanos();
    Duration::from_nanos((latest - latest % linger.as_nanos()) as u64)
}

#[cfg(test)]
mod tests {
    use pharos_model::clock::ManualClock;

    use super::*;
    use crate::metrics::Metrics;

    const MS: Duration = Duration::from_millis(1);

    fn queue(clock: &Arc<ManualClock>) -> Queue {
        let metrics = Metrics::register(&prometheus::Registry::new()).expect("an empty registry").raft;
        let options = ProposerOptions { company: MS * 10, company_bytes: 100, ..ProposerOptions::default() };
        Queue::new(options, metrics, Arc::clone(clock) as Arc<dyn Clock>)
    }

    fn push(queue: &Queue, bytes: usize) -> oneshot::Receiver<Result<Bytes, ProposeError>> {
        queue.push(Bytes::from(vec![0; bytes]), Duration::ZERO).expect("room").1
    }

    fn entry(next: Next) -> usize {
        match next {
            Next::Propose(batch) => batch.len(),
            other => panic!("an entry was expected, not {other:?}"),
        }
    }

    #[test]
    fn little_waits_for_the_end_of_the_entry_before_it_but_not_for_long() {
        let clock = Arc::new(ManualClock::at(0));
        let queue = queue(&clock);
        let _first = push(&queue, 10);
        assert_eq!(entry(queue.next()), 1, "nothing is in flight, nobody waits");
        let _second = push(&queue, 10);
        assert!(matches!(queue.next(), Next::Wait(left) if left == MS * 10));
        clock.advance(MS * 9);
        let _third = push(&queue, 10);
        assert!(matches!(queue.next(), Next::Wait(left) if left == MS));
        queue.answered();
        assert_eq!(entry(queue.next()), 2, "what it waited for has its answer");
        let _fourth = push(&queue, 10);
        clock.advance(MS * 10);
        assert_eq!(entry(queue.next()), 1, "it has waited long enough");
    }

    #[test]
    fn much_waits_for_nobody() {
        let clock = Arc::new(ManualClock::at(0));
        let queue = queue(&clock);
        let _first = push(&queue, 10);
        assert_eq!(entry(queue.next()), 1);
        let _second = push(&queue, 60);
        assert!(matches!(queue.next(), Next::Wait(_)));
        let _third = push(&queue, 60);
        assert_eq!(entry(queue.next()), 2);
    }

    #[test]
    fn commands_leave_at_common_moments_within_what_they_may_linger() {
        let ms = Duration::from_millis;
        assert_eq!(due(ms(1234), ms(0)), ms(1234));
        for now in [1200, 1201, 1234, 1299] {
            assert_eq!(due(ms(now), ms(100)), ms(1300), "{now}");
        }
        assert_eq!(due(ms(1250), ms(50)), ms(1300));
    }
}
