//! The node's directory: one process at a time, and the node's name.
//!
//! `lock` is locked while a process runs. `node.json` holds the node id: drawn once, never used again by a node with another
//! log, so a log that is gone is not replaced in silence.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::fs::{Fs, LockGuard, read_all, replace};
use crate::meta::Cluster;

/// Why a node's directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    #[error("{dir} is used by another process, which holds the lock file {lock}")]
    Locked { dir: PathBuf, lock: PathBuf },
    #[error("node directory, at {path}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} does not name a node: {reason}")]
    Damaged { path: PathBuf, reason: String },
    #[error("{path} has version {version}, which this program does not know")]
    Version { path: PathBuf, version: u32 },
    #[error("{dir} has a log but no {name}: the log belongs to a node whose name is gone")]
    NoName { dir: PathBuf, name: &'static str },
}

const NAME_FILE: &str = "node.json";
const VERSION: u32 = 1;

/// Who this node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    version: u32,
    node_id: u64,
    /// All groups have existed; the log can no longer be empty.
    initialized: bool,
    /// The cluster it is in: that took it in, or as it was when the node was last opened. Missing where it was opened by a program that
    /// knew no others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cluster: Option<InCluster>,
    /// The cluster has had other members, which may count on what is here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    had_others: bool,
    /// The node gave its last name up, and comes back through these addresses; until it has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    comes_back_through: Vec<String>,
    /// What the node had under its last name is still to be removed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_unclean: bool,
}

impl Identity {
    fn fresh(node_id: u64) -> Self {
        Self {
            version: VERSION,
            node_id,
            initialized: false,
            cluster: None,
            had_others: false,
            comes_back_through: Vec::new(),
            is_unclean: false,
        }
    }
}

/// A node's cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InCluster {
    /// 32 hexadecimal digits.
    pub id: String,
    /// Empty until it has one.
    pub name: String,
}

impl InCluster {
    fn of(cluster: &Cluster) -> Self {
        Self { id: cluster.id.clone(), name: cluster.name.clone() }
    }
}

/// A locked directory. Dropping it unlocks it.
#[derive(Debug)]
pub struct NodeDir {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    identity: Option<Identity>,
    _lock: LockGuard,
}

impl NodeDir {
    /// Takes the directory, made if it is missing, for this process.
    pub fn lock(fs: Arc<dyn Fs>, dir: &Path) -> Result<Self, DirError> {
        let io_error = |path: &Path, source| DirError::Io { path: path.to_owned(), source };
        fs.create_dir_all(dir).map_err(|error| io_error(dir, error))?;
        let lock_path = dir.join("lock");
        let lock = fs.lock(&lock_path).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => DirError::Locked { dir: dir.to_owned(), lock: lock_path.clone() },
            _ => io_error(&lock_path, error),
        })?;
        let identity = read_identity(&*fs, &dir.join(NAME_FILE))?;
        let dir = Self { fs, path: dir.to_owned(), identity, _lock: lock };
        if dir.identity.is_none() && dir.has_log() {
            return Err(DirError::NoName { dir: dir.path, name: NAME_FILE });
        }
        Ok(dir)
    }

    fn has_log(&self) -> bool {
        let names = self.fs.list(&self.log_dir()).unwrap_or_default();
        names.iter().any(|name| crate::log::segment::parse_name(name).is_some())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn fs(&self) -> Arc<dyn Fs> {
        Arc::clone(&self.fs)
    }

    pub(crate) fn log_dir(&self) -> PathBuf {
        self.path.join("log")
    }

    pub(crate) fn meta_dir(&self) -> PathBuf {
        self.path.join("meta")
    }

    /// The node's id: `fresh` from now on if it has none.
    pub(crate) fn node_id(&mut self, fresh: u64) -> Result<u64, DirError> {
        match &self.identity {
            Some(identity) => Ok(identity.node_id),
            None => {
                self.write(Identity::fresh(fresh))?;
                Ok(fresh)
            }
        }
    }

    pub(crate) fn is_initialized(&self) -> bool {
        self.identity.as_ref().is_some_and(|identity| identity.initialized)
    }

    /// The cluster that took the node in, or that it was in when it was last open.
    pub fn cluster(&self) -> Option<&InCluster> {
        self.identity.as_ref()?.cluster.as_ref()
    }

    /// A cluster has taken the node in. Written before the node takes part in anything: from then on it may have a vote there, and a
    /// cluster that cannot commit without that vote could not take it in once more. What the directory has from a name that was given
    /// up goes before that: whoever takes a node in has seen that nothing is lost by it.
    pub(crate) fn join(&mut self, cluster: &Cluster) -> Result<(), DirError> {
        self.clean()?;
        let cluster = Some(InCluster::of(cluster));
        match &self.identity {
            Some(identity) if identity.cluster != cluster => self.write(Identity { cluster, ..identity.clone() }),
            _ => Ok(()),
        }
    }

    /// All groups have existed, in this cluster.
    pub(crate) fn record(&mut self, cluster: &Cluster) -> Result<(), DirError> {
        let cluster = Some(InCluster::of(cluster));
        match &self.identity {
            Some(identity) if !identity.initialized || identity.cluster != cluster => {
                self.write(Identity { initialized: true, cluster, comes_back_through: Vec::new(), ..identity.clone() })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn had_others(&self) -> bool {
        self.identity.as_ref().is_some_and(|identity| identity.had_others)
    }

    /// The cluster has other members.
    pub(crate) fn note_others(&mut self) -> Result<(), DirError> {
        match &self.identity {
            Some(identity) if !identity.had_others => self.write(Identity { had_others: true, ..identity.clone() }),
            _ => Ok(()),
        }
    }

    /// Gives the node's name up, for what is on disk is not what others count on: it is a fresh node from now on, which joins its
    /// cluster through these addresses. Until it is taken in, what it had stays.
    pub(crate) fn begin_anew(&mut self, fresh: u64, through: Vec<String>) -> Result<(), DirError> {
        self.write(Identity { comes_back_through: through, is_unclean: true, ..Identity::fresh(fresh) })
    }

    /// Whether what the directory has is from a name that was given up.
    pub(crate) fn is_unclean(&self) -> bool {
        self.identity.as_ref().is_some_and(|identity| identity.is_unclean)
    }

    /// Addresses through which a node comes back that gave its name up; none for others.
    pub(crate) fn comes_back_through(&self) -> &[String] {
        self.identity.as_ref().map_or(&[], |identity| &identity.comes_back_through)
    }

    /// Copies of damaged segments are kept. May be repeated after a crash.
    fn clean(&mut self) -> Result<(), DirError> {
        let Some(identity) = self.identity.clone().filter(|identity| identity.is_unclean) else { return Ok(()) };
        for (dir, is_old) in
            [(self.log_dir(), crate::log::is_file_name as fn(&str) -> bool), (self.meta_dir(), |_| true)]
        {
            remove_files(&*self.fs, &dir, is_old).map_err(|source| DirError::Io { path: dir, source })?;
        }
        self.write(Identity { is_unclean: false, ..identity })
    }

    fn write(&mut self, identity: Identity) -> Result<(), DirError> {
        let path = self.path.join(NAME_FILE);
        let json = serde_json::to_vec(&identity).map_err(io::Error::other);
        json.and_then(|json| replace(&*self.fs, &path, &json)).map_err(|source| DirError::Io { path, source })?;
        self.identity = Some(identity);
        Ok(())
    }
}

fn remove_files(fs: &dyn Fs, dir: &Path, which: fn(&str) -> bool) -> io::Result<()> {
    let names = match fs.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        names => names?,
    };
    for name in names.iter().filter(|name| which(name)) {
        fs.remove(&dir.join(name))?;
    }
    fs.sync_dir(dir)
}

fn read_identity(fs: &dyn Fs, path: &Path) -> Result<Option<Identity>, DirError> {
    let bytes = match fs.open(path).and_then(|file| read_all(&*file)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(DirError::Io { path: path.to_owned(), source }),
    };
    let damaged = |error: serde_json::Error| DirError::Damaged { path: path.to_owned(), reason: error.to_string() };
    let identity: Identity = serde_json::from_slice(&bytes).map_err(damaged)?;
    if identity.version != VERSION {
        return Err(DirError::Version { path: path.to_owned(), version: identity.version });
    }
    Ok(Some(identity))
}
