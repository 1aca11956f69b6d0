//! The page: one file that needs nothing else.

use std::fmt::Write;

use super::chart::{Line, Scale, chart};
use super::timeline::{Second, Timeline};
use super::totals::{Spread, by_fault};
use super::{Ends, Report};
use crate::check::{Outcome, Verdict};

const STYLE: &str = "body{font:14px sans-serif;max-width:1120px;margin:24px auto;padding:0 12px;color:#222}\
    table{border-collapse:collapse}td,th{padding:3px 10px;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}\
    svg text{font-size:11px;fill:#555}svg path{fill:none;stroke-width:1.5}.grid{stroke:#e5e5e5}.band{fill:#f2b8b5;opacity:.55}\
    .holds{color:#146c2e}.violated{color:#b3261e;font-weight:bold}.unknown{color:#8a6100}code,pre{background:#f5f5f5;padding:2px 4px}";

pub(super) fn page(report: &Report, timeline: &Timeline) -> String {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Jepsen run</title><style>{STYLE}</style><body>"
    );
    page += "<h1>Jepsen run</h1>";
    let facts = &report.facts;
    push(
        &mut page,
        format_args!(
            "<p>Seed <code>{}</code>, {} nodes, {:.0} s, longest time without an acknowledged write {} s.</p><pre>{}</pre>",
            facts.seed,
            facts.nodes,
            report.seconds,
            timeline.longest_silence(),
            escape(&facts.command)
        ),
    );
    page += "<h2>Verdicts</h2><table><tr><th>checker<th>outcome<th>figures<th>violations</tr>";
    for verdict in &report.verdicts {
        page += &verdict_row(verdict);
    }
    page += "</table>";
    page += &charts(timeline);
    page += "<h2>Operations</h2><table><tr><th>operation<th>ok<th>fail<th>info</tr>";
    for (name, Ends { ok, fail, info }) in &report.operations {
        push(&mut page, format_args!("<tr><td>{name}<td>{ok}<td>{fail}<td>{info}</tr>"));
    }
    page += "</table><h2>Longest silence of a series after a fault that spared a majority</h2><table><tr><th>fault<th>times<th>p50 ms<th>p90 ms<th>max ms</tr>";
    for (fault, Spread { count, p50, p90, max }) in by_fault(report.resumptions.iter()) {
        push(&mut page, format_args!("<tr><td>{fault}<td>{count}<td>{p50}<td>{p90}<td>{max}</tr>"));
    }
    page += "</table><h2>What nodes did</h2><table>";
    for (name, count) in &facts.coverage {
        push(&mut page, format_args!("<tr><td>{name}<td>{count}</tr>"));
    }
    page += "</table><h2>Faults</h2><table><tr><th>fault<th>times</tr>";
    for (name, count) in &facts.faults {
        push(&mut page, format_args!("<tr><td>{name}<td>{count}</tr>"));
    }
    for (name, why) in &facts.skipped {
        push(&mut page, format_args!("<tr><td>{name}<td>skipped: {}</tr>", escape(why)));
    }
    page + "</table></body></html>\n"
}

fn verdict_row(verdict: &Verdict) -> String {
    let (class, word) = match verdict.outcome {
        Outcome::Holds => ("holds", "holds"),
        Outcome::Violated => ("violated", "VIOLATED"),
        Outcome::Unknown => ("unknown", "unknown"),
    };
    let mut row = format!("<tr><td>{}<td class=\"{class}\">{word}<td>", verdict.checker);
    for (name, value) in &verdict.figures {
        push(&mut row, format_args!("{name}: {value}<br>"));
    }
    row += "<td>";
    for (kind, violations) in &verdict.violations {
        push(&mut row, format_args!("<b>{kind}</b>: {}<br>", violations.count));
        for detail in &violations.first {
            push(&mut row, format_args!("<code>{}</code><br>", escape(detail)));
        }
    }
    row + "</tr>"
}

fn charts(timeline: &Timeline) -> String {
    let line = |name, color, value: fn(&Second) -> Option<f64>| Line {
        name,
        color,
        values: timeline.seconds.iter().map(value).collect(),
    };
    let work = [
        line("samples acknowledged", "#1a73e8", |second| Some(second.acked as f64)),
        line("operations of unknown outcome", "#e37400", |second| Some(second.unknown as f64)),
        line("operations failed", "#b3261e", |second| Some(second.failed as f64)),
    ];
    let time = [
        line("write p50", "#1a73e8", |second| second.write_ms.map(|latency| latency.p50)),
        line("write p99", "#174ea6", |second| second.write_ms.map(|latency| latency.p99)),
        line("read p50", "#34a853", |second| second.read_ms.map(|latency| latency.p50)),
        line("read p99", "#0d652d", |second| second.read_ms.map(|latency| latency.p99)),
    ];
    chart("A second's work", &work, &timeline.bands, Scale::Linear)
        + &chart("Milliseconds to an answer", &time, &timeline.bands, Scale::Log)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn push(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("a string takes everything");
}
