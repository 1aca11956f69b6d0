//! The state machine's rules: members, placement, documents, and what is read back from disk.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use pharos_model::PartitionId;
use prometheus::Registry;
use proptest::prelude::*;

use super::command::{Answer, Command, Founding, Placing};
use super::machine::{MetaMachine, State};
use super::*;
use crate::fs::Fs;
use crate::fs::sim::Sim;
use crate::metrics::Metrics;
use crate::peers::NodeId;
use crate::state_machine::StateMachine;

fn open(fs: &Arc<Sim>) -> (MetaMachine, Option<Bytes>) {
    let metrics = Metrics::register(&Registry::new()).unwrap().meta;
    MetaMachine::open(fs.clone(), Path::new("/meta"), metrics).unwrap()
}

fn spec(id: NodeId) -> NodeSpec {
    NodeSpec { id, peer: format!("node-{id}:9095"), http: format!("node-{id}:9090"), zone: String::new() }
}

fn cluster(partitions: u16) -> Cluster {
    Cluster { id: "ab".repeat(16), name: "one".to_owned(), partitions }
}

fn found(partitions: u16, founder: Option<NodeId>) -> Command {
    let founder = founder.map(|id| Founder { node: spec(id), at_ms: 1 });
    Command::Found(Founding { cluster: cluster(partitions), founder })
}

fn put(id: NodeId) -> Command {
    Command::PutNode { node: spec(id), replaces: None, force: false, at_ms: 2 }
}

fn replace(id: NodeId, old: NodeId, force: bool) -> Command {
    let node = NodeSpec { peer: spec(old).peer, http: spec(old).http, ..spec(id) };
    Command::PutNode { node, replaces: Some(old), force, at_ms: 3 }
}

fn remove(node: NodeId, force: bool) -> Command {
    Command::RemoveNode { node, force, at_ms: 4 }
}

fn placing(epoch: u64, add: impl Into<Option<NodeId>>, remove: impl Into<Option<NodeId>>) -> Placing {
    Placing { partition: 0, epoch, moving: Move { add: add.into(), remove: remove.into() } }
}

/// A cluster of one partition on as many of the nodes as may hold it, and the rest.
fn state(replicas: &[NodeId], others: &[NodeId]) -> State {
    let mut state = State::default();
    state.step(found(1, Some(replicas[0])));
    for id in replicas[1..].iter().chain(others) {
        assert_eq!(state.step(put(*id)), Answer::Done);
    }
    for (at, id) in replicas.iter().enumerate().skip(1) {
        let placing = placing(at as u64, *id, None);
        assert!(matches!(state.step(Command::BeginMove(placing.clone())), Answer::Placed(_)));
        assert!(matches!(state.step(Command::FinishMove(placing)), Answer::Placed(_)));
    }
    assert_eq!(state.topology.placement[0].replicas, replicas);
    state
}

/// Applies a command twice: the second time changes nothing and is answered alike.
fn twice(state: &mut State, command: Command) -> Answer {
    let first = state.step(command.clone());
    let after = state.clone();
    assert_eq!(state.step(command), first);
    assert_eq!(*state, after);
    first
}

fn reason(answer: Answer) -> String {
    match answer {
        Answer::Refused(reason) => reason,
        other => panic!("expected a refusal, not {other:?}"),
    }
}

#[test]
fn who_founds_is_the_only_member_and_holds_everything() {
    let mut state = State::default();
    assert_eq!(twice(&mut state, found(3, Some(7))), Answer::Cluster(cluster(3)));
    assert!(state.topology.placement.iter().all(|placed| placed.replicas == [7] && placed.epoch == 1));
    assert_eq!(state.step(found(5, Some(8))), Answer::Cluster(cluster(3)), "a second one learns what there is");
    assert_eq!(state.topology.present().count(), 1);
}

/// What a node alone wrote before there were members.
const FIRST_FORMAT: &[u8] = br#"{"cluster":{"id":"ab","partitions":2},
    "manifests":[{"partition":0,"tenant":"anonymous","version":3,"object":"x"}]}"#;

#[test]
fn a_checkpoint_from_before_members_opens_and_founds_with_who_opened_it() {
    let fs = Arc::new(Sim::new());
    fs.create_dir_all(Path::new("/meta")).unwrap();
    checkpoint_file::write(&*fs, Path::new("/meta/checkpoint"), b"position", FIRST_FORMAT).unwrap();
    let (machine, raft_state) = open(&fs);
    assert_eq!(raft_state, Some(Bytes::from("position")));
    machine.apply(&[Bytes::from(serde_json::to_vec(&found(2, Some(7))).unwrap())]);
    machine.begin_checkpoint(Bytes::from("next")).unwrap()().unwrap();
    let (machine, _) = open(&fs);
    let pointers = machine.manifests_of("anonymous", &[PartitionId(0)]);
    assert_eq!(pointers[0].as_ref().unwrap().version, 3);
    let topology = machine.topology().borrow().clone();
    assert!(topology.is_active(7) && topology.placement.iter().all(|placed| placed.replicas == [7]));
}

#[test]
fn a_cluster_from_before_members_gets_its_first_and_a_name() {
    let mut state = State::from_json(FIRST_FORMAT).unwrap();
    assert_eq!(state.topology.present().count(), 0);
    let founded = Cluster { id: "ab".to_owned(), name: "one".to_owned(), partitions: 2 };
    assert_eq!(twice(&mut state, found(9, Some(7))), Answer::Cluster(founded));
    assert_eq!(state.topology.placement.len(), 2);
    let reread = State::from_json(&state.to_json()).unwrap();
    assert_eq!(reread, state);
}

#[test]
fn a_command_of_before_members_is_still_understood() {
    let command: Command = serde_json::from_str(r#"{"found":{"id":"ab","partitions":2}}"#).unwrap();
    let cluster = Cluster { id: "ab".to_owned(), name: String::new(), partitions: 2 };
    assert_eq!(command, Command::Found(Founding { cluster, founder: None }));
}

#[test]
fn a_newer_document_is_refused_by_its_version() {
    let error = State::from_json(br#"{"version":3,"cluster":null,"manifests":[]}"#).unwrap_err();
    assert!(error.to_string().contains("version 3, this program knows those up to 2"), "{error}");
}

#[test]
fn a_node_may_change_what_it_says_of_itself_but_not_take_an_address() {
    let mut state = state(&[1], &[2]);
    let moved = NodeSpec { zone: "b".to_owned(), peer: "elsewhere:1".to_owned(), ..spec(2) };
    let command = Command::PutNode { node: moved.clone(), replaces: None, force: false, at_ms: 9 };
    assert_eq!(twice(&mut state, command), Answer::Done);
    assert_eq!(state.topology.members[&2], Member { spec: moved, state: MemberState::Active, since_ms: 2 });
    let taken = NodeSpec { peer: spec(1).peer, ..spec(3) };
    let taken = Command::PutNode { node: taken, replaces: None, force: false, at_ms: 9 };
    assert!(reason(twice(&mut state, taken)).contains("address node-1:9095 is that of node 0000000000000001"));
    let long = NodeSpec { zone: "z".repeat(65), ..spec(3) };
    let long = Command::PutNode { node: long, replaces: None, force: false, at_ms: 9 };
    assert!(reason(state.step(long)).contains("zone of 65 bytes, allowed are 64"));
}

#[test]
fn a_removed_node_never_comes_back() {
    let mut state = state(&[1, 2, 3], &[4]);
    assert_eq!(twice(&mut state, remove(4, false)), Answer::Done);
    for again in [put(4), Command::DrainNode { node: 4, at_ms: 5 }, Command::UndrainNode { node: 4, at_ms: 5 }] {
        assert!(reason(twice(&mut state, again)).contains("never admitted again"));
    }
    assert!(reason(state.step(remove(5, false))).contains("not a member"));
    let fresh = NodeSpec { id: 5, ..spec(4) };
    let fresh = Command::PutNode { node: fresh, replaces: None, force: false, at_ms: 6 };
    assert_eq!(twice(&mut state, fresh), Answer::Done, "its address is free");
}

#[test]
fn a_node_at_the_address_of_another_takes_its_place() {
    let mut state = state(&[1, 2, 3], &[]);
    assert_eq!(twice(&mut state, replace(4, 3, false)), Answer::Done);
    assert_eq!(state.topology.state(3), Some(MemberState::Removed));
    assert!(state.topology.is_active(4));
    let before = state.clone();
    assert!(reason(twice(&mut state, replace(5, 2, false))).contains("without a majority"));
    assert_eq!(state, before, "nor was the new one taken in");
    assert_eq!(twice(&mut state, replace(5, 2, true)), Answer::Done);
    assert_eq!(state.topology.without_leader_for_ever(), [0]);
}

#[test]
fn no_node_is_removed_while_its_replicas_make_the_majority() {
    let mut state = state(&[1, 2, 3], &[4]);
    assert_eq!(state.step(remove(1, false)), Answer::Done);
    assert!(reason(twice(&mut state, remove(2, false))).contains("partitions, 0 the first, would be left"));
    assert!(state.topology.without_leader_for_ever().is_empty());
    assert_eq!(twice(&mut state, remove(2, true)), Answer::Done);
    assert_eq!(state.topology.without_leader_for_ever(), [0]);
}

#[test]
fn who_is_coming_counts_as_if_it_were_there() {
    let mut state = state(&[1, 2, 3], &[4]);
    state.step(Command::BeginMove(placing(3, 4, 3)));
    assert_eq!(state.step(remove(1, false)), Answer::Done);
    assert!(reason(state.step(remove(4, false))).contains("majority"), "the group may have 1, 2, 4 as voters");
    assert!(reason(state.step(remove(3, false))).contains("majority"));
}

#[test]
fn the_last_active_node_stays() {
    let mut state = state(&[1], &[2]);
    assert_eq!(twice(&mut state, Command::DrainNode { node: 2, at_ms: 7 }), Answer::Done);
    assert!(reason(state.step(Command::DrainNode { node: 1, at_ms: 8 })).contains("last active"));
    assert!(reason(state.step(remove(1, true))).contains("last active"));
    assert_eq!(state.topology.members[&2].since_ms, 7);
    assert_eq!(twice(&mut state, Command::UndrainNode { node: 2, at_ms: 9 }), Answer::Done);
    assert!(reason(state.step(remove(1, false))).contains("drain node"));
}

#[test]
fn a_move_begins_and_ends_once() {
    let mut state = state(&[1, 2, 3], &[4, 5]);
    assert!(matches!(twice(&mut state, Command::BeginMove(placing(3, 4, 2))), Answer::Placed(_)));
    let conflict = |answer: Answer| matches!(answer, Answer::PlacedElsewhere(_));
    assert!(conflict(twice(&mut state, Command::BeginMove(placing(3, 5, 2)))), "one move at a time");
    assert!(conflict(twice(&mut state, Command::FinishMove(placing(3, 5, 2)))), "another one is under way");
    assert!(matches!(twice(&mut state, Command::FinishMove(placing(3, 4, 2))), Answer::Placed(_)));
    let placed = &state.topology.placement[0];
    assert_eq!((placed.epoch, placed.replicas.as_slice(), placed.moving), (4, [1, 4, 3].as_slice(), None));
    assert!(conflict(twice(&mut state, Command::CancelMove(placing(3, 4, 2)))), "it ended the other way");
    assert!(conflict(twice(&mut state, Command::BeginMove(placing(3, 4, 2)))), "the epoch is another one");
}

#[test]
fn a_cancelled_move_does_not_come_back() {
    let mut state = state(&[1, 2, 3], &[4]);
    state.step(Command::BeginMove(placing(3, 4, 2)));
    assert!(matches!(twice(&mut state, Command::CancelMove(placing(3, 4, 2))), Answer::Placed(_)));
    assert!(matches!(state.step(Command::BeginMove(placing(3, 4, 2))), Answer::PlacedElsewhere(_)));
    assert!(matches!(state.step(Command::FinishMove(placing(3, 4, 2))), Answer::PlacedElsewhere(_)));
    assert_eq!(state.topology.placement[0].replicas, [1, 2, 3]);
}

#[test]
fn moves_that_make_no_sense_are_refused() {
    let mut state = state(&[1], &[2, 3]);
    state.step(Command::DrainNode { node: 3, at_ms: 5 });
    for (add, remove) in
        [(None, None), (Some(1), None), (None, Some(2)), (None, Some(1)), (Some(3), None), (Some(9), None)]
    {
        reason(twice(&mut state, Command::BeginMove(placing(1, add, remove))));
    }
    reason(twice(&mut state, Command::BeginMove(Placing { partition: 1, ..placing(1, 2, None) })));
    reason(twice(&mut state, Command::PreferLeader { partition: 0, epoch: 1, leader: 2 }));
}

#[test]
fn the_preferred_leader_is_the_first_replica() {
    let mut state = state(&[1, 2, 3], &[]);
    let prefer = Command::PreferLeader { partition: 0, epoch: 3, leader: 3 };
    assert!(matches!(twice(&mut state, prefer), Answer::Placed(_)));
    assert_eq!(state.topology.placement[0].replicas, [3, 1, 2]);
    assert_eq!(state.topology.placement[0].epoch, 4);
}

fn put_document(expected: u64, content: impl Into<String>) -> Command {
    Command::PutDocument { name: "scrape".to_owned(), expected, content: content.into(), at_ms: 5 }
}

fn roll_back(expected: u64, to: u64) -> Command {
    Command::RollBackDocument { name: "scrape".to_owned(), expected, to, at_ms: 6 }
}

fn written(answer: Answer) -> (u64, String) {
    match answer {
        Answer::Written(version) => (version.version, version.content),
        other => panic!("expected a version, not {other:?}"),
    }
}

#[test]
fn documents_are_written_once_and_roll_back() {
    let mut state = State::default();
    assert_eq!(twice(&mut state, roll_back(0, 1)), Answer::WrittenMeanwhile(0));
    assert_eq!(written(twice(&mut state, put_document(0, "a"))), (1, "a".to_owned()));
    assert_eq!(written(twice(&mut state, put_document(1, "b"))), (2, "b".to_owned()));
    assert_eq!(twice(&mut state, put_document(1, "c")), Answer::WrittenMeanwhile(2));
    assert_eq!(written(twice(&mut state, roll_back(2, 1))), (3, "a".to_owned()));
    assert_eq!(twice(&mut state, put_document(2, "a")), Answer::WrittenMeanwhile(3), "a way back is no write");
    assert!(reason(state.step(roll_back(3, 4))).contains("1 to 3 are"));
    let document = state.documents.get("scrape").unwrap();
    assert_eq!(document.current().rolled_back_to, Some(1));
    assert_eq!(State::from_json(&state.to_json()).unwrap(), state);
}

#[test]
fn a_document_that_was_changed_since_does_not_make_a_repeated_write_a_refused_one() {
    let mut state = State::default();
    written(state.step(put_document(0, "a")));
    written(state.step(put_document(1, "b")));
    written(state.step(roll_back(2, 1)));
    written(state.step(put_document(3, "c")));
    assert_eq!(written(state.step(put_document(1, "b"))), (2, "b".to_owned()));
    assert_eq!(written(state.step(roll_back(2, 1))), (3, "a".to_owned()));
    assert_eq!(state.documents.get("scrape").unwrap().current().version, 4);
    // The same text from somebody else, later: that is refused.
    let later = Command::PutDocument { name: "scrape".to_owned(), expected: 1, content: "b".to_owned(), at_ms: 6 };
    assert_eq!(state.step(later), Answer::WrittenMeanwhile(4));
}

#[test]
fn documents_are_bounded_in_number_size_and_history() {
    let mut state = State::default();
    for version in 0..20 {
        written(state.step(put_document(version, format!("{version}"))));
    }
    let kept: Vec<u64> = state.documents.get("scrape").unwrap().versions().map(|version| version.version).collect();
    assert_eq!(kept, (11..=20).collect::<Vec<_>>());
    assert_eq!(state.step(put_document(10, "x")), Answer::WrittenMeanwhile(20), "version 11 is another one");
    assert_eq!(state.step(put_document(9, "x")), Answer::Overtaken(20), "who knows what version 10 was");
    assert_eq!(state.step(roll_back(9, 12)), Answer::Overtaken(20));
    let big = "x".repeat(DOCUMENT_BYTES_MAX);
    assert!(reason(state.step(put_document(20, big.clone() + "x"))).contains("allowed are 262144"));

    let named = |name: String, expected, content: &str| Command::PutDocument {
        name,
        expected,
        content: content.to_owned(),
        at_ms: 5,
    };
    for at in 0..31 {
        written(state.step(named(format!("big/{at}"), 0, &big)));
    }
    written(state.step(named("big/0".to_owned(), 1, "small")));
    assert!(state.documents.bytes() <= DOCUMENTS_BYTES_MAX);
    assert!(reason(state.step(named("big/1".to_owned(), 1, &big))).contains("all documents would take more"));
    written(state.step(named("big/0".to_owned(), 2, "smaller")));
    written(state.step(named("big/0".to_owned(), 3, &big)));
    let oldest = state.documents.get("big/0").unwrap().versions().next().unwrap().version;
    assert_eq!(oldest, 2, "the first version made room");

    for at in 32..DOCUMENTS_MAX {
        written(state.step(named(format!("d{at}"), 0, "")));
    }
    assert!(reason(state.step(named("one.more".to_owned(), 0, ""))).contains("no more are kept"));
    for name in ["", "a b", "ä", &"n".repeat(65)] {
        assert!(reason(state.step(named(name.to_owned(), 0, ""))).contains("document names"));
    }
}

#[test]
fn readers_see_what_was_applied_and_only_changes() {
    let fs = Arc::new(Sim::new());
    let (machine, _) = open(&fs);
    let apply = |command: &Command| machine.apply(&[Bytes::from(serde_json::to_vec(command).unwrap())]);
    let (mut topology, mut documents) = (machine.topology(), machine.documents());
    apply(&found(1, Some(1)));
    assert!(topology.has_changed().unwrap() && !documents.has_changed().unwrap());
    assert!(topology.borrow_and_update().is_active(1));
    apply(&put_document(0, "a"));
    apply(&found(1, Some(1)));
    assert!(!topology.has_changed().unwrap() && documents.has_changed().unwrap());
    assert_eq!(documents.borrow_and_update().get("scrape").unwrap().current().content, "a");
}

#[test]
fn what_is_kept_and_what_is_refused_is_counted() {
    let fs = Arc::new(Sim::new());
    let (machine, _) = open(&fs);
    let apply = |command: &Command| machine.apply(&[Bytes::from(serde_json::to_vec(command).unwrap())]);
    for command in [found(1, Some(1)), put(2), remove(2, false), put(2), put_document(0, "ab"), put_document(3, "c")] {
        apply(&command);
    }
    machine.apply(&[Bytes::from("no command")]);
    let metrics = machine.metrics();
    assert_eq!((metrics.members.get(), metrics.tombstones.get()), (1, 1));
    assert_eq!((metrics.documents.get(), metrics.document_bytes.get()), (1, 2));
    assert_eq!((metrics.commands.get(), metrics.commands_refused.get()), (7, 3));
    machine.begin_checkpoint(Bytes::new()).unwrap()().unwrap();
    assert_eq!(open(&fs).0.metrics().tombstones.get(), 1, "also of what was opened");
}

#[test]
fn states_that_no_commands_lead_to_are_damage() {
    let good = String::from_utf8(state(&[1, 2, 3], &[]).to_json().to_vec()).unwrap();
    assert!(State::from_json(good.as_bytes()).is_ok());
    for (from, to) in [
        (r#""replicas":[1,2,3]"#, r#""replicas":[]"#),
        (r#""replicas":[1,2,3]"#, r#""replicas":[1,2,2]"#),
        (r#""replicas":[1,2,3]"#, r#""replicas":[1,2,4]"#),
        (r#""replicas":[1,2,3]"#, r#""replicas":[1,2,3],"move":{}"#),
        (r#""replicas":[1,2,3]"#, r#""replicas":[1,2,3],"move":{"add":3}"#),
        (r#""partitions":1"#, r#""partitions":2"#),
        (r#""epoch":3"#, r#""epoch":18446744073709551615"#),
    ] {
        assert!(good.contains(from), "{good}");
        assert!(State::from_json(good.replace(from, to).as_bytes()).is_err(), "{to}");
    }
}

/// Commands that make some sense, about few nodes and one partition or two.
fn any_command() -> impl Strategy<Value = Command> {
    let node = || 1..6u64;
    let placing = || {
        (0..3u16, 0..8u64, proptest::option::of(node()), proptest::option::of(node()))
            .prop_map(|(partition, epoch, add, remove)| Placing { partition, epoch, moving: Move { add, remove } })
    };
    prop_oneof![
        node().prop_map(|id| found(2, Some(id))),
        (node(), proptest::option::of(node()), any::<bool>()).prop_map(|(id, replaces, force)| Command::PutNode {
            node: spec(id),
            replaces,
            force,
            at_ms: 1
        }),
        node().prop_map(|node| Command::DrainNode { node, at_ms: 2 }),
        node().prop_map(|node| Command::UndrainNode { node, at_ms: 3 }),
        (node(), any::<bool>()).prop_map(|(node, force)| remove(node, force)),
        placing().prop_map(Command::BeginMove),
        placing().prop_map(Command::FinishMove),
        placing().prop_map(Command::CancelMove),
        (0..3u16, 0..8u64, node()).prop_map(|(partition, epoch, leader)| Command::PreferLeader {
            partition,
            epoch,
            leader
        }),
        (0..4u64, "[ab]{0,2}").prop_map(|(expected, content)| put_document(expected, content)),
        (0..4u64, 0..4u64).prop_map(|(expected, to)| roll_back(expected, to)),
    ]
}

proptest! {
    /// Whatever is asked: a state that can be read back, epochs and revisions that only rise, and the same answer for
    /// who asks again at once.
    #[test]
    fn any_commands_keep_the_invariants(commands in proptest::collection::vec(any_command(), 0..60)) {
        let mut state = State::default();
        for command in commands {
            let before = Arc::clone(&state.topology);
            twice(&mut state, command);
            prop_assert!(state.topology.revision >= before.revision);
            prop_assert_eq!(state.topology.revision == before.revision, before.placement == state.topology.placement
                && before.members == state.topology.members);
            for (old, new) in before.placement.iter().zip(&state.topology.placement) {
                prop_assert!(new.epoch >= old.epoch);
                prop_assert!(new.epoch > old.epoch || new.replicas == old.replicas);
            }
            prop_assert_eq!(State::from_json(&state.to_json()).unwrap(), state.clone());
        }
    }

    #[test]
    fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = State::from_json(&bytes);
        let _ = serde_json::from_slice::<Command>(&bytes);
    }

    /// Numbers at the end of their range are refused or in conflict, and nothing overflows.
    #[test]
    fn the_largest_numbers_do_no_harm(partition in any::<u16>(), node in any::<u64>()) {
        let mut state = state(&[1, 2], &[3]);
        for epoch in [0, u64::MAX - 1, u64::MAX] {
            let placing = Placing { partition, epoch, moving: Move { add: Some(node), remove: Some(1) } };
            for command in [
                Command::BeginMove(placing.clone()),
                Command::FinishMove(placing.clone()),
                Command::CancelMove(placing),
                Command::PreferLeader { partition, epoch, leader: node },
                put_document(epoch, "x"),
                roll_back(epoch, node),
                Command::SwapManifest { partition: 0, tenant: "t".to_owned(), expected: epoch, object: "o".to_owned() },
            ] {
                twice(&mut state, command);
            }
        }
    }
}

#[test]
fn the_first_mark_of_a_store_stays() {
    let mut state = State::default();
    let mark = |mark: &str| Command::MarkStore { mark: mark.to_owned() };
    assert_eq!(state.step(mark("a")), Answer::Store("a".to_owned()));
    assert_eq!(state.step(mark("b")), Answer::Store("a".to_owned()));
    assert!(state.step(mark(&"x".repeat(65))).is_refusal());
    let mut back = State::from_json(&state.to_json()).unwrap();
    assert_eq!(back.step(mark("c")), Answer::Store("a".to_owned()));
}
