//! `pharos check config FILE…`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use pharos_ingest::config::{Loaded, load};
use pharos_ingest::fs::Disk;
use pharos_ingest::http_client::check_clients_and_credentials;
use pharos_model::clock::SystemClock;

use super::say;

pub fn command() -> Command {
    Command::new("check").about("Check files before they are used").subcommand_required(true).subcommand(
        Command::new("config")
            .about("Check configuration files, and the files they name")
            .arg(
                Arg::new("file")
                    .value_name("FILE")
                    .required(true)
                    .action(ArgAction::Append)
                    .value_parser(value_parser!(PathBuf)),
            )
            .after_help("Example: pharos check config prometheus.yml"),
    )
}

pub fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let Some(("config", matches)) = matches.subcommand() else { unreachable!("clap requires the subcommand") };
    super::server::install_crypto();
    let mut code = ExitCode::SUCCESS;
    for file in matches.get_many::<PathBuf>("file").into_iter().flatten() {
        say(format_args!("Checking {}", file.display()))?;
        match check(file) {
            Ok(loaded) => {
                for warning in &loaded.warnings {
                    say(format_args!("  WARNING: {warning}"))?;
                }
                say(format_args!(" SUCCESS: {} is valid prometheus config file syntax\n", file.display()))?;
            }
            Err(error) => {
                say(format_args!("  FAILED: {error}\n"))?;
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

/// Loads the file and those it names, certificates and credentials too.
fn check(file: &Path) -> anyhow::Result<Loaded> {
    let loaded = load(file, &Disk, &|name: &str| std::env::var(name).ok())?;
    let surroundings = crate::app::surroundings(Arc::new(SystemClock::default()));
    check_clients_and_credentials(&loaded.scrape_configs, &surroundings)?;
    Ok(loaded)
}
