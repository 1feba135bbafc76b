//! The certificate authority: signs serving, client and node certificates, and certificate requests.
//!
//! Invariant: nothing it signs outlives it, and nothing but itself may sign. Follows `pkg/controller/certificates/authority`
//! (`PermissiveSigningPolicy`) and `cmd/kubeadm/app/util/pkiutil`.

use ring::rand::SystemRandom;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use skiff_api::machinery::clock::SharedClock;

use super::{
    certificate::{self, Facts, Issuer, Request, San, Template, Usages, name},
    error::PkiError,
};
use crate::auth::{
    NODE_USER_PREFIX, NODES_GROUP,
    keys::{PublicKey, SigningKey, pem},
};

const DAY: i64 = 24 * 3600;
/// What upstream allows for clocks that differ.
const BACKDATE: i64 = 5 * 60;
/// A certificate that lives shorter than this is not made to end earlier for having been backdated.
const SHORT: i64 = 8 * 3600;
const AUTHORITY_LIFE: i64 = 3650 * DAY;
const CERTIFICATE_LIFE: i64 = 365 * DAY;

/// A certificate (chain) and its key, in PEM.
#[derive(Clone)]
pub struct Issued {
    pub certificate: String,
    pub key: String,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

pub struct Authority {
    certificate: String,
    facts: Facts,
    key: SigningKey,
    clock: SharedClock,
}

impl Authority {
    /// A new authority named `kubernetes` of ten years, and its key in PEM.
    pub fn generate(clock: SharedClock) -> Result<(Authority, String), PkiError> {
        Authority::named("kubernetes", clock)
    }

    /// The same under another name.
    pub fn named(common_name: &str, clock: SharedClock) -> Result<(Authority, String), PkiError> {
        let (key, key_pem) = SigningKey::generate()?;
        let subject = name(common_name, &[]);
        let now = clock.now().as_second();
        let template = Template {
            subject: subject.clone(),
            key: key.public().spki().to_vec(),
            not_before: now - BACKDATE,
            not_after: now + AUTHORITY_LIFE,
            usages: Usages::parse(&["digital signature", "key encipherment", "cert sign"])?,
            sans: vec![San::of(common_name)],
            authority: true,
        };
        let id = certificate::key_id(key.public());
        let der = certificate::sign(
            &template,
            &Issuer {
                subject: &subject,
                key_id: Some(&id),
                key: &key,
            },
            &SystemRandom::new(),
        )?;
        let authority = Authority {
            certificate: pem("CERTIFICATE", &der),
            facts: Facts::read(&der)?,
            key,
            clock,
        };
        Ok((authority, key_pem))
    }

    /// From PEM; the first certificate of `certificate` is the authority's.
    pub fn from_pem(
        certificate: &str,
        key: &str,
        clock: SharedClock,
    ) -> Result<Authority, PkiError> {
        let authority = Authority::signing(certificate, key, clock)?;
        if authority.facts.authority {
            Ok(authority)
        } else {
            Err(PkiError::NotAuthority)
        }
    }

    /// The same, whether or not the certificate says that it is an authority's: as `--cluster-signing-cert-file` is taken.
    pub fn signing(
        certificate: &str,
        key: &str,
        clock: SharedClock,
    ) -> Result<Authority, PkiError> {
        let der = CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|_| PkiError::NoCertificate)?;
        let facts = Facts::read(&der)?;
        let key = SigningKey::from_pem(key.as_bytes())?;
        if PublicKey::from_spki(&facts.key)? != *key.public() {
            return Err(PkiError::Mismatch);
        }
        Ok(Authority {
            certificate: certificate.to_owned(),
            facts,
            key,
            clock,
        })
    }

    pub fn certificate_pem(&self) -> &str {
        &self.certificate
    }

    pub(super) fn now(&self) -> i64 {
        self.clock.now().as_second()
    }

    pub(super) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// A serving certificate of a year with a new key.
    pub fn serving(
        &self,
        common_name: &str,
        organizations: &[&str],
        sans: &[San],
    ) -> Result<Issued, PkiError> {
        self.issue(
            name(common_name, organizations),
            &["digital signature", "key encipherment", "server auth"],
            sans,
        )
    }

    /// A client certificate of a year with a new key: the common name is the user, organizations are its groups.
    pub fn client(&self, common_name: &str, groups: &[&str]) -> Result<Issued, PkiError> {
        self.issue(
            name(common_name, groups),
            &["digital signature", "key encipherment", "client auth"],
            &[],
        )
    }

    /// How a node shows itself to the server: `system:node:NAME` of `system:nodes`.
    pub fn node_client(&self, node: &str) -> Result<Issued, PkiError> {
        self.client(&format!("{NODE_USER_PREFIX}{node}"), &[NODES_GROUP])
    }

    /// How a node shows itself to whoever asks it: valid for its name and these names and addresses.
    pub fn node_serving(&self, node: &str, names: &[String]) -> Result<Issued, PkiError> {
        let sans: Vec<San> = std::iter::once(node)
            .chain(names.iter().map(String::as_str))
            .map(San::of)
            .collect();
        self.serving(&format!("{NODE_USER_PREFIX}{node}"), &[NODES_GROUP], &sans)
    }

    fn issue(&self, subject: Vec<u8>, usages: &[&str], sans: &[San]) -> Result<Issued, PkiError> {
        let (key, key_pem) = SigningKey::generate()?;
        let usages = Usages::parse(usages)?;
        let der = self.sign(
            subject,
            key.public().spki().to_vec(),
            usages,
            sans.to_vec(),
            CERTIFICATE_LIFE,
        )?;
        Ok(Issued {
            certificate: pem("CERTIFICATE", &der),
            key: key_pem,
        })
    }

    /// Signs a certificate request (PEM) for `seconds` at most, with the `usages` of a CertificateSigningRequest's spec; the certificate in PEM.
    /// The subject and all names are the request's: whoever calls has checked that the requester may have them.
    pub fn sign_request(
        &self,
        request: &[u8],
        usages: &[impl AsRef<str>],
        seconds: i64,
    ) -> Result<String, PkiError> {
        let request = Request::from_pem(request)?;
        let der = self.sign(
            request.subject,
            request.key,
            Usages::parse(usages)?,
            request.sans,
            seconds,
        )?;
        Ok(pem("CERTIFICATE", &der))
    }

    fn sign(
        &self,
        subject: Vec<u8>,
        key: Vec<u8>,
        usages: Usages,
        sans: Vec<San>,
        seconds: i64,
    ) -> Result<Vec<u8>, PkiError> {
        let now = self.now();
        if now >= self.facts.not_after {
            let end = jiff::Timestamp::from_second(self.facts.not_after)
                .map_err(|_| PkiError::Time(self.facts.not_after))?;
            return Err(PkiError::SignerExpired(end));
        }
        let end = if seconds < SHORT {
            now + seconds
        } else {
            now + seconds - BACKDATE
        };
        let template = Template {
            subject,
            key,
            not_before: now - BACKDATE,
            not_after: end.min(self.facts.not_after),
            usages,
            sans,
            authority: false,
        };
        let issuer = Issuer {
            subject: &self.facts.subject,
            key_id: self.facts.key_id.as_deref(),
            key: &self.key,
        };
        certificate::sign(&template, &issuer, &SystemRandom::new())
    }
}
