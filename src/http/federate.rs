//! `/federate`: the newest sample of every selected series, as a text exposition for another server's scraper.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, header};
use pharos_model::labels::{METRIC_NAME, is_legacy_label_name, is_legacy_metric_name};
use pharos_model::sample::is_stale;
use pharos_model::{LabelSet, Sample, TimeRange, number};
use pharos_query::source::{SampleColumns, SelectRequest, SeriesSource, partitions_of};

use super::api::tenant_of;
use super::error::ApiError;
use super::params::Params;
use crate::app::App;

pub async fn federate(State(app): State<Arc<App>>, headers: HeaderMap, params: Params) -> Result<Response, ApiError> {
    let matcher_sets = params.matcher_sets(&app.parser_options)?;
    let tenant = tenant_of(&headers)?;
    let now_ms = app.clock.now_ms();
    // The lookback window is open on the left, as everywhere in PromQL.
    let range = TimeRange::new(now_ms - app.flags.query_lookback.as_millis() as i64 + 1, now_ms);
    let mut found = BTreeMap::new();
    for matchers in matcher_sets {
        let request = SelectRequest { tenant: tenant.clone(), matchers, range, newest_only: true };
        newest_samples(&**app.node.source(), &request, &mut found).await?;
    }
    let text = exposition(found, &app.external_labels());
    let mut response = text.into_response();
    let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, format);
    Ok(response)
}

async fn newest_samples(
    source: &dyn SeriesSource,
    request: &SelectRequest,
    found: &mut BTreeMap<LabelSet, Sample>,
) -> Result<(), ApiError> {
    let mut scratch = SampleColumns::default();
    let partitions: Vec<usize> = partitions_of(source, request).collect();
    for mut selection in source.select(&partitions, request).await? {
        while let Some(batch) = selection.next_batch().await? {
            for i in 0..batch.len() {
                let samples = batch.samples(i, &mut scratch)?;
                let (Some(&ts), Some(&value)) = (samples.ts.last(), samples.values.last()) else { continue };
                if !is_stale(value) {
                    let labels = LabelSet::from_canonical_trusted(batch.label_bytes(i));
                    found.insert(labels, Sample { ts, value });
                }
            }
        }
    }
    Ok(())
}

/// The text format 0.0.4, one untyped block a metric. External labels are added where a series lacks them; a series
/// without an instance gets an empty one, so that the scraping server does not add its own.
fn exposition(found: BTreeMap<LabelSet, Sample>, external: &LabelSet) -> String {
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_by(|(a, _), (b, _)| (a.metric_name(), a).cmp(&(b.metric_name(), b)));
    let mut out = String::new();
    let mut last_name: Option<String> = None;
    for (labels, sample) in &found {
        let Some(name) = labels.metric_name() else { continue };
        if last_name.as_deref() != Some(name) {
            let _ = writeln!(out, "# TYPE {} untyped", name_text(name));
            last_name = Some(name.to_owned());
        }
        write_series(&mut out, name, labels, external);
        let _ = writeln!(out, " {} {}", number::format_g(sample.value), sample.ts);
    }
    out
}

fn write_series(out: &mut String, name: &str, labels: &LabelSet, external: &LabelSet) {
    let mut merged: BTreeMap<&str, &str> = BTreeMap::from([("instance", "")]);
    merged.extend(external.iter().chain(labels.iter()).map(|label| (label.name, label.value)));
    merged.remove(METRIC_NAME);
    let legacy = is_legacy_metric_name(name);
    let mut parts = Vec::with_capacity(merged.len() + 1);
    if !legacy {
        parts.push(quoted(name));
    }
    for (label, value) in merged {
        let label = if is_legacy_label_name(label) { label.to_owned() } else { quoted(label) };
        parts.push(format!("{label}={}", quoted(value)));
    }
    let _ = write!(out, "{}{{{}}}", if legacy { name } else { "" }, parts.join(","));
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
            (LabelSet::from_pairs(pairs.iter().copied()), Sample { ts: 6_000_000, value })
        };
        let found = BTreeMap::from([
            series(&[("__name__", "b"), ("foo", "x\"y")], 2.0),
            series(&[("__name__", "a"), ("instance", "i"), ("zone", "own")], f64::INFINITY),
            series(&[("__name__", "b"), ("foo", "a")], 1e22),
        ]);
        let external = LabelSet::from_pairs([("zone", "ie")]);
        assert_eq!(
            exposition(found, &external),
            "# TYPE a untyped\na{instance=\"i\",zone=\"own\"} +Inf 6000000\n\
             # TYPE b untyped\nb{foo=\"a\",instance=\"\",zone=\"ie\"} 1e+22 6000000\n\
             b{foo=\"x\\\"y\",instance=\"\",zone=\"ie\"} 2 6000000\n"
        );
    }
}
