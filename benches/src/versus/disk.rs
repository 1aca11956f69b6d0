//! Bytes at rest: real scrapes of a node_exporter, sealed.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;

use super::data::{label_fields, series_fields};
use super::process::{Kind, Server};
use super::report::Figure;

/// Distance of two scrapes in the archive.
const INTERVAL_MS: i64 = 2000;
/// How far back the first scrape is put: its slice is then over, and is sealed at once.
const AGE_MS: i64 = 12 * 3600 * 1000;
/// Looks at the data folder until the sealed files are there.
const SEAL_POLL: Duration = Duration::from_millis(250);
const SEAL_POLLS_MAX: usize = 480;

/// Feeds the archive's scrapes to Pharos and VictoriaMetrics and compares the bytes of a sample. Prometheus keeps such a short
/// time in its write-ahead log only, so there is nothing to compare with.
pub async fn run(kinds: &[Kind], root: &Path, archive: &Path, now_ms: i64) -> Result<Vec<Figure>> {
    let scrapes = read_scrapes(archive)?;
    let mut bytes = Figure::new("a sample at rest, index included", "bytes");
    for &kind in kinds.iter().filter(|kind| **kind != Kind::Prometheus) {
        let server = Server::start(kind, root, "global: {}\n", &[]).await?;
        let mut samples = 0;
        for (i, text) in scrapes.iter().enumerate() {
            let (body, count) = request(text, now_ms - AGE_MS + i as i64 * INTERVAL_MS);
            server.write(body).await?;
            samples += count;
        }
        // A sample of now tells the store that the slice of then is over.
        let mut over = Vec::new();
        let labels = [("__name__", "over"), ("instance", "localhost:9100"), ("job", "node")];
        series_fields(&mut over, &label_fields(labels), [(now_ms, 1.0)]);
        server.write(snap::raw::Encoder::new().compress_vec(&over)?.into()).await?;
        server.flush().await?;
        let size = match kind {
            Kind::Pharos => sealed_bytes(&server).await?,
            _ => merged_bytes(&server).await?,
        };
        println!("{}: {samples} samples in {size} bytes", kind.name());
        bytes.values.insert(kind, size as f64 / samples as f64);
    }
    Ok(vec![bytes])
}

async fn sealed_bytes(server: &Server) -> Result<u64> {
    let sealed = |path: &Path| {
        let name = path.to_string_lossy();
        name.ends_with(".parquet") || name.ends_with(".idx")
    };
    let mut last = 0;
    for _ in 0..SEAL_POLLS_MAX {
        tokio::time::sleep(SEAL_POLL).await;
        let now = server.disk_bytes(&sealed);
        if now > 0 && now == last {
            return Ok(now);
        }
        last = now;
    }
    bail!("the data was not sealed in time")
}

async fn merged_bytes(server: &Server) -> Result<u64> {
    reqwest::get(server.url("/internal/force_merge")).await?;
    let stored =
        |path: &Path| path.to_string_lossy().contains("/data/data/") || path.to_string_lossy().contains("/indexdb/");
    let mut last = u64::MAX;
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let now = server.disk_bytes(&stored);
        if now == last {
            return Ok(now);
        }
        last = now;
    }
}

/// The texts of the archive in the order of their names.
fn read_scrapes(archive: &Path) -> Result<Vec<String>> {
    let folder = tempfile::tempdir()?;
    let status =
        Command::new("tar").arg("-xJf").arg(archive).arg("-C").arg(folder.path()).stderr(Stdio::inherit()).status();
    ensure!(status.context("run tar")?.success(), "tar could not read {}", archive.display());
    let mut paths: Vec<_> = std::fs::read_dir(folder.path())?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let mut text = String::new();
            std::fs::File::open(path)?.read_to_string(&mut text)?;
            Ok(text)
        })
        .collect()
}

/// One scrape as a compressed remote-write request, and its number of samples. The texts are machine-made: a line is a name,
/// labels without escapes, and a value.
fn request(text: &str, ts: i64) -> (Bytes, usize) {
    let (mut body, mut count) = (Vec::new(), 0);
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let Ok(value) = value.parse::<f64>() else { continue };
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let mut pairs = vec![("__name__".to_owned(), name.to_owned())];
        for label in labels.trim_end_matches('}').split("\",").filter(|label| !label.is_empty()) {
            if let Some((name, value)) = label.split_once("=\"") {
                pairs.push((name.to_owned(), value.trim_end_matches('"').to_owned()));
            }
        }
        pairs.push(("instance".into(), "localhost:9100".into()));
        pairs.push(("job".into(), "node".into()));
        pairs.sort();
        series_fields(
            &mut body,
            &label_fields(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))),
            [(ts, value)],
        );
        count += 1;
    }
    (snap::raw::Encoder::new().compress_vec(&body).expect("a body far below snappy's limit").into(), count)
}
