//! Registry credentials from a pod's pull secrets.
//!
//! Invariant: pure; a secret that cannot be read yields nothing, as upstream has it, and the pull goes on without.
//! Follows `pkg/credentialprovider/{config,keyring}.go`.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use k8s_openapi::api::core::v1::Secret;
use serde::Deserialize;

use crate::image::Credentials;

#[derive(Default, Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Default, Deserialize)]
struct Entry {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    auth: String,
}

impl Entry {
    fn credentials(self) -> Option<Credentials> {
        if !self.username.is_empty() {
            return Some(Credentials {
                username: self.username,
                password: self.password,
            });
        }
        let decoded = String::from_utf8(BASE64_STANDARD.decode(self.auth.trim()).ok()?).ok()?;
        let (username, password) = decoded.split_once(':')?;
        Some(Credentials {
            username: username.to_owned(),
            password: password.trim_end_matches('\0').to_owned(),
        })
    }
}

/// The credentials among `secrets` that may be tried for `image`, those of the most exact match first.
pub fn for_image(secrets: &[Secret], image: &str) -> Vec<Credentials> {
    let wanted = complete(image);
    let mut found: Vec<(usize, Credentials)> = Vec::new();
    for (registry, entry) in secrets.iter().flat_map(entries) {
        if matches(&registry, &wanted)
            && let Some(credentials) = entry.credentials()
        {
            found.push((registry.len(), credentials));
        }
    }
    found.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
    found.dedup_by(|a, b| a.1 == b.1);
    found
        .into_iter()
        .map(|(_, credentials)| credentials)
        .collect()
}

fn entries(secret: &Secret) -> BTreeMap<String, Entry> {
    let data = |key: &str| {
        secret
            .data
            .as_ref()
            .and_then(|data| data.get(key))
            .map(|bytes| bytes.0.as_slice())
    };
    match secret.type_.as_deref() {
        Some("kubernetes.io/dockerconfigjson") => {
            data(".dockerconfigjson")
                .and_then(|json| serde_json::from_slice::<DockerConfig>(json).ok())
                .unwrap_or_default()
                .auths
        }
        Some("kubernetes.io/dockercfg") => data(".dockercfg")
            .and_then(|json| serde_json::from_slice(json).ok())
            .unwrap_or_default(),
        _ => BTreeMap::new(),
    }
}

/// `docker.io/library/nginx` for `nginx:1`: registry and repository without tag and digest.
fn complete(image: &str) -> String {
    let name = image.split('@').next().unwrap_or_default();
    let slash = name.rfind('/').map_or(0, |at| at + 1);
    let name = name[slash..]
        .find(':')
        .map_or(name, |colon| &name[..slash + colon]);
    match name.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => name.to_owned(),
        Some(_) => format!("docker.io/{name}"),
        None => format!("docker.io/library/{name}"),
    }
}

/// Whether the key of a docker config covers the repository.
fn matches(registry: &str, wanted: &str) -> bool {
    let bare = registry
        .trim_start_matches("https://")
        .trim_start_matches("http://");
    let bare = bare
        .trim_end_matches('/')
        .trim_end_matches("/v1")
        .trim_end_matches("/v2");
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    let (wanted_host, wanted_path) = wanted.split_once('/').unwrap_or((wanted, ""));
    let host = if host == "index.docker.io" || host == "registry-1.docker.io" {
        "docker.io"
    } else {
        host
    };
    host_matches(host, wanted_host) && wanted_path.starts_with(path)
}

/// Hosts match part by part; `*` stands for anything within a part; ports must be the same.
fn host_matches(pattern: &str, host: &str) -> bool {
    let port = |host: &str| host.split_once(':').map(|(_, port)| port.to_owned());
    let labels = |host: &str| {
        host.split(':')
            .next()
            .unwrap_or_default()
            .split('.')
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let (pattern_labels, host_labels) = (labels(pattern), labels(host));
    port(pattern) == port(host)
        && pattern_labels.len() == host_labels.len()
        && pattern_labels
            .iter()
            .zip(&host_labels)
            .all(|(pattern, label)| glob(pattern, label))
}

fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len()).any(|at| rest.is_char_boundary(at) && glob(after, &rest[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn secret(auths: serde_json::Value) -> Secret {
        let data = BASE64_STANDARD.encode(json!({"auths": auths}).to_string());
        from_value(
            json!({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": data}}),
        )
        .unwrap()
    }

    #[test]
    fn registries_match() {
        let table = [
            ("https://index.docker.io/v1/", "nginx", true),
            ("docker.io", "library/nginx:1", true),
            ("ghcr.io", "ghcr.io/me/app@sha256:00", true),
            ("ghcr.io/me", "ghcr.io/me/app", true),
            ("ghcr.io/you", "ghcr.io/me/app", false),
            ("*.example.com", "a.example.com/x", true),
            ("*.example.com", "a.b.example.com/x", false),
            ("reg:5000", "reg:5000/x", true),
            ("reg:5000", "reg:5001/x", false),
        ];
        for (registry, image, expected) in table {
            let found = for_image(
                &[secret(
                    json!({registry: {"username": "u", "password": "p"}}),
                )],
                image,
            );
            assert_eq!(!found.is_empty(), expected, "{registry} {image}");
        }
    }

    #[test]
    fn auth_is_decoded_and_the_exact_match_comes_first() {
        let auth = BASE64_STANDARD.encode("exact:pass:word");
        let found = for_image(
            &[secret(
                json!({"ghcr.io": {"username": "wide", "password": "w"}, "ghcr.io/me": {"auth": auth}}),
            )],
            "ghcr.io/me/app",
        );
        assert_eq!(
            found[0],
            Credentials {
                username: "exact".into(),
                password: "pass:word".into()
            }
        );
        assert_eq!(found.len(), 2);
    }
}
