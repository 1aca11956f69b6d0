//! What the node answers before its store is open: alive, not ready, and how far the log has been read.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwapOption;
use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, StatusCode};
use pharos_cluster::founding::Waiting;
use pharos_cluster::member::Phase;
use serde_json::json;
use tokio::sync::watch;
use tower::Service;

/// The service that listens from the first moment on: a stand-in until [`Gate::open`], the real router from then on.
#[derive(Clone, Debug)]
pub struct Gate {
    router: Arc<ArcSwapOption<Router>>,
    /// How far a start among others is.
    phase: watch::Receiver<Phase>,
}

impl Gate {
    pub fn new(phase: watch::Receiver<Phase>) -> Self {
        Self { router: Arc::default(), phase }
    }

    /// Lets requests through to the router from now on.
    pub fn open(&self, router: Router) {
        self.router.store(Some(Arc::new(router)));
    }
}

impl<B> Service<Request<B>> for Gate
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.router.load_full() {
            Some(router) => {
                let mut router = Router::clone(&router);
                Box::pin(async move { router.call(request.map(Body::new)).await })
            }
            None => {
                let response = before_ready(request.uri().path(), &self.phase.borrow());
                Box::pin(async move { Ok(response) })
            }
        }
    }
}

fn before_ready(path: &str, phase: &Phase) -> Response {
    if path.ends_with("/-/healthy") {
        "Prometheus Server is Healthy.\n".into_response()
    } else if path.ends_with("/status/walreplay") {
        super::api::success(&json!({"min": 0, "max": 1, "current": 0}))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, unavailable(phase)).into_response()
    }
}

/// Prometheus' words, and what is waited for if others are.
fn unavailable(phase: &Phase) -> String {
    let waits = match phase {
        Phase::Waiting { whom, why } => {
            let what = match why {
                Waiting::ForAnswers => "an answer of",
                Waiting::ForFounder => "the cluster to be founded by the first of --cluster.initial-nodes:",
                Waiting::ForMember => "a member of the cluster among",
            };
            format!("waits for {what} {}", whom.join(", "))
        }
        Phase::Joining { through, reason: Some(reason) } => {
            format!("{through} did not take this node in yet: {reason}")
        }
        Phase::Joining { through, reason: None } => format!("asks {through} to be taken in"),
        Phase::Asking | Phase::Opening | Phase::Member => return "Service Unavailable".to_owned(),
    };
    format!("Service Unavailable: {waits}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_is_told_what_is_waited_for() {
        assert_eq!(unavailable(&Phase::Opening), "Service Unavailable");
        let whom = vec!["a:1".to_owned(), "b:1".to_owned()];
        let waiting = Phase::Waiting { whom, why: Waiting::ForAnswers };
        assert_eq!(unavailable(&waiting), "Service Unavailable: waits for an answer of a:1, b:1");
        let joining = Phase::Joining { through: "a:1".into(), reason: Some("no leader".into()) };
        assert_eq!(unavailable(&joining), "Service Unavailable: a:1 did not take this node in yet: no leader");
    }
}
