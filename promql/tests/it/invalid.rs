//! Texts that are no PromQL, and the error shown for each: text and position are Prometheus'.

use pharos_promql::{DEPTH_MAX, NESTING_MAX, ParserOptions, TEXT_BYTES_MAX, parse_expr, parse_metric_selector};

fn check_with(options: ParserOptions, cases: &[(&str, &str)]) {
    for (text, error) in cases {
        match parse_expr(text, &options) {
            Ok(expr) => panic!("{text:?} parsed as {expr:?}, not refused with {error:?}"),
            Err(errors) => assert_eq!(errors.to_string(), *error, "{text:?}"),
        }
    }
}

fn check(cases: &[(&str, &str)]) {
    check_with(ParserOptions::ALL, cases);
}

#[test]
fn incomplete_and_misplaced_words_are_named() {
    check(&[
        ("", "unknown position: parse error: no expression found in input"),
        ("# just a comment\n\n", "1:1: parse error: no expression found in input"),
        ("1+", "1:3: parse error: unexpected end of input"),
        ("1 /", "1:4: parse error: unexpected end of input"),
        ("*1", "1:1: parse error: unexpected <op:*>"),
        ("*test", "1:1: parse error: unexpected <op:*>"),
        ("@@", "1:1: parse error: unexpected <op:@>"),
        ("-=", "1:2: parse error: unexpected \"=\""),
        ("++-++-+-+-<", "1:11: parse error: unexpected <op:<>"),
        ("e-+=/(0)", "1:4: parse error: unexpected \"=\""),
        ("foo bar", "1:5: parse error: unexpected identifier \"bar\""),
        ("foo a:b", "1:5: parse error: unexpected metric identifier \"a:b\""),
        ("foo 5m", "1:5: parse error: unexpected duration \"5m\""),
        ("foo \"x\"", "1:5: parse error: unexpected string \"\\\"x\\\"\""),
        ("foo \"a long string\"", "1:5: parse error: unexpected string \"\\\"a long st\"..."),
        ("foo sum", "1:5: parse error: unexpected <aggr:sum>"),
        ("foo bool bar", "1:5: parse error: unexpected <bool>"),
        ("foo BY bar", "1:5: parse error: unexpected <BY>"),
        ("foo start", "1:5: parse error: unexpected \"start\""),
        ("foo group_left bar", "1:5: parse error: unexpected <group_left>"),
        ("1 = 1", "1:3: parse error: unexpected \"=\""),
        ("foo\n  bar", "2:3: parse error: unexpected identifier \"bar\""),
        ("foo # why\n# not\nbar", "3:1: parse error: unexpected identifier \"bar\""),
        ("fill(1)", "1:5: parse error: unexpected \"(\""),
        ("on(a)", "1:1: parse error: unexpected <on>"),
        ("atan2", "1:1: parse error: unexpected <op:atan2>"),
        ("()", "1:2: parse error: unexpected \")\""),
        ("(foo,bar)", "1:5: parse error: unexpected \",\""),
        (",", "1:1: parse error: unexpected \",\""),
        ("foo{}{}", "1:6: parse error: unexpected \"{\""),
        ("\"a\" \"b\"", "1:5: parse error: unexpected string \"\\\"b\\\"\""),
    ]);
}

#[test]
fn characters_without_meaning_are_shown() {
    check(&[
        (".", "1:1: parse error: unexpected character: '.'"),
        ("}", "1:1: parse error: unexpected character: '}'"),
        ("some}", "1:5: parse error: unexpected character: '}'"),
        ("foo $ bar", "1:5: parse error: unexpected character: '$'"),
        ("foo + \u{7}", "1:7: parse error: unexpected character: '\\a'"),
        ("föö", "1:2: parse error: unexpected character: 'ö'"),
        ("1 !~ 1", "1:3: parse error: unexpected character after '!': '~'"),
        ("1 =~ 1", "1:3: parse error: unexpected character after '=': '~'"),
        ("1 !", "1:3: parse error: unexpected character after '!': '\u{fffd}'"),
        ("(1))", "1:5: parse error: unexpected right parenthesis ')'"),
        ("((1)", "1:5: parse error: unclosed left parenthesis"),
        ("(", "1:2: parse error: unclosed left parenthesis"),
        ("sum(", "1:5: parse error: unclosed left parenthesis"),
        ("sum(rate(", "1:10: parse error: unclosed left parenthesis"),
        ("foo]", "1:4: parse error: unexpected right bracket ']'"),
        ("foo[5m[5m]]", "1:7: parse error: unexpected left bracket '['"),
        ("foo[5m", "1:7: parse error: unclosed left bracket"),
    ]);
}

#[test]
fn numbers_are_refused_with_what_was_read_of_them() {
    let nines = "9".repeat(309);
    let error =
        format!("1:1: parse error: error parsing number: strconv.ParseFloat: parsing \"{nines}\": value out of range");
    check(&[
        ("2.5.", "1:1: parse error: bad number or duration syntax: \"2.5.\""),
        ("100..4", "1:1: parse error: bad number or duration syntax: \"100..\""),
        ("0deadbeef", "1:1: parse error: bad number or duration syntax: \"0de\""),
        ("1e", "1:1: parse error: bad number or duration syntax: \"1e\""),
        ("1e+", "1:1: parse error: bad number or duration syntax: \"1e+\""),
        ("1_", "1:1: parse error: bad number or duration syntax: \"1_\""),
        ("1__0", "1:1: parse error: bad number or duration syntax: \"1__\""),
        ("1e1e1", "1:1: parse error: bad number or duration syntax: \"1e1e\""),
        ("0x1.8", "1:1: parse error: bad number or duration syntax: \"0x1.\""),
        ("1foo", "1:1: parse error: bad number or duration syntax: \"1\""),
        ("5mm", "1:1: parse error: bad number or duration syntax: \"5mm\""),
        ("1e999", "1:1: parse error: error parsing number: strconv.ParseFloat: parsing \"1e999\": value out of range"),
        (&nines, &error),
    ]);
}

#[test]
fn strings_are_refused_with_position() {
    check(&[
        ("`\\``", "1:4: parse error: unterminated raw string"),
        ("\"foo", "1:1: parse error: unterminated quoted string"),
        ("\"a\nb\"", "1:1: parse error: unterminated quoted string"),
        ("\"\\", "1:1: parse error: escape sequence not terminated"),
        ("\"\\c\"", "1:1: parse error: unknown escape sequence U+0063 'c'"),
        ("\"\\'\"", "1:1: parse error: unknown escape sequence U+0027 '''"),
        ("\"\\x.\"", "1:1: parse error: illegal character U+002E '.' in escape sequence"),
        ("\"\\8\"", "1:1: parse error: unknown escape sequence U+0038 '8'"),
        ("\"\\400\"", "1:1: parse error: escape sequence is an invalid Unicode code point"),
        ("\"\\ud800\"", "1:1: parse error: escape sequence is an invalid Unicode code point"),
        ("\"\\U00110000\"", "1:1: parse error: escape sequence is an invalid Unicode code point"),
        ("label_replace(a, `b`, `c\u{fffd}`, `d`, `.*`)", "1:23: parse error: invalid UTF-8 rune"),
        ("sum by (\"foo)(some_metric{})", "1:9: parse error: unterminated quoted string"),
    ]);
}

#[test]
fn matchers_say_what_they_expected() {
    check(&[
        ("{", "1:2: parse error: unexpected end of input inside braces"),
        ("some{", "1:6: parse error: unexpected end of input inside braces"),
        ("some_metric{a=b}", "1:15: parse error: unexpected identifier \"b\" in label matching, expected string"),
        ("some_metric{a:b=\"b\"}", "1:14: parse error: unexpected character inside braces: ':'"),
        ("foo{a*\"b\"}", "1:6: parse error: unexpected character inside braces: '*'"),
        ("foo{a>=\"b\"}", "1:6: parse error: unexpected character inside braces: '>'"),
        ("foo{a!\"b\"}", "1:6: parse error: unexpected character after '!' inside braces: '\"'"),
        ("foo{{", "1:5: parse error: unexpected left brace '{'"),
        ("some_metric{a=\"\u{fffd}\"}", "1:15: parse error: invalid UTF-8 rune"),
        ("foo{gibberish}", "1:14: parse error: unexpected \"}\" in label matching, expected label matching operator"),
        ("foo{1}", "1:5: parse error: unexpected character inside braces: '1'"),
        ("foo{__name__= =}", "1:15: parse error: unexpected \"=\" in label matching, expected string"),
        ("foo{,}", "1:5: parse error: unexpected \",\" in label matching, expected identifier or \"}\""),
        ("foo{a=\"b\",,}", "1:11: parse error: unexpected \",\" in label matching, expected identifier or \"}\""),
        ("foo{__name__ == \"bar\"}", "1:15: parse error: unexpected \"=\" in label matching, expected string"),
        (
            "foo{__name__=\"bar\" lol}",
            "1:20: parse error: unexpected identifier \"lol\" in label matching, expected \",\" or \"}\"",
        ),
        ("foo{\"a\"=}", "1:9: parse error: unexpected \"}\" in label matching, expected string"),
        (
            "foo{\"a\" \"b\"}",
            "1:9: parse error: unexpected string \"\\\"b\\\"\" in label matching, expected \",\" or \"}\"",
        ),
        (
            "{a=\"b\" or c=\"d\"}",
            "1:8: parse error: unexpected identifier \"or\" in label matching, expected \",\" or \"}\"",
        ),
        ("{}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
        ("{x=\"\"}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
        ("{x=~\".*\"}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
        ("{x!~\".+\"}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
        ("{x!=\"a\"}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
        ("foo{__name__=\"bar\"}", "1:1: parse error: metric name must not be set twice: \"foo\" or \"bar\""),
        ("foo{\"bar\"}", "1:1: parse error: metric name must not be set twice: \"foo\" or \"bar\""),
        ("foo{a=\"\\xff\"}", "1:7: parse error: label name or value is not valid UTF-8: \"\\xff\""),
        ("foo{a=~\"(\"}", "1:5: parse error: error parsing regexp: missing closing ): `(`"),
    ]);
}

#[test]
fn brackets_hold_durations_only() {
    let expected = "expected number, duration, step(), or range()";
    check(&[
        ("foo[5mm]", "1:5: parse error: bad number or duration syntax: \"5mm\""),
        ("foo[5m1]", "1:5: parse error: bad number or duration syntax: \"5m1\""),
        ("foo[5m:1m1]", "1:8: parse error: bad number or duration syntax: \"1m1\""),
        ("foo[5y1hs]", "1:5: parse error: unknown unit \"hs\" in duration \"5y1hs\""),
        ("foo[5m1h]", "1:5: parse error: not a valid duration string: \"5m1h\""),
        ("foo[5m1m]", "1:5: parse error: not a valid duration string: \"5m1m\""),
        ("foo[300y]", "1:5: parse error: duration out of range"),
        ("foo[0m]", "1:5: parse error: duration must be greater than 0"),
        ("foo[0]", "1:5: parse error: duration must be greater than 0"),
        ("foo[-1]", "1:5: parse error: duration must be greater than 0"),
        ("foo[5m:0]", "1:8: parse error: duration must be greater than 0"),
        ("foo[9.5e10]", "1:5: parse error: duration out of range"),
        ("foo[1e30]", "1:5: parse error: duration out of range"),
        ("foo[\"5m\"]", "1:5: parse error: unexpected character in duration expression: '\"'"),
        ("foo[a]", "1:5: parse error: unexpected character in duration expression: 'a'"),
        ("foo[mean]", "1:5: parse error: unexpected character in duration expression: 'm'"),
        ("foo[", "1:5: parse error: unexpected end of input in duration expression"),
        ("foo[:5m]", "1:6: parse error: unexpected colon before duration in duration expression"),
        ("foo[5m:5m:5m]", "1:10: parse error: unexpected colon ':'"),
        ("foo[5s s 5s]", "1:8: parse error: unexpected character: 's', expected ':'"),
        ("foo[5s x 5s]", "1:8: parse error: unexpected character: 'x', expected ':'"),
        ("foo[]", &format!("1:5: parse error: unexpected \"]\" in subquery or range selector, {expected}")),
        ("foo[step]", &format!("1:9: parse error: unexpected \"]\" in subquery or range selector, {expected}")),
        ("foo[5m+]", &format!("1:8: parse error: unexpected \"]\" in subquery or range selector, {expected}")),
        ("foo[5m 5m]", "1:8: parse error: unexpected duration \"5m\" in subquery or range, expected \":\" or \"]\""),
        (
            "foo[5m:+]",
            "1:9: parse error: unexpected \"]\" in subquery selector, expected number, duration, step(), range(), or \"]\"",
        ),
        ("foo[5m:5m 5m]", "1:11: parse error: unexpected duration \"5m\" in subquery selector, expected \"]\""),
        ("foo[step()/0d]", "1:11: parse error: division by zero"),
        ("foo[5s/0d]", "1:7: parse error: division by zero"),
        ("foo[5s%0d]", "1:7: parse error: modulo by zero"),
        ("foo offset (4d/0)", "1:15: parse error: division by zero"),
    ]);
}

#[test]
fn modifiers_need_a_selector_and_come_once() {
    let needed = "must be preceded by an instant vector selector or range vector selector or a subquery";
    let timestamp = format!("foo @ {:.6}", i64::MAX as f64);
    let out_of_bounds = format!("1:1: parse error: timestamp out of bounds for @ modifier: {:.6}", i64::MAX as f64);
    check(&[
        ("1 offset 1d", &format!("1:1: parse error: offset modifier {needed}")),
        ("sum(foo) offset 5m", &format!("1:1: parse error: offset modifier {needed}")),
        ("(foo) offset 5m", &format!("1:1: parse error: offset modifier {needed}")),
        ("rate(some_metric[5m]) @ 1234", &format!("1:1: parse error: @ modifier {needed}")),
        ("foo offset 1s offset 2s", "1:1: parse error: offset may not be set multiple times"),
        ("foo @ 1 @ 2", "1:1: parse error: @ <timestamp> may not be set multiple times"),
        ("foo @ start() @ end()", "1:1: parse error: @ <timestamp> may not be set multiple times"),
        ("foo @ +Inf", "1:1: parse error: timestamp out of bounds for @ modifier: +Inf"),
        ("foo @ -Inf", "1:1: parse error: timestamp out of bounds for @ modifier: -Inf"),
        ("foo @ NaN", "1:1: parse error: timestamp out of bounds for @ modifier: NaN"),
        (&timestamp, &out_of_bounds),
        ("foo @ bar", "1:7: parse error: unexpected identifier \"bar\" in @, expected timestamp"),
        ("foo @ start", "1:12: parse error: unexpected end of input in @, expected timestamp"),
        ("foo @ step()", "1:7: parse error: unexpected \"step\" in @, expected timestamp"),
        ("some_metric[5m] @", "1:18: parse error: unexpected end of input in @, expected timestamp"),
        (
            "some_metric[5m] OFFSET",
            "1:23: parse error: unexpected end of input in offset, expected number, duration, step(), or range()",
        ),
        (
            "foo offset bar",
            "1:12: parse error: unexpected identifier \"bar\" in offset, expected number, duration, step(), or range()",
        ),
        (
            "foo offset (5m) + bar",
            "1:19: parse error: unexpected identifier \"bar\" in offset, expected number, duration, step(), or range()",
        ),
        (
            "sum(foo offset)",
            "1:15: parse error: unexpected \")\" in offset, expected number, duration, step(), or range()",
        ),
        ("some_metric[5m] OFFSET 1mm", "1:24: parse error: bad number or duration syntax: \"1mm\""),
        ("foo offset 9.5e10", "1:12: parse error: duration out of range"),
        ("foo offset -9.5e10", "1:13: parse error: duration out of range"),
        ("foo offset 1e300", "1:12: parse error: duration out of range"),
        ("some_metric OFFSET 1m[5m]", "1:22: parse error: no offset modifiers allowed before range"),
        ("some_metric offset step()[5m]", "1:26: parse error: no offset modifiers allowed before range"),
        ("some_metric @ 1234 [5m]", "1:20: parse error: no @ modifiers allowed before range"),
        ("some_metric @ start() [5m]", "1:23: parse error: no @ modifiers allowed before range"),
        ("some_metric @ end()[5m]", "1:20: parse error: no @ modifiers allowed before range"),
        ("(foo + bar)[5m]", "1:12: parse error: ranges only allowed for vector selectors"),
        ("rate(food[1m])[1h] offset 1h", "1:15: parse error: ranges only allowed for vector selectors"),
        ("rate(food[1m])[1h] @ 100", "1:15: parse error: ranges only allowed for vector selectors"),
        ("1[5m] smoothed", "1:2: parse error: ranges only allowed for vector selectors"),
        ("1[5m]", "1:2: parse error: ranges only allowed for vector selectors"),
        ("foo anchored smoothed", "1:1: parse error: anchored and smoothed modifiers cannot be used together"),
        ("foo[5m:1m] anchored", "1:1: parse error: anchored modifier is not supported for subqueries"),
        ("(foo) smoothed", "1:1: parse error: smoothed modifier not implemented"),
    ]);
}

#[test]
fn aggregations_name_themselves_and_their_labels() {
    check(&[
        ("sum without(==)(some_metric)", "1:13: parse error: unexpected <op:==> in grouping opts, expected label"),
        ("sum without(,)(some_metric)", "1:13: parse error: unexpected \",\" in grouping opts, expected label"),
        ("sum without(foo,,)(some_metric)", "1:17: parse error: unexpected \",\" in grouping opts, expected label"),
        ("sum by (1)(foo)", "1:9: parse error: unexpected number \"1\" in grouping opts, expected label"),
        (
            "sum by (a b)(foo)",
            "1:11: parse error: unexpected identifier \"b\" in grouping opts, expected \",\" or \")\"",
        ),
        ("sum by (\"\")(foo)", "1:9: parse error: invalid label name for grouping: \"\""),
        ("sum by (\"\\xff\")(foo)", "1:9: parse error: invalid label name for grouping: \"\\xff\""),
        ("sum some_metric by (test)", "1:5: parse error: unexpected identifier \"some_metric\""),
        (
            "sum (some_metric) by test",
            "1:22: parse error: unexpected identifier \"test\" in grouping opts, expected \"(\"",
        ),
        ("sum () by (test)", "1:1: parse error: no arguments for aggregate expression provided"),
        ("sum by (test) some_metric", "1:15: parse error: unexpected identifier \"some_metric\" in aggregation"),
        ("sum(foo bar)", "1:9: parse error: unexpected identifier \"bar\" in aggregation"),
        ("sum(abs(foo bar))", "1:13: parse error: unexpected identifier \"bar\" in aggregation"),
        ("sum(foo + )", "1:11: parse error: unexpected \")\" in aggregation"),
        ("abs(sum(foo) bar)", "1:14: parse error: unexpected identifier \"bar\""),
        ("MIN keep_common (some_metric)", "1:5: parse error: unexpected identifier \"keep_common\""),
        ("MIN (some_metric) keep_common", "1:19: parse error: unexpected identifier \"keep_common\""),
        ("sum (some_metric) without (test) by (test)", "1:34: parse error: unexpected <by>"),
        ("sum without (test) (some_metric) by (test)", "1:34: parse error: unexpected <by>"),
        (
            "topk(some_metric)",
            "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 2, got 1",
        ),
        (
            "sum(a, b)",
            "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 1, got 2",
        ),
        ("topk(some_metric,)", "1:17: parse error: trailing commas not allowed in function call args"),
        (
            "topk(some_metric, other_metric)",
            "1:6: parse error: expected type scalar in aggregation parameter, got instant vector",
        ),
        (
            "count_values(5, other_metric)",
            "1:14: parse error: expected type string in aggregation parameter, got scalar",
        ),
        ("sum(1)", "1:5: parse error: expected type instant vector in aggregation expression, got scalar"),
        ("sum(foo[5m])", "1:5: parse error: expected type instant vector in aggregation expression, got range vector"),
    ]);
}

#[test]
fn calls_are_checked_for_name_number_and_types() {
    check(&[
        ("floor()", "1:1: parse error: expected 1 argument(s) in call to \"floor\", got 0"),
        ("floor(some_metric, other_metric)", "1:1: parse error: expected 1 argument(s) in call to \"floor\", got 2"),
        ("floor(some_metric, 1)", "1:1: parse error: expected 1 argument(s) in call to \"floor\", got 2"),
        ("floor(1)", "1:7: parse error: expected type instant vector in call to function \"floor\", got scalar"),
        (
            "hour(some_metric, some_metric, some_metric)",
            "1:1: parse error: expected at most 1 argument(s) in call to \"hour\", got 3",
        ),
        ("time(some_metric)", "1:1: parse error: expected 0 argument(s) in call to \"time\", got 1"),
        ("label_join(a, \"b\")", "1:1: parse error: expected at least 3 argument(s) in call to \"label_join\", got 2"),
        ("round()", "1:1: parse error: expected at least 1 argument(s) in call to \"round\", got 0"),
        (
            "label_join(a, \"b\", \"c\", \"d\", 1)",
            "1:30: parse error: expected type string in call to function \"label_join\", got scalar",
        ),
        (
            "non_existent_function_far_bar()",
            "1:1: parse error: unknown function with name \"non_existent_function_far_bar\"",
        ),
        ("a>b()", "1:3: parse error: unknown function with name \"b\""),
        ("integral(foo[5m])", "1:1: parse error: unknown function with name \"integral\""),
        ("Rate(foo[5m])", "1:1: parse error: unknown function with name \"Rate\""),
        (
            "rate(some_metric)",
            "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector",
        ),
        ("rate(avg)", "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector"),
        ("rate(foo[5m],)", "1:13: parse error: trailing commas not allowed in function call args"),
        ("rate(foo[5m],,)", "1:13: parse error: trailing commas not allowed in function call args"),
        ("rate(,)", "1:6: parse error: unexpected \",\""),
        ("abs(foo", "1:8: parse error: unclosed left parenthesis"),
        (
            "info(rate(http_request_counter_total{}[5m]), target_info{foo=\"bar\"})",
            "1:46: parse error: expected label selectors only, got vector selector instead",
        ),
        (
            "info(http_request_counter_total{namespace=\"zzz\"}, {foo=\"bar\"} == 1)",
            "1:51: parse error: expected label selectors only",
        ),
        ("info(foo, 1)", "1:1: parse error: expected type instant vector in call to function \"info\", got scalar"),
    ]);
}

#[test]
fn operators_are_checked_for_types_and_matching() {
    check(&[
        ("1 and 1", "1:1: parse error: set operator \"and\" not allowed in binary scalar expression"),
        ("1 or 1", "1:1: parse error: set operator \"or\" not allowed in binary scalar expression"),
        ("1 unless 1", "1:1: parse error: set operator \"unless\" not allowed in binary scalar expression"),
        ("foo and 1", "1:1: parse error: set operator \"and\" not allowed in binary scalar expression"),
        ("1 and foo", "1:1: parse error: set operator \"and\" not allowed in binary scalar expression"),
        ("1 == 1", "1:3: parse error: comparisons between scalars must use BOOL modifier"),
        ("1 or on(bar) foo", "1:1: parse error: vector matching only allowed between instant vectors"),
        ("foo == on(bar) 10", "1:1: parse error: vector matching only allowed between instant vectors"),
        ("foo + group_left(baz) bar", "1:7: parse error: unexpected <group_left>"),
        ("a - on(b) ignoring(c) d", "1:11: parse error: unexpected <ignoring>"),
        ("foo and on(bar) group_left(baz) bar", "1:1: parse error: no grouping allowed for \"and\" operation"),
        ("foo or on(bar) group_right(baz) bar", "1:1: parse error: no grouping allowed for \"or\" operation"),
        ("foo unless on(bar) group_left(baz) bar", "1:1: parse error: no grouping allowed for \"unless\" operation"),
        (
            "http_requests{group=\"production\"} + on(instance) group_left(job,instance) cpu_count{type=\"smp\"}",
            "1:35: parse error: label \"instance\" must not occur in ON and GROUP clause at once",
        ),
        ("foo + bool bar", "1:5: parse error: bool modifier can only be used on comparison operators"),
        ("foo + bool 10", "1:5: parse error: bool modifier can only be used on comparison operators"),
        ("foo and bool 10", "1:5: parse error: bool modifier can only be used on comparison operators"),
        (
            "-\"string\"",
            "1:1: parse error: unary expression only allowed on expressions of type scalar or instant vector, got \"string\"",
        ),
        (
            "-test[5m]",
            "1:1: parse error: unary expression only allowed on expressions of type scalar or instant vector, got \"range vector\"",
        ),
        ("foo + \"x\"", "1:7: parse error: binary expression must contain only scalar and instant vector types"),
        ("foo[5m] + 1", "1:1: parse error: binary expression must contain only scalar and instant vector types"),
        (
            "test[5d] OFFSET 10s [10m:5s]",
            "1:1: parse error: subquery is only allowed on instant vector, got matrix instead",
        ),
        (
            "(foo + bar{nm=\"val\"})[5m:][10m:5s]",
            "1:1: parse error: subquery is only allowed on instant vector, got matrix instead",
        ),
        ("1[5m:]", "1:1: parse error: subquery is only allowed on instant vector, got scalar instead"),
        ("foo + fill(1) 2", "1:1: parse error: filling in missing series only allowed between instant vectors"),
        ("foo or fill(1) bar", "1:1: parse error: filling in missing series not allowed for set operators"),
        ("foo + fill(a) bar", "1:12: parse error: unexpected identifier \"a\""),
        ("foo + fill(1) fill_left(2) bar", "1:24: parse error: unexpected \"(\""),
        ("foo + fill_left(1) fill_left(2) bar", "1:29: parse error: unexpected \"(\""),
        ("foo + on bar", "1:10: parse error: unexpected identifier \"bar\" in grouping opts, expected \"(\""),
    ]);
}

#[test]
fn what_is_experimental_is_refused_unless_switched_on() {
    check_with(
        ParserOptions::NONE,
        &[
            ("mad_over_time(x[5m])", "1:1: parse error: function \"mad_over_time\" is not enabled"),
            ("sum(ts_of_last_over_time(x[5m]))", "1:5: parse error: function \"ts_of_last_over_time\" is not enabled"),
            ("start()", "1:1: parse error: function \"start\" is not enabled"),
            ("1 + step()", "1:5: parse error: function \"step\" is not enabled"),
            (
                "limitk(1, x)",
                "1:1: parse error: limitk() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
            ),
            (
                "limit_ratio(0.5, x)",
                "1:1: parse error: limit_ratio() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
            ),
            ("x + a + fill(0) b", "1:1: parse error: binop fill modifiers are experimental and not enabled"),
            (
                "x + (a + on(x) fill_left(1) b)",
                "1:6: parse error: binop fill modifiers are experimental and not enabled",
            ),
            ("foo anchored", "1:1: parse error: anchored modifier is experimental and not enabled"),
            ("rate(foo[5m] smoothed)", "1:6: parse error: smoothed modifier is experimental and not enabled"),
            ("foo[5m+1m]", "1:5: parse error: experimental duration expression is not enabled"),
            ("foo[(5m)]", "1:6: parse error: experimental duration expression is not enabled"),
            ("foo[step()]", "1:5: parse error: experimental duration expression is not enabled"),
            ("foo offset range()", "1:12: parse error: experimental duration expression is not enabled"),
            ("foo offset -min_of(5s, 1m)", "1:13: parse error: experimental duration expression is not enabled"),
        ],
    );
}

#[test]
fn type_errors_are_all_reported_and_the_first_is_shown() {
    let errors = parse_expr("rate(foo) + sum(1)", &ParserOptions::ALL).unwrap_err();
    let positions: Vec<_> = errors.iter().map(|error| error.position.as_str()).collect();
    assert_eq!(positions, ["1:6", "1:17"]);
    assert_eq!(errors.to_string(), errors.first().to_string());
}

#[test]
fn depth_and_length_are_bounded() {
    let nested = format!("expression is nested more than {NESTING_MAX} levels deep");
    let deep = format!("expression has more than {DEPTH_MAX} levels");
    let many = 10_000;
    for text in [
        format!("{}1{}", "(".repeat(many), ")".repeat(many)),
        format!("{}foo", "-".repeat(many)),
        format!("{}foo{}", "abs(".repeat(many), ")".repeat(many)),
        format!("foo{}", " + foo".repeat(many)),
        format!("foo{}", " ^ foo".repeat(many)),
        format!("foo{}", "[1m:]".repeat(many)),
        format!("foo[{}1{}]", "(".repeat(many), ")".repeat(many)),
        format!("foo[1{}]", "+1".repeat(many)),
        format!("foo[{}1]", "-".repeat(many)),
        "(".repeat(many),
    ] {
        let error = parse_expr(&text, &ParserOptions::ALL).unwrap_err().to_string();
        assert!(error.ends_with(&nested) || error.ends_with(&deep), "{text:.20}: {error}");
    }
    let wide = format!("foo{{a=\"{}\"}}", "x".repeat(TEXT_BYTES_MAX));
    let error = parse_expr(&wide, &ParserOptions::ALL).unwrap_err().to_string();
    assert_eq!(error, format!("1:1: parse error: text is {} bytes long, the limit is {TEXT_BYTES_MAX}", wide.len()));
}

#[test]
fn the_deepest_expressions_fit_half_the_stack_of_a_thread() {
    let repeat = |open: &str, inner: &str, close: &str, levels: usize| {
        format!("{}{inner}{}", open.repeat(levels), close.repeat(levels))
    };
    // What is innermost nests a few levels more.
    let inner = NESTING_MAX - 3;
    let texts = [
        repeat("(", "1", ")", inner),
        repeat("-", "foo", "", inner),
        repeat("sum by (a) (", "foo", ")", inner),
        repeat("clamp(", "foo", ", 1, (2))", inner),
        repeat("avg_over_time(", "foo", "[5m:])", inner),
        repeat("topk(min_of(1, scalar(", "foo", ")), foo)", inner / 3),
        repeat("", "foo", " + on (a) foo", DEPTH_MAX - 1),
        repeat("foo ^ ", "foo", "", inner),
        format!("foo[{}]", repeat("(", "1", ")", inner)),
        format!("foo[{}]", repeat("", "1", " + 1", DEPTH_MAX - 1)),
        format!("foo offset {}", repeat("-", "step()", "", inner)),
    ];
    let half = 1 << 20;
    let walk = move || {
        for text in texts {
            let expr = parse_expr(&text, &ParserOptions::ALL).unwrap_or_else(|error| panic!("{text}: {error}"));
            let printed = expr.to_string();
            assert_eq!(parse_expr(&printed, &ParserOptions::ALL).as_ref(), Ok(&expr));
            assert!(!expr.clone().pretty().is_empty() && !expr.to_json().is_null());
        }
    };
    let thread = std::thread::Builder::new().stack_size(half).spawn(walk).expect("a thread can be started");
    thread.join().expect("nothing overflows");
}

#[test]
fn selectors_of_the_api_are_selectors_and_nothing_else() {
    let parse = |text| {
        parse_metric_selector(text, &ParserOptions::default())
            .map(|matchers| matchers.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
            .map_err(|error| error.to_string())
    };
    assert_eq!(parse("up{job=\"x\"}"), Ok("job=\"x\",__name__=\"up\"".into()));
    assert_eq!(parse("{\"up\"}"), Ok("__name__=\"up\"".into()));
    assert_eq!(parse("{}"), Ok(String::new()));
    assert_eq!(parse("{a=~\".*\"}"), Ok("a=~\".*\"".into()));
    for (text, error) in [
        ("up offset 5m", "1:4: parse error: unexpected <offset>"),
        ("rate(up[5m])", "1:5: parse error: unexpected \"(\""),
        ("1", "1:1: parse error: unexpected number \"1\""),
        ("", "unknown position: parse error: unexpected end of input"),
    ] {
        assert_eq!(parse(text), Err(error.into()), "{text:?}");
    }
}
