//! The requests that begin a stream, as bytes.

use std::sync::Arc;

use datafusion::common::{Result, exec_datafusion_err};
use datafusion::execution::TaskContext;
use datafusion_distributed::{ExecuteTaskRequest, MaybeEncoded, ProducerHead, SetPlanRequest, TaskKey};
use http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;
use uuid::Uuid;

use crate::wire::{Wire, WireError, wire_enum, wire_struct};

#[derive(Debug)]
pub(super) enum Request {
    Plan(PlanRequest),
    Task(TaskRequest),
}

/// A part of a query, to be kept for its tasks.
#[derive(Debug)]
pub(super) struct PlanRequest {
    headers: Vec<Header>,
    key: Key,
    task_count: usize,
    plan: Vec<u8>,
    worker_url: String,
    begun_ns: usize,
}

/// One partition of a plan that the worker has, or is about to get.
#[derive(Debug)]
pub(super) struct TaskRequest {
    key: Key,
    partition: usize,
}

#[derive(Clone, Copy, Debug)]
struct Key(TaskKey);

#[derive(Debug)]
struct Header {
    name: String,
    value: Vec<u8>,
}

wire_enum!(Request { 0 = Plan(plan), 1 = Task(task) });
wire_struct!(PlanRequest { headers, key, task_count, plan, worker_url, begun_ns });
wire_struct!(TaskRequest { key, partition });
wire_struct!(Header { name, value });

impl Wire for Key {
    fn put(&self, out: &mut Vec<u8>) {
        let TaskKey { query_id, stage_id, task_number } = self.0;
        let (high, low) = query_id.as_u64_pair();
        (high, low).put(out);
        (stage_id, task_number).put(out);
    }

    fn take(bytes: &mut &[u8]) -> Result<Self, WireError> {
        let ((high, low), (stage_id, task_number)) = (Wire::take(bytes)?, Wire::take(bytes)?);
        Ok(Self(TaskKey { query_id: Uuid::from_u64_pair(high, low), stage_id, task_number }))
    }
}

impl PlanRequest {
    pub(super) fn new(headers: &HeaderMap, request: SetPlanRequest, task: &Arc<TaskContext>) -> Result<Self> {
        let header = |(name, value): (&HeaderName, &HeaderValue)| Header {
            name: name.to_string(),
            value: value.as_bytes().to_vec(),
        };
        Ok(Self {
            headers: headers.iter().map(header).collect(),
            key: Key(request.task_key),
            task_count: request.task_count,
            plan: request.plan.encode(task)?,
            worker_url: request.target_worker_url.into(),
            begun_ns: request.query_start_time_ns,
        })
    }

    pub(super) fn into_parts(self) -> Result<(HeaderMap, SetPlanRequest)> {
        let mut headers = HeaderMap::new();
        for Header { name, value } in self.headers {
            let name: HeaderName = name.parse().map_err(|error| exec_datafusion_err!("header `{name}`: {error}"))?;
            let value =
                HeaderValue::from_bytes(&value).map_err(|error| exec_datafusion_err!("header `{name}`: {error}"))?;
            headers.append(name, value);
        }
        let url = &self.worker_url;
        let request = SetPlanRequest {
            task_key: self.key.0,
            task_count: self.task_count,
            plan: MaybeEncoded::Encoded(self.plan),
            work_unit_feed_declarations: Vec::new(),
            target_worker_url: Url::parse(url).map_err(|error| exec_datafusion_err!("worker `{url}`: {error}"))?,
            query_start_time_ns: self.begun_ns,
        };
        Ok((headers, request))
    }
}

impl TaskRequest {
    pub(super) fn new(request: &ExecuteTaskRequest, partition: usize) -> Self {
        Self { key: Key(request.task_key), partition }
    }
}

impl From<TaskRequest> for ExecuteTaskRequest {
    fn from(TaskRequest { key, partition }: TaskRequest) -> Self {
        Self {
            task_key: key.0,
            target_partition_start: partition,
            target_partition_end: partition.saturating_add(1),
            producer_head: ProducerHead::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_plan_comes_as_it_was_sent() {
        let mut headers = HeaderMap::new();
        headers.append("a", HeaderValue::from_static("1"));
        headers.append("a", HeaderValue::from_static("2"));
        let key = TaskKey { query_id: Uuid::from_u64_pair(7, u64::MAX), stage_id: 2, task_number: 300 };
        let request = SetPlanRequest {
            task_key: key,
            task_count: 3,
            plan: MaybeEncoded::Encoded(vec![1, 2, 255]),
            work_unit_feed_declarations: Vec::new(),
            target_worker_url: Url::parse("worker://node-1").unwrap(),
            query_start_time_ns: 1 << 60,
        };
        let sent = Request::Plan(PlanRequest::new(&headers, request, &Arc::default()).unwrap()).to_bytes();
        let Request::Plan(came) = Request::from_bytes(&sent).unwrap() else { panic!("a plan") };
        let (came_headers, came) = came.into_parts().unwrap();
        assert_eq!(came_headers, headers);
        assert_eq!((came.task_key, came.task_count, came.query_start_time_ns), (key, 3, 1 << 60));
        assert_eq!(came.target_worker_url.as_str(), "worker://node-1");
        assert_eq!(came.plan.encode(&Arc::default()).unwrap(), [1, 2, 255]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_request_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(Request::Plan(plan)) = Request::from_bytes(&bytes) {
                let _ = plan.into_parts();
            }
        }
    }
}
