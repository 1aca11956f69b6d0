//! Founding, joining, coming back.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_fresh_nodes_with_the_same_list_become_one_cluster() {
    let village = Village::of(&[1, 2, 3]).await;
    let clusters: BTreeSet<String> =
        village.members.values().map(|member| member.node().cluster().id.clone()).collect();
    assert_eq!(clusters.len(), 1, "{clusters:?}");
    let status = village.members[&1].status().await;
    assert_eq!(status.cluster.map(|cluster| cluster.name), Some("main".to_owned()));
    assert_eq!(status.nodes.iter().map(|node| node.replicas).collect::<Vec<_>>(), [4, 4, 4]);
    village.write(3, "x").await;
    village.has(&[1, 2, 3], &["x"]).await;
    village.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fourth_node_gets_its_share_with_what_was_written_before() {
    let mut village = Village::of(&[1, 2, 3]).await;
    village.write(1, "x").await;
    village.start(vec![coming(4, 2)]).await;
    village.rests(&[1, 2, 3, 4]).await;
    // Each node's own metadata comes to say so.
    let even = async |port: u16| {
        let status = village.members[&port].status().await;
        status.nodes.iter().map(|node| node.replicas).eq([3, 3, 3, 3])
    };
    for port in [1, 2, 3, 4] {
        eventually("every node has a quarter", async || even(port).await).await;
    }
    village.write(4, "y").await;
    village.has(&[1, 2, 3, 4], &["x", "y"]).await;
    // Who gave a replica away has dropped it.
    let dropped = async || village.members.values().all(|member| member.node().replicas().len() == 3);
    eventually("nobody keeps what it does not hold", dropped).await;
    village.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_and_then_all_of_them_are_started_again() {
    let ports = [1, 2, 3];
    let mut village = Village::of(&ports).await;
    let ids: Vec<NodeId> = ports.iter().map(|port| village.id(*port)).collect();
    village.write(1, "x").await;
    village.kill(2).await;
    village.write(1, "y").await;
    village.start(vec![listed(2, &ports)]).await;
    village.has(&ports, &["x", "y"]).await;
    for port in ports {
        village.kill(port).await;
    }
    village.start(ports.iter().map(|&port| listed(port, &ports)).collect()).await;
    village.write(3, "z").await;
    village.has(&ports, &["x", "y", "z"]).await;
    assert_eq!(ports.iter().map(|port| village.id(*port)).collect::<Vec<_>>(), ids);
    village.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_one_is_joined_by_others_when_it_listens() {
    let mut village = Village::default();
    // As a program without any network opens it.
    let sim = Sim::new();
    let dir = crate::node::NodeDir::lock(Arc::new(sim.clone()), Path::new("/node")).unwrap();
    let opening = sim.clone();
    let open: OpenPartition = Arc::new(move |partition| {
        let (machine, raft_state) = Journal::open(&opening, partition);
        Ok(Restored { machine, raft_state })
    });
    let node = Node::open(dir, node_options(PARTITIONS), open).await.unwrap();
    node.proposer(PartitionId(1)).propose(Bytes::from("alone")).await.unwrap();
    let cluster = node.cluster().id.clone();
    node.shutdown().await;
    drop(node);

    village.sims.insert(1, sim);
    let listens = Flags { name: "main".to_owned(), address: address(1), ..Flags::default() };
    village.start(vec![listens]).await;
    village.start(vec![coming(2, 1), coming(3, 1)]).await;
    village.rests(&[1, 2, 3]).await;
    let status = village.members[&3].status().await.cluster.unwrap();
    assert_eq!((status.id, status.name.as_str()), (cluster, "main"));
    let has = async || village.stores[&3].lock().get(&PartitionId(1)).is_some_and(|at| at.commands() == ["alone"]);
    eventually("what was there comes along", has).await;
    village.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_hear_each_other_before_they_need_to() {
    let mut village = Village::of(&[1, 2, 3]).await;
    let heard = |one: u16, other: u16| {
        let (network, id) = (village.members[&one].network(), village.id(other));
        network.silence(id).is_some_and(|silence| silence < Duration::from_secs(1))
    };
    // Nobody reads or writes, so these two have not called each other.
    eventually("they hear each other", async || heard(2, 3) && heard(3, 2)).await;
    village.kill(1).await;
    village.write(2, "x").await;
    village.has(&[2, 3], &["x"]).await;
    village.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_first_node_founds_nothing_while_the_others_start_again() {
    let ports = [1, 2, 3];
    let mut village = Village::of(&ports).await;
    village.write(2, "x").await;
    let cluster = village.members[&2].node().cluster().id.clone();
    for port in ports {
        village.kill(port).await;
    }
    village.sims.insert(1, Sim::new());
    // The first of the list is fresh, and the others answer before they are open.
    village.start(ports.iter().map(|&port| listed(port, &ports)).collect()).await;
    assert_eq!(village.members[&1].node().cluster().id, cluster);
    village.write(1, "y").await;
    village.has(&ports, &["x", "y"]).await;
    village.stop().await;
}

/// What a node found of itself when it was killed between its admission and the end of its first start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_that_was_killed_in_its_first_start_goes_on() {
    let mut village = Village::default();
    village.start(vec![listed(1, &[1, 2]), listed(2, &[1, 2])]).await;
    village.rests(&[1, 2]).await;
    village.kill(2).await;
    let path = Path::new("/node/node.json");
    let complete = String::from_utf8(village.sims[&2].content(path).unwrap()).unwrap();
    let begun = complete.replace("\"initialized\":true", "\"initialized\":false");
    assert_ne!(begun, complete);
    village.sims[&2].put(path, begun.into_bytes());
    // The metadata group has two voters: it commits nothing before this node is back.
    village.start(vec![listed(2, &[1, 2])]).await;
    village.write(2, "x").await;
    village.has(&[1, 2], &["x"]).await;
    village.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_remembers_who_took_it_in_before_it_takes_part() {
    let mut village = Village::of(&[1]).await;
    let mut options = village.options(coming(2, 1));
    options.node.leader_wait_max = Duration::ZERO;
    let sim = Sim::new();
    let open: OpenPartition = Arc::new(|partition| panic!("partition {partition} is none of this node's"));
    let started = Member::start(Arc::new(sim.clone()), Path::new("/node"), open, options).await;
    assert!(matches!(started, Err(MemberError::Node(NodeError::NotTakenIn { .. }))), "{started:?}");
    let left = crate::node::NodeDir::lock(Arc::new(sim.kill()), Path::new("/node")).unwrap();
    assert_eq!(left.cluster().map(|cluster| &cluster.id), Some(&village.members[&1].node().cluster().id));
    village.stop().await;
}
