//! The key that a server makes for itself: by it Secrets are encrypted where no configuration says otherwise.
//!
//! It lies beside the other keys, as an EncryptionConfiguration that can be read, moved and built upon like any other. Upstream encrypts nothing by
//! itself.
//!
//! Invariant: it is on disk before anything is that was encrypted by it; where it is gone while Secrets need it, the server does not start, and makes no
//! other.

use std::path::{Path, PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::rand::{SecureRandom, SystemRandom};
use skiff_storage::Store;

use super::{Providers, config, config::ConfigError};
use crate::auth::pki::{self, PkiError};

/// Its name in the folder of certificates and keys.
pub const FILE: &str = "encryption-config.yaml";
/// What it encrypts.
const SECRETS: &str = "secrets";

/// Why the server cannot go on with its own key.
#[derive(thiserror::Error, Debug)]
pub enum OwnKeyError {
    #[error(
        "{count} Secrets cannot be decrypted, {first} among them: {why}. {key}; \
         put the right file back, or name one that holds their key with --encryption-provider-config"
    )]
    Unreadable {
        count: usize,
        first: String,
        why: String,
        key: String,
    },
    #[error(transparent)]
    File(#[from] PkiError),
}

/// The key of a folder.
pub struct OwnKey {
    path: PathBuf,
    /// What is still to be written.
    new: Option<String>,
}

impl OwnKey {
    /// The key of a folder, and who encrypts by it; one that is absent is made, and not written yet.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn open(folder: &Path) -> Result<(OwnKey, Providers), ConfigError> {
        let path = folder.join(FILE);
        if let Some(providers) = OwnKey::read(folder)? {
            return Ok((OwnKey { path, new: None }, providers));
        }
        let mut secret = [0; 32];
        SystemRandom::new()
            .fill(&mut secret)
            .map_err(|_| ConfigError::Random)?;
        let text = configuration(&STANDARD.encode(secret));
        let providers = config::of(&text, &path)?;
        let new = Some(text);
        Ok((OwnKey { path, new }, providers))
    }

    /// Who encrypts by the key of a folder, if it has one.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn read(folder: &Path) -> Result<Option<Providers>, ConfigError> {
        let path = folder.join(FILE);
        match path.try_exists() {
            Ok(false) => Ok(None),
            _ => config::read(&path).map(Some),
        }
    }

    /// Keeps the key, once it is seen that no Secret needs another. To be called before anything is written.
    ///
    /// # Errors
    /// One does, or the file cannot be written.
    pub fn keep(self, store: &dyn Store) -> Result<(), OwnKeyError> {
        let mut sealed = Vec::new();
        for object in store.snapshot(SECRETS).range(None, None) {
            if let Some(why) = object.sealed() {
                let (namespace, name) = (&object.key.namespace, &object.key.name);
                sealed.push((format!("{namespace}/{name}"), why));
            }
        }
        let path = self.path.display();
        if let Some((first, why)) = sealed.first().cloned() {
            let key = match self.new {
                Some(_) => format!("There is no {path}"),
                None => format!("{path} is not their key"),
            };
            return Err(OwnKeyError::Unreadable {
                count: sealed.len(),
                first,
                why,
                key,
            });
        }
        if let Some(text) = self.new {
            if let Some(folder) = self.path.parent() {
                pki::make_folder(folder)?;
            }
            pki::write_file(&self.path, &text, 0o600)?;
        }
        Ok(())
    }
}

fn configuration(secret: &str) -> String {
    format!(
        "# The key of the Secrets of this cluster. Without this file they cannot be read.\n\
         apiVersion: apiserver.config.k8s.io/v1\n\
         kind: EncryptionConfiguration\n\
         resources:\n\
         - resources: [{SECRETS}]\n\
         \x20 providers:\n\
         \x20 - secretbox: {{keys: [{{name: own, secret: {secret}}}]}}\n\
         \x20 - identity: {{}}\n"
    )
}
