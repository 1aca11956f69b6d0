//! Figures of one run, and the tables they are printed as.

use std::collections::BTreeMap;

use comfy_table::{Table, presets};

use super::process::Kind;

/// One figure of every server that took part. Smaller is better for all of them.
#[derive(Clone, Debug)]
pub struct Figure {
    pub name: String,
    pub unit: &'static str,
    pub values: BTreeMap<Kind, f64>,
}

impl Figure {
    pub fn new(name: impl Into<String>, unit: &'static str) -> Self {
        Self { name: name.into(), unit, values: BTreeMap::new() }
    }

    /// A figure of Pharos alone.
    pub fn of_pharos(name: &str, unit: &'static str, value: f64) -> Self {
        Self { values: BTreeMap::from([(Kind::Pharos, value)]), ..Self::new(name, unit) }
    }

    /// Ours divided by the peer's; `None` where either is missing or the peer's is nothing.
    pub fn ratio(&self, peer: Kind) -> Option<f64> {
        let (ours, theirs) = (self.values.get(&Kind::Pharos)?, self.values.get(&peer)?);
        (*theirs > 0.0).then(|| ours / theirs)
    }
}

/// Prints figures side by side, with our ratio to each peer.
pub fn print(title: &str, figures: &[Figure]) {
    println!("\n## {title}");
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header([
        "figure",
        "unit",
        "pharos",
        "prometheus",
        "victoria-metrics",
        "/ prometheus",
        "/ victoria-metrics",
    ]);
    for figure in figures {
        let value = |kind| figure.values.get(&kind).map_or_else(|| "-".to_owned(), |value| number(*value));
        let ratio = |kind| figure.ratio(kind).map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"));
        table.add_row([
            figure.name.clone(),
            figure.unit.to_owned(),
            value(Kind::Pharos),
            value(Kind::Prometheus),
            value(Kind::VictoriaMetrics),
            ratio(Kind::Prometheus),
            ratio(Kind::VictoriaMetrics),
        ]);
    }
    println!("{table}");
}

/// Geometric mean of our ratios to a peer.
pub fn geometric_mean(figures: &[Figure], peer: Kind) -> Option<f64> {
    let ratios: Vec<f64> =
        figures.iter().filter_map(|figure| figure.ratio(peer)).filter(|ratio| *ratio > 0.0).collect();
    (!ratios.is_empty()).then(|| (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp())
}

/// Three significant digits.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}
