//! The image store of a node: what is asked of it, on what there is on disk.
//!
//! Invariant: one pull of a name at a time; while something arrives, in any process, nothing is swept.
//! Plays the part of containerd's image service behind `pkg/kubelet/images`.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use nix::fcntl::{Flock, FlockArg};
use parking_lot::Mutex;

use super::{
    Credentials, Error, Image, ImageStore, Loaded, archive,
    content::{Content, Rootfs, lock},
    failed, pull,
    reference::Reference,
};

/// The images under one data folder; clones share it.
#[derive(Clone)]
pub struct Store {
    content: Arc<Content>,
    /// One pull of a name at a time: the others then find its layers.
    pulls: Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>>,
}

/// Holds the sweeping back while it lives, in every process that uses the folder.
struct ArrivalGuard {
    _lock: Flock<fs::File>,
}

impl ArrivalGuard {
    fn new(content: &Content) -> Result<Self, Error> {
        let _lock = lock(&content.root, "arriving.lock", FlockArg::LockShared)?;
        Ok(Self { _lock })
    }
}

impl Store {
    /// Opens (or makes) the store under `root`, and sweeps what a crash left behind.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, Error> {
        let root: PathBuf = root.into();
        Ok(Self {
            content: Arc::new(Content::open(root)?),
            pulls: Arc::default(),
        })
    }

    /// What to mount for the image with this id (`sha256:…`). Blocks on the disk.
    pub fn rootfs(&self, id: &str) -> Result<Rootfs, Error> {
        self.content.rootfs(id)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Content) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let content = Arc::clone(&self.content);
        tokio::task::spawn_blocking(move || work(&content))
            .await
            .map_err(|err| failed("use the image store", err))?
    }
}

#[async_trait]
impl ImageStore for Store {
    async fn find(&self, reference: &str) -> Result<Option<Image>, Error> {
        self.content.find_now(reference)
    }

    async fn pull(&self, reference: &str, credentials: &[Credentials]) -> Result<Image, Error> {
        let name = Reference::parse(reference)?;
        if let Some(image) = self
            .content
            .builtin
            .images()
            .into_iter()
            .find(|image| image.tags.contains(&name.to_string()))
        {
            return Ok(image);
        }
        let turn = Arc::clone(self.pulls.lock().entry(name.to_string()).or_default());
        let answer = {
            let _turn = turn.lock().await;
            let _arrival = ArrivalGuard::new(&self.content)?;
            pull::pull(&self.content, &name, credentials).await
        };
        self.pulls
            .lock()
            .retain(|_, turn| Arc::strong_count(turn) > 2);
        answer
    }

    async fn load(&self, archive: &Path) -> Result<Vec<Loaded>, Error> {
        let archive = archive.to_owned();
        self.blocking(move |content| {
            let _arrival = ArrivalGuard::new(content)?;
            archive::load(content, &archive)
        })
        .await
    }

    async fn list(&self) -> Result<Vec<Image>, Error> {
        self.blocking(Content::list_now).await
    }

    async fn remove(&self, reference: &str) -> Result<(), Error> {
        let reference = reference.to_owned();
        self.blocking(move |content| content.remove_now(&reference))
            .await
    }
}
