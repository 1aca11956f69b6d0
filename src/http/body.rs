//! Request bodies, read whole: none larger than its limit, none for longer than a client may take, and never more bytes at
//! once than memory is set aside for.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use prometheus::{IntCounter, Registry};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Memory for the bodies of all requests together.
const BUFFERED_BYTES_MAX: usize = 256 << 20;
/// How long a client should wait when that is full.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Reads the bodies of all requests.
#[derive(Debug)]
pub struct BodyReader {
    /// A permit is a byte.
    room: Arc<Semaphore>,
    timeout: Duration,
    refused: IntCounter,
}

/// A body in memory. Its room is given back when it is dropped.
#[derive(Debug)]
pub struct Buffered {
    pub bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

/// Why a body was not read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the request is larger than {max} bytes")]
    TooLarge { max: usize },
    #[error("the requests being read take all of the {max} bytes set aside for them")]
    Full { max: usize },
    #[error("the request did not arrive within {}s", limit.as_secs_f64())]
    TimedOut { limit: Duration },
    #[error("reading the request: {0}")]
    Broken(axum::Error),
}

impl BodyError {
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Full { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::TimedOut { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::Broken(_) => StatusCode::BAD_REQUEST,
        }
    }

    pub fn retry_after(&self) -> Option<Duration> {
        matches!(self, Self::Full { .. }).then_some(RETRY_AFTER)
    }
}

impl IntoResponse for BodyError {
    fn into_response(self) -> Response {
        let mut response = (self.status(), format!("{self}\n")).into_response();
        if let Some(wait) = self.retry_after() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs()));
        }
        response
    }
}

impl BodyReader {
    /// `timeout` is for one whole body.
    pub fn new(timeout: Duration, registry: &Registry) -> Result<Self, prometheus::Error> {
        let refused = IntCounter::new(
            "pharos_http_bodies_refused_total",
            "Requests that were turned away because the memory for request bodies was taken.",
        )?;
        registry.register(Box::new(refused.clone()))?;
        Ok(Self { room: Arc::new(Semaphore::new(BUFFERED_BYTES_MAX)), timeout, refused })
    }

    /// Reads a body of at most `bytes_max` bytes.
    pub async fn read(&self, body: Body, bytes_max: usize) -> Result<Buffered, BodyError> {
        match tokio::time::timeout(self.timeout, self.collect(body, bytes_max)).await {
            Ok(read) => read,
            Err(_) => Err(BodyError::TimedOut { limit: self.timeout }),
        }
    }

    async fn collect(&self, mut body: Body, bytes_max: usize) -> Result<Buffered, BodyError> {
        let too_large = BodyError::TooLarge { max: bytes_max };
        if body.size_hint().lower() > bytes_max as u64 {
            return Err(too_large);
        }
        let (mut bytes, mut room) = (BytesMut::new(), None);
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(BodyError::Broken)?.into_data() else { continue };
            if bytes.len() + data.len() > bytes_max {
                return Err(too_large);
            }
            // For bytes that are here, not for those that are announced: nobody gets room for a promise.
            self.take_room(data.len(), &mut room)?;
            bytes.extend_from_slice(&data);
        }
        Ok(Buffered { bytes: bytes.freeze(), _room: room })
    }

    fn take_room(&self, bytes: usize, room: &mut Option<OwnedSemaphorePermit>) -> Result<(), BodyError> {
        let taken = u32::try_from(bytes).ok().and_then(|bytes| self.room.clone().try_acquire_many_owned(bytes).ok());
        let Some(taken) = taken else {
            self.refused.inc();
            return Err(BodyError::Full { max: BUFFERED_BYTES_MAX });
        };
        match room {
            Some(room) => room.merge(taken),
            None => *room = Some(taken),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(timeout: Duration) -> BodyReader {
        BodyReader::new(timeout, &Registry::new()).unwrap()
    }

    /// A body in pieces, without a declared length.
    fn pieces(sizes: &[usize]) -> Body {
        let pieces: Vec<_> = sizes.iter().map(|&size| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; size]))).collect();
        Body::from_stream(futures::stream::iter(pieces))
    }

    #[tokio::test]
    async fn a_body_takes_room_until_it_is_dropped() {
        let reader = reader(Duration::from_secs(60));
        let read = reader.read(pieces(&[3, 4]), 7).await.unwrap();
        assert_eq!(read.bytes.len(), 7);
        assert_eq!(reader.room.available_permits(), BUFFERED_BYTES_MAX - 7);
        drop(read);
        assert_eq!(reader.room.available_permits(), BUFFERED_BYTES_MAX);
    }

    #[tokio::test]
    async fn one_byte_too_many_is_refused() {
        let reader = reader(Duration::from_secs(60));
        for body in [pieces(&[4, 4]), Body::from("12345678")] {
            let refused = reader.read(body, 7).await.unwrap_err();
            assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
        }
        assert_eq!(reader.room.available_permits(), BUFFERED_BYTES_MAX);
    }

    #[tokio::test]
    async fn without_room_a_client_is_told_to_come_again() {
        let reader = reader(Duration::from_secs(60));
        let _taken = reader.room.clone().try_acquire_many_owned(BUFFERED_BYTES_MAX as u32 - 5).unwrap();
        let refused = reader.read(pieces(&[3, 3]), 100).await.unwrap_err();
        assert_eq!((refused.status(), refused.retry_after()), (StatusCode::TOO_MANY_REQUESTS, Some(RETRY_AFTER)));
        assert_eq!(reader.refused.get(), 1);
        assert_eq!(reader.room.available_permits(), 5);
    }

    #[tokio::test]
    async fn a_body_that_does_not_end_is_given_up() {
        let reader = reader(Duration::ZERO);
        let endless = futures::stream::pending::<std::io::Result<Bytes>>();
        let refused = reader.read(Body::from_stream(endless), 7).await.unwrap_err();
        assert_eq!(refused.status(), StatusCode::REQUEST_TIMEOUT);
    }
}
