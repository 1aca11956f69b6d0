//! Slows a process' disk by a control group (blkio, version 1).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub(super) const CONTROLLER: &str = "/sys/fs/cgroup/blkio";

/// Writes of the process to the device (`major:minor`) take turns at this rate; `None` lifts it. Applies to what is synced.
pub(super) fn set(node: &str, process: u32, device: &str, bytes_per_second: Option<u64>) -> Result<()> {
    let group = group_of(node);
    fs::create_dir_all(&group)?;
    write(&group.join("cgroup.procs"), &process.to_string())?;
    write(&group.join("blkio.throttle.write_bps_device"), &format!("{device} {}", bytes_per_second.unwrap_or(0)))
}

/// Removes the group, once its process has ended.
pub(super) fn remove(node: &str) {
    // Not there unless it was used.
    drop(fs::remove_dir(group_of(node)));
}

/// Control groups are the machine's: the name carries the harness' own process to keep runs apart.
fn group_of(node: &str) -> PathBuf {
    Path::new(CONTROLLER).join(format!("pharos-jepsen-{}-{node}", std::process::id()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("{text} > {}", path.display()))
}
