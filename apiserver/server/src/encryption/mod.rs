//! Encryption at rest: what of the cluster's objects lies on disk as cipher text.
//!
//! Where no configuration says otherwise, Secrets are encrypted by a key that the server makes for itself.
//!
//! Invariant: the first provider of a resource writes and all of them read; what is encrypted says by whom and by which key. Objects that no
//! configuration names are plain, and what is encrypted is never taken for plain.
//! Follows `staging/src/k8s.io/apiserver/pkg/server/options/encryptionconfig` and `.../pkg/storage/value`.

mod config;
mod keys;
mod own;

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
use skiff_storage::{Cipher, CipherError, Key, Store};
use tokio_util::sync::CancellationToken;

pub use self::{config::ConfigError, own::OwnKeyError};
use self::{keys::Provider, own::OwnKey};
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
    /// Read what these cannot.
    before: Providers,
    /// Revisions of objects that were found to be written by another provider or key than the first.
    stale: Mutex<HashSet<u64>>,
    /// The newest revision that another configuration may have written.
    reloaded: AtomicU64,
}

impl Encryption {
    /// As a file says, or else by the server's own key in `folder`: that is to be kept then before anything is written. Without either, nothing is
    /// encrypted.
    ///
    /// # Errors
    /// A file cannot be read, or asks for what cannot be.
    pub fn open(
        file: Option<&Path>,
        folder: Option<&Path>,
    ) -> Result<(Encryption, Option<OwnKey>), ConfigError> {
        let (mut own, mut before) = (None, None);
        let providers = match (file, folder) {
            (Some(file), folder) => {
                // what was encrypted before there was a file
                before = folder.map(OwnKey::read).transpose()?.flatten();
                config::read(file)?
            }
            (None, Some(folder)) => {
                let (key, providers) = OwnKey::open(folder)?;
                own = Some(key);
                providers
            }
            (None, None) => Providers::default(),
        };
        let encryption = Encryption {
            providers: ArcSwap::from_pointee(providers),
            before: before.unwrap_or_default(),
            ..Encryption::default()
        };
        Ok((encryption, own))
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
    stored::etcd_place(key, false)
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
            [] => keys::plain(kept).map(|plain| (plain, true)),
            providers => keys::open(providers, kept, || place(key)),
        };
        let opened = opened.or_else(|why| match self.before.of(&key.resource) {
            [] => Err(why),
            before => match keys::open(before, kept, || place(key)) {
                Ok((opened, _)) => Ok((opened, false)),
                Err(_) => Err(why),
            },
        });
        let opened = opened.map(|(opened, first)| {
            if !first {
                self.stale.lock().insert(revision);
            }
            opened
        });
        opened.inspect_err(|why| {
            let place = place(key);
            tracing::error!("unable to transform key {place:?}: {why}");
        })
    }

    fn is_stale(&self, key: &Key, revision: u64) -> bool {
        let known = !self.providers.load().of(&key.resource).is_empty()
            || !self.before.of(&key.resource).is_empty();
        known
            && (revision <= self.reloaded.load(Ordering::Acquire)
                || self.stale.lock().contains(&revision))
    }
}

#[cfg(test)]
mod tests;
