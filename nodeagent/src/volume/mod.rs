//! Volumes of pods: one file a kind, each of which puts the volume's content at its place below the pod's folder.
//!
//! Invariant: setting up what is set up already changes nothing but what has changed at the source; a kind that is not supported is refused.
//! Follows `pkg/volume` and `pkg/kubelet/volumemanager`.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::IpAddr,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::{Pod, Volume};

use crate::{
    agent::{
        context::Context,
        objects::{self, Kind},
    },
    pod::names::{self, spec},
};

pub mod atomic;
pub mod config_map;
pub mod downward_api;
pub mod empty_dir;
pub mod host_path;
pub mod image;
pub mod mounts;
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

/// A volume that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    pub path: PathBuf,
    /// Whatever the mount asks for, this volume cannot be written.
    pub read_only: bool,
    /// The volume's root is a plain file, or something else that has no sub-paths.
    pub is_file: bool,
}

impl Mounted {
    fn folder(path: PathBuf) -> Self {
        Self {
            path,
            read_only: false,
            is_file: false,
        }
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
}

/// One file of a volume that is made of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub data: Vec<u8>,
    pub mode: u32,
}

/// Files by their path in the volume.
pub type Files = BTreeMap<String, File>;

/// A kind of volume that is made of files.
struct OfFiles {
    plugin: &'static str,
    /// Whether the files are kept off the disk.
    in_memory: bool,
}

const CONFIG_MAP: OfFiles = OfFiles {
    plugin: "configmap",
    in_memory: false,
};
const SECRET: OfFiles = OfFiles {
    plugin: "secret",
    in_memory: true,
};
const DOWNWARD_API: OfFiles = OfFiles {
    plugin: "downward-api",
    in_memory: true,
};
const PROJECTED: OfFiles = OfFiles {
    plugin: "projected",
    in_memory: true,
};

/// Sets one volume up.
pub async fn set_up(request: &Request<'_>, volume: &Volume) -> Result<Mounted, Error> {
    match () {
        () if volume.empty_dir.is_some() => {
            empty_dir::set_up(request, volume.empty_dir.as_ref()).await
        }
        () if volume.host_path.is_some() => host_path::set_up(volume.host_path.as_ref()),
        () if volume.persistent_volume_claim.is_some() => {
            persistent_volume_claim::set_up(request, volume.persistent_volume_claim.as_ref()).await
        }
        () if volume.ephemeral.is_some() => persistent_volume_claim::of_pod(request).await,
        () if volume.image.is_some() => Ok(image::set_up()),
        () if volume.config_map.is_some() => files(
            request,
            &CONFIG_MAP,
            config_map::files(request, volume.config_map.as_ref()).await?,
        ),
        () if volume.secret.is_some() => files(
            request,
            &SECRET,
            secret::files(request, volume.secret.as_ref()).await?,
        ),
        () if volume.downward_api.is_some() => files(
            request,
            &DOWNWARD_API,
            downward_api::files(request, volume.downward_api.as_ref())?,
        ),
        () if volume.projected.is_some() => files(
            request,
            &PROJECTED,
            projected::files(request, volume.projected.as_ref()).await?,
        ),
        () => Err(Error::Unsupported(kind_of(volume))),
    }
}

/// Writes files below the volume's folder, all at once.
fn files(request: &Request, kind: &OfFiles, mut files: Files) -> Result<Mounted, Error> {
    let dir = request.dir(kind.plugin);
    if kind.in_memory {
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
    const NAMES: [&str; 23] = [
        "awsElasticBlockStore",
        "azureDisk",
        "azureFile",
        "cephfs",
        "cinder",
        "csi",
        "ephemeral",
        "fc",
        "flexVolume",
        "flocker",
        "gcePersistentDisk",
        "gitRepo",
        "glusterfs",
        "iscsi",
        "nfs",
        "photonPersistentDisk",
        "portworxVolume",
        "quobyte",
        "rbd",
        "scaleIO",
        "storageos",
        "vsphereVolume",
        "unknown",
    ];
    let fields = serde_json::to_value(volume).unwrap_or_default();
    NAMES
        .into_iter()
        .find(|name| fields.get(name).is_some())
        .unwrap_or("unknown")
}

/// The objects that the pod's volumes are made of, to be watched while it runs.
pub fn references(pod: &Pod) -> HashSet<(Kind, String)> {
    let mut all = HashSet::new();
    for volume in spec(pod).volumes.iter().flatten() {
        all.extend(
            volume
                .config_map
                .iter()
                .map(|source| (Kind::ConfigMap, source.name.clone())),
        );
        all.extend(
            volume
                .secret
                .iter()
                .filter_map(|source| source.secret_name.clone())
                .map(|name| (Kind::Secret, name)),
        );
        for source in volume
            .projected
            .iter()
            .flat_map(|projected| projected.sources.iter().flatten())
        {
            all.extend(
                source
                    .config_map
                    .iter()
                    .map(|source| (Kind::ConfigMap, source.name.clone())),
            );
            all.extend(
                source
                    .secret
                    .iter()
                    .map(|source| (Kind::Secret, source.name.clone())),
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
    mounts::unmount_below(pod_dir)?;
    match std::fs::remove_dir_all(pod_dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::Io {
            what: format!("remove {}", pod_dir.display()),
            source: error,
        }),
        _ => Ok(()),
    }
}

/// Where the volumes are, by name.
pub type All = HashMap<String, Mounted>;
