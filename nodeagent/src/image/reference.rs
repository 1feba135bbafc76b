//! Names of images: short names are completed as docker does, and what is no name is refused with upstream's words.
//!
//! Invariant: a [`Reference`] always bears a registry, a repository and at least one of tag and digest.
//! Follows the grammar of `github.com/distribution/reference` (used by `pkg/util/parsers/parsers.go`).

use std::fmt;

use super::Error;

const DEFAULT_REGISTRY: &str = "docker.io";
const OFFICIAL_PREFIX: &str = "library/";
const DEFAULT_TAG: &str = "latest";
const NAME_MAX: usize = 255;

/// Why a text is no name of an image.
#[derive(thiserror::Error, Clone, Debug, PartialEq, Eq)]
pub enum Invalid {
    #[error("invalid reference format")]
    Format,
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    Id(String),
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    #[error("repository name must not be more than {NAME_MAX} characters")]
    TooLong,
    #[error("unsupported digest algorithm")]
    Algorithm,
    #[error("invalid checksum digest length")]
    DigestLength,
}

/// A complete image name: `docker.io/library/nginx:1.27`, `localhost:5000/app@sha256:…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    pub registry: String,
    pub repository: String,
    pub tag: Option<String>,
    pub digest: Option<String>,
}

impl Reference {
    /// Reads a name as people write it. `nginx` is `docker.io/library/nginx:latest`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        parse(text).map_err(|source| Error::InvalidName {
            reference: text.to_owned(),
            source,
        })
    }

    /// Registry and repository: `docker.io/library/nginx`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// `name@digest` for another digest.
    pub fn with_digest(&self, digest: &str) -> String {
        format!("{}@{digest}", self.name())
    }

    /// Whether the registry is on this machine, and thus spoken to in plain HTTP (containerd's rule).
    pub fn is_loopback(&self) -> bool {
        let host = match self.registry.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => &self.registry,
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost"
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip.is_loopback())
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        match (&self.tag, &self.digest) {
            (_, Some(digest)) => write!(f, "@{digest}"),
            (Some(tag), None) => write!(f, ":{tag}"),
            (None, None) => Ok(()),
        }
    }
}

fn parse(text: &str) -> Result<Reference, Invalid> {
    if text.len() == 64 && text.bytes().all(is_lower_hex) {
        return Err(Invalid::Id(text.to_owned()));
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(check_digest(digest)?)),
        None => (text, None),
    };
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Err(Invalid::Format);
    }
    let (registry, repository) = split_registry(name);
    if repository.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(Invalid::Uppercase(repository));
    }
    if !is_registry(&registry) || !repository.split('/').all(is_component) {
        return Err(Invalid::Format);
    }
    if registry.len() + 1 + repository.len() > NAME_MAX {
        return Err(Invalid::TooLong);
    }
    let tag = match (tag, &digest) {
        (Some(tag), _) => Some(tag.to_owned()),
        (None, Some(_)) => None,
        (None, None) => Some(DEFAULT_TAG.to_owned()),
    };
    Ok(Reference {
        registry,
        repository,
        tag,
        digest,
    })
}

/// The first component is a registry when it looks like a host: it has a dot or a colon, is `localhost`, or has capitals.
fn split_registry(name: &str) -> (String, String) {
    let (registry, repository) = match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => (DEFAULT_REGISTRY, name),
    };
    let registry = if registry == "index.docker.io" {
        DEFAULT_REGISTRY
    } else {
        registry
    };
    if registry == DEFAULT_REGISTRY && !repository.contains('/') {
        return (
            registry.to_owned(),
            format!("{OFFICIAL_PREFIX}{repository}"),
        );
    }
    (registry.to_owned(), repository.to_owned())
}

fn is_registry(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    if port.is_some_and(|port| port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit())) {
        return false;
    }
    if let Some(inner) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        return inner.parse::<std::net::Ipv6Addr>().is_ok();
    }
    host.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    })
}

/// Lower-case letters and digits, with `.`, `_`, `__` or any number of `-` between them.
fn is_component(text: &str) -> bool {
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    if bytes.is_empty() || !alnum(bytes[0]) || !alnum(bytes[bytes.len() - 1]) {
        return false;
    }
    text.split(|c: char| alnum(c as u8) && c.is_ascii())
        .filter(|separator| !separator.is_empty())
        .all(|separator| {
            matches!(separator, "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
        })
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

fn check_digest(text: &str) -> Result<String, Invalid> {
    let (algorithm, hex) = text.split_once(':').ok_or(Invalid::Format)?;
    let wanted = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return Err(Invalid::Algorithm),
    };
    if !hex.bytes().all(is_lower_hex) {
        return Err(Invalid::Format);
    }
    if hex.len() != wanted {
        return Err(Invalid::DigestLength);
    }
    Ok(text.to_owned())
}

fn is_lower_hex(b: u8) -> bool {
    b.is_ascii_digit() || (b'a'..=b'f').contains(&b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let cases = [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.27", "docker.io/library/nginx:1.27"),
            ("team/app", "docker.io/team/app:latest"),
            ("index.docker.io/nginx", "docker.io/library/nginx:latest"),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/a/b:v1", "localhost:5000/a/b:v1"),
            ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"),
            ("[::1]:5000/app:v1", "[::1]:5000/app:v1"),
            ("a__b.c--d", "docker.io/library/a__b.c--d:latest"),
            (
                &format!("nginx@{digest}"),
                &format!("docker.io/library/nginx@{digest}"),
            ),
            (
                &format!("nginx:1.27@{digest}"),
                &format!("docker.io/library/nginx@{digest}"),
            ),
        ];
        for (text, wanted) in cases {
            assert_eq!(
                Reference::parse(text).unwrap().to_string(),
                wanted,
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let cases = [
            ("", "invalid reference format"),
            (
                "NGINX",
                "invalid reference format: repository name (library/NGINX) must be lowercase",
            ),
            ("a..b", "invalid reference format"),
            ("a:b:c", "invalid reference format"),
            ("a@sha256:12", "invalid checksum digest length"),
            ("a@md5:12", "unsupported digest algorithm"),
            ("-a", "invalid reference format"),
            ("a/", "invalid reference format"),
        ];
        for (text, wanted) in cases {
            assert_eq!(parse(text).unwrap_err().to_string(), wanted, "{text}");
        }
    }

    #[test]
    fn loopback_registries() {
        for (text, wanted) in [
            ("localhost:5000/a", true),
            ("127.0.0.1:1/a", true),
            ("[::1]:5/a", true),
            ("localhost/a", true),
            ("ghcr.io/a", false),
            ("nginx", false),
        ] {
            assert_eq!(
                Reference::parse(text).unwrap().is_loopback(),
                wanted,
                "{text}"
            );
        }
    }
}
