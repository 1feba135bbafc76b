//! Front proxies: whoever shows the certificate of one may say whom it speaks for.
//!
//! Invariant: headers are read only from who shows a certificate of the front proxies' own authority, with a name that is allowed.
//! Follows `staging/src/k8s.io/apiserver/pkg/authentication/request/headerrequest/requestheader.go`.

use http::HeaderMap;

use super::{identity::ConfigError, x509};
use crate::auth::{Unauthorized, User, front, pki::PeerCertificate};

/// Who may speak for others.
#[derive(Clone, Debug)]
pub struct FrontProxies {
    /// Whose certificates are believed: PEM.
    pub ca: Vec<u8>,
    /// The common names that are allowed; empty: any.
    pub names: Vec<String>,
}

pub struct Verifier {
    certificates: x509::Verifier,
    names: Vec<String>,
}

impl Verifier {
    pub fn new(proxies: FrontProxies) -> Result<Verifier, ConfigError> {
        Ok(Verifier {
            certificates: x509::Verifier::new(&proxies.ca)?,
            names: proxies.names,
        })
    }

    /// Whom a front proxy speaks for; `None`: nobody is named.
    pub fn user(
        &self,
        headers: &HeaderMap,
        peer: &PeerCertificate,
        now: jiff::Timestamp,
    ) -> Result<Option<User>, Unauthorized> {
        let Some(user) = front::named(headers) else {
            return Ok(None);
        };
        let proxy = self.certificates.front_proxy(peer, now)?;
        let name = proxy.as_ref().map_or("", |proxy| &proxy.name);
        if !self.names.is_empty() && !self.names.iter().any(|allowed| allowed == name) {
            return Err(format!("x509: subject with cn={name} is not in the allowed list").into());
        }
        Ok(Some(user))
    }
}
