//! The cluster's certificates: an authority of its own, made at the first start, and what it signs.
//!
//! Invariant: a private key lies on disk with mode 0600 in a folder of mode 0700, written whole or not at all; what a user put there is used as
//! it is and never written over, unless it is a serving certificate of our own authority that no longer fits. Files are named as kubeadm's.
//! Follows `cmd/kubeadm/app/phases/certs` for names, subjects and life times.

mod authority;
mod certificate;
mod error;
mod files;
mod folder;
#[cfg(test)]
mod tests;
pub mod tls;

pub use authority::{Authority, Issued};
pub use certificate::{Facts, Request, San, Usages};
pub use error::PkiError;
pub use files::{make_folder, write as write_file};
pub use folder::{
    FRONT_PROXY_CLIENT, Given, Pki, ServingNames, read_public_keys, read_signing_key,
};
pub use tls::PeerCertificate;
