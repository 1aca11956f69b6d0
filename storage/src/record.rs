//! The commands that change a partition, as they travel through its log, and the answers that applying them gives.
//!
//! A command is one opaque byte string to the log. The first byte is its kind; a new layout gets a new kind, so that a
//! log that was written by an older version stays readable. Layout: `docs/format/append-record.md`. Decoding takes
//! bytes from a disk or a peer: it is bounded, and refuses rather than panics.

mod answer;
mod append;
mod control;
mod histograms;
mod starts;

pub use answer::{AppendAnswer, Place, Refusal, Refused, decode_delete_answer};
pub use append::{AppendLimits, AppendRecord, AppendRecordBuilder, FreshSeries, RECORD_BODY_BYTES_MAX, SeriesExemplar};
pub use control::{DeleteCommand, MATCHERS_MAX, TooManyMatchers, delete_series, drop_covered, seal_floor};
pub use starts::SampleStarts;

pub use crate::starts::StartRule;

pub(crate) use answer::{encode_delete_answer, encode_malformed_answer};

use pharos_model::{TenantId, TimestampMs};

use crate::wire::{Malformed, Reader, put_prefixed};

/// A series of one partition. Given out when the series is applied first, never used for another series again:
/// a reference whose series is gone is answered as stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesRef(pub u32);

/// Why bytes are no command, or an answer says that the command could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("unknown command kind {0}")]
    UnknownKind(u8),
    #[error("record body of {bytes} bytes is over the limit of {RECORD_BODY_BYTES_MAX}")]
    BodyTooLarge { bytes: u64 },
    #[error("labels of a fresh series: {0}")]
    Labels(#[from] pharos_model::LabelsError),
    #[error("matcher of a delete command: {0}")]
    Matcher(#[from] pharos_model::regex::RegexError),
    #[error("the partition could not read the command")]
    RefusedAsMalformed,
}

const KIND_APPEND: u8 = 1;
const KIND_SEAL_FLOOR: u8 = 2;
const KIND_DROP_COVERED: u8 = 3;
const KIND_DELETE_SERIES: u8 = 4;
const KIND_APPEND_MIXED: u8 = 5;
const KIND_APPEND_STARTED: u8 = 6;

/// One decoded command.
#[derive(Clone, Debug)]
pub enum Command {
    Append(AppendRecord),
    /// Samples of the tenant before `until_ms` are refused from now on: a data file is being made of what is there.
    SealFloor {
        tenant: TenantId,
        until_ms: TimestampMs,
    },
    /// Data files hold all samples of the tenant before `until_ms`: the head forgets them, and series without any left.
    DropCovered {
        tenant: TenantId,
        until_ms: TimestampMs,
    },
    DeleteSeries(DeleteCommand),
}

impl Command {
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u8("command kind")?;
        let tenant = decode_tenant(&mut reader)?;
        match kind {
            KIND_APPEND | KIND_APPEND_MIXED | KIND_APPEND_STARTED => {
                AppendRecord::decode_body(kind, tenant, &mut reader).map(Self::Append)
            }
            KIND_SEAL_FLOOR => Ok(Self::SealFloor { tenant, until_ms: reader.signed("seal floor")? }),
            KIND_DROP_COVERED => Ok(Self::DropCovered { tenant, until_ms: reader.signed("drop floor")? }),
            KIND_DELETE_SERIES => DeleteCommand::decode_body(tenant, &mut reader).map(Self::DeleteSeries),
            other => Err(RecordError::UnknownKind(other)),
        }
    }
}

fn begin(kind: u8, tenant: &TenantId) -> Vec<u8> {
    let mut out = vec![kind];
    put_prefixed(&mut out, tenant.as_str().as_bytes());
    out
}

fn decode_tenant(reader: &mut Reader<'_>) -> Result<TenantId, RecordError> {
    let id = reader.prefixed_str("tenant id")?;
    TenantId::new(id).map_err(|_| Malformed("tenant id").into())
}

#[cfg(test)]
mod tests;
