//! Real scrapes for tests, read from the folder that `PHAROS_SCRAPES` names.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Command;

use pharos_model::LabelSet;

use crate::select::SampleColumns;

/// Time between two scrapes of the archive.
pub(crate) const SCRAPE_INTERVAL_MS: i64 = 2_000;
/// A slice border: the scrapes start here.
pub(crate) const FIRST_SCRAPE_MS: i64 = 1_699_999_200_000;

/// The series of `node_exporter-240x2s.tar.xz` as one target; `None`, with a printed reason, where they cannot be had.
pub(crate) fn node_exporter(instance: &str) -> Option<BTreeMap<LabelSet, SampleColumns>> {
    let Ok(folder) = std::env::var("PHAROS_SCRAPES") else {
        let _ = writeln!(std::io::stderr(), "skipped: PHAROS_SCRAPES is not set");
        return None;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let archive = format!("{folder}/node_exporter-240x2s.tar.xz");
    let unpacked = Command::new("tar").args(["xf", &archive, "-C"]).arg(dir.path()).status();
    if !unpacked.is_ok_and(|status| status.success()) {
        let _ = writeln!(std::io::stderr(), "skipped: tar cannot unpack {archive}");
        return None;
    }
    let mut names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    let mut series: BTreeMap<LabelSet, SampleColumns> = BTreeMap::new();
    for (i, path) in names.iter().enumerate() {
        let ts = FIRST_SCRAPE_MS + i as i64 * SCRAPE_INTERVAL_MS;
        for line in std::fs::read_to_string(path).unwrap().lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').expect("a sample line");
            let columns = series.entry(parse_labels(name, instance)).or_default();
            columns.ts.push(ts);
            columns.values.push(value.parse().expect("a value"));
        }
    }
    Some(series)
}

/// Enough of the text format for what node_exporter writes.
fn parse_labels(series: &str, instance: &str) -> LabelSet {
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let mut pairs = vec![("__name__", name.to_owned()), ("job", "node".to_owned()), ("instance", instance.to_owned())];
    let mut rest = labels;
    while let Some((label, tail)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut chars = tail.char_indices();
        let end = loop {
            match chars.next().expect("a closing quote") {
                (at, '"') => break at,
                (_, '\\') => value.push(match chars.next().expect("an escaped character").1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, other) => value.push(other),
            }
        };
        pairs.push((label, value));
        rest = tail[end + 1..].trim_start_matches(',');
    }
    LabelSet::from_pairs(pairs)
}
