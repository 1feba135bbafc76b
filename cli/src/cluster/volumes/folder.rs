//! The folders of volumes.
//!
//! Invariant: what is made and deleted here is a folder straight below that of all volumes and bears its volume's name: an object that says otherwise deletes
//! nothing. No link is followed, and nothing is deleted that something is mounted below.

use std::{
    fs::{self, DirBuilder, Permissions},
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::PersistentVolume;
use skiff_nodeagent::mounts;
use skiff_podspec::parts::{HasSpec, Meta};

/// Where a volume's folder is to be, by its name.
pub fn place(root: &Path, name: &str) -> PathBuf {
    root.join(name)
}

/// The folder of a volume, if it is one of those here.
///
/// # Errors
/// It is not.
pub fn of(root: &Path, volume: &PersistentVolume) -> anyhow::Result<PathBuf> {
    let name = volume.metadata.name();
    let said = volume.spec().host_path.as_ref();
    let said = said.map_or("", |source| source.path.as_str());
    let mut parts = Path::new(name).components();
    let is_name = matches!(parts.next(), Some(Component::Normal(_))) && parts.next().is_none();
    let path = place(root, name);
    if !is_name || Path::new(said).as_os_str() != path.as_os_str() {
        bail!("the volume's path {said:?} is not a folder of volumes of this cluster");
    }
    Ok(path)
}

/// Makes a folder that every user may write to.
pub fn make(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    let root = path.parent().context("a folder of volumes has a place")?;
    let made = DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(root)
        .and_then(|()| match fs::create_dir(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            made => made,
        });
    made.with_context(|| format!("cannot make {shown}"))?;
    if !fs::symlink_metadata(path)?.is_dir() {
        bail!("{shown} is not a directory");
    }
    fs::set_permissions(path, Permissions::from_mode(0o777))
        .with_context(|| format!("cannot set the mode of {shown}"))
}

/// Deletes a folder with all that is in it; one that is gone is deleted.
pub fn remove(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        found => found.with_context(|| format!("cannot look at {shown}"))?,
    };
    if !found.is_dir() {
        bail!("{shown} is not a directory");
    }
    let mounts = mounts::below(path).context("cannot look at the mounts")?;
    if let Some(mount) = mounts.first() {
        bail!("something is mounted at {}", mount.point.display());
    }
    // it follows no links
    fs::remove_dir_all(path).with_context(|| format!("cannot delete {shown}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn only_folders_of_volumes() {
        let root = Path::new("/data/volumes");
        for (name, source, ours) in [
            (
                "pvc-1",
                json!({"hostPath": {"path": "/data/volumes/pvc-1"}}),
                true,
            ),
            (
                "pvc-1",
                json!({"hostPath": {"path": "/data/volumes/pvc-2"}}),
                false,
            ),
            (
                "pvc-1",
                json!({"hostPath": {"path": "/data/volumes/./pvc-1"}}),
                false,
            ),
            (
                "pvc-1",
                json!({"hostPath": {"path": "/data/volumes/pvc-1/"}}),
                false,
            ),
            ("pvc-1", json!({"hostPath": {"path": "/etc"}}), false),
            (
                "pvc-1",
                json!({"local": {"path": "/data/volumes/pvc-1"}}),
                false,
            ),
            ("pvc-1", json!({}), false),
            (
                "..",
                json!({"hostPath": {"path": "/data/volumes/.."}}),
                false,
            ),
            (".", json!({"hostPath": {"path": "/data/volumes/."}}), false),
            ("", json!({"hostPath": {"path": "/data/volumes/"}}), false),
            (
                "a/b",
                json!({"hostPath": {"path": "/data/volumes/a/b"}}),
                false,
            ),
            ("/etc", json!({"hostPath": {"path": "/etc"}}), false),
        ] {
            let volume = json!({"metadata": {"name": name}, "spec": source});
            let volume: PersistentVolume = from_value(volume).unwrap();
            assert_eq!(of(root, &volume).is_ok(), ours, "{name} {source}");
        }
    }

    #[test]
    fn made_and_deleted() {
        let temporary = tempfile::tempdir().unwrap();
        let (root, outside) = (
            temporary.path().join("volumes"),
            temporary.path().join("kept"),
        );
        let path = place(&root, "pvc-1");
        fs::write(&outside, "data").unwrap();
        remove(&path).unwrap();
        for _ in 0..2 {
            make(&path).unwrap();
        }
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o777);
        fs::create_dir(path.join("sub")).unwrap();
        std::os::unix::fs::symlink(temporary.path(), path.join("sub/link")).unwrap();
        remove(&path).unwrap();
        assert!(!path.exists() && outside.exists());
        // neither is a link in the folder's place followed
        std::os::unix::fs::symlink(temporary.path(), &path).unwrap();
        assert!(make(&path).is_err());
        assert!(remove(&path).is_err());
        assert!(outside.exists() && path.is_symlink());
    }
}
