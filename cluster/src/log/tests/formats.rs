//! Bytes of records and payloads: round trips, a kept example, and decoding of anything.

use proptest::prelude::*;

use super::*;
use crate::log::body::Base;
use crate::log::entry::{HardState, Vote};
use crate::log::record::{self, Frame, Kind};
use crate::log::{body, segment};

fn any_log_id() -> impl Strategy<Value = LogId> {
    (any::<(u64, u64)>(), 0..u64::MAX).prop_map(|((term, node), index)| LogId { term, node, index })
}

fn any_vote() -> impl Strategy<Value = Vote> {
    any::<(u64, u64, bool)>().prop_map(|(term, node, committed)| Vote { term, node, committed })
}

fn any_bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..50).prop_map(Bytes::from)
}

fn any_payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        Just(Payload::Blank),
        prop::collection::vec(any_bytes(), 0..10).prop_map(Payload::Commands),
        any_bytes().prop_map(Payload::Membership),
    ]
}

proptest! {
    #[test]
    fn entries_come_back_as_they_were(id in any_log_id(), payload in any_payload()) {
        let entry = Entry { id, payload };
        let mut bytes = Vec::new();
        body::put_entry(&mut bytes, &entry);
        prop_assert_eq!(bytes.len(), body::entry_len(&entry.payload));
        prop_assert_eq!(body::entry_id(&bytes), Some(id));
        prop_assert_eq!(body::entry(&Bytes::from(bytes)), Some(entry));
    }

    #[test]
    fn states_come_back_as_they_were(
        vote in prop::option::of(any_vote()),
        committed in prop::option::of(any_log_id()),
        purged in prop::option::of(any_log_id()),
        dropped in prop::option::of(any::<u64>()),
        records in any::<u64>(),
        last in prop::option::of(any::<u64>()),
    ) {
        let state = HardState { vote, committed, purged, dropped };
        let mut bytes = Vec::new();
        body::put_base(&mut bytes, &state, records, last);
        prop_assert_eq!(body::base(&bytes), Some(Base { state, records: Some(records), last }));
        let end = bytes.len() - if last.is_some() { 9 } else { 1 };
        let older = Base { state, records: Some(records), last: None };
        prop_assert_eq!(body::base(&bytes[..end]), Some(older), "of a program that did not tell the last entry");
        let end = end - 8;
        let older = Base { records: None, ..older };
        prop_assert_eq!(body::base(&bytes[..end]), Some(older), "of a program that did not count");
        let end = end - if dropped.is_some() { 9 } else { 1 };
        let older = Base { state: HardState { dropped: None, ..state }, ..older };
        prop_assert_eq!(body::base(&bytes[..end]), Some(older), "of a program that dropped no groups");
    }

    #[test]
    fn payload_decoders_take_anything(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        let _ = (body::entry(&bytes), body::base(&bytes), body::vote(&bytes));
        let _ = (body::log_id(&bytes), body::index(&bytes), body::entry_id(&bytes));
    }

    #[test]
    fn a_scan_takes_anything(bytes in prop::collection::vec(any::<u8>(), 0..2000), inner in any::<bool>()) {
        let place = if inner { segment::Place::Inner } else { segment::Place::Last };
        let scan = segment::scan(&bytes, 1, place);
        prop_assert!(scan.records.is_empty());
    }

    #[test]
    fn a_record_is_valid_in_its_own_place_alone(payload in any_bytes(), segment in 1u64..9, offset in 8u32..99) {
        let mut bytes = Vec::new();
        let frame = Frame { segment, offset, batch_start: offset - 8, group: GroupId(3), kind: Kind::Purge };
        record::encode(&mut bytes, frame, |out| out.extend_from_slice(&payload));
        let found = record::decode_alone(&bytes, offset, segment).unwrap();
        prop_assert_eq!((found.group, found.kind, found.payload), (GroupId(3), Kind::Purge, &payload[..]));
        prop_assert_eq!((found.batch_start, found.len), (offset - 8, bytes.len()));
        prop_assert_eq!(record::decode_alone(&bytes, offset, segment + 1), None, "another segment");
        prop_assert_eq!(record::decode_alone(&bytes, offset + 8, segment), None, "another offset");
    }
}

/// Version 1 as it is in files: change the version when this has to change.
#[test]
fn version_1_is_pinned() {
    let frame = Frame { segment: 5, offset: 64, batch_start: 64, group: GroupId(2), kind: Kind::Entry };
    let mut bytes = segment::header(5).to_vec();
    record::encode(&mut bytes, frame, |out| body::put_entry(out, &command_entry(1, b"up 1")));
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let header = "504841524f534c4701000000bcc08ccb0500000000000000".to_owned() + &"00".repeat(40);
    let frame = "506852314efb59cc25000000400000000200000001000000";
    let entry = "010000000000000007000000000000000100000000000000" // term, node, index
        .to_owned()
        + "01" // commands
        + "01000000" // one
        + "0400000075702031" // its length and bytes
        + "000000"; // to a multiple of eight
    assert_eq!(hex, header + frame + &entry);
}
