//! Random expressions under load with a memory limit: no crash, no other answer than without load, and memory back at its base.
//!
//! Pharos alone. The data that is asked for is complete before the first question; what is written meanwhile is newer.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use serde_json::Value;

use super::data::{Fleet, mix};
use super::process::{Kind, Server};
use super::queries::{answers_agree, by_series, seconds};
use super::remote_write::INTERVAL_MS;
use super::report::Figure;

const SERIES: usize = 20_000;
const ROUNDS: usize = 240;
const QUESTIONS: usize = 300;
const CLIENTS: usize = 8;
const SERVER_FLAGS: &[&str] = &["--query.max-memory=32MB", "--query.max-samples=2000000"];
/// The allocator gives pages back within ten seconds.
const SETTLE: Duration = Duration::from_secs(30);
/// What memory may end above its base: the series' samples that were written meanwhile.
const GROWTH_MAX: f64 = 1.5;

const SELECTORS: &[&str] = &[
    "node_cpu_metric_0_total",
    "node_cpu_metric_4_total{mode=~\"idle|user\"}",
    "node_disk_metric_1_total",
    "node_network_metric_2_bytes",
    "node_memory_metric_3_bytes{cluster!=\"prod-1\"}",
    "http_request_duration_seconds_bucket",
    "{__name__=~\"node_.*_total\"}",
    "{job=\"node\"}",
];
const OVER_TIME: &[&str] = &[
    "rate",
    "increase",
    "irate",
    "delta",
    "avg_over_time",
    "max_over_time",
    "stddev_over_time",
    "changes",
    "last_over_time",
];
const WINDOWS: &[&str] = &["1m", "5m", "30m", "1h"];
const AGGREGATIONS: &[&str] = &["sum", "avg", "max", "count", "stddev", "group"];
const GROUPINGS: &[&str] = &["instance", "cluster, mode", "device", "__name__", "region, team"];
const OPERATORS: &[&str] = &["+", "-", "/", ">", "and", "unless", "or"];

pub async fn run(root: &Path, seed: u64, length: Duration, now_ms: i64) -> Result<Vec<Figure>> {
    let fleet = Fleet::new(SERIES);
    let server = Server::start(Kind::Pharos, root, "global: {}\n", SERVER_FLAGS).await?;
    let start_ms = now_ms - 2 * ROUNDS as i64 * INTERVAL_MS;
    let time_of = |round: usize| start_ms + round as i64 * INTERVAL_MS;
    server.write_rounds(&fleet, ROUNDS, time_of).await?;
    let questions: Vec<_> = (0..QUESTIONS as u64).map(|at| question(seed, at, start_ms, time_of(ROUNDS - 1))).collect();
    let mut quiet = Vec::new();
    for question in &questions {
        quiet.push(server.ask("/api/v1/query_range", question).await.with_context(|| format!("{question:?}"))?);
    }
    tokio::time::sleep(SETTLE).await;
    let base = server.anonymous_bytes()? as f64;

    let (ends, done) = (Instant::now() + length, AtomicBool::new(false));
    let (asked, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let client = |client: usize| {
        let (server, questions, quiet, asked, refused) = (&server, &questions, &quiet, &asked, &refused);
        async move {
            let mut at = 0;
            while Instant::now() < ends {
                at += 1;
                let which = mix(seed ^ client as u64, at) as usize % QUESTIONS;
                let answer = server.ask("/api/v1/query_range", &questions[which]).await?;
                asked.fetch_add(1, Ordering::Relaxed);
                match refusal(&answer) {
                    Some(reason) if names_a_limit(reason) => drop(refused.fetch_add(1, Ordering::Relaxed)),
                    // Refused when it was alone, it may not be answered by luck, but one that was answered stays so.
                    _ if names_a_limit(refusal(&quiet[which]).unwrap_or_default()) => {}
                    _ => ensure!(
                        same(&answer, &quiet[which]),
                        "another answer under load to {:?}: {answer} instead of {}",
                        questions[which],
                        quiet[which]
                    ),
                }
            }
            Ok(())
        }
    };
    // No more rounds than there is time until now: samples of the future are refused.
    let pause = length / ROUNDS as u32;
    let write = async {
        let mut round = ROUNDS;
        while !done.load(Ordering::Relaxed) {
            for body in fleet.round(round, time_of(round)) {
                server.write_patiently(body).await?;
            }
            round += 1;
            tokio::time::sleep(pause).await;
        }
        anyhow::Ok(round - ROUNDS)
    };
    let clients = async {
        let outcome = try_join_all((0..CLIENTS).map(client)).await;
        done.store(true, Ordering::Relaxed);
        outcome
    };
    let (peak, rounds) =
        server.peak_bytes(async { tokio::try_join!(clients, write).map(|(_, rounds)| rounds) }).await?;
    tokio::time::sleep(SETTLE).await;
    let after = server.anonymous_bytes()? as f64;
    ensure!(after <= base * GROWTH_MAX, "memory is {after} bytes after {base} before");
    Ok(vec![
        Figure::of_pharos("questions answered", "", asked.into_inner() as f64),
        Figure::of_pharos("of them refused by a limit", "", refused.into_inner() as f64),
        Figure::of_pharos("samples written meanwhile", "", (rounds * SERIES) as f64),
        Figure::of_pharos("memory before", "MB", base / 1e6),
        Figure::of_pharos("memory at its peak", "MB", peak as f64 / 1e6),
        Figure::of_pharos("memory after", "MB", after / 1e6),
    ])
}

fn question(seed: u64, at: u64, start_ms: i64, end_ms: i64) -> BTreeMap<&'static str, String> {
    let mut dice = Dice { seed: mix(seed, at), thrown: 0 };
    let expression = expression(&mut dice, 2);
    let length = (end_ms - start_ms) / [1, 2, 8][dice.below(3)];
    let from = start_ms + dice.below((end_ms - start_ms - length + 1) as usize) as i64;
    let steps = [1, 30, 240, 1000][dice.below(4)];
    [
        ("query", expression),
        ("start", seconds(from)),
        ("end", seconds(from + length)),
        ("step", seconds((length / steps).max(1))),
    ]
    .into()
}

fn expression(dice: &mut Dice, depth: usize) -> String {
    match dice.below(if depth == 0 { 2 } else { 6 }) {
        0 => dice.pick(SELECTORS).to_owned(),
        1 => format!("{}({}[{}])", dice.pick(OVER_TIME), dice.pick(SELECTORS), dice.pick(WINDOWS)),
        2 => format!("topk(5, {})", expression(dice, depth - 1)),
        3 => {
            let (aggregation, grouping) = (dice.pick(AGGREGATIONS), dice.pick(GROUPINGS));
            format!("{aggregation} by ({grouping}) ({})", expression(dice, depth - 1))
        }
        4 => {
            let (operator, grouping) = (dice.pick(OPERATORS), dice.pick(GROUPINGS));
            let mut side = || {
                let aggregation = dice.pick(AGGREGATIONS);
                format!("{aggregation} by ({grouping}) ({})", expression(dice, depth - 1))
            };
            format!("{} {operator} {}", side(), side())
        }
        _ => format!("max_over_time(({})[10m:1m])", expression(dice, depth - 1)),
    }
}

struct Dice {
    seed: u64,
    thrown: u64,
}

impl Dice {
    fn below(&mut self, count: usize) -> usize {
        self.thrown += 1;
        mix(self.seed, self.thrown) as usize % count
    }

    fn pick(&mut self, of: &[&'static str]) -> &'static str {
        of[self.below(of.len())]
    }
}

/// The text of a refusal; `None` for an answer.
fn refusal(answer: &Value) -> Option<&str> {
    (answer["status"] != "success").then(|| answer["error"].as_str().unwrap_or_default())
}

fn names_a_limit(reason: &str) -> bool {
    reason.contains("too many samples") || reason.contains("memory")
}

/// Equal but for the order of series and of sums.
fn same(a: &Value, b: &Value) -> bool {
    match (refusal(a), refusal(b)) {
        (None, None) => answers_agree(&by_series(&a["data"]["result"]), &by_series(&b["data"]["result"])),
        (a, b) => a == b,
    }
}
