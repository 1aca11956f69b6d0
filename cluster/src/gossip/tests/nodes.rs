//! Nodes that hear each other over loopback.

use tokio_util::task::AbortOnDropHandle;

use super::*;

const SOON: Duration = Duration::from_secs(120);

/// A node that gossips until it is dropped.
struct Running {
    gossip: Arc<Gossip>,
    metrics: GossipMetrics,
    _task: AbortOnDropHandle<()>,
}

/// Nodes 1, 2, ... that know each other.
struct Street {
    sockets: Vec<Arc<UdpSocket>>,
    topology: watch::Sender<Arc<Topology>>,
    started: u64,
}

impl Street {
    async fn of(nodes: u64) -> Self {
        let mut sockets = Vec::new();
        for _ in 0..nodes {
            sockets.push(Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap()));
        }
        let addresses = sockets.iter().map(|socket| (socket.local_addr().unwrap(), MemberState::Active));
        let nodes = (1..).zip(addresses).collect();
        Self { sockets, topology: watch::Sender::new(Arc::new(topology(&nodes))), started: 0 }
    }

    fn start(&mut self, node: NodeId, secrets: Secrets) -> Running {
        self.started += 1;
        let socket = Arc::clone(&self.sockets[node as usize - 1]);
        let metrics = metrics();
        let speaker = Speaker {
            node,
            process: self.started,
            cluster: "c".to_owned(),
            address: socket.local_addr().unwrap().to_string(),
            zone: "z".to_owned(),
            members: members(self.topology.subscribe()),
            topology: self.topology.subscribe(),
            clock: Arc::new(SystemClock::default()),
            seed: self.started,
        };
        let ms = Duration::from_millis;
        let options = GossipOptions {
            socket,
            secrets,
            times: GossipTimes { round: ms(20), look: ms(10), say: ms(50) },
            version: "1.2.3".to_owned(),
            meter: Arc::new(move || Meter { cpu_seconds: 0.0, samples: 0, series: node * 10 }),
            metrics: metrics.clone(),
        };
        let gossip = Arc::new(Gossip::new(speaker, options));
        let task = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&gossip).run(move || node)));
        Running { gossip, metrics, _task: task }
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let waits = async {
        while !condition() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, waits).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

#[tokio::test]
async fn members_hear_each_other_and_notice_who_is_gone() {
    let mut street = Street::of(3).await;
    let secret = secrets(&[SECRET]);
    let mut all: Vec<Running> = (1..=3).map(|node| street.start(node, secret.clone())).collect();
    all[2].gossip.say_config("f00d".to_owned());
    let hear_all = |all: &[Running]| {
        all.iter().zip(1..).all(|(one, own)| (1..=3).filter(|node| *node != own).all(|node| one.gossip.hears(node)))
    };
    until("all hear all", || hear_all(&all)).await;
    let tells = |running: &Running, series| {
        running.gossip.voice(3).is_some_and(|voice| {
            voice.said.load.is_some_and(|load| load.series == series && load.leads == 3)
                && voice.said.config.as_deref() == Some("f00d")
                && voice.said.who.is_some_and(|who| who.version == "1.2.3" && who.zone == "z")
        })
    };
    until("what node 3 says is heard", || tells(&all[0], 30) && tells(&all[2], 30)).await;
    assert_eq!(all[0].metrics.nodes_heard.get(), 2);

    drop(all.pop());
    until("its silence is noticed", || all.iter().all(|one| !one.gossip.hears(3))).await;
    assert!(all[0].gossip.hears(2) && all[1].gossip.hears(1));
    let silent_since = all[0].gossip.voice(3).unwrap().heard_at;
    all.push(street.start(3, secret.clone()));
    until("it is heard again", || hear_all(&all)).await;
    assert!(all[0].gossip.voice(3).unwrap().heard_at > silent_since);

    street.topology.send_modify(|topology| {
        let removed = Arc::make_mut(topology).members.get_mut(&3).unwrap();
        removed.state = MemberState::Removed;
    });
    until("who is removed is ignored", || all[..2].iter().all(|one| one.gossip.voice(3).is_none())).await;
    until("and refused", || all[0].metrics.refused("removed").get() > 0).await;
    assert_eq!(all.iter().map(|one| one.metrics.restarts.get()).sum::<u64>(), 0);
}

#[tokio::test]
async fn another_secret_is_told_on_both_sides_and_mended_without_a_restart() {
    let mut street = Street::of(2).await;
    let one = street.start(1, secrets(&[SECRET]));
    let two = street.start(2, secrets(&[OTHER_SECRET]));
    for (running, other) in [(&one, 2), (&two, 1)] {
        until("it is told", || running.gossip.refused(other).is_some()).await;
        let said = running.gossip.refused(other).unwrap();
        assert!(said.contains("another secret"), "{said}");
        assert!(running.metrics.refused("other_secret").get() > 0);
        assert!(!running.gossip.hears(other));
    }
    two.gossip.replace_secrets(&secrets(&[SECRET]));
    until("they hear each other", || one.gossip.hears(2) && two.gossip.hears(1)).await;
}

#[tokio::test]
async fn a_flood_is_bounded_and_gossip_comes_back_after_it() {
    let mut street = Street::of(2).await;
    let secret = secrets(&[SECRET]);
    let (one, two) = (street.start(1, secret.clone()), street.start(2, secret));
    let hear = || one.gossip.hears(2) && two.gossip.hears(1);
    until("they hear each other", hear).await;
    let to = street.sockets[0].local_addr().unwrap();
    let flood = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let pausing = || one.metrics.pauses.get() > 0;
    let pours = async {
        while !pausing() {
            // What does not fit is thrown away by the system.
            let _ = flood.send_to(b"a flood of nothing", to).await;
        }
    };
    timeout(SOON, pours).await.unwrap();
    assert!(one.metrics.refused("foreign").get() > 0);
    until("they hear each other", hear).await;
    assert_eq!(one.metrics.restarts.get(), 0);
}
