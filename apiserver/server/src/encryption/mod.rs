//! Encryption at rest: what of the cluster's objects lies on disk as cipher text.
//!
//! Invariant: the first provider of a resource writes and all of them read; what is encrypted says by whom and by which key. Objects that no
//! configuration names are plain, and what is encrypted is never taken for plain.
//! Follows `staging/src/k8s.io/apiserver/pkg/server/options/encryptionconfig` and `.../pkg/storage/value`.

mod config;
mod keys;

use std::{
    borrow::Cow,
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use skiff_api::kinds::Registry;
use skiff_storage::{Cipher, CipherError, Key, Store};
use tokio_util::sync::CancellationToken;

pub use self::config::ConfigError;
use self::keys::Provider;
use crate::stored;

/// What all that is encrypted begins with.
const ENCRYPTED: &[u8] = b"k8s:enc:";
/// How often a file that is to be followed is looked at.
const LOOK: Duration = Duration::from_secs(10);

/// `--encryption-provider-config` and `--encryption-provider-config-automatic-reload`.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub file: Option<PathBuf>,
    pub reload: bool,
}

/// Who writes and reads which resources.
#[derive(Default)]
struct Providers(Vec<Of>);

/// The providers of one resource, or of those that a `*` stands for.
struct Of {
    group: String,
    resource: String,
    providers: Vec<Provider>,
}

impl Providers {
    fn of(&self, resource: &str) -> &[Provider] {
        let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
        let exactly = |plural: &str, group: &str| {
            let found = self
                .0
                .iter()
                .find(|of| of.resource == plural && of.group == group);
            found.map(|of| &*of.providers)
        };
        exactly(plural, group)
            .or_else(|| exactly("*", group))
            .or_else(|| exactly("*", "*"))
            .unwrap_or_default()
    }
}

/// What objects are on disk.
#[derive(Default)]
pub struct Encryption {
    providers: ArcSwap<Providers>,
    /// Revisions of objects that were found to be written by another provider or key than the first.
    stale: Mutex<HashSet<u64>>,
    /// The newest revision that another configuration may have written.
    reloaded: AtomicU64,
}

impl Encryption {
    /// As a file says; without one, nothing is encrypted.
    ///
    /// # Errors
    /// The file cannot be read, or asks for what cannot be.
    pub fn open(file: Option<&Path>) -> Result<Encryption, ConfigError> {
        let providers = file.map(config::read).transpose()?.unwrap_or_default();
        Ok(Encryption {
            providers: ArcSwap::from_pointee(providers),
            ..Encryption::default()
        })
    }

    /// Follows the file; one that cannot be used changes nothing.
    pub async fn follow(
        self: Arc<Self>,
        file: PathBuf,
        store: Arc<dyn Store>,
        stop: CancellationToken,
    ) {
        let mut seen = std::fs::read(&file).ok();
        while stop
            .run_until_cancelled(tokio::time::sleep(LOOK))
            .await
            .is_some()
        {
            let found = std::fs::read(&file).ok();
            if found == seen {
                continue;
            }
            seen = found;
            self.load(&file, || store.revision());
        }
    }

    /// `newest` is asked for once all that is written is written anew.
    fn load(&self, file: &Path, newest: impl Fn() -> u64) {
        match config::read(file) {
            Ok(providers) => {
                self.providers.store(Arc::new(providers));
                self.reloaded.store(newest(), Ordering::Release);
                tracing::info!("loaded the encryption configuration anew");
            }
            Err(error) => {
                tracing::error!("cannot load the encryption configuration anew: {error}");
            }
        }
    }
}

/// What an object's cipher text is bound to: the key under which upstream keeps it.
fn place(key: &Key) -> String {
    if Registry::builtin().stored(&key.resource).is_some() {
        return stored::etcd_place(key, false);
    }
    let (plural, group) = key.resource.split_once('.').unwrap_or((&key.resource, ""));
    match &*key.namespace {
        "" => format!("/registry/{group}/{plural}/{}", key.name),
        namespace => format!("/registry/{group}/{plural}/{namespace}/{}", key.name),
    }
}

impl Cipher for Encryption {
    fn seal<'b>(&self, key: &Key, bytes: &'b [u8]) -> Result<Cow<'b, [u8]>, CipherError> {
        match self.providers.load().of(&key.resource).first() {
            None => Ok(Cow::Borrowed(bytes)),
            Some(provider) => provider.seal(bytes, || place(key)),
        }
    }

    fn open<'b>(
        &self,
        key: &Key,
        revision: u64,
        kept: &'b [u8],
    ) -> Result<Cow<'b, [u8]>, CipherError> {
        let providers = self.providers.load();
        let opened = match providers.of(&key.resource) {
            [] => keys::plain(kept),
            providers => keys::open(providers, kept, || place(key)).map(|(opened, first)| {
                if !first {
                    self.stale.lock().insert(revision);
                }
                opened
            }),
        };
        opened.inspect_err(|why| {
            let place = place(key);
            tracing::error!("unable to transform key {place:?}: {why}");
        })
    }

    fn is_stale(&self, key: &Key, revision: u64) -> bool {
        let known = !self.providers.load().of(&key.resource).is_empty();
        known
            && (revision <= self.reloaded.load(Ordering::Acquire)
                || self.stale.lock().contains(&revision))
    }
}

#[cfg(test)]
mod tests;
