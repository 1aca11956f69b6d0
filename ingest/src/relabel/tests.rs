//! Rules as users write them, on label sets, with the outcomes that Prometheus has.

use pharos_model::LabelSet;

use super::*;

fn rules(yaml: &str) -> Vec<RelabelConfig> {
    let rules: Vec<RelabelConfig> = serde_saphyr::from_str(yaml).unwrap_or_else(|e| panic!("{yaml}: {e}"));
    for rule in &rules {
        rule.validate(NameValidation::Utf8).unwrap_or_else(|e| panic!("{yaml}: {e}"));
    }
    rules
}

/// Labels as `a=1 b=2`; the outcome is `dropped` when a rule drops the set.
fn check(yaml: &str, input: &str, expected: &str) {
    let pairs = |text: &str| LabelSet::from_pairs(text.split(' ').filter_map(|pair| pair.split_once('=')));
    let mut labels = pairs(input).to_builder();
    let kept = process(&mut labels, &rules(yaml), NameValidation::Utf8);
    let outcome = if kept { labels.build().to_string() } else { "dropped".into() };
    let expected = if expected == "dropped" { expected.to_owned() } else { pairs(expected).to_string() };
    assert_eq!(outcome, expected, "{yaml} on {input}");
}

#[test]
fn replace_writes_what_the_pattern_found() {
    check(
        "[{source_labels: [a], regex: 'f(.*)', target_label: d, replacement: 'ch${1}-ch${1}'}]",
        "a=foo b=bar c=baz",
        "a=foo b=bar c=baz d=choo-choo",
    );
    check(
        "[{source_labels: [a, b], regex: 'f(.*);(.*)r', target_label: a, replacement: 'b${1}${2}m'}, {source_labels: [c, a], regex: '(b).*b(.*)ba(.*)', target_label: d, replacement: $1$2$2$3}]",
        "a=foo b=bar c=baz",
        "a=boobam b=bar c=baz d=boooom",
    );
    check("[{source_labels: [a], regex: '.*(b).*', target_label: d}]", "a=abc", "a=abc d=b");
    check("[{source_labels: [a], regex: f, target_label: b, replacement: bar}]", "a=boo", "a=boo");
    check("[{target_label: b, replacement: static}]", "a=boo", "a=boo b=static");
    check("[{source_labels: [a, b], separator: '@', target_label: c}]", "a=1", "a=1 c=1@");
    check("[{source_labels: [missing], target_label: a}]", "a=1 b=2", "b=2");
    check("[{source_labels: [missing], regex: '(.+)', target_label: a}]", "a=1", "a=1");
}

#[test]
fn replace_may_compute_the_target_and_skips_names_that_are_none() {
    check(
        "[{source_labels: [a], regex: 'some-([^-]+)-([^,]+)', replacement: '${2}', target_label: '${1}'}]",
        "a=some-name-value",
        "a=some-name-value name=value",
    );
    check(
        "[{source_labels: [a], regex: 'some-([^-]+)-([^,]+)', replacement: '${3}', target_label: '${1}'}]",
        "a=some-name-value",
        "a=some-name-value",
    );
    check(
        "[{source_labels: [a], regex: 'some-([^-]+)-([^,]+)', replacement: '${1}', target_label: '${3}'}]",
        "a=some-name-0",
        "a=some-name-0",
    );
    check(
        "[{source_labels: [__meta_sd_tags], regex: '(?:.+,|^)path:(/[^,]+).*', target_label: __metrics_path__, replacement: '${1}'}, {source_labels: [__meta_sd_tags], regex: '(?:.+,|^)label:([^=]+)=([^,]+).*', target_label: '${1}', replacement: '${2}'}]",
        "__meta_sd_tags=path:/secret,job:some-job,label:foo=bar",
        "__meta_sd_tags=path:/secret,job:some-job,label:foo=bar __metrics_path__=/secret foo=bar",
    );
}

#[test]
fn a_computed_legacy_target_that_is_no_identifier_is_skipped() {
    let rule = &rules("[{source_labels: [a], regex: '(.*)', target_label: '${1}'}]");
    let mut labels = LabelSet::from_pairs([("a", "x.y")]).to_builder();
    assert!(process(&mut labels, rule, NameValidation::Legacy));
    assert_eq!(labels.build().len(), 1);
    assert!(process(&mut labels, rule, NameValidation::Utf8));
    assert_eq!(labels.get("x.y"), Some("x.y"));
}

#[test]
fn patterns_match_whole_values_and_newlines() {
    check("[{source_labels: [a], regex: 'f|o', action: drop}]", "a=foo", "a=foo");
    check("[{source_labels: [a], regex: 'f|foo', action: drop}]", "a=foo", "dropped");
    check("[{source_labels: [a], regex: 'x.y', action: drop}]", "a=x\ny", "dropped");
}

#[test]
fn keep_and_drop() {
    check(
        "[{source_labels: [a], regex: '.*o.*', action: drop}, {source_labels: [a], regex: 'f(.*)', target_label: d, replacement: $1}]",
        "a=foo",
        "dropped",
    );
    check("[{source_labels: [a], regex: no-match, action: drop}]", "a=foo", "a=foo");
    check("[{source_labels: [a], regex: no-match, action: keep}]", "a=foo", "dropped");
    check("[{source_labels: [a], regex: 'f.*', action: keep}]", "a=foo", "a=foo");
}

#[test]
fn keepequal_and_dropequal_compare_labels() {
    let labels = "__tmp_port=1234 __port1=1234 __port2=5678";
    check("[{source_labels: [__tmp_port], target_label: __port1, action: keepequal}]", labels, labels);
    check("[{source_labels: [__tmp_port], target_label: __port2, action: keepequal}]", labels, "dropped");
    check("[{source_labels: [__tmp_port], target_label: __port1, action: dropequal}]", labels, "dropped");
    check("[{source_labels: [__tmp_port], target_label: __port2, action: dropequal}]", labels, labels);
}

#[test]
fn hashmod_gives_the_numbers_that_prometheus_gives() {
    check("[{source_labels: [c], target_label: d, action: hashmod, modulus: 1000}]", "c=baz", "c=baz d=976");
    check("[{source_labels: [a], target_label: b, action: hashmod, modulus: 1000}]", "a=foo\nbar", "a=foo\nbar b=734");
}

#[test]
fn labels_are_mapped_and_removed_by_name() {
    check(
        "[{regex: '(b.*)', replacement: 'bar_${1}', action: labelmap}]",
        "a=foo b1=bar b2=baz",
        "a=foo b1=bar b2=baz bar_b1=bar bar_b2=baz",
    );
    check(
        "[{regex: '__meta_(my.*)', replacement: '${1}', action: labelmap}]",
        "a=foo __meta_my_bar=aaa __meta_other=ccc",
        "a=foo __meta_my_bar=aaa __meta_other=ccc my_bar=aaa",
    );
    check("[{regex: '(b.*)', action: labelkeep}]", "a=foo b1=bar b2=baz", "b1=bar b2=baz");
    check("[{regex: '(b.*)', action: labeldrop}]", "a=foo b1=bar b2=baz", "a=foo");
}

#[test]
fn case_is_changed() {
    check(
        "[{source_labels: [foo], action: uppercase, target_label: up}, {source_labels: [foo], action: LowerCase, target_label: low}]",
        "foo=bAr123Foo",
        "foo=bAr123Foo low=bar123foo up=BAR123FOO",
    );
}

#[test]
fn a_rule_refuses_keys_that_its_action_has_no_use_for() {
    for (yaml, expected) in [
        ("{action: replace}", "relabel configuration for replace action requires 'target_label' value"),
        ("{action: lowercase}", "relabel configuration for lowercase action requires 'target_label' value"),
        ("{action: hashmod, target_label: a}", "relabel configuration for hashmod requires non-zero modulus"),
        ("{action: lowercase, target_label: '${3}'}", "\"${3}\" is invalid 'target_label' for lowercase action"),
        ("{target_label: '0${3}'}", "\"0${3}\" is invalid 'target_label' for replace action"),
        ("{target_label: '-${3}'}", "\"-${3}\" is invalid 'target_label' for replace action"),
        ("{target_label: a.b}", "\"a.b\" is invalid 'target_label' for replace action"),
        ("{action: hashmod, modulus: 8, target_label: '8'}", "\"8\" is invalid 'target_label' for hashmod action"),
        ("{action: uppercase, target_label: a, replacement: x}", "'replacement' can not be set for uppercase action"),
        ("{action: labelmap, replacement: '-'}", "\"-\" is invalid 'replacement' for labelmap action"),
        (
            "{action: keepequal, source_labels: [a], target_label: b, regex: x}",
            "keepequal action requires only 'source_labels' and `target_label`, and no other fields",
        ),
        (
            "{action: dropequal, source_labels: [a], target_label: b, separator: x}",
            "dropequal action requires only 'source_labels' and `target_label`, and no other fields",
        ),
        ("{action: labeldrop, source_labels: [a]}", "labeldrop action requires only 'regex', and no other fields"),
        ("{action: labelkeep, target_label: a}", "labelkeep action requires only 'regex', and no other fields"),
    ] {
        let rule: RelabelConfig = serde_saphyr::from_str(yaml).unwrap();
        assert_eq!(rule.validate(NameValidation::Legacy).unwrap_err().to_string(), expected, "{yaml}");
    }
}

#[test]
fn utf8_names_are_valid_unless_the_job_is_legacy() {
    let rule = &rules("[{target_label: a.b, replacement: x}]")[0];
    assert!(rule.validate(NameValidation::Utf8).is_ok());
    assert!(rule.validate(NameValidation::Legacy).is_err());
}

#[test]
fn legacy_target_labels_may_hold_references() {
    for (text, valid) in [
        ("-label", false),
        ("label", true),
        ("label${1}", true),
        ("${1}label", true),
        ("${1}", true),
        ("${", false),
        ("$", false),
        ("${}", false),
        ("foo${", false),
        ("$1", true),
        ("asd$2asd", true),
        ("-foo${1}bar-", false),
        ("bar.foo${1}bar", false),
        ("_${1}_", true),
        ("foo${bar}foo", true),
        ("0${3}", false),
    ] {
        assert_eq!(is_legacy_template(text), valid, "{text}");
    }
}
