//! `pharos query instant|range|explain URL EXPR`: asks a server, prints a table or JSON.

mod explain;

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Arg, ArgAction, ArgMatches, Command};
use comfy_table::{Table, presets};
use serde_json::Value;

use super::client::Client;
use super::say;

/// Labels other than the metric name, then the values: columns of both tables.
const INSTANT_COLUMNS: [&str; 2] = ["series", "value"];
const RANGE_COLUMNS: [&str; 3] = ["series", "time", "value"];
/// Arguments that make a range of times.
const RANGE_ARGS: [&str; 3] = ["start", "end", "step"];

pub fn command() -> Command {
    let common = |name: &'static str| {
        Command::new(name)
            .arg(Arg::new("url").value_name("URL").required(true).help("Server, such as http://localhost:9090."))
            .arg(Arg::new("expr").value_name("EXPR").required(true).help("PromQL expression."))
            .arg(
                Arg::new("output")
                    .short('o')
                    .long("output")
                    .value_name("FORMAT")
                    .value_parser(["table", "json"])
                    .help("table (default) or json."),
            )
            .arg(Arg::new("tenant").long("tenant").value_name("ID").help("Tenant to ask for."))
    };
    let time = || Arg::new("time").long("time").value_name("TIME").help("RFC 3339 or Unix seconds. Default now.");
    let range = || {
        [
            Arg::new("start").long("start").value_name("TIME").help("Default one hour before the end."),
            Arg::new("end").long("end").value_name("TIME").help("Default now."),
            Arg::new("step").long("step").value_name("DURATION").help("Default a 250th of the range."),
        ]
    };
    Command::new("query")
        .about("Run a PromQL query against a server")
        .subcommand_required(true)
        .subcommand(common("instant").about("Evaluate at one time").arg(time()))
        .subcommand(common("range").about("Evaluate over a range of time").args(range()))
        .subcommand(
            common("explain")
                .about("Show how an expression is evaluated, at one time or over a range, and what that takes")
                .arg(
                    Arg::new("analyze")
                        .long("analyze")
                        .action(ArgAction::SetTrue)
                        .help("Run it too, and show what was measured beside what was reckoned."),
                )
                .arg(time().conflicts_with_all(RANGE_ARGS))
                .args(range()),
        )
        .after_help(
            "Examples:\n  \
             pharos query instant http://localhost:9090 'up'\n  \
             pharos query range http://localhost:9090 'rate(http_requests_total[5m])' --step=1m -o json\n  \
             pharos query explain http://localhost:9090 'sum(rate(http_requests_total[5m]))' --analyze --step=1m",
        )
}

pub fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let (kind, matches) = matches.subcommand().expect("clap requires the subcommand");
    let mut form = vec![("query", text(matches, "expr").unwrap_or_default())];
    let path = match kind {
        "instant" => {
            form.extend(text(matches, "time").map(|time| ("time", time)));
            "query"
        }
        "range" => {
            form.extend(range_form(matches)?);
            "query_range"
        }
        _ => {
            if RANGE_ARGS.iter().any(|name| matches.contains_id(name)) {
                form.extend(range_form(matches)?);
            } else {
                form.extend(text(matches, "time").map(|time| ("time", time)));
            }
            form.push(("analyze", matches.get_flag("analyze").to_string()));
            "explain"
        }
    };
    let answer = ask(matches, path, &form)?;
    for word in ["warnings", "infos"] {
        for note in answer[word].as_array().into_iter().flatten() {
            eprintln!("{}: {}", word.trim_end_matches('s'), note.as_str().unwrap_or_default());
        }
    }
    if text(matches, "output").as_deref() == Some("json") {
        say(serde_json::to_string_pretty(&answer["data"])?)?;
    } else if kind == "explain" {
        say(explain::table(&answer["data"]))?;
    } else {
        say(table(&answer["data"]))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn text(matches: &ArgMatches, name: &str) -> Option<String> {
    matches.get_one::<String>(name).cloned()
}

/// `start`, `end` and `step`, with defaults relative to now.
fn range_form(matches: &ArgMatches) -> anyhow::Result<Vec<(&'static str, String)>> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs_f64();
    let end = text(matches, "end").unwrap_or_else(|| now.to_string());
    let start = match (text(matches, "start"), end.parse::<f64>()) {
        (Some(start), _) => start,
        (None, Ok(end)) => (end - 3600.0).to_string(),
        (None, Err(_)) => bail!("--start is needed when --end is not in Unix seconds"),
    };
    let step = match (text(matches, "step"), start.parse::<f64>(), end.parse::<f64>()) {
        (Some(step), _, _) => step,
        (None, Ok(start), Ok(end)) => ((end - start) / 250.0).max(1.0).to_string(),
        (None, _, _) => bail!("--step is needed when the times are not in Unix seconds"),
    };
    Ok(vec![("start", start), ("end", end), ("step", step)])
}

fn ask(matches: &ArgMatches, path: &str, form: &[(&str, String)]) -> anyhow::Result<Value> {
    let client = Client::new(&text(matches, "url").unwrap_or_default())?.with_tenant(text(matches, "tenant"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(client.post(path, form))?)
}

/// The answer's `data` as a table; borders only on a terminal, so that a pipe gets plain columns.
fn table(data: &Value) -> Table {
    let mut table = Table::new();
    table.load_preset(if std::io::stdout().is_terminal() { presets::UTF8_FULL_CONDENSED } else { presets::NOTHING });
    let result = &data["result"];
    match data["resultType"].as_str() {
        Some("matrix") => {
            table.set_header(RANGE_COLUMNS);
            for series in result.as_array().into_iter().flatten() {
                let name = series_name(&series["metric"]);
                for point in series["values"].as_array().into_iter().flatten() {
                    table.add_row([name.clone(), time(&point[0]), plain(&point[1])]);
                }
            }
        }
        Some("vector") => {
            table.set_header(INSTANT_COLUMNS);
            for element in result.as_array().into_iter().flatten() {
                table.add_row([series_name(&element["metric"]), plain(&element["value"][1])]);
            }
        }
        kind => {
            table.set_header(INSTANT_COLUMNS);
            table.add_row([kind.unwrap_or_default().to_owned(), plain(&result[1])]);
        }
    }
    table
}

/// `name{a="b"}`, as PromQL writes it.
fn series_name(metric: &Value) -> String {
    let labels = metric
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default()));
    let labels = pharos_model::LabelSet::from_pairs(labels);
    let name = labels.metric_name().unwrap_or_default().to_owned();
    let rest = labels.without(pharos_model::labels::METRIC_NAME);
    if rest.is_empty() && !name.is_empty() { name } else { format!("{name}{rest}") }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn time(value: &Value) -> String {
    let ms = (value.as_f64().unwrap_or_default() * 1000.0).round() as i64;
    chrono::DateTime::from_timestamp_millis(ms)
        .map_or_else(|| value.to_string(), |time| time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_vector_becomes_rows() {
        let data =
            json!({"resultType": "vector", "result": [{"metric": {"__name__": "up", "job": "x"}, "value": [1, "1"]}]});
        let text = table(&data).to_string();
        assert!(text.contains(r#"up{job="x"}"#) && text.contains('1'), "{text}");
    }

    #[test]
    fn a_matrix_becomes_a_row_for_each_point() {
        let data = json!({"resultType": "matrix", "result": [{"metric": {}, "values": [[0, "1"], [1.5, "2"]]}]});
        let text = table(&data).to_string();
        assert!(text.contains("1970-01-01T00:00:01.500Z") && text.lines().count() == 3, "{text}");
    }
}
