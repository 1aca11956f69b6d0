//! `pharos check config FILE…`.

use std::path::PathBuf;
use std::process::ExitCode;

use pharos_ingest::fs::Disk;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

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
    let mut code = ExitCode::SUCCESS;
    for file in matches.get_many::<PathBuf>("file").into_iter().flatten() {
        println!("Checking {}", file.display());
        match pharos_ingest::config::load(file, &Disk, &|name: &str| std::env::var(name).ok()) {
            Ok(loaded) => {
                for warning in &loaded.warnings {
                    println!("  WARNING: {warning}");
                }
                println!(" SUCCESS: {} is valid prometheus config file syntax\n", file.display());
            }
            Err(error) => {
                println!("  FAILED: {error}\n");
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}
