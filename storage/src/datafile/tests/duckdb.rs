//! A data file is what `docs/format/data-file.md` says: DuckDB reads it with the query given there.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Command;

use super::{kept_rows_with_histograms, write};

/// A Python that has DuckDB: the one that `make test` prepares (`PYTHON`), or the usual one.
fn python_with_duckdb() -> Option<String> {
    let candidates = std::env::var("PYTHON").into_iter().chain(["python3".to_owned()]);
    let works = |python: &String| {
        Command::new(python).args(["-c", "import duckdb"]).output().is_ok_and(|out| out.status.success())
    };
    let found = candidates.into_iter().find(works);
    if found.is_none() {
        let _ = writeln!(std::io::stderr(), "skipped: neither PYTHON nor python3 has the duckdb package");
    }
    found
}

/// The first block of SQL in the format's page.
fn documented_query() -> String {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/format/data-file.md");
    let text = std::fs::read_to_string(page).expect("the format is documented");
    let (_, after) = text.split_once("```sql\n").expect("the page has a query");
    after.split_once("```").expect("the block ends").0.to_owned()
}

const SCRIPT: &str = "
import duckdb, struct, sys
for name, ts, value in duckdb.sql(open(sys.argv[1]).read()).fetchall():
    print(name, ts, 'null' if value is None else struct.pack('>d', value).hex())
";

#[test]
fn duckdb_reads_every_value_bit_for_bit() {
    let Some(python) = python_with_duckdb() else { return };
    let rows = kept_rows_with_histograms();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.parquet");
    std::fs::write(&file, write(&rows).1).unwrap();
    let query = documented_query().replace("FILE.parquet", &file.display().to_string());
    let query_path = dir.path().join("query.sql");
    std::fs::write(&query_path, query).unwrap();
    let out = Command::new(python).args(["-c", SCRIPT]).arg(&query_path).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let mut expected = Vec::new();
    for (labels, samples) in &rows {
        let floats = samples.ts.iter().zip(&samples.values);
        let floats = floats.map(|(ts, value)| (*ts, format!("{:016x}", value.to_bits())));
        let histograms = samples.histogram_ts.iter().map(|ts| (*ts, "null".to_owned()));
        let by_time: BTreeMap<_, _> = floats.chain(histograms).collect();
        let name = labels.metric_name().unwrap();
        expected.extend(by_time.into_iter().map(|(ts, value)| format!("{name} {ts} {value}")));
    }
    assert_eq!(String::from_utf8(out.stdout).unwrap().lines().collect::<Vec<_>>(), expected);
}
