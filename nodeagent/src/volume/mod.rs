//! Volumes of pods: one file a kind, each of which puts the volume's content at its place below the pod's folder.
//!
//! Invariant: setting up what is set up already changes nothing but what has changed at the source; a kind that is not supported is refused.
//! Follows `pkg/volume` and `pkg/kubelet/volumemanager`.
//!
//! To add a kind, write its file and put it in here:
//!
//! 1. `<kind>.rs`. A kind that is a folder has `set_up`, which makes [`Request::dir`] and answers a [`Mounted`]: copy `empty_dir.rs`.
//!    A kind that is made of files has `files`, which only says what they hold; the rest is done here: copy `secret.rs`.
//!    It gets its own source, already known to be there, and refuses (`Error::Refused`) what it cannot honour.
//! 2. One arm in [`set_up`]; with files also their plugin's name as upstream has it, and whether they may touch the disk.
//! 3. Objects that it reads go into [`references`], so that a change wakes the pod; what may change while the pod runs, into [`changes`].
//!
//! Taking down is nobody's own: [`tear_down`] unmounts whatever is mounted below the pod's folder, and removes that.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::{Pod, Volume};

use crate::{
    agent::context::Context,
    mounts,
    objects::{self, Kind},
    outcome::IfThere,
    pod::{
        fields,
        mounted::Mounted,
        names::{self, spec},
        security,
    },
};

pub mod atomic;
pub mod config_map;
pub mod downward_api;
pub mod empty_dir;
pub mod host_path;
pub mod image;
mod keys;
pub mod persistent_volume_claim;
pub mod projected;
pub mod secret;
pub mod service_account_token;
pub mod subpath;
mod tmpfs;

#[derive(thiserror::Error, Debug)]
pub enum Error {
    /// A file system operation.
    #[error("{what}: {source}")]
    Io {
        what: String,
        source: std::io::Error,
    },
    /// An object that the volume is made of.
    #[error(transparent)]
    Object(#[from] objects::Error),
    #[error(transparent)]
    Field(#[from] fields::Error),
    #[error("{0}")]
    Refused(String),
    #[error("volumes of kind {0} are not supported by this node")]
    Unsupported(&'static str),
}

/// Names the operation that failed.
pub trait During<T> {
    fn during(self, what: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T> During<T> for std::io::Result<T> {
    fn during(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Io {
            what: what(),
            source,
        })
    }
}

impl<T> During<T> for nix::Result<T> {
    fn during(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|errno| Error::Io {
            what: what(),
            source: errno.into(),
        })
    }
}

/// What a volume is set up with.
pub struct Request<'a> {
    pub node: &'a Context,
    pub pod: &'a Pod,
    pub name: &'a str,
    pub pod_ips: &'a [IpAddr],
}

impl Request<'_> {
    /// `<pod>/volumes/kubernetes.io~<kind>/<name>`.
    fn dir(&self, kind: &str) -> PathBuf {
        self.node
            .config
            .pod_dir(names::uid(self.pod))
            .join("volumes")
            .join(format!("kubernetes.io~{kind}"))
            .join(self.name)
    }

    fn fs_group(&self) -> Option<u32> {
        let group = spec(self.pod).security_context.as_ref()?.fs_group?;
        u32::try_from(group).ok()
    }

    /// `FsUserFrom`: who owns what only the pod is to read.
    fn fs_user(&self) -> Option<u32> {
        u32::try_from(security::common_user(self.pod)?).ok()
    }
}

/// One file of a volume that is made of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub data: Vec<u8>,
    pub mode: u32,
    /// The agent itself, if nobody is named.
    pub owner: Option<u32>,
}

impl File {
    /// Modes that are none become the usual one.
    pub fn new(data: Vec<u8>, mode: i32) -> Self {
        Self {
            data,
            mode: u32::try_from(mode).unwrap_or(0o644),
            owner: None,
        }
    }

    /// A file that only the pod is to read: its user's, where all of its containers have the same, and its group's, where it has one
    /// (which is given the file with all others). Without either, nothing tells the pod from others, and `mode` stays.
    fn secret(data: Vec<u8>, mode: i32, request: &Request) -> Self {
        let owner = request.fs_user();
        let closed = owner.is_some() || request.fs_group().is_some();
        Self {
            owner,
            ..Self::new(data, if closed { 0o600 } else { mode })
        }
    }
}

/// Files by their path in the volume.
pub type Files = BTreeMap<String, File>;

/// Where the files of a volume are kept.
enum On {
    Disk,
    /// Nowhere but in memory.
    Tmpfs,
}

/// Sets one volume up.
pub async fn set_up(request: &Request<'_>, volume: &Volume) -> Result<Mounted, Error> {
    let (plugin, on, files) = match volume {
        Volume {
            empty_dir: Some(source),
            ..
        } => return empty_dir::set_up(request, source),
        Volume {
            host_path: Some(source),
            ..
        } => return host_path::set_up(source),
        Volume {
            persistent_volume_claim: Some(source),
            ..
        } => {
            return persistent_volume_claim::set_up(request, source).await;
        }
        Volume {
            ephemeral: Some(_), ..
        } => return persistent_volume_claim::of_pod(request).await,
        Volume { image: Some(_), .. } => return Ok(image::set_up()),
        Volume {
            config_map: Some(source),
            ..
        } => (
            "configmap",
            On::Disk,
            config_map::files(request, source).await?,
        ),
        Volume {
            secret: Some(source),
            ..
        } => ("secret", On::Tmpfs, secret::files(request, source).await?),
        Volume {
            downward_api: Some(source),
            ..
        } => (
            "downward-api",
            On::Tmpfs,
            downward_api::files(request, source)?,
        ),
        Volume {
            projected: Some(source),
            ..
        } => (
            "projected",
            On::Tmpfs,
            projected::files(request, source).await?,
        ),
        _ => return Err(Error::Unsupported(kind_of(volume))),
    };
    write(request, plugin, on, files)
}

/// Writes files below the volume's folder, all at once.
fn write(request: &Request, plugin: &str, on: On, mut files: Files) -> Result<Mounted, Error> {
    let dir = request.dir(plugin);
    if let On::Tmpfs = on {
        tmpfs::set_up(request, &dir, None)?;
    }
    let group = request.fs_group();
    if group.is_some() {
        files.values_mut().for_each(|file| file.mode |= 0o440);
    }
    atomic::write(&dir, &files, group)?;
    Ok(Mounted {
        read_only: true,
        ..Mounted::folder(dir)
    })
}

/// Lets everybody write to a volume's folder. One who may already is left alone, for in memory a folder keeps its users from removing
/// each other's files.
fn open_to_all(dir: &Path) -> Result<(), Error> {
    let metadata = std::fs::metadata(dir).during(|| format!("read {}", dir.display()))?;
    if metadata.permissions().mode() & 0o777 == 0o777 {
        return Ok(());
    }
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o777))
        .during(|| format!("set the mode of {}", dir.display()))
}

/// Gives a folder and all in it to the pod's group.
pub fn give_to_group(root: &Path, group: u32) -> Result<(), Error> {
    let metadata = std::fs::symlink_metadata(root).during(|| format!("read {}", root.display()))?;
    if metadata.is_symlink() {
        return Ok(());
    }
    chown(root, None, Some(group))
        .during(|| format!("give {} to group {group}", root.display()))?;
    let extra = if metadata.is_dir() { 0o2070 } else { 0o060 };
    let mode = metadata.permissions().mode() | extra;
    std::fs::set_permissions(root, std::fs::Permissions::from_mode(mode))
        .during(|| format!("set the mode of {}", root.display()))?;
    if metadata.is_dir() {
        for entry in std::fs::read_dir(root).during(|| format!("list {}", root.display()))? {
            give_to_group(
                &entry.during(|| format!("list {}", root.display()))?.path(),
                group,
            )?;
        }
    }
    Ok(())
}

/// The field of the volume's source that is set, for volumes that nothing here can make.
fn kind_of(volume: &Volume) -> &'static str {
    #[rustfmt::skip]
    const NAMES: [&str; 23] = [
        "awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "csi", "ephemeral",
        "fc", "flexVolume", "flocker", "gcePersistentDisk", "gitRepo", "glusterfs", "iscsi",
        "nfs", "photonPersistentDisk", "portworxVolume", "quobyte", "rbd", "scaleIO", "storageos",
        "vsphereVolume", "unknown",
    ];
    let fields = serde_json::to_value(volume).unwrap_or_default();
    NAMES
        .into_iter()
        .find(|name| fields.get(name).is_some())
        .unwrap_or("unknown")
}

/// The objects that these volumes are made of, to be watched while their pod runs.
pub fn references<'a>(volumes: impl IntoIterator<Item = &'a Volume>) -> BTreeSet<(Kind, String)> {
    let mut all = BTreeSet::new();
    let mut refer = |kind: Kind, name: Option<&String>| {
        all.extend(name.map(|name| (kind, name.clone())));
    };
    for volume in volumes {
        refer(
            Kind::ConfigMap,
            volume.config_map.as_ref().map(|source| &source.name),
        );
        refer(
            Kind::Secret,
            volume
                .secret
                .as_ref()
                .and_then(|source| source.secret_name.as_ref()),
        );
        for source in volume
            .projected
            .iter()
            .flat_map(|projected| projected.sources.iter().flatten())
        {
            refer(
                Kind::ConfigMap,
                source.config_map.as_ref().map(|source| &source.name),
            );
            refer(
                Kind::Secret,
                source.secret.as_ref().map(|source| &source.name),
            );
        }
    }
    all
}

/// Whether the volume's content may change while the pod runs.
pub fn changes(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.projected.is_some()
        || volume.downward_api.is_some()
}

/// Takes all volumes of a pod down: unmounts, then removes its folder.
pub fn tear_down(pod_dir: &Path) -> Result<(), Error> {
    if !pod_dir.exists() {
        return Ok(());
    }
    mounts::unmount_below(pod_dir)
        .during(|| format!("take down what is mounted below {}", pod_dir.display()))?;
    let removed = std::fs::remove_dir_all(pod_dir).if_there().map(drop);
    removed.during(|| format!("remove {}", pod_dir.display()))
}
