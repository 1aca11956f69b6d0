//! All file access of this crate.
//!
//! Two implementations: [`Disk`], the machine's, and a simulated one for tests that loses unsynced data, fails syncs and runs
//! full. What is promised is what POSIX does: written bytes survive power loss after [`File::sync_data`], names (created,
//! renamed, removed) after [`Fs::sync_dir`] of their directory.

mod disk;
#[cfg(test)]
pub(crate) mod sim;

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

pub use disk::Disk;

/// A directory tree.
pub trait Fs: Debug + Send + Sync + 'static {
    /// A new empty file, open for reading and writing. An existing one is emptied.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Replaces `to` in one step if it exists.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Names of the plain files directly in `dir`, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Makes a directory and those above it; the names of new ones survive power loss when it returns.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes the exclusive lock `path` until the guard is dropped; `WouldBlock` when another process or guard has it.
    fn lock(&self, path: &Path) -> io::Result<LockGuard>;
    /// How long the next write and its sync take in a simulation.
    #[cfg(test)]
    fn latency(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }
}

/// An open file. Positions are byte offsets from its start.
pub trait File: Debug + Send + Sync + 'static {
    /// Size in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Fills `buffer`; `UnexpectedEof` when the file ends before.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `bytes`, growing the file where needed. After an error any part of them may be written.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes what was written durable. After an error nothing unsynced may be trusted, and a later success proves nothing.
    fn sync_data(&self) -> io::Result<()>;
}

/// Holds a lock file while it lives.
#[derive(Debug)]
pub struct LockGuard {
    #[expect(dead_code, reason = "held for its drop")]
    held: Box<dyn LockHeld>,
}

trait LockHeld: Debug + Send + Sync {}

/// The whole of a file.
pub fn read_all(file: &dyn File) -> io::Result<Vec<u8>> {
    let len = usize::try_from(file.size()?).map_err(io::Error::other)?;
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Makes `bytes` the content of `path`: after a crash at any moment the file has either the old content or the new.
pub fn replace(fs: &dyn Fs, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let Some(dir) = path.parent() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a file needs a directory"));
    };
    let draft = path.with_extension("tmp");
    let file = fs.create(&draft)?;
    file.write_all_at(bytes, 0)?;
    file.sync_data()?;
    fs.rename(&draft, path)?;
    fs.sync_dir(dir)
}
