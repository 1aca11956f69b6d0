//! A day of one counter of very many instances, from data files: `sum by (x) (rate(m[5m]))` at a step a minute.
//!
//! Pharos alone: what it is held against is an estimate, `docs/performance.md` has it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use futures::{StreamExt, TryStreamExt, stream};

use super::data::{Fleet, ONE_METRIC_GROUPS};
use super::process::{Kind, Server};
use super::queries::seconds;
use super::report::Figure;

/// Distance of two samples of a series.
const INTERVAL_MS: i64 = 60_000;
const ROUNDS: usize = 1440;
/// Samples of a series in one request: half an hour, well within the window of late samples.
const ROUNDS_PER_REQUEST: usize = 30;
/// Requests under way at a time: each waits for the disk.
const WRITERS: usize = 16;
const SEALED_TIMEOUT: Duration = Duration::from_secs(1800);
const SEALED_POLL: Duration = Duration::from_secs(90);
const SERVER_FLAGS: &[&str] = &["--query.timeout=1h", "--query.max-samples=4000000000"];

pub async fn run(root: &Path, series: usize, now_ms: i64) -> Result<Vec<Figure>> {
    let fleet = Fleet::of_one_metric(series);
    let server = Server::start(Kind::Pharos, root, "global: {}\n", SERVER_FLAGS).await?;
    let start_ms = now_ms - ROUNDS as i64 * INTERVAL_MS;
    let time_of = |round: usize| start_ms + round as i64 * INTERVAL_MS;
    for first in (0..ROUNDS).step_by(ROUNDS_PER_REQUEST) {
        let bodies = stream::iter(fleet.rounds(first..first + ROUNDS_PER_REQUEST, time_of));
        bodies.map(|body| server.write_patiently(body)).buffer_unordered(WRITERS).try_collect::<()>().await?;
    }
    let written = server.cpu_seconds()?;
    wait_until_sealed(&server).await?;
    let samples = (series * ROUNDS) as f64;
    let files = server.disk_bytes(&|path| path.extension().is_some_and(|it| it == "parquet" || it == "index")) as f64;
    let parameters = [
        ("query", "sum by (x) (rate(m[5m]))".to_owned()),
        ("start", seconds(start_ms)),
        ("end", seconds(now_ms)),
        ("step", "60".to_owned()),
    ];
    let (before, base) = (server.cpu_seconds()?, server.anonymous_bytes()? as f64);
    let started = Instant::now();
    let (peak, answer) = server.peak_bytes(server.query("/api/v1/query_range", &parameters)).await?;
    let groups = answer.as_array().map_or(0, Vec::len);
    ensure!(groups == ONE_METRIC_GROUPS.min(series), "{groups} groups");
    Ok(vec![
        Figure::of_pharos("written, a sample", "CPU-us", written * 1e6 / samples),
        Figure::of_pharos("at rest, a sample", "bytes", files / samples),
        Figure::of_pharos("the query", "CPU-s", server.cpu_seconds()? - before),
        Figure::of_pharos("the query, elapsed", "s", started.elapsed().as_secs_f64()),
        Figure::of_pharos("memory before", "MB", base / 1e6),
        Figure::of_pharos("memory at its peak", "MB", peak as f64 / 1e6),
    ])
}

/// Until everything that can leave the head has, and the files do not grow any more.
async fn wait_until_sealed(server: &Server) -> Result<()> {
    let deadline = Instant::now() + SEALED_TIMEOUT;
    let mut last = 0;
    while Instant::now() < deadline {
        tokio::time::sleep(SEALED_POLL).await;
        let files = server.disk_bytes(&|path| path.extension().is_some_and(|it| it == "parquet"));
        if files > 0 && files == last {
            return Ok(());
        }
        last = files;
    }
    bail!("the data was not sealed within {SEALED_TIMEOUT:?}")
}
