//! Mounting what images hold: a container's root file system, and the images that are its volumes.
//!
//! Invariant: all of it happens in the helper's own mount namespace (but for containers whose mounts must reach the host); a sub-path is opened with the
//! kernel forbidding every way out of the image.

use std::{
    fs, io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use crate::runtime::oci::{
    cause::During,
    state::ImageVolume,
    state::{ContainerDir, ContainerRecord},
};

#[derive(thiserror::Error, Debug)]
pub enum Error {
    #[error("failed to mount the container's root file system: {0}")]
    Rootfs(#[source] io::Error),
    /// Begins as with every CRI runtime.
    #[error("ImageVolumeMountFailed: {0}")]
    Volume(#[source] io::Error),
}

/// The container's root file system exists only in this copy's mount namespace and in the container's, which is copied
/// from it: nothing is left on the host, however the container ends. Only a container whose mounts must reach the host is mounted there.
pub fn mount_all(dir: &ContainerDir, record: &ContainerRecord) -> Result<(), Error> {
    mount_rootfs(dir, record).map_err(Error::Rootfs)?;
    record
        .image_volumes
        .iter()
        .try_for_each(mount_volume)
        .map_err(Error::Volume)
}

fn mount_rootfs(dir: &ContainerDir, record: &ContainerRecord) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).during("unshare the mount namespace")?;
    if !record.bidirectional {
        mount(
            None::<&str>,
            "/",
            None::<&str>,
            MsFlags::MS_REC | MsFlags::MS_SLAVE,
            None::<&str>,
        )
        .during("mount / as a slave")?;
    }
    let (upper, work) = (record.writable.join("upper"), record.writable.join("work"));
    overlay(
        &record.layers,
        &format!(",upperdir={},workdir={}", upper.display(), work.display()),
        &dir.rootfs(),
        MsFlags::empty(),
    )?;
    make_folder_inside(&dir.rootfs(), Path::new(&record.working_dir))
        .during(format_args!("mkdir {}", record.working_dir))
}

/// The names of layers in one folder are given relative to it: the options must fit one page.
fn overlay(layers: &[PathBuf], more: &str, target: &Path, flags: MsFlags) -> io::Result<()> {
    let parent = layers
        .first()
        .and_then(|layer| layer.parent())
        .ok_or_else(|| io::Error::other("an image without layers"))?;
    let lower: Vec<String> = layers
        .iter()
        .map(|layer| {
            layer
                .strip_prefix(parent)
                .unwrap_or(layer)
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    let options = format!("lowerdir={}{more}", lower.join(":"));
    nix::unistd::chdir(parent).during(format_args!("chdir {}", parent.display()))?;
    let mounted = mount(
        Some("overlay"),
        target,
        Some("overlay"),
        flags,
        Some(options.as_str()),
    );
    nix::unistd::chdir("/")?;
    mounted.during(format_args!(
        "mount overlay on {} ({options})",
        target.display()
    ))
}

/// Has the volume's place show the image, or the part of it that is wanted.
fn mount_volume(volume: &ImageVolume) -> io::Result<()> {
    let (whole, empty) = (
        volume.place.with_extension("image"),
        volume.place.with_extension("empty"),
    );
    for folder in [&whole, &empty] {
        fs::create_dir_all(folder).during(format_args!("mkdir {}", folder.display()))?;
    }
    // Without a writable layer overlayfs wants two others at least.
    overlay(
        &volume.layers,
        &format!(":{}", empty.display()),
        &whole,
        MsFlags::MS_RDONLY,
    )?;
    let part = open_inside(&whole, &volume.sub_path)?;
    let source = PathBuf::from(format!("/proc/self/fd/{}", part.as_raw_fd()));
    let is_folder = fs::metadata(&source)
        .during(format_args!("stat {:?}", volume.sub_path))?
        .is_dir();
    let made = if is_folder {
        fs::create_dir_all(&volume.place)
    } else {
        fs::write(&volume.place, "")
    };
    made.during(format_args!("make {}", volume.place.display()))?;
    mount(
        Some(&source),
        &volume.place,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )
    .during(format_args!("mount {:?} of the image", volume.sub_path))
}

fn open_inside(root: &Path, sub_path: &str) -> io::Result<OwnedFd> {
    let root = fs::File::open(root).during(format_args!("open {}", root.display()))?;
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let path = if sub_path.is_empty() { "." } else { sub_path };
    openat2(&root, path, how).during(format_args!("open {path:?} in the image"))
}

/// The working directory is made when the image lacks it, root's whoever runs in it, as runc does; never through a link that leads out.
fn make_folder_inside(root: &Path, path: &Path) -> io::Result<()> {
    let root = fs::File::open(root)?;
    let mut made = PathBuf::new();
    for component in path
        .components()
        .filter(|c| matches!(c, std::path::Component::Normal(_)))
    {
        let parent = if made.as_os_str().is_empty() {
            PathBuf::from(".")
        } else {
            made.clone()
        };
        made.push(component);
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        if openat2(&root, &made, how).is_ok() {
            continue;
        }
        let folder = openat2(&root, &parent, how)?;
        let name: &Path = component.as_ref();
        match nix::sys::stat::mkdirat(
            &folder,
            name,
            nix::sys::stat::Mode::from_bits_truncate(0o755),
        ) {
            Ok(()) => {}
            Err(nix::errno::Errno::EEXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
