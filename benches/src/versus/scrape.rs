//! Scraping: many targets served by this process, CPU a sample of the scraper.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;

use super::data::{Fleet, SERIES_PER_HOST, labels};
use super::process::{Kind, Server};
use super::report::Figure;

/// Seconds between two scrapes of a target.
const INTERVAL_SECS: u64 = 2;
/// Variants of the page, so that values change from scrape to scrape without cost to the scraped side.
const PAGES: usize = 8;

/// Lets every server scrape the same targets, one server after the other.
pub async fn run(kinds: &[Kind], root: &Path, targets: usize, warm: Duration, window: Duration) -> Result<Vec<Figure>> {
    let pages: Arc<Vec<Bytes>> = Arc::new((0..PAGES).map(page).collect());
    let served = Arc::new(AtomicUsize::new(0));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(serve(listener, pages, served.clone()));

    let config = config(port, targets);
    let mut cpu = Figure::new("scraped sample", "CPU-us");
    let mut memory = Figure::new("anonymous memory a series", "bytes");
    for &kind in kinds {
        let server = Server::start(kind, root, &config, &[]).await?;
        tokio::time::sleep(warm).await;
        let (before, pages_before) = (server.cpu_seconds()?, served.load(Ordering::Relaxed));
        tokio::time::sleep(window).await;
        let samples = (served.load(Ordering::Relaxed) - pages_before) * SERIES_PER_HOST;
        cpu.values.insert(kind, (server.cpu_seconds()? - before) * 1e6 / samples.max(1) as f64);
        memory.values.insert(kind, server.anonymous_bytes()? as f64 / (targets * SERIES_PER_HOST) as f64);
        println!("{}: {samples} samples scraped in {window:?}", kind.name());
    }
    Ok(vec![cpu, memory])
}

/// Every target is this process under another path, so that each is a target of its own.
fn config(port: u16, targets: usize) -> String {
    let jobs: String = (0..targets)
        .map(|i| {
            format!(
                "  - job_name: target{i}\n    metrics_path: /{i}/metrics\n    static_configs:\n      - targets: [\"127.0.0.1:{port}\"]\n"
            )
        })
        .collect();
    format!("global:\n  scrape_interval: {INTERVAL_SECS}s\n  scrape_timeout: {INTERVAL_SECS}s\nscrape_configs:\n{jobs}")
}

/// One exposition of a host's series.
fn page(round: usize) -> Bytes {
    let fleet = Fleet::new(SERIES_PER_HOST);
    let mut out = String::new();
    for i in 0..SERIES_PER_HOST {
        let labels = labels(0, i);
        let name = &labels[0].1;
        let rest: Vec<String> = labels[1..]
            .iter()
            .filter(|(label, _)| *label != "job" && *label != "instance")
            .map(|(label, value)| format!("{label}=\"{value}\""))
            .collect();
        out.push_str(&format!("{name}{{{}}} {}\n", rest.join(","), fleet.value(i, round)));
    }
    out.into()
}

async fn serve(listener: TcpListener, pages: Arc<Vec<Bytes>>, served: Arc<AtomicUsize>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (pages, served) = (pages.clone(), served.clone());
        tokio::spawn(async move {
            let service = service_fn(|_| {
                let page = pages[served.fetch_add(1, Ordering::Relaxed) % PAGES].clone();
                async move {
                    let response = http::Response::builder()
                        .header("content-type", "text/plain; version=0.0.4")
                        .body(Full::new(page))
                        .expect("a fixed response");
                    Ok::<_, Infallible>(response)
                }
            });
            let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
