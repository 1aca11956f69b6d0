//! The range expressions of everyday dashboards and the instant ones of everyday rules: CPU of each, answers compared.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail};
use serde_json::Value;

use super::data::Fleet;
use super::process::{Kind, Server};
use super::remote_write::INTERVAL_MS;
use super::report::Figure;

/// What a node dashboard asks.
const EXPRESSIONS: &[&str] = &[
    "node_cpu_metric_0_total",
    "rate(node_cpu_metric_0_total[5m])",
    "irate(node_cpu_metric_4_total[5m])",
    "increase(node_disk_metric_1_total[30m])",
    "sum by (mode) (rate(node_cpu_metric_0_total[5m]))",
    "sum by (instance) (rate(node_cpu_metric_0_total{device=~\"dev[0-3]\"}[5m]))",
    "100 * (1 - avg by (instance) (rate(node_cpu_metric_8_total{mode=\"idle\"}[5m])))",
    "topk(5, sum by (instance) (rate(node_disk_metric_1_total[5m])))",
    "histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket[5m])))",
    "histogram_quantile(0.99, sum by (le, handler) (rate(http_request_duration_seconds_bucket[5m])))",
    "sum by (instance) (node_memory_metric_3_bytes) / sum by (instance) (node_memory_metric_7_bytes)",
    "node_network_metric_2_bytes * on (instance, device) group_left (team) node_network_metric_6_bytes",
    "avg_over_time(node_network_metric_2_bytes[10m])",
    "max by (region) (max_over_time(node_memory_metric_3_bytes[30m]))",
    "count by (cluster, job) (node_memory_metric_3_bytes)",
    "node_memory_metric_3_bytes > 500",
    "sum(node_memory_metric_3_bytes) - sum(node_memory_metric_3_bytes offset 10m)",
    "quantile(0.9, node_memory_metric_7_bytes)",
];
/// Steps of each range query; the range is the same.
const STEPS: [i64; 3] = [1, 100, 1000];
/// Relative difference that two answers may have: sums are added up in another order.
const TOLERANCE: f64 = 1e-9;
/// Each query is repeated until this much CPU was used, because the kernel counts in hundredths.
const CPU_SECONDS_MIN: f64 = 0.3;
const REPEATS_MAX: usize = 500;

/// What rules ask again and again, and the least that can be asked.
const RULES: &[&str] = &[
    "1",
    "vector(1)",
    "count(node_cpu_metric_0_total)",
    "node_memory_metric_3_bytes > 990",
    "instance:cpu:rate5m",
    "sum by (instance) (rate(node_cpu_metric_0_total[5m]))",
    "sum by (cluster, mode) (rate(node_cpu_metric_4_total[5m]))",
    "histogram_quantile(0.99, sum by (le, handler) (rate(http_request_duration_seconds_bucket[5m]))) > 0.5",
    "sum by (instance) (node_memory_metric_3_bytes) / sum by (instance) (node_memory_metric_7_bytes) > 0.9",
    "avg_over_time(node_network_metric_2_bytes[10m]) > 500",
    "increase(node_disk_metric_1_total[30m]) == 0",
    "absent(node_memory_metric_3_bytes{instance=\"host-99999.example.internal:9100\"})",
    "predict_linear(node_memory_metric_3_bytes[30m], 3600) < 0",
    "count by (cluster, job) (node_memory_metric_3_bytes) < 10",
];

/// What both groups of expressions cost.
#[derive(Debug)]
pub struct Figures {
    pub ranges: Vec<Figure>,
    pub rules: Vec<Figure>,
}

/// Loads the same data into every server, then asks every expression of each.
pub async fn run(kinds: &[Kind], root: &Path, series: usize, rounds: usize, now_ms: i64) -> Result<Figures> {
    let fleet = Fleet::new(series);
    let mut servers = Vec::new();
    for &kind in kinds {
        let server = Server::start(kind, root, "global: {}\n", &[]).await?;
        server.write_rounds(&fleet, rounds, |round| now_ms - (rounds - round) as i64 * INTERVAL_MS).await?;
        servers.push(server);
    }
    // Half an interval off the samples: Prometheus 2.42 closes a range window on the left and today's does not.
    let end = now_ms - INTERVAL_MS / 2;
    let mut figures = Figures { ranges: Vec::new(), rules: Vec::new() };
    for expression in EXPRESSIONS {
        for steps in STEPS {
            let start = if steps == 1 { end } else { end - (rounds as i64 * INTERVAL_MS) / 2 };
            let step = if steps == 1 { 1000 } else { (end - start) / (steps - 1) };
            let name = format!("{expression} @ {steps}");
            let parameters = [("start", seconds(start)), ("end", seconds(end)), ("step", seconds(step))];
            figures.ranges.push(measure(&servers, name, "/api/v1/query_range", expression, &parameters).await?);
        }
    }
    for expression in RULES {
        let (name, parameters) = ((*expression).to_owned(), [("time", seconds(end))]);
        figures.rules.push(measure(&servers, name, "/api/v1/query", expression, &parameters).await?);
    }
    Ok(figures)
}

pub fn seconds(ms: i64) -> String {
    format!("{}", ms as f64 / 1000.0)
}

async fn measure(
    servers: &[Server],
    name: String,
    path: &str,
    expression: &str,
    times: &[(&'static str, String)],
) -> Result<Figure> {
    let mut parameters = times.to_vec();
    parameters.push(("query", expression.to_owned()));
    let mut figure = Figure::new(name.clone(), "CPU-ms");
    let mut answers = Vec::new();
    for server in servers {
        answers.push((server.kind, by_series(&server.query(path, &parameters).await?)));
        let (before, mut repeats, mut used) = (server.cpu_seconds()?, 0, 0.0);
        while used < CPU_SECONDS_MIN && repeats < REPEATS_MAX {
            server.query(path, &parameters).await?;
            repeats += 1;
            used = server.cpu_seconds()? - before;
        }
        figure.values.insert(server.kind, used * 1000.0 / repeats as f64);
    }
    compare(&name, &answers)?;
    Ok(figure)
}

/// Points by series.
pub type Answer = BTreeMap<String, Vec<(String, f64)>>;

/// The points of each series; a scalar is a series without labels.
pub fn by_series(result: &Value) -> Answer {
    let points = |series: &Value| {
        let (range, instant) = (series["values"].as_array().into_iter().flatten(), series.get("value"));
        range
            .chain(instant)
            .map(|point| {
                (point[0].to_string(), point[1].as_str().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN))
            })
            .collect()
    };
    let key = |series: &Value| {
        let labels: BTreeMap<_, _> = series["metric"].as_object().into_iter().flatten().collect();
        format!("{labels:?}")
    };
    if let [Value::Number(_), Value::String(value)] = result.as_array().map_or(&[][..], Vec::as_slice) {
        return Answer::from([(String::new(), vec![(String::new(), value.parse().unwrap_or(f64::NAN))])]);
    }
    result.as_array().into_iter().flatten().map(|series| (key(series), points(series))).collect()
}

/// Ours against Prometheus'. VictoriaMetrics extrapolates nothing by design, so its values are not compared.
pub fn compare(name: &str, answers: &[(Kind, Answer)]) -> Result<()> {
    let answer = |kind| answers.iter().find(|(other, _)| *other == kind).map(|(_, answer)| answer);
    let (Some(ours), Some(theirs)) = (answer(Kind::Pharos), answer(Kind::Prometheus)) else { return Ok(()) };
    if ours.len() != theirs.len() {
        bail!("{name}: {} series, prometheus has {}", ours.len(), theirs.len());
    }
    for (series, points) in ours {
        let Some(expected) = theirs.get(series) else { bail!("{name}: prometheus lacks {series}") };
        if !points_agree(points, expected) {
            bail!("{name}: {series} differs: {points:?} instead of {expected:?}");
        }
    }
    Ok(())
}

/// Whether two answers have the same series with the same points, but for the order of sums.
pub fn answers_agree(a: &Answer, b: &Answer) -> bool {
    a.len() == b.len()
        && a.iter().all(|(series, points)| b.get(series).is_some_and(|other| points_agree(points, other)))
}

fn points_agree(points: &[(String, f64)], expected: &[(String, f64)]) -> bool {
    points.len() == expected.len()
        && points.iter().zip(expected).all(|((at, value), (other_at, other))| {
            let close = (value - other).abs() <= TOLERANCE * value.abs().max(other.abs());
            seconds_equal(at, other_at) && (close || value.to_bits() == other.to_bits())
        })
}

fn seconds_equal(a: &str, b: &str) -> bool {
    a.parse::<f64>().ok() == b.parse::<f64>().ok()
}
