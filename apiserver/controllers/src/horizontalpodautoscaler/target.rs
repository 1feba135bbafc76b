//! What an autoscaler scales: found by its kind, read and written by its `scale`.
//!
//! Follows pkg/controller/podautoscaler/horizontal.go (scaleForResourceMappings) and k8s.io/client-go/scale.

use k8s_openapi::api::autoscaling::{v1::Scale, v2::CrossVersionObjectReference};

use crate::{
    discovery::{ApiResource, Found},
    prelude::*,
};
use skiff_api::machinery::quote::GoQuoted;

/// How often a write that met another is tried.
const TRIES: usize = 5;

/// A scale, and where it is.
pub struct Target {
    path: String,
    pub scale: Scale,
}

/// `g/v`, `v`, or what is wrong with it.
fn group(version: &str) -> Result<&str, Error> {
    match version.split('/').collect::<Vec<_>>().as_slice() {
        [_] => Ok(""),
        [group, _] => Ok(group),
        _ => Err(failed!("unexpected GroupVersion string: {version}")),
    }
}

fn resource<'a>(
    found: &'a Found,
    reference: &CrossVersionObjectReference,
) -> Result<&'a ApiResource, Error> {
    let group = group(reference.api_version.as_deref().unwrap_or(""))?;
    let of_kind = found
        .resources
        .iter()
        .find(|r| r.group == group && r.kind == reference.kind && !r.resource.contains('/'));
    of_kind.ok_or_else(|| {
        failed!(
            "no matches for kind {} in group {group}",
            GoQuoted(&reference.kind),
            group = GoQuoted(&group)
        )
    })
}

impl Target {
    /// Finds and reads it.
    pub async fn get(
        api: &Api,
        found: &Found,
        namespace: &str,
        reference: &CrossVersionObjectReference,
    ) -> Result<Target, Error> {
        let path = resource(found, reference)?.item(namespace, &reference.name) + "/scale";
        let scale = api.get_at(&path).await?;
        Ok(Target { path, scale })
    }

    /// What is wanted now.
    pub fn replicas(&self) -> i32 {
        self.scale
            .spec
            .as_ref()
            .and_then(|spec| spec.replicas)
            .unwrap_or(0)
    }

    /// What there is.
    pub fn status_replicas(&self) -> i32 {
        self.scale
            .status
            .as_ref()
            .map_or(0, |status| status.replicas)
    }

    /// Which pods are its own.
    pub fn selector(&self) -> &str {
        self.scale
            .status
            .as_ref()
            .and_then(|status| status.selector.as_deref())
            .unwrap_or("")
    }

    /// Writes how many there are to be; another's write in between is read and tried upon.
    pub async fn set(&mut self, api: &Api, replicas: i32) -> Result<(), Error> {
        for attempt in 1.. {
            self.scale.spec.get_or_insert_default().replicas = Some(replicas);
            match api.put(&self.path, &self.scale).await {
                Err(error) if error.is_conflict() && attempt < TRIES => {
                    self.scale = api.get_at(&self.path).await?
                }
                Err(error) => return Err(error),
                Ok(scale) => {
                    self.scale = scale;
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_meant() {
        let deployments = ApiResource {
            group: "apps".into(),
            version: "v1".into(),
            resource: "deployments".into(),
            kind: "Deployment".into(),
            namespaced: true,
            ..ApiResource::default()
        };
        let found = Found {
            resources: vec![deployments],
            failed: Vec::new(),
        };
        let path = |version: &str, kind: &str| {
            let reference = CrossVersionObjectReference {
                api_version: Some(version.into()),
                kind: kind.into(),
                name: "web".into(),
            };
            let found = resource(&found, &reference).map(|r| r.item("ns", "web"));
            found.unwrap_or_else(|error| error.to_string())
        };
        #[rustfmt::skip]
        let cases = [
            // the version does not matter
            ("apps/v1beta9", "Deployment", "/apis/apps/v1/namespaces/ns/deployments/web"),
            ("apps/v1", "Other", "no matches for kind \"Other\" in group \"apps\""),
            ("a/b/c", "Deployment", "unexpected GroupVersion string: a/b/c"),
        ];
        for (version, kind, expected) in cases {
            assert_eq!(path(version, kind), expected);
        }
    }
}
