//! `emptyDir`: a folder that lives as long as the pod, on disk or in memory.
//!
//! Follows `pkg/volume/emptydir/empty_dir.go`.

use std::fs;

use k8s_openapi::api::core::v1::EmptyDirVolumeSource;

use super::{During, Error, Request, give_to_group, open_to_all, tmpfs};
use crate::pod::mounted::Mounted;

pub fn set_up(request: &Request, source: &EmptyDirVolumeSource) -> Result<Mounted, Error> {
    let dir = request.dir("empty-dir");
    let present = dir.exists();
    match source.medium.as_deref().unwrap_or_default() {
        "" => fs::create_dir_all(&dir).during(|| format!("make {}", dir.display()))?,
        "Memory" => tmpfs::set_up(request, &dir, source.size_limit.as_ref())?,
        other => return Err(Error::Refused(format!("unknown storage medium {other:?}"))),
    }
    if !present {
        open_to_all(&dir)?;
        if let Some(group) = request.fs_group() {
            give_to_group(&dir, group)?;
        }
    }
    Ok(Mounted::folder(dir))
}
