//! Remote write 1.0: CPU a sample, memory a series, and the time to be ready after `kill -9`.

use std::path::Path;

use anyhow::{Result, ensure};

use super::data::Fleet;
use super::process::{Kind, Server};
use super::report::Figure;

/// Distance of two rounds on the samples' time axis.
pub const INTERVAL_MS: i64 = 15_000;
/// Rounds that count as steady: the first one creates the series.
const WARM_ROUNDS: usize = 2;

/// Feeds every server the same rounds, one after the other.
pub async fn run(kinds: &[Kind], root: &Path, series: usize, rounds: usize, now_ms: i64) -> Result<Vec<Figure>> {
    ensure!(rounds > WARM_ROUNDS, "at least {} rounds are needed", WARM_ROUNDS + 1);
    let fleet = Fleet::new(series);
    let mut create = Figure::new("new series", "CPU-us");
    let mut steady = Figure::new("steady sample, median round", "CPU-us");
    let mut memory = Figure::new("anonymous memory a series", "bytes");
    let mut ready = Figure::new("ready after kill -9", "s");
    let mut held = Vec::new();
    for &kind in kinds {
        let mut server = Server::start(kind, root, "global: {}\n", &[]).await?;
        let mut costs = Vec::new();
        for round in 0..rounds {
            let before = server.cpu_seconds()?;
            for body in fleet.round(round, now_ms - (rounds - round) as i64 * INTERVAL_MS) {
                server.write(body).await?;
            }
            costs.push((server.cpu_seconds()? - before) * 1e6 / series as f64);
        }
        create.values.insert(kind, costs[0]);
        steady.values.insert(kind, median(&costs[WARM_ROUNDS..]));
        memory.values.insert(kind, server.anonymous_bytes()? as f64 / series as f64);
        ready.values.insert(kind, server.kill_and_restart().await?.as_secs_f64());
        server.flush().await?;
        held.push((kind, check(&server, now_ms - INTERVAL_MS).await?));
    }
    for (kind, answer) in &held {
        let expected: f64 = (0..series).map(|i| fleet.value(i, rounds - 1)).sum();
        // VictoriaMetrics has no write-ahead log: what it lost is its own affair, and is printed.
        let complete = answer.0 == series as f64 && (answer.1 - expected).abs() <= 1e-9 * expected.abs();
        println!("{}: {} of {series} series after kill -9, sum {} of {expected}", kind.name(), answer.0, answer.1);
        ensure!(complete || *kind == Kind::VictoriaMetrics, "{} lost acknowledged samples", kind.name());
    }
    Ok(vec![create, steady, memory, ready])
}

/// Count and sum of the newest round.
async fn check(server: &Server, ts: i64) -> Result<(f64, f64)> {
    let mut answers = [0.0; 2];
    for (answer, query) in answers.iter_mut().zip(["count({job=\"node\"})", "sum({job=\"node\"})"]) {
        let time = format!("{}", ts as f64 / 1000.0 + 1.0);
        let result = server.query("/api/v1/query", &[("query", query.into()), ("time", time)]).await?;
        *answer = result[0]["value"][1].as_str().and_then(|text| text.parse().ok()).unwrap_or(0.0);
    }
    Ok((answers[0], answers[1]))
}

/// The middle of the sorted values.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
