//! TLS as `tls_config` asks for it: own roots, a client certificate, another server name, or no verification at all.
//! Versions before 1.2 are never spoken. A configured server name is what the certificate is checked for; the name
//! sent to the server (SNI) stays that of the URL.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion};

use super::ClientError;
use crate::config::http::{TlsConfig, TlsVersion};
use crate::fs::FileSystem;

/// The machine's trusted roots, read once for each process.
static SYSTEM_ROOTS: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "cannot read a system root certificate");
    }
    roots.add_parsable_certificates(found.certs);
    Arc::new(roots)
});

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));

/// A `tls_config` and where its files are.
#[derive(Debug)]
pub(super) struct TlsMaterial {
    config: TlsConfig,
    fs: Arc<dyn FileSystem>,
}

/// Certificates and keys as they are now. Not printed: it holds the key.
pub(super) struct Loaded<'a> {
    config: &'a TlsConfig,
    ca: Vec<u8>,
    cert: Vec<u8>,
    key: Vec<u8>,
    /// Changes when a file does.
    pub(super) fingerprint: u128,
}

impl TlsMaterial {
    pub(super) fn new(config: TlsConfig, fs: Arc<dyn FileSystem>) -> Self {
        Self { config, fs }
    }

    pub(super) fn has_files(&self) -> bool {
        [&self.config.ca_file, &self.config.cert_file, &self.config.key_file].iter().any(|file| !file.is_empty())
    }

    pub(super) fn load(&self) -> Result<Loaded<'_>, ClientError> {
        let config = &self.config;
        let ca = self.text("CA cert", &config.ca, &config.ca_file)?;
        let cert = self.text("client cert", &config.cert, &config.cert_file)?;
        let key = self.text("client key", config.key.expose(), &config.key_file)?;
        let fingerprint = twox_hash::XxHash3_128::oneshot(&[&ca[..], b"\0", &cert, b"\0", &key].concat());
        Ok(Loaded { config, ca, cert, key, fingerprint })
    }

    fn text(&self, what: &str, inline: &str, file: &str) -> Result<Vec<u8>, ClientError> {
        if file.is_empty() {
            return Ok(inline.as_bytes().to_vec());
        }
        let read = self.fs.read(Path::new(file));
        read.map_err(|e| ClientError::Certificate { what: format!("{what} {file}"), problem: e.to_string() })
    }
}

impl Loaded<'_> {
    pub(super) fn client_config(&self, enable_http2: bool) -> Result<ClientConfig, ClientError> {
        let unusable = |what: &str, problem: String| ClientError::Certificate { what: what.into(), problem };
        let builder = ClientConfig::builder_with_provider(PROVIDER.clone())
            .with_protocol_versions(&self.versions())
            .map_err(|e| unusable("TLS versions", e.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(self.trust()?));
        let mut config = if self.cert.is_empty() {
            builder.with_no_client_auth()
        } else {
            let chain = certificates("client cert", &self.cert)?;
            // The parser's message is not repeated: the text is a private key.
            let key = PrivateKeyDer::from_pem_slice(&self.key)
                .map_err(|_| unusable("client key", "no PEM private key in it".into()))?;
            builder.with_client_auth_cert(chain, key).map_err(|e| unusable("client cert", e.to_string()))?
        };
        if enable_http2 {
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        } else {
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
        }
        Ok(config)
    }

    fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        let mut versions = Vec::new();
        if self.config.max_version != Some(TlsVersion::Tls12) {
            versions.push(&rustls::version::TLS13);
        }
        if self.config.min_version != Some(TlsVersion::Tls13) {
            versions.push(&rustls::version::TLS12);
        }
        versions
    }

    fn trust(&self) -> Result<Trust, ClientError> {
        if self.config.insecure_skip_verify {
            return Ok(Trust::Anyone);
        }
        let roots = if self.ca.is_empty() {
            SYSTEM_ROOTS.clone()
        } else {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(certificates("CA cert", &self.ca)?);
            Arc::new(roots)
        };
        if roots.is_empty() && self.ca.is_empty() {
            // A machine without roots can still scrape over plain HTTP.
            return Ok(Trust::Nobody);
        }
        let unusable = |e: rustls::client::VerifierBuilderError| ClientError::Certificate {
            what: "CA cert".into(),
            problem: e.to_string(),
        };
        let roots = WebPkiServerVerifier::builder_with_provider(roots, PROVIDER.clone()).build().map_err(unusable)?;
        let name = match &self.config.server_name {
            name if name.is_empty() => None,
            name => {
                let parsed = ServerName::try_from(name.clone());
                Some(parsed.map_err(|_| ClientError::ServerName(name.clone()))?)
            }
        };
        Ok(Trust::Vouched { roots, name })
    }
}

fn certificates(what: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(ClientError::Certificate { what: what.into(), problem: "no PEM certificate in it".into() }),
    }
}

/// Whom a server may be.
#[derive(Debug)]
enum Trust {
    /// Who the roots vouch for: under the URL's host, or under another name that is configured.
    Vouched { roots: Arc<WebPkiServerVerifier>, name: Option<ServerName<'static>> },
    /// `insecure_skip_verify`.
    Anyone,
    /// The machine has no root at all.
    Nobody,
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self {
            Self::Vouched { roots, name } => {
                roots.verify_server_cert(end_entity, intermediates, name.as_ref().unwrap_or(host), ocsp, now)
            }
            Self::Anyone => Ok(ServerCertVerified::assertion()),
            Self::Nobody => Err(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &PROVIDER.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &PROVIDER.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        PROVIDER.signature_verification_algorithms.supported_schemes()
    }
}
