//! Pharos side by side with the peers that are installed: `make versus`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use clap::Parser;
use pharos_benches::versus::process::Kind;
use pharos_benches::versus::{cluster, day, disk, queries, remote_write, report, scrape, selectors, soak};

/// Feeds the same bytes to Pharos and to the installed peers, checks that the answers agree, prints ratios.
#[derive(Debug, Parser)]
struct Arguments {
    /// Parts to run.
    #[arg(long, value_delimiter = ',', default_value = "remote-write,scrape,disk,queries,selectors")]
    parts: Vec<String>,
    /// Servers to leave out: prometheus, victoria-metrics.
    #[arg(long, value_delimiter = ',')]
    without: Vec<String>,
    /// Series of the remote-write part.
    #[arg(long, default_value_t = 500_000)]
    series: usize,
    /// Rounds of the remote-write part.
    #[arg(long, default_value_t = 8)]
    rounds: usize,
    /// Series of the query part.
    #[arg(long, default_value_t = 20_000)]
    query_series: usize,
    /// Rounds of the query part, 15 s apart.
    #[arg(long, default_value_t = 240)]
    query_rounds: usize,
    /// Series of the selectors part.
    #[arg(long, default_value_t = 1_000_000)]
    selector_series: usize,
    /// Series of the day part, which is Pharos alone and not among the parts unless named.
    #[arg(long, default_value_t = 1_000_000)]
    day_series: usize,
    /// Nodes of each cluster of the cluster part, which is Pharos alone and not among the parts unless named.
    #[arg(long, value_delimiter = ',', default_value = "1,2,3,4,6")]
    cluster_sizes: Vec<usize>,
    /// Series of the cluster part.
    #[arg(long, default_value_t = 100_000)]
    cluster_series: usize,
    /// Requests under way at a time in the cluster part, one after the other.
    #[arg(long, value_delimiter = ',', default_value = "32")]
    cluster_writers: Vec<usize>,
    /// Another build of Pharos that the cluster part runs beside this one.
    #[arg(long)]
    cluster_before: Option<PathBuf>,
    /// Length of the soak part, which is Pharos alone and not among the parts unless named.
    #[arg(long, default_value_t = 600)]
    soak_secs: u64,
    /// Seed of the soak part's expressions.
    #[arg(long, default_value_t = 1)]
    soak_seed: u64,
    /// Targets of the scrape part, 800 samples each, every 2 s.
    #[arg(long, default_value_t = 250)]
    targets: usize,
    /// Seconds that are measured in the scrape part, after two thirds of that to warm up.
    #[arg(long, default_value_t = 60)]
    scrape_secs: u64,
}

#[tokio::main]
async fn main() -> Result<()> {
    rustls::crypto::ring::default_provider().install_default().expect("the first and only provider");
    let arguments = Arguments::parse();
    let mut kinds = Vec::new();
    for kind in Kind::ALL {
        if arguments.without.iter().any(|name| name == kind.name()) {
            continue;
        }
        match kind.program() {
            Some(_) => kinds.push(kind),
            None if kind == Kind::Pharos => bail!("build it first: cargo build --release --bin pharos"),
            None => println!("{} is not installed: left out", kind.name()),
        }
    }
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
    for part in &arguments.parts {
        let root = tempfile::tempdir()?;
        let folder = root.path();
        match part.as_str() {
            "remote-write" => {
                let figures = remote_write::run(&kinds, folder, arguments.series, arguments.rounds, now_ms).await?;
                report::print("remote write 1.0", &figures);
            }
            "scrape" => {
                let (warm, window) = (arguments.scrape_secs * 2 / 3, arguments.scrape_secs);
                let (warm, window) = (Duration::from_secs(warm), Duration::from_secs(window));
                report::print("scraping", &scrape::run(&kinds, folder, arguments.targets, warm, window).await?);
            }
            "disk" => match std::env::var_os("PHAROS_SCRAPES") {
                None => println!("disk: skipped, PHAROS_SCRAPES is not set"),
                Some(scrapes) => {
                    let archive = PathBuf::from(scrapes).join("node_exporter-240x2s.tar.xz");
                    report::print("at rest", &disk::run(&kinds, folder, &archive, now_ms).await?);
                }
            },
            "queries" => {
                let figures =
                    queries::run(&kinds, folder, arguments.query_series, arguments.query_rounds, now_ms).await?;
                for (title, figures) in
                    [("range queries", &figures.ranges), ("instant queries of rules", &figures.rules)]
                {
                    report::print(title, figures);
                    for peer in [Kind::Prometheus, Kind::VictoriaMetrics] {
                        if let Some(mean) = report::geometric_mean(figures, peer) {
                            println!("geometric mean of CPU, pharos / {}: {mean:.3}", peer.name());
                        }
                    }
                }
            }
            "selectors" => {
                let figures = selectors::run(&kinds, folder, arguments.selector_series, now_ms).await?;
                report::print("selectors over many series", &figures);
            }
            "day" => report::print("a day from data files", &day::run(folder, arguments.day_series, now_ms).await?),
            "cluster" => {
                let plan = cluster::Plan {
                    sizes: arguments.cluster_sizes.clone(),
                    series: arguments.cluster_series,
                    rounds: arguments.rounds,
                    writers: arguments.cluster_writers.clone(),
                    before: arguments.cluster_before.clone(),
                };
                report::print("clusters", &cluster::run(folder, &plan, now_ms).await?);
            }
            "soak" => {
                let length = Duration::from_secs(arguments.soak_secs);
                report::print("soak", &soak::run(folder, arguments.soak_seed, length, now_ms).await?);
            }
            other => {
                bail!("unknown part `{other}`: remote-write, scrape, disk, queries, selectors, day, cluster, soak")
            }
        }
    }
    Ok(())
}
