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
use serde_json::json;
use tower::Service;

/// The service that listens from the first moment on: a stand-in until [`Gate::open`], the real router from then on.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    router: Arc<ArcSwapOption<Router>>,
}

impl Gate {
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
                let response = before_ready(request.uri().path());
                Box::pin(async move { Ok(response) })
            }
        }
    }
}

fn before_ready(path: &str) -> Response {
    if path.ends_with("/-/healthy") {
        "Prometheus Server is Healthy.\n".into_response()
    } else if path.ends_with("/status/walreplay") {
        super::api::success(&json!({"min": 0, "max": 1, "current": 0}))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable").into_response()
    }
}
