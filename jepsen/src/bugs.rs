//! Known bugs to plant: patches of the tree, each with the run that has to catch it. Production code holds no trap for them.
//!
//! A patch begins with lines `Bug:`, `Run:` (flags of `jepsen run`) and `Caught by:` (checkers); what follows is a diff.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::process::Command;
use tokio::task::JoinHandle;

use crate::env::command;

/// Runs that a bug may pass before it counts as missed: each has another seed.
const ATTEMPTS: u64 = 3;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bug {
    pub name: String,
    pub patch: PathBuf,
    pub about: String,
    pub run: Vec<String>,
    /// Any of these checkers.
    pub caught_by: Vec<String>,
}

/// All bugs in a folder, by name.
pub fn list(folder: &Path) -> Result<Vec<Bug>> {
    let mut bugs = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let patch = entry?.path();
        if patch.extension().is_some_and(|extension| extension == "patch") {
            bugs.push(read(&patch).with_context(|| patch.display().to_string())?);
        }
    }
    bugs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(bugs)
}

fn read(patch: &Path) -> Result<Bug> {
    let text = fs::read_to_string(patch)?;
    let line = |name: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(name));
        found.map(|rest| rest.trim().to_owned()).with_context(|| format!("no line `{name}`"))
    };
    let name = patch.file_stem().and_then(|name| name.to_str()).context("no name")?.to_owned();
    let caught_by = line("Caught by:")?.split(',').map(|checker| checker.trim().to_owned()).collect();
    let run = line("Run:")?.split_whitespace().map(str::to_owned).collect();
    Ok(Bug { name, patch: patch.to_owned(), about: line("Bug:")?, run, caught_by })
}

/// Whether the patch fits the tree as it is.
pub async fn applies(bug: &Bug, tree: &Path) -> Result<()> {
    git(tree, &["apply", "--check", text(&bug.patch)?]).await
}

/// Plants and builds each bug in a copy of the tree, and runs it while the next one is built; fails when one is not caught.
pub async fn hunt(bugs: &[Bug], tree: &Path, work: &Path) -> Result<()> {
    let copy = work.join("tree");
    copy_tree(tree, &copy).await?;
    let mut told = Vec::new();
    let mut running: Option<JoinHandle<Hunted>> = None;
    for bug in bugs {
        println!("== {}: {}", bug.name, bug.about);
        let patch = fs::canonicalize(&bug.patch)?;
        git(&copy, &["apply", text(&patch)?]).await?;
        let built = build(bug, &copy, work).await;
        git(&copy, &["apply", "--reverse", text(&patch)?]).await?;
        if let Some(running) = running.take() {
            told.push(running.await?);
        }
        let (bug, work) = (bug.clone(), work.to_owned());
        running = Some(tokio::spawn(async move {
            let runs = match built {
                Ok(program) => hunt_one(&bug, &program, &work).await,
                Err(error) => Err(error),
            };
            Hunted::by(runs, bug)
        }));
    }
    if let Some(running) = running {
        told.push(running.await?);
    }
    told.iter().for_each(|hunted| println!("{}\n    in {}", hunted.line, hunted.bug.run.join(" ")));
    let missed: Vec<&str> =
        told.iter().filter(|hunted| !hunted.caught).map(|hunted| hunted.bug.name.as_str()).collect();
    ensure!(missed.is_empty(), "not caught: {}", missed.join(", "));
    Ok(())
}

/// What became of a bug.
struct Hunted {
    bug: Bug,
    caught: bool,
    line: String,
}

impl Hunted {
    fn by(runs: Result<Vec<Seen>>, bug: Bug) -> Self {
        let (caught, line) = match runs {
            Ok(runs) => {
                let caught = runs.last().is_some_and(|seen| seen.is_of(&bug));
                let seen: Vec<String> = runs.iter().map(Seen::text).collect();
                (caught, format!("{}: {}: {}", bug.name, if caught { "caught" } else { "MISSED" }, seen.join("; ")))
            }
            Err(error) => (false, format!("{}: MISSED: {error:#}", bug.name)),
        };
        println!("== {line}");
        Self { bug, caught, line }
    }
}

/// What one run found.
struct Seen {
    seed: u64,
    checkers: Vec<String>,
    seconds: u64,
}

impl Seen {
    /// Whether it was found by a checker that may.
    fn is_of(&self, bug: &Bug) -> bool {
        self.checkers.iter().any(|checker| bug.caught_by.contains(checker))
    }

    fn text(&self) -> String {
        let found = if self.checkers.is_empty() { "nothing".to_owned() } else { self.checkers.join(", ") };
        format!("seed {}, {found}, {} s", self.seed, self.seconds)
    }
}

/// The files that git knows, as they are on disk. Files that did not change keep their time, so that little is built again.
async fn copy_tree(tree: &Path, copy: &Path) -> Result<()> {
    fs::create_dir_all(copy)?;
    let files = command::run("git", &["-C", text(tree)?, "ls-files"]).await?;
    for name in files.lines().filter(|name| tree.join(name).is_file()) {
        let (from, to) = (tree.join(name), copy.join(name));
        let bytes = fs::read(&from)?;
        if fs::read(&to).ok().as_ref() != Some(&bytes) {
            fs::create_dir_all(to.parent().context("a file without a folder")?)?;
            fs::write(&to, bytes)?;
        }
    }
    Ok(())
}

/// The program with the bug in it, under a name of its own.
async fn build(bug: &Bug, copy: &Path, work: &Path) -> Result<PathBuf> {
    let target = work.join("target");
    // The whole workspace and a small test: so dependencies have the features that `make test` built them with, and its target
    // folder may be copied here.
    let built = Command::new("cargo")
        .args(["build", "--workspace", "--bin", "pharos", "--test", "arrows"])
        .current_dir(copy)
        .env("CARGO_TARGET_DIR", &target)
        // Patches are small: what they do not touch is not compiled again, even in the crates that they do.
        .env("CARGO_INCREMENTAL", "1")
        .status()
        .await?;
    ensure!(built.success(), "{} does not build", bug.name);
    let program = work.join(format!("pharos-{}", bug.name));
    fs::copy(target.join("debug/pharos"), &program)?;
    Ok(program)
}

/// As many runs as it takes until one of the right checkers finds something.
async fn hunt_one(bug: &Bug, program: &Path, work: &Path) -> Result<Vec<Seen>> {
    let mut runs = Vec::new();
    for seed in 1..=ATTEMPTS {
        let out = work.join(format!("{}-{seed}", bug.name));
        fs::create_dir_all(&out)?;
        let began = Instant::now();
        let status = Command::new(std::env::current_exe()?)
            .arg("run")
            .args(&bug.run)
            .arg(format!("--pharos={}", program.display()))
            .arg(format!("--out={}", out.display()))
            .arg(format!("--seed={seed}"))
            // Beside the build of the next one, which says what it does.
            .stdout(File::create(out.join("output"))?)
            .status()
            .await?;
        let checkers = match status.code() {
            Some(0) => Vec::new(),
            Some(crate::VIOLATED) => found_by(&out)?,
            _ => bail!("the run failed: {status}"),
        };
        runs.push(Seen { seed, checkers, seconds: began.elapsed().as_secs() });
        if runs.last().is_some_and(|seen| seen.is_of(bug)) {
            break;
        }
    }
    fs::remove_file(program)?;
    Ok(runs)
}

fn found_by(out: &Path) -> Result<Vec<String>> {
    let summary: Value = serde_json::from_slice(&fs::read(out.join("summary.json"))?)?;
    let verdicts = summary["verdicts"].as_array().context("a summary has verdicts")?;
    let violated = verdicts.iter().filter(|verdict| verdict["outcome"] == "violated");
    Ok(violated.filter_map(|verdict| verdict["checker"].as_str()).map(str::to_owned).collect())
}

async fn git(tree: &Path, args: &[&str]) -> Result<()> {
    let mut all = vec!["-C", text(tree)?];
    all.extend_from_slice(args);
    command::run("git", &all).await?;
    Ok(())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not text")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> PathBuf {
        fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap()
    }

    #[tokio::test]
    async fn every_bug_fits_the_tree_and_says_what_it_is() {
        let bugs = list(&tree().join("jepsen/bugs")).unwrap();
        assert!(bugs.len() >= 20, "{bugs:?}");
        for bug in bugs {
            applies(&bug, &tree()).await.unwrap_or_else(|error| panic!("{}: {error:#}", bug.name));
            assert!(!bug.about.is_empty() && !bug.run.is_empty() && !bug.caught_by.is_empty(), "{bug:?}");
        }
    }
}
