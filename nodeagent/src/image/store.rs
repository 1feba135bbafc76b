//! The images of this node on disk: config documents, unpacked layers, and an index of names.
//!
//! Invariant: `images.json` is replaced atomically and after the layers that it names; a layer folder is made in `tmp`
//! and renamed, so that one that exists is whole. What no image names any more is swept away. Several processes may use
//! the folder at once (agents, `skiff image load`): writes of the index and sweeps exclude each other by locks on files.
//! Plays the part of containerd's image service behind `pkg/kubelet/images`.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use nix::fcntl::{Flock, FlockArg};
use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    Credentials, Error, Image, ImageStore, archive,
    builtin::Builtin,
    layer,
    manifest::{ConfigDocument, ImageConfig, architecture},
    pull,
    reference::Reference,
};
use crate::outcome::{self, IfThere};

/// Letters of a layer's digest that make its folder's name: short, because a mount's options must fit one page.
const LAYER_NAME: usize = 24;

/// The images under one data folder; clones share it.
#[derive(Clone)]
pub struct Store {
    shelf: Arc<Shelf>,
}

/// What the clones of a [`Store`] share.
pub(super) struct Shelf {
    root: PathBuf,
    index: Mutex<Held>,
    builtin: Builtin,
    /// One pull of a name at a time: the others then find its layers.
    pulls: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// Holds the sweeping back while it lives, in every process that uses the folder.
struct ArrivalGuard(#[allow(dead_code, reason = "the lock ends with it")] Flock<fs::File>);

impl ArrivalGuard {
    fn new(shelf: &Shelf) -> Result<Self, Error> {
        lock(&shelf.root, "arriving.lock", FlockArg::LockShared).map(Self)
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

/// Tells one version of the index file from another.
type Stamp = (u64, i64, i64, u64);

fn stamp(path: &Path) -> Result<Option<Stamp>, Error> {
    use std::os::unix::fs::MetadataExt;
    let meta = path
        .metadata()
        .if_there()
        .map_err(|err| failed("look at images.json", err))?;
    Ok(meta.map(|meta| (meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.len())))
}

/// What a container's root file system is made of.
#[derive(Clone, Debug)]
pub struct Rootfs {
    /// Folders for overlayfs, the topmost first; never empty.
    pub layers: Vec<PathBuf>,
    pub config: ImageConfig,
}

/// The index as this process knows it: that of the file, and layers that are here and have no image yet.
#[derive(Default)]
struct Held {
    index: Index,
    /// Of the file that it was read from.
    stamp: Option<Stamp>,
}

#[derive(Default, Serialize, Deserialize)]
struct Index {
    /// By id.
    images: BTreeMap<String, Record>,
    /// diff id → bytes unpacked.
    layers: BTreeMap<String, u64>,
    /// Digest of a compressed layer → diff id, so that it is not pulled again.
    blobs: BTreeMap<String, String>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Record {
    tags: Vec<String>,
    digests: Vec<String>,
    /// Lowest first.
    layers: Vec<String>,
}

/// An image whose layers are all here, about to be named.
pub(super) struct Arrived {
    pub config: Vec<u8>,
    pub tags: Vec<String>,
    pub digests: Vec<String>,
}

impl Store {
    /// Opens (or makes) the store under `root`, and sweeps what a crash left behind.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, Error> {
        let root = root.into();
        for folder in ["tmp", "layers", "configs"] {
            fs::create_dir_all(root.join(folder))
                .map_err(|err| failed(format!("make {}", root.join(folder).display()), err))?;
        }
        let shelf = Shelf {
            builtin: Builtin::of_this_program()?,
            root,
            index: Mutex::default(),
            pulls: Mutex::default(),
        };
        drop(shelf.fresh()?);
        shelf.sweep()?;
        Ok(Self {
            shelf: Arc::new(shelf),
        })
    }

    /// What to mount for the image with this id (`sha256:…`). Blocks on the disk.
    pub fn rootfs(&self, id: &str) -> Result<Rootfs, Error> {
        self.shelf.rootfs(id)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shelf) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let shelf = Arc::clone(&self.shelf);
        tokio::task::spawn_blocking(move || work(&shelf))
            .await
            .map_err(|err| failed("use the image store", err))?
    }
}

impl Shelf {
    /// The index as it stands, with what other processes have written.
    fn fresh(&self) -> Result<MutexGuard<'_, Held>, Error> {
        let mut held = self.index.lock();
        let path = self.root.join("images.json");
        let now = stamp(&path)?;
        if now.is_some() && now != held.stamp {
            let bytes = fs::read(&path).map_err(|err| failed("read images.json", err))?;
            let mut index: Index =
                serde_json::from_slice(&bytes).map_err(|err| failed("read images.json", err))?;
            let old = std::mem::take(&mut held.index);
            let here = |diff_id: &String| self.layer_folder(diff_id).is_dir();
            for (diff_id, size) in old.layers.into_iter().filter(|(diff_id, _)| here(diff_id)) {
                index.layers.entry(diff_id).or_insert(size);
            }
            index
                .blobs
                .extend(old.blobs.into_iter().filter(|(_, diff_id)| here(diff_id)));
            *held = Held { index, stamp: now };
        }
        Ok(held)
    }

    /// The same while no other process writes it.
    fn exclusive(&self) -> Result<Flock<fs::File>, Error> {
        lock(&self.root, "images.lock", FlockArg::LockExclusive)
    }

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

    pub(super) fn has_blob(&self, digest: &str) -> bool {
        let index = &self.index.lock().index;
        index
            .blobs
            .get(digest)
            .is_some_and(|diff_id| index.layers.contains_key(diff_id))
    }

    /// A new path under `tmp`, for something that is not whole yet.
    pub(super) fn scratch(&self) -> PathBuf {
        self.root.join("tmp").join(uuid::Uuid::new_v4().to_string())
    }

    /// Unpacks a layer's blob (compressed or not), checks it against `diff_id`, and keeps it. Blocks.
    pub(super) fn add_layer(
        &self,
        blob: &Path,
        blob_digest: Option<&str>,
        diff_id: &str,
    ) -> Result<(), Error> {
        if !self.fresh()?.index.layers.contains_key(diff_id) {
            let scratch = self.scratch();
            let size = self.unpack_into(blob, &scratch, diff_id).inspect_err(|_| {
                outcome::remove_if_there(&scratch);
            })?;
            let folder = self.layer_folder(diff_id);
            outcome::remove_if_there(&folder); // one that the index does not know
            fs::rename(&scratch, &folder).map_err(|err| failed("keep a layer", err))?;
            self.index
                .lock()
                .index
                .layers
                .insert(diff_id.to_owned(), size);
        }
        if let Some(digest) = blob_digest {
            let mut held = self.index.lock();
            held.index
                .blobs
                .insert(digest.to_owned(), diff_id.to_owned());
        }
        Ok(())
    }

    fn unpack_into(&self, blob: &Path, folder: &Path, diff_id: &str) -> Result<u64, Error> {
        use std::os::unix::fs::PermissionsExt;
        let io = |err: io::Error| failed("unpack a layer", err);
        fs::create_dir(folder).map_err(io)?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).map_err(io)?;
        let unpacked = layer::unpack(blob, folder).map_err(io)?;
        if unpacked.diff_id != diff_id {
            return Err(failed(
                "unpack a layer",
                format!(
                    "wrong diff id calculated on extraction {:?}, the config says {diff_id:?}",
                    unpacked.diff_id
                ),
            ));
        }
        // On disk before its name is: after a power cut, too, a layer that exists is whole.
        nix::unistd::syncfs(fs::File::open(folder).map_err(io)?)
            .map_err(|err| failed("unpack a layer", err))?;
        Ok(unpacked.size)
    }

    /// Names an image whose layers were all added. Tags move here from the images that had them.
    pub(super) fn commit(&self, arrived: Arrived) -> Result<Image, Error> {
        let id = format!("sha256:{}", hex::encode(Sha256::digest(&arrived.config)));
        let document = parse_config(&arrived.config)?;
        write_atomically(&self.config_path(&id), &arrived.config)
            .map_err(|err| failed("keep an image's config", err))?;
        let _turn = self.exclusive()?;
        let held = &mut *self.fresh()?;
        let index = &mut held.index;
        if let Some(missing) = document
            .rootfs
            .diff_ids
            .iter()
            .find(|diff_id| !index.layers.contains_key(*diff_id))
        {
            return Err(failed(
                "keep an image",
                format!("its layer {missing} is not here"),
            ));
        }
        for record in index.images.values_mut() {
            record.tags.retain(|tag| !arrived.tags.contains(tag));
        }
        let record = index.images.entry(id.clone()).or_insert_with(|| Record {
            tags: vec![],
            digests: vec![],
            layers: document.rootfs.diff_ids,
        });
        merge(&mut record.tags, arrived.tags);
        merge(&mut record.digests, arrived.digests);
        let record = record.clone();
        self.save(held)?;
        Ok(image_of(&id, &record, &held.index, &document.config))
    }

    fn config(&self, id: &str) -> Result<ConfigDocument, Error> {
        let bytes = fs::read(self.config_path(id))
            .map_err(|err| failed(format!("read the config of image {id}"), err))?;
        parse_config(&bytes)
    }

    fn list_now(&self) -> Result<Vec<Image>, Error> {
        let records: Vec<(String, Record)> = self
            .fresh()?
            .index
            .images
            .iter()
            .map(|(id, record)| (id.clone(), record.clone()))
            .collect();
        let mut images = self.builtin.images();
        for (id, record) in records {
            let config = self.config(&id)?.config;
            images.push(image_of(&id, &record, &self.index.lock().index, &config));
        }
        Ok(images)
    }

    fn find_now(&self, reference: &str) -> Result<Option<Image>, Error> {
        let wanted = Wanted::parse(reference)?;
        let mut builtin = self.builtin.images().into_iter();
        if let Some(image) = builtin.find(|image| wanted.is_image(image)) {
            return Ok(Some(image));
        }
        let found = {
            let held = self.fresh()?;
            wanted
                .among(&held.index)
                .map(|(id, record)| (id.clone(), record.clone()))
        };
        let Some((id, record)) = found else {
            return Ok(None);
        };
        let config = self.config(&id)?.config;
        Ok(Some(image_of(
            &id,
            &record,
            &self.index.lock().index,
            &config,
        )))
    }

    fn remove_now(&self, reference: &str) -> Result<(), Error> {
        let wanted = Wanted::parse(reference)?;
        if self
            .builtin
            .images()
            .iter()
            .any(|image| wanted.is_image(image))
        {
            let what = format!("remove image {reference}");
            return Err(failed(what, "it is part of this program"));
        }
        {
            let _turn = self.exclusive()?;
            let held = &mut *self.fresh()?;
            let index = &mut held.index;
            let id = wanted.among(index).map(|(id, _)| id.clone());
            let id = id.ok_or_else(|| Error::NotFound(reference.to_owned()))?;
            let gone = match (&wanted, index.images.get_mut(&id)) {
                (Wanted::Tag(tag), Some(record)) => {
                    record.tags.retain(|t| t != tag);
                    record.tags.is_empty()
                }
                _ => true,
            };
            if gone {
                index.images.remove(&id);
            }
            self.save(held)?;
        }
        self.sweep()
    }

    /// Takes away layers and configs that no image names. Goes on past what fails and reports the first of it.
    fn sweep(&self) -> Result<(), Error> {
        let Ok(_alone) = lock(&self.root, "arriving.lock", FlockArg::LockExclusiveNonblock) else {
            return Ok(()); // something arrives: the next removal or start does it
        };
        let held = &mut *self.fresh()?;
        let index = &mut held.index;
        for entry in entries(&self.root.join("tmp"))? {
            outcome::remove_if_there(&entry);
        }
        let used: std::collections::BTreeSet<String> = index
            .images
            .values()
            .flat_map(|r| r.layers.iter().cloned())
            .collect();
        index.layers.retain(|diff_id, _| used.contains(diff_id));
        index.blobs.retain(|_, diff_id| used.contains(diff_id));
        let keep: std::collections::BTreeSet<PathBuf> = used
            .iter()
            .map(|diff_id| self.layer_folder(diff_id))
            .collect();
        let mut first = None;
        for entry in entries(&self.root.join("layers"))? {
            if keep.contains(&entry) || self.builtin.is_layer(&entry) {
                continue;
            }
            // Renamed first, so that a folder under `layers` is never half gone.
            let scratch = self.scratch();
            if let Err(err) =
                fs::rename(&entry, &scratch).and_then(|()| fs::remove_dir_all(&scratch))
            {
                first.get_or_insert(failed(format!("remove the layer {}", entry.display()), err));
            }
        }
        for entry in entries(&self.root.join("configs"))? {
            let id = entry
                .file_name()
                .map(|name| format!("sha256:{}", name.to_string_lossy()));
            if id.is_none_or(|id| !index.images.contains_key(&id))
                && let Err(err) = fs::remove_file(&entry)
            {
                first.get_or_insert(failed(format!("remove {}", entry.display()), err));
            }
        }
        first.map_or(Ok(()), Err)
    }

    fn save(&self, held: &mut Held) -> Result<(), Error> {
        let path = self.root.join("images.json");
        let bytes =
            serde_json::to_vec(&held.index).map_err(|err| failed("write images.json", err))?;
        write_atomically(&path, &bytes).map_err(|err| failed("write images.json", err))?;
        held.stamp = stamp(&path)?;
        Ok(())
    }

    fn layer_folder(&self, diff_id: &str) -> PathBuf {
        let hex = diff_id.rsplit(':').next().unwrap_or(diff_id);
        self.root
            .join("layers")
            .join(&hex[..LAYER_NAME.min(hex.len())])
    }

    fn config_path(&self, id: &str) -> PathBuf {
        self.root
            .join("configs")
            .join(id.rsplit(':').next().unwrap_or(id))
    }
}

#[async_trait]
impl ImageStore for Store {
    async fn find(&self, reference: &str) -> Result<Option<Image>, Error> {
        self.shelf.find_now(reference)
    }

    async fn pull(&self, reference: &str, credentials: &[Credentials]) -> Result<Image, Error> {
        let name = Reference::parse(reference)?;
        if let Some(image) = self
            .shelf
            .builtin
            .images()
            .into_iter()
            .find(|image| image.tags.contains(&name.to_string()))
        {
            return Ok(image);
        }
        let turn = Arc::clone(self.shelf.pulls.lock().entry(name.to_string()).or_default());
        let answer = {
            let _turn = turn.lock().await;
            let _arrival = ArrivalGuard::new(&self.shelf)?;
            pull::pull(&self.shelf, &name, credentials).await
        };
        self.shelf
            .pulls
            .lock()
            .retain(|_, turn| Arc::strong_count(turn) > 2);
        answer
    }

    async fn load(&self, archive: &Path) -> Result<Vec<Image>, Error> {
        let archive = archive.to_owned();
        self.blocking(move |shelf| {
            let _arrival = ArrivalGuard::new(shelf)?;
            archive::load(shelf, &archive)
        })
        .await
    }

    async fn list(&self) -> Result<Vec<Image>, Error> {
        self.blocking(Shelf::list_now).await
    }

    async fn remove(&self, reference: &str) -> Result<(), Error> {
        let reference = reference.to_owned();
        self.blocking(move |shelf| shelf.remove_now(&reference))
            .await
    }
}

/// How an image was asked for.
enum Wanted {
    Id(String),
    Digest(String),
    Tag(String),
}

impl Wanted {
    fn parse(reference: &str) -> Result<Self, Error> {
        if let Some(hex) = reference
            .strip_prefix("sha256:")
            .filter(|hex| hex.len() == 64)
        {
            return Ok(Self::Id(format!("sha256:{hex}")));
        }
        let name = Reference::parse(reference)?;
        Ok(if name.digest.is_some() {
            Self::Digest(name.to_string())
        } else {
            Self::Tag(name.to_string())
        })
    }

    fn is_image(&self, image: &Image) -> bool {
        self.is(&image.id, &image.tags, &image.digests)
    }

    fn among<'a>(&self, index: &'a Index) -> Option<(&'a String, &'a Record)> {
        index
            .images
            .iter()
            .find(|(id, record)| self.is(id, &record.tags, &record.digests))
    }

    fn is(&self, id: &str, tags: &[String], digests: &[String]) -> bool {
        match self {
            Self::Id(wanted) => wanted == id,
            Self::Digest(wanted) => digests.contains(wanted),
            Self::Tag(wanted) => tags.contains(wanted),
        }
    }
}

fn image_of(id: &str, record: &Record, index: &Index, config: &ImageConfig) -> Image {
    Image {
        id: id.to_owned(),
        tags: record.tags.clone(),
        digests: record.digests.clone(),
        size: record
            .layers
            .iter()
            .filter_map(|diff_id| index.layers.get(diff_id))
            .sum(),
        user: config.user.clone(),
    }
}

fn parse_config(bytes: &[u8]) -> Result<ConfigDocument, Error> {
    let document: ConfigDocument =
        serde_json::from_slice(bytes).map_err(|err| failed("read an image's config", err))?;
    if (!document.os.is_empty() && document.os != "linux")
        || (!document.architecture.is_empty() && document.architecture != architecture())
    {
        let (os, arch) = (&document.os, &document.architecture);
        return Err(failed(
            "use the image",
            format!(
                "it is for {os}/{arch}, and this machine is linux/{}",
                architecture()
            ),
        ));
    }
    if document.rootfs.diff_ids.is_empty() {
        return Err(failed("use the image", "it has no layers"));
    }
    Ok(document)
}

fn merge(into: &mut Vec<String>, more: Vec<String>) {
    for item in more {
        if !into.contains(&item) {
            into.push(item);
        }
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let list = || {
        fs::read_dir(folder)?
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<_>>()
    };
    list().map_err(|err| failed(format!("list {}", folder.display()), err))
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
