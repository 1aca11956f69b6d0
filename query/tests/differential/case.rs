//! One expression over one data set at certain times, and what the evaluators make of it.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use pharos_model::clock::SystemClock;
use pharos_model::{Clock, TenantId, TimestampMs, duration};
use pharos_promql::{Expr, ParserOptions, parse_expr};
use pharos_query::testing::Cluster;
use pharos_query::{Engine, EngineOptions, QueryError, QueryOptions, QueryOutcome, QueryRange};

use crate::compare::{LOOSE, NATIVE, Outcome, Reply, TIGHT, Tolerance, difference, outcomes};
use crate::data::{Data, SPAN_MS, Temper};
use crate::plain::{self, SAME_LABELSET, Settings};

/// Parts that series are spread over.
const PARTITIONS: [usize; 3] = [1, 3, 7];

#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub text: String,
    pub start_ms: TimestampMs,
    pub end_ms: TimestampMs,
    /// `None` for an instant query.
    pub step_ms: Option<i64>,
    pub delayed_names: bool,
    pub partitions: usize,
    /// There are native histograms, or were before the case was made smaller.
    pub native: bool,
    /// Of what happens to workers.
    pub seed: u64,
}

/// What came of a case.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    Same,
    /// PromQL leaves the answer open, or it hangs on the order of additions.
    Open,
    Differs {
        expected: String,
        got: String,
    },
}

impl Case {
    /// Times and settings for an expression: an instant or a range, on a sample or off.
    pub(crate) fn random(rng: &mut Rng, text: String, temper: Temper) -> Self {
        // From a generator of its own, so that seeds that were kept go on to mean what they meant.
        let seed = rng.clone().u64(..);
        let off_ms = if temper == Temper::Wild { 0 } else { 500 };
        let start_ms = match rng.u8(..3) {
            0 => rng.i64(-2..SPAN_MS / 60_000 + 6) * 60_000,
            1 => rng.i64(0..SPAN_MS / 15_000) * 15_000,
            _ => rng.i64(0..SPAN_MS / 1000) * 1000,
        } + off_ms;
        let step_ms = [7, 15, 15, 30, 60, 97, 300][rng.usize(..7)] * 1000;
        // A range vector has no steps.
        let is_instant = rng.u8(..3) == 0 || text.ends_with(']');
        // Now and then more steps than a word has bits.
        let steps = if rng.u8(..8) == 0 { rng.i64(60..140) } else { rng.i64(0..25) };
        let end_ms = if is_instant { start_ms } else { start_ms + step_ms * steps + rng.i64(0..2) * 1000 };
        Self {
            text,
            start_ms,
            end_ms,
            step_ms: (!is_instant).then_some(step_ms),
            delayed_names: rng.bool(),
            partitions: PARTITIONS[rng.usize(..PARTITIONS.len())],
            native: false,
            seed,
        }
    }

    pub(crate) async fn verdict(&self, data: &Data) -> Verdict {
        let expr = self.expr();
        let comparable = |reply: Reply| if self.native { reply.without_remarks() } else { reply };
        let alone = comparable(Reply::of_engine(self.ask_engine(data).await, &expr));
        let spread = comparable(Reply::of_engine(self.ask_workers(data).await, &expr));
        let (expected, is_open) = self.ask_plain(&expr, data);
        // Of several errors that there are to find each may find another, so both are held against the list of all.
        let found = difference(&expected, &alone, self.tolerance()).or_else(|| {
            let (expected, got) = difference(&expected, &spread, self.tolerance())?;
            Some((expected, format!("over workers (seed {}): {got}", self.seed)))
        });
        let Some((shown, got)) = found else { return Verdict::Same };
        if is_open || self.hangs_on_order(&expr, data, &expected) || self.native && self.hangs_on_digits(&expr, data) {
            return Verdict::Open;
        }
        Verdict::Differs { expected: shown, got }
    }

    /// As [`Case::verdict`], where the expected answer came from Prometheus 2.42, which adds up less precisely. Of errors only
    /// that there is one is compared. Some that names collide are no longer errors; some matches that a filter drops were none.
    pub(crate) async fn verdict_of(&self, data: &Data, expected: Outcome) -> Verdict {
        let expr = self.expr();
        let got = Reply::of_engine(self.ask_engine(data).await, &expr).outcome;
        let shown = match (&expected, &got) {
            (Outcome::Error(_), Outcome::Error(_)) => None,
            (Outcome::Error(texts), _) if texts[0].contains(SAME_LABELSET) => None,
            (_, Outcome::Error(texts)) if texts[0].starts_with("multiple matches for labels") => None,
            _ => outcomes(&expected, &got, LOOSE),
        };
        match shown {
            None => Verdict::Same,
            Some(_) if self.hangs_on_digits(&expr, data) => Verdict::Open,
            Some((expected, got)) => Verdict::Differs { expected, got },
        }
    }

    fn tolerance(&self) -> Tolerance {
        if self.native { NATIVE } else { TIGHT }
    }

    fn expr(&self) -> Expr {
        parse_expr(&self.text, &ParserOptions::ALL)
            .unwrap_or_else(|errors| panic!("{} does not parse: {errors}", self.text))
    }

    /// The plain answer, and whether another would do as well.
    fn ask_plain(&self, expr: &Expr, data: &Data) -> (Reply, bool) {
        let answer = plain::evaluate(expr, &data.series, self.settings());
        let is_open = answer.is_open;
        let reply = Reply::of_plain(answer, &self.text);
        (if self.native { reply.without_remarks() } else { reply }, is_open)
    }

    /// Whether the plain evaluator disagrees with itself when it reads the series in another order.
    fn hangs_on_order(&self, expr: &Expr, data: &Data, expected: &Reply) -> bool {
        (0..3).any(|seed| {
            let mut other = data.clone();
            match seed {
                0 => other.series.reverse(),
                seed => Rng::with_seed(seed).shuffle(&mut other.series),
            }
            difference(expected, &self.ask_plain(expr, &other).0, self.tolerance()).is_some()
        })
    }

    /// Whether values that differ in their last digits make another answer, such as one on the other side of a comparison.
    fn hangs_on_digits(&self, expr: &Expr, data: &Data) -> bool {
        let expected = self.ask_plain(expr, data).0.outcome;
        [1.0 + 1e-12, 1.0 - 1e-12].into_iter().any(|factor| {
            let mut other = data.clone();
            other.scale(factor);
            outcomes(&expected, &self.ask_plain(expr, &other).0.outcome, LOOSE).is_some()
        })
    }

    fn options(&self) -> EngineOptions {
        EngineOptions {
            parser: ParserOptions::ALL,
            delayed_name_removal: self.delayed_names,
            parallelism: self.partitions,
            ..EngineOptions::default()
        }
    }

    async fn ask_engine(&self, data: &Data) -> Result<QueryOutcome, QueryError> {
        let source = Arc::new(data.source(self.partitions));
        self.ask(&Engine::new(source, self.options(), Arc::new(SystemClock::default()))?).await
    }

    /// The answer when the series are with three workers, of which one dies in half of the cases.
    async fn ask_workers(&self, data: &Data) -> Result<QueryOutcome, QueryError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let source = data.source(self.partitions);
        let cluster = match self.seed % 2 {
            0 => Cluster::new(source, &clock, self.seed),
            _ => Cluster::with_deaths(source, &clock, self.seed),
        };
        self.ask(&cluster.engine(self.options(), clock)?).await
    }

    async fn ask(&self, engine: &Engine) -> Result<QueryOutcome, QueryError> {
        let (tenant, options) = (TenantId::anonymous(), QueryOptions::default());
        match self.step_ms {
            None => engine.instant(&tenant, &self.text, self.start_ms, options).await,
            Some(step_ms) => {
                let step = Duration::from_millis(step_ms.unsigned_abs());
                let range = QueryRange { start_ms: self.start_ms, end_ms: self.end_ms, step };
                engine.range(&tenant, &self.text, range, options).await
            }
        }
    }

    fn settings(&self) -> Settings {
        let defaults = EngineOptions::default();
        let ms = |duration: Duration| i64::try_from(duration.as_millis()).expect("a few minutes");
        Settings {
            start_ms: self.start_ms,
            end_ms: self.end_ms,
            step_ms: self.step_ms,
            lookback_ms: ms(defaults.lookback),
            subquery_step_ms: ms(defaults.subquery_step),
            delayed_names: self.delayed_names,
            native: self.native,
        }
    }

    /// The command of a test script that asks for this.
    pub(crate) fn eval_script(&self) -> String {
        let at = duration::format_ms;
        match self.step_ms {
            None => format!("eval instant at {} {}", at(self.start_ms), self.text),
            Some(step_ms) => {
                let (start, end) = (at(self.start_ms), at(self.end_ms));
                format!("eval range from {start} to {end} step {} {}", at(step_ms), self.text)
            }
        }
    }
}
