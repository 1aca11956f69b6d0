//! `query`, `query_range`, `query_exemplars`, `format_query`, `parse_query`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, header};
use pharos_model::LabelSet;
use pharos_promql::ast::{Expr, ExprKind};
use pharos_query::engine::QueryRange;
use pharos_query::{QueryOptions, QueryOutcome, Value};

use super::super::error::ApiError;
use super::super::json::{self, StatsDetail};
use super::super::params::Params;
use super::series::within_timeout;
use super::{json_response, success, tenant_of};
use crate::app::App;
use crate::node::IndexRequest;

/// Most points of one series that a range query may ask for.
const POINTS_MAX: i64 = 11_000;

pub async fn instant(State(app): State<Arc<App>>, headers: HeaderMap, params: Params) -> Result<Response, ApiError> {
    let limit = params.limit()?;
    let ts = params.time_or("time", app.clock.now_ms())?;
    let (options, stats) = options(&params, &headers)?;
    let tenant = tenant_of(&headers)?;
    let query = params.get("query").unwrap_or_default();
    let outcome = app.engine.instant(&tenant, query, ts, options).await?;
    Ok(json_response(json::query_answer(limited(outcome, limit), stats)))
}

pub async fn range(State(app): State<Arc<App>>, headers: HeaderMap, params: Params) -> Result<Response, ApiError> {
    let limit = params.limit()?;
    let range = steps(&params)?;
    let (options, stats) = options(&params, &headers)?;
    let tenant = tenant_of(&headers)?;
    let query = params.get("query").unwrap_or_default();
    let outcome = app.engine.range(&tenant, query, range, options).await?;
    Ok(json_response(json::query_answer(limited(outcome, limit), stats)))
}

/// When a range query is evaluated.
pub(super) fn steps(params: &Params) -> Result<QueryRange, ApiError> {
    let start_ms = params.required_time("start")?;
    let end_ms = params.required_time("end")?;
    if end_ms < start_ms {
        return Err(ApiError::invalid_parameter("end", "end timestamp must not be before start time"));
    }
    let step_ms = params
        .duration_ms("step")?
        .ok_or_else(|| ApiError::invalid_parameter("step", "cannot parse \"\" to a valid duration"))?;
    if step_ms <= 0 {
        return Err(ApiError::invalid_parameter(
            "step",
            "zero or negative query resolution step widths are not accepted. Try a positive integer",
        ));
    }
    if end_ms.saturating_sub(start_ms) / step_ms > POINTS_MAX {
        return Err(ApiError::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ));
    }
    Ok(QueryRange { start_ms, end_ms, step: Duration::from_millis(step_ms as u64) })
}

/// What is asked for besides the expression and its times. The results cache is passed over by `nocache=1` and by
/// `Cache-Control: no-store`, and where statistics are asked for, which are to be those of the query.
pub(super) fn options(params: &Params, headers: &HeaderMap) -> Result<(QueryOptions, StatsDetail), ApiError> {
    let duration = |name| -> Result<Option<Duration>, ApiError> {
        match params.duration_ms(name)? {
            Some(ms) if ms < 0 => Err(ApiError::invalid_parameter(name, "must not be negative")),
            Some(ms) => Ok(Some(Duration::from_millis(ms as u64))),
            None => Ok(None),
        }
    };
    let stats = match params.get("stats") {
        None => StatsDetail::None,
        Some("all") => StatsDetail::All,
        Some(_) => StatsDetail::Basic,
    };
    let options = QueryOptions {
        timeout: duration("timeout")?,
        lookback: duration("lookback_delta")?.filter(|delta| !delta.is_zero()),
        per_step_stats: stats == StatsDetail::All,
        bypass_cache: params.flag("nocache")? || is_no_store(headers) || stats != StatsDetail::None,
    };
    Ok((options, stats))
}

fn is_no_store(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CACHE_CONTROL).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|directive| directive.trim().eq_ignore_ascii_case("no-store"))
}

fn limited(mut outcome: QueryOutcome, limit: Option<usize>) -> QueryOutcome {
    let warnings = match &mut outcome.value {
        Value::Vector(elements) => super::truncate(elements.len(), limit, |limit| elements.truncate(limit)),
        Value::Matrix(series) => super::truncate(series.len(), limit, |limit| series.truncate(limit)),
        Value::Scalar(_) | Value::String { .. } => Vec::new(),
    };
    outcome.warnings.extend(warnings);
    outcome
}

pub async fn format(State(app): State<Arc<App>>, params: Params) -> Result<Response, ApiError> {
    Ok(success(&parsed(&app, &params)?.pretty()))
}

pub async fn parse(State(app): State<Arc<App>>, params: Params) -> Result<Response, ApiError> {
    Ok(success(&parsed(&app, &params)?.to_json()))
}

fn parsed(app: &App, params: &Params) -> Result<Expr, ApiError> {
    pharos_promql::parse_expr(params.get("query").unwrap_or_default(), &app.parser_options)
        .map_err(|error| ApiError::invalid_parameter("query", error))
}

pub async fn exemplars(State(app): State<Arc<App>>, headers: HeaderMap, params: Params) -> Result<Response, ApiError> {
    let range = params.range()?;
    if range.is_empty() {
        return Err(ApiError::bad_data("end timestamp must not be before start timestamp"));
    }
    let tenant = tenant_of(&headers)?;
    let mut selectors = Vec::new();
    collect_selectors(&parsed(&app, &params)?, &mut selectors);
    let asked = IndexRequest { tenant, matcher_sets: selectors, range, limit: usize::MAX };
    let found = within_timeout(&app, app.node.exemplars(&asked)).await?;
    Ok(json_response(json::exemplars_body(&found)))
}

fn collect_selectors(expr: &Expr, out: &mut Vec<Vec<pharos_model::Matcher>>) {
    if let ExprKind::Vector(selector) = &expr.kind {
        out.push(selector.matchers.clone());
    }
    expr.children().into_iter().for_each(|child| collect_selectors(child, out));
}

/// A label set as a JSON object.
pub fn label_map(labels: &LabelSet) -> serde_json::Map<String, serde_json::Value> {
    labels.iter().map(|label| (label.name.to_owned(), label.value.into())).collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_results_cache_is_passed_over_on_demand() {
        let bypasses = |query: &str, cache_control: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.extend(cache_control.map(|value| (header::CACHE_CONTROL, HeaderValue::from_static(value))));
            options(&Params::of(query), &headers).unwrap().0.bypass_cache
        };
        assert!(!bypasses("", None) && !bypasses("nocache=0&stats=", Some("no-cache, max-age=0")));
        for (query, cache_control) in [
            ("nocache=1", None),
            ("nocache=true", None),
            ("", Some("no-store")),
            ("", Some("max-age=0, No-Store")),
            ("stats=all", None),
            ("stats=true", None),
        ] {
            assert!(bypasses(query, cache_control), "{query} {cache_control:?}");
        }
    }
}
