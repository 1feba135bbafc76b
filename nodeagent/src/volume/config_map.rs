//! `configMap`: the keys of a ConfigMap as files.
//!
//! Follows `pkg/volume/configmap/configmap.go`.

use k8s_openapi::api::core::v1::{ConfigMap, ConfigMapVolumeSource};

use super::{
    Error, Files, Request,
    keys::{Payload, Selection, selection},
};
use crate::pod::names::namespace;

pub async fn files(request: &Request<'_>, source: &ConfigMapVolumeSource) -> Result<Files, Error> {
    let mode = source.default_mode.unwrap_or(0o644);
    read(request, &selection!(source, &source.name, mode)).await
}

/// The files of the ConfigMap; none when it is missing and may be.
pub async fn read(request: &Request<'_>, wanted: &Selection<'_>) -> Result<Files, Error> {
    let objects = &request.node.objects;
    let read = objects
        .config_map(namespace(request.pod), wanted.name)
        .await;
    wanted.files(
        read.map(payload),
        "configmap references non-existent config key",
    )
}

fn payload(object: ConfigMap) -> Payload {
    let text = object
        .data
        .into_iter()
        .flatten()
        .map(|(key, value)| (key, value.into_bytes()));
    let binary = object
        .binary_data
        .into_iter()
        .flatten()
        .map(|(key, value)| (key, value.0));
    text.chain(binary).collect()
}
