//! Requests against servers on loopback: who gets credentials, which certificates hold, what errors say.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::HeaderMap;
use pharos_model::clock::ManualClock;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;

use super::*;
use crate::fs::InMemory;
use crate::test_server::{TestServer, answer, redirect};

struct World {
    fs: Arc<InMemory>,
    clock: Arc<ManualClock>,
    surroundings: Surroundings,
}

fn world() -> World {
    let fs = Arc::new(InMemory::default());
    let clock = Arc::new(ManualClock::at(1_000_000));
    let surroundings = Surroundings {
        fs: fs.clone(),
        clock: clock.clone(),
        proxies: EnvironmentProxies::default(),
        user_agent: HeaderValue::from_static("Pharos/test"),
    };
    World { fs, clock, surroundings }
}

impl World {
    fn client(&self, yaml: &str) -> HttpClient {
        self.try_client(yaml).unwrap_or_else(|e| panic!("{yaml}: {e}"))
    }

    fn try_client(&self, yaml: &str) -> Result<HttpClient, ClientError> {
        let config = serde_saphyr::from_str(yaml).unwrap_or_else(|e| panic!("{yaml}: {e}"));
        HttpClient::new(config, self.surroundings.clone())
    }
}

async fn get(client: &HttpClient, url: &Url) -> Result<u16, String> {
    client.get(url, &HeaderMap::new()).await.map(|response| response.status().as_u16()).map_err(|e| e.to_string())
}

async fn ok_server() -> TestServer {
    TestServer::start(|_| answer(200, "text/plain", "ok")).await
}

#[tokio::test]
async fn credentials_become_the_authorization_header() {
    let server = ok_server().await;
    for (yaml, header) in [
        ("{basic_auth: {username: Aladdin, password: open sesame}}", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        ("{basic_auth: {username: u}}", "Basic dTo="),
        ("{bearer_token: x}", "Bearer x"),
        ("{authorization: {credentials: y}}", "Bearer y"),
        ("{authorization: {type: Token, credentials: z}}", "Token z"),
        ("{}", ""),
    ] {
        assert_eq!(get(&world().client(yaml), &server.url("/")).await, Ok(200));
        assert_eq!(server.last_header("authorization"), header, "{yaml}");
    }
    assert_eq!(server.last_header("user-agent"), "Pharos/test");
}

#[tokio::test]
async fn a_secret_file_is_read_again_when_it_changes() {
    let (world, server) = (world(), ok_server().await);
    world.fs.write("/pw", "one\n");
    world.fs.write("/key", " k1 ");
    let client = world.client("{authorization: {credentials_file: /pw}, http_headers: {X-Key: {files: [/key]}}}");
    get(&client, &server.url("/")).await.unwrap();
    assert_eq!((server.last_header("authorization"), server.last_header("x-key")), ("Bearer one".into(), "k1".into()));
    world.fs.write("/pw", "two\n");
    world.fs.write("/key", "k2");
    get(&client, &server.url("/")).await.unwrap();
    assert_eq!((server.last_header("authorization"), server.last_header("x-key")), ("Bearer two".into(), "k2".into()));
    world.fs.remove("/pw");
    let url = server.url("/");
    assert_eq!(get(&client, &url).await, Err(format!("Get \"{url}\": unable to read file /pw: entity not found")));
}

#[tokio::test]
async fn configured_headers_are_sent_with_all_their_values() {
    let server = ok_server().await;
    let client = world().client("{http_headers: {X-A: {values: [one, two], secrets: [three]}}}");
    get(&client, &server.url("/")).await.unwrap();
    let sent = server.requests().remove(0);
    let values: Vec<_> = sent.headers.get_all("x-a").iter().map(|v| v.to_str().unwrap()).collect();
    assert_eq!(values, ["one", "two", "three"]);
}

#[tokio::test]
async fn redirects_take_credentials_to_the_same_origin_only() {
    let other = ok_server().await;
    let elsewhere = other.url("/metrics").to_string();
    let server = TestServer::start(move |request| match request.uri.path() {
        "/near" => redirect("/metrics"),
        "/far" => redirect(&elsewhere),
        _ => answer(200, "text/plain", "ok"),
    })
    .await;
    let client = world().client("{basic_auth: {username: u, password: p}, http_headers: {X-Key: {secrets: [k]}}}");
    assert_eq!(get(&client, &server.url("/near")).await, Ok(200));
    assert_eq!(server.last_header("authorization"), "Basic dTpw");
    assert_eq!(server.last_header("x-key"), "k");
    assert_eq!(get(&client, &server.url("/far")).await, Ok(200));
    assert_eq!(other.requests().len(), 1);
    assert_eq!(other.last_header("authorization"), "");
    assert_eq!(other.last_header("x-key"), "");
}

#[tokio::test]
async fn redirects_can_be_left_alone_and_never_loop() {
    let server = TestServer::start(|_| redirect("/again")).await;
    assert_eq!(get(&world().client("{follow_redirects: false}"), &server.url("/")).await, Ok(302));
    let url = server.url("/loop");
    assert_eq!(get(&world().client("{}"), &url).await, Err(format!("Get \"{url}\": stopped after 10 redirects")));
    assert_eq!(server.requests().len(), 1 + 1 + REDIRECTS_MAX);
}

#[tokio::test]
async fn a_refused_connection_reads_as_in_go_and_hides_the_password() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let url = Url::parse(&format!("http://u:hunter2@{address}/metrics")).unwrap();
    let error = get(&world().client("{}"), &url).await.unwrap_err();
    assert_eq!(
        error,
        format!("Get \"http://u:xxxxx@{address}/metrics\": dial tcp {address}: connect: connection refused")
    );
}

#[test]
fn a_client_is_printed_without_secrets() {
    let yaml = "{basic_auth: {username: u, password: hunter2}, http_headers: {X-Key: {secrets: [hunter2]}}, \
                proxy_url: 'http://u:hunter2@p', proxy_connect_header: {X: [hunter2]}}";
    let shown = format!("{:?}", world().client(yaml));
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_key_that_is_none_is_not_repeated() {
    for yaml in ["{tls_config: {cert: hunter2, key: hunter2}}", "{tls_config: {ca: hunter2}}"] {
        let error = world().try_client(yaml).unwrap_err().to_string();
        assert!(error.starts_with("unable to load specified"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

/// A token server that counts its answers and refuses credentials in the header when told to.
async fn token_server(header_allowed: bool) -> (TestServer, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let server = TestServer::start_reading(move |request, body| {
        let form = String::from_utf8(body.to_vec()).unwrap();
        let in_header = request.headers.get("authorization").is_some_and(|v| v == "Basic aWQ6aHVudGVyMg==");
        let in_form = form.ends_with("&client_id=id&client_secret=hunter2");
        if !form.starts_with("grant_type=client_credentials&scope=a+b&audience=x") {
            return answer(400, "application/json", "{}");
        }
        if !(in_header && header_allowed || in_form) {
            return answer(401, "application/json", "{\"error\": \"hunter2\"}");
        }
        let n = counter.fetch_add(1, Ordering::SeqCst) + 1;
        let body = format!("{{\"access_token\": \"t{n}\", \"token_type\": \"bearer\", \"expires_in\": 60}}");
        answer(200, "application/json", body)
    })
    .await;
    (server, count)
}

fn oauth2(url: &Url, secret: &str) -> String {
    format!(
        "{{oauth2: {{client_id: id, client_secret: {secret}, token_url: '{url}', scopes: [a, b], endpoint_params: {{audience: x}}}}}}"
    )
}

#[tokio::test]
async fn a_token_is_fetched_once_and_again_before_it_expires() {
    let (world, server) = (world(), ok_server().await);
    let (tokens, fetched) = token_server(true).await;
    let client = world.client(&oauth2(&tokens.url("/token"), "hunter2"));
    let url = server.url("/");
    let (a, b) = tokio::join!(get(&client, &url), get(&client, &url));
    assert_eq!((a, b), (Ok(200), Ok(200)));
    assert_eq!((fetched.load(Ordering::SeqCst), server.last_header("authorization")), (1, "Bearer t1".into()));
    world.clock.advance(Duration::from_secs(49));
    get(&client, &url).await.unwrap();
    assert_eq!(fetched.load(Ordering::SeqCst), 1);
    world.clock.advance(Duration::from_secs(1));
    get(&client, &url).await.unwrap();
    assert_eq!((fetched.load(Ordering::SeqCst), server.last_header("authorization")), (2, "Bearer t2".into()));
}

#[tokio::test]
async fn token_servers_that_want_credentials_in_the_form_get_them() {
    let server = ok_server().await;
    let (tokens, _) = token_server(false).await;
    get(&world().client(&oauth2(&tokens.url("/token"), "hunter2")), &server.url("/")).await.unwrap();
    assert_eq!(server.last_header("authorization"), "Bearer t1");
}

#[tokio::test]
async fn a_refused_token_is_an_error_without_the_answer() {
    let server = ok_server().await;
    let (tokens, _) = token_server(true).await;
    let url = server.url("/");
    let error = get(&world().client(&oauth2(&tokens.url("/token"), "wrong")), &url).await;
    assert_eq!(error, Err(format!("Get \"{url}\": oauth2: cannot fetch token: 401 Unauthorized")));
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn requests_go_through_the_proxy_unless_the_host_is_excepted() {
    let proxy = ok_server().await;
    let server = ok_server().await;
    let client = world().client(&format!("{{proxy_url: '{}'}}", proxy.url("/")));
    get(&client, &Url::parse("http://somewhere.invalid/metrics").unwrap()).await.unwrap();
    assert_eq!(proxy.requests()[0].uri, "http://somewhere.invalid/metrics");
    let client = world().client(&format!("{{proxy_url: '{}', no_proxy: '127.0.0.1'}}", proxy.url("/")));
    get(&client, &server.url("/")).await.unwrap();
    assert_eq!((proxy.requests().len(), server.requests().len()), (1, 1));
}

#[tokio::test]
async fn proxies_of_the_environment_are_used_when_asked_for() {
    let proxy = ok_server().await;
    let mut world = world();
    let url = proxy.url("/").to_string();
    world.surroundings.proxies = EnvironmentProxies::from_lookup(|name| match name {
        "http_proxy" => Some(url.clone()),
        "NO_PROXY" => Some("other.invalid".into()),
        _ => None,
    });
    let target = Url::parse("http://somewhere.invalid/metrics").unwrap();
    get(&world.client("{proxy_from_environment: true}"), &target).await.unwrap();
    assert_eq!(proxy.requests().len(), 1);
    assert!(get(&world.client("{}"), &Url::parse("http://127.0.0.1:1/").unwrap()).await.is_err());
    assert_eq!(proxy.requests().len(), 1);
}

/// A certificate authority and what it signed.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Certificate and key for a name, as PEM.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    async fn server(&self, name: &str, clients: Option<&Self>) -> TestServer {
        let (cert, key) = self.issue(name);
        let builder = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let mut roots = rustls::RootCertStore::empty();
                roots.add(CertificateDer::from_pem_slice(clients.pem().as_bytes()).unwrap()).unwrap();
                let provider = Arc::new(rustls::crypto::ring::default_provider());
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
                builder.with_client_cert_verifier(verifier)
            }
        };
        let chain = vec![CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()];
        let config = builder.with_single_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap();
        TestServer::start_tls(config, |_| answer(200, "text/plain", "ok")).await
    }
}

#[tokio::test]
async fn a_server_is_trusted_by_its_authority_and_name() {
    let (world, authority) = (world(), Authority::new());
    world.fs.write("/ca.pem", authority.pem());
    let by_address = authority.server("127.0.0.1", None).await;
    let by_name = authority.server("example.com", None).await;
    for (yaml, server, trusted) in [
        ("{tls_config: {ca_file: /ca.pem}}", &by_address, true),
        ("{tls_config: {ca_file: /ca.pem}, enable_http2: false}", &by_address, true),
        ("{tls_config: {ca_file: /ca.pem, min_version: TLS13}}", &by_address, true),
        ("{tls_config: {ca_file: /ca.pem, max_version: TLS12}}", &by_address, true),
        ("{}", &by_address, false),
        ("{tls_config: {ca_file: /ca.pem}}", &by_name, false),
        ("{tls_config: {ca_file: /ca.pem, server_name: example.com}}", &by_name, true),
        ("{tls_config: {ca_file: /ca.pem, server_name: example.org}}", &by_name, false),
        ("{tls_config: {insecure_skip_verify: true}}", &by_name, true),
    ] {
        let outcome = get(&world.client(yaml), &server.url("/")).await;
        assert_eq!(outcome.is_ok(), trusted, "{yaml}: {outcome:?}");
        if let Err(error) = outcome {
            assert!(error.contains("certificate"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_client_shows_its_certificate() {
    let (world, authority) = (world(), Authority::new());
    let server = authority.server("127.0.0.1", Some(&authority)).await;
    let (cert, key) = authority.issue("client");
    for (path, text) in [("/ca.pem", authority.pem()), ("/cert.pem", cert), ("/key.pem", key)] {
        world.fs.write(path, text);
    }
    let with = world.client("{tls_config: {ca_file: /ca.pem, cert_file: /cert.pem, key_file: /key.pem}}");
    assert_eq!(get(&with, &server.url("/")).await, Ok(200));
    assert!(get(&world.client("{tls_config: {ca_file: /ca.pem}}"), &server.url("/")).await.is_err());
}

#[tokio::test]
async fn a_changed_authority_is_noticed() {
    let (world, old, new) = (world(), Authority::new(), Authority::new());
    let server = new.server("127.0.0.1", None).await;
    world.fs.write("/ca.pem", old.pem());
    let client = world.client("{tls_config: {ca_file: /ca.pem}}");
    assert!(get(&client, &server.url("/")).await.is_err());
    world.fs.write("/ca.pem", new.pem());
    assert_eq!(get(&client, &server.url("/")).await, Ok(200));
}
