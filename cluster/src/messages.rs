//! Bytes of what nodes ask of each other beside the library's requests: confirmations, read points, proposals, elections. Layout in
//! `docs/format/wire.md`. Decoding takes any bytes and never panics.

use std::time::Duration;

use bytes::Bytes;

use crate::codec::{Reader, put_counted, put_u32, put_u64};
use crate::group::ReadError;
use crate::log::entry::GroupId;
use crate::peers::NodeId;
use crate::proposer::ProposeError;

/// Of every message of this module.
const VERSION: u8 = 1;

/// A leader's question whether it still has the other's vote, for many groups at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Confirm(pub Vec<(GroupId, u64)>);

impl Confirm {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = vec![VERSION];
        put_u32(&mut out, self.0.len());
        for &(group, term) in &self.0 {
            put_group(&mut out, group);
            put_u64(&mut out, term);
        }
        Bytes::from(out)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = begin(bytes)?;
        let asked = reader.list(12, |reader| Some((read_group(reader)?, reader.u64()?)))?;
        reader.end().map(|()| Self(asked))
    }
}

pub(crate) fn encode_bools(values: impl ExactSizeIterator<Item = bool>) -> Bytes {
    let mut out = vec![VERSION];
    put_u32(&mut out, values.len());
    out.extend(values.map(u8::from));
    Bytes::from(out)
}

pub(crate) fn decode_bools(bytes: &[u8]) -> Option<Vec<bool>> {
    let mut reader = begin(bytes)?;
    let values = reader.list(1, Reader::bool)?;
    reader.end().map(|()| values)
}

pub(crate) fn encode_bool(value: bool) -> Bytes {
    Bytes::copy_from_slice(&[VERSION, u8::from(value)])
}

pub(crate) fn decode_bool(bytes: &[u8]) -> Option<bool> {
    let mut reader = begin(bytes)?;
    let value = reader.bool()?;
    reader.end().map(|()| value)
}

/// A question for the read points of groups, to whoever leads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReadPoints {
    pub patience: Duration,
    pub groups: Vec<GroupId>,
}

impl ReadPoints {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = vec![VERSION];
        put_duration(&mut out, self.patience);
        put_u32(&mut out, self.groups.len());
        self.groups.iter().for_each(|&group| put_group(&mut out, group));
        Bytes::from(out)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = begin(bytes)?;
        let patience = read_duration(&mut reader)?;
        let groups = reader.list(4, read_group)?;
        reader.end().map(|()| Self { patience, groups })
    }
}

const INDEX: u8 = 0;
const NOT_LEADER: u8 = 1;
const UNCONFIRMED: u8 = 2;

/// In the order of the question.
pub(crate) fn encode_points(points: &[Result<u64, ReadError>]) -> Bytes {
    let mut out = vec![VERSION];
    put_u32(&mut out, points.len());
    for point in points {
        match point {
            Ok(index) => {
                out.push(INDEX);
                put_u64(&mut out, *index);
            }
            Err(ReadError::NotLeader { leader, .. }) => {
                out.push(NOT_LEADER);
                put_node(&mut out, *leader);
            }
            Err(error @ (ReadError::Unconfirmed { .. } | ReadError::Stopped { .. } | ReadError::Behind { .. })) => {
                out.push(UNCONFIRMED);
                let text = match error {
                    ReadError::Unconfirmed { reason, .. } => reason.clone(),
                    other => other.to_string(),
                };
                put_counted(&mut out, text.as_bytes());
            }
        }
    }
    Bytes::from(out)
}

pub(crate) fn decode_points(bytes: &[u8], groups: &[GroupId]) -> Option<Vec<Result<u64, ReadError>>> {
    let mut reader = begin(bytes)?;
    let mut asked = groups.iter();
    let points = reader.list(5, |reader| {
        let group = *asked.next()?;
        Some(match reader.u8()? {
            INDEX => Ok(reader.u64()?),
            NOT_LEADER => Err(ReadError::NotLeader { group, leader: read_node(reader)? }),
            UNCONFIRMED => Err(ReadError::Unconfirmed { group, reason: reader.text()? }),
            _ => return None,
        })
    })?;
    reader.end()?;
    asked.next().is_none().then_some(points)
}

/// A command for the leader of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Propose {
    pub group: GroupId,
    pub linger: Duration,
    pub patience: Duration,
    pub command: Bytes,
}

impl Propose {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(13 + self.command.len());
        out.push(VERSION);
        put_group(&mut out, self.group);
        put_duration(&mut out, self.linger);
        put_duration(&mut out, self.patience);
        out.extend_from_slice(&self.command);
        Bytes::from(out)
    }

    /// The command is a slice of `bytes`, no copy.
    pub(crate) fn decode(bytes: &Bytes) -> Option<Self> {
        let mut reader = begin(bytes)?;
        let group = read_group(&mut reader)?;
        let (linger, patience) = (read_duration(&mut reader)?, read_duration(&mut reader)?);
        Some(Self { group, linger, patience, command: bytes.slice_ref(reader.rest()) })
    }
}

const ANSWER: u8 = 0;
const OVERLOADED: u8 = 1;
const TOO_LARGE: u8 = 2;
const DISK_FULL: u8 = 3;
const ELSEWHERE: u8 = 4;
const TIMED_OUT: u8 = 5;
const OUTCOME_UNKNOWN: u8 = 6;
const STOPPED: u8 = 7;
const FORWARDING: u8 = 8;

pub(crate) fn encode_proposed(outcome: &Result<Bytes, ProposeError>) -> Bytes {
    let mut out = vec![VERSION];
    match outcome {
        Ok(answer) => {
            out.push(ANSWER);
            out.extend_from_slice(answer);
        }
        Err(ProposeError::Overloaded { commands, bytes }) => {
            out.push(OVERLOADED);
            put_u64(&mut out, *commands as u64);
            put_u64(&mut out, *bytes as u64);
        }
        Err(ProposeError::Forwarding { max }) => {
            out.push(FORWARDING);
            put_u64(&mut out, *max as u64);
        }
        Err(ProposeError::TooLarge { bytes, max }) => {
            out.push(TOO_LARGE);
            put_u64(&mut out, *bytes as u64);
            put_u64(&mut out, *max as u64);
        }
        Err(ProposeError::DiskFull { reason }) => put_reason(&mut out, DISK_FULL, reason),
        Err(ProposeError::NotLeader { leader }) => {
            out.push(ELSEWHERE);
            put_node(&mut out, *leader);
        }
        Err(ProposeError::TimedOut { waited }) => {
            out.push(TIMED_OUT);
            put_duration(&mut out, *waited);
        }
        Err(ProposeError::OutcomeUnknown { reason }) => put_reason(&mut out, OUTCOME_UNKNOWN, reason),
        Err(ProposeError::Stopped { reason }) => put_reason(&mut out, STOPPED, reason),
    }
    Bytes::from(out)
}

pub(crate) fn decode_proposed(bytes: &Bytes) -> Option<Result<Bytes, ProposeError>> {
    let mut reader = begin(bytes)?;
    let error = match reader.u8()? {
        ANSWER => return Some(Ok(bytes.slice_ref(reader.rest()))),
        OVERLOADED => ProposeError::Overloaded { commands: read_size(&mut reader)?, bytes: read_size(&mut reader)? },
        TOO_LARGE => ProposeError::TooLarge { bytes: read_size(&mut reader)?, max: read_size(&mut reader)? },
        DISK_FULL => ProposeError::DiskFull { reason: reader.text()? },
        ELSEWHERE => ProposeError::NotLeader { leader: read_node(&mut reader)? },
        TIMED_OUT => ProposeError::TimedOut { waited: read_duration(&mut reader)? },
        OUTCOME_UNKNOWN => ProposeError::OutcomeUnknown { reason: reader.text()? },
        STOPPED => ProposeError::Stopped { reason: reader.text()? },
        FORWARDING => ProposeError::Forwarding { max: read_size(&mut reader)? },
        _ => return None,
    };
    reader.end().map(|()| Err(error))
}

/// The leader of `term` wants the other to stand for election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Elect {
    pub group: GroupId,
    pub term: u64,
}

impl Elect {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = vec![VERSION];
        put_group(&mut out, self.group);
        put_u64(&mut out, self.term);
        Bytes::from(out)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = begin(bytes)?;
        let elect = Self { group: read_group(&mut reader)?, term: reader.u64()? };
        reader.end().map(|()| elect)
    }
}

fn begin(bytes: &[u8]) -> Option<Reader<'_>> {
    let mut reader = Reader::new(bytes);
    (reader.u8()? == VERSION).then_some(reader)
}

fn put_group(out: &mut Vec<u8>, group: GroupId) {
    out.extend_from_slice(&group.0.to_le_bytes());
}

fn read_group(reader: &mut Reader<'_>) -> Option<GroupId> {
    reader.u32().map(GroupId)
}

fn put_node(out: &mut Vec<u8>, node: Option<NodeId>) {
    out.push(u8::from(node.is_some()));
    if let Some(node) = node {
        put_u64(out, node);
    }
}

fn read_node(reader: &mut Reader<'_>) -> Option<Option<NodeId>> {
    if reader.bool()? { reader.u64().map(Some) } else { Some(None) }
}

/// In milliseconds, at most 49 days.
fn put_duration(out: &mut Vec<u8>, duration: Duration) {
    let ms = u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
    out.extend_from_slice(&ms.to_le_bytes());
}

fn read_duration(reader: &mut Reader<'_>) -> Option<Duration> {
    reader.u32().map(|ms| Duration::from_millis(u64::from(ms)))
}

fn read_size(reader: &mut Reader<'_>) -> Option<usize> {
    reader.u64().and_then(|size| usize::try_from(size).ok())
}

fn put_reason(out: &mut Vec<u8>, kind: u8, reason: &str) {
    out.push(kind);
    put_counted(out, reason.as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_bytes() -> impl Strategy<Value = Bytes> {
        prop::collection::vec(any::<u8>(), 0..60).prop_map(Bytes::from)
    }

    fn any_duration() -> impl Strategy<Value = Duration> {
        any::<u32>().prop_map(|ms| Duration::from_millis(u64::from(ms)))
    }

    fn any_outcome() -> impl Strategy<Value = Result<Bytes, ProposeError>> {
        let text = "[a-zé ]{0,20}";
        prop_oneof![
            any_bytes().prop_map(Ok),
            any::<(usize, usize)>().prop_map(|(commands, bytes)| Err(ProposeError::Overloaded { commands, bytes })),
            any::<usize>().prop_map(|max| Err(ProposeError::Forwarding { max })),
            any::<(usize, usize)>().prop_map(|(bytes, max)| Err(ProposeError::TooLarge { bytes, max })),
            any::<Option<u64>>().prop_map(|leader| Err(ProposeError::NotLeader { leader })),
            any_duration().prop_map(|waited| Err(ProposeError::TimedOut { waited })),
            text.prop_map(|reason| Err(ProposeError::DiskFull { reason })),
            text.prop_map(|reason| Err(ProposeError::OutcomeUnknown { reason })),
            text.prop_map(|reason| Err(ProposeError::Stopped { reason })),
        ]
    }

    proptest! {
        #[test]
        fn messages_come_back_as_they_were(
            asked in prop::collection::vec((any::<u32>().prop_map(GroupId), any::<u64>()), 0..5),
            values in prop::collection::vec(any::<bool>(), 0..5),
            (patience, linger) in (any_duration(), any_duration()),
            command in any_bytes(),
            outcome in any_outcome(),
        ) {
            let groups: Vec<GroupId> = asked.iter().map(|(group, _)| *group).collect();
            let points: Vec<Result<u64, ReadError>> = asked.iter().map(|&(group, term)| match term % 3 {
                0 => Ok(term),
                1 => Err(ReadError::NotLeader { group, leader: (term % 2 == 0).then_some(term) }),
                _ => Err(ReadError::Unconfirmed { group, reason: term.to_string() }),
            }).collect();
            prop_assert_eq!(decode_points(&encode_points(&points), &groups), Some(points));
            if let Some(&(group, term)) = asked.first() {
                let propose = Propose { group, linger, patience, command };
                prop_assert_eq!(Propose::decode(&propose.encode()), Some(propose));
                let elect = Elect { group, term };
                prop_assert_eq!(Elect::decode(&elect.encode()), Some(elect));
            }
            let read_points = ReadPoints { patience, groups };
            prop_assert_eq!(ReadPoints::decode(&read_points.encode()), Some(read_points));
            let confirm = Confirm(asked);
            prop_assert_eq!(Confirm::decode(&confirm.encode()), Some(confirm));
            prop_assert_eq!(decode_bools(&encode_bools(values.iter().copied())), Some(values));
            prop_assert_eq!(decode_proposed(&encode_proposed(&outcome)), Some(outcome));
        }

        #[test]
        fn decoders_take_anything(mut bytes in prop::collection::vec(any::<u8>(), 0..100), version in 0..3u8) {
            if let Some(first) = bytes.first_mut() {
                *first = version;
            }
            let bytes = Bytes::from(bytes);
            let _ = (Confirm::decode(&bytes), ReadPoints::decode(&bytes), Propose::decode(&bytes), Elect::decode(&bytes));
            let _ = (decode_bool(&bytes), decode_bools(&bytes), decode_proposed(&bytes));
            let _ = decode_points(&bytes, &[GroupId(1), GroupId(2)]);
        }
    }

    #[test]
    fn a_false_count_reserves_no_more_than_there_is() {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!((Confirm::decode(&bytes), decode_bools(&bytes)), (None, None));
    }
}
