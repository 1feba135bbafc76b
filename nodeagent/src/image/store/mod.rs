//! The images of this node on disk: config documents, unpacked layers, and an index of names.
//!
//! Invariant: `images.json` is replaced atomically and after the layers that it names; a layer folder is made in `tmp`
//! and renamed, so that one that exists is whole. What no image names any more is swept away. Several processes may use
//! the folder at once (agents, `skiff image load`): writes of the index and sweeps exclude each other by locks on files.
//! Plays the part of containerd's image service behind `pkg/kubelet/images`.

mod index;
mod layers;

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use nix::fcntl::{Flock, FlockArg};
use parking_lot::Mutex;

use super::{
    Credentials, Error, Image, ImageStore, Loaded, archive, builtin::Builtin,
    manifest::ImageConfig, pull, reference::Reference,
};
use index::Cached;
pub(super) use layers::Arrived;

/// The images under one data folder; clones share it.
#[derive(Clone)]
pub struct Store {
    content: Arc<Content>,
}

/// What the clones of a [`Store`] share.
pub(super) struct Content {
    root: PathBuf,
    index: Mutex<Cached>,
    builtin: Builtin,
    /// One pull of a name at a time: the others then find its layers.
    pulls: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// Holds the sweeping back while it lives, in every process that uses the folder.
struct ArrivalGuard(#[allow(dead_code, reason = "the lock ends with it")] Flock<fs::File>);

impl ArrivalGuard {
    fn new(content: &Content) -> Result<Self, Error> {
        lock(&content.root, "arriving.lock", FlockArg::LockShared).map(Self)
    }
}

/// Locks a file of the folder, waiting for it unless `how` says otherwise.
fn lock(root: &Path, name: &str, how: FlockArg) -> Result<Flock<fs::File>, Error> {
    let path = root.join(name);
    let file = fs::File::options()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(|err| failed(format!("open {}", path.display()), err))?;
    Flock::lock(file, how).map_err(|(_, err)| failed(format!("lock {}", path.display()), err))
}

/// What a container's root file system is made of.
#[derive(Clone, Debug)]
pub struct Rootfs {
    /// Folders for overlayfs, the topmost first; never empty.
    pub layers: Vec<PathBuf>,
    pub config: ImageConfig,
}

impl Store {
    /// Opens (or makes) the store under `root`, and sweeps what a crash left behind.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, Error> {
        let root = root.into();
        for folder in ["tmp", "layers", "configs"] {
            fs::create_dir_all(root.join(folder))
                .map_err(|err| failed(format!("make {}", root.join(folder).display()), err))?;
        }
        let content = Content {
            builtin: Builtin::of_this_program()?,
            root,
            index: Mutex::default(),
            pulls: Mutex::default(),
        };
        drop(content.fresh()?);
        content.sweep()?;
        Ok(Self {
            content: Arc::new(content),
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

impl Content {
    fn rootfs(&self, id: &str) -> Result<Rootfs, Error> {
        if let Some(config) = self.builtin.config(id) {
            let folder = self
                .builtin
                .materialise(&self.root)
                .map_err(|err| failed("make the built-in image's layer", err))?;
            return Ok(Rootfs {
                layers: vec![folder],
                config,
            });
        }
        let record = self.fresh()?.index.images.get(id).cloned();
        let record = record.ok_or_else(|| Error::NotFound(id.to_owned()))?;
        let layers = record
            .layers
            .iter()
            .rev()
            .map(|diff_id| self.layer_folder(diff_id));
        Ok(Rootfs {
            layers: layers.collect(),
            config: self.config(id)?.config,
        })
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
        let turn = Arc::clone(
            self.content
                .pulls
                .lock()
                .entry(name.to_string())
                .or_default(),
        );
        let answer = {
            let _turn = turn.lock().await;
            let _arrival = ArrivalGuard::new(&self.content)?;
            pull::pull(&self.content, &name, credentials).await
        };
        self.content
            .pulls
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

fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use io::Write;
    let beside = path.with_extension("new");
    let mut file = fs::File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

pub(super) fn failed(what: impl Into<String>, reason: impl ToString) -> Error {
    Error::Failed {
        what: what.into(),
        reason: reason.to_string(),
    }
}
