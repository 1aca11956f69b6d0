//! The command line: which personality and which subcommand, and the exit codes.
//!
//! Exit codes are Prometheus': 0 done, 1 failed, 2 wrong use of the command line or a configuration that does not load,
//! 3 flags of a mode that the server is not in.

mod client;

pub mod check;
pub mod cluster;
pub mod query;
pub mod server;
pub mod test;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::{ArgMatches, Command};

/// Exit code for wrong flags and for a configuration that does not load at start.
pub const EXIT_USAGE: u8 = 2;
/// Exit code for flags that belong to another mode of the server.
pub const EXIT_WRONG_MODE: u8 = 3;

/// Parses the arguments and runs what they ask for.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let matches = match command().try_get_matches_from(with_personality(args.into_iter().collect())) {
        Ok(matches) => matches,
        Err(error) => {
            // Help and version come this way too, and are no failure.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match dispatch(&matches) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    match matches.subcommand() {
        Some(("server", matches)) => server::run(matches),
        Some(("check", matches)) => check::run(matches),
        Some(("query", matches)) => query::run(matches),
        Some(("cluster", matches)) => cluster::run(matches),
        Some(("test", matches)) => test::run(matches),
        other => unreachable!("clap requires one of the subcommands, got {other:?}"),
    }
}

/// Writes a line to standard output. That nobody reads on, as behind `| head`, is no failure.
fn say(line: impl Display) -> io::Result<()> {
    put(format_args!("{line}\n"))
}

/// The same without a line's end.
fn put(text: impl Display) -> io::Result<()> {
    match write!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Called as `prometheus`, the binary is a server: flags come without a subcommand.
fn with_personality(mut args: Vec<OsString>) -> Vec<OsString> {
    let called = args.first().and_then(|arg| Path::new(arg).file_name()).and_then(|name| name.to_str());
    if called == Some("prometheus") {
        args.insert(1, "server".into());
    }
    args
}

fn command() -> Command {
    Command::new("pharos")
        .about("A horizontally scalable, clustered Prometheus with long-term storage")
        .version(crate::build_info::LONG_VERSION)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(crate::flags::command().version(crate::build_info::LONG_VERSION))
        .subcommand(check::command())
        .subcommand(query::command())
        .subcommand(cluster::command())
        .subcommand(test::command())
        .after_help(
            "Examples:\n  \
             pharos server --config.file=prometheus.yml --storage.path=./data\n  \
             pharos check config prometheus.yml\n  \
             pharos query instant http://localhost:9090 'up == 0'\n  \
             pharos cluster status\n  \
             pharos test promql my.test",
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_prometheus_means_server() {
        let args = |list: &[&str]| list.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(
            with_personality(args(&["/usr/bin/prometheus", "--x"])),
            args(&["/usr/bin/prometheus", "server", "--x"])
        );
        assert_eq!(with_personality(args(&["pharos", "check"])), args(&["pharos", "check"]));
    }

    #[test]
    fn the_definition_is_consistent() {
        command().debug_assert();
    }
}
