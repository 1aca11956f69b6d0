//! Starts the binary on a free port, asks it, kills it.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Longest wait for anything that has to happen; generous, machines are slow and shared.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks at something that has to happen.
const POLL: Duration = Duration::from_millis(20);
/// A configuration that scrapes nothing.
pub const NO_SCRAPES: &str = "global: {}\n";

/// A running node with its own folder.
pub struct Node {
    pub folder: PathBuf,
    pub address: String,
    child: Child,
    log: Log,
    arguments: Vec<String>,
    _own: Option<TempDir>,
}

impl Node {
    /// Starts in a new folder.
    pub fn start(config: &str, arguments: &[&str]) -> Self {
        let own = tempfile::tempdir().unwrap();
        let mut node = Self::start_in(own.path(), config, arguments);
        node._own = Some(own);
        node
    }

    /// Starts in a given folder, which may hold another node's data.
    pub fn start_in(folder: &Path, config: &str, arguments: &[&str]) -> Self {
        let node = Self::launch_in(folder, config, arguments);
        node.wait_ready("");
        node
    }

    /// Starts in a new folder with a prefix before all paths, which the arguments ask for.
    pub fn start_below(prefix: &str, arguments: &[&str]) -> Self {
        let own = tempfile::tempdir().unwrap();
        let mut node = Self::launch_in(own.path(), NO_SCRAPES, arguments);
        node._own = Some(own);
        node.wait_ready(prefix);
        node
    }

    /// Starts without waiting for more than that it listens.
    pub fn launch_in(folder: &Path, config: &str, arguments: &[&str]) -> Self {
        std::fs::write(folder.join("config.yml"), config).unwrap();
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let (child, address, log) = spawn(folder, "127.0.0.1:0", &arguments);
        Self { folder: folder.to_owned(), address, child, log, arguments, _own: None }
    }

    fn wait_ready(&self, prefix: &str) {
        eventually("the node is ready", || self.get(&format!("{prefix}/-/ready")).0 == 200);
    }

    /// Replaces the configuration and reloads it; the node needs `--web.enable-lifecycle`.
    pub fn reconfigure(&self, config: &str) {
        std::fs::write(self.folder.join("config.yml"), config).unwrap();
        assert_eq!(self.post("/-/reload", &[], b""), (200, String::new()));
    }

    /// Where a GET is sent on to.
    pub fn redirect(&self, path: &str) -> String {
        let (head, _) = exchange(&format!("GET {path} HTTP/1.1"), &self.address, &[], b"").unwrap();
        let location = head.lines().find_map(|line| line.strip_prefix("location: "));
        location.unwrap_or_else(|| panic!("{path} sends nowhere: {head}")).to_owned()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the process with SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts again on the same address after [`Node::kill`] or [`Node::terminate`].
    pub fn restart(&mut self) {
        self.relaunch();
        self.wait_ready("");
    }

    /// The same without waiting for more than that it listens.
    pub fn relaunch(&mut self) {
        (self.child, self.address, self.log) = spawn(&self.folder, &self.address, &self.arguments);
    }

    /// The exit code of a node that ends by itself.
    pub fn wait(&mut self) -> i32 {
        self.child.wait().unwrap().code().expect("the node ends by itself")
    }

    pub fn signal(&self, name: &str) {
        assert!(Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status().unwrap().success());
    }

    /// SIGTERM; returns the exit code.
    pub fn terminate(&mut self) -> i32 {
        self.signal("TERM");
        self.wait()
    }

    /// What the node has logged since it was last started.
    pub fn logged(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Status and body.
    pub fn get(&self, path: &str) -> (u16, String) {
        send(&format!("GET {path} HTTP/1.1"), &self.address, &[], b"").unwrap_or((0, String::new()))
    }

    pub fn post_form(&self, path: &str, form: &[(&str, &str)]) -> (u16, String) {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        send(&format!("POST {path} HTTP/1.1"), &self.address, &headers, body.as_bytes()).unwrap()
    }

    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
        send(&format!("POST {path} HTTP/1.1"), &self.address, headers, body).unwrap()
    }

    /// Sends samples by remote write.
    pub fn write(&self, series: &[WrittenSeries<'_>]) -> (u16, String) {
        self.post("/api/v1/write", &WRITE_HEADERS, &write_request(series))
    }

    /// Data files in the node's own object store.
    pub fn data_files(&self) -> usize {
        walk(&self.folder.join("data")).iter().filter(|name| name.ends_with(".parquet")).count()
    }

    /// `data` of a GET that must succeed.
    pub fn data(&self, path: &str) -> Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        let mut answer: Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"));
        assert_eq!(answer["status"], "success", "{body}");
        answer["data"].take()
    }

    /// `data.result` of an instant query.
    pub fn query(&self, expr: &str, time: Option<f64>) -> Value {
        let time = time.map(|time| time.to_string());
        let mut form = vec![("query", expr)];
        form.extend(time.as_deref().map(|time| ("time", time)));
        let (status, body) = self.post_form("/api/v1/query", &form);
        assert_eq!(status, 200, "{expr}: {body}");
        serde_json::from_str::<Value>(&body).unwrap()["data"]["result"].take()
    }

    /// The one number that an instant query returns.
    pub fn number(&self, expr: &str, time: Option<f64>) -> Option<f64> {
        self.query(expr, time)[0]["value"][1].as_str().map(|text| text.parse().unwrap())
    }
}

fn walk(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries
        .flatten()
        .flat_map(
            |entry| if entry.path().is_dir() { walk(&entry.path()) } else { vec![entry.path().display().to_string()] },
        )
        .collect()
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Labels and samples of one series of a write request.
pub type WrittenSeries<'a> = (&'a [(&'a str, &'a str)], &'a [(i64, f64)]);

/// Headers of a remote-write 1.0 request.
pub const WRITE_HEADERS: [(&str, &str); 3] = [
    ("content-encoding", "snappy"),
    ("content-type", "application/x-protobuf"),
    ("x-prometheus-remote-write-version", "0.1.0"),
];

/// The binary under test.
pub fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_pharos"))
}

/// Lines that a node wrote to standard error.
type Log = Arc<Mutex<String>>;

fn spawn(folder: &Path, listen: &str, arguments: &[String]) -> (Child, String, Log) {
    let mut child = binary()
        .arg("server")
        .arg(format!("--config.file={}", folder.join("config.yml").display()))
        .arg(format!("--storage.path={}", folder.join("data").display()))
        .arg(format!("--web.listen-address={listen}"))
        .args(arguments)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = Log::default();
    let address = listening_address(&mut child, log.clone());
    (child, address, log)
}

/// Waits for the line that says where a node listens; its log is kept, and goes on to the test's output.
fn listening_address(child: &mut Child, log: Log) -> String {
    let lines = BufReader::new(child.stderr.take().expect("standard error is piped")).lines();
    let (send_address, address) = mpsc::channel();
    // Reads to the end, so that the node never blocks on a full pipe.
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if let Some((_, address)) = line.split_once("msg=\"Listening on\" address=") {
                let _ = send_address.send(address.to_owned());
            }
            eprintln!("node: {line}");
            let mut log = log.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
        }
    });
    address.recv_timeout(PATIENCE).expect("the node says where it listens")
}

/// Waits until something holds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(POLL);
    }
}

/// One request on a connection of its own: status and body. `None` when nobody answers.
pub fn send(line: &str, address: &str, headers: &[(&str, &str)], body: &[u8]) -> Option<(u16, String)> {
    let (head, body) = exchange(line, address, headers, body)?;
    Some((head.split(' ').nth(1)?.parse().ok()?, String::from_utf8_lossy(&body).into_owned()))
}

/// The same with the answer's head, in lower case, and the body as it came.
pub fn exchange(line: &str, address: &str, headers: &[(&str, &str)], body: &[u8]) -> Option<(String, Vec<u8>)> {
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut head = format!("{line}\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    stream.write_all(format!("{head}\r\n").as_bytes()).ok()?;
    // The node may answer, and close, before it has read a body that it refuses.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let at = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..at]).to_ascii_lowercase();
    let body = &answer[at + 4..];
    let body = if head.contains("transfer-encoding: chunked") { unchunk(body) } else { body.to_vec() };
    Some((head, body))
}

fn unchunk(mut body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(at) = body.windows(2).position(|window| window == b"\r\n") {
        let size = std::str::from_utf8(&body[..at]).ok().and_then(|size| usize::from_str_radix(size.trim(), 16).ok());
        let rest = &body[at + 2..];
        let Some(size) = size.filter(|size| *size > 0 && *size <= rest.len()) else { break };
        out.extend_from_slice(&rest[..size]);
        body = rest[size..].strip_prefix(b"\r\n").unwrap_or(&rest[size..]);
    }
    out
}

/// A compressed remote-write body. Labels must be sorted for a well-formed request.
pub fn write_request(series: &[WrittenSeries<'_>]) -> Vec<u8> {
    let mut request = Vec::new();
    for (labels, samples) in series {
        let mut one = Vec::new();
        for (name, value) in *labels {
            let mut label = Vec::new();
            field(&mut label, 0x0a, name.as_bytes());
            field(&mut label, 0x12, value.as_bytes());
            field(&mut one, 0x0a, &label);
        }
        for (ts, value) in *samples {
            let mut sample = vec![0x09];
            sample.extend_from_slice(&value.to_le_bytes());
            sample.push(0x10);
            varint(&mut sample, *ts as u64);
            field(&mut one, 0x12, &sample);
        }
        field(&mut request, 0x0a, &one);
    }
    compress(&request)
}

pub fn compress(body: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(body).unwrap()
}

/// A length-delimited field of a protobuf message.
pub fn field(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A protobuf varint.
pub fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Milliseconds since the epoch, now.
pub fn now_ms() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64
}

/// Prints why a test does nothing here. Past the capture of a test's output, which nobody sees when the test passes.
pub fn skipped(reason: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {reason}");
}

/// Whether a program is installed; prints why a test is skipped when it is not.
pub fn installed(program: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).exists()));
    if !found {
        skipped(&format!("{program} is not installed"));
    }
    found
}

/// A free port on loopback. Something else may take it before it is used; peers without `:0` need it all the same.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
