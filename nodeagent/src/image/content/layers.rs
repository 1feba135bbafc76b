//! What images are made of on disk: layers and configs that arrive, and that go when no image names them.
//!
//! Invariant: a folder under `layers` is whole, and on disk before its name is.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use nix::fcntl::FlockArg;
use sha2::{Digest, Sha256};

use super::{
    Content,
    index::{Record, image_of},
    lock, write_atomically,
};
use crate::{
    image::{
        Error, Image, failed, layer,
        manifest::{ConfigDocument, architecture},
    },
    outcome,
};

/// Letters of a layer's digest that make its folder's name: short, because a mount's options must fit one page.
const LAYER_NAME: usize = 24;

/// An image whose layers are all here, about to be named.
pub(in crate::image) struct Arrived {
    pub config: Vec<u8>,
    pub tags: Vec<String>,
    pub digests: Vec<String>,
}

impl Content {
    pub(in crate::image) fn has_blob(&self, digest: &str) -> bool {
        let index = &self.index.lock().index;
        index
            .blobs
            .get(digest)
            .is_some_and(|diff_id| index.layers.contains_key(diff_id))
    }

    /// A new path under `tmp`, for something that is not whole yet.
    pub(in crate::image) fn scratch(&self) -> PathBuf {
        self.root.join("tmp").join(uuid::Uuid::new_v4().to_string())
    }

    /// Unpacks a layer's blob (compressed or not), checks it against `diff_id`, and keeps it. Blocks.
    pub(in crate::image) fn add_layer(
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
            let mut cached = self.index.lock();
            cached
                .index
                .blobs
                .insert(digest.to_owned(), diff_id.to_owned());
        }
        Ok(())
    }

    pub(super) fn unpack_into(
        &self,
        blob: &Path,
        folder: &Path,
        diff_id: &str,
    ) -> Result<u64, Error> {
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
    pub(in crate::image) fn commit(&self, arrived: Arrived) -> Result<Image, Error> {
        let id = format!("sha256:{}", hex::encode(Sha256::digest(&arrived.config)));
        let document = parse_config(&arrived.config)?;
        write_atomically(&self.config_path(&id), &arrived.config)
            .map_err(|err| failed("keep an image's config", err))?;
        let _turn = self.exclusive()?;
        let cached = &mut *self.fresh()?;
        let index = &mut cached.index;
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
        self.save(cached)?;
        Ok(image_of(&id, &record, &cached.index, &document.config))
    }

    pub(super) fn config(&self, id: &str) -> Result<ConfigDocument, Error> {
        let bytes = fs::read(self.config_path(id))
            .map_err(|err| failed(format!("read the config of image {id}"), err))?;
        parse_config(&bytes)
    }

    /// Takes away layers and configs that no image names. Goes on past what fails and reports the first of it.
    pub(super) fn sweep(&self) -> Result<(), Error> {
        let Ok(_alone) = lock(&self.root, "arriving.lock", FlockArg::LockExclusiveNonblock) else {
            return Ok(()); // something arrives: the next removal or start does it
        };
        let cached = &mut *self.fresh()?;
        let index = &mut cached.index;
        for entry in entries(&self.root.join("tmp"))? {
            outcome::remove_if_there(&entry);
        }
        let used: BTreeSet<String> = index
            .images
            .values()
            .flat_map(|r| r.layers.iter().cloned())
            .collect();
        index.layers.retain(|diff_id, _| used.contains(diff_id));
        index.blobs.retain(|_, diff_id| used.contains(diff_id));
        let keep: BTreeSet<PathBuf> = used
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

    pub(super) fn layer_folder(&self, diff_id: &str) -> PathBuf {
        let hex = diff_id.rsplit(':').next().unwrap_or(diff_id);
        self.root
            .join("layers")
            .join(&hex[..LAYER_NAME.min(hex.len())])
    }

    pub(super) fn config_path(&self, id: &str) -> PathBuf {
        self.root
            .join("configs")
            .join(id.rsplit(':').next().unwrap_or(id))
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
