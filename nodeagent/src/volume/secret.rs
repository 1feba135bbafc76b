//! `secret`: the keys of a Secret as files.
//!
//! Follows `pkg/volume/secret/secret.go`.

use k8s_openapi::api::core::v1::{KeyToPath, SecretVolumeSource};

use super::{Error, Files, Request, config_map::select};
use crate::{agent::objects, pod::names::namespace};

pub async fn files(
    request: &Request<'_>,
    source: Option<&SecretVolumeSource>,
) -> Result<Files, Error> {
    let Some(source) = source else {
        return Ok(Files::new());
    };
    let name = source.secret_name.as_deref().unwrap_or_default();
    read(
        request,
        name,
        source.items.as_deref(),
        source.default_mode.unwrap_or(0o644),
        source.optional == Some(true),
    )
    .await
}

/// The files of the Secret `name`; none when it is missing and may be.
pub async fn read(
    request: &Request<'_>,
    name: &str,
    items: Option<&[KeyToPath]>,
    mode: i32,
    optional: bool,
) -> Result<Files, Error> {
    match request
        .node
        .objects
        .secret(namespace(request.pod), name)
        .await
    {
        Ok(object) => {
            let payload = object
                .data
                .into_iter()
                .flatten()
                .map(|(key, value)| (key, value.0))
                .collect();
            select(
                payload,
                items,
                mode,
                optional,
                "references non-existent secret key",
            )
        }
        Err(objects::Error::NotFound(_)) if optional => Ok(Files::new()),
        Err(error) => Err(error.into()),
    }
}
