//! `emptyDir`: a folder that lives as long as the pod, on disk or in memory.
//!
//! Follows `pkg/volume/emptydir/empty_dir.go`.

use std::{fs, os::unix::fs::PermissionsExt};

use k8s_openapi::api::core::v1::EmptyDirVolumeSource;
use nix::mount::{MsFlags, mount};

use super::{During, Error, Mounted, Request, give_to_group, mounts};
use crate::pod::{names::spec, resources};

pub async fn set_up(request: &Request<'_>, source: Option<&EmptyDirVolumeSource>) -> Result<Mounted, Error> {
    let dir = request.dir("empty-dir");
    let medium = source.and_then(|source| source.medium.as_deref()).unwrap_or_default();
    let present = dir.exists();
    fs::create_dir_all(&dir).during(|| format!("make {}", dir.display()))?;
    match medium {
        "" => {}
        "Memory" if mounts::is_mount_point(&dir)? => {}
        "Memory" => {
            let size = size(request, source);
            let options = size.map(|bytes| format!("size={bytes}"));
            mount(Some("tmpfs"), &dir, Some("tmpfs"), MsFlags::empty(), options.as_deref()).during(|| format!("mount tmpfs at {}", dir.display()))?;
        }
        other => return Err(Error::Refused(format!("unknown storage medium {other:?}"))),
    }
    if !present {
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).during(|| format!("set the mode of {}", dir.display()))?;
        if let Some(group) = request.fs_group() {
            give_to_group(&dir, group)?;
        }
    }
    Ok(Mounted::folder(dir))
}

/// The smaller of the volume's own limit and what the pod's containers may use of memory.
fn size(request: &Request, source: Option<&EmptyDirVolumeSource>) -> Option<i64> {
    let own = source.and_then(|source| source.size_limit.as_ref()).and_then(resources::quantity).map(|limit| limit.value()).filter(|limit| *limit > 0);
    let limited = spec(request.pod)
        .containers
        .iter()
        .all(|container| container.resources.as_ref().and_then(|resources| resources.limits.as_ref()).is_some_and(|limits| limits.contains_key("memory")));
    let of_pod = resources::pod_limits(request.pod).get("memory").map(|limit| limit.value()).filter(|_| limited);
    own.into_iter().chain(of_pod).min()
}
