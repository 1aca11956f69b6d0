//! Debian's Prometheus 2.42 as a second opinion, on what it and today's Prometheus define alike.
//!
//! A process for each data set, which gets its samples by remote write.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStderr, Command, Stdio};

use anyhow::{Context, Result, ensure};
use pharos_model::LabelSet;
use pharos_model::number::parse_float;
use serde_json::Value;
use tempfile::TempDir;

use crate::case::Case;
use crate::compare::{Outcome, series};
use crate::data::Data;

const BINARY: &str = "/usr/bin/prometheus";

/// Why it cannot be asked.
pub(crate) fn missing() -> Option<String> {
    (!std::path::Path::new(BINARY).exists()).then(|| format!("{BINARY} is not installed"))
}

/// A running process; killed when dropped.
pub(crate) struct Prometheus {
    child: Child,
    address: String,
    /// Held open, because writing to a closed pipe would end the process.
    _log: BufReader<ChildStderr>,
    _dir: TempDir,
}

impl Prometheus {
    /// Starts a process on an empty directory and waits until it serves.
    pub(crate) fn start() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let config = dir.path().join("prometheus.yml");
        std::fs::write(&config, "global: {}\n")?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let mut child = Command::new(BINARY)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--web.enable-remote-write-receiver")
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        let mut log = BufReader::new(child.stderr.take().context("no log")?);
        let mut line = String::new();
        while !line.contains("Server is ready to receive web requests") {
            line.clear();
            ensure!(log.read_line(&mut line)? > 0, "prometheus ended before it was ready");
        }
        Ok(Self { child, address, _log: log, _dir: dir })
    }

    pub(crate) fn write(&self, data: &Data) -> Result<()> {
        let body = snap::raw::Encoder::new().compress_vec(&write_request(data))?;
        let headers = "Content-Encoding: snappy\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\n";
        let (status, text) = self.post("/api/v1/write", headers, &body)?;
        ensure!(status == 204, "remote write: {status} {text}");
        Ok(())
    }

    pub(crate) fn ask(&self, case: &Case) -> Result<Outcome> {
        let secs = |ms: i64| format!("{:.3}", ms as f64 / 1000.0);
        let query = percent_encoded(&case.text);
        let (path, body) = match case.step_ms {
            None => ("/api/v1/query", format!("query={query}&time={}", secs(case.start_ms))),
            Some(step_ms) => {
                let (start, end, step) = (secs(case.start_ms), secs(case.end_ms), secs(step_ms));
                ("/api/v1/query_range", format!("query={query}&start={start}&end={end}&step={step}"))
            }
        };
        let headers = "Content-Type: application/x-www-form-urlencoded\r\n";
        let (_, text) = self.post(path, headers, body.as_bytes())?;
        outcome(&serde_json::from_str(&text).with_context(|| text.clone())?)
    }

    /// HTTP/1.0, so that the answer ends with the connection.
    fn post(&self, path: &str, headers: &str, body: &[u8]) -> Result<(u16, String)> {
        let mut stream = TcpStream::connect(&self.address)?;
        write!(stream, "POST {path} HTTP/1.0\r\n{headers}Content-Length: {}\r\n\r\n", body.len())?;
        stream.write_all(body)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, text) = answer.split_once("\r\n\r\n").context("no header")?;
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        Ok((status, text.to_owned()))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself, then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The answer of the query API.
fn outcome(answer: &Value) -> Result<Outcome> {
    if let Some(error) = answer["error"].as_str() {
        return Ok(Outcome::Error(vec![error.to_owned()]));
    }
    let result = &answer["data"]["result"];
    if answer["data"]["resultType"] == "scalar" {
        return Ok(series(vec![(LabelSet::empty(), vec![point(result)?])]));
    }
    let list = result.as_array().context("no result")?.iter().map(|one| {
        let metric = one["metric"].as_object().context("no metric")?;
        let labels =
            LabelSet::from_pairs(metric.iter().map(|(name, value)| (name, value.as_str().unwrap_or_default())));
        let points = match one["values"].as_array() {
            Some(values) => values.iter().map(point).collect::<Result<_>>()?,
            None => vec![point(&one["value"])?],
        };
        Ok((labels, points))
    });
    Ok(series(list.collect::<Result<_>>()?))
}

/// `[seconds, "value"]`
fn point(pair: &Value) -> Result<(i64, f64)> {
    let secs = pair[0].as_f64().context("no time")?;
    let value = pair[1].as_str().and_then(parse_float).context("no value")?;
    Ok(((secs * 1000.0).round() as i64, value))
}

fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// `WriteRequest { timeseries = 1: { labels = 1: { name = 1, value = 2 }, samples = 2: { value = 1, timestamp = 2 } } }`
fn write_request(data: &Data) -> Vec<u8> {
    let mut request = Vec::new();
    for series in &data.series {
        let mut message = Vec::new();
        for label in &series.labels {
            let mut pair = Vec::new();
            push_bytes(&mut pair, 1, label.name.as_bytes());
            push_bytes(&mut pair, 2, label.value.as_bytes());
            push_bytes(&mut message, 1, &pair);
        }
        for sample in &series.samples {
            let mut encoded = vec![1 << 3 | 1];
            encoded.extend_from_slice(&sample.value.to_le_bytes());
            encoded.push(2 << 3);
            push_varint(&mut encoded, sample.ts as u64);
            push_bytes(&mut message, 2, &encoded);
        }
        push_bytes(&mut request, 1, &message);
    }
    request
}

fn push_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(field << 3 | 2);
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
