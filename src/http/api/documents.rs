//! `config/documents`: configuration that all nodes have, in versions, written by compare-and-set. Of the one that is the nodes' own
//! configuration (`prometheus.yml`) nothing is written that this node could not go by.
//!
//! Which documents there are anyone may read. What is in them may be secret, and whoever writes them makes the nodes read files and
//! call servers: both need `--web.enable-admin-api`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use http::Uri;
use pharos_cluster::meta::{DOCUMENT_BYTES_MAX, Document, Documents, Version, diff};
use serde::Serialize;
use serde_json::{Value, json};

use super::super::error::{ApiError, Kind};
use super::super::json::data_body;
use super::super::params::Params;
use super::admin::allowed;
use super::{json_response, success};
use crate::app::App;

/// A version without its content.
#[derive(Serialize)]
struct VersionInfo {
    version: u64,
    at_ms: i64,
    rolled_back_to: Option<u64>,
    bytes: usize,
}

impl From<&Version> for VersionInfo {
    fn from(version: &Version) -> Self {
        let Version { version, at_ms, rolled_back_to, content } = version;
        Self { version: *version, at_ms: *at_ms, rolled_back_to: *rolled_back_to, bytes: content.len() }
    }
}

pub async fn list(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let documents = app.node.meta().read_documents().await?;
    let all: Vec<Value> = documents
        .iter()
        .map(|(name, document)| {
            let versions: Vec<VersionInfo> = document.versions().map(VersionInfo::from).collect();
            json!({"name": name, "version": document.current().version, "versions": versions})
        })
        .collect();
    Ok(success(&json!({"documents": all})))
}

pub async fn get(State(app): State<Arc<App>>, Path(name): Path<String>, params: Params) -> Result<Response, ApiError> {
    allowed(&app)?;
    let documents = app.node.meta().read_documents().await?;
    let document = document(&documents, &name)?;
    let shown = match number(&params, "version")? {
        None => document.current(),
        Some(version) => kept(&name, document, version)?,
    };
    Ok(success(&with_name(&name, shown, Some(&shown.content))))
}

pub async fn put(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    uri: Uri,
    body: Body,
) -> Result<Response, ApiError> {
    allowed(&app)?;
    // The body is the document, whatever type a client says it has.
    let expected = expected(&Params::of(uri.query().unwrap_or_default()))?;
    let body = app.bodies.read(body, DOCUMENT_BYTES_MAX).await.map_err(|error| {
        let retry_after = error.retry_after();
        let kind = if retry_after.is_some() { Kind::Unavailable } else { Kind::BadData };
        ApiError { retry_after, ..ApiError::new(kind, format!("reading the document: {error}")) }
    })?;
    let content = String::from_utf8(body.bytes.to_vec())
        .map_err(|error| ApiError::bad_data(format!("the document is no UTF-8 text: {error}")))?;
    let warnings = checked(&app, &name, &content)?;
    let written = app.node.meta().put_document(&name, expected, content, app.clock.now_ms()).await?;
    Ok(json_response(data_body(&with_name(&name, &written, None), &warnings, &[])))
}

pub async fn roll_back(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    params: Params,
) -> Result<Response, ApiError> {
    allowed(&app)?;
    let expected = expected(&params)?;
    let to =
        number(&params, "to")?.ok_or_else(|| ApiError::bad_data("no to parameter provided: back to which version?"))?;
    let documents = app.node.meta().read_documents().await?;
    // The files that it names may have gone since it was written.
    let warnings = checked(&app, &name, &kept(&name, document(&documents, &name)?, to)?.content)?;
    let written = app.node.meta().roll_back_document(&name, expected, to, app.clock.now_ms()).await?;
    Ok(json_response(data_body(&with_name(&name, &written, None), &warnings, &[])))
}

/// Lines of both versions; by default of the newest and the one before.
pub async fn difference(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    params: Params,
) -> Result<Response, ApiError> {
    allowed(&app)?;
    let documents = app.node.meta().read_documents().await?;
    let document = document(&documents, &name)?;
    let to = number(&params, "to")?.unwrap_or(document.current().version);
    let from = number(&params, "from")?.unwrap_or(to.saturating_sub(1));
    let content = |version: u64| match version {
        // Before the first version there was nothing.
        0 => Ok(String::new()),
        version => kept(&name, document, version).map(|kept| kept.content.clone()),
    };
    let (old, new) = (content(from)?, content(to)?);
    let lines =
        tokio::task::spawn_blocking(move || diff(&old, &new).iter().map(ToString::to_string).collect::<Vec<_>>());
    let lines = lines.await.map_err(|error| ApiError::new(Kind::Internal, error.to_string()))?;
    Ok(success(&json!({"name": name, "from": from, "to": to, "lines": lines})))
}

fn checked(app: &App, name: &str, content: &str) -> Result<Vec<String>, ApiError> {
    let checked = app.check_document(name, content);
    checked.map_err(|error| ApiError::bad_data(format!("document {name} is not written: {error}")))
}

fn with_name(name: &str, version: &Version, content: Option<&str>) -> Value {
    let mut data = json!({"name": name});
    let fields = data.as_object_mut().expect("it is an object");
    if let Ok(Value::Object(info)) = serde_json::to_value(VersionInfo::from(version)) {
        fields.extend(info);
    }
    fields.extend(content.map(|content| ("content".to_owned(), Value::from(content))));
    data
}

fn document<'a>(documents: &'a Documents, name: &str) -> Result<&'a Document, ApiError> {
    documents.get(name).ok_or_else(|| {
        let names: Vec<&str> = documents.iter().map(|(name, _)| name).collect();
        let others =
            if names.is_empty() { "there is none".to_owned() } else { format!("there are {}", names.join(", ")) };
        ApiError::new(Kind::NotFound, format!("there is no document {name}; {others}"))
    })
}

fn kept<'a>(name: &str, document: &'a Document, version: u64) -> Result<&'a Version, ApiError> {
    document.version(version).ok_or_else(|| {
        let oldest = document.versions().next().map_or(0, |oldest| oldest.version);
        let text =
            format!("version {version} of document {name} is not kept, {oldest} to {} are", document.current().version);
        ApiError::new(Kind::NotFound, text)
    })
}

fn expected(params: &Params) -> Result<u64, ApiError> {
    number(params, "expected")?.ok_or_else(|| {
        ApiError::bad_data(
            "no expected parameter provided: it is the version that the document is at, 0 when there is none, so that nobody's change is \
             lost unseen",
        )
    })
}

fn number(params: &Params, name: &str) -> Result<Option<u64>, ApiError> {
    let read =
        |text: &str| text.parse().map_err(|_| ApiError::invalid_parameter(name, format!("{text:?} is no version")));
    params.get(name).map(read).transpose()
}
