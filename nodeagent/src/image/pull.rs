//! Pulls an image from its registry.
//!
//! Invariant: every blob is checked against the digest that the manifest names before it is used.
//! Error texts follow containerd's resolver (`core/remotes/docker/resolver.go`), because people search for them.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use oci_client::{
    Client,
    client::{ClientConfig, ClientProtocol},
    errors::{OciDistributionError, OciErrorCode},
    manifest::{OciDescriptor, OciImageManifest},
    secrets::RegistryAuth,
};

use crate::outcome;

use super::{
    Credentials, Error, Image,
    content::{Arrived, Content},
    manifest::{ConfigDocument, architecture},
    reference::Reference,
};

/// Why an image does not arrive.
#[derive(thiserror::Error, Debug)]
enum Failure {
    #[error(transparent)]
    Client(#[from] OciDistributionError),
    #[error("no credentials to try")]
    NoCredentials,
    #[error("failed to resolve reference \"{name}\": {reason}")]
    Unresolved { name: String, reason: String },
    #[error("failed to copy: {digest}: {}", innermost(.source))]
    NotCopied {
        digest: String,
        source: OciDistributionError,
    },
    #[error("failed to copy: {0}")]
    NoRoom(#[from] std::io::Error),
    #[error("the image's config cannot be read: {0}")]
    Config(#[from] serde_json::Error),
    #[error("mismatched image rootfs and manifest layers")]
    Mismatch,
    #[error(transparent)]
    Joined(#[from] tokio::task::JoinError),
    #[error(transparent)]
    Store(#[from] Error),
}

impl Failure {
    fn copying(digest: &str) -> impl FnOnce(OciDistributionError) -> Self {
        let digest = digest.to_owned();
        move |source| Self::NotCopied { digest, source }
    }
}

/// Layers fetched at the same time.
const PARALLEL_LAYERS: usize = 3;

/// Tries each of `credentials` and then anonymously; the first that may read the manifest is used for the rest.
pub(super) async fn pull(
    store: &Arc<Content>,
    name: &Reference,
    credentials: &[Credentials],
) -> Result<Image, Error> {
    let pulled = try_all(store, name, credentials).await;
    pulled.map_err(|failure| Error::Pull {
        reference: name.to_string(),
        reason: format!("failed to pull and unpack image \"{name}\": {failure}"),
    })
}

async fn try_all(
    store: &Arc<Content>,
    name: &Reference,
    credentials: &[Credentials],
) -> Result<Image, Failure> {
    let remote = oci_name(name);
    let mut refused = None;
    let logins = credentials
        .iter()
        .map(|c| RegistryAuth::Basic(c.username.clone(), c.password.clone()));
    for auth in logins.chain([RegistryAuth::Anonymous]) {
        let client = client(name)?;
        match client
            .pull_image_manifest_and_list_digest(&remote, &auth)
            .await
        {
            Ok((manifest, digest, list_digest)) => {
                let digest = list_digest.unwrap_or(digest);
                return fetch(store, name, &client, &manifest, &digest).await;
            }
            // The reason of the credentials that were given says more than that of the anonymous try.
            Err(err) if is_refusal(&err) => {
                refused.get_or_insert(resolve_error(name, &auth, &err));
            }
            Err(err) => return Err(resolve_error(name, &auth, &err)),
        }
    }
    Err(refused.unwrap_or(Failure::NoCredentials))
}

async fn fetch(
    store: &Arc<Content>,
    name: &Reference,
    client: &Client,
    manifest: &OciImageManifest,
    digest: &str,
) -> Result<Image, Failure> {
    let remote = oci_name(name);
    let mut config = Vec::new();
    client
        .pull_blob(&remote, &manifest.config, &mut config)
        .await
        .map_err(Failure::copying(&manifest.config.digest))?;
    let document: ConfigDocument = serde_json::from_slice(&config)?;
    if document.rootfs.diff_ids.len() != manifest.layers.len() {
        return Err(Failure::Mismatch);
    }
    let jobs: Vec<_> = manifest
        .layers
        .iter()
        .zip(document.rootfs.diff_ids)
        .filter(|(layer, _)| !store.has_blob(&layer.digest))
        .map(|(layer, diff_id)| {
            fetch_layer(
                Arc::clone(store),
                client.clone(),
                remote.clone(),
                layer.clone(),
                diff_id,
            )
        })
        .collect();
    futures::stream::iter(jobs)
        .buffer_unordered(PARALLEL_LAYERS)
        .try_collect::<()>()
        .await?;
    let tags = if name.digest.is_none() {
        vec![name.to_string()]
    } else {
        vec![]
    };
    let digests = vec![name.with_digest(digest)];
    Ok(store.commit(Arrived {
        config,
        tags,
        digests,
    })?)
}

async fn fetch_layer(
    store: Arc<Content>,
    client: Client,
    remote: oci_client::Reference,
    layer: OciDescriptor,
    diff_id: String,
) -> Result<(), Failure> {
    let path = store.scratch();
    let file = tokio::fs::File::create(&path).await?;
    let fetch = async {
        let pulled = client.pull_blob(&remote, &layer, file).await;
        pulled.map_err(Failure::copying(&layer.digest))?;
        let (blob, digest) = (path.clone(), layer.digest.clone());
        let add = move || store.add_layer(&blob, Some(&digest), &diff_id);
        Ok(tokio::task::spawn_blocking(add).await??)
    };
    let answer = fetch.await;
    outcome::remove_if_there(&path);
    answer
}

fn client(name: &Reference) -> Result<Client, OciDistributionError> {
    // Fails when one is installed already, which is as good.
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let protocol = if name.is_loopback() {
        ClientProtocol::Http
    } else {
        ClientProtocol::Https
    };
    let config = ClientConfig {
        protocol,
        user_agent: concat!("skiff/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    };
    Client::try_from(config)
}

fn oci_name(name: &Reference) -> oci_client::Reference {
    let (registry, repository) = (name.registry.clone(), name.repository.clone());
    match (&name.digest, &name.tag) {
        (Some(digest), _) => {
            oci_client::Reference::with_digest(registry, repository, digest.clone())
        }
        (None, tag) => {
            oci_client::Reference::with_tag(registry, repository, tag.clone().unwrap_or_default())
        }
    }
}

fn is_refusal(err: &OciDistributionError) -> bool {
    match err {
        OciDistributionError::UnauthorizedError { .. }
        | OciDistributionError::AuthenticationFailure(_) => true,
        OciDistributionError::ServerError { code, .. } => matches!(code, 401 | 403),
        OciDistributionError::RegistryError { envelope, .. } => envelope
            .errors
            .iter()
            .any(|e| matches!(e.code, OciErrorCode::Unauthorized | OciErrorCode::Denied)),
        _ => false,
    }
}

fn is_not_found(err: &OciDistributionError) -> bool {
    match err {
        OciDistributionError::ImageManifestNotFoundError(_) => true,
        OciDistributionError::ServerError { code, .. } => *code == 404,
        OciDistributionError::RegistryError { envelope, .. } => envelope.errors.iter().any(|e| {
            matches!(
                e.code,
                OciErrorCode::ManifestUnknown | OciErrorCode::NameUnknown | OciErrorCode::NotFound
            )
        }),
        _ => false,
    }
}

/// Why the manifest could not be had.
fn resolve_error(name: &Reference, auth: &RegistryAuth, err: &OciDistributionError) -> Failure {
    let url = || {
        let scheme = if name.is_loopback() { "http" } else { "https" };
        let which = name
            .digest
            .as_deref()
            .or(name.tag.as_deref())
            .unwrap_or_default();
        let host = if name.registry == "docker.io" {
            "registry-1.docker.io"
        } else {
            &name.registry
        };
        format!("{scheme}://{host}/v2/{}/manifests/{which}", name.repository)
    };
    let reason = if is_not_found(err) {
        format!("{name}: not found")
    } else if is_refusal(err) {
        match auth {
            RegistryAuth::Anonymous => {
                "pull access denied, repository does not exist or may require authorization: authorization failed: no basic auth credentials".to_owned()
            }
            _ => format!("unexpected status from HEAD request to {}: 401 Unauthorized", url()),
        }
    } else if let OciDistributionError::ImageIndexParsingNoPlatformResolverError = err {
        format!(
            "no match for platform in manifest: linux/{}",
            architecture()
        )
    } else if let OciDistributionError::RequestError(request) = err {
        format!(
            "failed to do request: Head \"{}\": {}",
            url(),
            innermost(request)
        )
    } else {
        innermost(err)
    };
    Failure::Unresolved {
        name: name.to_string(),
        reason,
    }
}

/// The text of the last cause in the chain, in the words of Go's network errors where there is one.
fn innermost(err: &(dyn std::error::Error + 'static)) -> String {
    let mut last = err;
    while let Some(source) = last.source() {
        last = source;
    }
    if let Some(io) = last.downcast_ref::<std::io::Error>()
        && let Some(errno) = io.raw_os_error()
    {
        return format!(
            "dial tcp: connect: {}",
            nix::errno::Errno::from_raw(errno).desc().to_lowercase()
        );
    }
    last.to_string()
}
