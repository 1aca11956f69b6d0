//! What uploads and downloads have in common at both ends: pieces of a bounded size, and an end that is said.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{Stream, unfold};
use tokio::time::sleep;

use super::Shared;
use crate::peers::{CallError, Pieces};

/// Larger pieces are cut: a message is held in memory as a whole, and other streams wait behind it.
pub(super) const PIECE_BYTES_MAX: usize = 128 << 10;

/// What is sent of a transfer.
pub(super) enum Sent {
    Piece(Bytes),
    End,
    Failed(CallError),
}

/// The pieces, cut, up to an end or a failure.
pub(super) fn sent(pieces: Pieces) -> impl Stream<Item = Sent> + Send + 'static {
    unfold((Some(pieces), Bytes::new()), |(mut pieces, mut rest): (Option<Pieces>, Bytes)| async move {
        while rest.is_empty() {
            match pieces.as_mut()?.next().await {
                Some(Ok(piece)) => rest = piece,
                Some(Err(error)) => return Some((Sent::Failed(error), (None, rest))),
                None => return Some((Sent::End, (None, rest))),
            }
        }
        let piece = rest.split_to(rest.len().min(PIECE_BYTES_MAX));
        Some((Sent::Piece(piece), (pieces, rest)))
    })
}

/// Waits until `bytes` more may be uploaded.
pub(super) async fn throttle(shared: &Arc<Shared>, bytes: usize) {
    let Some(bucket) = &shared.bucket else { return };
    let wait = bucket.take(bytes, shared.clock.monotonic());
    if !wait.is_zero() {
        shared.metrics.throttled_seconds.inc_by(wait.as_secs_f64());
        sleep(wait).await;
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    async fn words(pieces: Vec<Result<Bytes, CallError>>) -> Vec<String> {
        sent(stream::iter(pieces).boxed())
            .map(|sent| match sent {
                Sent::Piece(piece) => piece.len().to_string(),
                Sent::End => "end".to_owned(),
                Sent::Failed(error) => error.to_string(),
            })
            .collect()
            .await
    }

    #[tokio::test]
    async fn pieces_are_cut_and_the_end_is_said() {
        let pieces =
            vec![Ok(Bytes::from(vec![0; PIECE_BYTES_MAX + 1])), Ok(Bytes::new()), Ok(Bytes::from_static(b"12"))];
        assert_eq!(words(pieces).await, [PIECE_BYTES_MAX.to_string().as_str(), "1", "2", "end"]);
        assert_eq!(words(Vec::new()).await, ["end"]);
    }

    #[tokio::test]
    async fn nothing_comes_after_a_failure() {
        let failed = CallError::Refused { reason: "disk".to_owned() };
        assert_eq!(words(vec![Ok(Bytes::from_static(b"1")), Err(failed), Ok(Bytes::new())]).await, ["1", "disk"]);
    }
}
