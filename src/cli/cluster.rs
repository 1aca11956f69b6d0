//! `pharos cluster …`: what a cluster looks like, and nodes that are to leave it.
//!
//! Every change is the cluster's own to carry out; a command asks for it and then looks on until it is done. So it may be interrupted at any
//! time, and asked for again.

mod config;
mod outlook;
mod progress;
mod table;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command};
use pharos_cluster::status::{ClusterStatus, NodeName};
use serde_json::Value;

use super::client::Client;
use super::say;
use crate::app::config::Difference;
use progress::Wait;

/// Longest wait for one answer: longer than the metadata group takes to give up.
const ANSWER_MAX: Duration = Duration::from_secs(60);

pub fn command() -> Command {
    let node = || {
        let help = "The node: its id, the first digits of it (four or more), or its peer or HTTP address.";
        Arg::new("node").value_name("NODE").required(true).help(help)
    };
    let timeout =
        || {
            Arg::new("timeout").long("timeout").value_name("DURATION").value_parser(duration).help(
                "Stop looking on after so long, such as 30m; the cluster goes on. Default: however long it takes.",
            )
        };
    Command::new("cluster")
        .about("Look at a cluster, take nodes out of it, and configure all of its nodes")
        .subcommand_required(true)
        .arg(
            Arg::new("url")
                .long("url")
                .value_name("URL")
                .global(true)
                .default_value("http://localhost:9090")
                .help("Any node of the cluster."),
        )
        .subcommand(
            Command::new("status")
                .about("Show nodes, partitions and what is under way")
                .arg(
                    Arg::new("output")
                        .short('o')
                        .long("output")
                        .value_name("FORMAT")
                        .value_parser(["table", "json"])
                        .default_value("table")
                        .help("table or json."),
                )
                .arg(
                    Arg::new("partitions")
                        .long("partitions")
                        .action(ArgAction::SetTrue)
                        .help("A line for each partition, not only for those in which something is amiss."),
                ),
        )
        .subcommand(
            Command::new("drain")
                .about("Move everything off a node, leaders first, and wait until nothing is left there")
                .arg(node())
                .arg(timeout())
                .after_help("The node keeps working meanwhile. Afterwards it can be stopped and removed, or taken back by undrain."),
        )
        .subcommand(Command::new("undrain").about("Let a node hold replicas again").arg(node()))
        .subcommand(
            Command::new("remove")
                .about("Declare a node gone for ever, and wait until its replicas are on others")
                .arg(node())
                .arg(
                    Arg::new("force")
                        .long("force")
                        .action(ArgAction::SetTrue)
                        .help("Also where a partition loses its majority by that, and with it what is in no data file yet."),
                )
                .arg(timeout())
                .after_help("Its id is never admitted again; the machine can join with an empty directory."),
        )
        .subcommand(
            Command::new("rebalance")
                .about("Wait until replicas and leaders are where they should be")
                .arg(timeout())
                .after_help(
                    "A cluster balances itself whenever a node comes, goes, or is drained; there is nothing to start. This shows what is \
                     left and ends when nothing is.",
                ),
        )
        .subcommand(config::command())
        .after_help(
            "Exit codes: 0 done, 1 refused, failed or not waited for to the end, 2 wrong use.\n\n\
             Examples:\n  \
             pharos cluster status --url http://node-1:9090\n  \
             pharos cluster drain 4f2a\n  \
             pharos cluster remove node-3:9090\n  \
             pharos cluster config push prometheus.yml ./prometheus.yml",
        )
}

fn duration(text: &str) -> Result<Duration, String> {
    match pharos_model::duration::parse_ms(text) {
        Ok(ms) => Ok(Duration::from_millis(ms.unsigned_abs())),
        Err(_) => Err(format!("{text:?} is no duration, write it as 90s, 30m or 2h")),
    }
}

pub fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let (command, matches) = matches.subcommand().expect("clap requires the subcommand");
    let url = matches.get_one::<String>("url").expect("it has a default");
    let client = Client::new(url)?.with_timeout(ANSWER_MAX);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            "status" => status(&client, matches).await,
            "drain" => drain(&client, matches).await,
            "undrain" => undrain(&client, matches).await,
            "remove" => remove(&client, matches).await,
            "config" => config::run(&client, matches).await,
            _ => rebalance(&client, matches).await,
        }
    })
}

async fn status(client: &Client, matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let data = client.get("status/cluster").await?["data"].take();
    if matches.get_one::<String>("output").is_some_and(|output| output == "json") {
        say(serde_json::to_string_pretty(&data)?)?;
    } else {
        let all = matches.get_flag("partitions");
        // Servers from before nodes told it say nothing of it.
        let differences: Vec<Difference> =
            serde_json::from_value(data["config_differences"].clone()).unwrap_or_default();
        say(table::show(&read(data)?, &differences, all))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn drain(client: &Client, matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let changed = change(client, "drain", matches).await?;
    let node = changed.node.clone();
    let after = format!(
        "the cluster goes on draining: pharos cluster status shows how far it is, pharos cluster undrain {} takes it back",
        node.as_str()
    );
    wait(client, matches, changed.revision, after, move |status| outlook::drain(status, &node)).await
}

async fn undrain(client: &Client, matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let changed = change(client, "undrain", matches).await?;
    say(format_args!(
        "node {} may hold replicas again; pharos cluster rebalance waits until it has its share",
        changed.node.as_str()
    ))?;
    Ok(ExitCode::SUCCESS)
}

async fn remove(client: &Client, matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let changed = change(client, "remove", matches).await?;
    let node = changed.node.clone();
    let after = format!(
        "node {} is removed, and the cluster goes on copying what it held: pharos cluster status shows how far it is",
        node.as_str()
    );
    wait(client, matches, changed.revision, after, move |status| outlook::removal(status, &node)).await
}

async fn rebalance(client: &Client, matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let after = "the cluster goes on by itself: pharos cluster status shows how far it is".to_owned();
    wait(client, matches, 0, after, outlook::rest).await
}

/// What was changed, and the first revision of the status that has it.
struct Changed {
    node: NodeName,
    revision: u64,
}

async fn change(client: &Client, what: &str, matches: &ArgMatches) -> anyhow::Result<Changed> {
    let mut form = vec![("node", matches.get_one::<String>("node").cloned().unwrap_or_default())];
    if what == "remove" {
        form.push(("force", matches.get_flag("force").to_string()));
    }
    let answer = client.post(&format!("admin/cluster/{what}"), &form).await?;
    let node = serde_json::from_value(answer["data"]["node"].clone()).context("the server does not say which node")?;
    Ok(Changed { node, revision: answer["data"]["revision"].as_u64().unwrap_or_default() })
}

async fn wait(
    client: &Client,
    matches: &ArgMatches,
    revision: u64,
    after: String,
    look: impl Fn(&ClusterStatus) -> outlook::Outlook,
) -> anyhow::Result<ExitCode> {
    let timeout = matches.get_one::<Duration>("timeout").copied();
    Wait { client, timeout, revision, after }.until_done(look).await
}

fn read(data: Value) -> anyhow::Result<ClusterStatus> {
    serde_json::from_value(data).context("the server's status is of another version of this program")
}
