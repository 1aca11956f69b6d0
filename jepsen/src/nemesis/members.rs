//! Nodes that come and go while clients work. All of it takes as long as the nodes do, and ends with everything in its place.

use anyhow::{Context, Result};
use tokio::time::sleep;

use super::schedule::{Detail, Step};
use crate::env::Environment;

/// A node and its disk are gone for ever, an empty one comes at its address.
pub(super) async fn replace(environment: &mut Environment, step: &Step) -> Result<()> {
    let victim = step.order[0];
    environment.nodes[victim].kill().await;
    environment.replace(victim).await?;
    environment.start(victim).await?;
    disturb(environment, step, step.order[1]).await?;
    environment.wait_ready().await?;
    environment.settle().await
}

/// One joins, and when it has its part one of all leaves for ever.
pub(super) async fn resize(environment: &mut Environment, step: &Step) -> Result<()> {
    environment.grow().await?;
    disturb(environment, step, step.order[1]).await?;
    environment.wait_ready().await?;
    environment.settle().await.context("after a node has joined")?;
    let leaver = step.order[0];
    if matches!(step.detail, Detail::Leave { dead: true, .. }) {
        let id = environment.id_of(leaver).await?;
        environment.nodes[leaver].kill().await;
        environment.bury(leaver, &id).await?;
    } else {
        environment.drain_and_remove(leaver).await?;
    }
    environment.settle().await.context("after a node has left")
}

/// All end and start again, one after the other, as in an upgrade.
pub(super) async fn roll(environment: &mut Environment, step: &Step) -> Result<()> {
    for &at in &step.order {
        environment.terminate(at).await?;
        environment.start(at).await?;
        environment.wait_ready().await?;
    }
    Ok(())
}

/// Perhaps kills a node in the middle of a change of members.
async fn disturb(environment: &mut Environment, step: &Step, at: usize) -> Result<()> {
    if matches!(step.detail, Detail::Leave { disturbed: true, .. }) {
        sleep(step.hold).await;
        environment.nodes[at].kill().await;
        environment.start(at).await?;
    }
    Ok(())
}
