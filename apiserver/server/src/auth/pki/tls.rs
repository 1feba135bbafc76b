//! TLS of the server: its configuration, and the certificate that a client showed.
//!
//! Invariant: the handshake asks for a client certificate and proves that the client holds its key; whether the certificate is to be believed
//! is judged per request (where the answer is 401, not a broken connection), once a connection. Follows
//! `staging/src/k8s.io/apiserver/pkg/server/secure_serving.go`.

use std::sync::{Arc, OnceLock};

use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::{authority::Issued, error::PkiError};
use crate::auth::{Unauthorized, User};

/// A certificate that led to an authority. Times in seconds since 1970.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified {
    /// `None` for a certificate without a common name, which is nobody.
    pub user: Option<Arc<User>>,
    pub not_before: i64,
    pub not_after: i64,
}

/// The certificate that a client showed on a connection, first its own, then what leads to an authority. Made once a connection;
/// clones share what was found out about it.
#[derive(Clone, Debug)]
pub struct PeerCertificate(Arc<Peer>);

#[derive(Debug)]
struct Peer {
    chain: Vec<CertificateDer<'static>>,
    verified: OnceLock<Result<Verified, Unauthorized>>,
    /// As that of a front proxy.
    proxy: OnceLock<Result<Verified, Unauthorized>>,
}

impl PeerCertificate {
    /// From what `rustls::ServerConnection::peer_certificates` has; `None` when the client showed none.
    pub fn from_chain(chain: Option<&[CertificateDer<'_>]>) -> Option<PeerCertificate> {
        let chain: Vec<_> = chain?
            .iter()
            .map(|certificate| certificate.clone().into_owned())
            .collect();
        (!chain.is_empty()).then(|| {
            PeerCertificate(Arc::new(Peer {
                chain,
                verified: OnceLock::new(),
                proxy: OnceLock::new(),
            }))
        })
    }

    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.0.chain
    }

    /// What `verify` said the first time.
    pub(crate) fn verified(
        &self,
        verify: impl FnOnce() -> Result<Verified, Unauthorized>,
    ) -> Result<&Verified, Unauthorized> {
        self.0
            .verified
            .get_or_init(verify)
            .as_ref()
            .map_err(Clone::clone)
    }

    /// Until when it is good, in seconds of Unix time; `None`: it was not believed, or nobody looked.
    pub fn expires(&self) -> Option<i64> {
        let verified = self.0.verified.get()?.as_ref();
        verified.ok().map(|verified| verified.not_after)
    }

    /// What `verify` said the first time of a front proxy.
    pub(crate) fn verified_proxy(
        &self,
        verify: impl FnOnce() -> Result<Verified, Unauthorized>,
    ) -> Result<&Verified, Unauthorized> {
        self.0
            .proxy
            .get_or_init(verify)
            .as_ref()
            .map_err(Clone::clone)
    }
}

/// Reads all certificates of a PEM file.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = read.map_err(|error| PkiError::Certificate(error.to_string()))?;
    if certificates.is_empty() {
        Err(PkiError::NoCertificate)
    } else {
        Ok(certificates)
    }
}

/// The private key of a pair.
pub fn private_key(pair: &Issued) -> Result<PrivateKeyDer<'static>, PkiError> {
    PrivateKeyDer::from_pem_slice(pair.key.as_bytes())
        .map_err(|error| PkiError::Tls(error.to_string()))
}

/// The authorities of a PEM file.
pub fn roots(pem: &[u8]) -> Result<RootCertStore, PkiError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots
            .add(certificate)
            .map_err(|error| PkiError::Certificate(error.to_string()))?;
    }
    Ok(roots)
}

/// A server that speaks HTTP/2 and HTTP/1.1 and asks for client certificates of the authorities in `client_ca` (PEM; `None`: does not ask).
pub fn server_config(
    serving: &Issued,
    client_ca: Option<&[u8]>,
) -> Result<Arc<ServerConfig>, PkiError> {
    let tls = |error: &dyn std::fmt::Display| PkiError::Tls(error.to_string());
    let authorities = client_ca.map(roots).transpose()?;
    let builder = skiff_watching::tls::server(authorities.map(|roots| roots.subjects()))
        .map_err(|error| tls(&error))?;
    let chain = certificates(serving.certificate.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(serving.key.as_bytes()).map_err(|error| tls(&error))?;
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| tls(&error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
