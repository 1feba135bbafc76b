//! Images on this node: pulled from registries, loaded from archives, unpacked as layers for overlayfs.
//!
//! Invariant: a layer folder that exists is whole (it is made beside its place and renamed).

use async_trait::async_trait;
use skiff_api::machinery::quote::GoQuoted;

mod archive;
mod builtin;
mod content;
mod layer;
mod manifest;
mod pull;
mod reference;
mod simulated;
mod store;
mod zstd;

pub use builtin::{SHOP_REPOSITORY, SHOP_VERSIONS};
pub use content::Rootfs;
pub use manifest::ImageConfig;
pub use reference::Reference;
pub use simulated::SimulatedImages;
pub use store::Store;

/// Credentials for one registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    pub username: String,
    pub password: String,
}

/// One image on the node.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Image {
    /// `sha256:…` of the config; what containers are made from.
    pub id: String,
    /// Full references by which it is known: `docker.io/library/nginx:1.27`.
    pub tags: Vec<String>,
    /// `docker.io/library/nginx@sha256:…`.
    pub digests: Vec<String>,
    /// Bytes of all layers, unpacked.
    pub size: u64,
    /// `User` of the config, as it stands there.
    pub user: String,
}

/// One image of an archive.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub image: Image,
    /// The full references that the archive gives it, whatever else it is known by here.
    pub names: Vec<String>,
}

#[derive(thiserror::Error, Debug)]
pub enum Error {
    /// `InvalidImageName`.
    #[error("couldn't parse image name {reference}: {source}", reference = GoQuoted(.reference))]
    InvalidName {
        reference: String,
        source: reference::Invalid,
    },
    /// `ErrImagePull`.
    #[error("failed to pull image {reference}: {reason}", reference = GoQuoted(.reference))]
    Pull { reference: String, reason: String },
    #[error("image {0} not found")]
    NotFound(String),
    #[error("cannot {what}: {reason}")]
    Failed { what: String, reason: String },
}

fn failed(what: impl Into<String>, reason: impl ToString) -> Error {
    Error::Failed {
        what: what.into(),
        reason: reason.to_string(),
    }
}

#[async_trait]
pub trait ImageStore: Send + Sync + 'static {
    /// The image that `reference` names, when it is here (short names are completed as docker does: `nginx` is `docker.io/library/nginx:latest`).
    async fn find(&self, reference: &str) -> Result<Option<Image>, Error>;
    /// Pulls; tries each of `credentials` and then anonymously. Registries on loopback are spoken to in plain HTTP.
    async fn pull(&self, reference: &str, credentials: &[Credentials]) -> Result<Image, Error>;
    /// Reads an OCI layout or docker-save archive (tar, optionally gzip or zstd); answers what it loaded.
    async fn load(&self, archive: &std::path::Path) -> Result<Vec<Loaded>, Error>;
    async fn list(&self) -> Result<Vec<Image>, Error>;
    async fn remove(&self, reference: &str) -> Result<(), Error>;
}
