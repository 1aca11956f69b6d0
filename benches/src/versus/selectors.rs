//! Selectors over very many series: CPU and memory of what finds its series by an expensive matcher, or touches all of them.

use std::path::Path;

use anyhow::{Result, ensure};

use super::data::Fleet;
use super::process::{Kind, Server};
use super::queries::{Answer, by_series, compare, seconds};
use super::remote_write::INTERVAL_MS;
use super::report::Figure;

const EXPRESSIONS: &[&str] = &[
    "{pod=~\".*abc.*\"}",
    "topk(10, {job=\"kubelet\"})",
    "count by (pod) ({job=\"kubelet\"})",
    "count({namespace=\"team-7\", pod=~\"app-1.*\"})",
];
/// Samples of each series.
const ROUNDS: usize = 4;
/// Each question is repeated until this much CPU was used, because the kernel counts in hundredths.
const CPU_SECONDS_MIN: f64 = 0.5;
const REPEATS_MAX: usize = 100;
const LABEL_VALUES: &str = "/api/v1/label/pod/values";

/// Loads the same series into one server after the other and asks. Two figures for each question: CPU, and the most memory that the
/// process had meanwhile.
pub async fn run(kinds: &[Kind], root: &Path, series: usize, now_ms: i64) -> Result<Vec<Figure>> {
    let fleet = Fleet::of_pods(series);
    let questions: Vec<String> = EXPRESSIONS.iter().copied().chain([LABEL_VALUES]).map(str::to_owned).collect();
    let mut cpu: Vec<Figure> = questions.iter().map(|name| Figure::new(name, "CPU-ms")).collect();
    let mut memory: Vec<Figure> = questions.iter().map(|name| Figure::new(format!("{name}, peak"), "MB")).collect();
    let mut loaded = Figure::new("memory before any question", "MB");
    let mut answers = vec![Vec::new(); EXPRESSIONS.len()];
    let mut pods = Vec::new();
    for &kind in kinds {
        let server = Server::start(kind, root, "global: {}\n", &[]).await?;
        server.write_rounds(&fleet, ROUNDS, |round| now_ms - (ROUNDS - round) as i64 * INTERVAL_MS).await?;
        loaded.values.insert(kind, server.anonymous_bytes()? as f64 / 1e6);
        let time = seconds(now_ms - INTERVAL_MS / 2);
        for (at, question) in questions.iter().enumerate() {
            let parameters = [("query", question.clone()), ("time", time.clone())];
            let before = server.cpu_seconds()?;
            let (mut used, mut repeats) = (0.0, 0);
            let ask = async {
                loop {
                    let answer = match question.as_str() {
                        LABEL_VALUES => server.get(LABEL_VALUES).await?,
                        _ => server.query("/api/v1/query", &parameters).await?,
                    };
                    (used, repeats) = (server.cpu_seconds()? - before, repeats + 1);
                    if used >= CPU_SECONDS_MIN || repeats == REPEATS_MAX {
                        return Ok(answer);
                    }
                }
            };
            let (peak, answer) = server.peak_bytes(ask).await?;
            cpu[at].values.insert(kind, used * 1000.0 / repeats as f64);
            memory[at].values.insert(kind, peak as f64 / 1e6);
            match question.as_str() {
                LABEL_VALUES => pods.push((kind, answer.as_array().map_or(0, Vec::len))),
                ranked if ranked.starts_with("topk") => answers[at].push((kind, by_rank(by_series(&answer)))),
                _ => answers[at].push((kind, by_series(&answer))),
            }
        }
    }
    for (expression, answers) in EXPRESSIONS.iter().zip(&answers) {
        compare(expression, answers)?;
    }
    ensure!(pods.windows(2).all(|pair| pair[0].1 == pair[1].1), "different numbers of pods: {pods:?}");
    Ok(cpu.into_iter().chain(memory).chain([loaded]).collect())
}

/// The values alone, largest first: which of several equal ones is picked is anyone's choice.
fn by_rank(answer: Answer) -> Answer {
    let mut points: Vec<_> = answer.into_values().collect();
    points.sort_by(|a, b| b[0].1.total_cmp(&a[0].1));
    points.into_iter().enumerate().map(|(rank, points)| (format!("{rank:03}"), points)).collect()
}
