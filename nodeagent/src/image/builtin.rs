//! The image that is part of this program: the running executable as `/shop` in an otherwise empty root file system.
//!
//! Invariant: the two tags share one layer folder, which holds a hard link of the executable (a copy only where the
//! store lies on another file system), and which is made when a container first needs it.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{Error, Image, failed, manifest::ImageConfig};

/// Name of the built-in image without its tag.
pub const SHOP_REPOSITORY: &str = "skiff.local/shop";
/// Its tags; each is also the value of `SHOP_VERSION` in the container.
pub const SHOP_VERSIONS: [&str; 2] = ["v1", "v2"];

const PROGRAM: &str = "/proc/self/exe";

pub(super) struct Builtin {
    /// Tells one build of the program from another.
    key: String,
    size: u64,
}

impl Builtin {
    pub fn of_this_program() -> Result<Self, Error> {
        let meta =
            fs::metadata(PROGRAM).map_err(|err| failed("look at this program's file", err))?;
        let identity = format!(
            "{}:{}:{}:{}:{}",
            meta.dev(),
            meta.ino(),
            meta.size(),
            meta.mtime(),
            meta.mtime_nsec()
        );
        Ok(Self {
            key: hex::encode(Sha256::digest(identity))[..16].to_owned(),
            size: meta.size(),
        })
    }

    pub fn images(&self) -> Vec<Image> {
        let image = |version: &&str| Image {
            id: self.id(version),
            tags: vec![format!("{SHOP_REPOSITORY}:{version}")],
            digests: vec![],
            size: self.size,
            user: String::new(),
        };
        SHOP_VERSIONS.iter().map(image).collect()
    }

    /// The config of the built-in image with this id, if it is one.
    pub fn config(&self, id: &str) -> Option<ImageConfig> {
        let version = SHOP_VERSIONS
            .iter()
            .find(|version| self.id(version) == id)?;
        Some(ImageConfig {
            env: vec![format!("SHOP_VERSION={version}")],
            entrypoint: vec!["/shop".to_owned()],
            working_dir: "/".to_owned(),
            ..ImageConfig::default()
        })
    }

    pub fn is_layer(&self, folder: &Path) -> bool {
        folder
            .file_name()
            .is_some_and(|name| name == self.folder_name().as_str())
    }

    /// The layer's folder, made when it is not there yet.
    pub fn materialise(&self, store: &Path) -> io::Result<PathBuf> {
        let folder = store.join("layers").join(self.folder_name());
        if folder.join("shop").exists() {
            return Ok(folder);
        }
        let scratch = store.join("tmp").join(uuid::Uuid::new_v4().to_string());
        fs::create_dir(&scratch)?;
        fs::set_permissions(&scratch, fs::Permissions::from_mode(0o755))?;
        let file = scratch.join("shop");
        let linked = nix::unistd::linkat(
            nix::fcntl::AT_FDCWD,
            PROGRAM,
            nix::fcntl::AT_FDCWD,
            &file,
            nix::fcntl::AtFlags::AT_SYMLINK_FOLLOW,
        );
        if linked.is_err() {
            fs::copy(PROGRAM, &file)?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
        }
        match fs::rename(&scratch, &folder) {
            // Another caller was quicker.
            Err(_) if folder.join("shop").exists() => fs::remove_dir_all(&scratch)?,
            other => other?,
        }
        Ok(folder)
    }

    fn folder_name(&self) -> String {
        format!("builtin-{}", self.key)
    }

    fn id(&self, version: &str) -> String {
        format!(
            "sha256:{}",
            hex::encode(Sha256::digest(format!(
                "{SHOP_REPOSITORY}:{version}:{}",
                self.key
            )))
        )
    }
}
