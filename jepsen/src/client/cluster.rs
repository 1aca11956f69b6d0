//! What a node says about its cluster, changes of members, and configuration documents.

use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde::Deserialize;
use serde_json::Value;

use super::Client;

/// `/api/v1/status/cluster`, as far as it is looked at.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Status {
    pub metadata: Metadata,
    pub nodes: Vec<NodeStatus>,
    pub partitions: Vec<Partition>,
    pub drains: Vec<Drain>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Metadata {
    pub leader: Option<String>,
    pub voters: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct NodeStatus {
    pub id: String,
    pub peer: String,
    pub alive: bool,
    pub leaders: usize,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Partition {
    pub partition: u16,
    /// `ok`, `degraded`, `no_leader`, `lost`.
    pub state: String,
    pub replicas: Vec<Value>,
    pub leader: Option<String>,
    pub term: Option<u64>,
    #[serde(rename = "move")]
    pub moving: Option<Value>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Drain {
    pub node: String,
    pub done: bool,
}

/// What an operator does with a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberChange {
    Drain,
    Remove,
}

/// A document as a node has it; version 0 when there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    pub version: u64,
    pub content: String,
}

/// What became of a compare-and-set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    Done,
    /// The document was at another version.
    Conflict,
    /// Certainly not done.
    Failed(String),
    Unknown(String),
}

impl Client {
    pub async fn status(&self, api: &str) -> Result<Status, String> {
        let (status, text) = self.get(api, "/api/v1/status/cluster").await.map_err(|error| error.to_string())?;
        serde_json::from_value(data(status, &text)?).map_err(|error| format!("a status that cannot be read: {error}"))
    }

    pub async fn change_member(&self, api: &str, change: MemberChange, node: &str) -> Result<(), String> {
        let verb = match change {
            MemberChange::Drain => "drain",
            MemberChange::Remove => "remove",
        };
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://{api}/api/v1/admin/cluster/{verb}?node={node}"))
            .body(Full::default())
            .expect("a well-formed request");
        let (status, text) = self.send(request).await.map_err(|error| error.to_string())?;
        if status.is_success() { Ok(()) } else { Err(format!("{status}: {}", String::from_utf8_lossy(&text).trim())) }
    }

    pub async fn document(&self, api: &str, name: &str) -> Result<Document, String> {
        let path = format!("/api/v1/config/documents/{name}");
        let (status, text) = self.get(api, &path).await.map_err(|error| error.to_string())?;
        if status == StatusCode::NOT_FOUND {
            return Ok(Document::default());
        }
        let data = data(status, &text)?;
        newest(&data).ok_or_else(|| format!("not a document: {data}"))
    }

    /// Makes this the document's content if it is at version `expected`.
    pub async fn put_document(&self, api: &str, name: &str, expected: u64, content: &str) -> PutOutcome {
        let request = Request::builder()
            .method(Method::PUT)
            .uri(format!("http://{api}/api/v1/config/documents/{name}?expected={expected}"))
            .header("content-type", "text/plain")
            .body(Full::new(content.to_owned().into()))
            .expect("a well-formed request");
        match self.send(request).await {
            Ok((status, _)) if status.is_success() => PutOutcome::Done,
            Ok((StatusCode::CONFLICT, _)) => PutOutcome::Conflict,
            Ok((status, text)) => {
                let reason = format!("{status}: {}", String::from_utf8_lossy(&text).trim());
                if status.is_client_error() { PutOutcome::Failed(reason) } else { PutOutcome::Unknown(reason) }
            }
            Err(error) if error.is_not_sent() => PutOutcome::Failed(error.to_string()),
            Err(error) => PutOutcome::Unknown(error.to_string()),
        }
    }
}

/// What a successful answer holds.
fn data(status: StatusCode, text: &[u8]) -> Result<Value, String> {
    if !status.is_success() {
        return Err(format!("{status}: {}", String::from_utf8_lossy(text).trim()));
    }
    let mut answer: Value = serde_json::from_slice(text).map_err(|error| format!("not JSON: {error}"))?;
    Ok(answer["data"].take())
}

/// The newest of all versions in an answer.
fn newest(data: &Value) -> Option<Document> {
    let own = data["version"].as_u64().zip(data["content"].as_str());
    let own = own.map(|(version, content)| Document { version, content: content.to_owned() });
    let inner: Box<dyn Iterator<Item = &Value>> = match data {
        Value::Array(items) => Box::new(items.iter()),
        Value::Object(fields) => Box::new(fields.values()),
        _ => Box::new(std::iter::empty()),
    };
    inner.filter_map(newest).chain(own).max_by_key(|document| document.version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_is_found_wherever_it_is() {
        let document = Some(Document { version: 3, content: "7".into() });
        for text in [
            r#"{"version":3,"content":"7"}"#,
            r#"{"name":"x","current":{"version":3,"content":"7","at_ms":1},"versions":[{"version":2,"content":"1"}]}"#,
            r#"{"versions":[{"version":2,"content":"1"},{"version":3,"content":"7"}]}"#,
        ] {
            assert_eq!(newest(&serde_json::from_str(text).unwrap()), document, "{text}");
        }
        assert_eq!(newest(&Value::Null), None);
    }

    #[test]
    fn a_status_is_read_and_an_error_is_none() {
        let text = br#"{"status":"success","data":{"cluster":null,"revision":7,"metadata":{"leader":"01","voters":["01"]},
            "nodes":[{"id":"01","state":"active","peer":"10.77.0.1:9095","alive":true,"leaders":3,"silence_ms":null}],
            "partitions":[{"partition":0,"state":"ok","epoch":1,"replicas":[{"node":"01","lag":0}],"leader":"01","term":4,"move":null}],
            "drains":[]}}"#;
        let status: Status = serde_json::from_value(data(StatusCode::OK, text).unwrap()).unwrap();
        assert_eq!((status.nodes[0].leaders, status.partitions[0].term), (3, Some(4)));
        assert!(data(StatusCode::SERVICE_UNAVAILABLE, text).is_err());
    }
}
