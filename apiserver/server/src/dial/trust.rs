//! Whom a connection believes: servers whose certificates lead to given authorities, judged as Go judges them and told of in its words.
//!
//! Invariant: a certificate that is itself among the authorities is believed for its names and its time, as Go does and webpki does not; nothing
//! else is believed that webpki does not.
//! Follows `crypto/x509/verify.go` and `crypto/x509/root_linux.go` of Go.

use std::{net::IpAddr, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, Error, OtherError, RootCertStore,
    client::{
        WantsClientCert, WebPkiServerVerifier, danger::ServerCertVerifier, verify_server_name,
    },
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};
use skiff_api::machinery::time;
use skiff_watching::tls::{self, Judge};

use crate::auth::pki::{Facts, San};

/// Where systems keep the authorities that they believe.
const SYSTEM_FILES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Authorities cannot be read.
#[derive(thiserror::Error, Debug, Clone, PartialEq)]
pub enum TrustError {
    #[error("unable to load root certificates: unable to parse bytes as PEM block")]
    NoPem,
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] Error),
}

/// A client without a certificate that believes the authorities in `bundle` (PEM), or the system's where it is empty.
///
/// # Errors
/// There is no certificate in the bundle.
pub fn client(bundle: &[u8]) -> Result<ClientConfig, TrustError> {
    Ok(believing(bundle)?.with_no_client_auth())
}

/// The same, for a client that may have a certificate.
///
/// # Errors
/// There is no certificate in the bundle.
pub fn believing(
    bundle: &[u8],
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, TrustError> {
    let authorities = match bundle {
        [] => system_authorities(),
        bundle => read(bundle),
    };
    if authorities.is_empty() && !bundle.is_empty() {
        return Err(TrustError::NoPem);
    }
    Ok(tls::client_of(Authorities::new(authorities))?)
}

/// The certificates of a bundle; blocks that are none are passed over, as Go does.
fn read(bundle: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(bundle)
        .filter_map(Result::ok)
        .filter(|certificate| ParsedCertificate::try_from(certificate).is_ok())
        .collect()
}

fn system_authorities() -> Vec<CertificateDer<'static>> {
    let mut files = SYSTEM_FILES.iter().map(std::fs::read);
    files
        .find_map(Result::ok)
        .map_or_else(Vec::new, |bundle| read(&bundle))
}

#[derive(Debug)]
struct Authorities {
    authorities: Vec<CertificateDer<'static>>,
    /// `None` where there are no authorities.
    chains: Option<Arc<WebPkiServerVerifier>>,
}

impl Authorities {
    fn new(authorities: Vec<CertificateDer<'static>>) -> Authorities {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(authorities.iter().cloned());
        let chains =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), tls::provider()).build();
        Authorities {
            authorities,
            chains: chains.ok(),
        }
    }

    fn believe(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        if self.authorities.iter().any(|one| one == certificate) {
            let facts = Facts::read(certificate).map_err(|_| CertificateError::BadEncoding)?;
            in_time(&facts, now)?;
            return verify_server_name(&ParsedCertificate::try_from(certificate)?, name);
        }
        match &self.chains {
            None => Err(CertificateError::UnknownIssuer.into()),
            Some(chains) => chains
                .verify_server_cert(certificate, intermediates, name, &[], now)
                .map(drop),
        }
    }
}

impl Judge for Authorities {
    fn judge(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        self.believe(certificate, intermediates, name, now)
            .map_err(|error| in_words(error, certificate, name, now))
    }
}

fn in_time(facts: &Facts, now: UnixTime) -> Result<(), CertificateError> {
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if seconds > facts.not_after {
        return Err(CertificateError::Expired);
    }
    if seconds < facts.not_before {
        return Err(CertificateError::NotValidYet);
    }
    Ok(())
}

/// What Go says of a certificate that is not believed.
#[derive(thiserror::Error, Debug, Clone, PartialEq)]
#[error("tls: failed to verify certificate: x509: {0}")]
pub struct NotBelieved(String);

fn in_words(
    error: Error,
    certificate: &CertificateDer<'_>,
    name: &ServerName<'_>,
    now: UnixTime,
) -> Error {
    let Error::InvalidCertificate(why) = error else {
        return error;
    };
    let facts = Facts::read(certificate).ok();
    let instant = |seconds: i64| {
        jiff::Timestamp::from_second(seconds).map_or_else(|_| String::new(), time::seconds)
    };
    let current = instant(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    let outdated = |side: &str, at: Option<i64>| {
        let at = at.map_or_else(String::new, instant);
        format!(
            "certificate has expired or is not yet valid: current time {current} is {side} {at}"
        )
    };
    let text = match &why {
        why if tls::is_of_unknown_authority(why) => {
            "certificate signed by unknown authority".into()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            outdated("after", facts.map(|facts| facts.not_after))
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            outdated("before", facts.map(|facts| facts.not_before))
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            other_name(&facts.map_or_else(Vec::new, |facts| facts.sans), name)
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "certificate specifies an incompatible key usage".into()
        }
        other => other.to_string(),
    };
    let told = CertificateError::Other(OtherError(Arc::new(NotBelieved(text))));
    Error::InvalidCertificate(told)
}

/// The certificate is for other names than the one that was dialled.
fn other_name(sans: &[San], name: &ServerName<'_>) -> String {
    let names = |of: fn(&San) -> Option<String>| sans.iter().filter_map(of).collect::<Vec<_>>();
    let (addresses, hosts) = (
        names(|san| match san {
            San::Ip(ip) => Some(ip.to_string()),
            _ => None,
        }),
        names(|san| match san {
            San::Dns(host) => Some(host.clone()),
            _ => None,
        }),
    );
    let name = name.to_str();
    let valid_for = match name.parse::<IpAddr>() {
        Ok(_) if addresses.is_empty() => {
            return format!(
                "cannot validate certificate for {name} because it doesn't contain any IP SANs"
            );
        }
        Ok(_) => addresses,
        Err(_) => hosts,
    };
    match valid_for.is_empty() {
        true => {
            format!("certificate is not valid for any names, but wanted to match {name}")
        }
        false => format!(
            "certificate is valid for {}, not {name}",
            valid_for.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use skiff_api::machinery::clock;

    use super::*;
    use crate::auth::pki::Authority;

    #[test]
    fn names_that_a_certificate_is_not_for() {
        let (host, ip) = (San::of("a.b.svc"), San::of("10.0.0.1"));
        for (sans, name, said) in [
            (
                vec![],
                "c",
                "certificate is not valid for any names, but wanted to match c",
            ),
            (
                vec![host.clone(), San::of("d"), ip.clone()],
                "c",
                "certificate is valid for a.b.svc, d, not c",
            ),
            (
                vec![host.clone()],
                "10.0.0.2",
                "cannot validate certificate for 10.0.0.2 because it doesn't contain any IP SANs",
            ),
            (
                vec![host, ip],
                "10.0.0.2",
                "certificate is valid for 10.0.0.1, not 10.0.0.2",
            ),
        ] {
            assert_eq!(
                other_name(&sans, &ServerName::try_from(name).unwrap()),
                said
            );
        }
    }

    /// Who believes one authority, and is shown the certificate of another, does not know who stands behind that.
    #[test]
    fn an_authority_that_nobody_knows() {
        let certificate = |name: &str| {
            let (authority, _) = Authority::named(name, clock::system()).unwrap();
            read(authority.certificate_pem().as_bytes()).remove(0)
        };
        let (known, other) = (certificate("known"), certificate("other"));
        let judged = Authorities::new(vec![known]).judge(
            &other,
            &[],
            &ServerName::try_from("other").unwrap(),
            UnixTime::now(),
        );
        let Err(Error::InvalidCertificate(CertificateError::Other(said))) = judged else {
            panic!("{judged:?}");
        };
        assert_eq!(
            said.to_string(),
            "tls: failed to verify certificate: x509: certificate signed by unknown authority"
        );
    }

    #[test]
    fn bundles() {
        assert_eq!(client(b"x").unwrap_err(), TrustError::NoPem);
        assert!(client(b"").is_ok());
    }
}
