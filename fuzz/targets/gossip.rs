//! What comes to the port of gossip: arbitrary bytes are refused, what a member sealed opens once and never after a change, and nothing
//! is kept of strangers.
#![no_main]

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use pharos_cluster::gossip::metrics::GossipMetrics;
use pharos_cluster::gossip::{Door, Keys, Sealer, Secrets};
use pharos_cluster::peers::NodeId;
use pharos_cluster::rpc::identity::Standing;

const CLUSTER: &str = "00000000000000000000000000000001";
const HERE: NodeId = 1;
const MEMBERS: [NodeId; 3] = [HERE, 2, 3];

static METRICS: LazyLock<GossipMetrics> =
    LazyLock::new(|| GossipMetrics::register(&prometheus::Registry::new()).expect("a registry of its own"));

#[derive(Arbitrary, Debug)]
enum Datagram {
    Raw(Vec<u8>),
    Sealed { node: u8, process: u8, message: Vec<u8>, repeat: bool },
    Changed { node: u8, message: Vec<u8>, at: u16, bits: u8 },
    Cut { node: u8, message: Vec<u8>, len: u16 },
}

fuzz_target!(|datagrams: Vec<Datagram>| {
    let keys = || Keys::new(&Secrets::none(), CLUSTER);
    let members = |node| match MEMBERS.contains(&node) {
        true => Standing::Member { address: "127.0.0.1:1".to_owned() },
        false => Standing::Unknown,
    };
    let mut door = Door::new(HERE, keys(), Arc::new(members), METRICS.clone());
    let from = SocketAddr::from(([127, 0, 0, 1], 9));
    // A sealer counts from the beginning: each datagram is of a process of its own.
    let mut process = 0_u64;
    for (second, datagram) in (1..).zip(datagrams) {
        let now = Duration::from_secs(second);
        let mut take = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            door.take(&mut bytes, from, now).map(|opened| opened.message.into_owned())
        };
        let mut seal = |node: u8, drawn: u8, message: &[u8]| {
            process += 1;
            Sealer::new(NodeId::from(node), process << 8 | u64::from(drawn), &keys()).seal(message)
        };
        match datagram {
            Datagram::Raw(bytes) => assert_eq!(take(&bytes), None),
            Datagram::Sealed { node, process, message, repeat } => {
                let Some(bytes) = seal(node, process, &message) else { continue };
                let expected = (MEMBERS.contains(&NodeId::from(node)) && NodeId::from(node) != HERE).then_some(message);
                assert_eq!(take(&bytes), expected);
                if repeat {
                    assert_eq!(take(&bytes), None);
                }
            }
            Datagram::Changed { node, message, at, bits } => {
                let Some(mut bytes) = seal(node, 0, &message) else { continue };
                let at = usize::from(at) % bytes.len();
                bytes[at] ^= bits.max(1);
                assert_eq!(take(&bytes), None);
            }
            Datagram::Cut { node, message, len } => {
                let Some(bytes) = seal(node, 0, &message) else { continue };
                assert_eq!(take(&bytes[..usize::from(len) % bytes.len()]), None);
            }
        }
    }
});
