//! Deletes what leaders before left behind: objects that were written and never committed.
//!
//! Nothing else looks for objects by listing, so this comes once a term: when a leader's first change is current, a swap
//! that an older one has under way is refused, and what only that would have named is of no use.

use std::collections::HashSet;

use pharos_model::{TenantId, TimestampMs};
use tracing::info;

use super::{Change, CommitError, Edit, Manifest, Owner, folder};

impl Change<'_> {
    /// Makes this owner the leader that the manifest names, unless it is, and deletes the leftovers of older terms. Repeating it
    /// is cheap.
    pub async fn lead(&self, tenant: &TenantId, owner: Owner, now_ms: TimestampMs) -> Result<(), CommitError> {
        let manifest = self.catalog.current(tenant).await?;
        // Before the first file there is nothing to lead, and an object for each tenant would be too much.
        if manifest.version > 0 && manifest.leader != Some(owner) {
            self.catalog.unswept.lock().insert(tenant.clone());
            self.commit(tenant, &Edit::Lead, owner, now_ms).await?;
        }
        if self.catalog.unswept.lock().contains(tenant) {
            self.sweep(tenant, owner.term).await?;
            self.catalog.unswept.lock().remove(tenant);
        }
        Ok(())
    }

    async fn sweep(&self, tenant: &TenantId, term: u64) -> Result<(), CommitError> {
        let (manifest, pointer) = self.catalog.current_with_pointer(tenant).await?;
        let mut named = names_of(&manifest);
        named.extend(pointer.map(|pointer| pointer.key));
        for part in ["data", "manifests"] {
            let keys = self.catalog.bucket.list(&format!("{}/{part}", folder(tenant, self.catalog.partition))).await?;
            let left_over = |key: &String| term_of(key).is_some_and(|of| of < term) && !named.contains(key);
            for key in keys.iter().filter(|key| left_over(key)) {
                self.catalog.bucket.delete(key).await?;
                info!(key, "deleted an object that an earlier leader left behind");
            }
        }
        Ok(())
    }
}

/// All objects that a manifest names.
fn names_of(manifest: &Manifest) -> HashSet<String> {
    let files = manifest.files.iter().flat_map(|file| [file.key.clone(), file.index_key()]);
    files.chain(manifest.retired.iter().map(|retired| retired.key.clone())).collect()
}

/// The term in an object's name: `…-tTERM.SUFFIX`.
fn term_of(key: &str) -> Option<u64> {
    key.rsplit_once("-t")?.1.split_once('.')?.0.parse().ok()
}
