//! `pharos server`.

use std::process::ExitCode;

use clap::ArgMatches;
use tracing::{error, warn};

use super::{EXIT_USAGE, EXIT_WRONG_MODE};
use crate::app::{self, StartError};
use crate::flags::{FlagError, ServerFlags};
use crate::log;

pub fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let flags = match ServerFlags::from_matches(matches) {
        Ok(flags) => flags,
        Err(error @ FlagError::Value { .. }) => {
            eprintln!("Error parsing command line arguments: {error}");
            return Ok(ExitCode::from(EXIT_USAGE));
        }
        Err(error @ (FlagError::Agent | FlagError::AgentOnly(_))) => {
            eprintln!("{error}");
            return Ok(ExitCode::from(EXIT_WRONG_MODE));
        }
    };
    log::init(&flags.log_level, flags.log_format);
    for warning in &flags.warnings {
        warn!("{warning}");
    }
    for option in &flags.unknown_features {
        warn!(option, "Unknown option for --enable-feature");
    }
    install_crypto();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("pharos")
        .thread_stack_size(pharos_query::THREAD_STACK_BYTES)
        .build()?;
    let outcome = runtime.block_on(app::run(flags));
    Ok(match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ StartError::Config { .. }) => {
            error!("{error}");
            ExitCode::from(EXIT_USAGE)
        }
        Err(error) => {
            error!(error = &error as &dyn std::error::Error, "the node ends");
            ExitCode::FAILURE
        }
    })
}

/// Chooses ring for every TLS connection of the process.
pub fn install_crypto() {
    // Fails only when it was chosen before, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
