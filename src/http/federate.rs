//! `/federate`: the newest sample of every selected series, as an exposition for another server's scraper: text, or
//! protobuf, which has native histograms too.

mod protobuf;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use pharos_model::labels::{METRIC_NAME, is_legacy_label_name, is_legacy_metric_name};
use pharos_model::{LabelSet, TimeRange, number};

use super::api::series::within_timeout;
use super::api::tenant_of;
use super::error::ApiError;
use super::params::Params;
use crate::app::App;
use crate::node::{IndexRequest, Newest, NewestValue};

/// Errors are plain texts here, for people who look at a scraper's log.
pub async fn federate(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, (StatusCode, String)> {
    let plain = |error: ApiError| (error.status(), format!("{}\n", error.message));
    let matcher_sets =
        params.matcher_sets(&app.parser_options).map_err(|error| (StatusCode::BAD_REQUEST, format!("{error}\n")))?;
    let tenant = tenant_of(&headers).map_err(plain)?;
    let now_ms = app.clock.now_ms();
    // The lookback window is open on the left, as everywhere in PromQL.
    let range = TimeRange::new(now_ms - app.flags.query_lookback.as_millis() as i64 + 1, now_ms);
    let found = match matcher_sets.is_empty() {
        true => BTreeMap::new(),
        false => {
            let asked = IndexRequest { tenant, matcher_sets, range, limit: usize::MAX };
            within_timeout(&app, app.node.newest(&asked)).await.map_err(plain)?
        }
    };
    let names = Names::asked_for(&headers);
    let (mut response, content_type) = if protobuf::is_preferred(&headers) {
        (protobuf::exposition(found, &app.external_labels(), names).into_response(), protobuf::content_type(names))
    } else {
        (exposition(found, &app.external_labels(), names).into_response(), names.content_type())
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok(response)
}

/// What becomes of names that scrapers of before Prometheus 3 cannot read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    /// Written in quotes.
    Utf8,
    /// Every character that was not allowed becomes an underscore.
    Underscores,
}

impl Names {
    /// A scraper says so when it reads the names as they are.
    fn asked_for(headers: &HeaderMap) -> Self {
        let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut parameters = accepted.flat_map(|value| value.split([',', ';'])).map(str::trim);
        if parameters.any(|parameter| parameter == "escaping=allow-utf-8") { Self::Utf8 } else { Self::Underscores }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Utf8 => "text/plain; version=0.0.4; charset=utf-8; escaping=allow-utf-8",
            Self::Underscores => "text/plain; version=0.0.4; charset=utf-8; escaping=underscores",
        }
    }

    /// A metric's name, or a label's by Prometheus' escaping, which is the same for both.
    fn written(self, name: &str) -> Cow<'_, str> {
        if self == Self::Utf8 || is_legacy_metric_name(name) {
            return Cow::Borrowed(name);
        }
        let allowed =
            |at: usize, c: char| c == '_' || c == ':' || c.is_ascii_alphabetic() || (at > 0 && c.is_ascii_digit());
        Cow::Owned(name.char_indices().map(|(at, c)| if allowed(at, c) { c } else { '_' }).collect())
    }
}

/// The text format 0.0.4, one untyped block a metric; it has no native histograms. External labels are added where a series lacks them; a series
/// without an instance gets an empty one, so that the scraping server does not add its own.
fn exposition(found: BTreeMap<LabelSet, Newest>, external: &LabelSet, names: Names) -> String {
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_by(|(a, _), (b, _)| (a.metric_name(), a).cmp(&(b.metric_name(), b)));
    let mut out = String::new();
    let mut last_name: Option<String> = None;
    for (labels, newest) in &found {
        let NewestValue::Float(value) = newest.value else { continue };
        let Some(name) = labels.metric_name().map(|name| names.written(name)) else { continue };
        if last_name.as_deref() != Some(&*name) {
            let _ = writeln!(out, "# TYPE {} untyped", name_text(&name));
            last_name = Some(name.clone().into_owned());
        }
        write_series(&mut out, &name, labels, external, names);
        let _ = writeln!(out, " {} {}", number::format_g(value), newest.ts);
    }
    out
}

fn write_series(out: &mut String, name: &str, labels: &LabelSet, external: &LabelSet, names: Names) {
    let mut merged = merged_labels(labels, external);
    merged.remove(METRIC_NAME);
    let legacy = is_legacy_metric_name(name);
    let mut parts = Vec::with_capacity(merged.len() + 1);
    if !legacy {
        parts.push(quoted(name));
    }
    for (label, value) in merged {
        let label = names.written(label);
        let label = if is_legacy_label_name(&label) { label.into_owned() } else { quoted(&label) };
        parts.push(format!("{label}={}", quoted(value)));
    }
    let _ = write!(out, "{}{{{}}}", if legacy { name } else { "" }, parts.join(","));
}

/// The labels of a series, external ones where it lacks them, and an instance.
fn merged_labels<'a>(labels: &'a LabelSet, external: &'a LabelSet) -> BTreeMap<&'a str, &'a str> {
    let mut merged = BTreeMap::from([("instance", "")]);
    merged.extend(external.iter().chain(labels.iter()).map(|label| (label.name, label.value)));
    merged
}

fn name_text(name: &str) -> String {
    if is_legacy_metric_name(name) { name.to_owned() } else { quoted(name) }
}

/// A text with the escapes of the exposition format.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_grouped_by_metric_and_carry_external_labels() {
        let series = |pairs: &[(&str, &str)], value| {
            (LabelSet::from_pairs(pairs.iter().copied()), Newest { ts: 6_000_000, value: NewestValue::Float(value) })
        };
        let found = BTreeMap::from([
            series(&[("__name__", "b"), ("foo", "x\"y")], 2.0),
            series(&[("__name__", "a"), ("instance", "i"), ("zone", "own")], f64::INFINITY),
            series(&[("__name__", "b"), ("foo", "a")], 1e22),
        ]);
        let external = LabelSet::from_pairs([("zone", "ie")]);
        assert_eq!(
            exposition(found, &external, Names::Underscores),
            "# TYPE a untyped\na{instance=\"i\",zone=\"own\"} +Inf 6000000\n\
             # TYPE b untyped\nb{foo=\"a\",instance=\"\",zone=\"ie\"} 1e+22 6000000\n\
             b{foo=\"x\\\"y\",instance=\"\",zone=\"ie\"} 2 6000000\n"
        );
    }

    #[test]
    fn names_of_utf_8_are_quoted_only_where_the_scraper_reads_that() {
        let labels = LabelSet::from_pairs([("__name__", "http.requests"), ("9k", "v"), ("instance", "i")]);
        let found = BTreeMap::from([(labels, Newest { ts: 1, value: NewestValue::Float(1.0) })]);
        let written = |accept: &'static str| {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
            exposition(found.clone(), &LabelSet::default(), Names::asked_for(&headers))
        };
        assert_eq!(
            written("text/plain;version=0.0.4;q=0.5, */*;q=0.1"),
            "# TYPE http_requests untyped\nhttp_requests{_k=\"v\",instance=\"i\"} 1 1\n"
        );
        assert_eq!(
            written("text/plain;version=1.0.0;escaping=allow-utf-8;q=0.5"),
            "# TYPE \"http.requests\" untyped\n{\"http.requests\",\"9k\"=\"v\",instance=\"i\"} 1 1\n"
        );
    }
}
