//! `pharos test promql FILE…`: runs PromQL test scripts.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use pharos_query::script;

use super::say;

pub fn command() -> Command {
    Command::new("test").about("Run tests").subcommand_required(true).subcommand(
        Command::new("promql")
            .about("Run PromQL test scripts: one line `FILE passed/total` each, then the evals that failed")
            .arg(
                Arg::new("file")
                    .value_name("FILE")
                    .required(true)
                    .action(ArgAction::Append)
                    .value_parser(value_parser!(PathBuf)),
            )
            .after_help("Example: pharos test promql rules.test"),
    )
}

pub fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let Some(("promql", matches)) = matches.subcommand() else { unreachable!("clap requires the subcommand") };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(pharos_query::THREAD_STACK_BYTES)
        .build()?;
    let mut failed = false;
    for file in matches.get_many::<PathBuf>("file").into_iter().flatten() {
        let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        // On a thread of the runtime: the stack of this one is not ours to choose.
        let run = runtime.spawn(async move { script::run(&text, script::engine_options()).await });
        match runtime.block_on(run)? {
            Ok(report) => {
                say(format_args!("{} {}/{}", file.display(), report.passed, report.total))?;
                for failure in &report.failures {
                    say(format_args!("  line {}: {}", failure.line, failure.eval))?;
                    say(format_args!("    expected: {}", failure.expected))?;
                    say(format_args!("    got:      {}", failure.got))?;
                }
                failed |= report.passed < report.total;
            }
            Err(error) => {
                say(format_args!("{} 0/0", file.display()))?;
                say(format_args!("  {error}"))?;
                failed = true;
            }
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
