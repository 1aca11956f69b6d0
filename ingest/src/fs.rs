//! Every file this crate reads or writes goes through [`FileSystem`], so that a test or a simulation can stand in for the disk.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use pharos_model::TimestampMs;

/// Longest file that is read into memory: configuration, target lists, secrets and certificates are all far smaller.
pub const FILE_BYTES_MAX: u64 = 64 << 20;

/// Where configuration, target lists, secrets and certificates come from: the disk ([`Disk`]) or a map ([`InMemory`]).
pub trait FileSystem: fmt::Debug + Send + Sync {
    /// The whole file. Refused when it is longer than [`FILE_BYTES_MAX`].
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// When the file was last written.
    fn modified(&self, path: &Path) -> io::Result<TimestampMs>;

    /// Files that match a shell pattern, sorted. No match is an empty list; a bad pattern is an error.
    fn glob(&self, pattern: &str) -> io::Result<Vec<PathBuf>>;

    /// Appends to a file and creates it when it is missing.
    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
}

/// Reads text; a file that is not UTF-8 is an error.
pub fn read_text(fs: &dyn FileSystem, path: &Path) -> io::Result<String> {
    String::from_utf8(fs.read(path)?).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.utf8_error()))
}

/// The machine's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl FileSystem for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let bytes = std::fs::metadata(path)?.len();
        if bytes > FILE_BYTES_MAX {
            let text = format!("file of {bytes} bytes is longer than the limit of {FILE_BYTES_MAX}");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        std::fs::read(path)
    }

    fn modified(&self, path: &Path) -> io::Result<TimestampMs> {
        let since = std::fs::metadata(path)?.modified()?.duration_since(std::time::UNIX_EPOCH);
        Ok(since.map_or(0, |since| since.as_millis() as TimestampMs))
    }

    fn glob(&self, pattern: &str) -> io::Result<Vec<PathBuf>> {
        let paths = glob::glob(pattern).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        let mut found = paths.collect::<Result<Vec<_>, _>>().map_err(io::Error::from)?;
        found.sort();
        Ok(found)
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        use std::io::Write as _;
        std::fs::OpenOptions::new().create(true).append(true).open(path)?.write_all(bytes)
    }
}

/// Files in memory. The time of a file counts its writes.
#[derive(Debug, Default)]
pub struct InMemory {
    files: Mutex<BTreeMap<PathBuf, (TimestampMs, Vec<u8>)>>,
}

impl InMemory {
    pub fn new<P: Into<PathBuf>, T: Into<Vec<u8>>>(files: impl IntoIterator<Item = (P, T)>) -> Self {
        let fs = Self::default();
        for (path, text) in files {
            fs.write(path, text);
        }
        fs
    }

    /// Creates or replaces a file.
    pub fn write(&self, path: impl Into<PathBuf>, bytes: impl Into<Vec<u8>>) {
        let mut files = self.files.lock();
        let entry = files.entry(path.into()).or_default();
        *entry = (entry.0 + 1, bytes.into());
    }

    pub fn remove(&self, path: impl AsRef<Path>) {
        self.files.lock().remove(path.as_ref());
    }
}

impl FileSystem for InMemory {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let files = self.files.lock();
        files.get(path).map(|(_, bytes)| bytes.clone()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn modified(&self, path: &Path) -> io::Result<TimestampMs> {
        self.files.lock().get(path).map(|(ts, _)| *ts).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn glob(&self, pattern: &str) -> io::Result<Vec<PathBuf>> {
        let options = glob::MatchOptions { require_literal_separator: true, ..Default::default() };
        let pattern = glob::Pattern::new(pattern).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        Ok(self.files.lock().keys().filter(|path| pattern.matches_path_with(path, options)).cloned().collect())
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut files = self.files.lock();
        let entry = files.entry(path.to_owned()).or_default();
        entry.0 += 1;
        entry.1.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_file_systems_match_patterns_alike() {
        let dir = tempfile::tempdir().unwrap();
        let memory = InMemory::default();
        for name in ["b.yml", "a.yml", "c.json"] {
            std::fs::write(dir.path().join(name), "x").unwrap();
            memory.write(dir.path().join(name), "x");
        }
        for pattern in ["*.yml", "?.json", "nothing*", "[ab].yml"] {
            let pattern = dir.path().join(pattern);
            let pattern = pattern.to_str().unwrap();
            assert_eq!(Disk.glob(pattern).unwrap(), memory.glob(pattern).unwrap(), "{pattern}");
        }
        assert_eq!(Disk.glob(dir.path().join("*.yml").to_str().unwrap()).unwrap().len(), 2);
    }

    #[test]
    fn both_file_systems_append() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let memory = InMemory::default();
        for fs in [&Disk as &dyn FileSystem, &memory] {
            fs.append(&path, b"a").unwrap();
            fs.append(&path, b"b").unwrap();
            assert_eq!(fs.read(&path).unwrap(), b"ab");
        }
    }
}
