use pharos_model::Matcher;
use pharos_promql::{ParserOptions, parse_expr};

use super::hand_over;
use crate::lower::{Settings, lower};
use crate::plan::{Op, Plan, Query};

/// The selectors of a query after the pass, and with names kept to the end.
fn check(text: &str, want: &str) {
    for delayed_names in [false, true] {
        let settings = Settings {
            start_ms: 0,
            end_ms: 0,
            step_ms: None,
            lookback_ms: 300_000,
            subquery_step_ms: 60_000,
            delayed_names,
            type_and_unit_labels: false,
            use_start_timestamps: false,
        };
        let lowered = lower(&parse_expr(text, &ParserOptions::ALL).unwrap(), &settings).unwrap();
        let Query::Rows(plan) = lowered.query else { panic!("{text}") };
        let mut selectors = Vec::new();
        collect(&hand_over(plan), &mut selectors);
        assert_eq!(selectors.join(" "), want, "{text}, delayed names: {delayed_names}");
    }
}

fn collect(plan: &Plan, selectors: &mut Vec<String>) {
    if let Op::Scan(scan) = &plan.op {
        let value = |matcher: &Matcher| format!("{}{}{}", matcher.name, matcher.op.as_str(), matcher.value);
        let (names, others): (Vec<_>, Vec<_>) = scan.selector.matchers.iter().partition(|m| m.name == "__name__");
        let others: Vec<String> = others.into_iter().map(value).collect();
        selectors.push(format!("{}{{{}}}", names[0].value, others.join(",")));
    }
    plan.inputs.iter().for_each(|input| collect(input, selectors));
}

#[test]
fn labels_that_are_matched_on_are_those_of_both_sides() {
    check("a{x=\"1\"} / b{y=~\"2|3\"}", "a{x=1,y=~2|3} b{y=~2|3,x=1}");
    check("a{x=\"1\"} > b", "a{x=1} b{x=1}");
    check("a{x=\"1\"} / ignoring (x) count without (x) (b{y=\"2\"})", "a{x=1,y=2} b{y=2}");
    check("a{x=\"1\", y=\"2\"} * on (x) count by (x) (b)", "a{x=1,y=2} b{x=1}");
    check("a{x=\"1\"} * on (x) group_left (z) count by (x) (b{z=\"3\"})", "a{x=1} b{z=3,x=1}");
    check("count by (x) (b) * on (x) group_right () a{x=\"1\"}", "b{x=1} a{x=1}");
    // Through what changes values only, and from there on.
    check("a{x=\"1\"} / abs(b * count(c))", "a{x=1} b{} c{}");
    check("a{x=\"1\"} / abs(b)", "a{x=1} b{x=1}");
    check("a{x=\"1\"} / b / c", "a{x=1} b{x=1} c{x=1}");
    check("(a / b{x=\"1\"}) and c", "a{x=1} b{x=1} c{x=1}");
}

#[test]
fn sets_take_what_holds_for_the_rows_that_count() {
    check("a{x=\"1\"} and b{y=\"2\"}", "a{x=1,y=2} b{y=2,x=1}");
    check("a{x=\"1\"} and on (y) b{y=\"2\"}", "a{x=1,y=2} b{y=2}");
    check("a{x=\"1\"} unless b{y=\"2\"}", "a{x=1} b{y=2,x=1}");
    check("a{x=\"1\"} or b{y=\"2\"}", "a{x=1} b{y=2}");
    check("(a{x=\"1\"} or b{x=\"1\", y=\"2\"}) and c", "a{x=1} b{x=1,y=2} c{x=1}");
}

#[test]
fn matchers_of_other_labels_stay_where_they_are() {
    check("a{x=\"1\"} and on (y) b", "a{x=1} b{}");
    check("a{x=\"1\"} and ignoring (x) b", "a{x=1} b{}");
    check("label_replace(a{x=\"1\", y=\"2\"}, \"x\", \"z\", \"\", \"\") and b", "a{x=1,y=2} b{y=2}");
    check("sum by (y) (a{x=\"1\", y=\"2\"}) and b", "a{x=1,y=2} b{y=2}");
    check("histogram_quantile(0.5, a{le=\"1\", x=\"1\"}) and b", "a{le=1,x=1} b{x=1}");
    check("count_values(\"x\", a{x=\"1\"}) and b", "a{x=1} b{}");
    // An index has no list of series without a label.
    check("a{x=\"\", y=~\".*\", z!=\"3\"} and b", "a{x=,y=~.*,z!=3} b{}");
}

#[test]
fn what_could_fail_fails_nevertheless() {
    // The right side may have two rows of one group.
    check("a{x=\"1\"} * on (x) b", "a{x=1} b{}");
    check("a{x=\"1\"} * on (x) group_left () b", "a{x=1} b{}");
    check("a{x=\"1\"} * ignoring (y) b", "a{x=1} b{}");
    check("a{x=\"1\"} * on (x) count by (x, y) (b)", "a{x=1} b{}");
    // Neither side: one that becomes empty would hide two rows of the other.
    check("a * on (x) group_left () b{x=\"1\"}", "a{} b{x=1}");
    check("a{x=\"1\"} and label_join(b, \"y\", \"-\", \"z\")", "a{x=1} b{}");
}

#[test]
fn what_may_have_something_to_say_reads_all_its_series() {
    check("a{x=\"1\"} and rate(b[5m])", "a{x=1} b{}");
    check("rate(a[5m]) and b{x=\"1\"}", "a{} b{x=1}");
    check("a{x=\"1\"} and sum by (x) (b)", "a{x=1} b{}");
    check("a{x=\"1\"} and (b > 1)", "a{x=1} b{}");
    check("a{x=\"1\"} and (count by (x) (b) > 1)", "a{x=1} b{x=1}");
    check("a{x=\"1\"} and sum by (x) (changes(b[5m]))", "a{x=1} b{x=1}");
}

#[test]
fn what_is_chosen_among_all_rows_is_chosen_among_all() {
    check("a{x=\"1\"} and topk(1, b)", "a{x=1} b{}");
    check("a{x=\"1\"} and sum by (y) (changes(b[5m]))", "a{x=1} b{}");
    check("a{x=\"1\"} and absent(b)", "a{x=1} b{}");
    check("a{x=\"1\"} / fill (0) b", "a{x=1} b{}");
}
