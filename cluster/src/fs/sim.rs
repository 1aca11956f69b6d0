//! A file system in memory that misbehaves on demand: loses power in the middle of an operation, runs full, fails syncs.
//!
//! Data is durable sector by sector after `sync_data`, names after `sync_dir`. Power loss keeps any subset of the unsynced
//! sectors and any prefix of the unsynced changes of names.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::{File, Fs, LockGuard, LockHeld};

const SECTOR_BYTES: usize = 512;

/// Handles of one simulated machine. Clones share it.
#[derive(Clone)]
pub(crate) struct Sim {
    state: Arc<Mutex<State>>,
    released: Arc<Condvar>,
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sim")
    }
}

#[derive(Default)]
struct State {
    nodes: BTreeMap<u64, Node>,
    next_node: u64,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    pending_names: Vec<NameChange>,
    locks: BTreeSet<PathBuf>,
    faults: Faults,
    /// What is left after the power went.
    image: Option<Sim>,
    syncs: u64,
}

#[derive(Clone)]
enum NameChange {
    Put(PathBuf, u64),
    Move(PathBuf, PathBuf),
    Remove(PathBuf),
}

#[derive(Clone, Default)]
struct Node {
    data: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
}

#[derive(Default)]
struct Faults {
    /// Bytes that files may still grow by.
    space_left: Option<u64>,
    /// Every write fails with this.
    write_error: Option<io::ErrorKind>,
    /// The next sync fails, and what it was to write is lost although later syncs succeed.
    sync_error: bool,
    /// The next change of this name fails.
    stuck_name: Option<PathBuf>,
    /// Syncs of files in this directory do nothing and say that they did.
    lies: Option<PathBuf>,
    /// Syncs wait.
    hold_syncs: bool,
    /// What a write takes at least and at most.
    latency: Option<(Duration, Duration, Random)>,
    /// The power goes during the operation that makes this zero.
    power: Option<(u64, Random)>,
}

/// A small generator: the simulation is a function of its seed.
#[derive(Clone, Copy)]
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }
}

impl Sim {
    pub(crate) fn new() -> Self {
        Self::with(State::default())
    }

    /// The power goes during the `operations`-th operation from now; `seed` decides what survives.
    pub(crate) fn lose_power_after(&self, operations: u64, seed: u64) {
        self.state.lock().faults.power = Some((operations, Random(seed)));
    }

    /// The power does not go after all, if it has not gone yet.
    pub(crate) fn spare_power(&self) {
        self.state.lock().faults.power = None;
    }

    /// Whether the power is gone.
    pub(crate) fn is_dark(&self) -> bool {
        self.state.lock().image.is_some()
    }

    /// The machine after the power came back. If it has not gone yet, `seed` decides what a loss now would leave; this
    /// machine goes on.
    pub(crate) fn reboot(&self, seed: u64) -> Self {
        let state = self.state.lock();
        match &state.image {
            Some(image) => image.kill(),
            None => state.after_power_loss(Random(seed)),
        }
    }

    /// The machine after the process was killed: nothing is lost, nothing more is synced.
    pub(crate) fn kill(&self) -> Self {
        let state = self.state.lock();
        Self::with(State {
            nodes: state.nodes.clone(),
            next_node: state.next_node,
            names: state.names.clone(),
            durable_names: state.durable_names.clone(),
            pending_names: state.pending_names.clone(),
            ..State::default()
        })
    }

    fn with(state: State) -> Self {
        Self { state: Arc::new(Mutex::new(state)), released: Arc::default() }
    }

    pub(crate) fn set_space_left(&self, bytes: Option<u64>) {
        self.state.lock().faults.space_left = bytes;
    }

    pub(crate) fn set_write_error(&self, error: Option<io::ErrorKind>) {
        self.state.lock().faults.write_error = error;
    }

    pub(crate) fn fail_next_sync(&self) {
        self.state.lock().faults.sync_error = true;
    }

    pub(crate) fn fail_next_change_of(&self, name: &Path) {
        self.state.lock().faults.stuck_name = Some(name.to_owned());
    }

    pub(crate) fn hold_syncs(&self, hold: bool) {
        self.state.lock().faults.hold_syncs = hold;
        self.released.notify_all();
    }

    /// What a write with its sync takes in a simulation; `seed` draws between the two.
    pub(crate) fn set_latency(&self, least: Duration, most: Duration, seed: u64) {
        self.state.lock().faults.latency = Some((least, most, Random(seed)));
    }

    /// From now on what is synced in files of this directory is lost with the power all the same.
    pub(crate) fn lie_about_syncs_in(&self, dir: &Path) {
        self.state.lock().faults.lies = Some(dir.to_owned());
    }

    /// Syncs of file data so far.
    pub(crate) fn syncs(&self) -> u64 {
        self.state.lock().syncs
    }

    pub(crate) fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state.lock();
        let node = state.names.get(path)?;
        Some(state.nodes[node].data.clone())
    }

    /// Makes a file with durable content.
    pub(crate) fn put(&self, path: &Path, content: Vec<u8>) {
        let mut state = self.state.lock();
        let id = state.next_node;
        state.next_node += 1;
        state.nodes.insert(id, Node { data: content.clone(), durable: content, dirty: BTreeSet::new() });
        state.names.insert(path.to_owned(), id);
        state.durable_names.insert(path.to_owned(), id);
    }

    pub(crate) fn delete(&self, path: &Path) {
        let mut state = self.state.lock();
        state.names.remove(path);
        state.durable_names.remove(path);
    }

    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.state.lock().names.keys().cloned().collect()
    }
}

impl State {
    fn check_name(&mut self, path: &Path) -> io::Result<()> {
        let stuck = self.faults.stuck_name.take_if(|name| name == path);
        stuck.map_or(Ok(()), |_| Err(io::Error::other("injected failure of a name")))
    }

    /// Every operation passes here. Tells whether this one is cut short by the loss of power.
    fn operate(&mut self) -> io::Result<bool> {
        if self.image.is_some() {
            return Err(io::Error::other("the power is gone"));
        }
        match &mut self.faults.power {
            Some((0, _)) => Ok(true),
            Some((left, _)) => {
                *left -= 1;
                Ok(false)
            }
            None => Ok(false),
        }
    }

    fn operate_whole(&mut self) -> io::Result<()> {
        if self.operate()? {
            return Err(self.go_dark());
        }
        Ok(())
    }

    fn go_dark(&mut self) -> io::Error {
        let random = self.faults.power.map_or(Random(0), |(_, random)| random);
        self.image = Some(self.after_power_loss(random));
        io::Error::other("the power went")
    }

    fn after_power_loss(&self, mut random: Random) -> Sim {
        let mut names = self.durable_names.clone();
        let applied = random.below(self.pending_names.len() as u64 + 1) as usize;
        for change in &self.pending_names[..applied] {
            change.apply(&mut names);
        }
        let nodes = self.nodes.iter().map(|(&id, node)| (id, node.after_power_loss(&mut random))).collect();
        Sim::with(Self { nodes, next_node: self.next_node, durable_names: names.clone(), names, ..Self::default() })
    }

    fn rename_all(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.pending_names.push(change);
    }

    fn lies_about(&self, node: u64) -> bool {
        let Some(dir) = &self.faults.lies else { return false };
        self.names.iter().any(|(path, named)| *named == node && path.parent() == Some(dir))
    }

    fn node(&mut self, path: &Path) -> io::Result<u64> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Put(path, node) => {
                names.insert(path.clone(), *node);
            }
            Self::Move(from, to) => {
                if let Some(node) = names.remove(from) {
                    names.insert(to.clone(), node);
                }
            }
            Self::Remove(path) => {
                names.remove(path);
            }
        }
    }
}

impl Node {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if self.data.len() < end {
            self.data.resize(offset.max(self.data.len()), 0);
            self.data.extend_from_slice(&bytes[self.data.len() - offset..]);
        }
        self.data[offset..end].copy_from_slice(bytes);
        self.dirty.extend(offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES));
    }

    fn sync(&mut self) {
        self.durable.resize(self.data.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            self.copy_sector(sector);
        }
    }

    fn copy_sector(&mut self, sector: usize) {
        let range = sector * SECTOR_BYTES..((sector + 1) * SECTOR_BYTES).min(self.data.len());
        self.durable[range.clone()].copy_from_slice(&self.data[range]);
    }

    fn after_power_loss(&self, random: &mut Random) -> Self {
        let mut node = self.clone();
        if node.data.len() > node.durable.len() && random.below(2) == 0 {
            node.durable.resize(node.data.len(), 0);
        }
        for sector in std::mem::take(&mut node.dirty) {
            if random.below(2) == 0 && (sector + 1) * SECTOR_BYTES <= node.durable.len() {
                node.copy_sector(sector);
            }
        }
        Self { data: node.durable.clone(), durable: node.durable, dirty: BTreeSet::new() }
    }
}

impl Fs for Sim {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut state = self.state.lock();
        state.operate_whole()?;
        let id = state.next_node;
        state.next_node += 1;
        state.nodes.insert(id, Node::default());
        state.rename_all(NameChange::Put(path.to_owned(), id));
        Ok(Arc::new(SimFile { sim: self.clone(), node: id }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut state = self.state.lock();
        state.operate_whole()?;
        let node = state.node(path)?;
        Ok(Arc::new(SimFile { sim: self.clone(), node }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.operate_whole()?;
        state.check_name(from)?;
        state.node(from)?;
        state.rename_all(NameChange::Move(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.operate_whole()?;
        state.check_name(path)?;
        let node = state.node(path)?;
        let size = state.nodes[&node].data.len() as u64;
        if let Some(left) = &mut state.faults.space_left {
            *left += size;
        }
        state.rename_all(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut state = self.state.lock();
        state.operate_whole()?;
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        self.state.lock().operate_whole()
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.operate_whole()?;
        state.pending_names.clear();
        state.durable_names = state.names.clone();
        Ok(())
    }

    fn latency(&self) -> Duration {
        let mut state = self.state.lock();
        let Some((least, most, random)) = &mut state.faults.latency else { return Duration::ZERO };
        let spread = (*most - *least).as_micros() as u64;
        *least + Duration::from_micros(random.below(spread + 1))
    }

    fn lock(&self, path: &Path) -> io::Result<LockGuard> {
        if !self.state.lock().locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(LockGuard { held: Box::new(SimLock { sim: self.clone(), path: path.to_owned() }) })
    }
}

#[derive(Debug)]
struct SimLock {
    sim: Sim,
    path: PathBuf,
}

impl LockHeld for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.sim.state.lock().locks.remove(&self.path);
    }
}

#[derive(Debug)]
struct SimFile {
    sim: Sim,
    node: u64,
}

impl File for SimFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.sim.state.lock().nodes[&self.node].data.len() as u64)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.sim.state.lock();
        let data = &state.nodes[&self.node].data;
        let found = data.get(offset as usize..offset as usize + buffer.len());
        buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.sim.state.lock();
        let state = &mut *state;
        if let Some(kind) = state.faults.write_error {
            return Err(kind.into());
        }
        let dark = state.operate()?;
        let node = state.nodes.get_mut(&self.node).expect("a file keeps its node");
        let growth = (offset + bytes.len() as u64).saturating_sub(node.data.len() as u64);
        if let Some(left) = &mut state.faults.space_left {
            if growth > *left {
                let fits = bytes.len() - (growth - *left) as usize;
                *left = 0;
                node.write(&bytes[..fits], offset as usize);
                return Err(io::ErrorKind::StorageFull.into());
            }
            *left -= growth;
        }
        node.write(bytes, offset as usize);
        if dark { Err(state.go_dark()) } else { Ok(()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.sim.state.lock();
        while state.faults.hold_syncs {
            self.sim.released.wait(&mut state);
        }
        state.operate_whole()?;
        state.syncs += 1;
        if state.lies_about(self.node) {
            return Ok(());
        }
        let failed = std::mem::take(&mut state.faults.sync_error);
        let node = state.nodes.get_mut(&self.node).expect("a file keeps its node");
        if failed {
            node.dirty.clear();
            return Err(io::Error::other("input/output error"));
        }
        node.sync();
        Ok(())
    }
}
