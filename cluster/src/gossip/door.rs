//! Which datagrams are opened, and what is said of those that are not.
//!
//! Cheap questions come first: a stranger's datagram costs a look at a few bytes, a member's the check of its counter, and only what could
//! be new costs work with keys. That is bounded for each sender that a datagram names, so that whoever forges one member's name keeps out
//! no other's. Bounded memory: members only, each with a few processes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ring::aead::LessSafeKey;
use tracing::warn;

use super::datagram::{self, Header, Malformed};
use super::keys::{KeyId, Keys};
use super::metrics::GossipMetrics;
use super::window::Window;
use crate::peers::NodeId;
use crate::rpc::identity::{Members, Standing};

/// Datagrams in the name of one node that are opened in a second: a node sends another about six.
const OPENED_PER_SECOND_MAX: u32 = 100;
/// Processes of a node whose counters are remembered.
const PROCESSES_MAX: usize = 4;
const SECOND: Duration = Duration::from_secs(1);
/// Refusals that go on for so long are logged: nodes that come and go have some.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two lines of the log about the same.
const LOGGED_EVERY: Duration = Duration::from_secs(60);

/// Why a datagram is not taken. The text says what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Refusal {
    Foreign,
    Version(u8),
    Own,
    Stranger(NodeId),
    Removed(NodeId),
    OtherSecret(NodeId),
    TooMany(NodeId),
    Repeated(NodeId),
    Forged(NodeId),
    Unreadable(NodeId),
}

impl Refusal {
    /// In metrics.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Foreign => "foreign",
            Self::Version(_) => "version",
            Self::Own => "own",
            Self::Stranger(_) => "stranger",
            Self::Removed(_) => "removed",
            Self::OtherSecret(_) => "other_secret",
            Self::TooMany(_) => "too_many",
            Self::Repeated(_) => "repeated",
            Self::Forged(_) => "forged",
            Self::Unreadable(_) => "unreadable",
        }
    }

    /// The node in whose name the datagram came.
    fn node(self) -> Option<NodeId> {
        match self {
            Self::Foreign | Self::Version(_) | Self::Own => None,
            Self::Stranger(node)
            | Self::Removed(node)
            | Self::OtherSecret(node)
            | Self::TooMany(node)
            | Self::Repeated(node)
            | Self::Forged(node)
            | Self::Unreadable(node) => Some(node),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str(
                "what comes to the gossip's port is no gossip: somebody floods or probes it; let only nodes of the cluster reach it",
            ),
            Self::Version(version) => write!(
                f,
                "a node gossips in version {version} of the format, this one knows 1: upgrade the older one, one release at a time"
            ),
            Self::Own => f.write_str(
                "what this node gossips comes back to it, or another node has its id: look for a directory that was copied, and for \
                 somebody who sends datagrams back",
            ),
            Self::Stranger(node) => write!(
                f,
                "node {node:016x} gossips, and is no member of this cluster: check the addresses that it was given, and let only nodes of \
                 the cluster reach this port"
            ),
            Self::Removed(node) => write!(
                f,
                "node {node:016x} gossips, and was removed from the cluster: stop it, or start it with an empty directory to join as a new node"
            ),
            Self::OtherSecret(node) => write!(
                f,
                "node {node:016x} gossips with another secret: the file of --cluster.gossip-secret-file has to say the same on all nodes; to \
                 change it, add the new secret as a last line everywhere, then make it the first, then take the old one out"
            ),
            Self::TooMany(node) => write!(
                f,
                "more gossip comes in the name of node {node:016x} than a node sends: somebody floods the port, or two nodes have one id; let \
                 only nodes of the cluster reach it"
            ),
            Self::Repeated(node) => write!(
                f,
                "datagrams of node {node:016x} come again: a network that doubles them is harmless, somebody who records them should not be \
                 there"
            ),
            Self::Forged(node) => write!(
                f,
                "gossip in the name of node {node:016x} is not sealed by the cluster's secret though it says so: somebody forges or damages it; \
                 let only nodes of the cluster reach this port"
            ),
            Self::Unreadable(node) => write!(
                f,
                "node {node:016x} gossips something that this version cannot read: upgrade the older one, one release at a time"
            ),
        }
    }
}

/// The way in of one node's gossip.
pub struct Door {
    own: NodeId,
    keys: Keys,
    members: Members,
    senders: BTreeMap<NodeId, Sender>,
    complaints: BTreeMap<&'static str, Complaint>,
    metrics: GossipMetrics,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("own", &self.own).field("keys", &self.keys).finish_non_exhaustive()
    }
}

/// What came in the name of a node.
#[derive(Default)]
struct Sender {
    /// The one that was heard last is the first.
    processes: Vec<Process>,
    /// Opened in the second that began then.
    second: Duration,
    opened: u32,
    refused: Option<(Refusal, Duration)>,
}

struct Process {
    process: u64,
    window: Window,
    keys: Vec<(KeyId, Arc<LessSafeKey>)>,
}

/// Refusals for the same reason, as far as they were not told yet.
#[derive(Clone, Copy, Default)]
struct Complaint {
    datagrams: u64,
    /// Not before then.
    told_from: Duration,
    /// Of the last refusal: a reason that did not come up for long begins anew.
    last: Option<Duration>,
}

impl Complaint {
    /// One refusal more; how many there are to tell, when it is time.
    fn add(&mut self, now: Duration) -> Option<u64> {
        if self.last.is_none_or(|last| now.saturating_sub(last) >= LOGGED_EVERY) {
            *self = Self { datagrams: 0, told_from: now + PATIENCE, last: None };
        }
        self.datagrams += 1;
        self.last = Some(now);
        if now < self.told_from {
            return None;
        }
        self.told_from = now + LOGGED_EVERY;
        Some(std::mem::take(&mut self.datagrams))
    }
}

/// What a datagram says.
#[derive(Debug)]
pub struct Opened<'a> {
    pub node: NodeId,
    pub message: Cow<'a, [u8]>,
}

impl Door {
    pub fn new(own: NodeId, keys: Keys, members: Members, metrics: GossipMetrics) -> Self {
        Self { own, keys, members, senders: BTreeMap::new(), complaints: BTreeMap::new(), metrics }
    }

    /// From now on these open. What was seen stays seen.
    pub(super) fn replace_keys(&mut self, keys: Keys) {
        self.keys = keys;
        for sender in self.senders.values_mut() {
            sender.processes.iter_mut().for_each(|process| process.keys.clear());
            sender.refused = None;
        }
    }

    /// Opens a datagram that came at `now`, by the monotonic clock. What it refuses it counts, and tells when that goes on.
    pub fn take<'a>(&mut self, datagram: &'a mut [u8], from: SocketAddr, now: Duration) -> Option<Opened<'a>> {
        self.metrics.received_datagrams.inc();
        self.metrics.received_bytes.inc_by(datagram.len() as u64);
        match self.open(datagram, now) {
            Ok(opened) => Some(opened),
            Err(refusal) => {
                self.refuse(refusal, from, now);
                None
            }
        }
    }

    fn open<'a>(&mut self, bytes: &'a mut [u8], now: Duration) -> Result<Opened<'a>, Refusal> {
        let header = Header::decode(bytes).map_err(|malformed| match malformed {
            Malformed::Foreign => Refusal::Foreign,
            Malformed::Version(version) => Refusal::Version(version),
        })?;
        let node = header.node;
        if node == self.own {
            return Err(Refusal::Own);
        }
        match (self.members)(node) {
            Standing::Member { .. } => {}
            Standing::Removed => return Err(Refusal::Removed(node)),
            Standing::Unknown => return Err(Refusal::Stranger(node)),
        }
        let root = self.keys.get(header.key).ok_or(Refusal::OtherSecret(node))?;
        let sender = self.senders.entry(node).or_default();
        let known = sender.processes.iter().position(|process| process.process == header.process);
        if known.is_some_and(|at| !sender.processes[at].window.is_new(header.counter)) {
            return Err(Refusal::Repeated(node));
        }
        if !sender.may_open(now) {
            return Err(Refusal::TooMany(node));
        }
        let cached = known.and_then(|at| sender.processes[at].key(header.key));
        let key = cached.unwrap_or_else(|| Arc::new(root.of_process(node, header.process)));
        let opened = datagram::open(&key, &header, bytes).ok_or(Refusal::Forged(node))?;
        sender.take(known, &header, key);
        let message = datagram::unpack(opened).ok_or(Refusal::Unreadable(node))?;
        Ok(Opened { node, message })
    }

    /// Counts a refusal and tells of it, once a minute.
    pub(super) fn refuse(&mut self, refusal: Refusal, from: SocketAddr, now: Duration) {
        let reason = refusal.reason();
        self.metrics.refused(reason).inc();
        if let Some(node) = refusal.node()
            && matches!((self.members)(node), Standing::Member { .. })
        {
            self.senders.entry(node).or_default().refused = Some((refusal, now));
        }
        let complaint = self.complaints.entry(reason).or_default();
        if let Some(datagrams) = complaint.add(now) {
            warn!(reason, datagrams, %from, "gossip is refused: {refusal}");
        }
    }

    /// Why the last datagram in the name of a member was refused, if that was within `age`.
    pub(super) fn refused(&self, node: NodeId, now: Duration, age: Duration) -> Option<Refusal> {
        let (refusal, at) = self.senders.get(&node)?.refused?;
        (now.saturating_sub(at) <= age).then_some(refusal)
    }

    /// What is kept of a node goes, for it is no member any more.
    pub(super) fn keep_members(&mut self) {
        let members = &self.members;
        self.senders.retain(|sender, _| matches!(members(*sender), Standing::Member { .. }));
    }
}

impl Sender {
    fn may_open(&mut self, now: Duration) -> bool {
        if now.saturating_sub(self.second) >= SECOND {
            (self.second, self.opened) = (now, 0);
        }
        self.opened += 1;
        self.opened <= OPENED_PER_SECOND_MAX
    }

    /// A datagram that is who it says.
    fn take(&mut self, known: Option<usize>, header: &Header, key: Arc<LessSafeKey>) {
        let mut process = match known {
            Some(at) => self.processes.remove(at),
            None => Process { process: header.process, window: Window::default(), keys: Vec::new() },
        };
        process.window.take(header.counter);
        if process.key(header.key).is_none() {
            process.keys.push((header.key, key));
        }
        self.processes.insert(0, process);
        self.processes.truncate(PROCESSES_MAX);
    }
}

impl Process {
    fn key(&self, id: KeyId) -> Option<Arc<LessSafeKey>> {
        self.keys.iter().find(|(known, _)| *known == id).map(|(_, key)| Arc::clone(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_is_told_once_a_minute_and_what_passes_is_not() {
        let mut complaint = Complaint::default();
        let mut told = Vec::new();
        let seconds = (5..8).chain(100..105).chain(200..350);
        for second in seconds {
            if let Some(datagrams) = complaint.add(Duration::from_secs(second)) {
                told.push((second, datagrams));
            }
        }
        assert_eq!(told, [(210, 11), (270, 60), (330, 60)]);
    }
}
