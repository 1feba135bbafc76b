//! Client certificates: the common name is the user, organizations are its groups.
//!
//! Invariant: a chain is verified once a connection (against the authorities, for client use), its end each time it is used.
//! Follows `staging/src/k8s.io/apiserver/pkg/authentication/request/x509/x509.go`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rustls::{
    crypto::ring::default_provider,
    pki_types::{CertificateDer, UnixTime},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use sha2::{Digest, Sha256};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::identity::{ConfigError, with_group};
use crate::auth::{
    Unauthorized, User,
    pki::tls::{PeerCertificate, Verified, roots},
};

/// The identifier of a certificate among a user's `extra`.
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";
/// The attribute of a subject that holds a user's uid.
const UID_OID: &str = "1.3.6.1.4.1.57683.2";

pub struct Verifier(Arc<dyn ClientCertVerifier>);

impl Verifier {
    /// Believes what leads to the authorities of `client_ca` (PEM).
    pub fn new(client_ca: &[u8]) -> Result<Verifier, ConfigError> {
        let roots = Arc::new(roots(client_ca)?);
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots, Arc::new(default_provider()))
                .build()
                .map_err(|error| ConfigError::Verifier(error.to_string()))?;
        Ok(Verifier(verifier))
    }

    /// Whose certificate this is.
    pub fn user(
        &self,
        peer: &PeerCertificate,
        now: jiff::Timestamp,
    ) -> Result<Option<Arc<User>>, Unauthorized> {
        let verified = peer.verified(|| self.verify(peer.chain(), now))?;
        in_time(verified, now)
    }

    /// The same of a front proxy, whose authority is another.
    pub fn front_proxy(
        &self,
        peer: &PeerCertificate,
        now: jiff::Timestamp,
    ) -> Result<Option<Arc<User>>, Unauthorized> {
        let verified = peer.verified_proxy(|| self.verify(peer.chain(), now))?;
        in_time(verified, now)
    }

    fn verify(
        &self,
        chain: &[CertificateDer<'static>],
        now: jiff::Timestamp,
    ) -> Result<Verified, Unauthorized> {
        let (own, rest) = chain.split_first().ok_or("x509: no certificate")?;
        let at = UnixTime::since_unix_epoch(Duration::from_secs(
            now.as_second().try_into().unwrap_or_default(),
        ));
        self.0
            .verify_client_cert(own, rest, at)
            .map_err(|error| format!("verifying certificate failed: {error}"))?;
        read(own)
    }
}

fn in_time(verified: &Verified, now: jiff::Timestamp) -> Result<Option<Arc<User>>, Unauthorized> {
    if now.as_second() < verified.not_before || now.as_second() > verified.not_after {
        return Err("x509: certificate has expired or is not yet valid".into());
    }
    Ok(verified.user.clone())
}

fn read(der: &CertificateDer) -> Result<Verified, Unauthorized> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|error| format!("x509: {error}"))?;
    let subject = certificate.subject();
    let text = |value: &x509_parser::x509::AttributeTypeAndValue| {
        value
            .as_str()
            .map(str::to_owned)
            .map_err(|_| "x509: the subject holds what is no text".to_owned())
    };
    let name = subject
        .iter_common_name()
        .last()
        .map(text)
        .transpose()?
        .unwrap_or_default();
    let groups = subject
        .iter_organization()
        .map(text)
        .collect::<Result<Vec<_>, _>>()?;
    let uids: Vec<String> = subject
        .iter_attributes()
        .filter(|value| value.attr_type().to_id_string() == UID_OID)
        .map(text)
        .collect::<Result<_, _>>()?;
    let uid = match uids.as_slice() {
        [] => String::new(),
        [uid] if uid.is_empty() => return Err("UID cannot be an empty string".into()),
        [uid] => uid.clone(),
        several => {
            return Err(format!(
                "expected 1 UID, but found multiple: [{}]",
                several.join(" ")
            )
            .into());
        }
    };
    let print: String = hex::encode(Sha256::digest(der));
    let extra = BTreeMap::from([(
        CREDENTIAL_ID.to_owned(),
        vec![format!("X509SHA256={print}")],
    )]);
    Ok(Verified {
        user: (!name.is_empty()).then(|| {
            Arc::new(with_group(User {
                name,
                uid,
                groups,
                extra,
            }))
        }),
        not_before: certificate.validity().not_before.timestamp(),
        not_after: certificate.validity().not_after.timestamp(),
    })
}
