//! Files that load, files that do not, and what is printed of them.

use std::path::Path;

use super::*;
use crate::exposition::negotiation::ScrapeProtocol;
use crate::fs::InMemory;

fn load_text(text: &str) -> Result<Loaded, ConfigError> {
    let fs = InMemory::new([("/etc/p/prometheus.yml", text)]);
    load(Path::new("/etc/p/prometheus.yml"), &fs, &|name| (name == "REGION").then(|| "eu".to_owned()))
}

/// Loads and gives the error without the file's name.
fn error_of(text: &str) -> String {
    let error = load_text(text).expect_err(text).to_string();
    error.strip_prefix("parsing YAML file /etc/p/prometheus.yml: ").expect(&error).to_owned()
}

#[test]
fn errors_name_line_and_column_and_show_the_line() {
    assert_eq!(
        error_of("global:\n  scrape_intervall: 15s\n"),
        "line 2, column 3: field scrape_intervall not found in this section\n  2 |   scrape_intervall: 15s\n    |   ^"
    );
    assert_eq!(
        error_of("# a\nscrape_configs:\n- job_name: a\n  honor_labels: 7\n"),
        "line 4, column 17: invalid boolean\n  4 |   honor_labels: 7\n    |                 ^"
    );
}

/// The first line of each error: place and text.
#[test]
fn bad_values_are_refused_where_they_stand() {
    for (text, expected) in [
        ("foo: 1", "line 1, column 1: field foo not found in this section"),
        ("just text", "line 1, column 1: expected mapping start"),
        ("scrape_configs: 7", "line 1, column 17: expected sequence start"),
        ("scrape_configs: [", "line 1, column 17: unclosed bracket '['"),
        ("global:\n  scrape_interval: 1d1y", "line 2, column 20: not a valid duration string: \"1d1y\""),
        (
            "global:\n  scrape_interval: 5s\n  scrape_timeout: 6s",
            "line 2, column 3: global scrape timeout greater than scrape interval",
        ),
        ("global:\n  body_size_limit: 100", "line 2, column 20: units: missing unit in 100"),
        ("global:\n  external_labels:\n    '': x", "line 2, column 3: \"\" is not a valid label name"),
        (
            "global:\n  metric_name_validation_scheme: legacy\n  external_labels:\n    a.b: x",
            "line 2, column 3: \"a.b\" is not a valid label name",
        ),
        (
            "global:\n  scrape_protocols: [prometheusproto]",
            "line 2, column 22: unknown scrape protocol prometheusproto, supported: [OpenMetricsText0.0.1 OpenMetricsText1.0.0 PrometheusProto PrometheusText0.0.4 PrometheusText1.0.0]",
        ),
        (
            "global:\n  scrape_protocols: [PrometheusProto, PrometheusProto]",
            "line 2, column 3: duplicated protocol in scrape_protocols, got [PrometheusProto PrometheusProto] for global config",
        ),
        ("scrape_configs:\n- honor_labels: true", "line 2, column 3: job_name is empty"),
        (
            "scrape_configs:\n- job_name: a\n  job_name: b",
            "line 3, column 3: duplicate mapping key `job_name` is not allowed here",
        ),
        (
            "scrape_configs:\n- job_name: a\n  metric_name_escaping_scheme: x",
            "line 3, column 32: unknown scrape config name escaping method specified, must be one of 'allow-utf-8', 'underscores', 'dots', or 'values', got \"x\"",
        ),
        ("remote_write:\n- name: a", "line 2, column 3: url for remote_write is empty"),
        (
            "remote_write:\n- url: http://a\n  headers: {Host: x}",
            "line 2, column 3: Host is a reserved header. It must not be changed",
        ),
        (
            "remote_read:\n- url: http://a\n  headers: {authorization: x}",
            "line 2, column 3: authorization header must be changed via the basic_auth, authorization, oauth2, sigv4, azuread or google_iam parameter",
        ),
        ("tracing: {sampling_fraction: 1}", "line 1, column 10: tracing endpoint must be set"),
        (
            "alerting:\n  alertmanagers:\n  - api_version: v1",
            "line 3, column 18: expected Alertmanager api version to be one of [v2] but got v1",
        ),
        ("otlp: {translation_strategy: x}", "line 1, column 30: unsupported OTLP translation strategy \"x\""),
    ] {
        assert_eq!(error_of(text).lines().next(), Some(expected), "{text}");
    }
}

#[test]
fn rules_between_sections_are_checked() {
    for (text, expected) in [
        ("scrape_configs:\n- job_name: a\n- job_name: a", "found multiple scrape configs with job name \"a\""),
        (
            "scrape_configs:\n- job_name: a\n  scrape_interval: 5s\n  scrape_timeout: 6s",
            "scrape timeout greater than scrape interval for scrape config with job name \"a\"",
        ),
        (
            "global:\n  scrape_interval: 5s\nscrape_configs:\n- job_name: a\n  scrape_timeout: 6s",
            "scrape timeout greater than scrape interval for scrape config with job name \"a\"",
        ),
        ("rule_files: ['a/*/b.yml']", "invalid rule file path \"a/*/b.yml\""),
        ("scrape_config_files: ['a*/b.yml']", "invalid scrape config file path \"a*/b.yml\""),
        (
            "scrape_configs:\n- job_name: a\n  scrape_protocols: [PrometheusProto, PrometheusProto]",
            "duplicated protocol in scrape_protocols, got [PrometheusProto PrometheusProto] for scrape config with job name \"a\"",
        ),
        (
            "scrape_configs:\n- job_name: a\n  metric_name_validation_scheme: legacy\n  metric_name_escaping_scheme: allow-utf-8",
            "utf8 metric names requested but validation scheme is not set to UTF8",
        ),
        (
            "remote_write:\n- {url: 'http://a', name: x}\n- {url: 'http://b', name: x}",
            "found multiple remote write configs with job name \"x\"",
        ),
        (
            "global: {metric_name_validation_scheme: legacy}\notlp: {translation_strategy: NoTranslation}",
            "OTLP translation strategy \"NoTranslation\" is not allowed when UTF8 is disabled",
        ),
        (
            "alerting:\n  alert_relabel_configs:\n  - action: hashmod\n    target_label: a",
            "relabel configuration for hashmod requires non-zero modulus",
        ),
    ] {
        assert_eq!(error_of(text), expected, "{text}");
    }
}

/// What follows `- job_name: a` in a job, and the text of the error without its place.
#[test]
fn a_job_refuses_what_cannot_work_together() {
    for (keys, expected) in [
        (
            "bearer_token: x\n  bearer_token_file: y",
            "at most one of bearer_token & bearer_token_file must be configured",
        ),
        (
            "bearer_token: x\n  basic_auth: {username: u}",
            "at most one of basic_auth, oauth2, bearer_token & bearer_token_file must be configured",
        ),
        (
            "basic_auth: {username: u, password: x, password_file: y}",
            "at most one of basic_auth password, password_file & password_ref must be configured",
        ),
        (
            "basic_auth: {username: u, username_file: y}",
            "at most one of basic_auth username, username_file & username_ref must be configured",
        ),
        (
            "authorization: {credentials: x, credentials_file: y}",
            "at most one of authorization credentials & credentials_file must be configured",
        ),
        ("authorization: {type: Basic}", "authorization type cannot be set to \"basic\", use \"basic_auth\" instead"),
        (
            "authorization: {credentials: x}\n  basic_auth: {username: u}",
            "at most one of basic_auth, oauth2 & authorization must be configured",
        ),
        ("oauth2: {client_secret: x, token_url: 'http://t'}", "oauth2 client_id must be configured"),
        ("oauth2: {client_id: x}", "oauth2 token_url must be configured"),
        (
            "tls_config: {cert_file: c}",
            "exactly one of key or key_file must be configured when a client certificate is configured",
        ),
        (
            "tls_config: {key_file: c}",
            "exactly one of cert or cert_file must be configured when a client key is configured",
        ),
        ("tls_config: {min_version: TLS9}", "unknown TLS version: TLS9"),
        (
            "tls_config: {max_version: TLS11}",
            "tls_config max_version must be TLS12 or TLS13: older versions are not supported",
        ),
        (
            "proxy_connect_header: {x: [y]}",
            "if proxy_connect_header is configured, proxy_url or proxy_from_environment must also be configured",
        ),
        (
            "proxy_url: 'http://p'\n  proxy_from_environment: true",
            "if proxy_from_environment is configured, proxy_url must not be configured",
        ),
        ("no_proxy: x", "if no_proxy is configured, proxy_url must also be configured"),
        ("http_headers: {authorization: {values: [x]}}", "setting header \"Authorization\" is not allowed"),
        ("static_configs: [{targets: ['http://a:1/metrics']}]", "\"http://a:1/metrics\" is not a valid hostname"),
        ("static_configs: [{target: ['a']}]", "field target not found in this section"),
        ("kubernetes_sd_configs: [{role: pod}]", "Kubernetes service discovery is not supported yet (job \"a\")"),
        ("dns_sd_configs: [{type: A, port: 1}]", "DNS-SD config must contain at least one SRV record name"),
        (
            "dns_sd_configs: [{names: [x], type: A}]",
            "a port is required in DNS-SD configs for all record types except SRV",
        ),
        ("dns_sd_configs: [{names: [x], type: TXT}]", "invalid DNS-SD records type TXT"),
        ("file_sd_configs: [{files: []}]", "file service discovery config must contain at least one path name"),
        ("file_sd_configs: [{files: ['a/*/b.json']}]", "path name \"a/*/b.json\" is not valid for file discovery"),
        ("file_sd_configs: [{files: ['a.txt']}]", "path name \"a.txt\" is not valid for file discovery"),
        ("http_sd_configs: [{refresh_interval: 1s}]", "URL is missing"),
        ("http_sd_configs: [{url: 'ftp://a'}]", "URL scheme must be 'http' or 'https'"),
        ("relabel_configs: [{action: foo}]", "unknown relabel action \"foo\""),
        ("relabel_configs: [{regex: '(', target_label: a}]", "error parsing regexp: missing closing ): `(`"),
    ] {
        let error = error_of(&format!("scrape_configs:\n- job_name: a\n  {keys}\n"));
        let first = error.lines().next().unwrap();
        let message =
            first.split_once(": ").map_or(first, |(place, text)| if place.starts_with("line ") { text } else { first });
        assert_eq!(message, expected, "{keys}");
    }
}

#[test]
fn keys_without_a_value_keep_their_default() {
    let loaded = load_text("global:\nrule_files:\n  # - first.yml\nscrape_configs:\n- job_name: a\n  scrape_timeout:\n  basic_auth:\n  static_configs:\n").unwrap();
    assert_eq!(loaded.scrape_configs[0].scrape_timeout, PromDuration::from_secs(10));
    assert_eq!(loaded.scrape_configs[0].http.basic_auth, None);
}

#[test]
fn an_empty_file_is_the_default_configuration() {
    for text in ["", "# nothing\n", "---\n", "{}"] {
        let loaded = load_text(text).unwrap();
        assert_eq!(loaded.config, Config::default(), "{text:?}");
        assert_eq!(
            loaded.yaml,
            "global:\n  scrape_interval: 1m\n  scrape_timeout: 10s\n  evaluation_interval: 1m\n  \
             metric_name_validation_scheme: utf8\n  metric_name_escaping_scheme: allow-utf-8\n  \
             scrape_native_histograms: false\nruntime:\n  gogc: 75\notlp:\n  \
             translation_strategy: UnderscoreEscapingWithSuffixes\n  label_name_underscore_sanitization: true\n  \
             label_name_preserve_multiple_underscores: true\n"
        );
    }
}

#[test]
fn only_external_labels_take_the_environment() {
    let loaded = load_text(
        "global:\n  external_labels: {region: 'x-${REGION}', gone: $NOPE}\nscrape_configs:\n- job_name: ${REGION}\n",
    )
    .unwrap();
    let labels: Vec<_> = loaded.config.global.external_labels.iter().collect();
    assert_eq!(labels, [(&"region".to_owned(), &"x-eu".to_owned())]);
    assert_eq!(loaded.scrape_configs[0].job_name, "${REGION}");
    assert!(loaded.warnings.iter().any(|w| w.contains("\"NOPE\"")), "{:?}", loaded.warnings);
}

#[test]
fn a_job_is_printed_with_its_defaults_in_prometheus_order() {
    let loaded = load_text(
        "global: {scrape_interval: 15s}\nscrape_configs:\n- job_name: node\n  static_configs:\n  - targets: ['a:9100', \"b:9100\"]\n    \
         labels: {env: prod}\n  relabel_configs:\n  - source_labels: [__address__, x]\n    regex: 'a.*'\n    target_label: host\n",
    )
    .unwrap();
    assert_eq!(
        loaded.yaml.split_once("scrape_configs:\n").unwrap().1.split_once("otlp:").unwrap().0,
        "- job_name: node\n  honor_timestamps: true\n  track_timestamps_staleness: false\n  scrape_interval: 15s\n  \
         scrape_timeout: 10s\n  scrape_protocols:\n  - OpenMetricsText1.0.0\n  - OpenMetricsText0.0.1\n  \
         - PrometheusText1.0.0\n  - PrometheusText0.0.4\n  scrape_native_histograms: false\n  \
         always_scrape_classic_histograms: false\n  convert_classic_histograms_to_nhcb: false\n  \
         metrics_path: /metrics\n  scheme: http\n  enable_compression: true\n  metric_name_validation_scheme: utf8\n  \
         metric_name_escaping_scheme: allow-utf-8\n  extra_scrape_metrics: false\n  follow_redirects: true\n  \
         enable_http2: true\n  relabel_configs:\n  - source_labels: [__address__, x]\n    separator: ;\n    \
         regex: a.*\n    target_label: host\n    replacement: $1\n    action: replace\n  static_configs:\n  \
         - targets:\n    - a:9100\n    - b:9100\n    labels:\n      env: prod\n"
    );
}

#[test]
fn a_feature_flag_changes_the_default_and_the_file_wins() {
    let loaded = |global: &str| {
        let fs = InMemory::new([("/p.yml", format!("global: {{{global}}}\nscrape_configs: [{{job_name: a}}]\n"))]);
        let defaults = Defaults { extra_scrape_metrics: true, ..Defaults::default() };
        load_with(Path::new("/p.yml"), &fs, &|_| None, defaults).unwrap().scrape_configs[0].extra_scrape_metrics
    };
    assert_eq!(loaded(""), Some(true));
    assert_eq!(loaded("extra_scrape_metrics: false"), Some(false));
}

#[test]
fn protobuf_comes_first_by_default_where_a_feature_needs_it() {
    let first = |global: &str, protobuf_first| {
        let fs = InMemory::new([("/p.yml", format!("global: {{{global}}}\nscrape_configs: [{{job_name: a}}]\n"))]);
        let defaults = Defaults { protobuf_first, ..Defaults::default() };
        let loaded = load_with(Path::new("/p.yml"), &fs, &|_| None, defaults).unwrap();
        loaded.scrape_configs[0].scrape_protocols[0].as_str()
    };
    assert_eq!(first("", true), "PrometheusProto");
    assert_eq!(first("", false), "OpenMetricsText1.0.0");
    assert_eq!(first("scrape_protocols: [PrometheusText0.0.4]", true), "PrometheusText0.0.4");
}

#[test]
fn keys_without_effect_are_named() {
    let loaded = load_text(
        "global: {query_log_file: q.log}\nruntime: {log_level: debug}\n\
         storage: {exemplars: {max_exemplars: 5}, tsdb: {retention: {percentage: 80}}}\n",
    )
    .unwrap();
    for key in
        ["runtime", "global.query_log_file", "storage.exemplars.max_exemplars", "storage.tsdb.retention.percentage"]
    {
        assert!(loaded.warnings.iter().any(|warning| warning.contains(key)), "{key}: {:?}", loaded.warnings);
    }
}

const EVERYTHING: &str = include_str!("testdata/everything.yml");

#[test]
fn a_file_that_uses_every_section_loads_and_its_printed_form_loads_again() {
    let loaded = load_text(EVERYTHING).unwrap();
    // Secrets are masked in the printed form, so both sides are compared in it.
    let again = load_text(&loaded.yaml).unwrap_or_else(|e| panic!("{e}\n{}", loaded.yaml));
    assert_eq!(again.yaml, loaded.yaml);
    assert_eq!(loaded.scrape_configs.len(), 4);
    let blackbox = &loaded.scrape_configs[1];
    assert_eq!(blackbox.params["module"], ["http_2xx"]);
    assert_eq!(blackbox.relabel_configs.len(), 3);
    assert_eq!(blackbox.sample_limit, 1000);
    assert_eq!(loaded.scrape_configs[0].sample_limit, 50_000);
}

#[test]
fn secrets_appear_in_nothing_that_is_shown() {
    let loaded = load_text(EVERYTHING).unwrap();
    let shown = format!("{}{:?}{:?}{:?}", loaded.yaml, loaded.config, loaded.scrape_configs, loaded.warnings);
    let places: Vec<_> = shown.match_indices("hunter2").map(|(at, _)| &shown[at.saturating_sub(60)..at]).collect();
    assert!(places.is_empty(), "{places:?}");
    assert!(EVERYTHING.matches("hunter2").count() > 10);
}

/// Breaks the file at each line in turn, so that every secret stands near an error once.
#[test]
fn secrets_appear_in_no_error() {
    let lines: Vec<&str> = EVERYTHING.lines().collect();
    for i in 0..lines.len() {
        let indent = lines[i].len() - lines[i].trim_start().len();
        for broken in
            [format!("{}unknown_key: 1", " ".repeat(indent)), format!("{}: [", lines[i]), format!("{} {{", lines[i])]
        {
            let mut text: Vec<&str> = lines.clone();
            text[i] = &broken;
            if let Err(error) = load_text(&text.join("\n")) {
                let error = format!("{error} {error:?}");
                assert!(!error.contains("hunter2"), "line {}: {error}", i + 1);
            }
        }
    }
}

#[test]
fn a_text_that_is_in_no_file_loads_as_one_in_the_folder() {
    let text =
        "scrape_config_files: ['*.job.yml']\nscrape_configs:\n- job_name: b\n  authorization: {credentials_file: t}\n";
    let fs = InMemory::new([("/etc/p/prometheus.yml", text)]);
    fs.write("/etc/p/1.job.yml", "scrape_configs: [{job_name: a}]");
    let name = Path::new("document prometheus.yml");
    let load_text = |text: &str| {
        let text = Text { name, dir: Path::new("/etc/p"), text: text.to_owned() };
        load::load_text(text, &fs, &|_| None, Defaults::default())
    };
    let (from_text, from_file) =
        (load_text(text).unwrap(), load(Path::new("/etc/p/prometheus.yml"), &fs, &|_| None).unwrap());
    assert_eq!((&from_text.yaml, from_text.hash), (&from_file.yaml, from_file.hash));
    assert_eq!(from_text.scrape_configs.len(), 2);
    fs.write("/etc/p/1.job.yml", "scrape_configs: [{job_name: c}]");
    assert_ne!(load_text(text).unwrap().hash, from_text.hash, "files that are named count");
    let error = load_text("global: {scrape: 1}").unwrap_err().to_string();
    assert!(error.starts_with("parsing YAML file document prometheus.yml: line 1"), "{error}");
}

#[test]
fn long_and_repetitive_files_load() {
    let groups = "- targets: [h:1, h:2]\n  labels: {a: b}\n".repeat(30_000);
    let parsed: Vec<TargetGroup> = load::parse(&groups).unwrap().unwrap();
    assert_eq!(parsed.len(), 30_000);
    let rule = "relabel_configs: &common [{regex: a, action: labeldrop}]";
    let jobs: String = (0..300).map(|i| format!("- job_name: j{i}\n  relabel_configs: *common\n")).collect();
    let loaded = load_text(&format!("scrape_configs:\n- job_name: first\n  {rule}\n{jobs}")).unwrap();
    assert_eq!(loaded.scrape_configs.len(), 301);
    assert!(loaded.scrape_configs.iter().all(|job| job.relabel_configs.len() == 1));
}

#[test]
fn aliases_that_unfold_without_end_are_refused() {
    let mut text = String::from("{a0: &a0 [x, x, x, x, x, x, x, x, x, x]");
    for i in 1..12 {
        let tenfold = vec![format!("*a{}", i - 1); 10].join(", ");
        text.push_str(&format!(", a{i}: &a{i} [{tenfold}]"));
    }
    let error = load::parse::<opaque::Opaque>(&(text + "}")).unwrap_err();
    assert!(error.message.starts_with("YAML document too large or too complex"), "{error}");
}

#[test]
fn unused_sections_are_named() {
    let warnings = load_text(EVERYTHING).unwrap().warnings;
    for section in ["rule_files", "alerting", "remote_write", "remote_read", "tracing", "otlp", "runtime"] {
        let text = format!("section {section} is accepted but has no effect yet");
        assert!(warnings.contains(&text), "{section}: {warnings:?}");
    }
}

#[test]
fn a_server_name_is_said_to_leave_the_name_that_is_sent() {
    let jobs = "scrape_configs: [{job_name: a, tls_config: {server_name: x.test}}, {job_name: b}]";
    assert_eq!(
        load_text(jobs).unwrap().warnings,
        [
            "server_name \"x.test\" of job \"a\" is what certificates are checked for; the name sent to the server (SNI) stays that of the URL"
        ]
    );
}

#[test]
fn paths_are_relative_to_the_file_that_names_them() {
    let fs = InMemory::new([
        (
            "/etc/p/prometheus.yml",
            "rule_files: ['rules/*.yml']\nscrape_config_files: ['jobs/*.yml']\nscrape_configs:\n- job_name: a\n  basic_auth: {password_file: pw}\n  file_sd_configs: [{files: ['t/*.json', /abs/x.yml]}]\n",
        ),
        ("/etc/p/jobs/b.yml", "scrape_configs:\n- job_name: b\n  tls_config: {ca_file: ca.pem}\n"),
        ("/etc/p/rules/2.yml", ""),
        ("/etc/p/rules/1.yml", ""),
        ("/etc/p/rules/1.txt", ""),
    ]);
    let loaded = load(Path::new("/etc/p/prometheus.yml"), &fs, &|_| None).unwrap();
    let [a, b] = loaded.scrape_configs.as_slice() else { panic!("{:?}", loaded.scrape_configs) };
    assert_eq!(a.http.basic_auth.as_ref().unwrap().password_file, "/etc/p/pw");
    assert_eq!(a.discovery.file_sd_configs[0].files, ["/etc/p/t/*.json", "/abs/x.yml"]);
    assert_eq!(b.http.tls_config.ca_file, "/etc/p/jobs/ca.pem");
    assert_eq!(b.scrape_interval, PromDuration::from_secs(60));
    assert_eq!(loaded.rule_files, [Path::new("/etc/p/rules/1.yml"), Path::new("/etc/p/rules/2.yml")]);
}

#[test]
fn job_names_are_unique_over_all_files() {
    let fs = InMemory::new([
        ("/p/prometheus.yml", "scrape_config_files: ['*.job.yml']\nscrape_configs:\n- job_name: a\n"),
        ("/p/1.job.yml", "scrape_configs:\n- job_name: b\n"),
        ("/p/2.job.yml", "scrape_configs:\n- job_name: b\n"),
    ]);
    let load = || {
        load(Path::new("/p/prometheus.yml"), &fs, &|_| None).map(|l| l.scrape_configs.len()).map_err(|e| e.to_string())
    };
    assert_eq!(
        load().unwrap_err(),
        "parsing YAML file /p/2.job.yml: \"/p/2.job.yml\": found multiple scrape configs with job name \"b\", first found in \"/p/1.job.yml\""
    );
    fs.write("/p/2.job.yml", "scrape_configs:\n- job_name: a\n");
    assert!(load().unwrap_err().ends_with("job name \"a\", first found in main config file"));
    fs.write("/p/2.job.yml", "scrape_configs:\n- job_name: c\n");
    assert_eq!(load(), Ok(3));
    fs.write("/p/2.job.yml", "jobs: []\n");
    assert!(load().unwrap_err().starts_with("parsing YAML file /p/2.job.yml: line 1, column 1: field jobs not found"));
}

#[test]
fn a_missing_file_is_named() {
    let error = load(Path::new("/nowhere.yml"), &InMemory::default(), &|_| None).unwrap_err();
    assert_eq!(error.to_string(), "open /nowhere.yml: entity not found");
}

#[test]
fn native_histograms_ask_for_protobuf_first() {
    let protocols = |text: &str| load_text(text).unwrap().scrape_configs[0].scrape_protocols[0];
    assert_eq!(protocols("scrape_configs: [{job_name: a}]"), ScrapeProtocol::OpenMetricsText1_0_0);
    assert_eq!(
        protocols("scrape_configs: [{job_name: a, scrape_native_histograms: true}]"),
        ScrapeProtocol::PrometheusProto
    );
    assert_eq!(
        protocols(
            "global: {scrape_protocols: [PrometheusText0.0.4]}\nscrape_configs: [{job_name: a, scrape_native_histograms: true}]"
        ),
        ScrapeProtocol::PrometheusText0_0_4
    );
}

#[test]
fn legacy_names_are_escaped_unless_said_otherwise() {
    let escaping = |text: &str| load_text(text).unwrap().scrape_configs[0].escaping();
    assert_eq!(escaping("scrape_configs: [{job_name: a}]"), EscapingScheme::AllowUtf8);
    assert_eq!(
        escaping("scrape_configs: [{job_name: a, metric_name_validation_scheme: legacy}]"),
        EscapingScheme::Underscores
    );
    assert_eq!(
        escaping("global: {metric_name_validation_scheme: legacy}\nscrape_configs: [{job_name: a}]"),
        EscapingScheme::Underscores
    );
    assert_eq!(
        escaping("global: {metric_name_escaping_scheme: dots}\nscrape_configs: [{job_name: a}]"),
        EscapingScheme::Dots
    );
}
