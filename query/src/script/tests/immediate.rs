//! Upstream's scripts with names removed at once.
//!
//! They are written for names that are removed when the query ends. Where that makes another answer, `upstream.adjusted` has
//! the one that is right: every evaluation must give upstream's answer or, if it is listed there, the listed one and not
//! upstream's.

use std::collections::BTreeMap;

use pharos_promql::script::{CommandKind, Eval};

use super::*;

const LIST: &str = include_str!("../../../testdata/immediate/upstream.adjusted");

/// What is expected instead, by the script's file name and the line of the evaluation.
type Adjusted = BTreeMap<(String, usize), Eval>;

/// Reads the list: for each evaluation a line with place and reason, and below it the command with its other answer, as in a
/// script, up to an empty line. `#` starts a comment.
fn adjusted(list: &str) -> Adjusted {
    let lines: Vec<&str> = list.lines().filter(|line| !line.starts_with('#')).collect();
    let mut adjusted = Adjusted::new();
    for entry in lines.split(|line| line.trim().is_empty()).filter(|entry| !entry.is_empty()) {
        let (place, reason) = entry[0].split_once(": ").unwrap_or_else(|| panic!("no reason: {}", entry[0]));
        let (file, line) = place.rsplit_once(':').unwrap_or_else(|| panic!("no `file:line`: {place}"));
        let line = line.parse().unwrap_or_else(|_| panic!("no line number: {place}"));
        assert!(!reason.trim().is_empty(), "{place}: no reason");
        let script = Script::parse(&entry[1..].join("\n")).unwrap_or_else(|error| panic!("{place}: {error}"));
        let [command] = <[_; 1]>::try_from(script.commands).unwrap_or_else(|_| panic!("{place}: not one command"));
        let CommandKind::Eval(eval) = command.kind else { panic!("{place}: not an evaluation") };
        let known = adjusted.insert((file.to_owned(), line), *eval);
        assert!(known.is_none(), "{place} is listed twice");
    }
    adjusted
}

/// What is wrong with an evaluation. Takes it from the list.
async fn problem(runner: &Runner, file: &str, eval: &Eval, adjusted: &mut Adjusted) -> Option<String> {
    let upstream = runner.eval(eval).await;
    let Some(other) = adjusted.remove(&(file.to_owned(), eval.line)) else {
        return upstream.err().map(|failure| format!("not upstream's answer, and none is listed: {failure:#?}"));
    };
    if (&other.text, other.time) != (&eval.text, eval.time) {
        return Some(format!("another evaluation is listed: {}", other.text));
    }
    match (upstream, runner.eval(&other).await) {
        (Ok(()), _) => Some("listed, but upstream's answer came".into()),
        (Err(_), answer) => answer.err().map(|failure| format!("not the listed answer: {failure:#?}")),
    }
}

/// What is wrong with the evaluations of a script, by their lines; and how many there are.
fn problems(file: &str, text: &str, adjusted: &mut Adjusted) -> (Vec<String>, usize) {
    let script = Script::parse(text).unwrap();
    let runner = Runner::new(EngineOptions { delayed_name_removal: false, ..engine_options() }).unwrap();
    let (mut found, mut total) = (Vec::new(), 0);
    wait_for(async {
        for command in &script.commands {
            let Some(eval) = runner.prepare(command).unwrap() else { continue };
            total += 1;
            let problem = problem(&runner, file, eval, adjusted).await;
            found.extend(problem.map(|problem| format!("{file}:{} {}: {problem}", command.line, eval.text)));
        }
    });
    (found, total)
}

#[test]
fn upstream_scripts_pass_with_names_removed_at_once_where_that_makes_no_difference() {
    let Some(folder) = upstream_folder() else { return };
    let mut adjusted = adjusted(LIST);
    let (mut found, mut total, listed) = (Vec::new(), 0, adjusted.len());
    for path in scripts(&folder) {
        let file = path.file_name().unwrap().to_str().unwrap();
        let (of_script, evals) = problems(file, &std::fs::read_to_string(&path).unwrap(), &mut adjusted);
        found.extend(of_script);
        total += evals;
    }
    println!("{total} evaluations, {listed} with an answer of their own");
    found.extend(adjusted.into_keys().map(|(file, line)| format!("{file}:{line} is listed but is no evaluation")));
    assert!(found.is_empty(), "{} problems\n{}", found.len(), found.join("\n"));
}

#[test]
fn a_listed_answer_must_differ_from_upstreams_and_be_what_comes() {
    let script = "load 1m\n  m{a=\"1\"} 1\n  n{a=\"1\"} 1\n\neval instant at 0 -m\n  {a=\"1\"} -1\n\n\
        eval instant at 0 sum(-{a=\"1\"})\n  {} -2\n";
    let check = |list: &str, expected: &[&str]| {
        let (found, total) = problems("s.test", script, &mut adjusted(list));
        assert_eq!((found.len(), total), (expected.len(), 2), "{found:?}");
        assert!(found.iter().zip(expected).all(|(found, start)| found.starts_with(start)), "{found:?}");
    };
    let collision = "s.test:8: names collide\neval instant at 0 sum(-{a=\"1\"})\n  expect fail\n";
    check(collision, &[]);
    check("", &["s.test:8 sum(-{a=\"1\"}): not upstream's answer, and none is listed"]);
    let needless = format!("{collision}\ns.test:5: none\neval instant at 0 -m\n  {{a=\"1\"}} -1\n");
    check(&needless, &["s.test:5 -m: listed, but upstream's answer came"]);
    check(&collision.replace("expect fail", "{} 2"), &["s.test:8 sum(-{a=\"1\"}): not the listed answer"]);
    check(&collision.replace("sum", "max"), &["s.test:8 sum(-{a=\"1\"}): another evaluation is listed"]);
}
