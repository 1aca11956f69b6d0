//! Mutual TLS between nodes, and when it may be left out.
//!
//! Both sides show a certificate of the cluster's own authority, and it has to name (subjectAltName, DNS or IP) the host of
//! the advertised address of the node that it says it is. Ids cannot be in certificates that are made before a node first
//! starts, for they are drawn then; hosts are known to whoever makes certificates, for instance to cert-manager. Whoever
//! gives all nodes one certificate for all hosts, or a wildcard, gives up telling them apart.
//! Certificates need both extended key usages, `serverAuth` and `clientAuth`, if they name any.

use std::fmt;
use std::io;
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::transport::{Io, host_of, is_loopback};

/// A node's certificate with what leads up to the authority, its key, and the authorities that nodes trust: contents of PEM files.
#[derive(Clone)]
pub struct TlsOptions {
    pub cert: Vec<u8>,
    pub key: Vec<u8>,
    pub ca: Vec<u8>,
}

impl fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsOptions").finish_non_exhaustive()
    }
}

/// How connections between nodes are protected.
#[derive(Clone, Debug)]
pub enum Security {
    Mutual(TlsOptions),
    /// Not at all, and therefore on this machine only.
    PlainOnLoopback,
    /// Not at all: whoever reaches the port can read and write everything.
    Plain,
}

/// Why TLS cannot be used as it was given, or must be.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read the {what} of the cluster's TLS: {reason}")]
    Pem { what: &'static str, reason: String },
    #[error("the cluster's TLS certificate, key and authorities do not go together: {reason}")]
    Config { reason: String },
    #[error(
        "`{address}` is not a loopback address: nodes talk over a network with TLS only; give certificate, key and \
         authority, or allow plain connections explicitly"
    )]
    PlainOverNetwork { address: String },
    #[error("this node was started without TLS: restart it to change that")]
    StartedPlain,
}

/// [`Security`], ready to be used. Connections are made and accepted through it.
pub(super) enum Guard {
    Mutual(RwLock<Arc<Configs>>),
    PlainOnLoopback,
    Plain,
}

pub(super) struct Configs {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mutual(_) => "Mutual",
            Self::PlainOnLoopback => "PlainOnLoopback",
            Self::Plain => "Plain",
        })
    }
}

impl Guard {
    pub(super) fn new(security: &Security) -> Result<Self, TlsError> {
        Ok(match security {
            Security::Mutual(options) => Self::Mutual(RwLock::new(Arc::new(Configs::new(options)?))),
            Security::PlainOnLoopback => Self::PlainOnLoopback,
            Security::Plain => Self::Plain,
        })
    }

    /// Connections from now on use `options`; those that are open stay.
    pub(super) fn replace(&self, options: &TlsOptions) -> Result<(), TlsError> {
        let Self::Mutual(configs) = self else { return Err(TlsError::StartedPlain) };
        let fresh = Arc::new(Configs::new(options)?);
        *configs.write() = fresh;
        Ok(())
    }

    /// Fails if nothing may be sent to or from `address`.
    pub(super) fn allows(&self, address: &str) -> Result<(), TlsError> {
        match self {
            Self::PlainOnLoopback if !is_loopback(address) => {
                Err(TlsError::PlainOverNetwork { address: address.to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// This side called: the other has to be the host of `address`.
    pub(super) async fn connected(&self, io: Box<dyn Io>, address: &str) -> io::Result<Box<dyn Io>> {
        let Self::Mutual(configs) = self else { return Ok(io) };
        let config = Arc::clone(&configs.read().client);
        let name = ServerName::try_from(host_of(address).to_owned()).map_err(io::Error::other)?;
        Ok(Box::new(TlsConnector::from(config).connect(name, io).await?))
    }

    /// The other side called; its certificate is looked at when it has said who it is.
    pub(super) async fn accepted(&self, io: Box<dyn Io>) -> io::Result<(Box<dyn Io>, Option<Certificate>)> {
        let Self::Mutual(configs) = self else { return Ok((io, None)) };
        let config = Arc::clone(&configs.read().server);
        let stream = TlsAcceptor::from(config).accept(io).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first().cloned());
        let certificate = certificate.ok_or_else(|| io::Error::other("the caller has no certificate"))?;
        Ok((Box::new(stream), Some(Certificate(certificate))))
    }
}

/// A caller's certificate, signed by the cluster's authority.
#[derive(Debug)]
pub(super) struct Certificate(CertificateDer<'static>);

impl Certificate {
    pub(super) fn names(&self, host: &str) -> bool {
        let Ok(name) = ServerName::try_from(host) else { return false };
        ParsedCertificate::try_from(&self.0).is_ok_and(|certificate| verify_server_name(&certificate, &name).is_ok())
    }
}

impl Configs {
    fn new(options: &TlsOptions) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let chain = certificates("certificate", &options.cert)?;
        let key = PrivateKeyDer::from_pem_slice(&options.key)
            .map_err(|error| TlsError::Pem { what: "key", reason: error.to_string() })?;
        let mut roots = RootCertStore::empty();
        for authority in certificates("authority", &options.ca)? {
            roots.add(authority).map_err(|error| TlsError::Pem { what: "authority", reason: error.to_string() })?;
        }
        let roots = Arc::new(roots);
        Ok(Self {
            client: Arc::new(client(&provider, &roots, chain.clone(), key.clone_key())?),
            server: Arc::new(server(&provider, roots, chain, key)?),
        })
    }
}

fn client(
    provider: &Arc<CryptoProvider>,
    roots: &Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, TlsError> {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(config_error)?
        .with_root_certificates(Arc::clone(roots))
        .with_client_auth_cert(chain, key)
        .map_err(config_error)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn server(
    provider: &Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, TlsError> {
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider)).build().map_err(config_error)?;
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(config_error)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(config_error)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| TlsError::Pem { what, reason: error.to_string() })?;
    if certificates.is_empty() {
        return Err(TlsError::Pem { what, reason: "there is no certificate in it".to_owned() });
    }
    Ok(certificates)
}

fn config_error(error: impl fmt::Display) -> TlsError {
    TlsError::Config { reason: error.to_string() }
}
