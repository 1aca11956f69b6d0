//! Reading files through the page cache. The one module of this crate with `unsafe` code.
#![expect(unsafe_code, reason = "memory maps cannot be made safe by the compiler: another process may change the file")]

use std::fs::File;
use std::io;

use memmap2::{Mmap, MmapOptions};

/// The bytes of a file, read through the page cache: they cost no anonymous memory.
#[derive(Debug)]
pub struct Map(Mmap);

impl Map {
    pub(super) fn new(file: &File, len: usize) -> io::Result<Self> {
        // SAFETY: the map is read-only, and the files that are mapped live in a data directory that one process has
        // locked. This process changes a file only by appending to it, and never makes it shorter while it is mapped.
        // The map may reach beyond the end of the file, where a read would fault: `as_slice` says that readers stay
        // below what was written.
        unsafe { MmapOptions::new().len(len).map(file) }.map(Self)
    }

    /// All bytes of the map. Only those below the length that was written to the file may be looked at.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}
