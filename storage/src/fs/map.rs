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
        // SAFETY: the map is read-only, and the files that are mapped live in a data directory that one process has locked.
        // This process changes a file only by writing beyond what readers look at, and never makes it shorter than that,
        // so a slice that was handed out does not change and does not lose its pages.
        unsafe { MmapOptions::new().len(len).map(file) }.map(Self)
    }

    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}
