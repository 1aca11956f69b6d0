//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use pharos_jepsen::check::limit::TimeBounds;
use pharos_jepsen::env::abilities::{Abilities, Setting};
use pharos_jepsen::env::disk::DiskKind;
use pharos_jepsen::env::isolation;
use pharos_jepsen::env::net::NetKind;
use pharos_jepsen::nemesis::Fault;
use pharos_jepsen::report::{self, Report};
use pharos_jepsen::run::{Facts, RunOptions, judge, run};
use pharos_jepsen::{VIOLATED, bugs, history};

/// Faults on real pharos nodes, and a judgement of what clients saw.
///
/// Ends with 0 when all promises were kept, 1 when not or not known, 2 when there was no run.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run nodes, faults and clients, and judge
    Run(RunOptions),
    /// Judge a run's folder again
    Check { folder: PathBuf },
    /// Add up what many runs gave
    Sum {
        /// Runs' folders, folders of such, or what `--results` left.
        paths: Vec<PathBuf>,
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// `strict`: it fails when half of leaders' deaths were not over in time (M3).
        #[arg(long, value_enum, default_value = "strict")]
        time_bounds: TimeBounds,
    },
    /// List faults, and why some cannot be had here
    Faults,
    /// Plant known bugs in a copy of the tree, and see that they are caught
    Bugs {
        /// Names; all when none is given.
        names: Vec<String>,
        /// Only see whether the patches fit.
        #[arg(long)]
        check: bool,
        /// The tree.
        #[arg(long, default_value = ".")]
        tree: PathBuf,
        /// Folder for the copy, its build and its runs.
        #[arg(long, default_value = "target/jepsen-bugs")]
        work: PathBuf,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().command.start() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(VIOLATED as u8),
        Err(error) => {
            eprintln!("jepsen: {error:#}");
            ExitCode::from(2)
        }
    }
}

impl Task {
    fn start(self) -> Result<bool> {
        // Before there are threads: the program is replaced by itself.
        if let Self::Run(_) = &self
            && !isolation::is_inside()
            && isolation::is_possible()
        {
            match isolation::enter()? {}
        }
        tokio::runtime::Runtime::new()?.block_on(self.work())
    }

    async fn work(self) -> Result<bool> {
        match self {
            Self::Run(options) => run(&options).await,
            Self::Check { folder } => check_again(&folder),
            Self::Sum { paths, json, time_bounds } => {
                let totals = report::add_up(&paths)?;
                println!("{}", if json { serde_json::to_string_pretty(&totals)? } else { totals.text() });
                Ok(totals.resumed_in_time() || time_bounds == TimeBounds::Lenient)
            }
            Self::Faults => {
                list_faults();
                Ok(true)
            }
            Self::Bugs { names, check, tree, work } => {
                let mut bugs = bugs::list(&tree.join("jepsen/bugs"))?;
                bugs.retain(|bug| names.is_empty() || names.contains(&bug.name));
                anyhow::ensure!(!bugs.is_empty(), "no such bug");
                if !check {
                    bugs::hunt(&bugs, &tree, &work).await?;
                    return Ok(true);
                }
                for bug in &bugs {
                    bugs::applies(bug, &tree).await?;
                    println!(
                        "{:26} {}\n    caught by {} in {}",
                        bug.name,
                        bug.about,
                        bug.caught_by.join(", "),
                        bug.run.join(" ")
                    );
                }
                Ok(true)
            }
        }
    }
}

fn check_again(folder: &std::path::Path) -> Result<bool> {
    let events = history::read(&folder.join("history.jsonl"))?;
    let mut summary: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("summary.json"))?)?;
    let facts: Facts = serde_json::from_value(summary["facts"].take())?;
    let report = Report::new(facts, &events, judge);
    report::write(folder, &report, &events)?;
    println!("{}", report.text());
    Ok(report.holds())
}

fn list_faults() {
    let nodes = 5;
    let best = Setting { nodes, net: NetKind::Namespaces, disk: DiskKind::Image, help: "--cluster.join" };
    let found = Abilities::find(best);
    for fault in Fault::ALL {
        let why = found.missing(fault.needs()).map_or_else(String::new, |why| format!(" (not here: {why})"));
        println!("{:20} {}{why}", fault.name(), fault.about());
    }
}
