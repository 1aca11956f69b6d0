//! Whose store it is: one object at the root names the cluster.
//!
//! Two clusters in one store would write over each other's manifests. So does a node that lost its disk and begins a cluster anew.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Bucket, Created, ObjectError};

/// Beside the folders of tenants, whose names have no dot.
const CLAIM_KEY: &str = "v1/cluster.json";
const FORMAT: u32 = 1;

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    #[error(transparent)]
    Object(#[from] ObjectError),
    #[error(
        "the object store has the data of cluster {found}, and this node belongs to cluster {ours}: \
         give it a store of its own, or start it with the storage path that belongs to the data"
    )]
    OtherCluster { found: String, ours: String },
    #[error("{CLAIM_KEY} in the object store has format {format}, known is {FORMAT}")]
    Format { format: u32 },
}

#[derive(Debug, Serialize, Deserialize)]
struct Claim {
    format: u32,
    cluster: String,
    /// Drawn when the store was taken; stores from before that have none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    mark: String,
}

impl Bucket {
    /// Makes sure that the store is the cluster's: takes it when it is nobody's, with a mark that was drawn for that. Returns the mark
    /// that it has, by which two nodes know that they mean the same store. Comes before everything else.
    pub async fn claim(&self, cluster: &str, fresh_mark: &str) -> Result<String, ClaimError> {
        let claim = Claim { format: FORMAT, cluster: cluster.to_owned(), mark: fresh_mark.to_owned() };
        let bytes = Bytes::from(serde_json::to_vec(&claim).expect("a claim is plain data"));
        // Read first: a node whose disk is full has to come up all the same, and an attempt to create needs room.
        let found = match self.get(CLAIM_KEY).await {
            Err(ObjectError::NotFound { .. }) => {
                if self.create(CLAIM_KEY, bytes.clone()).await? == Created::New {
                    return Ok(claim.mark);
                }
                // Somebody else came first, just now.
                self.get(CLAIM_KEY).await?
            }
            found => found?,
        };
        match serde_json::from_slice::<Claim>(&found) {
            Ok(Claim { format, .. }) if format != FORMAT => Err(ClaimError::Format { format }),
            Ok(Claim { cluster: found, .. }) if found != cluster => {
                Err(ClaimError::OtherCluster { found, ours: cluster.to_owned() })
            }
            Ok(found) if !found.mark.is_empty() => Ok(found.mark),
            // From before there were marks, or torn by a power loss before it was durable, so nobody has gone past it.
            Ok(_) | Err(_) => {
                self.put(CLAIM_KEY, bytes).await?;
                Ok(claim.mark)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;

    use super::*;
    use crate::object::faults::{Faults, FaultyStore};
    use crate::test_node::memory_bucket;

    #[tokio::test]
    async fn a_store_belongs_to_the_first_cluster_that_takes_it() {
        let bucket = memory_bucket(Arc::new(InMemory::new()));
        for _ in 0..2 {
            bucket.claim("aa", "m").await.unwrap();
        }
        let refused = bucket.claim("bb", "m").await.unwrap_err();
        assert!(
            matches!(&refused, ClaimError::OtherCluster { found, ours } if found == "aa" && ours == "bb"),
            "{refused}"
        );
        assert_eq!(bucket.claim("aa", "another").await.unwrap(), "m");
    }

    #[tokio::test]
    async fn a_store_without_a_mark_gets_one() {
        let bucket = memory_bucket(Arc::new(InMemory::new()));
        bucket.put(CLAIM_KEY, Bytes::from_static(br#"{"format":1,"cluster":"aa"}"#)).await.unwrap();
        assert_eq!(bucket.claim("aa", "m").await.unwrap(), "m");
        assert_eq!(bucket.claim("aa", "another").await.unwrap(), "m");
    }

    #[tokio::test]
    async fn a_store_that_takes_no_writes_is_still_known() {
        let faults = Faults::default();
        let store = FaultyStore { inner: Arc::new(InMemory::new()), faults: faults.clone() };
        let bucket = memory_bucket(Arc::new(store));
        bucket.claim("aa", "m").await.unwrap();
        faults.refuse_writes();
        bucket.claim("aa", "m").await.unwrap();
        assert!(bucket.claim("bb", "m").await.is_err());
    }

    #[tokio::test]
    async fn a_torn_claim_is_made_again() {
        let bucket = memory_bucket(Arc::new(InMemory::new()));
        bucket.put(CLAIM_KEY, Bytes::from_static(b"{\"form")).await.unwrap();
        bucket.claim("aa", "m").await.unwrap();
        assert!(bucket.claim("bb", "m").await.is_err());
    }

    #[tokio::test]
    async fn a_claim_of_a_later_format_is_not_understood() {
        let bucket = memory_bucket(Arc::new(InMemory::new()));
        bucket.put(CLAIM_KEY, Bytes::from_static(br#"{"format":2,"cluster":"aa"}"#)).await.unwrap();
        assert!(matches!(bucket.claim("aa", "m").await, Err(ClaimError::Format { format: 2 })));
    }
}
