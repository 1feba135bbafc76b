//! `downwardAPI`: fields of the pod and resources of its containers as files.
//!
//! Follows `pkg/volume/downwardapi/downwardapi.go`.

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, DownwardAPIVolumeSource};

use super::{Error, File, Files, Request};
use crate::pod::fields::{self, Known};

pub fn files(request: &Request, source: &DownwardAPIVolumeSource) -> Result<Files, Error> {
    let items = source.items.as_deref().unwrap_or_default();
    collect(request, items, source.default_mode.unwrap_or(0o644))
}

/// The files that `items` describe.
pub fn collect(
    request: &Request,
    items: &[DownwardAPIVolumeFile],
    mode: i32,
) -> Result<Files, Error> {
    let allocatable = request.node.allocatable();
    let known = Known {
        host_ips: &request.node.host_ips,
        pod_ips: request.pod_ips,
        allocatable: Some(&allocatable),
    };
    let mut files = Files::new();
    for item in items {
        let value = match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), _) => fields::metadata(request.pod, &field.field_path),
            (None, Some(selector)) => fields::resource(request.pod, None, selector, &known),
            (None, None) => Err(fields::Error::NoSource(item.path.clone())),
        };
        let file = File::new(value?.into_bytes(), item.mode.unwrap_or(mode));
        files.insert(item.path.clone(), file);
    }
    Ok(files)
}
