//! One accepted connection.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};

use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::metadata::MetadataMap;
use tonic::server::NamedService;
use tracing::{debug, info, warn};

use super::door::DoorHandler;
use super::transfers::PeerHandler;
use super::{Hall, QUESTION_BYTES_MAX};
use crate::peers::NodeId;
use crate::rpc::Shared;
use crate::rpc::connect::{FRAME_BYTES_MAX, HEADERS_BYTES_MAX, Tasks};
use crate::rpc::identity::{Refusal, Standing, check};
use crate::rpc::metrics::OneOf;
use crate::rpc::record::{Metered, Record, Wire};
use crate::rpc::status::{not_let_in, turned_away};
use crate::rpc::tls::Certificate;
use crate::rpc::transport::Io;
use crate::rpc::wire::door_server::DoorServer;
use crate::rpc::wire::peer_server::PeerServer;
use crate::rpc::wire::take_caller;

/// Who is on the other end, as far as that is known.
pub(super) struct Visitor {
    shared: Arc<Shared>,
    pub(super) certificate: Option<Certificate>,
    wire: Arc<Wire>,
    node: OnceLock<NodeId>,
    let_in: Notify,
}

/// Goes with every request that was let in.
#[derive(Clone)]
pub(super) struct From {
    pub(super) node: NodeId,
    pub(super) record: Arc<Record>,
}

/// The connection, from its first byte to its last.
pub(super) async fn visit(hall: Arc<Hall>, io: Box<dyn Io>) {
    let shared = &hall.shared;
    let place = hall.strangers.enter();
    let patience = sleep(shared.options.introduction_timeout);
    tokio::pin!(patience);
    let dropped = |reason: &str| shared.metrics.dropped.with_label_values(&[reason]).inc();
    let (io, certificate) = tokio::select! {
        biased;
        () = shared.stop.cancelled() => return,
        () = place.taken_away.cancelled() => return dropped("pushed_out"),
        () = &mut patience => return dropped("silent"),
        accepted = shared.guard.accepted(io) => match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                debug!(%error, "a connection failed before TLS was agreed on");
                return dropped("tls");
            }
        },
    };
    let wire = Wire::new(Arc::clone(&shared.clock));
    let io = Metered::new(io, Arc::clone(&wire));
    let visitor = Arc::new(Visitor {
        shared: Arc::clone(shared),
        certificate,
        wire,
        node: OnceLock::new(),
        let_in: Notify::new(),
    });
    let talk = talk(&hall, io, Arc::clone(&visitor));
    tokio::pin!(talk);
    tokio::select! {
        biased;
        () = shared.stop.cancelled() => return,
        () = place.taken_away.cancelled() => return dropped("pushed_out"),
        () = &mut patience => return dropped("silent"),
        () = visitor.let_in.notified() => {}
        () = &mut talk => return dropped("left"),
    }
    drop(place);
    let _open = OneOf::new(&shared.metrics.connections_in);
    let mut tick = interval(shared.options.ping_every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => break,
            () = &mut talk => break,
            _ = tick.tick() => {
                if visitor.was_removed() {
                    info!(node = ?visitor.node, "closed the connection of a node that was removed");
                    break;
                }
            }
        }
    }
    if let Some(node) = visitor.node.get() {
        shared.forget_unless_member(*node);
    }
}

async fn talk(hall: &Arc<Hall>, io: Metered, visitor: Arc<Visitor>) {
    let options = &hall.shared.options;
    let bytes_max = options.message_bytes_max();
    let peer = PeerServer::new(PeerHandler { hall: Arc::clone(hall) })
        .max_decoding_message_size(bytes_max)
        .max_encoding_message_size(bytes_max);
    let door = DoorServer::new(DoorHandler { hall: Arc::clone(hall), visitor: Arc::clone(&visitor) })
        .max_decoding_message_size(QUESTION_BYTES_MAX);
    let service = service_fn(|request: Request<Incoming>| {
        let (hall, visitor) = (Arc::clone(hall), Arc::clone(&visitor));
        let (mut peer, mut door) = (peer.clone(), door.clone());
        async move {
            if is_for::<DoorServer<DoorHandler>>(&request) {
                let Ok(_question) = hall.questions.try_acquire() else {
                    return refuse(&hall.shared, "too_many_questions", turned_away("ask later".to_owned()));
                };
                return door.call(request).await;
            }
            answer(&visitor, &mut peer, request).await
        }
    });
    let served = Builder::new(Tasks(hall.shared.tasks.clone()))
        .timer(TokioTimer::new())
        .initial_stream_window_size(options.stream_window_bytes)
        .initial_connection_window_size(options.connection_window_bytes())
        .max_concurrent_streams(options.streams_max())
        // A node may give up all of its streams at once.
        .max_pending_accept_reset_streams(options.streams_max() as usize)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_header_list_size(HEADERS_BYTES_MAX)
        .max_send_buf_size(options.stream_window_bytes as usize)
        .keep_alive_interval(options.silence_max)
        .keep_alive_timeout(options.silence_max)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(io), service)
        .await;
    if let Err(error) = served {
        debug!(%error, "the connection of another node broke");
    }
}

/// Hands the request on if its caller may ask.
async fn answer(
    visitor: &Visitor,
    peer: &mut PeerServer<PeerHandler>,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    match visitor.let_in(request.headers()) {
        Ok(from) => {
            request.extensions_mut().insert(from);
            peer.call(request).await
        }
        Err(refusal) => {
            // Anybody may send what no node sends, as often as they like.
            match refusal {
                Refusal::NoCaller => debug!("refused a request that no node sends"),
                _ => warn!(%refusal, "refused a request of another node"),
            }
            refuse(&visitor.shared, refusal.label(), not_let_in(&refusal))
        }
    }
}

fn refuse(shared: &Shared, label: &str, status: tonic::Status) -> Result<Response<Body>, Infallible> {
    shared.metrics.refused.with_label_values(&[label]).inc();
    Ok(status.into_http())
}

fn is_for<S: NamedService>(request: &Request<Incoming>) -> bool {
    request
        .uri()
        .path()
        .strip_prefix('/')
        .and_then(|path| path.strip_prefix(S::NAME))
        .is_some_and(|rest| rest.starts_with('/'))
}

impl Visitor {
    fn was_removed(&self) -> bool {
        self.node.get().is_some_and(|node| (self.shared.members)(*node) == Standing::Removed)
    }

    /// Whose request it is, if it may be read. The first one says whose the connection is.
    fn let_in(&self, headers: &HeaderMap) -> Result<From, Refusal> {
        let caller = take_caller(&MetadataMap::from_headers(headers.clone()));
        let node = check(&self.shared.identity, caller, &self.shared.members, self.certificate.as_ref())?;
        let record = self.shared.records.get_or_new(node);
        let first = *self.node.get_or_init(|| {
            self.wire.belongs_to(Arc::clone(&record));
            self.let_in.notify_one();
            self.shared.hint(node);
            node
        });
        if first != node {
            return Err(Refusal::TwoNodes { caller: first, theirs: node });
        }
        Ok(From { node, record })
    }
}
