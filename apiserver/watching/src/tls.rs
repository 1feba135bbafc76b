//! TLS as every part of the program speaks it: which certificates are believed, on both sides of a connection.
//!
//! Invariant: whoever shows a certificate proves that the key is held, even where any certificate is believed; the provider of cryptography is
//! the same everywhere. Follows `staging/src/k8s.io/client-go/transport` and `staging/src/k8s.io/apiserver/pkg/server/secure_serving.go`.

use std::{fmt::Debug, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, DistinguishedName, Error,
    RootCertStore, ServerConfig, SignatureScheme, WantsVerifier,
    client::{
        WantsClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        WantsServerCert,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

/// Says which servers are believed, by their certificates alone: that the key is held is proved besides.
pub trait Judge: Send + Sync + Debug {
    /// # Errors
    /// The certificate, with those that came along, is not to be believed for this name now.
    fn judge(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error>;
}

/// Believes any server.
#[derive(Debug)]
struct Anybody;

impl Judge for Anybody {
    fn judge(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: UnixTime,
    ) -> Result<(), Error> {
        Ok(())
    }
}

/// A client that believes servers whose certificates these authorities signed; `None`: any server.
///
/// # Errors
/// None that the provider of this program can bring about.
pub fn client(
    roots: Option<RootCertStore>,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, Error> {
    match roots {
        Some(roots) => Ok(verifying(provider())?.with_root_certificates(roots)),
        None => client_of(Anybody),
    }
}

/// A client that believes whom `judge` believes.
///
/// # Errors
/// None that the provider of this program can bring about.
pub fn client_of(
    judge: impl Judge + 'static,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, Error> {
    let provider = provider();
    let verifier = Judged {
        provider: provider.clone(),
        judge,
    };
    Ok(verifying(provider)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier)))
}

/// Whether a certificate is refused because nobody stands behind it who is believed. One that is an authority's own, and not believed, is refused for
/// the same: webpki has an error of its own for that, which it tells by its name alone.
pub fn is_of_unknown_authority(why: &CertificateError) -> bool {
    match why {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => true,
        CertificateError::Other(other) => other.to_string() == "CaUsedAsEndEntity",
        _ => false,
    }
}

/// The provider of cryptography.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn verifying(
    provider: Arc<CryptoProvider>,
) -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, Error> {
    ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
}

/// A server that asks clients for certificates of the authorities in `hints`, and takes any, or none: whoever asked judges them later.
/// `None`: it does not ask.
///
/// # Errors
/// None that the provider of this program can bring about.
pub fn server(
    hints: Option<Vec<DistinguishedName>>,
) -> Result<ConfigBuilder<ServerConfig, WantsServerCert>, Error> {
    let provider = provider();
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?;
    Ok(match hints {
        Some(hints) => builder.with_client_cert_verifier(Arc::new(AnyClient { provider, hints })),
        None => builder.with_no_client_auth(),
    })
}

/// A server's certificate, judged.
#[derive(Debug)]
struct Judged<J> {
    provider: Arc<CryptoProvider>,
    judge: J,
}

/// Takes any client's certificate, as long as its key is held.
#[derive(Debug)]
struct AnyClient {
    provider: Arc<CryptoProvider>,
    hints: Vec<DistinguishedName>,
}

/// The proof that the key is held: the same for servers and clients, in whose traits it stands twice.
macro_rules! key_is_held {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let known = &self.provider.signature_verification_algorithms;
            verify_tls12_signature(message, certificate, signed, known)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let known = &self.provider.signature_verification_algorithms;
            verify_tls13_signature(message, certificate, signed, known)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.provider
                .signature_verification_algorithms
                .supported_schemes()
        }
    };
}

impl<J: Judge> ServerCertVerifier for Judged<J> {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge.judge(certificate, intermediates, name, now)?;
        Ok(ServerCertVerified::assertion())
    }

    key_is_held!();
}

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    key_is_held!();
}
