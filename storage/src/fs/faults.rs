//! A file system that fails when told, for tests: a full disk that tears the write it fails, syncs that fail.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use super::{File, FileSystem, Map, OsFileSystem};

/// What fails, shared by a file system and its files.
#[derive(Debug)]
struct Faults {
    /// Bytes that can still be written.
    room: AtomicI64,
    sync_fails: AtomicBool,
    /// Files that can still be opened.
    descriptors: AtomicI64,
    reads_differ: AtomicBool,
}

impl Faults {
    fn check_room(&self) -> io::Result<()> {
        if self.room.load(Ordering::SeqCst) > 0 { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }
}

/// The machine's file system, with faults.
#[derive(Clone, Debug)]
pub(crate) struct FaultyFileSystem {
    faults: Arc<Faults>,
}

impl Default for FaultyFileSystem {
    fn default() -> Self {
        Self {
            faults: Arc::new(Faults {
                room: AtomicI64::new(i64::MAX),
                sync_fails: AtomicBool::new(false),
                descriptors: AtomicI64::new(i64::MAX),
                reads_differ: AtomicBool::new(false),
            }),
        }
    }
}

impl FaultyFileSystem {
    /// From now on `bytes` more can be written; the write that would exceed them is torn there.
    pub(crate) fn set_room(&self, bytes: i64) {
        self.faults.room.store(bytes, Ordering::SeqCst);
    }

    /// From now on `files` more can be opened, as at the process's limit.
    pub(crate) fn set_descriptors(&self, files: i64) {
        self.faults.descriptors.store(files, Ordering::SeqCst);
    }

    /// From now on whole files read back with a bit flipped.
    pub(crate) fn set_reads_differ(&self, differ: bool) {
        self.faults.reads_differ.store(differ, Ordering::SeqCst);
    }

    pub(crate) fn set_sync_fails(&self, fails: bool) {
        self.faults.sync_fails.store(fails, Ordering::SeqCst);
    }
}

impl FileSystem for FaultyFileSystem {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        if !dir.is_dir() {
            self.faults.check_room()?;
        }
        OsFileSystem.create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        OsFileSystem.list(dir)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = OsFileSystem.read(path)?;
        if self.faults.reads_differ.load(Ordering::SeqCst)
            && let Some(last) = bytes.last_mut()
        {
            *last ^= 1;
        }
        Ok(bytes)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.faults.check_room()?;
        if self.faults.descriptors.fetch_sub(1, Ordering::SeqCst) <= 0 {
            return Err(io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error()));
        }
        Ok(Arc::new(FaultyFile { file: OsFileSystem.open(path)?, faults: Arc::clone(&self.faults) }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsFileSystem.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        OsFileSystem.remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        OsFileSystem.remove_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        OsFileSystem.sync_dir(dir)
    }
}

#[derive(Debug)]
struct FaultyFile {
    file: Arc<dyn File>,
    faults: Arc<Faults>,
}

impl File for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let room = self.faults.room.fetch_sub(bytes.len() as i64, Ordering::SeqCst);
        if room >= bytes.len() as i64 {
            return self.file.write_all_at(bytes, offset);
        }
        self.faults.room.store(0, Ordering::SeqCst);
        self.file.write_all_at(&bytes[..room.max(0) as usize], offset)?;
        Err(io::ErrorKind::StorageFull.into())
    }

    fn sync(&self) -> io::Result<()> {
        if self.faults.sync_fails.load(Ordering::SeqCst) {
            return Err(io::Error::other("injected sync failure"));
        }
        self.file.sync()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn map(&self, len: usize) -> io::Result<Map> {
        self.file.map(len)
    }
}
