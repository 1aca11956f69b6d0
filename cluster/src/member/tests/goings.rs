//! Draining, removing, replacing.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_drained_and_removed() {
    let mut village = Village::of(&[1, 2, 3]).await;
    village.start(vec![coming(4, 1)]).await;
    village.rests(&[1, 2, 3, 4]).await;
    village.write(2, "x").await;
    let gone = village.id(1);
    village.members[&3].change_members(MemberChange::Drain(gone)).await.unwrap();
    village.rests(&[2, 3, 4]).await;
    let drained = async || village.members[&2].status().await.drains.iter().all(|drain| drain.done);
    eventually("nothing is left on the node", drained).await;
    let rests = async || village.members[&2].status().await.left == Left::default();
    eventually("nothing is left to do", rests).await;
    village.members[&2].change_members(MemberChange::Remove { node: gone, force: false }).await.unwrap();
    village.kill(1).await;
    village.write(2, "y").await;
    village.has(&[2, 3, 4], &["x", "y"]).await;
    let known = async || {
        let status = village.members[&2].status().await;
        (status.nodes.len(), status.nodes_removed) == (3, 1)
    };
    eventually("it is known to be removed", known).await;
    // It does not come back.
    let refused = village.try_start(vec![listed(1, &[1, 2, 3])]).await.remove(0).unwrap_err().to_string();
    assert!(refused.contains("was removed from the cluster"), "{refused}");
    village.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_node_that_starts_while_nobody_can_tell_it_learns_it_later() {
    let mut village = Village::of(&[1, 2, 3, 4]).await;
    let gone = village.id(1);
    village.members[&2].change_members(MemberChange::Drain(gone)).await.unwrap();
    village.rests(&[2, 3, 4]).await;
    village.kill(1).await;
    village.members[&2].change_members(MemberChange::Remove { node: gone, force: false }).await.unwrap();
    for other in [2, 3, 4] {
        village.kill(other).await;
    }
    let all = [1, 2, 3, 4];
    village.start(vec![listed(1, &all)]).await;
    village.start([2, 3, 4].map(|port| listed(port, &all)).into()).await;
    tokio::time::timeout(SOON, village.members[&1].removed()).await.expect("somebody tells it");
    village.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_node_at_the_same_address_takes_the_place_of_the_old_one() {
    let mut village = Village::of(&[1, 2, 3]).await;
    village.write(1, "x").await;
    let old = village.id(3);
    village.kill(3).await;
    village.sims.insert(3, Sim::new());
    village.start(vec![listed(3, &[1, 2, 3])]).await;
    assert_ne!(village.id(3), old);
    village.rests(&[1, 2, 3]).await;
    village.write(3, "y").await;
    village.has(&[1, 2, 3], &["x", "y"]).await;
    let topology = Arc::clone(&village.members[&1].node().meta().topology().borrow());
    assert_eq!(topology.state(old), Some(MemberState::Removed));
    village.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_hands_its_leads_over() {
    let mut village = Village::of(&[1, 2, 3]).await;
    let leads = async || {
        let status = village.members[&1].status().await;
        status.nodes.iter().all(|node| node.leaders > 0)
    };
    eventually("every node leads something", leads).await;
    let leaving = village.members.remove(&1).unwrap();
    leaving.shutdown().await;
    // No election was waited for: others lead already. Of the two that are left each knows its own leads; of the other's it hears later.
    let led: BTreeSet<_> = [2, 3]
        .iter()
        .flat_map(|port| village.members[port].node().groups())
        .filter(|group| group.standing().leads)
        .map(|group| group.id())
        .collect();
    assert_eq!(led.len(), usize::from(PARTITIONS) + 1, "all partitions and the metadata: {led:?}");
    village.write(2, "x").await;
    village.stop().await;
}
