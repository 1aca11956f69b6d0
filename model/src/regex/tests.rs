use proptest::prelude::*;

use super::*;

/// Asserts which values a pattern takes.
fn check(pattern: &str, takes: &[&str], refuses: &[&str]) {
    let regex = LabelRegex::new(pattern).unwrap_or_else(|e| panic!("{pattern}: {e}"));
    for value in takes {
        assert!(regex.is_match(value), "{pattern} takes {value:?}");
        assert!(regex.engine().is_match(value), "the engine of {pattern} takes {value:?}");
    }
    for value in refuses {
        assert!(!regex.is_match(value), "{pattern} refuses {value:?}");
        assert!(!regex.engine().is_match(value), "the engine of {pattern} refuses {value:?}");
    }
}

#[test]
fn patterns_are_anchored_and_dot_takes_newlines() {
    check("a.c", &["abc", "a\nc", "aäc"], &["abcd", "xabc", "ac", ""]);
    check("", &[""], &["a", "\n"]);
    check(".*", &["", "a\nb"], &[]);
    check(".+", &["a", "\n"], &[""]);
    check("a|b", &["a", "b"], &["ab", "", "ax", "xb"]);
    check("foo$", &["foo"], &["foo\n", "foox"]);
    check("^foo", &["foo"], &["\nfoo"]);
    check("^(?:a|b)$|^c$", &["a", "b", "c"], &["ab"]);
    check("a^b", &[], &["ab", "a^b", "a\nb"]);
}

#[test]
fn perl_classes_and_boundaries_are_ascii() {
    check(r"\d", &["0", "9"], &["\u{663}", "a"]);
    check(r"\w", &["a", "Z", "_", "5"], &["ä", "-"]);
    check(r"\W", &["ä", "-"], &["a"]);
    check(r"\s", &["\t", "\n", "\x0c", "\r", " "], &["\x0b", "\u{a0}"]);
    check(r"\S", &["\x0b", "\u{a0}"], &[" "]);
    check(r"\D+", &["ab"], &["a1"]);
    check(r"a\b.*", &["a", "a b", "aä"], &["ab"]);
    check(r"a\B.*", &["ab"], &["a", "a b", "aä"]);
    check(r"\bä\b", &[], &["ä"]);
    check(r"(?i)\w", &["ſ", "\u{212a}"], &["ä"]);
    check(r"(?i)\W", &["ä"], &["ſ", "\u{212a}", "k"]);
}

#[test]
fn brackets_know_no_set_operations() {
    check("[a&&b]", &["a", "&", "b"], &["c"]);
    check("[a~~b]", &["a", "~", "b"], &["c"]);
    check("[[a]", &["[", "a"], &["]"]);
    check("[[a]]", &["[]", "a]"], &["a", "["]);
    check("[]a]", &["]", "a"], &["[", ""]);
    check("[^]a]", &["b"], &["]", "a"]);
    check("[a-]", &["a", "-"], &["b"]);
    check("[-a]", &["a", "-"], &["b"]);
    check("[a-c-e]", &["a", "b", "c", "-", "e"], &["d"]);
    check("[^a]", &["\n", "b", "ä"], &["a"]);
    check(r"[\d\-x]", &["3", "-", "x"], &["d"]);
    check(r"[^\d]", &["a"], &["3"]);
    check(r"[\]]", &["]"], &["\\"]);
    check("[ -~]", &["a", " ", "~"], &["\n"]);
    check("(?i)[k]", &["k", "K", "\u{212a}"], &["x"]);
    check("(?i)[^k]", &["x"], &["k", "K", "\u{212a}"]);
}

#[test]
fn posix_classes_stand_in_brackets() {
    check("[[:alpha:]]", &["a", "Z"], &["1", "ä", ":"]);
    check("[[:^alpha:]]", &["1", "ä"], &["a"]);
    check("[[:digit:]a]", &["1", "a"], &["b"]);
    check("[[:space:]]", &["\x0b", " "], &["a"]);
    check("[[:word:]]", &["_", "a", "1"], &["-"]);
    check("[[:punct:]]", &["!", "`", "~", "["], &["a"]);
    check("[[:xdigit:]]+", &["deadBEEF09"], &["g"]);
    check("[[:ascii:][:^ascii:]]", &["a", "ä"], &[""]);
    check("[:alpha:]", &["a", ":", "l"], &["b"]);
    check("(?i)[[:upper:]]", &["a", "A", "ſ"], &["1"]);
}

#[test]
fn unicode_classes_are_categories_and_scripts() {
    check(r"\pN", &["1", "\u{663}", "½"], &["a"]);
    check(r"\PN", &["a"], &["1"]);
    check(r"\p{Greek}", &["α"], &["a"]);
    check(r"\p{^Greek}", &["a"], &["α"]);
    check(r"\P{^Greek}", &["α"], &["a"]);
    check(r"\p{Lu}", &["A", "Ä"], &["a"]);
    check(r"(?i)\p{Lu}", &["A", "a"], &["1"]);
    check(r"(?i)\P{Lu}", &["1"], &["A", "a"]);
    check(r"[\p{Latin}\d]+", &["ab1"], &["α"]);
    check(r"\p{Any}", &["a", "\n", "😀"], &[""]);
}

#[test]
fn escapes_stand_for_characters() {
    check(r"\a\f\n\r\t\v", &["\x07\x0c\n\r\t\x0b"], &[]);
    check(r"\x41\x{1F600}\101\0\60", &["A😀A\x000"], &[]);
    check(r"\07\1234", &["\x07S4"], &[]);
    check(r"\xff", &["ÿ"], &[]);
    check(r"\.\*\_\-\/\'\%\@", &[".*_-/'%@"], &[]);
    check(r"\Qa.b*\E+", &["a.b*", "a.b**"], &["axb"]);
    check(r"\Qa.b", &["a.b"], &["axb"]);
    check(r"\Aab\z", &["ab"], &["b"]);
    check(r"\x{d800}", &[], &["\u{d7ff}", "\u{e000}", ""]);
    check(r"[\x{d000}-\x{e000}]", &["\u{d000}", "\u{d7ff}", "\u{e000}"], &["\u{cfff}", "\u{e001}"]);
}

#[test]
fn flags_reach_to_the_end_of_their_group() {
    check("(?i)aB", &["ab", "AB"], &["ac"]);
    check("(?i:a)b", &["ab", "Ab"], &["aB"]);
    check("a(?i)b|c", &["ab", "aB", "c", "C"], &["Ab"]);
    check("(a(?i)b)c", &["aBc"], &["aBC"]);
    check("(?i)a(?-i)b", &["Ab"], &["AB"]);
    check("(?-s)a.", &["ab"], &["a\n"]);
    check("(?-s:.)x.", &["ax\n"], &["\nxa"]);
    check("(?m)a$.^b", &["a\nb"], &["axb", "ab"]);
    check("(?s-i)a.", &["a\n"], &["A\n"]);
    check("(?)a", &["a"], &[""]);
    check("(?is-mU:A.)", &["a\n"], &["b\n"]);
}

#[test]
fn repetitions_count_as_in_re2() {
    check("a{2}", &["aa"], &["a", "aaa"]);
    check("a{2,}", &["aa", "aaaa"], &["a"]);
    check("a{1,2}", &["a", "aa"], &["", "aaa"]);
    check("a{0}", &[""], &["a"]);
    check("a{,2}", &["a{,2}"], &["a", "aa"]);
    check("a{", &["a{"], &["a"]);
    check("a{1", &["a{1"], &["a"]);
    check("a{1,x}", &["a{1,x}"], &["a"]);
    check("a{01}", &["a{01}"], &["a"]);
    check("(?:ab){2}", &["abab"], &["abb"]);
    check("ab{2}", &["abb"], &["abab"]);
    check("a*?b+?c??", &["b", "aabbc"], &["ac"]);
    check("(a|)*", &["", "aaa"], &["b"]);
    check("(?:)*", &[""], &["a"]);
    check("^*a", &["a"], &[""]);
    check("a{1000}", &["a".repeat(1000).as_str()], &["a"]);
    check("(a{10}){100}", &["a".repeat(1000).as_str()], &["a"]);
    check("(?:a{2}){0}", &[""], &["aa"]);
}

#[test]
fn refusals_read_as_in_go() {
    for (pattern, text) in [
        ("[a", "missing closing ]: `[a`"),
        ("x[a-", "missing closing ]: `[a-`"),
        ("[]", "missing closing ]: `[]`"),
        ("[^]", "missing closing ]: `[^]`"),
        ("(a", "missing closing ): `(a`"),
        ("a(b(c)", "missing closing ): `a(b(c)`"),
        ("a)", "unexpected ): `a)`"),
        ("a)b(c", "unexpected ): `a)b(c`"),
        (")", "unexpected ): `)`"),
        ("*", "missing argument to repetition operator: `*`"),
        ("*?a", "missing argument to repetition operator: `*?`"),
        ("a|+b", "missing argument to repetition operator: `+`"),
        ("(?i)?", "missing argument to repetition operator: `?`"),
        ("{1}", "missing argument to repetition operator: `{1}`"),
        ("({2,3}a)", "missing argument to repetition operator: `{2,3}`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("a*?*b", "invalid nested repetition operator: `*?*`"),
        ("a{2}{3}", "invalid nested repetition operator: `{2}{3}`"),
        ("a+*?", "invalid nested repetition operator: `+*?`"),
        ("a{1001}", "invalid repeat count: `{1001}`"),
        ("a{1,1001}", "invalid repeat count: `{1,1001}`"),
        ("a{2,1}", "invalid repeat count: `{2,1}`"),
        ("a{99999999999999999999}", "invalid repeat count: `{99999999999999999999}`"),
        ("(a{100}){11}", "invalid repeat count: `{11}`"),
        ("((a{10}b{3}){10}){11}?", "invalid repeat count: `{11}?`"),
        ("[b-a]", "invalid character class range: `b-a`"),
        ("[a--b]", "invalid character class range: `a--`"),
        (r"[\x{20}-\x{10}]", r"invalid character class range: `\x{20}-\x{10}`"),
        ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
        (r"\pX", r"invalid character class range: `\pX`"),
        (r"\p", r"invalid character class range: `\p`"),
        (r"\p{Foo}x", r"invalid character class range: `\p{Foo}`"),
        (r"\p{Alphabetic}", r"invalid character class range: `\p{Alphabetic}`"),
        (r"\p{sc=Greek}", r"invalid character class range: `\p{sc=Greek}`"),
        (r"\p{Greek", r"invalid character class range: `\p{Greek`"),
        (r"a\", "trailing backslash at end of expression: ``"),
        (r"[a\", "trailing backslash at end of expression: ``"),
        (r"\q", r"invalid escape sequence: `\q`"),
        (r"\C", r"invalid escape sequence: `\C`"),
        (r"\Z", r"invalid escape sequence: `\Z`"),
        (r"(a)\1", r"invalid escape sequence: `\1`"),
        (r"\18", r"invalid escape sequence: `\1`"),
        (r"\8", r"invalid escape sequence: `\8`"),
        (r"\ä", r"invalid escape sequence: `\ä`"),
        (r"[\b]", r"invalid escape sequence: `\b`"),
        (r"\x", r"invalid escape sequence: `\x`"),
        (r"\x1", r"invalid escape sequence: `\x1`"),
        (r"\xg1", r"invalid escape sequence: `\xg1`"),
        (r"\x{}", r"invalid escape sequence: `\x{}`"),
        (r"\x{1g}", r"invalid escape sequence: `\x{1g`"),
        (r"\x{110000}", r"invalid escape sequence: `\x{110000`"),
        ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        ("(?!a)", "invalid or unsupported Perl syntax: `(?!`"),
        ("(?#c)", "invalid or unsupported Perl syntax: `(?#`"),
        ("(?P=n)", "invalid or unsupported Perl syntax: `(?P`"),
        ("(?x)a", "invalid or unsupported Perl syntax: `(?x`"),
        ("(?i", "invalid or unsupported Perl syntax: `(?i`"),
        ("(?i-)", "invalid or unsupported Perl syntax: `(?i-)`"),
        ("(?--i)", "invalid or unsupported Perl syntax: `(?--`"),
        ("(?>a)", "invalid or unsupported Perl syntax: `(?>`"),
        ("(?<=a)b", "invalid named capture: `(?<=a)b`"),
        ("(?P<n", "invalid named capture: `(?P<n`"),
        ("(?P<n-m>a)", "invalid named capture: `(?P<n-m>`"),
        ("(?<>a)", "invalid named capture: `(?<>`"),
    ] {
        let error = LabelRegex::new(pattern).expect_err(pattern).to_string();
        assert_eq!(error, format!("error parsing regexp: {text}"), "{pattern}");
    }
}

#[test]
fn what_would_take_too_much_memory_is_refused() {
    let refused = |pattern: &str, start: &str| {
        let error = LabelRegex::new(pattern).expect_err("too large").to_string();
        assert!(error.starts_with(&format!("error parsing regexp: {start}")), "{}", &error[..error.len().min(200)]);
    };
    refused(&"a".repeat(PATTERN_BYTES_MAX + 1), "expression too large: 131073 bytes, the limit is 131072");
    refused(&format!("{}a{}", "(".repeat(1000), ")".repeat(1000)), "expression nests too deeply: `((((");
    refused(&format!("{}a{}", "(?:".repeat(400), "*|b)".repeat(400)), "expression nests too deeply");
    refused(&r"\pL".repeat(10_000), "expression too large");
    refused(r"(\pL{1000}|\pN{1000})", "expression too large");
}

#[test]
fn the_deepest_allowed_nesting_compiles() {
    let groups = parser::NESTING_MAX as usize - 1;
    check(&format!("{}[a-z]{}", "(".repeat(groups), ")".repeat(groups)), &["x"], &["X"]);
    check(&format!("{}a{}", "(".repeat(50), "*|b)".repeat(50)), &["", "aaa", "b"], &["c"]);
}

#[test]
fn the_longest_list_of_literals_compiles_when_captures_are_asked_for() {
    let words: Vec<String> = (0..PATTERN_BYTES_MAX / 9).map(|i| format!("w{i:07}")).collect();
    let regex = LabelRegex::new(&words.join("|")).unwrap();
    assert_eq!(regex.literal_set().map(<[String]>::len), Some(words.len()));
    assert!(regex.is_match("w0000123") && !regex.is_match("w"));
    assert_eq!(regex.captures("w0000123").unwrap().expand("$0!"), "w0000123!");
}

#[test]
fn small_languages_are_known_as_sets() {
    for (pattern, set) in [
        ("", &[""][..]),
        ("foo", &["foo"]),
        ("a|b|c", &["a", "b", "c"]),
        ("(a|b)c?", &["a", "ac", "b", "bc"]),
        ("foo(?:1|2|)", &["foo", "foo1", "foo2"]),
        ("[ab][cd]", &["ac", "ad", "bc", "bd"]),
        ("b|a|b", &["a", "b"]),
        (r"a\.b|\Qx|y\E", &["a.b", "x|y"]),
        ("^(a|b)$", &["a", "b"]),
        ("(?i)x1", &["X1", "x1"]),
        ("|a", &["", "a"]),
        ("a{1}", &["a"]),
        (r"\x{d800}", &[]),
    ] {
        let regex = LabelRegex::new(pattern).unwrap();
        assert_eq!(
            regex.literal_set().map(|set| set.iter().map(String::as_str).collect()),
            Some(set.to_vec()),
            "{pattern}"
        );
    }
    for pattern in ["a.*", "a+", "a.b", "[a-z][a-z]", r"\d{3}", "(?i)abcdefghij", r"a\b", "a{2}"] {
        assert_eq!(LabelRegex::new(pattern).unwrap().literal_set(), None, "{pattern}");
    }
}

#[test]
fn prefixes_are_common_to_all_matches() {
    for (pattern, prefix) in [
        ("foo.*", "foo"),
        ("foo", "foo"),
        ("(foo|fob).+", "fo"),
        ("(?:fööbar|fööx)", "föö"),
        ("a|b", ""),
        ("ab+c", "ab"),
        ("ab*c", "a"),
        ("(ab){2}", "ab"),
        ("^foo[0-9]", "foo"),
        (".*foo", ""),
        ("(?i)foo", ""),
        ("foo|", ""),
        ("foo|foobar.*", "foo"),
    ] {
        assert_eq!(LabelRegex::new(pattern).unwrap().prefix(), prefix, "{pattern}");
    }
}

#[test]
fn simple_patterns_need_no_engine() {
    for pattern in [
        ".*",
        ".+",
        "foo.*",
        ".*foo",
        ".*foo.*",
        "foo.+bar",
        "a.*b.*c",
        "foo.*|.*bar|baz",
        "(foo.*)",
        "^foo.*$",
        ".+.+",
        r"x[\s\S]*",
    ] {
        assert!(matches!(LabelRegex::new(pattern).unwrap().0.shape, Shape::AnyOf(_)), "{pattern}");
    }
    for pattern in ["(?-s)foo.*", "fo+.*", "foo.", "foo.*?[ab]", "a.{2,3}", r"foo.*\d"] {
        assert!(matches!(LabelRegex::new(pattern).unwrap().0.shape, Shape::Engine), "{pattern}");
    }
    check("a.*b.*b", &["abb", "a-b-b", "abbb"], &["ab", "abba"]);
    check("a.+a", &["aaa", "aäa"], &["aa", "a"]);
    check(".+a.+", &["bab", "aaa"], &["ab", "ba", "a"]);
    check(".+.+", &["ab", "äö"], &["a", "ä", ""]);
    check(".*aab.*", &["aaab", "aab"], &["aba"]);
    check(".*aa", &["aa", "aaa"], &["a", "aab"]);
}

#[test]
fn templates_follow_go() {
    let expand = |pattern: &str, value: &str, template: &str| {
        LabelRegex::new(pattern).unwrap().captures(value).map(|captures| captures.expand(template))
    };
    for (pattern, value, template, result) in [
        ("(.*):(.*)", "a:b", "$2-$1", "b-a"),
        ("(.*)", "a", "x$1y", "x"),
        ("(.*)", "a", "x${1}y", "xay"),
        ("(.*)", "a", "$$1", "$1"),
        ("(.*)", "a", "$", "$"),
        ("(.*)", "a", "$-${", "$-${"),
        ("(.*)", "a", "${1", "${1"),
        ("(.*)", "a", "${}", "${}"),
        ("(.*)", "a", "$2", ""),
        ("(.*)", "a", "$01", ""),
        ("(.*)", "a", "$99999999999999999999", ""),
        ("(?P<n>a)(?<m>b)", "ab", "$m$n${n}x", "baax"),
        ("(?P<n>a)", "a", "$nn", ""),
        ("(?P<n>a)|(?P<n>b)", "b", "<$n>", "<b>"),
        ("(?P<1x>a)", "a", "$1x", "a"),
        ("(a)|(b)", "b", "<$1$2$0>", "<bb>"),
        ("(a|ab)(c|bcd)(d*)", "abcd", "$1,$2,$3", "a,bcd,"),
        ("(?U)(a+)(a*)", "aaa", "$1,$2", "a,aa"),
        ("(a+?)(a*)", "aaa", "$1,$2", "a,aa"),
    ] {
        assert_eq!(expand(pattern, value, template).as_deref(), Some(result), "{pattern} {template}");
    }
    assert_eq!(expand("a", "b", "x"), None);
}

/// Patterns of the part of the dialect that both engines read alike, after a `(?s)`.
fn shared_dialect() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        4 => "[abc]{1,3}",
        2 => Just(".*".to_owned()),
        1 => Just(".+".to_owned()),
        1 => Just(".".to_owned()),
        1 => Just("[ab]".to_owned()),
        1 => Just("[^a]".to_owned()),
        1 => Just("(?i:b)".to_owned()),
        1 => Just("^".to_owned()),
        1 => Just("$".to_owned()),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            3 => prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| parts.concat()),
            3 => prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| format!("({})", parts.join("|"))),
            1 => inner.clone().prop_map(|part| format!("(?:{part})?")),
            1 => inner.clone().prop_map(|part| format!("(?:{part})*")),
            1 => inner.prop_map(|part| format!("(?:{part}){{1,2}}")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn fast_paths_and_translation_agree_with_the_plain_engine(
        pattern in shared_dialect(),
        values in prop::collection::vec("[abcB\n]{0,6}", 1..12),
    ) {
        let ours = LabelRegex::new(&pattern).unwrap();
        let plain = regex::Regex::new(&format!(r"\A(?s:{pattern})\z")).unwrap();
        for value in &values {
            prop_assert_eq!(ours.is_match(value), plain.is_match(value), "{} on {:?}", pattern, value);
            if plain.is_match(value) {
                prop_assert!(value.starts_with(ours.prefix()));
                prop_assert!(ours.literal_set().is_none_or(|set| set.contains(value)));
            }
        }
        for literal in ours.literal_set().unwrap_or_default() {
            prop_assert!(plain.is_match(literal), "{} takes {:?}", pattern, literal);
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(pattern in r"([a-c.*+?|(){}\[\]^$\\0-3,:\-<>&PpQEdwsxiUmU=!ä]|\[\[:|\(\?|\\){0,24}") {
        if let Ok(regex) = LabelRegex::new(&pattern) {
            regex.is_match("abc");
            regex.captures("a1");
        }
    }
}
