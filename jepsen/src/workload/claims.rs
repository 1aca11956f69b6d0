//! M-lease: asks all nodes, over and over, who leads what.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;

use super::Shared;
use super::pace::Pace;
use crate::client::cluster::Status;
use crate::history::{About, Action, Claim, Kind};

/// Notes what each node says for the first time.
pub async fn ask_until_stopped(rate: f64, shared: Shared) {
    let mut pace = Pace::new(rate, shared.stop.clone());
    let process = shared.processes.next();
    let mut known: BTreeMap<String, BTreeSet<Claim>> = BTreeMap::new();
    while pace.turn().await {
        let endpoints = shared.endpoints.borrow().clone();
        let asked = endpoints.iter().map(|endpoint| shared.client.status(&endpoint.api));
        for (endpoint, status) in endpoints.iter().zip(join_all(asked).await) {
            // Who does not answer claims nothing.
            let Ok(status) = status else { continue };
            let known = known.entry(endpoint.node.clone()).or_default();
            let news: Vec<Claim> = claims(status).filter(|claim| known.insert(claim.clone())).collect();
            if !news.is_empty() {
                shared.recorder.record(process, Kind::Ok, Action::Claims(news), About::node(&endpoint.node));
            }
        }
    }
}

fn claims(status: Status) -> impl Iterator<Item = Claim> {
    let claim = |partition: crate::client::cluster::Partition| {
        let (leader, term) = partition.leader.zip(partition.term)?;
        Some(Claim { partition: partition.partition, term, leader })
    };
    status.partitions.into_iter().filter_map(claim)
}
