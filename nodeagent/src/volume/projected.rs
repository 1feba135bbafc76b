//! `projected`: several sources in one folder.
//!
//! Follows `pkg/volume/projected/projected.go`.

use k8s_openapi::api::core::v1::ProjectedVolumeSource;

use super::{Error, Files, Request, config_map, downward_api, secret, service_account_token};

pub async fn files(
    request: &Request<'_>,
    source: Option<&ProjectedVolumeSource>,
) -> Result<Files, Error> {
    let Some(projected) = source else {
        return Ok(Files::new());
    };
    let mode = projected.default_mode.unwrap_or(0o644);
    let mut files = Files::new();
    for source in projected.sources.iter().flatten() {
        if let Some(source) = &source.secret {
            files.extend(
                secret::read(
                    request,
                    &source.name,
                    source.items.as_deref(),
                    mode,
                    source.optional == Some(true),
                )
                .await?,
            );
        } else if let Some(source) = &source.config_map {
            files.extend(
                config_map::read(
                    request,
                    &source.name,
                    source.items.as_deref(),
                    mode,
                    source.optional == Some(true),
                )
                .await?,
            );
        } else if let Some(source) = &source.downward_api {
            files.extend(downward_api::collect(
                request,
                source.items.as_deref().unwrap_or_default(),
                mode,
            )?);
        } else if let Some(source) = &source.service_account_token {
            files.extend(service_account_token::files(request, source, mode).await?);
        } else if source.cluster_trust_bundle.is_some() {
            return Err(Error::Unsupported("projected.clusterTrustBundle"));
        } else if source.pod_certificate.is_some() {
            return Err(Error::Unsupported("projected.podCertificate"));
        }
    }
    Ok(files)
}
