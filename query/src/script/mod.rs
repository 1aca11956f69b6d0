//! Runs PromQL test scripts, Prometheus' own language for saying what expressions must return.
//!
//! A script's samples go into memory, its expressions through the whole engine. Each instant evaluation is also run in the ways
//! that must not change its answer ([`variants`]).

mod compare;
mod load;
mod run;
mod variants;

use std::time::Duration;

use pharos_model::histogram::classic::ClassicError;
use pharos_promql::ParserOptions;
use pharos_promql::script::Script;
pub use pharos_promql::script::ScriptError;

use crate::engine::EngineOptions;
use crate::error::QueryError;

/// What came of a script.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Evaluations that returned what they must.
    pub passed: usize,
    pub total: usize,
    /// One for each evaluation that did not pass.
    pub failures: Vec<Failure>,
}

/// An evaluation that returned something else than it must.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Of the command, counted from one.
    pub line: usize,
    /// The expression, and how it was run when not as written.
    pub eval: String,
    pub expected: String,
    pub got: String,
}

/// Why a script was not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Script(#[from] ScriptError),
    #[error("line {line}: classic histogram: {source}")]
    Classic { line: usize, source: ClassicError },
    #[error("engine: {0}")]
    Engine(#[from] QueryError),
}

/// The engine that Prometheus' own scripts are written for: every part of the language, names removed at the end,
/// few samples.
pub fn engine_options() -> EngineOptions {
    EngineOptions {
        timeout: Duration::from_secs(100),
        max_samples: 10_000,
        parser: ParserOptions::ALL,
        delayed_name_removal: true,
        use_start_timestamps: true,
        subquery_step: Duration::from_secs(60),
        parallelism: 2,
        ..EngineOptions::default()
    }
}

/// Runs all commands of a script.
pub async fn run(text: &str, options: EngineOptions) -> Result<Report, RunError> {
    run_on(&run::Runner::new(options)?, text).await
}

async fn run_on(runner: &run::Runner, text: &str) -> Result<Report, RunError> {
    let script = Script::parse(text)?;
    let mut report = Report::default();
    for command in &script.commands {
        let Some(eval) = runner.prepare(command)? else { continue };
        report.total += 1;
        match runner.eval(eval).await {
            Ok(()) => report.passed += 1,
            Err(failure) => report.failures.push(failure),
        }
    }
    Ok(report)
}

#[cfg(test)]
mod tests;
