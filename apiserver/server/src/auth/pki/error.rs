//! What can go wrong with certificates and keys.

use std::path::PathBuf;

use crate::auth::keys::KeyError;

#[derive(thiserror::Error, Debug)]
pub enum PkiError {
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{}: {source}", path.display())]
    File {
        path: PathBuf,
        source: Box<PkiError>,
    },
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("no certificate found in the PEM data")]
    NoCertificate,
    #[error("cannot read the certificate: {0}")]
    Certificate(String),
    #[error("unable to parse certificate request: {0}")]
    Request(String),
    #[error("unable to verify certificate request signature: {0}")]
    RequestSignature(String),
    #[error("unrecognized usage values: {0:?}")]
    Usages(Vec<String>),
    #[error("the signer has expired: NotAfter={0}")]
    SignerExpired(jiff::Timestamp),
    #[error("the certificate and the key do not belong together")]
    Mismatch,
    #[error("the certificate is not that of an authority")]
    NotAuthority,
    #[error("the key of the authority is absent: {}", .0.display())]
    NoKey(PathBuf),
    #[error("a certificate cannot hold the time {0}")]
    Time(i64),
    #[error("the system has no random numbers")]
    Random,
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}
