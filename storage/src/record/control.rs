//! Commands other than appends: seal floor, drop, delete.

use bytes::Bytes;
use pharos_model::{MatchOp, Matcher, TenantId, TimeRange, TimestampMs};

use super::{KIND_DELETE_SERIES, KIND_DROP_COVERED, KIND_SEAL_FLOOR, RecordError, begin};
use crate::wire::{Malformed, Reader, put_prefixed, put_signed, put_varint};

/// Most matchers that a delete command may have.
pub const MATCHERS_MAX: usize = 256;

/// Hides the samples in `range` of series that satisfy all `matchers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteCommand {
    pub tenant: TenantId,
    pub matchers: Vec<Matcher>,
    pub range: TimeRange,
}

/// From now on the tenant's samples before `until_ms` are refused. Never lowers a floor. The answer is empty.
pub fn seal_floor(tenant: &TenantId, until_ms: TimestampMs) -> Bytes {
    floor(KIND_SEAL_FLOOR, tenant, until_ms)
}

/// Data files hold the tenant's samples before `until_ms`: the head drops them, and series without any left. Raises
/// the seal floor as well. The answer is empty.
pub fn drop_covered(tenant: &TenantId, until_ms: TimestampMs) -> Bytes {
    floor(KIND_DROP_COVERED, tenant, until_ms)
}

fn floor(kind: u8, tenant: &TenantId, until_ms: TimestampMs) -> Bytes {
    let mut out = begin(kind, tenant);
    put_signed(&mut out, until_ms);
    out.into()
}

/// A delete command cannot have so many matchers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{matchers} matchers in one selector, a deletion takes at most {MATCHERS_MAX}")]
pub struct TooManyMatchers {
    pub matchers: usize,
}

/// Deletes the samples in `range` of the series that satisfy all matchers. The answer is read by
/// [`super::decode_delete_answer`].
pub fn delete_series(tenant: &TenantId, matchers: &[Matcher], range: TimeRange) -> Result<Bytes, TooManyMatchers> {
    if matchers.len() > MATCHERS_MAX {
        return Err(TooManyMatchers { matchers: matchers.len() });
    }
    let mut out = begin(KIND_DELETE_SERIES, tenant);
    put_signed(&mut out, range.start_ms);
    put_signed(&mut out, range.end_ms);
    put_varint(&mut out, matchers.len() as u64);
    for matcher in matchers {
        out.push(op_code(matcher.op));
        put_prefixed(&mut out, matcher.name.as_bytes());
        put_prefixed(&mut out, matcher.value.as_bytes());
    }
    Ok(out.into())
}

impl DeleteCommand {
    pub(super) fn decode_body(tenant: TenantId, reader: &mut Reader<'_>) -> Result<Self, RecordError> {
        let range = TimeRange::new(reader.signed("range start")?, reader.signed("range end")?);
        let count = reader.varint("count of matchers")?;
        if count > MATCHERS_MAX as u64 {
            return Err(Malformed("count of matchers").into());
        }
        let matchers = (0..count).map(|_| decode_matcher(reader)).collect::<Result<_, _>>()?;
        Ok(Self { tenant, matchers, range })
    }
}

fn op_code(op: MatchOp) -> u8 {
    match op {
        MatchOp::Equal => 0,
        MatchOp::NotEqual => 1,
        MatchOp::Regex => 2,
        MatchOp::NotRegex => 3,
    }
}

fn decode_matcher(reader: &mut Reader<'_>) -> Result<Matcher, RecordError> {
    let op = match reader.u8("matcher operator")? {
        0 => MatchOp::Equal,
        1 => MatchOp::NotEqual,
        2 => MatchOp::Regex,
        3 => MatchOp::NotRegex,
        _ => return Err(Malformed("matcher operator").into()),
    };
    let name = reader.prefixed_str("matcher label")?;
    let value = reader.prefixed_str("matcher value")?;
    Ok(Matcher::new(op, name, value)?)
}
