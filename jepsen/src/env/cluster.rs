//! What the nodes say about the cluster that they are: who leads, who is who, and whether all is in its place.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use tokio::time::sleep;

use super::Environment;
use crate::client::cluster::{MemberChange, Status};

/// Longest wait until everything is in its place: every partition has all its replicas, and nothing moves.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(180);
/// Longest wait for a node that gives all away, or until it may be removed.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(180);
/// A node that was removed is watched for so long when it comes back.
const OUTCAST_WAIT: Duration = Duration::from_secs(8);
const POLL: Duration = Duration::from_millis(500);
/// Replicas of a partition, where there are nodes enough.
const REPLICAS: usize = 3;

impl Environment {
    /// The first answer of any node but this one.
    async fn status_but(&self, but: Option<usize>) -> Result<Status> {
        let mut last = anyhow!("no node");
        for at in (0..self.nodes.len()).filter(|at| Some(*at) != but) {
            match self.client.status(&self.nodes[at].address.api.to_string()).await {
                Ok(status) => return Ok(status),
                Err(error) => last = anyhow!("{}: {error}", self.nodes[at].name),
            }
        }
        Err(last)
    }

    /// The node that leads most partitions; none without an answer.
    pub async fn busiest(&self) -> Option<usize> {
        let leads = (0..).zip(self.leads().await);
        leads.max_by_key(|&(_, leads)| leads).filter(|&(_, leads)| leads > 0).map(|(at, _)| at)
    }

    /// How many partitions each node leads, as far as somebody tells.
    pub async fn leads(&self) -> Vec<usize> {
        let status =
            if self.is_cluster() { self.status_but(None).await.unwrap_or_default() } else { Status::default() };
        let leads = |at: usize| {
            let peer = self.peer(at);
            status.nodes.iter().find(|node| node.peer == peer).map_or(0, |node| node.leaders)
        };
        (0..self.nodes.len()).map(leads).collect()
    }

    /// Waits until every partition has all its replicas on nodes that are alive, and nothing moves.
    pub async fn settle(&self) -> Result<()> {
        if !self.is_cluster() {
            return Ok(());
        }
        let deadline = Instant::now() + SETTLE_TIMEOUT;
        loop {
            let unsettled = match self.status_but(None).await {
                Ok(status) => match unsettled(&status, self.nodes.len()) {
                    None => return Ok(()),
                    Some(what) => what,
                },
                Err(error) => format!("no status: {error:#}"),
            };
            if Instant::now() > deadline {
                bail!("not everything is in its place after {SETTLE_TIMEOUT:?}: {unsettled}");
            }
            sleep(POLL).await;
        }
    }

    /// Lets a node give away all that it has, removes it, and ends its process.
    pub async fn drain_and_remove(&mut self, at: usize) -> Result<()> {
        let id = self.id_of(at).await?;
        self.insist(at, MemberChange::Drain, &id).await?;
        let deadline = Instant::now() + LEAVE_TIMEOUT;
        loop {
            let status = self.status_but(Some(at)).await;
            if status.is_ok_and(|status| status.drains.iter().any(|drain| drain.node == id && drain.done)) {
                break;
            }
            if Instant::now() > deadline {
                bail!("{} is not drained after {LEAVE_TIMEOUT:?}", self.nodes[at].name);
            }
            sleep(POLL).await;
        }
        self.insist(at, MemberChange::Remove, &id).await?;
        self.end_removed(at).await?;
        self.must_stay_out(at, &id).await?;
        self.forget(at).await
    }

    /// A node that was removed ends by itself when it hears of it, and has to be asked otherwise.
    async fn end_removed(&mut self, at: usize) -> Result<()> {
        let until = Instant::now() + OUTCAST_WAIT;
        while Instant::now() < until {
            if self.nodes[at].ended()?.is_some() {
                return Ok(());
            }
            sleep(POLL).await;
        }
        self.terminate(at).await
    }

    /// A node that was removed and comes back with the disk that it had is not let in.
    async fn must_stay_out(&mut self, at: usize, id: &str) -> Result<()> {
        let name = self.nodes[at].name.clone();
        self.nodes[at].clustered = Some(self.joining(Some(at)));
        self.start(at).await?;
        let until = Instant::now() + OUTCAST_WAIT;
        // It may end by itself, with the reason.
        while Instant::now() < until && self.nodes[at].ended()?.is_none() {
            if self.client.ready(&self.nodes[at].address.api.to_string()).await {
                bail!("{name} was removed, and serves again");
            }
            sleep(POLL).await;
        }
        self.nodes[at].kill().await;
        if self.status_but(Some(at)).await?.nodes.iter().any(|node| node.id == id) {
            bail!("{name} was removed, and is a member again");
        }
        Ok(())
    }

    /// Removes a node whose process is gone for ever.
    pub async fn bury(&mut self, at: usize, id: &str) -> Result<()> {
        self.insist(at, MemberChange::Remove, id).await?;
        self.forget(at).await
    }

    /// The id that others know a node by.
    pub async fn id_of(&self, at: usize) -> Result<String> {
        let (status, peer) = (self.status_but(None).await?, self.peer(at));
        let node = status.nodes.into_iter().find(|node| node.peer == peer);
        node.map(|node| node.id).ok_or_else(|| anyhow!("nobody knows {}", self.nodes[at].name))
    }

    /// Asks the other nodes until one does it: it may be refused while a partition would be left without a majority.
    async fn insist(&self, at: usize, change: MemberChange, id: &str) -> Result<()> {
        let deadline = Instant::now() + LEAVE_TIMEOUT;
        let mut last = String::new();
        while Instant::now() < deadline {
            for other in (0..self.nodes.len()).filter(|&other| other != at) {
                match self.client.change_member(&self.nodes[other].address.api.to_string(), change, id).await {
                    Ok(()) => return Ok(()),
                    Err(error) => last = error,
                }
            }
            sleep(POLL).await;
        }
        bail!("{change:?} of {} after {LEAVE_TIMEOUT:?}: {last}", self.nodes[at].name)
    }

    fn peer(&self, at: usize) -> String {
        self.nodes[at].address.peer.to_string()
    }
}

/// What is not in its place yet.
fn unsettled(status: &Status, nodes: usize) -> Option<String> {
    let alive = status.nodes.iter().filter(|node| node.alive).count();
    if alive != nodes || status.nodes.len() != nodes {
        return Some(format!("{alive} of {} members are alive, {nodes} should be", status.nodes.len()));
    }
    if status.metadata.leader.is_none() || status.metadata.voters.len() < nodes.min(REPLICAS) {
        return Some(format!(
            "the metadata has leader {:?} and {} voters",
            status.metadata.leader,
            status.metadata.voters.len()
        ));
    }
    if status.partitions.is_empty() {
        return Some("there are no partitions".to_owned());
    }
    let out_of_place = status.partitions.iter().find(|partition| {
        partition.state != "ok" || partition.moving.is_some() || partition.replicas.len() != nodes.min(REPLICAS)
    });
    out_of_place.map(|partition| format!("{partition:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::cluster::{Metadata, NodeStatus, Partition};
    use serde_json::Value;

    fn status(state: &str, replicas: usize, moving: Option<Value>) -> Status {
        let node = |at: usize| NodeStatus { id: at.to_string(), peer: String::new(), alive: true, leaders: 1 };
        let replicas = vec![Value::Null; replicas];
        let partition = Partition { partition: 0, state: state.into(), replicas, leader: None, term: None, moving };
        Status {
            metadata: Metadata { leader: Some("1".into()), voters: vec![String::new(); 3] },
            nodes: (0..3).map(node).collect(),
            partitions: vec![partition],
            drains: Vec::new(),
        }
    }

    #[test]
    fn a_cluster_is_settled_when_nothing_is_left_to_do() {
        assert_eq!(unsettled(&status("ok", 3, None), 3), None);
        assert!(unsettled(&status("ok", 3, None), 4).is_some(), "one is missing");
        assert!(unsettled(&status("degraded", 3, None), 3).is_some());
        assert!(unsettled(&status("ok", 2, None), 3).is_some());
        assert!(unsettled(&status("ok", 3, Some(Value::Bool(true))), 3).is_some());
    }
}
