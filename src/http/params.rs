//! Parameters of an API call: the form body of a POST and the URL's query together, as Go's `Request.Form` merges them.

use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use chrono::DateTime;
use http::{Method, header};
use pharos_model::{Matcher, TimeRange, TimestampMs, duration, number};
use pharos_promql::{ParseErrors, ParserOptions};

use super::error::ApiError;
use crate::app::App;

/// Largest form body. Go's default is the same.
const FORM_BYTES_MAX: usize = 10 << 20;
/// What Prometheus prints and reads as its oldest and newest time: the ends of Go's i64 nanoseconds, rounded.
const GO_MIN_TIME: &str = "-292273086-05-16T16:47:06Z";
const GO_MAX_TIME: &str = "292277025-08-18T07:12:54.999999999Z";

/// Names and values in order of appearance, the body's first.
#[derive(Clone, Debug, Default)]
pub struct Params(Vec<(String, String)>);

impl FromRequest<Arc<App>> for Params {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let mut pairs = Vec::new();
        let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        if parts.method != Method::GET && content_type.starts_with("application/x-www-form-urlencoded") {
            let form = app.bodies.read(body, FORM_BYTES_MAX).await?;
            pairs.extend(form_urlencoded::parse(&form.bytes).into_owned());
        }
        pairs.extend(form_urlencoded::parse(parts.uri.query().unwrap_or("").as_bytes()).into_owned());
        Ok(Self(pairs))
    }
}

impl Params {
    /// Those of a URL's query alone, where the body is something else.
    pub fn of(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// The first non-empty value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).find(|value| !value.is_empty())
    }

    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A time that may be left out, worded as Prometheus words such parameters.
    pub fn time_or(&self, name: &str, default: TimestampMs) -> Result<TimestampMs, ApiError> {
        let Some(text) = self.get(name) else { return Ok(default) };
        parse_time(text)
            .map_err(|reason| ApiError::invalid_parameter(name, format!("invalid time value for '{name}': {reason}")))
    }

    /// A time that must be there; absent reads as the empty text does.
    pub fn required_time(&self, name: &str) -> Result<TimestampMs, ApiError> {
        parse_time(self.get(name).unwrap_or_default()).map_err(|reason| ApiError::invalid_parameter(name, reason))
    }

    /// `start` and `end`, each open where absent. An end before the start is a range without samples.
    pub fn range(&self) -> Result<TimeRange, ApiError> {
        Ok(TimeRange::new(self.time_or("start", TimestampMs::MIN)?, self.time_or("end", TimestampMs::MAX)?))
    }

    pub fn duration_ms(&self, name: &str) -> Result<Option<i64>, ApiError> {
        self.get(name)
            .map(|text| parse_duration_ms(text).map_err(|reason| ApiError::invalid_parameter(name, reason)))
            .transpose()
    }

    /// `limit`; `None` for absent and for 0, which mean no limit.
    pub fn limit(&self) -> Result<Option<usize>, ApiError> {
        let Some(text) = self.get("limit") else { return Ok(None) };
        match text.parse::<i64>() {
            Ok(limit) if limit >= 0 => Ok(Some(limit as usize).filter(|limit| *limit > 0)),
            Ok(_) => Err(ApiError::invalid_parameter("limit", "limit must be non-negative")),
            Err(_) => Err(ApiError::invalid_parameter(
                "limit",
                format!("strconv.Atoi: parsing {}: invalid syntax", pharos_model::labels::quote(text)),
            )),
        }
    }

    /// `true` or `false` as Go reads them; absent is `false`.
    pub fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.get(name) {
            None | Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some(_) => Err(ApiError::invalid_parameter(name, format!("unable to parse boolean \"{name}\" argument"))),
        }
    }

    /// A limit of the metadata endpoints: negative and absent mean no limit, zero is one.
    pub fn count(&self, name: &str) -> Result<Option<usize>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let count: i64 = text.parse().map_err(|_| ApiError::bad_data(format!("{name} must be a number")))?;
        Ok(usize::try_from(count).ok())
    }

    /// Every `match[]` selector.
    pub fn matcher_sets(&self, options: &ParserOptions) -> Result<Vec<Vec<Matcher>>, ParseErrors> {
        self.all("match[]").map(|selector| pharos_promql::parse_metric_selector(selector, options)).collect()
    }

    /// Every `match[]` selector, none of which may let every series through.
    pub fn selective_matcher_sets(&self, options: &ParserOptions) -> Result<Vec<Vec<Matcher>>, ApiError> {
        let sets = self.matcher_sets(options).map_err(|error| ApiError::invalid_parameter("match[]", error))?;
        if sets.iter().any(|matchers| matchers.iter().all(Matcher::matches_empty)) {
            let reason = "match[] must contain at least one non-empty matcher";
            return Err(ApiError::invalid_parameter("match[]", reason));
        }
        Ok(sets)
    }
}

/// Unix seconds with a fraction, RFC 3339, or the texts of Go's extreme times. Milliseconds, saturated at the ends.
fn parse_time(text: &str) -> Result<TimestampMs, String> {
    match (number::parse_float(text), text) {
        (Some(seconds), _) if seconds.is_finite() => return Ok((seconds * 1000.0).round() as TimestampMs),
        (None, GO_MIN_TIME) => return Ok(TimestampMs::MIN),
        (None, GO_MAX_TIME) => return Ok(TimestampMs::MAX),
        _ => {}
    }
    match DateTime::parse_from_rfc3339(text) {
        Ok(time) => Ok(time.timestamp_millis()),
        Err(_) => Err(format!("cannot parse {} to a valid timestamp", pharos_model::labels::quote(text))),
    }
}

/// Seconds as a float, or Prometheus' duration syntax.
fn parse_duration_ms(text: &str) -> Result<i64, String> {
    let quoted = pharos_model::labels::quote(text);
    if let Some(seconds) = number::parse_float(text) {
        let ms = seconds * 1000.0;
        if !ms.is_finite() || ms.abs() > (i64::MAX / 1_000_000) as f64 {
            return Err(format!("cannot parse {quoted} to a valid duration. It overflows int64"));
        }
        return Ok(ms as i64);
    }
    duration::parse_ms(text).map_err(|_| format!("cannot parse {quoted} to a valid duration"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_in_prometheus() {
        for (text, ms) in [
            ("0", 0),
            ("1435781451.781", 1_435_781_451_781),
            ("2015-07-01T20:10:51.781Z", 1_435_781_451_781),
            ("-1.5", -1500),
            ("1.8e12", 1_800_000_000_000_000),
            (GO_MIN_TIME, TimestampMs::MIN),
        ] {
            assert_eq!(parse_time(text), Ok(ms), "{text}");
        }
        for bad in ["", "foo", "30s", "NaN", "2015-07-01"] {
            assert_eq!(parse_time(bad), Err(format!("cannot parse \"{bad}\" to a valid timestamp")));
        }
    }

    fn params(query: &str) -> Params {
        Params::of(query)
    }

    #[test]
    fn limits_of_metadata_may_be_zero_or_negative() {
        assert_eq!(params("limit=0").count("limit").unwrap(), Some(0));
        assert_eq!(params("limit=-1").count("limit").unwrap(), None);
        assert_eq!(params("").count("limit").unwrap(), None);
        let error = params("limit_per_metric=x").count("limit_per_metric").unwrap_err();
        assert_eq!(error.message, "limit_per_metric must be a number");
    }

    #[test]
    fn switches_are_off_unless_they_say_yes() {
        assert!(!params("").flag("a").unwrap() && !params("a=false").flag("a").unwrap());
        assert!(params("a=true").flag("a").unwrap() && params("a=1").flag("a").unwrap());
        let error = params("a=yes").flag("a").unwrap_err();
        assert_eq!(error.message, "invalid parameter \"a\": unable to parse boolean \"a\" argument");
    }

    #[test]
    fn durations_read_as_in_prometheus() {
        assert_eq!(parse_duration_ms("1"), Ok(1000));
        assert_eq!(parse_duration_ms("0.001"), Ok(1));
        assert_eq!(parse_duration_ms("5m"), Ok(300_000));
        assert_eq!(parse_duration_ms("x"), Err("cannot parse \"x\" to a valid duration".into()));
        assert!(parse_duration_ms("9e30").unwrap_err().ends_with("It overflows int64"));
    }
}
