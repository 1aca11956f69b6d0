//! What is opened and what is not.

use super::super::door::Refusal;
use super::super::socket::Slice;
use super::*;

const CLUSTER: &str = "00000000000000000000000000000001";
/// The node that reads, and those that write.
const HERE: NodeId = 1;
const THERE: NodeId = 2;
const GONE: NodeId = 3;
const THIRD: NodeId = 4;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn somewhere() -> SocketAddr {
    ([127, 0, 0, 1], 9).into()
}

fn door(lines: &[&str]) -> (Door, GossipMetrics) {
    let of = |id, state| (id, (somewhere(), state));
    let active = MemberState::Active;
    let nodes = [of(HERE, active), of(THERE, active), of(GONE, MemberState::Removed), of(THIRD, active)];
    let topology = watch::channel(Arc::new(topology(&nodes.into_iter().collect()))).1;
    let metrics = metrics();
    (Door::new(HERE, Keys::new(&secrets(lines), CLUSTER), members(topology), metrics.clone()), metrics)
}

fn sealer(node: NodeId, process: u64, lines: &[&str]) -> Sealer {
    Sealer::new(node, process, &Keys::new(&secrets(lines), CLUSTER))
}

fn take(door: &mut Door, datagram: &[u8], now: Duration) -> Option<String> {
    let mut datagram = datagram.to_vec();
    let opened = door.take(&mut datagram, somewhere(), now)?;
    Some(String::from_utf8_lossy(&opened.message).into_owned())
}

/// Why a datagram is refused, by what is counted.
fn reason(door: &mut Door, metrics: &GossipMetrics, datagram: &[u8], now: Duration) -> Vec<&'static str> {
    let all = [
        "foreign",
        "version",
        "own",
        "stranger",
        "removed",
        "other_secret",
        "too_many",
        "repeated",
        "forged",
        "unreadable",
    ];
    let counts = || all.map(|reason| metrics.refused(reason).get());
    let before = counts();
    assert_eq!(take(door, datagram, now), None);
    let after = counts();
    all.into_iter().enumerate().filter(|(at, _)| after[*at] > before[*at]).map(|(_, reason)| reason).collect()
}

#[test]
fn what_a_member_seals_opens_once() {
    let (mut door, metrics) = door(&[SECRET]);
    let there = sealer(THERE, 7, &[SECRET]);
    let all: Vec<Vec<u8>> = (0..3).map(|n| there.seal(format!("hello {n}").as_bytes()).unwrap()).collect();
    for n in [1, 0, 2] {
        assert_eq!(take(&mut door, &all[n], at(1)), Some(format!("hello {n}")));
        assert_eq!(reason(&mut door, &metrics, &all[n], at(1)), ["repeated"]);
    }
    let much_later: Vec<Vec<u8>> = (0..200).map(|_| there.seal(b"x").unwrap()).collect();
    assert!(take(&mut door, &much_later[199], at(2)).is_some());
    assert_eq!(reason(&mut door, &metrics, &much_later[0], at(2)), ["repeated"], "too old to know");
    // A process that was started again counts anew, and what its predecessors said still counts once.
    for process in 8..11 {
        assert!(take(&mut door, &sealer(THERE, process, &[SECRET]).seal(b"again").unwrap(), at(3)).is_some());
    }
    assert_eq!(reason(&mut door, &metrics, &all[2], at(3)), ["repeated"]);
    assert_eq!(metrics.received_datagrams.get(), 3 + 3 + 1 + 1 + 3 + 1);
}

#[test]
fn what_others_seal_does_not_open() {
    let (mut door, metrics) = door(&[SECRET]);
    let other_cluster = Sealer::new(THERE, 7, &Keys::new(&secrets(&[SECRET]), "00000000000000000000000000000002"));
    let cases = [
        (sealer(THERE, 7, &[OTHER_SECRET]).seal(b"x"), "other_secret"),
        (Sealer::new(THERE, 7, &Keys::new(&Secrets::none(), CLUSTER)).seal(b"x"), "other_secret"),
        (other_cluster.seal(b"x"), "other_secret"),
        (sealer(9, 7, &[SECRET]).seal(b"x"), "stranger"),
        (sealer(GONE, 7, &[SECRET]).seal(b"x"), "removed"),
        (sealer(HERE, 7, &[SECRET]).seal(b"x"), "own"),
        (Some(b"GET / HTTP/1.1\r\nHost: a-host-with-some-name\r\n\r\n".to_vec()), "foreign"),
        (Some(Vec::new()), "foreign"),
    ];
    for (datagram, expected) in cases {
        assert_eq!(reason(&mut door, &metrics, &datagram.unwrap(), at(1)), [expected]);
    }
    // Sealed by one member in the name of another process, or changed on the way.
    let mut forged = sealer(THERE, 7, &[SECRET]).seal(b"x").unwrap();
    forged[16] ^= 1;
    assert_eq!(reason(&mut door, &metrics, &forged, at(1)), ["forged"]);
    forged[3] = 2;
    assert_eq!(reason(&mut door, &metrics, &forged, at(1)), ["version"]);
}

#[test]
fn a_secret_is_changed_in_three_steps_without_a_gap() {
    let hears = |here: &[&str], there: &[&str]| {
        take(&mut door(here).0, &sealer(THERE, 7, there).seal(b"x").unwrap(), at(1)).is_some()
    };
    let steps: [&[&str]; 4] = [&[SECRET], &[SECRET, OTHER_SECRET], &[OTHER_SECRET, SECRET], &[OTHER_SECRET]];
    for pair in steps.windows(2) {
        assert!(hears(pair[0], pair[1]) && hears(pair[1], pair[0]), "{pair:?}");
    }
    assert!(!hears(steps[0], steps[2]));
    // Within a process, from one to the other, counters go on.
    let (mut door, metrics) = door(&[SECRET]);
    let there = sealer(THERE, 7, &[SECRET]);
    let first = there.seal(b"x").unwrap();
    assert!(take(&mut door, &first, at(1)).is_some());
    let both = Keys::new(&secrets(&[OTHER_SECRET, SECRET]), CLUSTER);
    there.replace_keys(&both);
    door.replace_keys(both);
    assert_eq!(reason(&mut door, &metrics, &first, at(1)), ["repeated"]);
    assert!(take(&mut door, &there.seal(b"x").unwrap(), at(1)).is_some());
}

#[test]
fn a_flood_in_one_name_keeps_out_no_other() {
    let (mut door, metrics) = door(&[SECRET]);
    let (there, third) = (sealer(THERE, 7, &[SECRET]), sealer(THIRD, 7, &[SECRET]));
    let mut forged = sealer(THERE, 8, &[SECRET]).seal(b"x").unwrap();
    forged[HEADER_COUNTER] ^= 1;
    for _ in 0..1000 {
        assert_eq!(take(&mut door, &forged, at(5)), None);
    }
    assert_eq!(metrics.refused("forged").get(), 100, "opened at most in a second");
    assert_eq!(metrics.refused("too_many").get(), 900);
    assert_eq!(reason(&mut door, &metrics, &there.seal(b"x").unwrap(), at(5)), ["too_many"]);
    assert!(take(&mut door, &third.seal(b"x").unwrap(), at(5)).is_some());
    assert!(take(&mut door, &there.seal(b"x").unwrap(), at(6)).is_some());
}

/// A byte of the counter in a datagram.
const HEADER_COUNTER: usize = 24;

#[test]
fn reading_pauses_when_more_comes_than_is_read() {
    for (bytes, expected) in [(100, 1000), (60_000, 35)] {
        let (mut slice, mut read) = (Slice::default(), 0);
        let now = at(9);
        while slice.pause(now).is_none() {
            slice.read(bytes);
            read += 1;
        }
        assert_eq!(read, expected);
        assert_eq!(slice.pause(now + Duration::from_millis(40)), Some(Duration::from_millis(60)));
        assert_eq!(slice.pause(now + Duration::from_millis(100)), None);
    }
}

#[test]
fn a_refusal_is_told_with_what_to_do() {
    let (mut door, _) = door(&[SECRET]);
    let datagram = sealer(THERE, 7, &[OTHER_SECRET]).seal(b"x").unwrap();
    assert_eq!(take(&mut door, &datagram, at(100)), None);
    assert_eq!(door.refused(THERE, at(130), at(60)), Some(Refusal::OtherSecret(THERE)));
    assert_eq!(door.refused(THERE, at(161), at(60)), None);
    assert_eq!(door.refused(THIRD, at(100), at(60)), None);
    let said = Refusal::OtherSecret(THERE).to_string();
    assert!(said.contains("0000000000000002") && said.contains("--cluster.gossip-secret-file"), "{said}");
}
