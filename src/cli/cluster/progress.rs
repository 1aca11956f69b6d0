//! Looks at the cluster again and again, and says what changed: on a terminal in one line that is rewritten, else in a line for each change.

use std::io::{self, IsTerminal, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use comfy_table::Table;
use tokio::time::{Instant, sleep};

use super::super::client::{AskError, Client};
use super::super::say;
use super::outlook::Outlook;
use super::read;
use pharos_cluster::status::ClusterStatus;

/// Pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// Columns of a terminal that does not say how many it has, or says none.
const WIDTH_DEFAULT: usize = 80;

/// How something is waited for.
pub struct Wait<'a> {
    pub client: &'a Client,
    pub timeout: Option<Duration>,
    /// A status from before this revision does not have the change yet.
    pub revision: u64,
    /// What is true after an interruption.
    pub after: String,
}

impl Wait<'_> {
    /// Returns when `look` says how it ended, on Ctrl-C, or when it took too long.
    pub async fn until_done(self, look: impl Fn(&ClusterStatus) -> Outlook) -> anyhow::Result<ExitCode> {
        let mut line = Line::default();
        let interrupted = tokio::signal::ctrl_c();
        let given_up = async {
            match self.timeout {
                Some(timeout) => sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            ended = self.look_on(&mut line, look) => ended?,
            _ = interrupted => Err(format!("interrupted; {}", self.after)),
            () = given_up => Err(format!("not done in time; {}", self.after)),
        };
        line.end()?;
        match ended {
            Ok(text) => {
                say(text)?;
                Ok(ExitCode::SUCCESS)
            }
            Err(text) => {
                eprintln!("{text}");
                Ok(ExitCode::FAILURE)
            }
        }
    }

    async fn look_on(
        &self,
        line: &mut Line,
        look: impl Fn(&ClusterStatus) -> Outlook,
    ) -> anyhow::Result<Result<String, String>> {
        let began = Instant::now();
        loop {
            match self.client.get("status/cluster").await {
                Ok(mut answer) => {
                    let status = read(answer["data"].take())?;
                    if status.revision >= self.revision {
                        match look(&status) {
                            Outlook::Done(text) => return Ok(Ok(text)),
                            Outlook::Failed(text) => return Ok(Err(text)),
                            Outlook::Waits { left, details } => line.show(&left, &details, began.elapsed())?,
                        }
                    }
                }
                Err(error) if error.is_passing() => line.show(&passing(&error), "", began.elapsed())?,
                Err(error) => return Err(error.into()),
            }
            sleep(LOOK_PAUSE).await;
        }
    }
}

fn passing(error: &AskError) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("the server does not answer, asking again: {error}{cause}")
}

/// The line that says how far something is.
#[derive(Default)]
struct Line {
    last: String,
    is_open: bool,
}

impl Line {
    fn show(&mut self, left: &str, details: &str, elapsed: Duration) -> io::Result<()> {
        if io::stdout().is_terminal() {
            let details = if details.is_empty() { String::new() } else { format!("; {details}") };
            let text = fit(&format!("{}s  {left}{details}", elapsed.as_secs()), terminal_width());
            let mut out = io::stdout().lock();
            write!(out, "\r\x1b[2K{text}")?;
            self.is_open = true;
            return out.flush();
        }
        if self.last != left {
            left.clone_into(&mut self.last);
            say(left)?;
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.is_open) { say("") } else { Ok(()) }
    }
}

fn terminal_width() -> usize {
    Table::new().width().map(usize::from).filter(|width| *width > 0).unwrap_or(WIDTH_DEFAULT)
}

/// As much as a line of a terminal has room for: one that is broken cannot be rewritten.
fn fit(text: &str, width: usize) -> String {
    if text.chars().count() < width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(2)).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_never_breaks() {
        assert_eq!(fit("abc", 10), "abc");
        assert_eq!(fit("abcdefghij", 6), "abcd…");
        assert_eq!(fit("äöüäöüäöü", 5), "äöü…");
    }
}
