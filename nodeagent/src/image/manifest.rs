//! The documents that describe an image: config, manifest, index, as OCI and docker write them.
//!
//! Invariant: fields that this node does not act on are not read, so that odd values in them refuse no image.
//! Follows the OCI image specification (config.md, manifest.md, image-index.md) and docker's older media types. `oci_spec`'s types of the same
//! read every field, and so refuse images that all other runtimes take: nulls for lists, and what docker wrote before there was a specification.

use serde::{Deserialize, Serialize};

/// What a container takes from its image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageConfig {
    pub user: String,
    #[serde(deserialize_with = "null_as_default")]
    pub env: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub entrypoint: Vec<String>,
    #[serde(deserialize_with = "null_as_default")]
    pub cmd: Vec<String>,
    pub working_dir: String,
    /// Name or number; empty means TERM.
    pub stop_signal: String,
}

/// The whole config document; its digest is the image's id.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ConfigDocument {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
    #[serde(default, deserialize_with = "null_as_default")]
    pub config: ImageConfig,
    pub rootfs: RootfsDocument,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RootfsDocument {
    #[serde(rename = "type", default)]
    pub kind: String,
    /// Digests of the uncompressed layers, lowest first.
    #[serde(default, deserialize_with = "null_as_default")]
    pub diff_ids: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    pub digest: String,
    #[serde(default)]
    pub media_type: String,
    #[serde(default)]
    pub annotations: std::collections::BTreeMap<String, String>,
    pub platform: Option<Platform>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Platform {
    pub architecture: String,
    pub os: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Manifest {
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Index {
    pub manifests: Vec<Descriptor>,
}

/// One image of a docker-save archive's `manifest.json`; paths are inside the archive.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SavedImage {
    pub config: String,
    #[serde(default, deserialize_with = "null_as_default")]
    pub repo_tags: Vec<String>,
    pub layers: Vec<String>,
}

impl Descriptor {
    pub fn is_index(&self) -> bool {
        matches!(
            self.media_type.as_str(),
            "application/vnd.oci.image.index.v1+json"
                | "application/vnd.docker.distribution.manifest.list.v2+json"
        )
    }
}

/// This machine's architecture in Go's words.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The entry of an index that this machine can run; entries without a platform run anywhere.
pub fn pick_platform(entries: &[Descriptor]) -> Option<&Descriptor> {
    let fits = |d: &&Descriptor| {
        d.platform
            .as_ref()
            .is_some_and(|p| p.os == "linux" && p.architecture == architecture())
    };
    entries
        .iter()
        .find(fits)
        .or_else(|| entries.iter().find(|d| d.platform.is_none()))
}

fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_configs_with_nulls_are_read() {
        let text = r#"{"architecture":"amd64","os":"linux","config":{"User":"app","Env":null,"Entrypoint":null,"Cmd":["/x"],"Volumes":null},"rootfs":{"type":"layers","diff_ids":["sha256:1"]}}"#;
        let document: ConfigDocument = serde_json::from_str(text).unwrap();
        assert_eq!(document.config.user, "app");
        assert_eq!(document.config.cmd, ["/x"]);
        assert!(document.config.entrypoint.is_empty());
        assert_eq!(document.rootfs.diff_ids, ["sha256:1"]);
    }

    #[test]
    fn the_index_entry_for_this_machine_is_picked() {
        let entry = |digest: &str, platform: Option<(&str, &str)>| Descriptor {
            digest: digest.into(),
            media_type: String::new(),
            annotations: Default::default(),
            platform: platform.map(|(os, architecture)| Platform {
                os: os.into(),
                architecture: architecture.into(),
            }),
        };
        let entries = [
            entry("w", Some(("windows", architecture()))),
            entry("s", Some(("linux", "s390x"))),
            entry("l", Some(("linux", architecture()))),
        ];
        assert_eq!(pick_platform(&entries).unwrap().digest, "l");
        assert!(pick_platform(&entries[..2]).is_none());
        assert_eq!(pick_platform(&[entry("any", None)]).unwrap().digest, "any");
    }
}
