//! A run gets namespaces of its own: when it ends, however it ends, its processes, mounts, loop devices, bridges and firewall
//! rules end with it.

use std::convert::Infallible;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::command;

/// Set in the program that was started again inside.
const INSIDE: &str = "PHAROS_JEPSEN_INSIDE";
/// Where `ip` keeps names of network namespaces.
const NAMES_DIR: &str = "/run/netns";

/// All namespaces that a run gets.
const NAMESPACES: [&str; 9] =
    ["--mount", "--propagation", "private", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--"];

/// Whether this process may have namespaces of its own: as root, and not in every container.
pub fn is_possible() -> bool {
    let tried = Command::new("unshare").args(NAMESPACES).arg("true").stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}

/// Whether this process is in namespaces of its own.
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Replaces this process by itself in new namespaces.
pub fn enter() -> Result<Infallible> {
    let program = std::env::current_exe()?;
    let error =
        Command::new("unshare").args(NAMESPACES).arg(program).args(std::env::args_os().skip(1)).env(INSIDE, "1").exec();
    Err(error).context("unshare")
}

/// What new namespaces lack: the loopback device, and a place for names that nobody else sees.
pub async fn furnish() -> Result<()> {
    command::run("ip", &["link", "set", "lo", "up"]).await?;
    std::fs::create_dir_all(NAMES_DIR)?;
    command::run("mount", &["-t", "tmpfs", "tmpfs", NAMES_DIR]).await?;
    Ok(())
}
