//! The index of the images: which there are, by which names, and of which layers.
//!
//! Invariant: it is written under a lock that all processes heed, and read anew when another has written it.

use std::{collections::BTreeMap, fs, path::Path};

use nix::fcntl::{Flock, FlockArg};
use parking_lot::MutexGuard;
use serde::{Deserialize, Serialize};

use super::{Content, lock, write_atomically};
use crate::{
    image::{Error, Image, failed, manifest::ImageConfig, reference::Reference},
    outcome::IfThere,
};

/// Tells one version of the index file from another.
type Stamp = (u64, i64, i64, u64);

/// The index as this process knows it: that of the file, and layers that are here and have no image yet.
#[derive(Default)]
pub(super) struct Cached {
    pub(super) index: Index,
    /// Of the file that it was read from.
    pub(super) stamp: Option<Stamp>,
}

#[derive(Default, Serialize, Deserialize)]
pub(super) struct Index {
    /// By id.
    pub(super) images: BTreeMap<String, Record>,
    /// diff id → bytes unpacked.
    pub(super) layers: BTreeMap<String, u64>,
    /// Digest of a compressed layer → diff id, so that it is not pulled again.
    pub(super) blobs: BTreeMap<String, String>,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) tags: Vec<String>,
    pub(super) digests: Vec<String>,
    /// Lowest first.
    pub(super) layers: Vec<String>,
}

impl Content {
    /// The index as it stands, with what other processes have written.
    pub(super) fn fresh(&self) -> Result<MutexGuard<'_, Cached>, Error> {
        let mut cached = self.index.lock();
        let path = self.root.join("images.json");
        let now = stamp(&path)?;
        if now.is_some() && now != cached.stamp {
            let bytes = fs::read(&path).map_err(|err| failed("read images.json", err))?;
            let mut index: Index =
                serde_json::from_slice(&bytes).map_err(|err| failed("read images.json", err))?;
            let old = std::mem::take(&mut cached.index);
            let here = |diff_id: &String| self.layer_folder(diff_id).is_dir();
            for (diff_id, size) in old.layers.into_iter().filter(|(diff_id, _)| here(diff_id)) {
                index.layers.entry(diff_id).or_insert(size);
            }
            index
                .blobs
                .extend(old.blobs.into_iter().filter(|(_, diff_id)| here(diff_id)));
            *cached = Cached { index, stamp: now };
        }
        Ok(cached)
    }

    /// The same while no other process writes it.
    pub(super) fn exclusive(&self) -> Result<Flock<fs::File>, Error> {
        lock(&self.root, "images.lock", FlockArg::LockExclusive)
    }

    pub(in crate::image) fn list_now(&self) -> Result<Vec<Image>, Error> {
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

    pub(in crate::image) fn find_now(&self, reference: &str) -> Result<Option<Image>, Error> {
        let wanted = Wanted::parse(reference)?;
        let mut builtin = self.builtin.images().into_iter();
        if let Some(image) = builtin.find(|image| wanted.is_image(image)) {
            return Ok(Some(image));
        }
        let found = {
            let cached = self.fresh()?;
            wanted
                .among(&cached.index)
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

    pub(in crate::image) fn remove_now(&self, reference: &str) -> Result<(), Error> {
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
            let cached = &mut *self.fresh()?;
            let index = &mut cached.index;
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
            self.save(cached)?;
        }
        self.sweep()
    }

    pub(super) fn save(&self, cached: &mut Cached) -> Result<(), Error> {
        let path = self.root.join("images.json");
        let bytes =
            serde_json::to_vec(&cached.index).map_err(|err| failed("write images.json", err))?;
        write_atomically(&path, &bytes).map_err(|err| failed("write images.json", err))?;
        cached.stamp = stamp(&path)?;
        Ok(())
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

pub(super) fn image_of(id: &str, record: &Record, index: &Index, config: &ImageConfig) -> Image {
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

fn stamp(path: &Path) -> Result<Option<Stamp>, Error> {
    use std::os::unix::fs::MetadataExt;
    let meta = path
        .metadata()
        .if_there()
        .map_err(|err| failed("look at images.json", err))?;
    Ok(meta.map(|meta| (meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.len())))
}
