//! `subPath`: a place inside a volume, made when missing, never outside of the volume.
//!
//! Invariant: the place is opened with the kernel forbidding every way out of the volume, and what was opened is what gets mounted.
//! Follows `pkg/volume/util/subpath/subpath_linux.go`.

use std::{
    fs,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::{PermissionsExt, fchown},
    },
    path::{Component, Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    mount::{MsFlags, mount},
    sys::stat::{Mode, fchmod, mkdirat},
};

use super::{During, Error};
use crate::mounts;

/// Binds the place that `sub` names in the volume at `root` to `target`, and answers `target`. Missing folders are made with the volume's own mode and group.
pub fn prepare(root: &Path, sub: &str, target: &Path) -> Result<PathBuf, Error> {
    let place = open_inside(root, sub)?;
    bind(&place, target)?;
    Ok(target.to_owned())
}

/// Refuses what cannot be a place inside.
pub fn check(sub: &str) -> Result<(), Error> {
    if Path::new(sub).is_absolute() {
        return Err(Error::Refused(format!(
            "error SubPath `{sub}` must not be an absolute path"
        )));
    }
    if Path::new(sub)
        .components()
        .any(|component| component == Component::ParentDir)
    {
        return Err(Error::Refused(format!(
            "unable to provision SubPath `{sub}`: must not contain '..'"
        )));
    }
    Ok(())
}

fn open_below(dir: &OwnedFd, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(flags | OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(dir, path, how)
}

/// Opens the place, making the folders on the way that are missing.
fn open_inside(root: &Path, sub: &str) -> Result<OwnedFd, Error> {
    check(sub)?;
    let relative = Path::new(sub);
    let metadata = fs::metadata(root).during(|| format!("read {}", root.display()))?;
    let volume: OwnedFd = fs::File::open(root)
        .during(|| format!("open {}", root.display()))?
        .into();
    let mut walked = PathBuf::new();
    for component in relative
        .components()
        .filter(|component| matches!(component, Component::Normal(_)))
    {
        let parent = if walked.as_os_str().is_empty() {
            Path::new(".").to_owned()
        } else {
            walked.clone()
        };
        walked.push(component);
        match open_below(&volume, &walked, OFlag::empty()) {
            Ok(_) => continue,
            Err(Errno::ENOENT) => {}
            Err(Errno::EXDEV | Errno::ELOOP) => {
                return Err(Error::Refused(format!(
                    "subpath {sub:?} leads out of the volume"
                )));
            }
            Err(errno) => {
                return Err(errno)
                    .during(|| format!("open {} in {}", walked.display(), root.display()));
            }
        }
        let what = || format!("make {} in {}", walked.display(), root.display());
        let how = OpenHow::new()
            .flags(OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let parent = openat2(&volume, &parent, how).during(what)?;
        let name = Path::new(component.as_os_str());
        mkdirat(&parent, name, Mode::from_bits_truncate(0o755)).during(what)?;
        let made = openat2(&parent, name, how).during(what)?;
        fchmod(
            &made,
            Mode::from_bits_truncate(metadata.permissions().mode() & 0o7777),
        )
        .during(what)?;
        fchown(
            &made,
            None,
            Some(std::os::unix::fs::MetadataExt::gid(&metadata)),
        )
        .during(what)?;
    }
    let last = if walked.as_os_str().is_empty() {
        Path::new(".")
    } else {
        &walked
    };
    open_below(&volume, last, OFlag::empty())
        .during(|| format!("open {} in {}", last.display(), root.display()))
}

fn bind(place: &OwnedFd, target: &Path) -> Result<(), Error> {
    let source = PathBuf::from(format!("/proc/self/fd/{}", place.as_raw_fd()));
    let is_dir = fs::metadata(&source)
        .during(|| "read what a subPath names".to_owned())?
        .is_dir();
    if target.exists() {
        mounts::unmount_below(target)
            .during(|| format!("take down what is mounted at {}", target.display()))?;
    }
    match (is_dir, target.parent()) {
        (true, _) => fs::create_dir_all(target).during(|| format!("make {}", target.display()))?,
        (false, Some(parent)) => {
            fs::create_dir_all(parent).during(|| format!("make {}", parent.display()))?;
            fs::File::create(target).during(|| format!("make {}", target.display()))?;
        }
        (false, None) => {}
    }
    mount(
        Some(&source),
        target,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )
    .during(|| format!("bind a subPath to {}", target.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_inside_only() {
        let root = tempfile::tempdir().unwrap();
        open_inside(root.path(), "a/b").unwrap();
        assert!(root.path().join("a/b").is_dir());
        std::os::unix::fs::symlink("/etc", root.path().join("out")).unwrap();
        std::os::unix::fs::symlink("a", root.path().join("in")).unwrap();
        for bad in ["../x", "/x", "out/passwd", "out/new"] {
            assert!(open_inside(root.path(), bad).is_err(), "{bad}");
        }
        open_inside(root.path(), "in/b").unwrap();
    }
}
