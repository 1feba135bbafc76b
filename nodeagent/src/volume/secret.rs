//! `secret`: the keys of a Secret as files.
//!
//! Follows `pkg/volume/secret/secret.go`.

use k8s_openapi::api::core::v1::{Secret, SecretVolumeSource};

use super::{
    Error, Files, Request,
    keys::{Payload, Selection, selection},
};
use crate::pod::names::namespace;

pub async fn files(request: &Request<'_>, source: &SecretVolumeSource) -> Result<Files, Error> {
    let name = source.secret_name.as_deref().unwrap_or_default();
    let mode = source.default_mode.unwrap_or(0o644);
    read(request, &selection!(source, name, mode)).await
}

/// The files of the Secret; none when it is missing and may be.
pub async fn read(request: &Request<'_>, wanted: &Selection<'_>) -> Result<Files, Error> {
    let objects = &request.node.objects;
    let read = objects.secret(namespace(request.pod), wanted.name).await;
    wanted.files(read.map(payload), "references non-existent secret key")
}

fn payload(object: Secret) -> Payload {
    object
        .data
        .into_iter()
        .flatten()
        .map(|(key, value)| (key, value.0))
        .collect()
}
