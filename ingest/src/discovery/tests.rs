//! Discovery against real files, servers on loopback and a DNS server of its own; every wait is for a new state.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

use ::http::HeaderValue;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, MX, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record};
use pharos_model::clock::SystemClock;
use prometheus::Registry;
use tokio::net::UdpSocket;

use super::*;
use crate::fs::Disk;
use crate::http_client::EnvironmentProxies;
use crate::test_server::{TestServer, answer};

fn options() -> (DiscoveryOptions, Registry) {
    let registry = Registry::new();
    let options = DiscoveryOptions {
        surroundings: Surroundings {
            fs: Arc::new(Disk),
            clock: Arc::new(SystemClock::default()),
            proxies: EnvironmentProxies::default(),
            user_agent: HeaderValue::from_static("Pharos/test"),
        },
        resolver: None,
        metrics: DiscoveryMetrics::new(&registry).unwrap(),
    };
    (options, registry)
}

fn job(yaml: &str) -> Arc<ScrapeConfig> {
    Arc::new(serde_saphyr::from_str(yaml).unwrap_or_else(|e| panic!("{yaml}: {e}")))
}

/// Addresses and labels of a job, one target a line, once they are what is expected.
async fn await_targets(targets: &mut watch::Receiver<Arc<TargetSets>>, job: &str, expected: &str) {
    let show = |sets: &Arc<TargetSets>| {
        let groups = sets.get(job).into_iter().flatten();
        groups
            .flat_map(|group| group.label_sets().collect::<Vec<_>>())
            .map(|l| l.to_string())
            .collect::<Vec<_>>()
            .join("\n")
    };
    let waited = targets.wait_for(|sets| show(sets) == expected);
    let found = tokio::time::timeout(Duration::from_secs(60), waited).await.map(|found| found.is_ok());
    assert_eq!(found, Ok(true), "expected\n{expected}\nbut there is\n{}", show(&targets.borrow().clone()));
}

fn sample(registry: &Registry, line: &str) -> bool {
    prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap().lines().any(|l| l == line)
}

#[tokio::test]
async fn static_targets_are_there_once_applied() {
    let (options, registry) = options();
    let discovery = Discovery::start(options);
    let a = job("{job_name: a, static_configs: [{targets: ['h:1', 'h:2'], labels: {x: '1'}}, {targets: ['h:3']}]}");
    let b = job("{job_name: b, static_configs: [{targets: ['h:4']}]}");
    discovery.apply(&[a.clone(), b]).await;
    let mut targets = discovery.targets();
    await_targets(
        &mut targets,
        "a",
        "{__address__=\"h:1\", x=\"1\"}\n{__address__=\"h:2\", x=\"1\"}\n{__address__=\"h:3\"}",
    )
    .await;
    assert!(sample(&registry, "prometheus_sd_discovered_targets{config=\"a\",name=\"scrape\"} 3"));
    discovery.apply(&[a]).await;
    assert_eq!(targets.borrow().keys().collect::<Vec<_>>(), ["a"]);
    assert!(!sample(&registry, "prometheus_sd_discovered_targets{config=\"b\",name=\"scrape\"} 1"));
}

/// Writes as editors and operators do: a new file, moved into place.
fn write(path: &Path, text: &str) {
    let temporary = path.with_extension("tmp");
    std::fs::write(&temporary, text).unwrap();
    std::fs::rename(temporary, path).unwrap();
}

#[tokio::test]
async fn files_are_watched_and_bad_ones_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    write(&at("a.yml"), "- targets: ['h:1']\n  labels: {x: '1'}\n");
    let (options, registry) = options();
    let discovery = Discovery::start(options);
    let pattern = dir.path().display();
    discovery
        .apply(&[job(&format!(
            "{{job_name: f, file_sd_configs: [{{files: ['{pattern}/*.yml', '{pattern}/*.json']}}]}}"
        ))])
        .await;
    let mut targets = discovery.targets();
    let (yml, json) = (at("a.yml").display().to_string(), at("b.json").display().to_string());
    let first = format!("{{__address__=\"h:1\", __meta_filepath=\"{yml}\", x=\"1\"}}");
    await_targets(&mut targets, "f", &first).await;

    write(&at("b.json"), r#"[{"targets": ["h:2"]}]"#);
    let second = format!("{{__address__=\"h:2\", __meta_filepath=\"{json}\"}}");
    await_targets(&mut targets, "f", &format!("{first}\n{second}")).await;

    // The broken file keeps its group; the good change beside it is seen, so the broken one has been read.
    write(&at("a.yml"), "- target: ['h:3']\n");
    write(&at("b.json"), r#"[{"targets": ["h:4"]}]"#);
    let third = format!("{{__address__=\"h:4\", __meta_filepath=\"{json}\"}}");
    await_targets(&mut targets, "f", &format!("{first}\n{third}")).await;
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    assert!(text.contains("\nprometheus_sd_file_read_errors_total "), "{text}");
    assert!(!sample(&registry, "prometheus_sd_file_read_errors_total 0"));

    std::fs::remove_file(at("a.yml")).unwrap();
    await_targets(&mut targets, "f", &third).await;
}

#[tokio::test]
async fn a_http_server_is_asked_and_its_failures_change_nothing() {
    let fails = Arc::new(AtomicBool::new(false));
    let failing = fails.clone();
    let server = TestServer::start(move |_| match failing.load(Ordering::SeqCst) {
        false => {
            answer(200, "application/json; charset=utf-8", r#"[{"targets": ["h:1", "h:2"], "labels": {"x": "1"}}]"#)
        }
        true => answer(500, "application/json", "[]"),
    })
    .await;
    let (options, registry) = options();
    let discovery = Discovery::start(options);
    let url = server.url("/targets");
    let config =
        format!("{{job_name: h, http_sd_configs: [{{url: '{url}', refresh_interval: 20ms, bearer_token: t}}]}}");
    discovery.apply(&[job(&config)]).await;
    let mut targets = discovery.targets();
    let expected = format!(
        "{{__address__=\"h:1\", __meta_url=\"{url}\", x=\"1\"}}\n{{__address__=\"h:2\", __meta_url=\"{url}\", x=\"1\"}}"
    );
    await_targets(&mut targets, "h", &expected).await;
    assert_eq!(server.last_header("accept"), "application/json");
    assert_eq!(server.last_header("x-prometheus-refresh-interval-seconds"), "0.02");
    assert_eq!(server.last_header("authorization"), "Bearer t");
    fails.store(true, Ordering::SeqCst);
    while sample(&registry, "prometheus_sd_http_failures_total 0") {
        tokio::task::yield_now().await;
    }
    await_targets(&mut targets, "h", &expected).await;
}

#[tokio::test]
async fn answers_that_are_no_target_list_are_refused() {
    for (content_type, body, problem) in [
        ("text/plain", "[]", "unsupported content type \"text/plain\""),
        ("application/json", "{}", "invalid type: map, expected a sequence at line 1 column 0"),
        (
            "application/json",
            r#"[{"targets": [1]}]"#,
            "invalid type: integer `1`, expected a string at line 1 column 15",
        ),
        (
            "application/json",
            r#"[{"hosts": []}]"#,
            "unknown field `hosts`, expected `targets` or `labels` at line 1 column 9",
        ),
    ] {
        let server = TestServer::start(move |_| answer(200, content_type, body)).await;
        let config: HttpSdConfig = serde_saphyr::from_str(&format!("{{url: '{}'}}", server.url("/"))).unwrap();
        let error = HttpDiscovery::new(config, &options().0).unwrap().refresh().await.unwrap_err();
        assert_eq!(error.to_string(), problem);
    }
}

/// Answers every question by its name, on loopback; with a server failure while it is `broken`.
async fn dns_server(broken: Arc<AtomicBool>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            let question = Message::from_vec(&buffer[..length]).unwrap();
            let mut response = Message::response(question.metadata.id, question.metadata.op_code);
            response.add_queries(question.queries.clone());
            let query = question.queries[0].clone();
            let name = query.name().to_utf8();
            let target = |text: &str| Name::from_str(text).unwrap();
            let records = match name.as_str() {
                _ if broken.load(Ordering::SeqCst) => {
                    response.metadata.response_code = ResponseCode::ServFail;
                    Vec::new()
                }
                "srv.test." => vec![
                    RData::SRV(SRV::new(0, 0, 9100, target("b.test."))),
                    RData::SRV(SRV::new(0, 0, 9101, target("a.test."))),
                ],
                "a.test." => vec![RData::CNAME(CNAME(target("c.test."))), RData::A(A(Ipv4Addr::new(10, 0, 0, 1)))],
                "aaaa.test." => vec![RData::AAAA(AAAA(Ipv6Addr::LOCALHOST))],
                "mx.test." => vec![RData::MX(MX::new(10, target("mail.test.")))],
                _ => {
                    response.metadata.response_code = ResponseCode::NXDomain;
                    Vec::new()
                }
            };
            response.add_answers(records.into_iter().map(|data| match data {
                RData::A(_) if name == "a.test." => Record::from_rdata(target("c.test."), 60, data),
                data => Record::from_rdata(query.name().clone(), 60, data),
            }));
            socket.send_to(&response.to_vec().unwrap(), peer).await.unwrap();
        }
    });
    address
}

fn resolver(server: SocketAddr) -> TokioResolver {
    let mut connection = ConnectionConfig::udp();
    connection.port = server.port();
    let servers = vec![NameServerConfig::new(server.ip(), true, vec![connection])];
    let config = ResolverConfig::from_parts(None, Vec::new(), servers);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    builder.options_mut().cache_size = 0;
    builder.build().unwrap()
}

#[tokio::test]
async fn dns_records_become_targets() {
    let (mut options, _) = options();
    options.resolver = Some(resolver(dns_server(Arc::default()).await));
    for (config, expected) in [
        (
            "{names: [srv.test.]}",
            "{__address__=\"a.test:9101\", __meta_dns_name=\"srv.test.\", __meta_dns_srv_record_port=\"9101\", __meta_dns_srv_record_target=\"a.test.\"}\n{__address__=\"b.test:9100\", __meta_dns_name=\"srv.test.\", __meta_dns_srv_record_port=\"9100\", __meta_dns_srv_record_target=\"b.test.\"}",
        ),
        ("{names: [a.test.], type: A, port: 80}", "{__address__=\"10.0.0.1:80\", __meta_dns_name=\"a.test.\"}"),
        ("{names: [aaaa.test.], type: AAAA, port: 80}", "{__address__=\"[::1]:80\", __meta_dns_name=\"aaaa.test.\"}"),
        (
            "{names: [mx.test.], type: MX, port: 25}",
            "{__address__=\"mail.test:25\", __meta_dns_mx_record_target=\"mail.test.\", __meta_dns_name=\"mx.test.\"}",
        ),
        ("{names: [nowhere.test.], type: A, port: 25}", ""),
    ] {
        let discovery = Discovery::start(options.clone());
        discovery.apply(&[job(&format!("{{job_name: d, dns_sd_configs: [{config}]}}"))]).await;
        await_targets(&mut discovery.targets(), "d", expected).await;
    }
}

#[tokio::test]
async fn a_name_that_cannot_be_resolved_keeps_its_targets() {
    let broken = Arc::new(AtomicBool::new(false));
    let (mut options, registry) = options();
    options.resolver = Some(resolver(dns_server(broken.clone()).await));
    let config = serde_saphyr::from_str("{names: [a.test., nowhere.test.], type: A, port: 1}").unwrap();
    let mut dns = DnsDiscovery::new(config, &options);
    let before = dns.refresh().await;
    assert_eq!(before.iter().map(|group| group.targets.len()).collect::<Vec<_>>(), [1, 0]);
    broken.store(true, Ordering::SeqCst);
    assert_eq!(dns.refresh().await, before);
    assert!(sample(&registry, "prometheus_sd_dns_lookup_failures_total 2"));
    assert!(sample(&registry, "prometheus_sd_dns_lookups_total 4"));
}

#[tokio::test]
async fn mechanisms_that_stay_configured_keep_running_and_replaced_ones_leave_no_gap() {
    let answers = Arc::new(AtomicBool::new(true));
    let answering = answers.clone();
    let server =
        TestServer::start(move |request| match answering.load(Ordering::SeqCst) || request.uri.path() == "/stays" {
            true => answer(200, "application/json", r#"[{"targets": ["h:1"]}]"#),
            false => answer(500, "text/plain", ""),
        })
        .await;
    let (options, _) = options();
    let discovery = Discovery::start(options);
    let config = |path: &str, extra: &str| {
        job(&format!(
            "{{job_name: h, {extra} http_sd_configs: [{{url: '{}'}}, {{url: '{}'}}]}}",
            server.url("/stays"),
            server.url(path)
        ))
    };
    discovery.apply(&[config("/one", "")]).await;
    let mut targets = discovery.targets();
    let shown = |path: &str| format!("{{__address__=\"h:1\", __meta_url=\"{}\"}}", server.url(path));
    await_targets(&mut targets, "h", &format!("{}\n{}", shown("/stays"), shown("/one"))).await;
    let asked = |path: &str| server.requests().iter().filter(|request| request.uri.path() == path).count();
    assert_eq!(asked("/stays"), 1);

    discovery.apply(&[config("/one", "scrape_interval: 5s,")]).await;
    assert_eq!((asked("/stays"), asked("/one")), (1, 1));

    answers.store(false, Ordering::SeqCst);
    discovery.apply(&[config("/two", "")]).await;
    while asked("/two") == 0 {
        tokio::task::yield_now().await;
    }
    await_targets(&mut targets, "h", &format!("{}\n{}", shown("/stays"), shown("/one"))).await;
    answers.store(true, Ordering::SeqCst);
    discovery.apply(&[config("/three", "")]).await;
    await_targets(&mut targets, "h", &format!("{}\n{}", shown("/stays"), shown("/three"))).await;
    assert_eq!(asked("/stays"), 1);
}

#[tokio::test]
async fn a_client_that_cannot_be_built_is_counted_and_harms_nothing_else() {
    let (options, registry) = options();
    let discovery = Discovery::start(options);
    discovery
        .apply(&[job("{job_name: h, static_configs: [{targets: ['h:1']}], http_sd_configs: [{url: 'http://x', tls_config: {ca_file: /nowhere}}]}")])
        .await;
    await_targets(&mut discovery.targets(), "h", "{__address__=\"h:1\"}").await;
    assert!(sample(&registry, "prometheus_sd_failed_configs{name=\"scrape\"} 1"));
}
