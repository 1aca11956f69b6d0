//! Random expressions over random data, evaluated by the engine and by a plain evaluator, must have the same answer; and so
//! must the engine when the series are with three workers, one of which may die.
//!
//! A seed makes a data set and the expressions over it, in one test of floats and in another one of native histograms.
//! `cargo test` takes the seeds of `seeds.txt`, or of `native_seeds.txt`, and a new one, which is printed. To look for more:
//!
//! - `PHAROS_DIFFERENTIAL_SECS=3600 cargo test --workspace --test differential` takes new seeds for an hour
//!   (`make differential` for a minute);
//! - `PHAROS_DIFFERENTIAL_SEED=7 …` takes only this one.
//!
//! Where Debian's Prometheus is installed, the engine is compared with it too, on what both define alike.
//!
//! A failure prints the seed and the smallest case that still fails, as a test script with what was expected and what came.
//! When it is mended, its seed goes into the list.

mod cached;
mod case;
mod compare;
mod data;
mod generate;
mod plain;
mod prometheus;
mod shrink;

use std::future::Future;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::case::{Case, Verdict};
use crate::data::{Data, Temper};
use crate::generate::{Dialect, Generator};
use crate::prometheus::Prometheus;

/// Expressions over each data set.
const EXPRESSIONS_PER_SEED: usize = 50;
/// The seeds that every run takes, those of data with native histograms apart: one a line, `#` starts a comment.
const KEPT: &str = include_str!("seeds.txt");
const KEPT_NATIVE: &str = include_str!("native_seeds.txt");
/// Seeds of those kept that Prometheus is asked about; each takes a process of it.
const PROMETHEUS_SEEDS: usize = 5;
/// Deep expressions make deep plans, and unoptimised frames are large.
const STACK_BYTES: usize = 16 << 20;
/// Failures after which no more are looked for.
const FAILURES_MAX: usize = 10;

/// What came of all the expressions of a run.
#[derive(Default)]
struct Tally {
    same: usize,
    open: usize,
    failures: Vec<String>,
}

impl Tally {
    fn count(&mut self, verdict: &Verdict) {
        match verdict {
            Verdict::Same => self.same += 1,
            Verdict::Open => self.open += 1,
            Verdict::Differs { .. } => {}
        }
    }

    /// The engine against the plain evaluator.
    async fn take(&mut self, seed: u64) {
        let mut rng = Rng::with_seed(seed);
        let data = Data::random(&mut rng, Temper::Wild);
        for _ in 0..EXPRESSIONS_PER_SEED {
            let text = Generator::new(&mut rng, Dialect::Today).expression();
            let case = Case::random(&mut rng, text, Temper::Wild);
            self.take_case(seed, case, &data).await;
        }
    }

    /// The engine against the plain evaluator on native histograms.
    async fn take_native(&mut self, seed: u64) {
        let mut rng = Rng::with_seed(seed);
        let data = Data::random_native(&mut rng);
        for _ in 0..EXPRESSIONS_PER_SEED {
            let text = Generator::new(&mut rng, Dialect::Today).native_expression();
            let case = Case { native: true, ..Case::random(&mut rng, text, Temper::Wild) };
            self.take_case(seed, case, &data).await;
        }
    }

    async fn take_case(&mut self, seed: u64, case: Case, data: &Data) {
        let verdict = case.verdict(data).await;
        self.count(&verdict);
        if matches!(verdict, Verdict::Differs { .. }) {
            let (small, data, verdict) = shrink::shrink(case.clone(), data.clone(), verdict).await;
            self.failures.push(report(seed, &case, &small, &data, &verdict));
        }
    }

    /// The engine against Prometheus.
    async fn take_with_prometheus(&mut self, seed: u64) {
        let mut rng = Rng::with_seed(seed);
        let data = Data::random(&mut rng, Temper::Mild);
        let prometheus = Prometheus::start().expect("prometheus starts");
        prometheus.write(&data).expect("prometheus takes samples");
        for _ in 0..EXPRESSIONS_PER_SEED {
            let text = Generator::new(&mut rng, Dialect::Old).expression();
            let case = Case { delayed_names: false, ..Case::random(&mut rng, text, Temper::Mild) };
            let expected = prometheus.ask(&case).expect("prometheus answers");
            let verdict = case.verdict_of(&data, expected).await;
            self.count(&verdict);
            if matches!(verdict, Verdict::Differs { .. }) {
                self.failures.push(report(seed, &case, &case, &data, &verdict));
            }
        }
    }
}

/// A failure in full: the smallest case that fails as it does, and the expression it came from.
fn report(seed: u64, case: &Case, small: &Case, data: &Data, verdict: &Verdict) -> String {
    let Verdict::Differs { expected, got } = verdict else { unreachable!("only what differs is reported") };
    let names = if small.delayed_names { "late" } else { "at once" };
    format!(
        "seed {seed}: {}\n{}\n{}\n# names dropped {names}, {} partitions\n# expected\n{expected}\n# got\n{got}\n",
        case.text,
        data.load_script(),
        small.eval_script(),
        small.partitions,
    )
}

fn parse_seeds(kept: &str) -> Vec<u64> {
    let seeds = kept.lines().filter_map(|line| line.split('#').next());
    seeds.map(str::trim).filter(|line| !line.is_empty()).map(|line| line.parse().expect("a seed")).collect()
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}

/// The seed that is asked for, or those given and new ones for as long as is asked for.
fn seeds(given: impl IntoIterator<Item = u64>) -> impl Iterator<Item = u64> {
    let only = from_environment("PHAROS_DIFFERENTIAL_SEED");
    let secs = from_environment("PHAROS_DIFFERENTIAL_SECS").filter(|_| only.is_none());
    let until = Instant::now() + Duration::from_secs(secs.unwrap_or(0));
    let new = std::iter::repeat_with(new_seed).take_while(move |_| Instant::now() < until);
    only.into_iter().chain(given.into_iter().filter(move |_| only.is_none())).chain(new)
}

fn new_seed() -> u64 {
    Rng::new().u64(..1 << 32)
}

fn check(run: impl Future<Output = Tally> + Send + 'static) {
    let runtime = tokio::runtime::Builder::new_multi_thread().thread_stack_size(STACK_BYTES).enable_all().build();
    let tally = runtime.expect("threads").block_on(async { tokio::spawn(run).await.expect("no panic") });
    println!("{} agree, {} left open, {} differ", tally.same, tally.open, tally.failures.len());
    assert!(tally.failures.is_empty(), "\n{}", tally.failures.join("\n"));
}

#[test]
fn engine_and_plain_evaluator_agree() {
    check(async {
        let mut tally = Tally::default();
        let new = new_seed();
        println!("new seed {new}");
        for seed in seeds(parse_seeds(KEPT).into_iter().chain([new])) {
            tally.take(seed).await;
            if tally.failures.len() >= FAILURES_MAX {
                break;
            }
        }
        tally
    });
}

#[test]
fn engine_and_plain_evaluator_agree_on_native_histograms() {
    check(async {
        let mut tally = Tally::default();
        let new = new_seed();
        println!("new seed {new}");
        for seed in seeds(parse_seeds(KEPT_NATIVE).into_iter().chain([new])) {
            tally.take_native(seed).await;
            if tally.failures.len() >= FAILURES_MAX {
                break;
            }
        }
        tally
    });
}

#[test]
fn engine_and_results_cache_agree() {
    check(async {
        let mut tally = Tally::default();
        let new = new_seed();
        println!("new seed {new}");
        for seed in seeds(parse_seeds(KEPT).into_iter().chain([new])) {
            let compared = cached::run(seed).await;
            assert!(compared.kept_steps > 0, "seed {seed} asks for nothing twice");
            tally.same += compared.same;
            tally.open += compared.open;
            tally.failures.extend(compared.failures.iter().map(|failure| format!("seed {seed}: {failure}")));
            if tally.failures.len() >= FAILURES_MAX {
                break;
            }
        }
        tally
    });
}

#[test]
fn engine_and_prometheus_agree() {
    if let Some(why) = prometheus::missing() {
        println!("skipped: {why}");
        return;
    }
    check(async {
        let mut tally = Tally::default();
        for seed in seeds(parse_seeds(KEPT).into_iter().take(PROMETHEUS_SEEDS)) {
            tally.take_with_prometheus(seed).await;
            if tally.failures.len() >= FAILURES_MAX {
                break;
            }
        }
        tally
    });
}
