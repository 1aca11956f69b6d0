//! The messages of `proto/peer.proto`, and the versions of the protocol.

use bytes::Bytes;
use prost::Message;
use tonic::metadata::{MetadataMap, MetadataValue};

pub(super) use peer::frame::Kind;
pub(super) use peer::*;

/// The newest version of the protocol that this node speaks.
pub const PROTOCOL: u32 = 1;

/// The oldest one: a cluster is upgraded node by node.
pub const PROTOCOL_OLDEST: u32 = 1;

/// Where a request says who calls: an encoded [`Caller`].
const CALLER_KEY: &str = "pharos-caller-bin";

#[allow(
    unreachable_pub,
    missing_debug_implementations,
    unused_qualifications,
    clippy::all,
    reason = "generated, and seen from here only"
)]
mod peer {
    tonic::include_proto!("pharos.peer.v1");
}

impl Frame {
    pub(super) fn new(kind: Kind, id: u64, body: Bytes) -> Self {
        Self { kind: kind.into(), id, method: 0, body }
    }
}

pub(super) fn put_caller(caller: &Caller, metadata: &mut MetadataMap) {
    metadata.insert_bin(CALLER_KEY, MetadataValue::from_bytes(&caller.encode_to_vec()));
}

pub(super) fn take_caller(metadata: &MetadataMap) -> Option<Caller> {
    let bytes = metadata.get_bin(CALLER_KEY)?.to_bytes().ok()?;
    Caller::decode(bytes).ok()
}
