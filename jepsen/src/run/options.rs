//! What a run is asked to be.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::check::limit::TimeBounds;
use crate::env::disk::DiskKind;
use crate::env::net::NetKind;
use crate::env::node::NodeOptions;
use crate::workload::{Family, Paths, SERIES_PER_WRITER_MAX};

/// Flags of `jepsen run`.
#[derive(Clone, Debug, Args)]
pub struct RunOptions {
    /// The program under test.
    #[arg(long, default_value = "target/release/pharos")]
    pub pharos: PathBuf,
    /// Folder for nodes, history and report.
    #[arg(long, default_value = "target/jepsen")]
    pub out: PathBuf,
    /// Folder in which summaries of many runs are kept, for `jepsen sum`.
    #[arg(long)]
    pub results: Option<PathBuf>,
    /// Every random choice comes from it; drawn and printed when not given.
    #[arg(long)]
    pub seed: Option<u64>,
    #[arg(long, default_value_t = 1)]
    pub nodes: usize,
    #[arg(long, value_enum, default_value = "loopback")]
    pub net: NetKind,
    #[arg(long, value_enum, default_value = "folder")]
    pub disk: DiskKind,
    /// Names from `jepsen faults`, `all` or `none`.
    #[arg(long, value_delimiter = ',', default_value = "all")]
    pub faults: Vec<String>,
    /// Lists of samples that are written: `set`, `append`.
    #[arg(long, value_delimiter = ',', default_value = "set,append")]
    pub workloads: Vec<FamilyName>,
    /// How long faults strike.
    #[arg(long, default_value_t = 60)]
    pub seconds: u64,
    /// Mean time between faults, in milliseconds.
    #[arg(long, default_value_t = 2000)]
    pub quiet_ms: u64,
    /// Clients that write; they share the workloads.
    #[arg(long, default_value_t = 8)]
    pub writers: u32,
    /// Writes a second, of all clients together.
    #[arg(long, default_value_t = 200.0)]
    pub rate: f64,
    /// Reads a second.
    #[arg(long, default_value_t = 5.0)]
    pub read_rate: f64,
    /// Series of one of the set's writers: so many samples in a request.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=i64::from(SERIES_PER_WRITER_MAX)))]
    pub width: u32,
    /// Scrape targets. Default 4, none with --hours-of-samples.
    #[arg(long)]
    pub targets: Option<usize>,
    /// Seconds between two scrapes.
    #[arg(long, default_value_t = 2)]
    pub scrape_interval: u64,
    /// How times are judged: by what is promised, or, where others use the machine too, by what that does not explain.
    #[arg(long, value_enum, default_value = "strict")]
    pub time_bounds: TimeBounds,
    /// Which nodes clients write to.
    #[arg(long, value_enum, default_value = "any")]
    pub paths: Paths,
    /// `storage.tsdb.out_of_order_time_window` of the nodes.
    #[arg(long, default_value = "0s")]
    pub late_window: String,
    /// Samples' time begins so many hours ago and reaches the present at the end of the run.
    #[arg(long, default_value_t = 0.0)]
    pub hours_of_samples: f64,
    /// A flag for `pharos server`. Repeatable.
    #[arg(long = "flag", allow_hyphen_values = true)]
    pub flags: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum FamilyName {
    Set,
    Append,
}

impl RunOptions {
    pub(super) fn workloads(&self) -> Vec<Family> {
        let family = |name: &FamilyName| match name {
            FamilyName::Set => Family::Set,
            FamilyName::Append => Family::Append,
        };
        self.workloads.iter().map(family).collect()
    }

    /// What is scraped has the present time, and a head that has seen it takes nothing from hours ago.
    pub(super) fn targets(&self) -> usize {
        self.targets.unwrap_or(if self.hours_of_samples > 0.0 { 0 } else { 4 })
    }

    pub(super) fn pharos_text(&self) -> Result<&str> {
        self.pharos.to_str().context("the program's path is not text")
    }

    pub(super) fn node_options(&self, shift_clocks: bool) -> NodeOptions {
        NodeOptions { program: self.pharos.clone(), config: String::new(), flags: self.flags.clone(), shift_clocks }
    }
}
