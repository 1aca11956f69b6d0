//! `explain`: the plan of an expression with what each operator is reckoned to give and, with `analyze`, what it gave.
//!
//! Figures come by node too, where parts of the plan run on several.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use pharos_query::engine::{ExplainRequest, ExplainTimes, Explained, OnWorker};
use pharos_query::exec::Measured;
use pharos_query::plan::Figures;
use serde_json::{Value, json};

use super::super::error::ApiError;
use super::super::json::data_body;
use super::super::params::Params;
use super::query::{options, steps};
use super::{json_response, tenant_of};
use crate::app::App;

pub async fn explain(State(app): State<Arc<App>>, headers: HeaderMap, params: Params) -> Result<Response, ApiError> {
    let is_range = ["start", "end", "step"].iter().any(|name| params.get(name).is_some());
    let times = match is_range {
        true => ExplainTimes::Range(steps(&params)?),
        false => ExplainTimes::Instant(params.time_or("time", app.clock.now_ms())?),
    };
    let analyze = params.flag("analyze")?;
    let (options, _) = options(&params, &headers)?;
    let tenant = tenant_of(&headers)?;
    let request = ExplainRequest { text: params.get("query").unwrap_or_default(), times, analyze };
    let explanation = app.engine.explain(&tenant, request, options).await?;
    let plan = tree(&explanation.plan, &app.node.id().to_string());
    Ok(json_response(data_body(&plan, &explanation.warnings, &explanation.infos)))
}

/// An operator with its children; `node` is where it ran if that was not on workers.
fn tree(explained: &Explained, node: &str) -> Value {
    let Explained { operator, detail, estimated, measured, workers, children } = explained;
    let children: Vec<Value> = children.iter().map(|child| tree(child, node)).collect();
    let mut out = json!({
        "operator": operator,
        "detail": detail,
        "estimated": figures(estimated),
        "children": children,
    });
    if !workers.is_empty() {
        let of_worker = |on: &OnWorker| of_node(figures(&on.estimated), on.worker.as_str());
        out["estimated"]["nodes"] = workers.iter().map(of_worker).collect();
    }
    if let Some(measured) = measured {
        let of_worker = |on: &OnWorker| Some(of_node(figures_of(on.measured.as_ref()?), on.worker.as_str()));
        let of_workers: Vec<Value> = workers.iter().filter_map(of_worker).collect();
        out["measured"] = figures_of(measured);
        out["measured"]["nodes"] = match workers.is_empty() {
            true => json!([of_node(figures_of(measured), node)]),
            false => json!(of_workers),
        };
    }
    out
}

fn of_node(mut figures: Value, node: &str) -> Value {
    figures["node"] = node.into();
    figures
}

fn figures(figures: &Figures) -> Value {
    json!({"series": figures.series, "samples": figures.samples, "bytes": figures.bytes})
}

fn figures_of(measured: &Measured) -> Value {
    let mut out = figures(&measured.figures);
    out["seconds"] = measured.seconds.into();
    out
}

#[cfg(test)]
mod tests {
    use pharos_query::distributed::WorkerId;

    use super::*;

    #[test]
    fn an_operator_that_was_not_run_has_no_measured_figures() {
        let mut explained = Explained {
            operator: "Scan",
            detail: "{}".into(),
            estimated: Figures { series: 1, samples: 2, bytes: 3 },
            measured: None,
            workers: Vec::new(),
            children: Vec::new(),
        };
        let planned = json!({"operator": "Scan", "detail": "{}", "children": [],
            "estimated": {"series": 1, "samples": 2, "bytes": 3}});
        assert_eq!(tree(&explained, "7"), planned);
        explained.measured = Some(Measured { figures: Figures { series: 4, samples: 5, bytes: 6 }, seconds: 0.5 });
        let mut run = planned;
        run["measured"] = json!({"series": 4, "samples": 5, "bytes": 6, "seconds": 0.5,
            "nodes": [{"node": "7", "series": 4, "samples": 5, "bytes": 6, "seconds": 0.5}]});
        assert_eq!(tree(&explained, "7"), run);
    }

    #[test]
    fn an_operator_on_workers_has_the_figures_of_each() {
        let (estimated, figures) = (Figures { series: 1, samples: 2, bytes: 3 }, Figures::default());
        let measured = Some(Measured { figures, seconds: 0.5 });
        let on = |name: &str| OnWorker { worker: WorkerId::new(name).unwrap(), estimated, measured };
        let explained = Explained { estimated, measured, workers: vec![on("a"), on("b")], ..Explained::default() };
        let shown = tree(&explained, "7");
        let of = |name: &str| json!({"series": 1, "samples": 2, "bytes": 3, "node": name});
        assert_eq!(shown["estimated"]["nodes"], json!([of("a"), of("b")]));
        let of = |name: &str| json!({"series": 0, "samples": 0, "bytes": 0, "seconds": 0.5, "node": name});
        assert_eq!(shown["measured"]["nodes"], json!([of("a"), of("b")]));
    }
}
