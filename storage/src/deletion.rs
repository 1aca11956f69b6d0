//! Deletes series of one partition: in the head through the log, in data files by a tombstone in the manifest.

use pharos_model::{Matcher, TenantId, TimeRange, TimestampMs};

use crate::manifest::{Catalog, CommitError, Edit, Owner};
use crate::record::{self, TooManyMatchers};
use crate::seal::{HeadLog, LogError};

/// Why series were not deleted, or not everywhere. Trying again is safe, and of no use with too many matchers.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    #[error(transparent)]
    Matchers(#[from] TooManyMatchers),
    #[error(transparent)]
    Head(#[from] LogError),
    #[error(transparent)]
    Files(#[from] CommitError),
}

/// What to hide: the samples in the range of all series that satisfy the matchers.
#[derive(Clone, Copy, Debug)]
pub struct Deletion<'a> {
    pub tenant: &'a TenantId,
    pub matchers: &'a [Matcher],
    pub range: TimeRange,
}

impl Deletion<'_> {
    /// Only the partition's leader runs it. A slice that is being sealed is waited for: its file has what the head had before.
    pub async fn run(
        &self,
        catalog: &Catalog,
        log: &dyn HeadLog,
        owner: Owner,
        now_ms: TimestampMs,
    ) -> Result<(), DeleteError> {
        let Self { tenant, matchers, range } = *self;
        let command = record::delete_series(tenant, matchers, range)?;
        let change = catalog.change().await;
        log.propose(catalog.partition(), command).await?;
        if !catalog.current(tenant).await?.files.is_empty() {
            let edit = Edit::Delete { matchers: matchers.to_vec(), range };
            change.commit(tenant, &edit, owner, now_ms).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
