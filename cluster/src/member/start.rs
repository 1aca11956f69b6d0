//! The start of a member: asks, decides, and opens the node. One whose part of the metadata is damaged or gone gives its name up and
//! joins as another node.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use parking_lot::Mutex;
use pharos_model::PartitionId;
use tracing::{error, info};

use super::book::{Book, Heard};
use super::front::{Front, heard};
use super::messages::{self, Admission, Application};
use super::{MemberError, MemberOptions, Phase};
use crate::founding::{Decision, Flags, OwnState, Probe, Way, addresses, decide};
use crate::fs::Fs;
use crate::group::Start;
use crate::node::{ClusterOptions, Node, NodeDir, NodeError, NodeOptions, OpenPartition};
use crate::peers::{NodeId, Peers, Service};
use crate::rpc::introduction::{Door, Introduction};
use crate::rpc::{AskError, Network, Setup};
use crate::service::GroupService;

/// Nodes that are probed at once.
const PROBES_AT_ONCE: usize = 16;

/// A node that is open among others.
pub(super) struct Started {
    pub(super) node: Arc<Node>,
    pub(super) network: Arc<Network>,
    pub(super) book: Arc<Book>,
    pub(super) random: fastrand::Rng,
}

/// How the node takes part.
enum Entry {
    Found,
    Joined(Admission),
    GoOn { cluster: String },
}

/// Between half of a pause and all of it.
pub(super) fn jittered(pause: Duration, random: &mut fastrand::Rng) -> Duration {
    pause.mul_f64(0.5 + random.f64() / 2.0)
}

/// What a node says about itself; whom it knows is left out.
pub(super) fn introduce(flags: &Flags, node: NodeId, cluster: Option<String>) -> Introduction {
    Introduction {
        process: flags.process,
        name: flags.name.clone(),
        node,
        address: flags.address.clone(),
        initial_nodes: flags.initial_nodes.clone(),
        cluster,
        members: Vec::new(),
        removed: Vec::new(),
        revision: 0,
    }
}

pub(super) async fn start(
    fs: Arc<dyn Fs>,
    path: &Path,
    open: OpenPartition,
    options: &MemberOptions,
) -> Result<Started, MemberError> {
    let book = Arc::new(Book::default());
    let error = match start_once(&fs, path, &open, options, Arc::clone(&book)).await {
        Err(MemberError::Node(error)) if error.costs_the_name() => error,
        started => return started,
    };
    let through = others(&book, &options.flags);
    if through.is_empty() {
        return Err(error.into());
    }
    error!(
        error = &error as &dyn std::error::Error,
        "what this node has of the cluster's metadata is not what others count on: it gives its name up and joins as another node; what it has is removed once it is taken in"
    );
    NodeDir::lock(Arc::clone(&fs), path)?.begin_anew(options.node.fresh.node, through)?;
    start_once(&fs, path, &open, options, Arc::default()).await
}

/// Addresses of other members, as far as this node knows, and of nodes that may know.
fn others(book: &Book, flags: &Flags) -> Vec<String> {
    let mut others: BTreeSet<String> = book.known().members.into_values().collect();
    others.extend(addresses(flags).into_iter().map(str::to_owned));
    others.remove(&flags.address);
    others.into_iter().collect()
}

/// What is left over by a crash is removed when a partition comes here again.
async fn remove_stores(options: &MemberOptions) -> Result<(), NodeError> {
    for partition in (0..options.node.partitions).map(PartitionId) {
        let remove = Arc::clone(&options.node.cluster.remove);
        let removed = crate::blocking::spawn(move || remove(partition)).await;
        let removed = removed.map_err(|error| NodeError::Task { reason: error.to_string() })?;
        removed.map_err(|source| NodeError::RemoveStore { partition, source })?;
    }
    Ok(())
}

async fn start_once(
    fs: &Arc<dyn Fs>,
    path: &Path,
    open: &OpenPartition,
    options: &MemberOptions,
    book: Arc<Book>,
) -> Result<Started, MemberError> {
    let mut dir = NodeDir::lock(Arc::clone(fs), path)?;
    if dir.is_initialized() && dir.cluster().is_none() {
        // From a program that knew no other nodes: its cluster is written in its log only.
        let alone = NodeOptions { cluster: ClusterOptions::alone(), ..options.node.clone() };
        Node::open(dir, alone, Arc::clone(open)).await?.shutdown().await;
        dir = NodeDir::lock(Arc::clone(fs), path)?;
    }
    let own = dir.node_id(options.node.fresh.node)?;
    let network = Arc::new(network(own, &book, options)?);
    let groups = Arc::new(GroupService::default());
    // Said from the first moment on: a node that was taken for fresh once would let another found the cluster anew.
    let cluster = OnceLock::new();
    if let Some(known) = dir.cluster() {
        cluster.get_or_init(|| known.id.clone());
    }
    let front = Arc::new(Front {
        own,
        flags: options.flags.clone(),
        book: Arc::clone(&book),
        groups: Arc::clone(&groups),
        application: Arc::clone(&options.application),
        clock: Arc::clone(&options.node.clock),
        lead_silence: options.node.cluster.times.election_max * 2,
        cluster,
        node: OnceLock::new(),
    });
    network.serve(&options.listen, Arc::clone(&front) as Arc<dyn Service>, Arc::clone(&front) as Arc<dyn Door>).await?;

    let mut random = fastrand::Rng::with_seed(options.seed);
    let flags = flags(&dir, &options.flags);
    let starting = Starting { own, options, flags: &flags, network: &network, book: &book, silent: Mutex::default() };
    let state = match dir.cluster() {
        Some(cluster) => OwnState::Member { node: own, cluster: cluster.id.clone(), name: cluster.name.clone() },
        None => OwnState::Fresh,
    };
    let opened = async {
        let entry = starting.enter(&state, &mut random).await?;
        if let Entry::Joined(admission) = &entry {
            if dir.is_unclean() {
                remove_stores(options).await?;
            }
            dir.join(&admission.cluster)?;
        }
        starting.tell(Phase::Opening);
        let expected = match &entry {
            Entry::Found => None,
            Entry::Joined(admission) => Some(admission.cluster.id.clone()),
            Entry::GoOn { cluster } => Some(cluster.clone()),
        };
        if let Some(cluster) = &expected {
            // Before the node is open: others are needed for that, and have to reach it.
            network.enter(cluster);
            front.cluster.get_or_init(|| cluster.clone());
        }
        let node = Node::open(dir, starting.node_options(&entry, &groups), Arc::clone(open)).await?;
        let found = node.cluster().id.clone();
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            node.shutdown().await;
            return Err(MemberError::OtherCluster { expected, found });
        }
        let node = Arc::new(node);
        // In this order: who hears that there is a cluster may ask to be taken in.
        front.node.get_or_init(|| Arc::downgrade(&node));
        network.enter(&found);
        front.cluster.get_or_init(|| found);
        Ok(node)
    };
    match opened.await {
        Ok(node) => Ok(Started { node, network, book, random }),
        Err(error) => {
            network.close().await;
            Err(error)
        }
    }
}

/// How the node is to take part. One that comes back under another name founds nothing: its cluster is there.
fn flags(dir: &NodeDir, given: &Flags) -> Flags {
    match dir.comes_back_through() {
        [] => given.clone(),
        through => Flags { initial_nodes: Vec::new(), join: through.to_vec(), ..given.clone() },
    }
}

fn network(own: NodeId, book: &Arc<Book>, options: &MemberOptions) -> Result<Network, MemberError> {
    Ok(Network::new(Setup {
        cluster: options.flags.name.clone(),
        node: own,
        address: options.flags.address.clone(),
        members: book.members(),
        security: options.security.clone(),
        transport: Arc::clone(&options.transport),
        clock: Arc::clone(&options.node.clock),
        seed: options.seed,
        options: options.rpc.clone(),
        metrics: options.rpc_metrics.clone(),
    })?)
}

struct Starting<'a> {
    own: NodeId,
    options: &'a MemberOptions,
    flags: &'a Flags,
    network: &'a Arc<Network>,
    book: &'a Arc<Book>,
    /// Why addresses do not answer, as it was logged.
    silent: Mutex<BTreeMap<String, String>>,
}

impl Starting<'_> {
    /// Asks until it is decided how the node takes part.
    async fn enter(&self, state: &OwnState, random: &mut fastrand::Rng) -> Result<Entry, MemberError> {
        let flags = self.flags;
        let mut asked: usize = 0;
        loop {
            let probes = self.probe(state).await?;
            match decide(state, flags, &probes) {
                Decision::Refuse { reason } => return Err(MemberError::Refused { reason }),
                Decision::Found => return Ok(Entry::Found),
                Decision::GoOn => {
                    let OwnState::Member { cluster, .. } = state else {
                        unreachable!("only a member goes on as one");
                    };
                    return Ok(Entry::GoOn { cluster: cluster.clone() });
                }
                Decision::Wait { whom, why } => self.tell(Phase::Waiting { whom, why }),
                Decision::Join { mut ways } => {
                    let way = ways.swap_remove(asked % ways.len());
                    asked += 1;
                    if let Some(admission) = self.apply(way).await {
                        return Ok(Entry::Joined(admission));
                    }
                }
            }
            tokio::time::sleep(jittered(self.options.times.probe, random)).await;
        }
    }

    /// Asks all addresses at once. A refusal is meant for this node, and waiting does not help against it.
    async fn probe(&self, state: &OwnState) -> Result<Vec<Probe>, MemberError> {
        let cluster = match state {
            OwnState::Fresh => None,
            OwnState::Member { cluster, .. } => Some(cluster.clone()),
        };
        let me = introduce(&self.options.flags, self.own, cluster.clone());
        let me = &me;
        let asked = addresses(self.flags).into_iter().map(str::to_owned).map(|address| async move {
            let answer = self.network.probe(&address, me).await;
            (address, answer)
        });
        let answers: Vec<_> = stream::iter(asked).buffer_unordered(PROBES_AT_ONCE).collect().await;
        let mut probes = Vec::new();
        for (address, answer) in answers {
            let answer = match answer {
                Ok(introduction) => {
                    if cluster.is_some() && introduction.cluster == cluster {
                        self.book.hear(heard(introduction.clone()));
                    }
                    Some(introduction.into_answer())
                }
                Err(AskError::Silent { reason, .. }) => {
                    self.tell_silence(&address, reason);
                    None
                }
                Err(error @ AskError::Refused { .. }) => {
                    return Err(MemberError::Refused { reason: error.to_string() });
                }
            };
            probes.push(Probe { address, answer });
        }
        Ok(probes)
    }

    /// Asks to be taken in. What is refused is asked again, with the reason told: the cluster may have no leader now.
    async fn apply(&self, Way { through, replaces }: Way) -> Option<Admission> {
        let me = introduce(&self.options.flags, self.own, None);
        // Taken in before, by an answer that got lost.
        let replaces = replaces.filter(|node| *node != self.own);
        let application = Application { http: self.options.http.clone(), zone: self.options.zone.clone(), replaces };
        let patience = self.options.times.admission;
        let answer = self.network.apply(&through, &me, messages::encode(&application), patience).await;
        let admission = match answer {
            Ok(answer) => messages::decode::<Admission>(&answer).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match admission {
            Ok(admission) => {
                let members = admission.members.iter().cloned().collect();
                self.book.hear(Heard { revision: admission.revision, members, ..Heard::default() });
                Some(admission)
            }
            Err(reason) => {
                self.tell(Phase::Joining { through, reason: Some(reason) });
                None
            }
        }
    }

    /// Logs why an address does not answer, once for each reason: wrong certificates look like nobody to who waits.
    fn tell_silence(&self, address: &str, reason: String) {
        let mut silent = self.silent.lock();
        if silent.get(address) != Some(&reason) {
            info!(address, reason, "no answer from another node, it is asked again");
            silent.insert(address.to_owned(), reason);
        }
    }

    /// Tells where the start is, and logs it when that changes.
    fn tell(&self, phase: Phase) {
        let changed = self.options.phase.send_if_modified(|now| {
            let changed = *now != phase;
            now.clone_from(&phase);
            changed
        });
        if !changed {
            return;
        }
        match phase {
            Phase::Waiting { whom, why } => {
                let mut names = whom.join(", ");
                if names.is_empty() {
                    let _ = write!(names, "nobody");
                }
                info!(whom = names, ?why, "this node waits for others");
            }
            Phase::Joining { through, reason } => {
                info!(through, reason, "this node is not taken in yet, it asks again");
            }
            Phase::Opening => info!("this node opens its directory"),
            Phase::Asking | Phase::Member => {}
        }
    }

    fn node_options(&self, entry: &Entry, groups: &Arc<GroupService>) -> NodeOptions {
        let given = &self.options.node;
        let mut options = given.clone();
        if let Entry::Joined(admission) = entry {
            options.partitions = admission.cluster.partitions;
        }
        options.cluster = ClusterOptions {
            peers: Arc::clone(self.network) as Arc<dyn Peers>,
            service: Arc::clone(groups),
            start: if matches!(entry, Entry::Found) { Start::Found } else { Start::Join },
            replicas: self.book.replicas(),
            remove: Arc::clone(&given.cluster.remove),
            times: given.cluster.times,
            name: self.options.flags.name.clone(),
            place: self.options.place(),
            topology: self.book.view.clone(),
        };
        options
    }
}
