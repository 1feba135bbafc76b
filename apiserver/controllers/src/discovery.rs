//! Which resources the server has: asked of its discovery documents, aggregated where it can, group by group where not.
//!
//! Invariant: of each resource one version, the one that its group prefers; a group that cannot be asked is an error of its own beside
//! the resources that could. Follows k8s.io/client-go/discovery (ServerPreferredResources).

use std::collections::HashSet;

use http::Method;
use serde::Deserialize;
use skiff_api::machinery::read::Read;

use crate::{
    api::{Api, segment},
    error::Error,
};

const AGGREGATED: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

/// One resource that the server has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApiResource {
    /// Empty for the core group.
    pub group: String,
    /// The preferred version.
    pub version: String,
    /// The other versions that are served.
    pub other_versions: Vec<String>,
    /// The plural name.
    pub resource: String,
    /// The kind of its objects.
    pub kind: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// What can be done with it.
    pub verbs: Vec<String>,
    /// Whether it can be scaled.
    pub scales: bool,
}

impl ApiResource {
    /// The plural name with the group, as in `daemonsets.apps`.
    pub fn name_in_group(&self) -> String {
        match self.group.as_str() {
            "" => self.resource.clone(),
            group => format!("{}.{group}", self.resource),
        }
    }

    /// Whether all these verbs are supported.
    pub fn supports(&self, verbs: &[&str]) -> bool {
        verbs
            .iter()
            .all(|verb| self.verbs.iter().any(|v| v == verb))
    }

    /// `group/version`, or `v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Whether its objects can be had in this version.
    pub fn serves(&self, version: &str) -> bool {
        self.version == version || self.other_versions.iter().any(|v| v == version)
    }

    /// The path of the collection; in a namespace unless that is empty.
    pub fn path(&self, namespace: &str) -> String {
        let root = if self.group.is_empty() { "api" } else { "apis" };
        let scope = if namespace.is_empty() {
            String::new()
        } else {
            format!("namespaces/{}/", segment(namespace))
        };
        format!("/{root}/{}/{scope}{}", self.api_version(), self.resource)
    }

    /// The path of one object.
    pub fn item(&self, namespace: &str, name: &str) -> String {
        format!(
            "{}/{}",
            self.path(if self.namespaced { namespace } else { "" }),
            segment(name)
        )
    }
}

/// What discovery found, and which groups it could not ask.
#[derive(Default)]
pub struct Found {
    /// One version of each resource.
    pub resources: Vec<ApiResource>,
    /// `group/version: error`, for each that failed.
    pub failed: Vec<String>,
}

#[derive(Deserialize)]
struct Aggregated {
    #[serde(default)]
    items: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    metadata: Named,
    #[serde(default)]
    versions: Vec<Version>,
}

#[derive(Deserialize, Default)]
struct Named {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct Version {
    version: String,
    #[serde(default)]
    resources: Vec<Resource>,
    #[serde(default)]
    freshness: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    resource: String,
    #[serde(default)]
    response_kind: Kind,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    subresources: Vec<Subresource>,
}

#[derive(Deserialize)]
struct Subresource {
    subresource: String,
}

#[derive(Deserialize, Default)]
struct Kind {
    #[serde(default)]
    kind: String,
}

#[derive(Deserialize)]
struct LegacyGroups {
    #[serde(default)]
    groups: Vec<LegacyGroup>,
}

#[derive(Deserialize)]
struct LegacyGroup {
    name: String,
    versions: Vec<LegacyVersion>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LegacyVersion {
    group_version: String,
    version: String,
}

#[derive(Deserialize)]
struct LegacyResources {
    #[serde(default)]
    resources: Vec<LegacyResource>,
}

#[derive(Deserialize)]
struct LegacyResource {
    name: String,
    kind: String,
    namespaced: bool,
    #[serde(default)]
    verbs: Vec<String>,
}

/// Asks the server what it has.
pub async fn discover(api: &Api) -> Result<Found, Error> {
    let mut found = Found::default();
    for root in ["/api", "/apis"] {
        let text = api
            .send(Method::GET, root, None, Some(AGGREGATED), Vec::new())
            .await?;
        let value: serde_json::Value = serde_json::from_str(&text).map_err(unreadable(root))?;
        if value.text("kind") == "APIGroupDiscoveryList" {
            let groups: Aggregated = serde_json::from_value(value).map_err(unreadable(root))?;
            for group in groups.items {
                take_group(group, &mut found);
            }
        } else if root == "/api" {
            let (name, v1) = (String::new(), "v1".to_string());
            let versions = vec![LegacyVersion {
                group_version: v1.clone(),
                version: v1,
            }];
            ask_group(api, LegacyGroup { name, versions }, &mut found).await;
        } else {
            let groups: LegacyGroups = serde_json::from_value(value).map_err(unreadable(root))?;
            for group in groups.groups {
                ask_group(api, group, &mut found).await;
            }
        }
    }
    Ok(found)
}

fn unreadable(root: &str) -> impl Fn(serde_json::Error) -> Error {
    move |source| Error::Decode {
        what: root.into(),
        source: source.into(),
    }
}

fn push(found: &mut Found, resource: ApiResource) {
    match found
        .resources
        .iter_mut()
        .find(|r| r.group == resource.group && r.resource == resource.resource)
    {
        Some(known) => known.other_versions.push(resource.version),
        None => found.resources.push(resource),
    }
}

fn take_group(group: Group, found: &mut Found) {
    for version in group.versions {
        if version.freshness == "Stale" {
            found.failed.push(format!(
                "{}/{}: stale GroupVersion discovery: {}/{}",
                group.metadata.name, version.version, group.metadata.name, version.version
            ));
            continue;
        }
        for resource in version.resources {
            let resource = ApiResource {
                group: group.metadata.name.clone(),
                version: version.version.clone(),
                resource: resource.resource,
                kind: resource.response_kind.kind,
                namespaced: resource.scope == "Namespaced",
                verbs: resource.verbs,
                scales: resource
                    .subresources
                    .iter()
                    .any(|s| s.subresource == "scale"),
                ..ApiResource::default()
            };
            push(found, resource);
        }
    }
}

async fn ask_group(api: &Api, group: LegacyGroup, found: &mut Found) {
    for version in group.versions {
        let root = if group.name.is_empty() { "api" } else { "apis" };
        match api
            .get_path::<LegacyResources>(&format!("/{root}/{}", version.group_version))
            .await
        {
            Ok(list) => {
                let names = list.resources.iter().map(|r| r.name.clone());
                let names: HashSet<String> = names.collect();
                for r in list.resources.into_iter().filter(|r| !r.name.contains('/')) {
                    let (group, version) = (group.name.clone(), version.version.clone());
                    let resource = ApiResource {
                        group,
                        version,
                        scales: names.contains(&format!("{}/scale", r.name)),
                        resource: r.name,
                        kind: r.kind,
                        namespaced: r.namespaced,
                        verbs: r.verbs,
                        ..Default::default()
                    };
                    push(found, resource);
                }
            }
            Err(error) => found
                .failed
                .push(format!("{}: {error}", version.group_version)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_version_wins_and_stale_groups_are_told() {
        let text = r#"{"items":[
            {"metadata":{"name":"g"},"versions":[
                {"version":"v2","resources":[{"resource":"as","responseKind":{"kind":"A"},"scope":"Namespaced","verbs":["list"],"subresources":[{"subresource":"scale"}]}],"freshness":"Current"},
                {"version":"v1","resources":[{"resource":"as","responseKind":{"kind":"A"},"scope":"Namespaced","verbs":["list"]},
                                             {"resource":"bs","responseKind":{"kind":"B"},"scope":"Cluster","verbs":["list","delete"]}]}]},
            {"metadata":{"name":"down"},"versions":[{"version":"v1","freshness":"Stale"}]}]}"#;
        let groups: Aggregated = serde_json::from_str(text).unwrap();
        let mut found = Found::default();
        groups
            .items
            .into_iter()
            .for_each(|group| take_group(group, &mut found));
        let paths: Vec<_> = found.resources.iter().map(|r| r.item("ns", "x")).collect();
        assert_eq!(paths, ["/apis/g/v2/namespaces/ns/as/x", "/apis/g/v1/bs/x"]);
        let scaled: Vec<_> = found
            .resources
            .iter()
            .map(|r| (r.name_in_group(), r.scales))
            .collect();
        assert_eq!(
            scaled,
            [("as.g".to_string(), true), ("bs.g".to_string(), false)]
        );
        assert_eq!(
            found.failed,
            ["down/v1: stale GroupVersion discovery: down/v1"]
        );
        assert!(
            ["v2", "v1"]
                .iter()
                .all(|version| found.resources[0].serves(version))
                && !found.resources[1].serves("v2")
        );
        assert!(
            found.resources[1].supports(&["list", "delete"])
                && !found.resources[0].supports(&["delete"])
        );
    }
}
