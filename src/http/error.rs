//! The one place where errors become HTTP answers, in the shape of Prometheus' API.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use pharos_query::QueryError;
use pharos_storage::select::ReadError;
use serde_json::json;

use super::body::BodyError;

/// `errorType` of an API answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    BadData,
    Execution,
    Timeout,
    Canceled,
    Internal,
    Unavailable,
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

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        Self::new(Kind::Internal, error.to_string())
    }
}
