//! `labels`, `label/<name>/values`, `series`: answered from the indexes, samples are not touched.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use http::HeaderMap;
use pharos_model::labels::quote;

use super::super::error::{ApiError, Kind};
use super::super::json;
use super::super::params::Params;
use super::{json_response, tenant_of, truncate};
use crate::app::App;
use crate::node::IndexRequest;

/// Prefix of a label name that was escaped to fit into a URL path (Prometheus' "values" escaping).
const ESCAPED_PREFIX: &str = "U__";

pub async fn labels(State(app): State<Arc<App>>, headers: HeaderMap, params: Params) -> Result<Response, ApiError> {
    let asked = Asked::of(&app, &headers, &params)?;
    let mut names = within_timeout(&app, app.node.label_names(&asked.request)).await?;
    let warnings = truncate(names.len(), asked.limit, |limit| names.truncate(limit));
    Ok(json_response(json::list_answer(names, warnings)))
}

pub async fn label_values(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, ApiError> {
    let name = unescape_name(&name);
    if name.is_empty() {
        return Err(ApiError::bad_data(format!("invalid label name: {}", quote(&name))));
    }
    let asked = Asked::of(&app, &headers, &params)?;
    let mut values = within_timeout(&app, app.node.label_values(&name, &asked.request)).await?;
    let warnings = truncate(values.len(), asked.limit, |limit| values.truncate(limit));
    Ok(json_response(json::list_answer(values, warnings)))
}

pub async fn series(State(app): State<Arc<App>>, headers: HeaderMap, params: Params) -> Result<Response, ApiError> {
    if params.all("match[]").next().is_none() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let asked = Asked::of(&app, &headers, &params)?;
    let mut found = within_timeout(&app, app.node.series(&asked.request)).await?;
    let warnings = truncate(found.len(), asked.limit, |limit| found.truncate(limit));
    Ok(json_response(json::list_answer(found, warnings)))
}

/// What the three endpoints are asked alike.
struct Asked {
    request: IndexRequest,
    limit: Option<usize>,
}

impl Asked {
    fn of(app: &App, headers: &HeaderMap, params: &Params) -> Result<Self, ApiError> {
        let (limit, range) = (params.limit()?, params.range()?);
        let matcher_sets = params.selective_matcher_sets(&app.parser_options)?;
        // One more than is shown: enough to tell whether something was left out.
        let read_max = limit.map_or(usize::MAX, |limit| limit.saturating_add(1));
        Ok(Self { request: IndexRequest { tenant: tenant_of(headers)?, matcher_sets, range, limit: read_max }, limit })
    }
}

/// Gives up after the time a query may take.
pub(in crate::http) async fn within_timeout<T, E: Into<ApiError>>(
    app: &App,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, ApiError> {
    match tokio::time::timeout(app.flags.query_timeout, work).await {
        Ok(done) => done.map_err(Into::into),
        Err(_) => Err(ApiError::new(Kind::Timeout, "query timed out in expression evaluation")),
    }
}

/// Undoes the escaping `U__my_2e_name`: `__` is an underscore, `_HEX_` a code point. A name that is not escaped, or is so
/// wrongly, is taken as it is.
fn unescape_name(name: &str) -> String {
    let Some(escaped) = name.strip_prefix(ESCAPED_PREFIX) else { return name.to_owned() };
    let mut out = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some(at) = rest.find('_') {
        out.push_str(&rest[..at]);
        let tail = &rest[at + 1..];
        let Some(end) = tail.find('_') else { return name.to_owned() };
        match (end, u32::from_str_radix(&tail[..end], 16).ok().and_then(char::from_u32)) {
            (0, _) => out.push('_'),
            (_, Some(c)) => out.push(c),
            (_, None) => return name.to_owned(),
        }
        rest = &tail[end + 1..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_names_are_decoded() {
        for (escaped, name) in [
            ("job", "job"),
            ("U__http_2e_status", "http.status"),
            ("U__a__b", "a_b"),
            ("U__a_zz_b", "U__a_zz_b"),
            ("U__a_2e", "U__a_2e"),
            ("U___1F600_", "😀"),
        ] {
            assert_eq!(unescape_name(escaped), name);
        }
    }
}
