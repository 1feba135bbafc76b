//! Kubeconfigs, as the server has them for webhooks: where one is, whom it must be believed by, who the server is to it.
//!
//! Invariant: a field that cannot be honoured is an error, never left out. Follows `staging/src/k8s.io/apiserver/pkg/util/webhook/webhook.go`
//! (LoadKubeconfig) and `staging/src/k8s.io/client-go/tools/clientcmd/client_config.go`.

use std::path::{Path, PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderValue;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::Value;
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::machinery::read::Read;

use super::client::{Client, ClientError, Credentials};
use crate::{
    config_file::{self as file, FileError},
    dial::{Behind, trust},
};

#[derive(thiserror::Error, Debug)]
pub enum KubeconfigError {
    #[error("error loading config file {}: {error}", GoQuoted(&path.to_string_lossy()))]
    File { path: PathBuf, error: FileError },
    #[error("invalid configuration: {0}")]
    Invalid(String),
    #[error("invalid configuration: {0} cannot be used for a webhook")]
    Unsupported(&'static str),
    #[error("invalid configuration: {field}: {error}")]
    Field { field: &'static str, error: String },
    #[error("invalid configuration: {0}")]
    Client(ClientError),
}

fn invalid(why: String) -> KubeconfigError {
    KubeconfigError::Invalid(why)
}

/// A client of the server that the file's current context names.
///
/// # Errors
/// The file cannot be read, names none, or asks for what is not there.
pub fn client(path: &Path, behind: Option<Behind>) -> Result<Client, KubeconfigError> {
    let read = file::read(path).and_then(|data| file::kubeconfig(&data));
    let config = read.map_err(|error| KubeconfigError::File {
        path: path.into(),
        error,
    })?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let context = match config.text("current-context") {
        "" => return Err(invalid("no current context is set".into())),
        name => named(&config, "contexts", "context", name)?,
    };
    let cluster = named(&config, "clusters", "cluster", context.text("cluster"))?;
    let user = match context.text("user") {
        "" => &Value::Null,
        name => named(&config, "users", "user", name)?,
    };
    for field in [
        "exec",
        "auth-provider",
        "as",
        "as-uid",
        "as-groups",
        "as-user-extra",
    ] {
        if user.some(field).is_some() {
            return Err(KubeconfigError::Unsupported(field));
        }
    }
    for field in ["proxy-url", "disable-compression"] {
        if cluster.some(field).is_some() {
            return Err(KubeconfigError::Unsupported(field));
        }
    }
    let name = Some(cluster.text("tls-server-name")).filter(|name| !name.is_empty());
    let tls = tls(cluster, user, folder)?;
    let credentials = credentials(user, folder)?;
    Client::new(cluster.text("server"), name, tls, credentials, behind)
        .map_err(KubeconfigError::Client)
}

/// The entry of a list that has this name.
fn named<'v>(
    config: &'v Value,
    list: &str,
    field: &str,
    name: &str,
) -> Result<&'v Value, KubeconfigError> {
    let mut entries = config.list(list).iter();
    let found = entries.find(|entry| entry.text("name") == name);
    found.and_then(|entry| entry.some(field)).ok_or_else(|| {
        invalid(format!(
            "{field} {name} does not exist",
            name = GoQuoted(&name)
        ))
    })
}

/// What `field-data` holds in base64, or the file that `field` names, from the folder of the kubeconfig.
fn bytes(
    of: &Value,
    field: &'static str,
    data: &'static str,
    folder: &Path,
) -> Result<Option<Vec<u8>>, KubeconfigError> {
    let wrong = |field, error: String| KubeconfigError::Field { field, error };
    if let Some(text) = of.text_ptr(data).filter(|text| !text.is_empty()) {
        let decoded = STANDARD.decode(text.trim());
        return decoded
            .map(Some)
            .map_err(|error| wrong(data, error.to_string()));
    }
    match of.text(field) {
        "" => Ok(None),
        path => {
            let path = folder.join(path);
            let read = std::fs::read(&path);
            read.map(Some)
                .map_err(|error| wrong(field, format!("{}: {error}", path.display())))
        }
    }
}

fn tls(
    cluster: &Value,
    user: &Value,
    folder: &Path,
) -> Result<rustls::ClientConfig, KubeconfigError> {
    let wrong = |field, error: &dyn std::fmt::Display| KubeconfigError::Field {
        field,
        error: error.to_string(),
    };
    const AUTHORITY: &str = "certificate-authority";
    let authority = bytes(cluster, AUTHORITY, "certificate-authority-data", folder)?;
    let insecure = cluster.flag("insecure-skip-tls-verify");
    let builder = match (authority, insecure) {
        (Some(_), true) => {
            return Err(invalid(
                "specifying a root certificates file with the insecure flag is not allowed".into(),
            ));
        }
        (None, true) => {
            skiff_watching::tls::client(None).map_err(|error| wrong(AUTHORITY, &error))?
        }
        (bundle, false) => trust::believing(&bundle.unwrap_or_default())
            .map_err(|error| wrong(AUTHORITY, &error))?,
    };
    const CERTIFICATE: &str = "client-certificate";
    let certificate = bytes(user, CERTIFICATE, "client-certificate-data", folder)?;
    let key = bytes(user, "client-key", "client-key-data", folder)?;
    match (certificate, key) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(certificate), Some(key)) => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&certificate).collect();
            let chain = chain.map_err(|error| wrong(CERTIFICATE, &error))?;
            let key =
                PrivateKeyDer::from_pem_slice(&key).map_err(|error| wrong("client-key", &error))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| wrong(CERTIFICATE, &error))
        }
        _ => Err(invalid(
            "client-certificate and client-key must be given together".into(),
        )),
    }
}

fn credentials(user: &Value, folder: &Path) -> Result<Credentials, KubeconfigError> {
    let header = |field, text: String| {
        let mut value = HeaderValue::try_from(text).map_err(|error| KubeconfigError::Field {
            field,
            error: error.to_string(),
        })?;
        value.set_sensitive(true);
        Ok(Credentials::Header(value))
    };
    let (token, file, name) = (
        user.text("token"),
        user.text("tokenFile"),
        user.text("username"),
    );
    if !name.is_empty() {
        if !token.is_empty() || !file.is_empty() {
            return Err(invalid(
                "more than one authentication method found; found [token basicAuth], only one is allowed"
                    .into(),
            ));
        }
        let pair = STANDARD.encode(format!("{name}:{}", user.text("password")));
        return header("username", format!("Basic {pair}"));
    }
    // a file is newer than what stood beside it when it was written
    match (file, token) {
        ("", "") => Ok(Credentials::None),
        ("", token) => header("token", format!("Bearer {token}")),
        (file, _) => Ok(Credentials::TokenFile(folder.join(file))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(cluster: &str, user: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        let text = format!(
            "current-context: a\ncontexts: [{{name: a, context: {{cluster: c, user: u}}}}]\nclusters: [{{name: c, cluster: {cluster}}}]\nusers: [{{name: u, user: {user}}}]\n"
        );
        std::fs::write(&path, text).unwrap();
        client(&path, None)
            .err()
            .map_or(String::new(), |error| error.to_string())
    }

    #[test]
    fn what_is_and_what_is_not_honoured() {
        let url = "server: https://a.b/x";
        for (cluster, user, wanted) in [
            (format!("{{{url}}}"), "{}", ""),
            (
                format!("{{{url}, insecure-skip-tls-verify: true}}"),
                "{token: x}",
                "",
            ),
            (format!("{{{url}}}"), "{username: x, password: z}", ""),
            (
                "{server: http://a.b}".into(),
                "{}",
                "invalid configuration: \"http://a.b\" is no https URL",
            ),
            (
                "{}".into(),
                "{}",
                "invalid configuration: \"\" is no https URL",
            ),
            (
                format!("{{{url}, proxy-url: x}}"),
                "{}",
                "invalid configuration: proxy-url cannot be used for a webhook",
            ),
            (
                format!("{{{url}}}"),
                "{exec: {command: x}}",
                "invalid configuration: exec cannot be used for a webhook",
            ),
            (
                format!("{{{url}}}"),
                "{client-key-data: eA==}",
                "invalid configuration: client-certificate and client-key must be given together",
            ),
            (
                format!("{{{url}, certificate-authority-data: eA==}}"),
                "{}",
                "invalid configuration: certificate-authority: unable to load root certificates: unable to parse bytes as PEM block",
            ),
        ] {
            assert_eq!(of(&cluster, user), wanted, "{cluster} {user}");
        }
    }
}
