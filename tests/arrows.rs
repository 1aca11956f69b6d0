//! The arrows between crates that ARCHITECTURE.md draws, checked against the manifests.

use std::collections::BTreeSet;
use std::path::Path;

/// Each crate with the crates of ours that it may use.
const ALLOWED: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("promql", &["model"]),
    ("storage", &["model"]),
    ("cluster", &["model"]),
    ("ingest", &["model"]),
    ("query", &["model", "promql", "storage"]),
    ("jepsen", &[]),
];

/// The part of a manifest between `[dependencies]` and the next section: what the crate uses outside its tests.
fn dependencies(folder: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join("Cargo.toml");
    let manifest = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let section = manifest.split("[dependencies]").nth(1).expect("a [dependencies] section");
    let section = section.split("\n[").next().unwrap_or_default();
    section
        .lines()
        .filter_map(|line| Some(line.split(['.', '=', ' ']).next()?.trim().to_owned()))
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn crates_use_only_what_the_map_allows() {
    for (folder, allowed) in ALLOWED {
        let ours: BTreeSet<String> =
            dependencies(folder).iter().filter_map(|name| name.strip_prefix("pharos-").map(str::to_owned)).collect();
        let allowed: BTreeSet<String> = allowed.iter().map(|name| (*name).to_owned()).collect();
        assert!(ours.is_subset(&allowed), "{folder} uses {ours:?}, the map allows {allowed:?}");
    }
}

#[test]
fn only_query_names_datafusion() {
    for (folder, _) in ALLOWED.iter().filter(|(folder, _)| *folder != "query") {
        let names = dependencies(folder);
        assert!(!names.iter().any(|name| name.starts_with("datafusion")), "{folder} names datafusion");
    }
    assert!(dependencies("query").contains("datafusion"), "this test reads the manifests wrongly");
}

#[test]
fn model_has_no_runtime_and_no_io() {
    let names = dependencies("model");
    for foreign in ["tokio", "object_store", "hyper", "reqwest", "rustix"] {
        assert!(!names.contains(foreign), "model uses {foreign}");
    }
}
