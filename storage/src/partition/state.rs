//! All that commands change: the heads, the references of their series, the segments of their chunks.

use std::collections::HashMap;
use std::io;

use pharos_model::{TenantId, TimestampMs};

use crate::chunk::files::ChunkFiles;
use crate::fs::FileSystem;
use crate::head::refs::RefTable;
use crate::head::{Head, HeadOptions, Shared};
use crate::wire::Reader;

/// Chunks wait in memory until this many bytes are worth a write.
const FLUSH_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct State {
    pub(super) heads: Vec<Head>,
    pub(super) by_tenant: HashMap<TenantId, u32>,
    pub(super) refs: RefTable,
    pub(super) files: ChunkFiles,
    options: HeadOptions,
    /// Waiting bytes that trigger the next write; moves up while writes fail, so that not every command tries.
    flush_at: usize,
}

impl State {
    pub(super) fn new(files: ChunkFiles, options: HeadOptions) -> Self {
        Self::restore(Vec::new(), RefTable::default(), files, options)
    }

    pub(super) fn restore(heads: Vec<Head>, refs: RefTable, files: ChunkFiles, options: HeadOptions) -> Self {
        let by_tenant = heads.iter().map(|head| (head.tenant().clone(), head.place())).collect();
        Self { heads, by_tenant, refs, files, options, flush_at: FLUSH_BYTES }
    }

    pub(super) fn head(&self, tenant: &TenantId) -> Option<&Head> {
        self.by_tenant.get(tenant).map(|&place| &self.heads[place as usize])
    }

    /// The tenant's head and what it shares with others; `None` when there never was a sample to append.
    pub(super) fn head_mut(&mut self, tenant: &TenantId) -> Option<(&mut Head, Shared<'_>)> {
        let place = *self.by_tenant.get(tenant)?;
        Some((&mut self.heads[place as usize], Shared { refs: &mut self.refs, files: &mut self.files }))
    }

    /// As [`Self::head_mut`], with a head that is made when it is the first time.
    pub(super) fn head_for_append(&mut self, tenant: &TenantId) -> (&mut Head, Shared<'_>) {
        if !self.by_tenant.contains_key(tenant) {
            let place = self.heads.len() as u32;
            self.heads.push(Head::new(tenant.clone(), place, self.options));
            self.by_tenant.insert(tenant.clone(), place);
        }
        self.head_mut(tenant).expect("the head was just made")
    }

    /// Drops what data files hold of a tenant. Returns how many series and chunks went.
    pub(super) fn drop_covered(&mut self, tenant: &TenantId, until_ms: TimestampMs) -> (u64, u64) {
        let Some((head, mut shared)) = self.head_mut(tenant) else { return (0, 0) };
        let place = head.place();
        let series = head.drop_covered(until_ms, &mut shared);
        let chunks_before = self.files.chunks();
        let heads = &self.heads;
        self.files.forget_covered(|place| heads[place as usize].dropped_until_ms());
        let chunks = chunks_before - self.files.chunks();
        if self.heads[place as usize].is_mostly_dead() {
            self.rebuild(place);
        }
        (series, chunks as u64)
    }

    /// Builds a head anew from its own bytes, which leaves the remains of removed series behind.
    fn rebuild(&mut self, place: u32) {
        let mut bytes = Vec::new();
        self.heads[place as usize].encode(&mut bytes);
        let head = Head::decode(&mut Reader::new(&bytes), place, self.options, &mut self.refs)
            .expect("a head reads back what it wrote");
        self.heads[place as usize] = head;
    }

    pub(super) fn optimize(&mut self) {
        self.heads.iter_mut().for_each(Head::optimize);
    }

    /// Writes waiting chunks when there are enough of them.
    pub(super) fn flush_if_due(&mut self, files: &dyn FileSystem) -> io::Result<()> {
        if self.files.tail_bytes() < self.flush_at {
            return Ok(());
        }
        self.flush(files)
    }

    pub(super) fn flush(&mut self, files: &dyn FileSystem) -> io::Result<()> {
        let result = self.files.flush(files);
        self.flush_at = self.files.tail_bytes() + FLUSH_BYTES;
        result
    }
}
