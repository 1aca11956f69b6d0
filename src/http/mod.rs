//! Everything that speaks HTTP to users: the API, the pages, telemetry, the write endpoint.

pub mod api;
pub mod body;
pub mod error;
pub mod federate;
pub mod json;
pub mod lifecycle;
pub mod metrics;
pub mod pages;
pub mod params;
pub mod server;
pub mod startup;
pub mod trace;
pub mod write;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;

use crate::app::App;

/// Every route, below the route prefix and, for the API, below Mimir's `/prometheus` too.
pub fn router(app: Arc<App>) -> Router {
    let api = api::routes()
        .route("/write", post(write::remote_write))
        .route("/push", post(write::remote_write))
        .route_layer(middleware::from_fn(trace::request))
        .route_layer(middleware::from_fn_with_state(app.clone(), metrics::count));
    let root = Router::new().nest("/api/v1", api.clone()).nest("/prometheus/api/v1", api).merge(
        Router::new()
            .route("/", get(pages::to_query_page))
            .route("/graph", get(pages::to_query_page))
            .route("/query", get(pages::page))
            .route("/targets", get(pages::page))
            .route("/cluster", get(pages::page))
            .route("/status", get(pages::page))
            .route("/assets/{name}", get(pages::asset))
            .route("/federate", get(federate::federate))
            .route("/metrics", get(metrics::exposition))
            .route("/version", get(api::status::version))
            .route("/-/healthy", get(lifecycle::healthy))
            .route("/-/ready", get(lifecycle::ready))
            .route("/-/reload", post(lifecycle::reload).put(lifecycle::reload))
            .route("/-/quit", post(lifecycle::quit).put(lifecycle::quit))
            .route_layer(middleware::from_fn_with_state(app.clone(), metrics::count)),
    );
    let prefix = app.flags.web_route_prefix.clone();
    let prefixed = if prefix.is_empty() {
        root
    } else {
        // Nesting alone leaves out the prefix with a slash behind it.
        Router::new()
            .nest(&prefix, root)
            .route(&format!("{prefix}/"), get(pages::to_query_page))
            .route("/", get(pages::to_prefix))
    };
    prefixed
        .fallback(not_found)
        .layer(CompressionLayer::new())
        .layer(middleware::from_fn_with_state(app.clone(), cors))
        .layer(CatchPanicLayer::new())
        .with_state(app)
}

/// What Go's router answers for a path that it does not know; Grafana looks for the text.
async fn not_found() -> (StatusCode, &'static str) {
    (StatusCode::NOT_FOUND, "404 page not found\n")
}

/// Lets pages of allowed origins read the answers, with the headers that Prometheus sends. A browser's question whether it may
/// is answered here, whatever the path.
async fn cors(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    if let Some(origin) = origin {
        allow_origin(&app.flags.web_cors_origin, &origin, response.headers_mut());
    }
    response
}

fn allow_origin(allowed: &regex::Regex, origin: &HeaderValue, headers: &mut HeaderMap) {
    let fixed = HeaderValue::from_static;
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, fixed("Accept, Authorization, Content-Type, Origin"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, fixed("GET, POST, OPTIONS"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, fixed("Date"));
    // A cache in between must not give one origin's answer to another.
    headers.append(header::VARY, fixed("Origin"));
    if allowed.as_str() == "^(?:.*)$" {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, fixed("*"));
    } else if origin.to_str().is_ok_and(|origin| allowed.is_match(origin)) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(pattern: &str, origin: &'static str) -> Option<String> {
        let mut headers = HeaderMap::new();
        let pattern = regex::Regex::new(&format!("^(?:{pattern})$")).unwrap();
        allow_origin(&pattern, &HeaderValue::from_static(origin), &mut headers);
        assert_eq!(headers[header::VARY], "Origin");
        headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn origins_are_checked_whole() {
        assert_eq!(allowed(".*", "https://a"), Some("*".into()));
        assert_eq!(allowed("https?://(a|b)", "https://a"), Some("https://a".into()));
        assert_eq!(allowed("https?://(a|b)", "https://a.evil"), None);
    }
}
