//! A server under measurement: started, asked, and read through `/proc`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use pharos_model::TimestampMs;
use serde_json::Value;

use super::data::Fleet;

/// Longest wait for a server to come up.
const READY_TIMEOUT: Duration = Duration::from_secs(120);
/// Pause between two looks at a server that is coming up.
const READY_POLL: Duration = Duration::from_millis(10);
/// Pause before what was refused for now is offered again.
const BUSY_PAUSE: Duration = Duration::from_millis(200);
/// Pause between two looks at the memory of a server at work.
const PEAK_POLL: Duration = Duration::from_millis(5);
/// Clock ticks a second in `/proc/PID/stat`; fixed at 100 on Linux for user space.
const TICKS_PER_SECOND: f64 = 100.0;

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Pharos,
    Prometheus,
    VictoriaMetrics,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Pharos, Self::Prometheus, Self::VictoriaMetrics];

    pub fn name(self) -> &'static str {
        match self {
            Self::Pharos => "pharos",
            Self::Prometheus => "prometheus",
            Self::VictoriaMetrics => "victoria-metrics",
        }
    }

    /// The program: beside this binary for Pharos, from the path for the peers. `None` when it is not installed.
    pub fn program(self) -> Option<PathBuf> {
        if self == Self::Pharos {
            let here = std::env::current_exe().ok()?;
            return Some(here.with_file_name("pharos")).filter(|path| path.exists());
        }
        std::env::split_paths(&std::env::var_os("PATH")?)
            .map(|folder| folder.join(self.name()))
            .find(|path| path.exists())
    }

    fn ready_path(self) -> &'static str {
        match self {
            Self::Pharos | Self::Prometheus => "/-/ready",
            Self::VictoriaMetrics => "/health",
        }
    }
}

/// A running server with its own data folder.
#[derive(Debug)]
pub struct Server {
    pub kind: Kind,
    child: Child,
    program: PathBuf,
    port: u16,
    folder: PathBuf,
    config: String,
    extra: Vec<String>,
    client: reqwest::Client,
}

impl Server {
    /// Starts with an empty data folder below `root` and waits until it is ready.
    pub async fn start(kind: Kind, root: &Path, config: &str, extra: &[&str]) -> Result<Self> {
        Self::start_program(kind, None, root, config, extra).await
    }

    /// As [`Self::start`], of a program that need not be the usual one.
    pub async fn start_program(
        kind: Kind,
        program: Option<&Path>,
        root: &Path,
        config: &str,
        extra: &[&str],
    ) -> Result<Self> {
        let program = program.map(Path::to_owned).or_else(|| kind.program());
        let program = program.with_context(|| format!("{} is not installed", kind.name()))?;
        let folder = root.join(kind.name());
        fs::create_dir_all(&folder)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let extra: Vec<String> = extra.iter().map(|&arg| arg.to_owned()).collect();
        let child = spawn((kind, &program), &folder, port, config, &extra)?;
        let client = reqwest::Client::builder().pool_max_idle_per_host(4).build()?;
        let server = Self { kind, child, program, port, folder, config: config.to_owned(), extra, client };
        server.wait_ready().await?;
        Ok(server)
    }

    async fn wait_ready(&self) -> Result<()> {
        let deadline = Instant::now() + READY_TIMEOUT;
        let url = self.url(self.kind.ready_path());
        while Instant::now() < deadline {
            if self.client.get(&url).send().await.is_ok_and(|response| response.status().is_success()) {
                return Ok(());
            }
            tokio::time::sleep(READY_POLL).await;
        }
        bail!("{} was not ready within {READY_TIMEOUT:?}; see {}", self.kind.name(), self.folder.join("log").display())
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Sends a compressed remote-write body; anything but a success is an error.
    pub async fn write(&self, body: bytes::Bytes) -> Result<()> {
        let response = self
            .client
            .post(self.url("/api/v1/write"))
            .header("content-encoding", "snappy")
            .header("content-type", "application/x-protobuf")
            .header("x-prometheus-remote-write-version", "0.1.0")
            .body(body)
            .send()
            .await?;
        let status = response.status();
        if !status.is_success() {
            bail!("{} refused a write: {status} {}", self.kind.name(), response.text().await.unwrap_or_default());
        }
        Ok(())
    }

    /// Sends one sample of every series for each round, of the time that `time_of` gives it.
    pub async fn write_rounds(
        &self,
        fleet: &Fleet,
        rounds: usize,
        time_of: impl Fn(usize) -> TimestampMs,
    ) -> Result<()> {
        for round in 0..rounds {
            for body in fleet.round(round, time_of(round)) {
                self.write(body).await?;
            }
        }
        self.flush().await
    }

    /// As [`Self::write`], again and again while the server says that it is busy.
    pub async fn write_patiently(&self, body: bytes::Bytes) -> Result<()> {
        while let Err(error) = self.write(body.clone()).await {
            if !error.to_string().contains("429") && !error.to_string().contains("503") {
                return Err(error);
            }
            tokio::time::sleep(BUSY_PAUSE).await;
        }
        Ok(())
    }

    /// Calls the query API and returns the whole answer, a refusal too.
    pub async fn ask(&self, path: &str, parameters: &BTreeMap<&'static str, String>) -> Result<Value> {
        let text = self.client.post(self.url(path)).form(parameters).send().await?.text().await?;
        serde_json::from_str(&text).with_context(|| text.clone())
    }

    /// Calls the query API and returns `data.result`.
    pub async fn query(&self, path: &str, parameters: &[(&str, String)]) -> Result<Value> {
        let mut parameters = parameters.to_vec();
        // Evaluation is what is measured. Prometheus keeps no results, and minds no parameter.
        parameters.push(("nocache", "1".into()));
        let text = self.client.post(self.url(path)).form(&parameters).send().await?.text().await?;
        Ok(self.data(&text)?["result"].take())
    }

    /// Calls an endpoint of the API that has no parameters and returns `data`.
    pub async fn get(&self, path: &str) -> Result<Value> {
        let text = self.client.get(self.url(path)).send().await?.text().await?;
        self.data(&text)
    }

    fn data(&self, text: &str) -> Result<Value> {
        let mut answer: Value = serde_json::from_str(text).with_context(|| text.to_owned())?;
        if answer["status"] != "success" {
            bail!("{}: {text}", self.kind.name());
        }
        Ok(answer["data"].take())
    }

    /// Makes everything written so far visible to queries.
    pub async fn flush(&self) -> Result<()> {
        // What is measured is evaluation; Prometheus keeps no results, and refuses no parameter.
        if self.kind != Kind::Prometheus {
            self.client.get(self.url("/internal/force_flush")).send().await?;
        }
        Ok(())
    }

    /// User and system seconds so far.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The command name, in parentheses, may hold spaces.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks: u64 = fields.iter().skip(11).take(2).map(|field| field.parse::<u64>().unwrap_or(0)).sum();
        Ok(ticks as f64 / TICKS_PER_SECOND)
    }

    /// The sum of a counter over its labels, as the server exposes it.
    pub async fn counter(&self, name: &str) -> Result<f64> {
        let text = self.client.get(self.url("/metrics")).send().await?.text().await?;
        let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let values = text.lines().filter(of_name).filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        Ok(values.sum())
    }

    /// Anonymous resident bytes now.
    pub fn anonymous_bytes(&self) -> Result<u64> {
        anonymous_bytes(self.child.id())
    }

    /// The most anonymous resident bytes while `work` goes on, and what it gave.
    pub async fn peak_bytes<T>(&self, work: impl Future<Output = Result<T>>) -> Result<(u64, T)> {
        let (process, done) = (self.child.id(), Arc::new(AtomicBool::new(false)));
        let watched = done.clone();
        let watcher = std::thread::spawn(move || {
            let mut peak = 0;
            while !watched.load(Ordering::Relaxed) {
                peak = anonymous_bytes(process).unwrap_or(0).max(peak);
                std::thread::sleep(PEAK_POLL);
            }
            peak
        });
        let outcome = work.await;
        done.store(true, Ordering::Relaxed);
        let peak = watcher.join().expect("the watcher does not panic");
        Ok((peak.max(self.anonymous_bytes()?), outcome?))
    }

    /// Bytes below a subfolder of the data folder whose name `keep` accepts; sizes as allocated on disk.
    pub fn disk_bytes(&self, keep: &dyn Fn(&Path) -> bool) -> u64 {
        walk(&self.folder, keep)
    }

    /// Ends the process at once and starts it again; returns how long it took to be ready.
    pub async fn kill_and_restart(&mut self) -> Result<Duration> {
        self.child.kill()?;
        self.child.wait()?;
        let started = Instant::now();
        self.child = spawn((self.kind, &self.program), &self.folder, self.port, &self.config, &self.extra)?;
        self.wait_ready().await?;
        Ok(started.elapsed())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn((kind, program): (Kind, &Path), folder: &Path, port: u16, config: &str, extra: &[String]) -> Result<Child> {
    let config_file = folder.join("config.yml");
    fs::write(&config_file, config)?;
    let data = folder.join("data");
    let address = format!("127.0.0.1:{port}");
    let mut command = Command::new(program);
    match kind {
        Kind::Pharos => {
            command.arg("server").arg(format!("--storage.path={}", data.display()));
            command.arg(format!("--config.file={}", config_file.display()));
            command.arg(format!("--web.listen-address={address}"));
            command.args(extra);
        }
        Kind::Prometheus => {
            command.arg(format!("--storage.tsdb.path={}", data.display()));
            command.arg(format!("--config.file={}", config_file.display()));
            command.arg(format!("--web.listen-address={address}")).arg("--web.enable-remote-write-receiver");
        }
        Kind::VictoriaMetrics => {
            command.arg(format!("-storageDataPath={}", data.display())).arg("-retentionPeriod=100y");
            command.arg(format!("-httpListenAddr={address}")).arg("-search.maxUniqueTimeseries=5000000");
            command.arg("-search.maxPointsPerTimeseries=100000").arg("-search.latencyOffset=0s");
            command.arg("-search.disableCache=true");
            if config.contains("scrape_configs") {
                command.arg(format!("-promscrape.config={}", config_file.display()));
            }
        }
    }
    let log = File::options().create(true).append(true).open(folder.join("log"))?;
    command.stdout(Stdio::null()).stderr(log).spawn().with_context(|| format!("start {}", kind.name()))
}

fn anonymous_bytes(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).context("no RssAnon")?;
    let kib: u64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
    Ok(kib * 1024)
}

fn walk(path: &Path, keep: &dyn Fn(&Path) -> bool) -> u64 {
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    entries
        .flatten()
        .map(|entry| {
            let path = entry.path();
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => walk(&path, keep),
                Ok(meta) if keep(&path) => meta.len(),
                _ => 0,
            }
        })
        .sum()
}
