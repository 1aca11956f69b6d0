//! The web pages: plain files of `ui/`, embedded in the binary.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use http::{HeaderValue, StatusCode, header};

use crate::app::App;

const INDEX: &str = include_str!("../../ui/index.html");

/// Name, content type and content of every file below `/assets`.
const ASSETS: &[(&str, &str, &str)] = &[
    ("style.css", "text/css; charset=utf-8", include_str!("../../ui/style.css")),
    ("icon.svg", "image/svg+xml", include_str!("../../ui/icon.svg")),
    ("main.js", JAVASCRIPT, include_str!("../../ui/main.js")),
    ("dom.js", JAVASCRIPT, include_str!("../../ui/dom.js")),
    ("query.js", JAVASCRIPT, include_str!("../../ui/query.js")),
    ("chart.js", JAVASCRIPT, include_str!("../../ui/chart.js")),
    ("targets.js", JAVASCRIPT, include_str!("../../ui/targets.js")),
    ("cluster.js", JAVASCRIPT, include_str!("../../ui/cluster.js")),
    ("status.js", JAVASCRIPT, include_str!("../../ui/status.js")),
];
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// `/query`, `/targets`, `/cluster`, `/status`: one page, the script shows what the path names.
pub async fn page(State(app): State<Arc<App>>) -> Html<String> {
    let title = escape(&app.flags.web_page_title);
    let base = escape(&format!("{}/", app.flags.web_external_prefix));
    Html(INDEX.replace("BASE_HREF", &base).replace("PAGE_TITLE", &title))
}

/// `/` and `/graph`, with the query kept so that old links work.
pub async fn to_query_page(State(app): State<Arc<App>>, uri: http::Uri) -> Redirect {
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    Redirect::to(&format!("{}/query{query}", app.flags.web_external_prefix))
}

/// `/` where all routes have a prefix.
pub async fn to_prefix(State(app): State<Arc<App>>) -> Redirect {
    Redirect::to(&format!("{}/", app.flags.web_route_prefix))
}

pub async fn asset(Path(name): Path<String>) -> Response {
    match ASSETS.iter().find(|(known, _, _)| *known == name) {
        Some((_, content_type, content)) => {
            let mut response = (*content).into_response();
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
            response
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
