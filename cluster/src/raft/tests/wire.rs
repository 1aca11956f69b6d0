//! What goes between nodes: round trips, a kept example, and decoding of anything.

use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};
use openraft::{EntryPayload, Vote};

use super::super::wire::*;
use super::*;

fn any_vote() -> impl Strategy<Value = Vote<u64>> {
    any::<(u64, u64, bool)>().prop_map(
        |(term, node, committed)| {
            if committed { Vote::new_committed(term, node) } else { Vote::new(term, node) }
        },
    )
}

fn any_elected() -> impl Strategy<Value = Vote<u64>> {
    any::<(u64, u64)>().prop_map(|(term, node)| Vote::new_committed(term, node))
}

fn any_position() -> impl Strategy<Value = LogId<u64>> {
    (any::<(u64, u64)>(), 0..u64::MAX / 2)
        .prop_map(|((term, node), index)| LogId::new(CommittedLeaderId::new(term, node), index))
}

fn any_payload() -> impl Strategy<Value = EntryPayload<TypeConfig>> {
    let bytes = prop::collection::vec(any::<u8>(), 0..50).prop_map(Bytes::from);
    prop_oneof![
        Just(EntryPayload::Blank),
        prop::collection::vec(bytes, 0..5).prop_map(|commands| EntryPayload::Normal(Commands(commands))),
        any_membership().prop_map(EntryPayload::Membership),
    ]
}

/// Entries that follow `prev`.
fn any_append() -> impl Strategy<Value = AppendEntriesRequest<TypeConfig>> {
    let entries = prop::collection::vec((any::<(u64, u64)>(), any_payload()), 0..6);
    let ids = (prop::option::of(any_position()), prop::option::of(any_position()));
    (any_elected(), ids, entries).prop_map(|(vote, (prev_log_id, leader_commit), entries)| {
        let first = prev_log_id.map_or(0, |prev| prev.index + 1);
        let entry = |(index, ((term, node), payload))| openraft::Entry {
            log_id: LogId::new(CommittedLeaderId::new(term, node), index),
            payload,
        };
        AppendEntriesRequest { vote, prev_log_id, leader_commit, entries: (first..).zip(entries).map(entry).collect() }
    })
}

proptest! {
    #[test]
    fn appends_come_back_as_they_were(group in any::<u32>(), request in any_append()) {
        let bytes = encode_append(GroupId(group), request.clone());
        let (of, found) = decode_append(&bytes).unwrap();
        prop_assert_eq!(of, GroupId(group));
        prop_assert_eq!((found.vote, found.prev_log_id, found.leader_commit), (request.vote, request.prev_log_id, request.leader_commit));
        prop_assert_eq!(found.entries, request.entries);
    }

    #[test]
    fn what_else_is_asked_comes_back_as_it_was(
        group in any::<u32>(),
        (term, node) in any::<(u64, u64)>(),
        (vote, elected) in (any_vote(), any_elected()),
        id in prop::option::of(any_position()),
        vote_granted in any::<bool>(),
        (bytes, crc) in any::<(u64, u32)>(),
        membership in any_membership(),
    ) {
        let group = GroupId(group);
        let request = VoteRequest { vote: Vote::new(term, node), last_log_id: id };
        prop_assert_eq!(decode_vote(&encode_vote(group, &request)), Some((group, request)));
        let answer = VoteResponse { vote, vote_granted, last_log_id: id };
        prop_assert_eq!(decode_vote_answer(&encode_vote_answer(&answer)), Some(answer));
        prop_assert_eq!(decode_vote_alone(&encode_vote_alone(&vote)), Some(vote));
        for answer in [
            AppendEntriesResponse::Success,
            AppendEntriesResponse::PartialSuccess(id),
            AppendEntriesResponse::Conflict,
            AppendEntriesResponse::HigherVote(vote),
        ] {
            prop_assert_eq!(decode_append_answer(&encode_append_answer(&answer)), Some(answer));
        }
        let state = AppliedState { applied: id, membership: StoredMembership::new(id, membership) };
        let header = SnapshotHeader { group, vote: elected, state, bytes, crc };
        prop_assert_eq!(SnapshotHeader::decode(&header.encode()), Some(header));
    }

    #[test]
    fn decoders_of_what_comes_in_take_anything(mut bytes in prop::collection::vec(any::<u8>(), 0..200), version in 0..3u8) {
        if let Some(first) = bytes.first_mut() {
            *first = version;
        }
        let bytes = Bytes::from(bytes);
        let _ = (decode_append(&bytes).is_some(), decode_append_answer(&bytes), decode_vote(&bytes));
        let _ = (decode_vote_answer(&bytes), decode_vote_alone(&bytes), SnapshotHeader::decode(&bytes));
    }

    #[test]
    fn an_append_that_was_changed_anywhere_is_read_or_refused(request in any_append(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = encode_append(GroupId(1), request).to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Some((_, found)) = decode_append(&Bytes::from(bytes)) {
            let first = found.prev_log_id.map_or(0, |prev| prev.index + 1);
            prop_assert!(found.vote.committed);
            prop_assert!(found.entries.iter().map(|entry| entry.log_id.index).eq(first..first + found.entries.len() as u64));
        }
    }
}

#[test]
fn what_a_leader_may_not_say_is_refused() {
    let append = |vote: Vote<u64>, index: u64| AppendEntriesRequest::<TypeConfig> {
        vote,
        prev_log_id: None,
        leader_commit: None,
        entries: vec![openraft::Entry {
            log_id: LogId::new(CommittedLeaderId::new(1, 1), index),
            payload: EntryPayload::Blank,
        }],
    };
    let reads = |request| decode_append(&encode_append(GroupId(1), request)).is_some();
    assert!(reads(append(Vote::new_committed(1, 1), 0)));
    assert!(!reads(append(Vote::new_committed(1, 1), 1)), "a gap before the first entry");
    assert!(!reads(append(Vote::new(1, 1), 0)), "nobody has elected it");
    let elected = VoteRequest { vote: Vote::new_committed(1, 1), last_log_id: None };
    assert_eq!(decode_vote(&encode_vote(GroupId(1), &elected)), None, "it is elected already");
}

#[test]
fn an_append_has_the_bytes_it_had() {
    let request = AppendEntriesRequest::<TypeConfig> {
        vote: Vote::new_committed(2, 3),
        prev_log_id: Some(LogId::new(CommittedLeaderId::new(1, 4), 5)),
        leader_commit: None,
        entries: vec![openraft::Entry {
            log_id: LogId::new(CommittedLeaderId::new(2, 3), 6),
            payload: EntryPayload::Normal(Commands(vec![Bytes::from("ab")])),
        }],
    };
    let u64s = |values: &[u64]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let u32s = |values: &[u32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let mut expected = vec![1];
    expected.extend(u32s(&[9]));
    expected.extend(u64s(&[2, 3]));
    expected.extend([1, 1]);
    expected.extend(u64s(&[1, 4, 5]));
    expected.push(0);
    expected.extend(u32s(&[1, 35]));
    expected.extend(u64s(&[2, 3, 6]));
    expected.push(1);
    expected.extend(u32s(&[1, 2]));
    expected.extend(b"ab");
    assert_eq!(encode_append(GroupId(9), request), expected);
}
