//! A plan as an indented tree with its figures in columns.

use comfy_table::{CellAlignment, Table, presets};
use serde_json::Value;

/// Figures of each operator: as reckoned, then as measured.
const FIGURES: [&str; 3] = ["series", "samples", "bytes"];

/// `data` of an answer of `explain`. Measured columns are there if the query was run.
pub fn table(plan: &Value) -> Table {
    let analyzed = plan.get("measured").is_some();
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    let mut header = vec!["operator".to_owned()];
    for figure in FIGURES {
        header.push(format!("est. {figure}"));
        header.extend(analyzed.then(|| figure.to_owned()));
    }
    header.extend(analyzed.then(|| "seconds".to_owned()));
    table.set_header(header);
    add_rows(&mut table, plan, Branch::default(), analyzed);
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table
}

/// What stands before an operator, and before those below it.
#[derive(Clone, Default)]
struct Branch {
    own: String,
    below: String,
}

impl Branch {
    fn child(&self, is_last: bool) -> Self {
        let (own, below) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        Self { own: format!("{}{own}", self.below), below: format!("{}{below}", self.below) }
    }
}

fn add_rows(table: &mut Table, plan: &Value, branch: Branch, analyzed: bool) {
    let word = |name: &str| plan[name].as_str().unwrap_or_default();
    let name = format!("{}{} {}", branch.own, word("operator"), word("detail"));
    table.add_row(row(name, &plan["estimated"], &plan["measured"], analyzed));
    let children: Vec<&Value> = plan["children"].as_array().into_iter().flatten().collect();
    // Each worker that an operator runs on.
    for (at, estimated) in plan["estimated"]["nodes"].as_array().into_iter().flatten().enumerate() {
        let bar = if children.is_empty() { " " } else { "│" };
        let name = format!("{}{bar}  @ {}", branch.below, estimated["node"].as_str().unwrap_or_default());
        table.add_row(row(name, estimated, &plan["measured"]["nodes"][at], analyzed));
    }
    for (at, child) in children.iter().enumerate() {
        add_rows(table, child, branch.child(at + 1 == children.len()), analyzed);
    }
}

/// A name with its figures.
fn row(name: String, estimated: &Value, measured: &Value, analyzed: bool) -> Vec<String> {
    let mut row = vec![name.trim_end().to_owned()];
    for figure in FIGURES {
        let shown = if figure == "bytes" { bytes } else { count };
        row.push(shown(&estimated[figure]));
        row.extend(analyzed.then(|| shown(&measured[figure])));
    }
    row.extend(analyzed.then(|| format!("{:.6}", measured["seconds"].as_f64().unwrap_or_default())));
    row
}

fn count(value: &Value) -> String {
    value.as_u64().unwrap_or_default().to_string()
}

/// With a unit once there are more than four digits.
fn bytes(value: &Value) -> String {
    let mut rest = value.as_u64().unwrap_or_default() as f64;
    if rest < 10_000.0 {
        return format!("{rest} B");
    }
    let mut unit = "";
    for next in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        (rest, unit) = (rest / 1024.0, next);
        if rest < 1024.0 {
            break;
        }
    }
    format!("{rest:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn operator(name: &str, children: &[Value]) -> Value {
        let figures = json!({"series": 2, "samples": 20, "bytes": 3 << 20, "seconds": 0.25});
        json!({"operator": name, "detail": "x", "estimated": figures, "measured": figures, "children": children})
    }

    #[test]
    fn a_plan_is_a_tree_whose_columns_are_aligned() {
        let scan = || operator("Scan", &[operator("Read", &[])]);
        let text = table(&operator("Match", &[scan(), scan()])).to_string();
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        let names: Vec<&str> = lines.iter().map(|line| line.split(" x ").next().unwrap().trim()).collect();
        assert_eq!(names[1..], ["Match", "├─ Scan", "│  └─ Read", "└─ Scan", "   └─ Read"].map(str::trim));
        let widths: Vec<usize> = lines.iter().map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "{text}");
        assert!(
            lines[0].ends_with("seconds") && lines[1].ends_with("0.250000") && lines[1].contains("3.0 MiB"),
            "{text}"
        );
    }

    #[test]
    fn workers_have_a_line_each() {
        let mut plan = operator("Scan", &[operator("Read", &[])]);
        let on = |node: &str| json!({"node": node, "series": 1, "samples": 10, "bytes": 1 << 20, "seconds": 0.125});
        plan["estimated"]["nodes"] = json!([on("a"), on("b")]);
        plan["measured"]["nodes"] = json!([on("a"), on("b")]);
        let text = table(&plan).to_string();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert!(lines[2].starts_with("│  @ a") && lines[2].ends_with("0.125000"), "{text}");
        assert!(lines[3].starts_with("│  @ b") && lines[3].contains("1.0 MiB"), "{text}");
        assert!(lines[4].starts_with("└─ Read"), "{text}");
    }

    #[test]
    fn a_plan_that_was_not_run_has_no_measured_columns() {
        let mut plan = operator("Scan", &[]);
        plan.as_object_mut().unwrap().remove("measured");
        let text = table(&plan).to_string();
        assert!(text.contains("est. bytes") && !text.contains("seconds"), "{text}");
    }

    #[test]
    fn bytes_are_short() {
        let shown = [0, 9999, 10_240, 5 << 30].map(|value: u64| bytes(&json!(value)));
        assert_eq!(shown, ["0 B", "9999 B", "10.0 KiB", "5.0 GiB"]);
    }
}
