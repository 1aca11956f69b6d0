//! Deleting series: each partition's part is done by its leader, in whose name alone data files change.

use std::time::Duration;

use pharos_cluster::peers::CallError;
use pharos_model::{Matcher, PartitionId, TenantId, TimeRange};
use pharos_storage::deletion::{DeleteError, Deletion};
use pharos_storage::manifest::MatcherText;
use pharos_storage::seal::LogError;
use serde::{Deserialize, Serialize};

use super::Node;
use super::held::Held;
use super::maintenance::GroupLog;
use super::others::{self, method};

/// Longest search for a partition's leader.
const LEADER_MAX: Duration = Duration::from_secs(10);

/// A deletion on its way to a partition's leader.
#[derive(Debug, Serialize, Deserialize)]
pub struct DeleteQuestion {
    partition: u16,
    tenant: String,
    matchers: Vec<MatcherText>,
    start_ms: i64,
    end_ms: i64,
    /// When it was asked for, in milliseconds since 1970.
    now_ms: i64,
}

/// What the node that was asked says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeleteAnswer {
    Done,
    /// It does not lead the partition.
    Elsewhere,
    Failed(String),
}

impl Node {
    /// Hides the samples in the range of all series that satisfy the matchers: in the head through the log, in data files by
    /// a tombstone in the manifest. What fails half way may be repeated.
    pub async fn delete_series(
        &self,
        tenant: &TenantId,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<(), DeleteError> {
        for partition in self.held.partitions() {
            self.delete_in(partition, Deletion { tenant, matchers, range }).await?;
        }
        Ok(())
    }

    /// At the partition's leader, wherever it is.
    async fn delete_in(&self, partition: PartitionId, deletion: Deletion<'_>) -> Result<(), DeleteError> {
        let question = DeleteQuestion {
            partition: partition.0,
            tenant: deletion.tenant.as_str().to_owned(),
            matchers: deletion.matchers.iter().map(MatcherText::from).collect(),
            start_ms: deletion.range.start_ms,
            end_ms: deletion.range.end_ms,
            now_ms: self.clock.now_ms(),
        };
        let (held, question) = (&*self.held, &question);
        let ask = |node: u64| async move {
            if node == self.id() {
                return run(held, partition, deletion, question.now_ms).await;
            }
            match others::call(&**self.whereabouts.peers(), node, method::DELETE, question).await {
                Ok(DeleteAnswer::Done) => Some(Ok(())),
                Ok(DeleteAnswer::Failed(reason)) => Some(Err(LogError(reason).into())),
                Ok(DeleteAnswer::Elsewhere) | Err(CallError::Unreachable { .. } | CallError::Refused { .. }) => None,
                Err(error @ CallError::Lost { .. }) => Some(Err(LogError(error.to_string()).into())),
            }
        };
        let done = self.cluster.at_leader(partition, LEADER_MAX, ask).await;
        done.unwrap_or_else(|| Err(LogError(format!("nobody leads partition {partition}")).into()))
    }
}

/// Deletes in a partition that this node leads; none when it does not.
async fn run(
    held: &Held,
    partition: PartitionId,
    deletion: Deletion<'_>,
    now_ms: i64,
) -> Option<Result<(), DeleteError>> {
    let (reader, owner) = held.led_one(partition)?;
    let log = GroupLog(held.cluster.clone());
    Some(deletion.run(reader.catalog(), &log, owner, now_ms).await)
}

/// Answers another node.
pub async fn answer(held: &Held, question: &DeleteQuestion) -> DeleteAnswer {
    let matchers: Result<Vec<Matcher>, _> = question.matchers.iter().map(MatcherText::compile).collect();
    let (tenant, matchers) = match (TenantId::new(&question.tenant), matchers) {
        (Ok(tenant), Ok(matchers)) => (tenant, matchers),
        (Err(error), _) => return DeleteAnswer::Failed(error.to_string()),
        (_, Err(error)) => return DeleteAnswer::Failed(error.to_string()),
    };
    let range = TimeRange::new(question.start_ms, question.end_ms);
    let deletion = Deletion { tenant: &tenant, matchers: &matchers, range };
    match run(held, PartitionId(question.partition), deletion, question.now_ms).await {
        None => DeleteAnswer::Elsewhere,
        Some(Ok(())) => DeleteAnswer::Done,
        Some(Err(error)) => DeleteAnswer::Failed(error.to_string()),
    }
}
