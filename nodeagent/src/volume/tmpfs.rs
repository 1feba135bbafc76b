//! Memory as a volume's place.
//!
//! Invariant: mounted once; a folder that holds something already is left as it is, for containers may see it.
//! Follows `setupTmpfs` and `calculateEmptyDirMemorySize` in `pkg/volume/emptydir/empty_dir.go`.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::api::resource::Quantity};
use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
};
use skiff_podspec::resources::{List, Unreadable, get, read_one};

use super::{During, Error, Request};
use crate::pod::resources;

/// Mounts memory at the folder, which is made. It holds no more than `limit`, than the pod may use, and than the node has.
pub fn set_up(request: &Request<'_>, dir: &Path, limit: Option<&Quantity>) -> Result<(), Error> {
    fs::create_dir_all(dir).during(|| format!("make {}", dir.display()))?;
    let mut entries = fs::read_dir(dir).during(|| format!("list {}", dir.display()))?;
    if entries.next().is_some() || is_mounted(dir)? {
        return Ok(());
    }
    let size = size(request.pod, &request.node.allocatable(), limit)
        .map_err(|error| Error::Refused(error.to_string()))?;
    let options = size
        .map(|bytes| format!("size={bytes}"))
        .unwrap_or_default();
    // What is secret is not to be swapped out; older kernels do not know how.
    mount_with(dir, &format!("noswap,{options}"))
        .or_else(|_| mount_with(dir, &options))
        .during(|| format!("mount tmpfs at {}", dir.display()))
}

fn mount_with(dir: &Path, options: &str) -> Result<(), Errno> {
    mount(
        Some("tmpfs"),
        dir,
        Some("tmpfs"),
        MsFlags::empty(),
        Some(options.trim_end_matches(',')),
    )
}

/// A mounted folder is another device than the one above it.
fn is_mounted(dir: &Path) -> Result<bool, Error> {
    let device = |path: &Path| {
        fs::metadata(path)
            .map(|metadata| metadata.dev())
            .during(|| format!("stat {}", path.display()))
    };
    Ok(device(dir)? != device(dir.parent().unwrap_or(dir))?)
}

fn size(
    pod: &Pod,
    allocatable: &List,
    limit: Option<&Quantity>,
) -> Result<Option<i64>, Unreadable> {
    let of_node = get(Some(allocatable), "memory")?.map(|memory| memory.value());
    let of_pod = resources::pod_cgroup_limits(pod)?.memory_bytes;
    let own = limit
        .map(|limit| read_one("sizeLimit", limit))
        .transpose()?
        .map(|limit| limit.value());
    Ok([of_node, of_pod, own]
        .into_iter()
        .flatten()
        .filter(|limit| *limit > 0)
        .min())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    #[test]
    fn the_smallest_limit_counts() {
        let node: List = from_value(json!({"memory": "4Gi"})).unwrap();
        let pod = |limits: Value| -> Pod {
            from_value(
                json!({"spec": {"containers": [{"name": "c", "resources": {"limits": limits}}]}}),
            )
            .unwrap()
        };
        for (limits, limit, size_) in [
            (json!({}), None, 4 << 30),
            (json!({"memory": "1Gi"}), None, 1 << 30),
            (json!({"memory": "1Gi"}), Some("16Mi"), 16 << 20),
        ] {
            assert_eq!(
                size(
                    &pod(limits),
                    &node,
                    limit.map(|limit| Quantity(limit.to_owned())).as_ref()
                ),
                Ok(Some(size_))
            );
        }
        let unreadable = Quantity("much".to_owned());
        assert!(
            size(&pod(json!({})), &node, Some(&unreadable)).is_err(),
            "else it would be no limit at all"
        );
    }
}
