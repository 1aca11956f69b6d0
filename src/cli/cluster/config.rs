//! `pharos cluster config …`: configuration that all nodes have, in versions.

use std::io::Read as _;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Arg, ArgMatches, Command, value_parser};
use comfy_table::{Table, presets};
use serde_json::Value;

use super::super::client::{AskError, Client};
use super::super::{put, say};

pub fn command() -> Command {
    let name = || Arg::new("name").value_name("NAME").required(true).help("The document, such as prometheus.yml.");
    let number = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("N").value_parser(value_parser!(u64)).help(help)
    };
    let expected = || {
        let help = "Write only if the document is at this version, 0 for none. Default: the version that it is at when the command begins.";
        number("expected", help)
    };
    Command::new("config")
        .about("Look at, write and take back configuration that all nodes have")
        .subcommand_required(true)
        .subcommand(Command::new("list").about("Show all documents"))
        .subcommand(
            Command::new("get")
                .about("Print a document")
                .arg(name())
                .arg(number("version", "Default: the newest.")),
        )
        .subcommand(Command::new("history").about("Show the versions of a document that are kept").arg(name()))
        .subcommand(
            Command::new("push")
                .about("Check a file and make it the newest version of a document")
                .arg(name())
                .arg(Arg::new("file").value_name("FILE").required(true).help("The file, - for standard input."))
                .arg(expected())
                .after_help(
                    "Document prometheus.yml is the configuration of every node, in place of its --config.file; the node that is asked \
                     checks it first. Relative paths in it mean the folder of each node's --config.file. An empty file takes the document \
                     back: each node goes by its own file again.",
                ),
        )
        .subcommand(
            Command::new("diff")
                .about("Show what changed between two versions")
                .arg(name())
                .arg(number("from", "Default: the one before --to. 0 is nothing."))
                .arg(number("to", "Default: the newest.")),
        )
        .subcommand(
            Command::new("rollback")
                .about("Make an old version the newest again")
                .arg(name())
                .arg(number("to", "Back to this version.").required(true))
                .arg(expected()),
        )
        .after_help(
            "What is in documents is shown, and they are written, where --web.enable-admin-api is given.\n\n\
             Examples:\n  \
             pharos cluster config push prometheus.yml ./prometheus.yml\n  \
             pharos cluster config diff prometheus.yml\n  \
             pharos cluster config rollback prometheus.yml --to 3",
        )
}

pub async fn run(client: &Client, matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let (command, matches) = matches.subcommand().expect("clap requires the subcommand");
    match command {
        "list" => list(client).await,
        "get" => get(client, matches).await,
        "history" => history(client, matches).await,
        "push" => push(client, matches).await,
        "diff" => diff(client, matches).await,
        _ => roll_back(client, matches).await,
    }
}

async fn list(client: &Client) -> anyhow::Result<ExitCode> {
    let data = documents(client).await?;
    let mut table = plain(&["document", "version", "bytes", "written"]);
    for document in data.iter() {
        let newest = document["versions"].as_array().and_then(|versions| versions.last()).cloned().unwrap_or_default();
        table.add_row([
            text(&document["name"]),
            text(&document["version"]),
            text(&newest["bytes"]),
            time(&newest["at_ms"]),
        ]);
    }
    say(shown(&table))?;
    Ok(ExitCode::SUCCESS)
}

async fn get(client: &Client, matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let answer = client.get(&path(matches, "", &["version"])).await?;
    // As it is, without another line end.
    put(answer["data"]["content"].as_str().context("the server does not say what is in it")?)?;
    Ok(ExitCode::SUCCESS)
}

async fn history(client: &Client, matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let name = name(matches);
    let documents = documents(client).await?;
    let Some(document) = documents.iter().find(|document| document["name"] == name) else {
        bail!("there is no document {name}");
    };
    let mut table = plain(&["version", "bytes", "written", ""]);
    for version in document["versions"].as_array().into_iter().flatten().rev() {
        let back = version["rolled_back_to"].as_u64().map(|to| format!("back to {to}")).unwrap_or_default();
        table.add_row([text(&version["version"]), text(&version["bytes"]), time(&version["at_ms"]), back]);
    }
    say(shown(&table))?;
    Ok(ExitCode::SUCCESS)
}

async fn push(client: &Client, matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let content = content(matches)?;
    let expected = match matches.get_one::<u64>("expected") {
        Some(expected) => *expected,
        None => {
            let current = current(client, matches).await?;
            if current.as_ref().is_some_and(|(_, current)| *current == content) {
                say(format_args!("document {} says that already", name(matches)))?;
                return Ok(ExitCode::SUCCESS);
            }
            current.map_or(0, |(version, _)| version)
        }
    };
    let answer = client.put(&format!("{}?expected={expected}", path(matches, "", &[])), content).await?;
    written(&answer, matches)
}

async fn roll_back(client: &Client, matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let expected = match matches.get_one::<u64>("expected") {
        Some(expected) => *expected,
        None => current(client, matches).await?.map_or(0, |(version, _)| version),
    };
    let to = matches.get_one::<u64>("to").copied().unwrap_or_default();
    let form = [("to", to.to_string()), ("expected", expected.to_string())];
    let answer = client.post(&path(matches, "/rollback", &[]), &form).await?;
    written(&answer, matches)
}

fn written(answer: &Value, matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    for warning in answer["warnings"].as_array().into_iter().flatten() {
        eprintln!("warning: {}", warning.as_str().unwrap_or_default());
    }
    let version = text(&answer["data"]["version"]);
    say(format_args!(
        "document {} is at version {version} now; pharos cluster status tells when nodes differ in what they go by",
        name(matches)
    ))?;
    Ok(ExitCode::SUCCESS)
}

async fn diff(client: &Client, matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let answer = client.get(&path(matches, "/diff", &["from", "to"])).await?;
    let data = &answer["data"];
    say(format_args!("--- {} version {}\n+++ {0} version {}", name(matches), data["from"], data["to"]))?;
    for line in data["lines"].as_array().into_iter().flatten() {
        say(line.as_str().unwrap_or_default())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The newest version with its content; none where there is no such document.
async fn current(client: &Client, matches: &ArgMatches) -> anyhow::Result<Option<(u64, String)>> {
    match client.get(&path(matches, "", &[])).await {
        Ok(answer) => {
            let (version, content) = (answer["data"]["version"].as_u64(), answer["data"]["content"].as_str());
            let (version, content) = version.zip(content).context("the server does not say what the document is at")?;
            Ok(Some((version, content.to_owned())))
        }
        Err(AskError::Refused { status, .. }) if status == http::StatusCode::NOT_FOUND => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn documents(client: &Client) -> anyhow::Result<Vec<Value>> {
    let answer = client.get("config/documents").await?;
    Ok(answer["data"]["documents"].as_array().cloned().unwrap_or_default())
}

fn content(matches: &ArgMatches) -> anyhow::Result<String> {
    let file = matches.get_one::<String>("file").cloned().unwrap_or_default();
    if file != "-" {
        return std::fs::read_to_string(&file).with_context(|| format!("read {file}"));
    }
    let mut content = String::new();
    std::io::stdin().read_to_string(&mut content).context("read standard input")?;
    Ok(content)
}

fn name(matches: &ArgMatches) -> &str {
    matches.get_one::<String>("name").map_or("", String::as_str)
}

/// A document's path, with those of the numbers that were given.
fn path(matches: &ArgMatches, below: &str, numbers: &[&str]) -> String {
    let name: String = form_urlencoded::byte_serialize(name(matches).as_bytes()).collect();
    let given: Vec<String> =
        numbers.iter().filter_map(|number| Some(format!("{number}={}", matches.get_one::<u64>(number)?))).collect();
    let query = if given.is_empty() { String::new() } else { format!("?{}", given.join("&")) };
    format!("config/documents/{name}{below}{query}")
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn time(ms: &Value) -> String {
    let time = ms.as_i64().and_then(chrono::DateTime::from_timestamp_millis);
    time.map_or_else(|| "-".to_owned(), |time| time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
}

fn plain(columns: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(columns.iter().copied());
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 2));
    });
    table
}

/// Without spaces at the ends of lines.
fn shown(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}
