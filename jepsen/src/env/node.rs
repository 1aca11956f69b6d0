//! One node: its process, disk and address. Started and ended here; when is decided by the nemesis.

use std::convert::Infallible;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::disk::{Disk, DiskKind};
use super::net::NodeAddress;
use super::throttle;
use crate::client::Client;
use crate::history::Farewell;

/// Longest wait for a node to be ready.
const READY_TIMEOUT: Duration = Duration::from_secs(120);
const READY_POLL: Duration = Duration::from_millis(20);
/// How long a node of several answers after it was told to end, so that load balancers see that it is not ready.
const SHUTDOWN_DELAY: &str = "1s";
/// Longest wait for a node that was asked to end.
const TERMINATE_TIMEOUT: Duration = Duration::from_secs(60);
/// Shifts the clock of a process that is started with it.
pub(super) const CLOCK_LIBRARIES: [&str; 2] =
    ["/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1"];

/// How every node is run.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    pub program: PathBuf,
    /// `prometheus.yml`; `NODE` stands for the node's name.
    pub config: String,
    /// Flags beside those that say where the node is.
    pub flags: Vec<String>,
    /// Whether clocks can be shifted.
    pub shift_clocks: bool,
}

/// What a wall clock does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Clock {
    /// Off by so many seconds.
    Off(i64),
    Rate(f64),
}

/// How a node of several takes part.
#[derive(Clone, Debug)]
pub struct Clustered {
    /// The flag by which it finds the others.
    pub entry: String,
    /// The object store of all.
    pub objects: PathBuf,
}

#[derive(Debug)]
pub struct Node {
    pub name: String,
    number: usize,
    home: PathBuf,
    pub address: NodeAddress,
    pub disk: Disk,
    pub(super) clustered: Option<Clustered>,
    child: Option<Child>,
}

impl Node {
    pub fn name_of(number: usize) -> String {
        format!("n{}", number + 1)
    }

    /// The node of this number, counted from 0, in a folder of its own below `home`.
    pub(super) async fn create(
        number: usize,
        home: &Path,
        address: NodeAddress,
        disk: DiskKind,
        clustered: Option<Clustered>,
    ) -> Result<Self> {
        let name = Self::name_of(number);
        let home = home.join(&name);
        fs::create_dir_all(&home)?;
        let disk = Disk::create(&home, disk).await.with_context(|| format!("the disk of {name}"))?;
        Ok(Self { name, number, home, address, disk, clustered, child: None })
    }

    pub(super) async fn start(&mut self, options: &NodeOptions) -> Result<()> {
        let config = self.home.join("prometheus.yml");
        fs::write(&config, options.config.replace("NODE", &self.name))?;
        let mut command = match &self.address.namespace {
            Some(namespace) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net=/run/netns/{namespace}")).arg("--").arg(&options.program);
                command
            }
            None => Command::new(&options.program),
        };
        command.arg("server").arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.path={}", self.disk.path.join("data").display()));
        command.arg(format!("--web.listen-address={}", self.address.api)).args(&options.flags);
        if let Some(Clustered { entry, objects }) = &self.clustered {
            let peer = self.address.peer;
            command.arg("--cluster.name=jepsen").arg(format!("--cluster.listen-address={peer}"));
            command.arg(format!("--cluster.advertise-address={peer}")).arg("--cluster.allow-plaintext");
            command.arg(format!("--cluster.zone=zone-{}", self.number % 3)).arg(entry);
            command.arg(format!("--object-store=file://{}", objects.display())).arg("--web.enable-admin-api");
            command.arg(format!("--web.shutdown-delay={SHUTDOWN_DELAY}"));
        }
        if options.shift_clocks {
            self.set_clock(Clock::Off(0))?;
            let library = CLOCK_LIBRARIES.iter().find(|path| Path::new(path).exists()).context("no libfaketime")?;
            command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", self.clock_file());
            command.env("FAKETIME_CACHE_DURATION", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        let log = File::options().create(true).append(true).open(self.log())?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        self.child = Some(command.spawn().with_context(|| format!("start {}", self.name))?);
        Ok(())
    }

    pub fn log(&self) -> PathBuf {
        self.home.join("log")
    }

    fn clock_file(&self) -> PathBuf {
        self.home.join("clock")
    }

    /// Sets the wall clock of the node off the machine's; a rate counts from the node's start. It is read again within a second.
    pub fn set_clock(&self, clock: Clock) -> Result<()> {
        let draft = self.home.join("clock.tmp");
        let text = match clock {
            Clock::Off(seconds) => format!("{seconds:+}\n"),
            Clock::Rate(rate) => format!("+0 x{rate}\n"),
        };
        fs::write(&draft, text)?;
        Ok(fs::rename(draft, self.clock_file())?)
    }

    pub(super) async fn wait_ready(&mut self, client: &Client) -> Result<()> {
        let deadline = Instant::now() + READY_TIMEOUT;
        let api: SocketAddr = self.address.api;
        while Instant::now() < deadline {
            if client.ready(&api.to_string()).await {
                return Ok(());
            }
            if let Some(status) = self.ended()? {
                bail!("{} ended before it was ready: {status}; see {}", self.name, self.log().display());
            }
            sleep(READY_POLL).await;
        }
        bail!("{} was not ready within {READY_TIMEOUT:?}; see {}", self.name, self.log().display())
    }

    /// Whether a process that was started, and not ended by us, has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let Some(child) = &mut self.child else { return Ok(None) };
        let status = child.try_wait()?;
        if status.is_some() {
            self.child = None;
        }
        Ok(status)
    }

    /// At once, and waits until it is gone.
    pub async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            drop(child.kill().await);
            throttle::remove(&self.name);
        }
    }

    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Asks it to end, and looks on until it did.
    pub(super) async fn terminate(&mut self, client: &Client) -> Result<Farewell> {
        self.signal(Signal::TERM)?;
        let told = Instant::now();
        let mut farewell = Farewell::default();
        let Some(mut child) = self.child.take() else { return Ok(farewell) };
        let api = self.address.api.to_string();
        let ended = timeout(TERMINATE_TIMEOUT, async {
            tokio::select! {
                status = child.wait() => status,
                never = look_on(client, &api, told, &mut farewell) => match never {},
            }
        });
        let status = ended.await.with_context(|| format!("{} does not end when asked to", self.name))??;
        if !status.success() {
            bail!("{} was asked to end and ended with {status}", self.name);
        }
        farewell.ended_ms = told.elapsed().as_millis() as u64;
        Ok(farewell)
    }

    /// Slows its writes to so many bytes a second; `None` lifts it.
    pub fn throttle(&self, bytes_per_second: Option<u64>) -> Result<()> {
        let process = self.child.as_ref().and_then(Child::id).context("no process")?;
        throttle::set(&self.name, process, &self.disk.device()?, bytes_per_second)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let process = self.child.as_ref().and_then(Child::id).context("no process")?;
        let process = Pid::from_raw(i32::try_from(process)?).context("process 0")?;
        Ok(kill_process(process, signal)?)
    }
}

/// Asks a node over and over whether it is ready.
async fn look_on(client: &Client, api: &str, told: Instant, farewell: &mut Farewell) -> Infallible {
    loop {
        if let Some(ready) = client.readiness(api).await {
            farewell.note(ready, told.elapsed().as_millis() as u64);
        }
        sleep(READY_POLL).await;
    }
}
