//! Uploads to a node and downloads from it.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::unfold;
use futures::{Stream, StreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tonic::{Request, Status, Streaming};

use super::{Client, Link, Phase};
use crate::peers::{CallError, Method, Pieces};
use crate::rpc::Shared;
use crate::rpc::metrics::OneOf;
use crate::rpc::status::call_error;
use crate::rpc::transfer::{Sent, sent, throttle};
use crate::rpc::wire::{DownloadPart, DownloadQuestion, Opening, UploadPart, download_part, put_caller, upload_part};

/// A transfer under way: its place among those to the node, and in the metric.
type Place = (OwnedSemaphorePermit, OneOf);

impl Link {
    /// Sends all pieces, then waits for the answer. Dropping it ends the upload at the other side.
    pub(in crate::rpc) async fn upload(
        &self,
        method: Method,
        header: Bytes,
        pieces: Pieces,
    ) -> Result<Bytes, CallError> {
        self.try_upload(method, header, pieces).await.inspect_err(|error| self.shared.metrics.failures.count(error))
    }

    /// Dropping the pieces ends the download at the other side.
    pub(in crate::rpc) async fn download(&self, method: Method, header: Bytes) -> Result<Pieces, CallError> {
        self.try_download(method, header).await.inspect_err(|error| self.shared.metrics.failures.count(error))
    }

    async fn try_upload(&self, method: Method, header: Bytes, pieces: Pieces) -> Result<Bytes, CallError> {
        let _place = self.place()?;
        let mut client = self.ready().await?;
        let failure = Arc::new(Mutex::new(None));
        // Dropped together with this future; the pieces end then, without an end being said.
        let (_alive, given_up) = oneshot::channel::<()>();
        let opening =
            UploadPart { part: Some(upload_part::Part::Opening(Opening { method: method.0.into(), header })) };
        let parts = upload_parts(Arc::clone(&self.shared), pieces, Arc::clone(&failure));
        let parts = stream::once(async { opening }).chain(parts).take_until(given_up);
        let answer = client.upload(self.request(parts)?).await;
        // Of two reasons, the first.
        if let Some(error) = failure.lock().take() {
            return Err(error);
        }
        answer.map(|answer| answer.into_inner().body).map_err(|status| call_error(self.node, &status))
    }

    async fn try_download(&self, method: Method, header: Bytes) -> Result<Pieces, CallError> {
        let place = self.place()?;
        let mut client = self.ready().await?;
        let question = self.request(DownloadQuestion { method: method.0.into(), header })?;
        let parts = client.download(question).await.map_err(|status| call_error(self.node, &status))?.into_inner();
        let node = self.node;
        Ok(unfold(Some((parts, place)), move |open| async move {
            let (mut parts, place): (Streaming<DownloadPart>, Place) = open?;
            match next_piece(&mut parts).await {
                Ok(Some(piece)) => Some((Ok(piece), Some((parts, place)))),
                Ok(None) => None,
                Err(status) => Some((Err(call_error(node, &status)), None)),
            }
        })
        .boxed())
    }

    /// The connection, when there is one.
    async fn ready(&self) -> Result<Client, CallError> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            match &self.state.lock().phase {
                Phase::Up(client) => return Ok(client.clone()),
                Phase::Down(reason) | Phase::Closed(reason) => return Err(self.unreachable(reason.clone())),
                Phase::Connecting => {}
            }
            changed.await;
        }
    }

    fn place(&self) -> Result<Place, CallError> {
        let permit = Arc::clone(&self.transfers).try_acquire_owned().map_err(|_| {
            let max = self.shared.options.transfers_max;
            self.unreachable(format!("{max} uploads and downloads with it are under way, no more are begun"))
        })?;
        Ok((permit, OneOf::new(&self.shared.metrics.transfers_out)))
    }

    fn request<T>(&self, message: T) -> Result<Request<T>, CallError> {
        let caller = self.shared.identity.caller(self.node);
        let caller = caller.ok_or_else(|| self.unreachable("this node is in no cluster yet".to_owned()))?;
        let mut request = Request::new(message);
        put_caller(&caller, request.metadata_mut());
        Ok(request)
    }

    fn unreachable(&self, reason: String) -> CallError {
        CallError::Unreachable { node: self.node, reason }
    }
}

/// The pieces as they are sent, no faster than allowed. If they fail, `failure` says why.
fn upload_parts(
    shared: Arc<Shared>,
    pieces: Pieces,
    failure: Arc<Mutex<Option<CallError>>>,
) -> impl Stream<Item = UploadPart> + Send + 'static {
    sent(pieces).then(move |sent| {
        let (shared, failure) = (Arc::clone(&shared), Arc::clone(&failure));
        async move {
            let part = match sent {
                Sent::Piece(piece) => {
                    throttle(&shared, piece.len()).await;
                    upload_part::Part::Piece(piece)
                }
                Sent::End => upload_part::Part::End(true),
                Sent::Failed(error) => {
                    let reason = error.to_string();
                    *failure.lock() = Some(error);
                    upload_part::Part::Failed(reason)
                }
            };
            UploadPart { part: Some(part) }
        }
    })
}

/// `None` after the end was said.
async fn next_piece(parts: &mut Streaming<DownloadPart>) -> Result<Option<Bytes>, Status> {
    match parts.message().await?.and_then(|part| part.part) {
        Some(download_part::Part::Piece(piece)) => Ok(Some(piece)),
        Some(download_part::Part::End(_)) => Ok(None),
        None => Err(Status::data_loss("the download was cut off")),
    }
}
