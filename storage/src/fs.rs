//! All file access of this crate's head goes through the two ports here, so that a full disk or a torn write can be
//! put in its way. Implementations: [`OsFileSystem`], and `faults::FaultyFileSystem` in tests.

mod map;

#[cfg(test)]
pub(crate) mod faults;

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

pub use map::Map;

/// The directory operations that the store needs.
pub trait FileSystem: fmt::Debug + Send + Sync {
    /// Makes a directory and those above it; the names of new ones are durable when it returns.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Names in a directory, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Opens for reading and writing; an absent file is created.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// One open file.
pub trait File: fmt::Debug + Send + Sync {
    fn len(&self) -> io::Result<u64>;
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }
    /// Writes all bytes or fails; after a failure any part of them may be there.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes data and length durable.
    fn sync(&self) -> io::Result<()>;
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// The first `len` bytes, as later writes through this port change them; the file may be shorter as yet. Only what
    /// was written may be read, and the file must not be made shorter than that while a map lives.
    fn map(&self, len: usize) -> io::Result<Map>;
}

/// Puts `bytes` into a file so that a crash leaves either the old file or the whole new one.
pub(crate) fn write_atomically(files: &dyn FileSystem, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let staged = path.with_extension("tmp");
    write_synced(files, &staged, bytes)?;
    files.rename(&staged, path)?;
    files.sync_dir(dir)
}

/// Makes `bytes` the durable content of a file; its name is durable when the directory is synced.
pub(crate) fn write_synced(files: &dyn FileSystem, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = files.open(path)?;
    file.set_len(0)?;
    file.write_all_at(bytes, 0)?;
    file.sync()
}

/// The machine's file system.
#[derive(Debug, Default)]
pub struct OsFileSystem;

impl FileSystem for OsFileSystem {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let named = dir.ancestors().take_while(|folder| !folder.as_os_str().is_empty());
        let missing: Vec<&Path> = named.take_while(|folder| !folder.exists()).collect();
        fs::create_dir_all(dir)?;
        missing.into_iter().rev().filter_map(Path::parent).try_for_each(|parent| {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            self.sync_dir(parent)
        })
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            // A name that is not UTF-8 is not ours.
            names.extend(entry?.file_name().into_string());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        Ok(Arc::new(OsFile(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }
}

#[derive(Debug)]
struct OsFile(fs::File);

impl File for OsFile {
    fn len(&self) -> io::Result<u64> {
        self.0.metadata().map(|metadata| metadata.len())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn map(&self, len: usize) -> io::Result<Map> {
        Map::new(&self.0, len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_made_with_those_above_them() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b/c");
        for _ in 0..2 {
            OsFileSystem.create_dir_all(&deep).unwrap();
            assert!(deep.is_dir());
        }
        fs::write(dir.path().join("file"), b"").unwrap();
        assert!(OsFileSystem.create_dir_all(&dir.path().join("file/d")).is_err());
    }
}
