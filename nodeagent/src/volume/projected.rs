//! `projected`: several sources in one folder.
//!
//! Follows `pkg/volume/projected/projected.go`.

use k8s_openapi::api::core::v1::{ProjectedVolumeSource, VolumeProjection};

use super::{
    Error, Files, Request, config_map, downward_api, keys::selection, secret,
    service_account_token as token,
};

pub async fn files(
    request: &Request<'_>,
    projected: &ProjectedVolumeSource,
) -> Result<Files, Error> {
    let mode = projected.default_mode.unwrap_or(0o644);
    let mut files = Files::new();
    for source in projected.sources.iter().flatten() {
        files.extend(of(request, source, mode).await?);
    }
    Ok(files)
}

async fn of(request: &Request<'_>, source: &VolumeProjection, mode: i32) -> Result<Files, Error> {
    match source {
        VolumeProjection {
            secret: Some(source),
            ..
        } => secret::read(request, &selection!(source, &source.name, mode)).await,
        VolumeProjection {
            config_map: Some(source),
            ..
        } => config_map::read(request, &selection!(source, &source.name, mode)).await,
        VolumeProjection {
            downward_api: Some(source),
            ..
        } => downward_api::collect(request, source.items.as_deref().unwrap_or_default(), mode),
        VolumeProjection {
            service_account_token: Some(source),
            ..
        } => token::files(request, source, mode).await,
        VolumeProjection {
            cluster_trust_bundle: Some(_),
            ..
        } => Err(Error::Unsupported("projected.clusterTrustBundle")),
        VolumeProjection {
            pod_certificate: Some(_),
            ..
        } => Err(Error::Unsupported("projected.podCertificate")),
        _ => Ok(Files::new()),
    }
}
