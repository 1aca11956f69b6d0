//! The memory that open chunks grow in: 32-byte blocks, chained.
//!
//! Blocks of one size rather than buffers of several: series that are scraped together grow together, so with size
//! classes a whole generation of small buffers would lie empty while the next size is in use. A chain wastes half a
//! block on average.
//! Invariant: the last block of a chain points to its first, so that one number finds both ends.

use std::fmt;

/// Bytes of the stream that one block carries.
pub(super) const BLOCK_PAYLOAD_BYTES: usize = 28;
/// Blocks that are allocated at once: 32 KiB.
const PAGE_BLOCKS: usize = 1024;
const NO_BLOCK: u32 = u32::MAX;

/// A block by its place in the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockId(u32);

impl BlockId {
    pub(super) const NONE: Self = Self(NO_BLOCK);
}

#[derive(Clone, Copy)]
#[repr(C, align(32))]
struct Block {
    next: u32,
    bytes: [u8; BLOCK_PAYLOAD_BYTES],
}

/// Blocks of the open chunks of one head.
pub struct BlockPool {
    pages: Vec<Box<[Block; PAGE_BLOCKS]>>,
    /// Blocks that were handed out at least once; those of the last page beyond are untouched.
    used: u32,
    /// First block of the chain of free ones.
    free: u32,
    free_len: u32,
}

impl Default for BlockPool {
    fn default() -> Self {
        Self { pages: Vec::new(), used: 0, free: NO_BLOCK, free_len: 0 }
    }
}

impl fmt::Debug for BlockPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockPool").field("used", &self.used).field("free", &self.free_len).finish()
    }
}

impl BlockPool {
    /// Bytes in use, and bytes held for later use.
    pub fn bytes(&self) -> (usize, usize) {
        let live = (self.used - self.free_len) as usize * size_of::<Block>();
        (live, self.pages.len() * PAGE_BLOCKS * size_of::<Block>() - live)
    }

    fn block(&self, id: u32) -> &Block {
        &self.pages[id as usize / PAGE_BLOCKS][id as usize % PAGE_BLOCKS]
    }

    fn block_mut(&mut self, id: u32) -> &mut Block {
        &mut self.pages[id as usize / PAGE_BLOCKS][id as usize % PAGE_BLOCKS]
    }

    /// A zeroed block behind `tail`, or the first of a new chain. Returns the new tail.
    pub(super) fn extend(&mut self, tail: BlockId) -> BlockId {
        let id = self.take();
        let first = if tail == BlockId::NONE {
            id
        } else {
            let tail = self.block_mut(tail.0);
            std::mem::replace(&mut tail.next, id)
        };
        *self.block_mut(id) = Block { next: first, bytes: [0; BLOCK_PAYLOAD_BYTES] };
        BlockId(id)
    }

    fn take(&mut self) -> u32 {
        if self.free != NO_BLOCK {
            let id = self.free;
            self.free = self.block(id).next;
            self.free_len -= 1;
            return id;
        }
        if self.used as usize == self.pages.len() * PAGE_BLOCKS {
            self.pages.push(Box::new([Block { next: NO_BLOCK, bytes: [0; BLOCK_PAYLOAD_BYTES] }; PAGE_BLOCKS]));
        }
        self.used += 1;
        self.used - 1
    }

    /// Gives back a whole chain of `len` blocks.
    pub(super) fn release(&mut self, tail: BlockId, len: usize) {
        if tail == BlockId::NONE {
            return;
        }
        let free = self.free;
        let first = std::mem::replace(&mut self.block_mut(tail.0).next, free);
        self.free = first;
        self.free_len += len as u32;
    }

    #[inline]
    pub(super) fn payload_mut(&mut self, id: BlockId) -> &mut [u8; BLOCK_PAYLOAD_BYTES] {
        &mut self.block_mut(id.0).bytes
    }

    /// Appends the first `len` bytes of a chain to `out`.
    pub(super) fn copy_chain(&self, tail: BlockId, mut len: usize, out: &mut Vec<u8>) {
        if tail == BlockId::NONE {
            return;
        }
        let mut id = self.block(tail.0).next;
        while len > 0 {
            let block = self.block(id);
            let part = len.min(BLOCK_PAYLOAD_BYTES);
            out.extend_from_slice(&block.bytes[..part]);
            len -= part;
            id = block.next;
        }
    }

    /// A chain that carries `bytes`. Returns its tail.
    pub(super) fn store_chain(&mut self, bytes: &[u8]) -> BlockId {
        let mut tail = BlockId::NONE;
        for part in bytes.chunks(BLOCK_PAYLOAD_BYTES) {
            tail = self.extend(tail);
            self.payload_mut(tail)[..part.len()].copy_from_slice(part);
        }
        tail
    }
}
