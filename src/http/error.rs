//! The one place where errors become HTTP answers, in the shape of Prometheus' API.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use pharos_cluster::meta::{DocumentError, FindError, MetaError};
use pharos_cluster::proposer::ProposeError;
use pharos_query::QueryError;
use pharos_storage::select::ReadError;
use serde_json::json;

use super::body::BodyError;

/// How long to wait before the metadata group is asked again: about what an election takes.
const META_RETRY_AFTER: Duration = Duration::from_secs(5);

/// `errorType` of an API answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    BadData,
    Execution,
    Timeout,
    Canceled,
    Internal,
    Unavailable,
    NotFound,
    /// Somebody else was faster.
    Conflict,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::BadData => "bad_data",
            Self::Execution => "execution",
            Self::Timeout => "timeout",
            Self::Canceled => "canceled",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::BadData => StatusCode::BAD_REQUEST,
            Self::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Timeout | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            // nginx' "client closed request", which Prometheus uses too.
            Self::Canceled => StatusCode::from_u16(499).expect("three digits"),
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Conflict => StatusCode::CONFLICT,
        }
    }
}

/// A failed API call.
#[derive(Clone, Debug)]
pub struct ApiError {
    pub kind: Kind,
    pub message: String,
    /// How long the client should wait before it asks again; `None` where that does not help.
    pub retry_after: Option<Duration>,
}

impl ApiError {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None }
    }

    pub fn bad_data(message: impl Into<String>) -> Self {
        Self::new(Kind::BadData, message)
    }

    pub fn status(&self) -> StatusCode {
        self.kind.status()
    }

    /// `invalid parameter "start": …`
    pub fn invalid_parameter(name: &str, reason: impl std::fmt::Display) -> Self {
        Self::bad_data(format!("invalid parameter \"{name}\": {reason}"))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({"status": "error", "errorType": self.kind.as_str(), "error": self.message});
        let mut response = (self.status(), body.to_string()).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(wait) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs()));
        }
        response
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        let kind = match &error {
            QueryError::Parse(_) => return Self::invalid_parameter("query", error),
            QueryError::Timeout { .. } => Kind::Timeout,
            QueryError::Canceled { .. } => Kind::Canceled,
            QueryError::Read(_) | QueryError::Unplaced(_) | QueryError::Worker { .. } | QueryError::Internal(_) => {
                Kind::Internal
            }
            QueryError::Execution(_) | QueryError::TooManySamples { .. } | QueryError::MemoryLimit { .. } => {
                Kind::Execution
            }
        };
        Self::new(kind, error.to_string())
    }
}

impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        let kind = match &error {
            BodyError::TooLarge { .. } | BodyError::Broken(_) => Kind::BadData,
            BodyError::Full { .. } => Kind::Unavailable,
            BodyError::TimedOut { .. } => Kind::Timeout,
        };
        let retry_after = error.retry_after();
        Self { retry_after, ..Self::new(kind, format!("error parsing form values: {error}")) }
    }
}

impl From<MetaError> for ApiError {
    fn from(error: MetaError) -> Self {
        let kind = match &error {
            MetaError::Refused { reason } => return Self::new(Kind::Execution, reason.clone()),
            MetaError::Propose(ProposeError::TooLarge { .. }) => Kind::BadData,
            MetaError::Read(_) | MetaError::Propose(_) => {
                let text = format!(
                    "{}. Members and configuration can be changed while more than half of the voters of the metadata group \
                     work; /api/v1/status/cluster tells who they are",
                    with_causes(&error)
                );
                return Self { retry_after: Some(META_RETRY_AFTER), ..Self::new(Kind::Unavailable, text) };
            }
            MetaError::NoCluster => Kind::Unavailable,
            MetaError::Answer => Kind::Internal,
        };
        Self::new(kind, with_causes(&error))
    }
}

impl From<DocumentError> for ApiError {
    fn from(error: DocumentError) -> Self {
        match error {
            DocumentError::Conflict { .. } => Self::new(
                Kind::Conflict,
                format!("{error}: look at what it says now, and write again with that version as the expected one"),
            ),
            DocumentError::Overtaken { .. } => {
                Self::new(Kind::Unavailable, format!("{error}: look at what it says now"))
            }
            DocumentError::Meta(error) => error.into(),
        }
    }
}

impl From<FindError> for ApiError {
    fn from(error: FindError) -> Self {
        let kind = match &error {
            FindError::Unknown { .. } => Kind::NotFound,
            FindError::Ambiguous { .. } => Kind::BadData,
        };
        Self::new(kind, error.to_string())
    }
}

/// An error's text and those of its causes.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        Self::new(Kind::Internal, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use pharos_cluster::group::ReadError as MetaReadError;
    use pharos_cluster::log::entry::GroupId;

    use super::*;

    #[test]
    fn what_the_metadata_group_says_becomes_an_answer() {
        let refused = ApiError::from(MetaError::Refused { reason: "drain it first".to_owned() });
        assert_eq!((refused.status().as_u16(), refused.message.as_str()), (422, "drain it first"));
        let nobody = MetaReadError::NotLeader { group: GroupId(0), leader: None };
        let silent = ApiError::from(MetaError::Read(nobody));
        assert_eq!((silent.status().as_u16(), silent.retry_after), (503, Some(META_RETRY_AFTER)));
        assert!(silent.message.contains("nobody does") && silent.message.contains("voters"), "{}", silent.message);
        let conflict = ApiError::from(DocumentError::Conflict { name: "a".to_owned(), current: 7 });
        assert_eq!(conflict.status().as_u16(), 409);
        assert!(conflict.message.contains("version 7"), "{}", conflict.message);
        let overtaken = ApiError::from(DocumentError::Overtaken { name: "a".to_owned(), current: 17 });
        assert_eq!(overtaken.status().as_u16(), 503, "it may have been written");
    }
}
