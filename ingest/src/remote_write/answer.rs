//! What a sender is told: stored, do not send again, or send again later.

use std::time::Duration;

use http::StatusCode;

use crate::compression::BodyError;
use crate::sink::AppendError;
use crate::wire::WireError;

/// What became of a request. With HTTP 204 it succeeded as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteSummary {
    /// Samples that are durable now.
    pub samples: usize,
    /// Those of them that are native histograms.
    pub histograms: usize,
    /// Those of them that were there before with the same value.
    pub duplicates: usize,
    pub exemplars: usize,
}

/// Why a request did not succeed as a whole.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Not the format that is spoken here.
    #[error("{0}")]
    MediaType(String),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Protobuf(#[from] WireError),
    #[error("request has more than {max} {what}, the limit of one request")]
    TooMany { what: &'static str, max: usize },
    /// Some samples can never be stored; the others are.
    #[error("{first} ({refused} of {samples} samples refused, the others are stored)")]
    Refused { first: String, refused: usize, samples: usize, stored: WriteSummary },
    /// The limit of concurrent requests.
    #[error("too many write requests at once ({max})")]
    Busy { max: usize },
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// Asked of senders that have to come again where nothing better is known.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl WriteError {
    /// The answer's status: 4xx but 429 makes a sender drop the request, everything else makes it come again.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::MediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Body(error) if error.is_too_large() => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooMany { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body(_) | Self::Protobuf(_) | Self::Refused { .. } | Self::Append(AppendError::TooLarge { .. }) => {
                StatusCode::BAD_REQUEST
            }
            Self::Busy { .. } | Self::Append(AppendError::Overloaded { .. } | AppendError::TooManyTenants { .. }) => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::Append(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// How long the sender should wait; whole seconds, at least one. `None` where it should not come again.
    pub fn retry_after(&self) -> Option<Duration> {
        let wait = match self {
            Self::Busy { .. } | Self::Append(AppendError::Timeout(_) | AppendError::TooManyTenants { .. }) => {
                RETRY_AFTER
            }
            Self::Append(
                AppendError::Overloaded { retry_after, .. }
                | AppendError::DiskFull { retry_after }
                | AppendError::Unavailable { retry_after, .. },
            ) => *retry_after,
            _ => return None,
        };
        Some(Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(RETRY_AFTER))
    }
}
