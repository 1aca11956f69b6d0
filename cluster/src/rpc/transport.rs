//! How bytes get from node to node: TCP, or what a simulation puts in its place.

use std::fmt;
use std::io;
use std::net::IpAddr;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// A connection's bytes.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

/// Connects and listens. Implementations: [`Tcp`], and in memory the one of this crate's tests.
#[async_trait]
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// `address` is `host:port`; names are resolved each time.
    async fn connect(&self, address: &str) -> io::Result<Box<dyn Io>>;

    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>>;
}

/// Connections that others make to this node.
#[async_trait]
pub trait Listener: Send + 'static {
    /// Where it listens: with the port that the system chose, if it was asked to.
    fn address(&self) -> String;

    async fn accept(&mut self) -> io::Result<Box<dyn Io>>;
}

/// The machine's network. Small packets leave at once (TCP_NODELAY): what belongs together is written together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

#[async_trait]
impl Transport for Tcp {
    async fn connect(&self, address: &str) -> io::Result<Box<dyn Io>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }

    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        Ok(Box::new(TcpListener::bind(address).await?))
    }
}

#[async_trait]
impl Listener for TcpListener {
    fn address(&self) -> String {
        self.local_addr().map_or_else(|_| String::new(), |address| address.to_string())
    }

    async fn accept(&mut self) -> io::Result<Box<dyn Io>> {
        let (stream, _) = TcpListener::accept(self).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

/// The host of `host:port`, brackets of IPv6 taken off.
pub(super) fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Whether what is sent to `address` stays on this machine.
pub(super) fn is_loopback(address: &str) -> bool {
    let host = host_of(address);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_an_address_is_what_a_certificate_names() {
        assert_eq!(host_of("node-1.example:9097"), "node-1.example");
        assert_eq!(host_of("10.0.0.1:9097"), "10.0.0.1");
        assert_eq!(host_of("[::1]:9097"), "::1");
        assert_eq!(host_of("node-1"), "node-1");
    }

    #[test]
    fn loopback_is_told_by_the_address_alone() {
        for address in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1"] {
            assert!(is_loopback(address), "{address}");
        }
        for address in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "localhost.example:1", ":1", ""] {
            assert!(!is_loopback(address), "{address}");
        }
    }
}
