//! `labels`, `label/<name>/values`, `series`: answered from the indexes, samples are not touched.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use http::HeaderMap;
use pharos_model::labels::quote;

use super::super::error::ApiError;
use super::super::params::Params;
use super::query::label_map;
use super::{success_with, tenant_of, truncate};
use crate::app::App;

/// Prefix of a label name that was escaped to fit into a URL path (Prometheus' "values" escaping).
const ESCAPED_PREFIX: &str = "U__";

pub async fn labels(State(app): State<Arc<App>>, headers: HeaderMap, params: Params) -> Result<Response, ApiError> {
    let (limit, range) = (params.limit()?, params.range()?);
    let matcher_sets = params.matcher_sets(&app.parser_options)?;
    let mut names = app.node.label_names(&tenant_of(&headers)?, &matcher_sets, range).await?;
    let warnings = truncate(&mut names, limit);
    Ok(success_with(&names, &warnings))
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
    let (limit, range) = (params.limit()?, params.range()?);
    let matcher_sets = params.matcher_sets(&app.parser_options)?;
    let mut values = app.node.label_values(&tenant_of(&headers)?, &name, &matcher_sets, range).await?;
    let warnings = truncate(&mut values, limit);
    Ok(success_with(&values, &warnings))
}

pub async fn series(State(app): State<Arc<App>>, headers: HeaderMap, params: Params) -> Result<Response, ApiError> {
    let matcher_sets = params.matcher_sets(&app.parser_options)?;
    if matcher_sets.is_empty() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let (limit, range) = (params.limit()?, params.range()?);
    let mut found = app.node.series(&tenant_of(&headers)?, &matcher_sets, range).await?;
    let warnings = truncate(&mut found, limit);
    let maps: Vec<_> = found.iter().map(label_map).collect();
    Ok(success_with(&maps, &warnings))
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
