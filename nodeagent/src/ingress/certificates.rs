//! Which certificate a client is shown, by the name that it asks for.
//!
//! Invariant: a name has its own certificate, else that of the wildcard above it, else the proxy's own, which nobody signed. Secrets of another type than
//! `kubernetes.io/tls` are not looked at. Follows `staging/src/k8s.io/api/core/v1/types.go` upstream.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use parking_lot::Mutex;
use rustls::{
    ServerConfig,
    crypto::ring::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use skiff_ingress::{
    listeners::most_precise,
    table::{HostMatch, host_of},
};

use crate::network::view::ObjectName;

/// The type that Secrets with certificates have.
pub const SECRET_TYPE: &str = "kubernetes.io/tls";

/// Why there is no certificate.
#[derive(thiserror::Error, Debug, Clone)]
pub enum Error {
    #[error("it has no {0}")]
    Missing(&'static str),
    #[error("its {0} cannot be read: {1}")]
    Pem(&'static str, String),
    #[error("its key does not belong to its certificate: {0}")]
    Key(String),
    #[error("the proxy's own certificate cannot be made: {0}")]
    Own(String),
}

/// A certificate with its key.
#[derive(Clone)]
pub struct Certificate {
    pub key: Arc<CertifiedKey>,
    pub not_after: Timestamp,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "certificate until {}", self.not_after)
    }
}

impl Certificate {
    /// Reads `tls.crt` and `tls.key`.
    pub fn of(secret: &Secret) -> Result<Certificate, Error> {
        let data = |name| {
            let found = secret.data.as_ref().and_then(|data| data.get(name));
            let found = found.map(|bytes| bytes.0.as_slice());
            found
                .filter(|bytes| !bytes.is_empty())
                .ok_or(Error::Missing(name))
        };
        Self::read(data("tls.crt")?, data("tls.key")?)
    }

    /// Reads PEM.
    pub fn read(certificates: &[u8], key: &[u8]) -> Result<Certificate, Error> {
        let wrong = |error: rustls::pki_types::pem::Error| Error::Pem("tls.crt", error.to_string());
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificates)
            .collect::<Result<_, _>>()
            .map_err(wrong)?;
        let first = chain
            .first()
            .ok_or(Error::Missing("certificate in tls.crt"))?;
        let (_, parsed) = x509_parser::parse_x509_certificate(first)
            .map_err(|error| Error::Pem("tls.crt", error.to_string()))?;
        let seconds = parsed.validity().not_after.timestamp();
        let not_after = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| Error::Pem("tls.key", error.to_string()))?;
        let key =
            any_supported_type(&key).map_err(|error| Error::Pem("tls.key", error.to_string()))?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(error) => return Err(Error::Key(error.to_string())),
        }
        Ok(Certificate {
            key: Arc::new(certified),
            not_after,
        })
    }

    /// One that nobody signed, for names that have none.
    pub fn own() -> Result<Certificate, Error> {
        let wrong = |error: rcgen::Error| Error::Own(error.to_string());
        let mut params =
            rcgen::CertificateParams::new(vec!["ingress.local".to_owned()]).map_err(wrong)?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(
            rcgen::DnType::CommonName,
            "Skiff Ingress default certificate",
        );
        let key = rcgen::KeyPair::generate().map_err(wrong)?;
        let made = params.self_signed(&key).map_err(wrong)?;
        Self::read(made.pem().as_bytes(), key.serialize_pem().as_bytes())
    }
}

/// The certificates by the hosts that they are for.
pub type ByHost = HashMap<HostMatch, Arc<CertifiedKey>>;

/// Of the Secrets that there are for TLS, by their names.
pub type Kept = BTreeMap<ObjectName, Result<Certificate, Error>>;

/// The certificates of listeners, by the hosts that those are for.
pub type ByListener = Vec<(HostMatch, Arc<CertifiedKey>)>;

/// See the module.
#[derive(Debug)]
pub struct Certificates {
    by_host: ArcSwap<ByHost>,
    /// Those of gateways' listeners.
    by_listener: ArcSwap<ByListener>,
    own: Arc<CertifiedKey>,
}

impl Certificates {
    pub fn new(own: &Certificate) -> Arc<Self> {
        Arc::new(Certificates {
            by_host: ArcSwap::default(),
            by_listener: ArcSwap::default(),
            own: own.key.clone(),
        })
    }

    /// Puts these in the place of those that were shown until now.
    pub fn set(&self, by_host: ByHost) {
        self.by_host.store(Arc::new(by_host));
    }

    /// Puts these of listeners in the place of those that were shown until now.
    pub fn set_listeners(&self, by_listener: ByListener) {
        self.by_listener.store(Arc::new(by_listener));
    }

    /// What is shown to whoever asks for the name: a listener that names it goes before an Ingress, one of any host after.
    pub fn find(&self, name: Option<&str>) -> Arc<CertifiedKey> {
        let by_listener = self.by_listener.load();
        let host = name.map(host_of).unwrap_or_default();
        let all = by_listener.iter().map(|(hosts, key)| (hosts, key));
        let listener = most_precise(all, &host);
        if let Some((_, key)) = listener.filter(|(hosts, _)| **hosts != HostMatch::Any) {
            return key.clone();
        }
        let by_host = self.by_host.load();
        let found = name.map(host_of).and_then(|name| {
            let own = by_host.get(&HostMatch::Exact(name.clone().into_owned()));
            let above = || by_host.get(&HostMatch::Wildcard(name.split_once('.')?.1.to_owned()));
            own.or_else(above).cloned()
        });
        let any = listener.map(|(_, key)| key.clone());
        found.or(any).unwrap_or_else(|| self.own.clone())
    }

    /// TLS with these, for HTTP/2 and HTTP/1.1.
    pub fn server(self: &Arc<Self>) -> Result<Arc<ServerConfig>, rustls::Error> {
        let mut config = skiff_watching::tls::server(None)?.with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// The certificates that are shown at each port.
pub struct ByPort {
    own: Certificate,
    ports: Mutex<BTreeMap<u16, Arc<Certificates>>>,
}

impl ByPort {
    pub fn new(own: Certificate) -> Self {
        ByPort {
            own,
            ports: Mutex::default(),
        }
    }

    /// Those of a port.
    pub fn at(&self, port: u16) -> Arc<Certificates> {
        let mut ports = self.ports.lock();
        let made = ports.entry(port);
        made.or_insert_with(|| Certificates::new(&self.own)).clone()
    }

    /// Puts those of listeners in the place of those that were shown until now; a port without a door is forgotten.
    pub fn set(&self, mut listeners: HashMap<u16, ByListener>, has_door: impl Fn(u16) -> bool) {
        let known = {
            let mut ports = self.ports.lock();
            ports.retain(|port, _| has_door(*port));
            ports.keys().copied().collect::<Vec<_>>()
        };
        for port in known {
            let of = listeners.remove(&port).unwrap_or_default();
            self.at(port).set_listeners(of);
        }
        for (port, of) in listeners {
            self.at(port).set_listeners(of);
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.find(hello.server_name()))
    }
}
