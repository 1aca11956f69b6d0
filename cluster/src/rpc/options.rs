//! Limits of the network, each with its default.

use std::num::NonZeroU64;
use std::time::Duration;

/// Limits and times of a [`super::Network`].
#[derive(Clone, Debug)]
pub struct RpcOptions {
    /// Most calls to one node that wait to be sent or for their answer. Default 8192.
    pub calls_max: usize,
    /// Most bytes of calls to one node that wait to be sent. Default 32 MiB.
    pub queue_bytes_max: usize,
    /// Most bytes of one body: of a call, an answer, a header. Default 8 MiB.
    pub body_bytes_max: usize,
    /// Most calls of one node that are worked on here at a time. Default 8192.
    pub serving_calls_max: usize,
    /// Most bytes of calls and unsent answers of one node. Default 64 MiB.
    pub serving_bytes_max: usize,
    /// Most uploads and downloads under way at a time with one node, each way. Default 128.
    pub transfers_max: usize,
    /// What one stream may send before its receiver has read it. Default 512 KiB. A connection's window has room for all its
    /// streams, so that a receiver who does not read one holds up no other.
    pub stream_window_bytes: u32,
    /// Longest wait for a connection, TLS and the other side's consent included. Default 2 s.
    pub connect_timeout: Duration,
    /// First wait before a failed connection is tried again; doubles up to `retry_max`. Default 50 ms.
    pub retry_min: Duration,
    /// Default 1 s.
    pub retry_max: Duration,
    /// A node that says nothing is pinged this often. Default 500 ms.
    pub ping_every: Duration,
    /// A connection on which nothing came for so long is given up. Default 5 s.
    pub silence_max: Duration,
    /// How long a connection may stay open before a node has said on it who it is. Default 5 s.
    pub introduction_timeout: Duration,
    /// Most connections that are accepted and open. Default 4096.
    pub connections_max: usize,
    /// Most of these on which no node has said who it is; the oldest makes room for the next. Default 256.
    pub strangers_max: usize,
    /// Most bytes a second of all uploads of this node together, which are snapshots for others; none is no limit. Default
    /// 100 MiB, less than a gigabit: writes and queries have the rest.
    pub upload_bytes_per_second: Option<NonZeroU64>,
}

impl Default for RpcOptions {
    fn default() -> Self {
        Self {
            calls_max: 8192,
            queue_bytes_max: 32 << 20,
            body_bytes_max: 8 << 20,
            serving_calls_max: 8192,
            serving_bytes_max: 64 << 20,
            transfers_max: 128,
            stream_window_bytes: 512 << 10,
            connect_timeout: Duration::from_secs(2),
            retry_min: Duration::from_millis(50),
            retry_max: Duration::from_secs(1),
            ping_every: Duration::from_millis(500),
            silence_max: Duration::from_secs(5),
            introduction_timeout: Duration::from_secs(5),
            connections_max: 4096,
            strangers_max: 256,
            upload_bytes_per_second: NonZeroU64::new(100 << 20),
        }
    }
}

impl RpcOptions {
    /// Names the first field that is out of range, and the range.
    pub fn validate(&self) -> Result<(), String> {
        let at_least_one = [
            ("calls_max", self.calls_max),
            ("serving_calls_max", self.serving_calls_max),
            ("connections_max", self.connections_max),
            ("strangers_max", self.strangers_max),
        ];
        if let Some((field, _)) = at_least_one.into_iter().find(|(_, value)| *value == 0) {
            return Err(format!("{field} is 0, it has to be at least 1"));
        }
        if !(1..=1024).contains(&self.transfers_max) {
            return Err(format!("transfers_max is {}, it has to be from 1 to 1024", self.transfers_max));
        }
        if !((64 << 10)..=(1 << 20)).contains(&self.stream_window_bytes) {
            return Err(format!(
                "stream_window_bytes is {}, it has to be from 64 KiB to 1 MiB",
                self.stream_window_bytes
            ));
        }
        if !((64 << 10)..=(64 << 20)).contains(&self.body_bytes_max) {
            return Err(format!("body_bytes_max is {}, it has to be from 64 KiB to 64 MiB", self.body_bytes_max));
        }
        if self.queue_bytes_max < self.body_bytes_max || self.serving_bytes_max < self.body_bytes_max {
            return Err("queue_bytes_max and serving_bytes_max have to be at least body_bytes_max".to_owned());
        }
        if self.retry_min.is_zero() || self.retry_max < self.retry_min {
            return Err("retry_min has to be above 0 and at most retry_max".to_owned());
        }
        if self.ping_every.is_zero() || self.silence_max < self.ping_every * 2 {
            return Err("ping_every has to be above 0, silence_max at least twice that".to_owned());
        }
        Ok(())
    }

    /// HTTP/2 streams of one connection: the exchange, uploads and downloads, and a few short questions.
    pub(super) fn streams_max(&self) -> u32 {
        2 * self.transfers_max as u32 + 8
    }

    /// Room for every stream's window.
    pub(super) fn connection_window_bytes(&self) -> u32 {
        self.stream_window_bytes.saturating_mul(self.streams_max()).min((1 << 31) - 1)
    }

    /// Most bytes of an encoded message: a body, and what is around it.
    pub(super) fn message_bytes_max(&self) -> usize {
        self.body_bytes_max + (64 << 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_in_range_and_every_stream_fits_the_connection() {
        let options = RpcOptions::default();
        options.validate().expect("the defaults");
        let widest = RpcOptions { transfers_max: 1023, stream_window_bytes: 1 << 20, ..options.clone() };
        for options in [options, widest] {
            let streams = u64::from(options.streams_max()) * u64::from(options.stream_window_bytes);
            assert!(streams <= u64::from(options.connection_window_bytes()) || streams >= 1 << 31);
        }
    }

    #[test]
    fn a_field_out_of_range_is_named() {
        let check = |options: RpcOptions, field: &str| {
            let error = options.validate().expect_err(field);
            assert!(error.contains(field), "{error}");
        };
        check(RpcOptions { calls_max: 0, ..RpcOptions::default() }, "calls_max");
        check(RpcOptions { transfers_max: 0, ..RpcOptions::default() }, "transfers_max");
        check(RpcOptions { stream_window_bytes: 1, ..RpcOptions::default() }, "stream_window_bytes");
        check(RpcOptions { queue_bytes_max: 1, ..RpcOptions::default() }, "queue_bytes_max");
        check(RpcOptions { retry_max: Duration::ZERO, ..RpcOptions::default() }, "retry_max");
        check(RpcOptions { silence_max: Duration::ZERO, ..RpcOptions::default() }, "silence_max");
    }
}
