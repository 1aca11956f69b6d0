//! The machine's own tools, each with a bounded time.

use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

/// No tool takes longer unless something hangs.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Runs a tool to its end and gives what it printed.
pub async fn run(program: &str, args: &[&str]) -> Result<String> {
    run_with_input(program, args, "").await
}

/// As [`run`], with something to read.
pub async fn run_with_input(program: &str, args: &[&str], input: &str) -> Result<String> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let line = || format!("{program} {}", args.join(" "));
    let mut child = command.spawn().with_context(line)?;
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let exchange = async {
        // A tool that ends without reading says why by its status.
        drop(stdin.write_all(input.as_bytes()).await);
        drop(stdin);
        child.wait_with_output().await
    };
    let Output { status, stdout, stderr } =
        timeout(TIMEOUT, exchange).await.with_context(|| format!("{} hangs", line()))?.with_context(line)?;
    if !status.success() {
        bail!("{}: {status}: {}", line(), String::from_utf8_lossy(&stderr).trim());
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

/// Whether a program is on the path.
pub fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
