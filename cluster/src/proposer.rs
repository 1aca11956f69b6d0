//! Joins the commands that wait for a group into few entries.
//!
//! The library writes one entry for each flush of the log, and takes any number in without a word. So at most
//! [`ProposerOptions::depth`] entries are in flight; whatever arrives meanwhile joins the next one. An entry costs what it costs
//! whatever it carries, so a small one waits for the end of the one before it, a few milliseconds at most
//! ([`ProposerOptions::company`]): where nothing is in flight nobody waits. A command whose sender is in
//! no hurry may wait longer for others. What waits is
//! bounded by count and by bytes, and refused beyond that. Room on disk is reserved before an entry is proposed.

mod queue;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use openraft::Raft;
use openraft::error::ClientWriteError;
use pharos_model::Clock;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::log::body::commands_record_len;
use crate::log::{NoRoom, Room};
use crate::metrics::RaftMetrics;
use crate::raft::{Answers, Commands, Machine, TypeConfig};
use queue::{Next, Queue, Waiting};

/// After a snapshot was taken in, what is not covered by it is answered within this, or later to nobody.
const INSTALLED_GRACE: Duration = Duration::from_millis(500);

/// Limits of one group's proposer.
#[derive(Clone, Copy, Debug)]
pub struct ProposerOptions {
    /// Most commands that wait. Default 8192.
    pub queue_commands_max: usize,
    /// Most bytes of commands that wait. Default 4 MiB.
    pub queue_bytes_max: usize,
    /// Most bytes of one entry; a command is no larger. Default 1 MiB.
    pub entry_bytes_max: usize,
    /// Most entries in flight. Default 2: one is written while the next is put together.
    pub depth: usize,
    /// How long what waits is kept from being an entry of its own while another one is in flight. Default 10 ms.
    pub company: Duration,
    /// Unless it has so many bytes. Default 64 KiB, some 12,000 samples: beyond that, what an entry costs is what it carries.
    pub company_bytes: usize,
    /// How long a command may take, waiting included. Default 30 s.
    pub timeout: Duration,
}

impl Default for ProposerOptions {
    fn default() -> Self {
        Self {
            queue_commands_max: 8192,
            queue_bytes_max: 4 << 20,
            entry_bytes_max: 1 << 20,
            depth: 2,
            company: Duration::from_millis(10),
            company_bytes: 64 << 10,
            timeout: Duration::from_secs(30),
        }
    }
}

/// Why a command has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    #[error("the group has {commands} commands of {bytes} bytes waiting, no more are taken")]
    Overloaded { commands: usize, bytes: usize },
    #[error("commands of {max} bytes are on their way to other nodes, no more are sent")]
    Forwarding { max: usize },
    #[error("a command of {bytes} bytes is larger than an entry may be ({max})")]
    TooLarge { bytes: usize, max: usize },
    #[error("no room on disk: {reason}")]
    DiskFull { reason: String },
    #[error("this node does not lead the group, {}", leader.map_or("nobody does".to_owned(), |id| format!("node {id} does")))]
    NotLeader { leader: Option<u64> },
    #[error("the command waited {waited:?} and was taken back")]
    TimedOut { waited: Duration },
    #[error("the command may or may not have been written: {reason}")]
    OutcomeUnknown { reason: String },
    #[error("the group is stopped: {reason}")]
    Stopped { reason: String },
}

/// What a caller can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It will never succeed.
    Never,
    /// Certainly not written; the same command may be sent again, here or to the leader.
    Later,
    /// Perhaps written; sending it again is right only if doing it twice does no harm.
    IfRepeatable,
}

impl ProposeError {
    pub fn retry(&self) -> Retry {
        match self {
            Self::TooLarge { .. } => Retry::Never,
            Self::OutcomeUnknown { .. } => Retry::IfRepeatable,
            Self::Overloaded { .. }
            | Self::Forwarding { .. }
            | Self::DiskFull { .. }
            | Self::NotLeader { .. }
            | Self::TimedOut { .. }
            | Self::Stopped { .. } => Retry::Later,
        }
    }
}

impl From<NoRoom> for ProposeError {
    fn from(error: NoRoom) -> Self {
        match error {
            NoRoom::DiskFull { reason } => Self::DiskFull { reason },
            NoRoom::Failed { reason } => Self::Stopped { reason },
        }
    }
}

/// What a proposer proposes to.
pub(crate) struct Core {
    pub raft: Raft<TypeConfig>,
    pub machine: Arc<Machine>,
}

/// Takes commands for one group. Clones share its queue.
#[derive(Clone, Debug)]
pub struct Proposer {
    queue: Arc<Queue>,
    room: Arc<Room>,
    options: ProposerOptions,
    metrics: RaftMetrics,
}

impl Proposer {
    /// A proposer, and the work of it: a future that ends after [`Proposer::close`].
    pub(crate) fn new(
        core: Core,
        room: Arc<Room>,
        options: ProposerOptions,
        metrics: RaftMetrics,
        clock: Arc<dyn Clock>,
    ) -> (Self, impl Future<Output = ()>) {
        let queue = Arc::new(Queue::new(options, metrics.clone(), Arc::clone(&clock)));
        let proposer = Self { queue, room, options, metrics };
        let worker = Worker { proposer: proposer.clone(), core, clock };
        (proposer, worker.run())
    }

    /// Proposes a command and waits for its answer: by then it is durable and applied. Fails by the configured timeout.
    pub async fn propose(&self, command: Bytes) -> Result<Bytes, ProposeError> {
        self.propose_lingering(command, Duration::ZERO).await
    }

    /// As [`Proposer::propose`], but waits up to `linger` for other commands to share its entry, as long as no other's time is
    /// up and they do not fill it. A dropped call takes its command back if it still waits.
    pub async fn propose_lingering(&self, command: Bytes, linger: Duration) -> Result<Bytes, ProposeError> {
        self.propose_within(command, linger, self.options.timeout).await
    }

    /// As [`Proposer::propose_lingering`] with a timeout of its own.
    pub(crate) async fn propose_within(
        &self,
        command: Bytes,
        linger: Duration,
        timeout: Duration,
    ) -> Result<Bytes, ProposeError> {
        let outcome = self.wait_for(command, linger, timeout).await;
        match &outcome {
            Ok(_) => {}
            Err(ProposeError::OutcomeUnknown { .. }) => self.metrics.proposals_unknown.inc(),
            Err(_) => self.metrics.proposals_refused.inc(),
        }
        outcome
    }

    async fn wait_for(&self, command: Bytes, linger: Duration, max: Duration) -> Result<Bytes, ProposeError> {
        self.room.check()?;
        let (ticket, answer) = self.queue.push(command, linger)?;
        match timeout(max, answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(unknown("the group ended")),
            Err(_) if self.queue.take_back(ticket) => Err(ProposeError::TimedOut { waited: max }),
            Err(_) => Err(unknown(&format!("no answer within {max:?}"))),
        }
    }

    /// Keeps what waits from being proposed until the hold is dropped. Commands are still taken.
    pub(crate) fn hold(&self) -> Hold {
        self.queue.hold(true);
        Hold { queue: Arc::clone(&self.queue) }
    }

    /// Takes no more commands; those that wait are still proposed.
    pub(crate) fn close(&self) {
        self.queue.close();
    }
}

/// Nothing is proposed while this lives.
#[derive(Debug)]
pub(crate) struct Hold {
    queue: Arc<Queue>,
}

impl Hold {
    /// Returns when everything that was proposed before has its answer.
    pub(crate) async fn settled(&self) {
        self.queue.settled().await;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.queue.hold(false);
    }
}

fn unknown(reason: &str) -> ProposeError {
    ProposeError::OutcomeUnknown { reason: reason.to_owned() }
}

/// The task behind a proposer.
struct Worker {
    proposer: Proposer,
    core: Core,
    clock: Arc<dyn Clock>,
}

impl Worker {
    async fn run(self) {
        let queue = &self.proposer.queue;
        let mut in_flight = FuturesUnordered::new();
        loop {
            let mut wait = None;
            while in_flight.len() < self.proposer.options.depth {
                match queue.next() {
                    Next::Propose(batch) => in_flight.push(self.submit(batch)),
                    Next::Wait(left) => {
                        wait = Some(left);
                        break;
                    }
                    Next::Idle => break,
                }
            }
            if in_flight.is_empty() && queue.is_done() {
                return;
            }
            tokio::select! {
                Some(()) = in_flight.next(), if !in_flight.is_empty() => {}
                () = queue.pushed(), if in_flight.len() < self.proposer.options.depth => {}
                () = sleep(wait.unwrap_or_default()), if wait.is_some() => {}
            }
        }
    }

    /// Proposes one entry and hands its answers out.
    async fn submit(&self, batch: Vec<Waiting>) {
        let mut commands = Vec::with_capacity(batch.len());
        let mut callers = Vec::with_capacity(batch.len());
        for waiting in batch {
            commands.push(waiting.command);
            callers.push(waiting.answer);
        }
        let started = self.clock.monotonic();
        match self.write(commands).await {
            Ok(Answers(answers)) => {
                for (caller, answer) in callers.into_iter().zip(answers) {
                    // Whoever stopped waiting does not want it.
                    drop(caller.send(Ok(answer)));
                }
            }
            Err(error) => refuse(callers, &error),
        }
        self.proposer.queue.answered();
        let took = self.clock.monotonic().saturating_sub(started);
        self.proposer.metrics.proposal_seconds.observe(took.as_secs_f64());
    }

    async fn write(&self, commands: Vec<Bytes>) -> Result<Answers, ProposeError> {
        let bytes = commands_record_len(commands.iter().map(Bytes::len));
        let installs = self.core.machine.installs();
        let _room = self.proposer.room.reserve(bytes as u64).await?;
        let sent = self.core.raft.client_write_ff(Commands(commands)).await;
        self.proposer.metrics.entries.inc();
        let outcome = sent.map_err(|fatal| ProposeError::Stopped { reason: fatal.to_string() })?;
        // The library answers what is applied or taken out of the log. What a snapshot covers is neither, and would wait for ever.
        let covered = async {
            self.core.machine.installed(installs).await;
            sleep(INSTALLED_GRACE).await;
        };
        let outcome = tokio::select! {
            biased;
            outcome = outcome => outcome,
            () = covered => return Err(unknown("a snapshot replaced the log meanwhile")),
        };
        match outcome {
            Ok(Ok(written)) => Ok(written.data),
            // A snapshot that replaces the log may hold an entry that the library calls gone.
            Ok(Err(ClientWriteError::ForwardToLeader(_))) if self.core.machine.installs() != installs => {
                Err(unknown("a snapshot replaced the log meanwhile"))
            }
            Ok(Err(ClientWriteError::ForwardToLeader(to))) => Err(ProposeError::NotLeader { leader: to.leader_id }),
            Ok(Err(ClientWriteError::ChangeMembershipError(error))) => Err(unknown(&error.to_string())),
            Err(_) => Err(unknown("the group's core ended")),
        }
    }
}

fn refuse(callers: Vec<oneshot::Sender<Result<Bytes, ProposeError>>>, error: &ProposeError) {
    for caller in callers {
        drop(caller.send(Err(error.clone())));
    }
}
