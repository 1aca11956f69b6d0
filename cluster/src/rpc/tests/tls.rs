//! Certificates: right ones, wrong ones, and none.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::*;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    fn certify(&self, name: &str) -> TlsOptions {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        TlsOptions {
            cert: certificate.pem().into_bytes(),
            key: key.serialize_pem().into_bytes(),
            ca: self.0.pem().into_bytes(),
        }
    }
}

async fn node(node: NodeId, book: &Book, tls: TlsOptions) -> TestNode {
    TestNode::start_with(node, book, "127.0.0.1:0", |setup| setup.security = Security::Mutual(tls)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_with_certificates_of_one_authority_talk() {
    let (book, authority) = (Book::default(), Authority::new());
    let one = node(1, &book, authority.certify("127.0.0.1")).await;
    let two = node(2, &book, authority.certify("127.0.0.1")).await;
    assert_eq!(one.call(2, ECHO, vec![5; 100_000]).await, Ok(vec![5; 100_000].into()));
    assert_eq!(two.call(1, ECHO, "back").await, Ok("back".into()));
    let pieces: Vec<_> = two
        .network
        .download(1, SOURCE, Bytes::from(40u64.to_le_bytes().to_vec()))
        .await
        .expect("a download")
        .collect()
        .await;
    assert_eq!(pieces.len(), 40);
    let me = Introduction { node: 1, address: one.address.clone(), ..one.script.introduction() };
    one.network.probe(&two.address, &me).await.expect("an answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_another_authority_is_refused_by_both_sides() {
    let (book, authority, other) = (Book::default(), Authority::new(), Authority::new());
    let one = node(1, &book, authority.certify("127.0.0.1")).await;
    let two = node(2, &book, other.certify("127.0.0.1")).await;
    let failed = reason(one.call(2, ECHO, "").await.expect_err("not one authority"));
    assert!(failed.contains("TLS with"), "{failed}");
    // One that trusts the other's authority has still no certificate of it.
    let half = TlsOptions { ca: other.certify("x").ca, ..authority.certify("127.0.0.1") };
    let three = node(3, &book, half).await;
    reason(three.call(2, ECHO, "").await.expect_err("its certificate is of another authority"));
    until("it is dropped", || two.metric("pharos_rpc_connections_dropped_total", &[("reason", "tls")]) >= 2.0).await;
    assert_eq!(two.metric("pharos_rpc_calls_total", &[("direction", "served")]), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_has_to_name_the_host_of_its_node() {
    let (book, authority) = (Book::default(), Authority::new());
    let one = node(1, &book, authority.certify("127.0.0.1")).await;
    let two = node(2, &book, authority.certify("two.example")).await;
    let failed = reason(one.call(2, ECHO, "").await.expect_err("not its host"));
    assert!(failed.contains("not valid for name"), "{failed}");
    let refused = reason(two.call(1, ECHO, "").await.expect_err("not its host"));
    assert!(refused.contains("the certificate of node 0000000000000002 is not for `127.0.0.1`"), "{refused}");
    assert!(refused.contains("add that name to the certificate (subjectAltName)"), "{refused}");
    let me = Introduction { node: 2, address: "three.example:1".to_owned(), ..two.script.introduction() };
    let refused = two.network.probe(&one.address, &me).await.expect_err("not its host");
    assert!(refused.to_string().contains("is not for `three.example`"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_cannot_speak_as_another() {
    let (book, authority) = (Book::default(), Authority::new());
    let one = node(1, &book, authority.certify("127.0.0.1")).await;
    // Node 3 has a good certificate of its own, and says that it is node 2.
    let others = Book::default();
    others.member(1, &one.address);
    let mut setup = setup(2, &others, &Registry::new());
    setup.security = Security::Mutual(authority.certify("three.example"));
    let liar = Network::new(setup).expect("a network");
    liar.enter(CLUSTER_ID);
    book.member(2, "two.example:9097");
    let refused = reason(liar.call(1, ECHO, Bytes::new(), PATIENCE).await.expect_err("refused"));
    assert!(refused.contains("is not for `two.example`"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_certificates_are_used_without_a_restart() {
    let (book, old, new) = (Book::default(), Authority::new(), Authority::new());
    let one = node(1, &book, old.certify("127.0.0.1")).await;
    let two = node(2, &book, new.certify("127.0.0.1")).await;
    reason(one.call(2, ECHO, "").await.expect_err("not one authority"));
    assert!(one.network.replace_tls(&TlsOptions { key: b"no".to_vec(), ..new.certify("127.0.0.1") }).is_err());
    one.network.replace_tls(&new.certify("127.0.0.1")).expect("good ones");
    one.reaches(2).await;
    two.reaches(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_and_tls_do_not_mix() {
    let (book, authority) = (Book::default(), Authority::new());
    let one = TestNode::start(1, &book).await;
    let two = node(2, &book, authority.certify("127.0.0.1")).await;
    reason(one.call(2, ECHO, "").await.expect_err("plain to TLS"));
    reason(two.call(1, ECHO, "").await.expect_err("TLS to plain"));
    let error = one.network.replace_tls(&authority.certify("127.0.0.1")).expect_err("started plain");
    assert!(error.to_string().contains("restart it"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_tls_nothing_leaves_the_machine_unless_it_is_allowed() {
    let book = Book::default();
    let script = Arc::new(Script::default());
    let network = Network::new(setup(1, &book, &Registry::new())).expect("a network");
    network.enter(CLUSTER_ID);
    let error = network.serve("0.0.0.0:0", script.clone(), script.clone()).await.expect_err("not loopback");
    assert!(error.to_string().contains("allow plain connections explicitly"), "{error}");
    book.member(2, "192.0.2.1:9097");
    let failed = reason(network.call(2, ECHO, Bytes::new(), PATIENCE).await.expect_err("not loopback"));
    assert!(failed.contains("nodes talk over a network with TLS only"), "{failed}");
    let mut setup = setup(3, &book, &Registry::new());
    setup.security = Security::Plain;
    let network = Network::new(setup).expect("a network");
    network.serve("0.0.0.0:0", script.clone(), script).await.expect("it was allowed");
}

#[test]
fn unusable_certificates_are_named() {
    let (good, other) = (Authority::new().certify("a"), Authority::new().certify("a"));
    let check = |tls: TlsOptions, words: &str| {
        let mut setup = setup(1, &Book::default(), &Registry::new());
        setup.security = Security::Mutual(tls);
        let error = Network::new(setup).expect_err(words).to_string();
        assert!(error.contains(words), "{error}");
        assert!(!error.contains("PRIVATE"), "{error}");
    };
    check(TlsOptions { cert: b"".to_vec(), ..good.clone() }, "cannot read the certificate");
    check(TlsOptions { key: b"x".to_vec(), ..good.clone() }, "cannot read the key");
    check(TlsOptions { ca: b"-".to_vec(), ..good.clone() }, "cannot read the authority");
    check(TlsOptions { key: other.key, ..good.clone() }, "do not go together");
    assert_eq!(format!("{good:?}"), "TlsOptions { .. }");
}
