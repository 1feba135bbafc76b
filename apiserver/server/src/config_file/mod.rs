//! Files of configuration: read strictly, as upstream's codecs read them, and read again when they change.
//!
//! Invariant: a field that is unknown or stands twice is an error, and so is a value of another type. The types stand in `types.txt`, in the form of
//! the API's own table. Follows `staging/src/k8s.io/apimachinery/pkg/runtime/serializer` (strict) and
//! `staging/src/k8s.io/apiserver/pkg/util/filesystem/watcher.go`.

use std::{
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::LazyLock,
    time::Duration,
};

use serde::de::DeserializeOwned;
use serde_json::Value;
use skiff_api::machinery::quote::{GoQuoted, GoQuotedBytes};
use skiff_api::machinery::{
    problem::Problem,
    read::Read,
    schema::{Node, Schema, TypeError, conform, parse_json},
    yaml,
};
use tokio_util::sync::CancellationToken;

/// What is wrong with a file.
#[derive(thiserror::Error, Debug)]
pub enum FileError {
    #[error("open {}: {}", path.display(), go_words(.error))]
    Open { path: PathBuf, error: io::Error },
    #[error("empty config data")]
    Empty,
    #[error("couldn't get version/kind; json parse error: {0}")]
    Syntax(String),
    #[error("Object 'Kind' is missing in {0}")]
    NoKind(String),
    #[error("Object 'apiVersion' is missing in {0}")]
    NoVersion(String),
    #[error("no kind {kind} is registered for version {version} in scheme {scheme}", kind = GoQuoted(.kind), version = GoQuoted(.version), scheme = GoQuoted(.scheme))]
    Unregistered {
        kind: String,
        version: String,
        scheme: &'static str,
    },
    #[error(transparent)]
    Type(#[from] TypeError),
    #[error("strict decoding error: {}", .0.join(", "))]
    Strict(Vec<String>),
    #[error(transparent)]
    Value(#[from] serde_json::Error),
}

/// How Go words what the system says of a file.
pub fn go_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        io::ErrorKind::IsADirectory => "is a directory".into(),
        _ => error.to_string(),
    }
}

static TYPES: LazyLock<Schema> = LazyLock::new(|| {
    Schema::beside_metadata(include_str!("types.txt"))
        .unwrap_or_else(|error| panic!("types.txt: {error}"))
});

fn node(name: &str) -> Node<'static> {
    TYPES
        .get(name)
        .unwrap_or_else(|| panic!("types.txt does not have {name}"))
}

/// A kind of file, and where upstream registers it. It has the versions [`VERSIONS`].
pub struct Kind {
    pub group: &'static str,
    pub name: &'static str,
    pub scheme: &'static str,
}

/// The group of what configures the server.
pub const SERVER: &str = "apiserver.config.k8s.io";
const VERSIONS: [&str; 3] = ["v1alpha1", "v1beta1", "v1"];

/// The whole of a file.
///
/// # Errors
/// It cannot be read.
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    std::fs::read(path).map_err(|error| FileError::Open {
        path: path.into(),
        error,
    })
}

/// What a file of this kind says.
///
/// # Errors
/// It is none, or not of this kind.
pub fn decode<T: DeserializeOwned>(data: &[u8], kind: &Kind) -> Result<T, FileError> {
    if data.is_empty() {
        return Err(FileError::Empty);
    }
    let (mut value, mut remarks) = parsed(data)?;
    let body = || GoQuotedBytes(data).to_string();
    let (version, name) = (value.text("apiVersion"), value.text("kind"));
    if name.is_empty() {
        return Err(FileError::NoKind(body()));
    }
    if version.is_empty() {
        return Err(FileError::NoVersion(body()));
    }
    let known = (version.split_once('/'))
        .is_some_and(|(group, version)| group == kind.group && VERSIONS.contains(&version));
    if !known || name != kind.name {
        return Err(FileError::Unregistered {
            kind: name.into(),
            version: version.into(),
            scheme: kind.scheme,
        });
    }
    let decoded = conform(&mut value, node(&format!("apiserver.v1.{}", kind.name)))?;
    remarks.extend(decoded.remarks());
    if !remarks.is_empty() {
        return Err(FileError::Strict(remarks));
    }
    Ok(serde_json::from_value(value)?)
}

/// JSON or YAML as a value, and what strict reading has against it.
fn parsed(data: &[u8]) -> Result<(Value, Vec<String>), FileError> {
    if data.trim_ascii_start().starts_with(b"{") {
        let read = parse_json(data).map_err(|error| FileError::Syntax(error.to_string()))?;
        let twice = read.duplicates.iter();
        let said = twice.map(|path| format!("duplicate field {path}", path = GoQuoted(&path)));
        return Ok((read.value, said.collect()));
    }
    let syntax = |error: Problem| FileError::Syntax(error.to_string());
    let text = std::str::from_utf8(data)
        .map_err(|_| syntax("yaml: invalid leading UTF-8 octet".into()))?;
    let (value, repeated) = yaml::read_first(text).map_err(syntax)?;
    let said = match repeated.is_empty() {
        true => Vec::new(),
        false => vec![format!(
            "yaml: unmarshal errors:\n  {}",
            repeated.join("\n  ")
        )],
    };
    Ok((value, said))
}

/// A kubeconfig in canonical form. What is unknown in it is nobody's.
///
/// # Errors
/// It is none.
pub fn kubeconfig(data: &[u8]) -> Result<Value, FileError> {
    let (mut value, _) = parsed(data)?;
    conform(&mut value, node("clientcmd.v1.Config"))?;
    Ok(value)
}

/// How often is looked whether a file is another one.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is read, whatever it looks like, and how long what may be taken later has to wait.
const READ: Duration = Duration::from_secs(60);

/// A file that is followed.
pub struct Followed {
    path: PathBuf,
    /// What it held when it was last taken, for good or for bad.
    settled: Vec<u8>,
    mark: Option<Mark>,
    waited: Duration,
}

impl Followed {
    pub fn new(path: PathBuf, settled: Vec<u8>) -> Followed {
        Followed {
            path,
            settled,
            mark: None,
            waited: Duration::ZERO,
        }
    }

    /// What the file holds when that is something else than what it held, which it is until it is told to be settled; `None`: `stop` came first.
    pub async fn changed(&mut self, stop: &CancellationToken) -> Option<Vec<u8>> {
        loop {
            stop.run_until_cancelled(tokio::time::sleep(LOOK)).await?;
            self.waited += LOOK;
            let mark = marked(&self.path);
            if mark == self.mark && self.waited < READ {
                continue;
            }
            (self.mark, self.waited) = (mark, Duration::ZERO);
            match std::fs::read(&self.path) {
                Err(error) => tracing::error!(
                    "failed to read {}: {}",
                    self.path.display(),
                    go_words(&error)
                ),
                Ok(data) if data == self.settled => {}
                Ok(data) => return Some(data),
            }
        }
    }

    /// There is no more to do about this content.
    pub fn settle(&mut self, data: Vec<u8>) {
        self.settled = data;
    }
}

type Mark = (u64, u64, i64, i64);

/// What tells a file from another of its name; `None` where there is none.
fn marked(path: &Path) -> Option<Mark> {
    let of = std::fs::metadata(path).ok()?;
    Some((of.ino(), of.size(), of.mtime(), of.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind {
        group: SERVER,
        name: "AuthenticationConfiguration",
        scheme: "here",
    };

    #[test]
    fn what_strict_reading_says() {
        let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n";
        for (text, wanted) in [
            (format!("{head}jwt: []"), ""),
            (head.replace("v1", "v1beta1"), ""),
            (String::new(), "empty config data"),
            (
                "kind: A".into(),
                "Object 'apiVersion' is missing in \"kind: A\"",
            ),
            ("a: b".into(), "Object 'Kind' is missing in \"a: b\""),
            (
                "{\"kind\": \"A\", \"apiVersion\": \"v1\"}".into(),
                "no kind \"A\" is registered for version \"v1\" in scheme \"here\"",
            ),
            (
                format!("{head}jwt: [{{issuer: {{url: a, other: b}}}}]\nmore: c"),
                "strict decoding error: unknown field \"jwt[0].issuer.other\", unknown field \"more\"",
            ),
            (
                format!("{head}jwt: []\njwt: []"),
                "strict decoding error: yaml: unmarshal errors:\n  line 4: key \"jwt\" already set in map",
            ),
            (
                format!("{head}jwt: [{{issuer: {{url: 1}}}}]"),
                "json: cannot unmarshal number into Go struct field Issuer.jwt.issuer.url of type string",
            ),
        ] {
            let read = decode::<Value>(text.as_bytes(), &KIND);
            let said = read.err().map_or(String::new(), |error| error.to_string());
            assert_eq!(said, wanted, "{text}");
        }
        assert!(kubeconfig(b"users: [{name: a, user: {token: 1}}]").is_err());
    }
}
