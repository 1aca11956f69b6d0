//! The [`Service`](crate::peers::Service) on the wire: where an exchange begins, uploads and downloads.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{BoxStream, unfold};
use futures::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::Hall;
use super::exchange::Exchange;
use super::visit::From;
use crate::peers::{CallError, Method, NodeId, Pieces};
use crate::rpc::metrics::OneOf;
use crate::rpc::record::ServingTransfer;
use crate::rpc::status::{malformed, refused, turned_away, words};
use crate::rpc::transfer::{Sent, sent};
use crate::rpc::wire::peer_server::Peer;
use crate::rpc::wire::{
    DownloadPart, DownloadQuestion, Frame, Opening, UploadAnswer, UploadPart, download_part, upload_part,
};

pub(super) struct PeerHandler {
    pub(super) hall: Arc<Hall>,
}

/// A transfer that is served: its place among its caller's, and in the metric.
type Place = (ServingTransfer, OneOf);

impl PeerHandler {
    fn place(&self, from: &From) -> Result<Place, Status> {
        let shared = &self.hall.shared;
        let max = shared.options.transfers_max;
        let serving = from.record.begin_transfer(max).ok_or_else(|| {
            shared.metrics.refused.with_label_values(&["busy"]).inc();
            turned_away(format!("{max} uploads and downloads of this caller are under way, no more are begun"))
        })?;
        Ok((serving, OneOf::new(&shared.metrics.transfers_in)))
    }
}

#[tonic::async_trait]
impl Peer for PeerHandler {
    type ExchangeStream = Exchange;
    type DownloadStream = BoxStream<'static, Result<DownloadPart, Status>>;

    async fn exchange(&self, request: Request<Streaming<Frame>>) -> Result<Response<Exchange>, Status> {
        let from = caller(&request);
        Ok(Response::new(Exchange::new(&self.hall, from, request.into_inner())))
    }

    async fn upload(&self, request: Request<Streaming<UploadPart>>) -> Result<Response<UploadAnswer>, Status> {
        let from = caller(&request);
        let _place = self.place(&from)?;
        let mut parts = request.into_inner();
        let Some(UploadPart { part: Some(upload_part::Part::Opening(Opening { method, header })) }) =
            parts.message().await?
        else {
            return Err(malformed("an upload begins with its opening"));
        };
        let pieces = received(from.node, parts).boxed();
        let answer = self.hall.service.upload(from.node, self::method(method)?, header, pieces).await;
        answer.map(|body| Response::new(UploadAnswer { body })).map_err(|error| refused(&error))
    }

    async fn download(&self, request: Request<DownloadQuestion>) -> Result<Response<Self::DownloadStream>, Status> {
        let from = caller(&request);
        let place = self.place(&from)?;
        let DownloadQuestion { method, header } = request.into_inner();
        let pieces = self.hall.service.download(from.node, self::method(method)?, header).await;
        let pieces = pieces.map_err(|error| refused(&error))?;
        Ok(Response::new(download_parts(pieces, place).boxed()))
    }
}

/// A request without one is not let in.
fn caller<T>(request: &Request<T>) -> From {
    request.extensions().get::<From>().expect("requests that are let in say from whom they are").clone()
}

pub(super) fn method(number: u32) -> Result<Method, Status> {
    u16::try_from(number).map(Method).map_err(|_| malformed("method numbers are below 65536"))
}

/// What comes of an upload; an error unless its end was said.
fn received(
    from: NodeId,
    parts: Streaming<UploadPart>,
) -> impl Stream<Item = Result<Bytes, CallError>> + Send + 'static {
    unfold(Some(parts), move |parts| async move {
        let mut parts: Streaming<UploadPart> = parts?;
        let error = match parts.message().await {
            Ok(Some(UploadPart { part: Some(part) })) => match part {
                upload_part::Part::Piece(piece) => return Some((Ok(piece), Some(parts))),
                upload_part::Part::End(_) => return None,
                upload_part::Part::Failed(reason) => CallError::Refused { reason },
                upload_part::Part::Opening(_) => CallError::Refused { reason: "an upload has one opening".to_owned() },
            },
            Ok(_) => CallError::Lost { node: from, reason: "the upload was cut off".to_owned() },
            Err(status) => CallError::Lost { node: from, reason: words(&status) },
        };
        Some((Err(error), None))
    })
}

/// The pieces as they are sent; `place` is held until the last one is.
fn download_parts(pieces: Pieces, place: Place) -> impl Stream<Item = Result<DownloadPart, Status>> + Send + 'static {
    sent(pieces).map(move |sent| {
        let _held = &place;
        let part = match sent {
            Sent::Piece(piece) => download_part::Part::Piece(piece),
            Sent::End => download_part::Part::End(true),
            Sent::Failed(error) => return Err(refused(&error)),
        };
        Ok(DownloadPart { part: Some(part) })
    })
}
