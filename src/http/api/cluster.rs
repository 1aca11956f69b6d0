//! `status/cluster`: what the cluster looks like. `admin/cluster/*`: nodes that are to go or to stay, behind `--web.enable-admin-api`.
//!
//! A change is answered once the metadata group has it; what follows from it is the controller's and takes its time.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use pharos_cluster::meta::MemberChange;
use pharos_cluster::peers::NodeId;
use pharos_cluster::status::{ClusterStatus, NodeName};
use serde_json::{Value, json};

use super::super::error::{ApiError, Kind};
use super::super::params::Params;
use super::admin::allowed;
use super::success;
use crate::app::App;
use crate::app::config::{ConfigReport, differences};

pub async fn status(State(app): State<Arc<App>>) -> Response {
    let (status, configs) = tokio::join!(app.node.cluster_status(), app.config_reports());
    success(&with_configs(&status, &configs))
}

/// The status, with what each node goes by, and `config_differences` where they differ in that.
fn with_configs(status: &ClusterStatus, configs: &[(NodeName, ConfigReport)]) -> Value {
    let mut answer = json!(status);
    for (at, node) in status.nodes.iter().enumerate() {
        if let Some((_, config)) = configs.iter().find(|(name, _)| *name == node.id) {
            answer["nodes"][at]["config"] = json!(config);
        }
    }
    answer["config_differences"] = json!(differences(configs));
    answer
}

pub async fn drain(State(app): State<Arc<App>>, params: Params) -> Result<Response, ApiError> {
    let node = named_node(&app, &params).await?;
    change(&app, node, MemberChange::Drain(node)).await
}

pub async fn undrain(State(app): State<Arc<App>>, params: Params) -> Result<Response, ApiError> {
    let node = named_node(&app, &params).await?;
    change(&app, node, MemberChange::Undrain(node)).await
}

pub async fn remove(State(app): State<Arc<App>>, params: Params) -> Result<Response, ApiError> {
    let node = named_node(&app, &params).await?;
    let force = params.flag("force")?;
    if !force && let Some(reason) = in_use(&app.node.cluster_status().await, node) {
        return Err(ApiError::new(Kind::Execution, reason));
    }
    change(&app, node, MemberChange::Remove { node, force }).await
}

/// The node that a request is about, once it is clear that the request may be made.
async fn named_node(app: &App, params: &Params) -> Result<NodeId, ApiError> {
    allowed(app)?;
    let name =
        params.get("node").ok_or_else(|| ApiError::bad_data("no node parameter provided: which node is meant?"))?;
    Ok(app.node.meta().read_topology().await?.find(name)?)
}

async fn change(app: &App, node: NodeId, change: MemberChange) -> Result<Response, ApiError> {
    let meta = app.node.meta();
    meta.change_members(change, app.clock.now_ms()).await?;
    // What this node's own copy says is new enough then. It may not get there in time, which undoes nothing.
    let topology = meta.read_topology().await.unwrap_or_else(|_| meta.topology().borrow().clone());
    Ok(success(&json!({"node": NodeName::from(node), "revision": topology.revision})))
}

/// The reason not to remove a node that works: what it holds would have a copy less for as long as copying takes. A dead one has none to
/// give; whether enough others have is for the metadata group to say.
fn in_use(status: &ClusterStatus, node: NodeId) -> Option<String> {
    let name = NodeName::from(node);
    if status.drains.iter().any(|drain| drain.node == name && drain.done) {
        return None;
    }
    let member = status.nodes.iter().find(|member| member.id == name).filter(|member| member.alive)?;
    let holds = member.replicas + member.coming;
    let votes = status.metadata.voters.contains(&name) && status.nodes.len() > 1;
    if holds == 0 && member.leaders == 0 && !votes {
        return None;
    }
    let vote = if votes { ", and it votes in the metadata group" } else { "" };
    Some(format!(
        "node {} is alive, and {holds} partitions have a replica there{vote}: drain it first (pharos cluster drain {}) and wait until \
         nothing is left, or force it",
        name.as_str(),
        name.as_str()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(replicas: usize, alive: bool) -> ClusterStatus {
        let node = |id: NodeId, replicas: usize, alive: bool| {
            json!({
                "id": NodeName::from(id), "state": "active", "since_ms": 0, "zone": "", "peer": "", "http": "", "alive": alive,
                "silence_ms": 0, "leaders": 0, "replicas": replicas, "coming": 0,
            })
        };
        let status = json!({
            "cluster": null, "revision": 1, "metadata": {"leader": NodeName::from(1), "voters": [NodeName::from(1)]},
            "nodes": [node(1, 3, true), node(2, replicas, alive)], "nodes_removed": 0, "partitions": [], "drains": [],
            "left": {"replicas": 0, "leaders": 0},
        });
        serde_json::from_value(status).unwrap()
    }

    #[test]
    fn a_node_that_works_is_drained_before_it_is_removed() {
        let reason = in_use(&status(3, true), 2).unwrap();
        assert!(
            reason.contains("3 partitions") && reason.contains("pharos cluster drain 0000000000000002"),
            "{reason}"
        );
        assert_eq!(in_use(&status(0, true), 2), None);
        assert_eq!(in_use(&status(3, false), 2), None, "a dead node has nothing to give");
        assert!(in_use(&status(0, true), 1).unwrap().contains("votes"));
        let drained = |done: bool| {
            let drain = json!({
                "node": NodeName::from(1), "since_ms": 0, "leaders_left": 0, "replicas_left": 0, "moving": 0, "votes_in_metadata": !done,
                "done": done,
            });
            ClusterStatus { drains: vec![serde_json::from_value(drain).unwrap()], ..status(0, true) }
        };
        assert!(in_use(&drained(false), 1).unwrap().contains("votes"), "another node is to have its vote");
        assert_eq!(in_use(&drained(true), 1), None, "a vote that nobody else can have holds nothing up");
        assert_eq!(in_use(&status(0, true), 9), None, "who that is, is for the metadata group to say");
    }
}
