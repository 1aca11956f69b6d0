//! `info(v)`: adds the labels of info metrics, such as `target_info`, to series of the same target.
//!
//! At each step, a base series finds for each info metric the series with its `instance` and `job`; of several the one
//! whose sample is newest counts. So a base series may have other labels at other steps, and comes out as several rows.

use datafusion::common::Result;
use hashbrown::HashMap;
use pharos_model::labels::METRIC_NAME;
use pharos_model::{LabelSet, LabelSetBuilder, Matcher};

use super::context::{QueryContext, fail};
use super::input::{Gathered, RowStream, once};
use super::merge::RowMerger;
use super::node::Call;
use crate::batch::{Row, RowId};
use crate::error::QueryError;
use crate::functions::grid::{is_set, set_steps};
use crate::plan::{InfoCall, Op};

/// Labels by which a series and its info series know each other.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

pub(super) fn run(call: Call) -> Result<RowStream> {
    Ok(once(async move {
        let Op::Info(info) = &*call.op else { unreachable!("planned as info") };
        let base = Gathered::from_input(&call, 0).await?;
        let infos = Gathered::from_input(&call, 1).await?;
        if infos.rows.rows().any(|row| row.has_histograms()) {
            return Err(fail(QueryError::Execution("info sample should be float".into())));
        }
        let index = Index::new(&infos, call.grid.n, &call.query)?;
        let mut output = RowMerger::new(call.grid.n);
        let reservation = QueryContext::reserve(&call.task, "info");
        for row in base.rows.rows() {
            call.query.check_deadline()?;
            enrich(info, &index, row, &mut output)?;
            reservation.try_resize(output.bytes())?;
        }
        output.finish(&call.query)
    }))
}

/// Info series by target, each with the steps at which it is the one that counts.
struct Index {
    /// Identifying labels to info series.
    targets: HashMap<LabelSet, Vec<InfoSeries>>,
}

struct InfoSeries {
    labels: LabelSet,
    wins: Vec<u64>,
}

impl Index {
    fn new(infos: &Gathered, steps: usize, query: &QueryContext) -> Result<Self> {
        let mut groups: HashMap<(LabelSet, String), Vec<RowId>> = HashMap::new();
        for id in infos.rows.ids() {
            let labels = LabelSet::from_canonical_trusted(infos.rows.get(id).labels);
            let target = identity(&labels);
            groups.entry((target, labels.get_or_empty(METRIC_NAME).to_owned())).or_default().push(id);
        }
        let mut targets: HashMap<LabelSet, Vec<InfoSeries>> = HashMap::new();
        for ((target, _), members) in groups {
            targets.entry(target).or_default().extend(winners(infos, &members, steps, query)?);
        }
        Ok(Self { targets })
    }
}

fn identity(labels: &LabelSet) -> LabelSet {
    labels.filter(|name| IDENTIFYING.contains(&name))
}

/// For series of one info metric and target: at each step the one with the newest sample.
fn winners(infos: &Gathered, members: &[RowId], steps: usize, query: &QueryContext) -> Result<Vec<InfoSeries>> {
    let mut series: Vec<InfoSeries> = members
        .iter()
        .map(|id| InfoSeries {
            labels: LabelSet::from_canonical_trusted(infos.rows.get(*id).labels),
            wins: vec![0; steps.div_ceil(64)],
        })
        .collect();
    for step in 0..steps {
        query.check_deadline()?;
        let mut best: Option<usize> = None;
        for (at, id) in members.iter().enumerate().filter(|(_, id)| is_set(infos.rows.get(**id).present, step)) {
            let Some(other) = best else {
                best = Some(at);
                continue;
            };
            let (time, known) = (infos.rows.get(*id).values[step], infos.rows.get(members[other]).values[step]);
            if time == known {
                return Err(conflict(&series[other].labels, &series[at].labels, time));
            }
            best = Some(if time > known { at } else { other });
        }
        if let Some(best) = best {
            series[best].wins[step / 64] |= 1 << (step % 64);
        }
    }
    Ok(series)
}

fn conflict(existing: &LabelSet, new: &LabelSet, seconds: f64) -> datafusion::common::DataFusionError {
    let ms = (seconds * 1000.0).round() as i64;
    fail(QueryError::Execution(format!(
        "found duplicate series for info metric: existing {existing} @ {ms}, new {new} @ {ms}"
    )))
}

/// Sends a base series on, with the labels found for it at each step.
fn enrich(info: &InfoCall, index: &Index, row: Row<'_>, output: &mut RowMerger) -> Result<()> {
    let labels = LabelSet::from_canonical_trusted(row.labels);
    let is_info = !info.names.is_empty() && all_hold(&info.names, labels.get_or_empty(METRIC_NAME));
    let target = identity(&labels);
    let infos = match index.targets.get(&target) {
        Some(infos) if !is_info && !target.is_empty() => infos.as_slice(),
        _ => &[],
    };
    // Without an info series, a series is kept if the label matchers would have taken an absent label.
    let kept_bare = is_info || info.labels.iter().all(Matcher::matches_empty);
    let mut present = vec![0u64; row.present.len()];
    for (found, steps) in combinations(infos, row.present) {
        if found.is_empty() && !kept_bare {
            continue;
        }
        present.copy_from_slice(&steps);
        let enriched = with_data_labels(info, &labels, &found)?;
        output.add(Row { labels: enriched.as_bytes(), present: &present, ..row })?;
    }
    Ok(())
}

fn all_hold(matchers: &[Matcher], value: &str) -> bool {
    matchers.iter().all(|matcher| matcher.matches(value))
}

/// Splits steps by the info series that count there.
fn combinations<'a>(infos: &'a [InfoSeries], present: &[u64]) -> Vec<(Vec<&'a LabelSet>, Vec<u64>)> {
    let mut parts: Vec<(Vec<&LabelSet>, Vec<u64>)> = Vec::new();
    for step in set_steps(present) {
        let found: Vec<&LabelSet> =
            infos.iter().filter(|info| is_set(&info.wins, step)).map(|info| &info.labels).collect();
        let at = match parts.iter().position(|(known, _)| *known == found) {
            Some(at) => at,
            None => {
                parts.push((found, vec![0; present.len()]));
                parts.len() - 1
            }
        };
        parts[at].1[step / 64] |= 1 << (step % 64);
    }
    parts
}

/// The base labels and those of the info series that were asked for and that the base does not have.
fn with_data_labels(info: &InfoCall, base: &LabelSet, found: &[&LabelSet]) -> Result<LabelSet> {
    let mut data = LabelSetBuilder::default();
    for label in found.iter().flat_map(|labels| labels.iter()).filter(|label| label.name != METRIC_NAME) {
        let wanted = info.labels.is_empty() || info.labels.iter().any(|matcher| matcher.name == label.name);
        if !wanted {
            continue;
        }
        if data.get(label.name).is_some_and(|known| known != label.value) {
            return Err(fail(QueryError::Execution(format!("conflicting label: {}", label.name))));
        }
        if base.get(label.name).is_none() {
            data.set(label.name, label.value);
        }
    }
    let mut labels = base.to_builder();
    for label in data.iter() {
        labels.set(label.name, label.value);
    }
    Ok(labels.build())
}
