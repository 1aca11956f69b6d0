//! The simulated network as the transport of [`crate::rpc`].

use std::io;

use async_trait::async_trait;
use turmoil::net::{TcpListener, TcpStream};

use crate::rpc::transport::{Io, Listener, Transport};

pub(super) const PORT: u16 = 9000;

/// Connections of the host that uses it.
#[derive(Debug)]
pub(super) struct Wire;

#[async_trait]
impl Transport for Wire {
    async fn connect(&self, address: &str) -> io::Result<Box<dyn Io>> {
        Ok(Box::new(TcpStream::connect(address).await?))
    }

    /// A host has one address.
    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
        Ok(Box::new(Door { listener, address: address.to_owned() }))
    }
}

struct Door {
    listener: TcpListener,
    address: String,
}

#[async_trait]
impl Listener for Door {
    fn address(&self) -> String {
        self.address.clone()
    }

    async fn accept(&mut self) -> io::Result<Box<dyn Io>> {
        let (stream, _) = self.listener.accept().await?;
        Ok(Box::new(stream))
    }
}
