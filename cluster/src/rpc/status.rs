//! Errors of calls as gRPC says them, and back: the one place for both.

use tonic::{Code, Status};

use super::identity::Refusal;
use crate::peers::{CallError, NodeId};

/// Longest reason that is sent; it travels in a header.
const REASON_BYTES_MAX: usize = 2048;

/// The service's own words.
pub(super) fn refused(error: &CallError) -> Status {
    Status::aborted(shortened(error.to_string()))
}

/// Not read, because of who asks.
pub(super) fn not_let_in(refusal: &Refusal) -> Status {
    Status::permission_denied(shortened(refusal.to_string()))
}

/// Not begun, because too much is under way.
pub(super) fn turned_away(reason: String) -> Status {
    Status::resource_exhausted(shortened(reason))
}

/// Not understood.
pub(super) fn malformed(reason: &str) -> Status {
    Status::invalid_argument(reason)
}

/// What the caller makes of it.
pub(super) fn call_error(node: NodeId, status: &Status) -> CallError {
    match status.code() {
        Code::Aborted => CallError::Refused { reason: status.message().to_owned() },
        Code::PermissionDenied | Code::ResourceExhausted | Code::InvalidArgument => {
            CallError::Unreachable { node, reason: status.message().to_owned() }
        }
        _ => CallError::Lost { node, reason: words(status) },
    }
}

/// A status with the causes that its message leaves out.
pub(super) fn words(status: &Status) -> String {
    let mut words = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let text = error.to_string();
        if !words.contains(&text) {
            words = if words.is_empty() { text } else { format!("{words}: {text}") };
        }
        cause = error.source();
    }
    if words.is_empty() { status.code().to_string() } else { words }
}

pub(super) fn shortened(mut reason: String) -> String {
    if reason.len() > REASON_BYTES_MAX {
        reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
        reason.push_str(" ...");
    }
    reason
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_certainly_not_begun_is_unreachable() {
        let check = |status: Status| call_error(1, &status);
        let reason = "why".to_owned();
        assert_eq!(check(Status::aborted("why")), CallError::Refused { reason: reason.clone() });
        assert_eq!(check(turned_away(reason.clone())), CallError::Unreachable { node: 1, reason: reason.clone() });
        assert_eq!(check(Status::unknown("why")), CallError::Lost { node: 1, reason: reason.clone() });
        assert_eq!(check(Status::cancelled("why")), CallError::Lost { node: 1, reason });
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let cut = shortened("ä".repeat(5000));
        assert!(cut.len() <= REASON_BYTES_MAX + 4 && cut.ends_with(" ..."), "{}", cut.len());
        assert_eq!(shortened("short".to_owned()), "short");
    }
}
