//! What the images of a node are on disk: config documents, unpacked layers, and an index of names.
//!
//! Invariant: `images.json` is replaced atomically and after the layers that it names; a layer folder is made in `tmp`
//! and renamed, so that one that exists is whole. What no image names any more is swept away. Several processes may use
//! the folder at once (agents, `skiff image load`): writes of the index and sweeps exclude each other by locks on files.

mod index;
mod layers;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};
use parking_lot::Mutex;

use super::{Error, builtin::Builtin, failed, manifest::ImageConfig};
use index::Cached;
pub(super) use layers::Arrived;

/// See the module.
pub(super) struct Content {
    pub(super) root: PathBuf,
    index: Mutex<Cached>,
    pub(super) builtin: Builtin,
}

/// Locks a file of the folder, waiting for it unless `how` says otherwise.
pub(super) fn lock(root: &Path, name: &str, how: FlockArg) -> Result<Flock<fs::File>, Error> {
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

impl Content {
    /// Opens (or makes) it, and sweeps what a crash left behind.
    pub(super) fn open(root: PathBuf) -> Result<Self, Error> {
        for folder in ["tmp", "layers", "configs"] {
            fs::create_dir_all(root.join(folder))
                .map_err(|err| failed(format!("make {}", root.join(folder).display()), err))?;
        }
        let content = Content {
            builtin: Builtin::of_this_program()?,
            root,
            index: Mutex::default(),
        };
        drop(content.fresh()?);
        content.sweep()?;
        Ok(content)
    }

    pub(super) fn rootfs(&self, id: &str) -> Result<Rootfs, Error> {
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

fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use io::Write;
    let beside = path.with_extension("new");
    let mut file = fs::File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}
