//! From a kubeconfig and the command line to one server and one identity.
//! Invariant: what the command line says wins; a field that cannot be honoured is an error, never left out.
//! Behaviour follows `staging/src/k8s.io/client-go/tools/clientcmd/client_config.go` and `validation.go`.

use super::validate::{self, Part};
use super::{Config, Entry};
use crate::error::{Error, Result, quote};
use crate::typed::Read;
use base64::Engine;
use serde_json::Value;
use skiff_api::machinery::quote::GoQuoted;
use std::path::{Path, PathBuf};

/// What the command line says instead of the kubeconfig.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    pub context: Option<String>,
    pub cluster: Option<String>,
    pub user: Option<String>,
    pub namespace: Option<String>,
    pub server: Option<String>,
    pub tls_server_name: Option<String>,
    pub insecure: Option<bool>,
    pub certificate_authority: Option<String>,
    pub client_certificate: Option<String>,
    pub client_key: Option<String>,
    pub token: Option<String>,
    pub username: Option<String>,
    pub password: Option<String>,
    pub as_user: Option<String>,
    pub as_uid: Option<String>,
    pub as_groups: Vec<String>,
    pub as_extra: Vec<String>,
}

/// How to prove who one is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Credentials {
    pub token: Option<String>,
    pub token_file: Option<PathBuf>,
    pub basic: Option<(String, String)>,
    /// PEM texts of a certificate and its key.
    pub certificate: Option<(Vec<u8>, Vec<u8>)>,
    /// A program that gives credentials, as the kubeconfig describes it.
    pub exec: Option<Value>,
    pub impersonate: Vec<(String, String)>,
}

/// One server and one identity.
#[derive(Clone, Debug, Default)]
pub struct Resolved {
    /// `https://host:port/prefix`, without a slash at the end.
    pub server: String,
    pub tls_server_name: Option<String>,
    /// The proxy that leads there; without it the environment says.
    pub proxy_url: Option<String>,
    pub insecure: bool,
    /// PEM text of the authorities to trust; none for the system's.
    pub authority: Option<Vec<u8>>,
    pub credentials: Credentials,
    /// The cluster's entry, which an exec plugin may be told of.
    pub cluster: Value,
}

const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The namespace of the pod that this runs in, if it runs in one.
pub fn in_cluster_namespace() -> Option<String> {
    std::env::var("KUBERNETES_SERVICE_HOST").ok()?;
    let text = std::fs::read_to_string(format!("{SERVICE_ACCOUNT}/namespace")).ok()?;
    Some(text.trim().to_string()).filter(|t| !t.is_empty())
}

fn in_cluster() -> Option<Resolved> {
    let (host, port) = (
        std::env::var("KUBERNETES_SERVICE_HOST").ok()?,
        std::env::var("KUBERNETES_SERVICE_PORT").ok()?,
    );
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host
    };
    let token_file = Path::new(SERVICE_ACCOUNT).join("token");
    std::fs::metadata(&token_file).ok()?;
    Some(Resolved {
        server: format!("https://{host}:{port}"),
        authority: std::fs::read(Path::new(SERVICE_ACCOUNT).join("ca.crt")).ok(),
        credentials: Credentials {
            token_file: Some(token_file),
            ..Credentials::default()
        },
        ..Resolved::default()
    })
}

/// A field's text, unless it is empty.
pub fn text(value: &Value, field: &str) -> Option<String> {
    value[field]
        .as_str()
        .filter(|s| !s.is_empty())
        .map(String::from)
}

/// A file named by `field` (relative to the kubeconfig that names it) or the base64 in `field-data`.
fn pem(value: &Value, field: &str, file: &Path) -> Result<Option<Vec<u8>>> {
    if let Some(data) = text(value, &format!("{field}-data")) {
        let bytes = base64::engine::general_purpose::STANDARD.decode(data.trim());
        return bytes
            .map(Some)
            .map_err(|e| Error::msg(format!("{field}-data is not base64: {e}")));
    }
    let Some(path) = text(value, field) else {
        return Ok(None);
    };
    read_pem(field, &super::beside(file, &path)).map(Some)
}

fn read_pem(field: &str, path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| {
        Error::Config(vec![format!(
            "unable to read {field} {} due to open {}: {}",
            path.display(),
            path.display(),
            crate::error::go_io(&e)
        )])
    })
}

const NO_CONTEXT: &str = "context was not found for specified context";

/// What the command line and the context in use name, and what there is of it.
struct Chosen<'a> {
    context_name: String,
    context: Option<&'a Entry>,
    cluster_name: String,
    cluster: Option<&'a Entry>,
    user_name: String,
    user: Option<&'a Entry>,
}

impl Config {
    fn chosen(&self, over: &Overrides) -> Chosen<'_> {
        let asked = over.context.clone().unwrap_or_default();
        let context_name = self.context_name(&asked).to_string();
        let context = self.get("contexts", &context_name);
        let named = |flag: &Option<String>, field: &str| {
            let own = || context.and_then(|c| text(&c.value, field));
            flag.clone().or_else(own).unwrap_or_default()
        };
        let cluster_name = named(&over.cluster, "cluster");
        let user_name = named(&over.user, "user");
        Chosen {
            context,
            cluster: self.get("clusters", &cluster_name),
            user: self.get("users", &user_name),
            context_name,
            cluster_name,
            user_name,
        }
    }

    /// The namespace of the context in use, `default` if it has none.
    ///
    /// # Errors
    /// What is wrong with the context, the user and the cluster, all of it.
    pub fn namespace(&self, over: &Overrides) -> Result<String> {
        let chosen = self.chosen(over);
        let mut wrong = chosen.wrong(over);
        if over.cluster.is_some() && chosen.cluster.is_none() {
            wrong.push(format!(
                "no server found for cluster {}",
                quote(&chosen.cluster_name)
            ));
        }
        chosen.usable(wrong)?;
        let own = chosen.context.and_then(|c| text(&c.value, "namespace"));
        let inside = || match chosen.context {
            None => in_cluster_namespace(),
            Some(_) => None,
        };
        Ok(own.or_else(inside).unwrap_or_else(|| "default".into()))
    }

    /// What the context in use comes to.
    ///
    /// # Errors
    /// A context, cluster or user that is named but not there; files that cannot be read; fields that are not supported.
    pub fn resolve(&self, over: &Overrides) -> Result<Resolved> {
        let chosen = self.chosen(over);
        chosen.named(over)?;
        chosen.usable(chosen.wrong(over))?;
        chosen.complete(over)?;
        if chosen.cluster.is_none()
            && chosen.user.is_none()
            && over.server.is_none()
            && let Some(mut inside) = in_cluster()
        {
            inside.credentials.impersonate = impersonation(&Value::Null, over)?;
            return Ok(inside);
        }
        let mut resolved = chosen
            .cluster
            .map_or(Ok(Resolved::default()), |c| from_cluster(&c.value, &c.file))?;
        override_cluster(&mut resolved, over)?;
        resolved.server = whole_url(&resolved.server)?;
        let (user, file) = parts(chosen.user);
        // what proves who one is goes to nobody who could be overheard
        resolved.credentials = if resolved.server.starts_with("https://") {
            credentials(user, file, over)?
        } else {
            Credentials {
                impersonate: impersonation(user, over)?,
                ..Credentials::default()
            }
        };
        Ok(resolved)
    }
}

fn parts(entry: Option<&Entry>) -> (&Value, &Path) {
    entry.map_or((&Value::Null, Path::new("")), |e| (&e.value, &e.file))
}

impl Chosen<'_> {
    /// Refuses what the command line names and is not there.
    fn named(&self, over: &Overrides) -> Result<()> {
        for (what, flag, entry) in [
            ("auth info", &over.user, self.user),
            ("context", &over.context, self.context),
            ("cluster", &over.cluster, self.cluster),
        ] {
            if let (Some(name), None) = (flag, entry) {
                return Err(Error::msg(format!("{what} {} does not exist", quote(name))));
            }
        }
        Ok(())
    }

    /// What is wrong with what there is.
    fn wrong(&self, over: &Overrides) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.context.is_none() && !self.context_name.is_empty() {
            let name = &self.context_name;
            wrong.push(format!("{NO_CONTEXT}: {name}"));
        }
        let (value, file) = parts(self.user);
        let name = &self.user_name;
        wrong.extend(validate::user(&Part { name, value, file }, over));
        let (value, file) = parts(self.cluster);
        let name = &self.cluster_name;
        wrong.extend(validate::cluster(&Part { name, value, file }, over));
        wrong
    }

    fn usable(&self, wrong: Vec<String>) -> Result<()> {
        match &wrong[..] {
            [] => Ok(()),
            [one] if one.starts_with(NO_CONTEXT) => {
                Err(Error::Plain(format!("Error in configuration: {one}"), 1))
            }
            _ => Err(Error::Config(wrong)),
        }
    }

    /// Refuses a context whose user or cluster is not there, where the command line does not say them.
    fn complete(&self, over: &Overrides) -> Result<()> {
        // Who says by flags who they are needs no user of the context.
        let is_known =
            over.token.is_some() || over.username.is_some() || over.client_certificate.is_some();
        let mut missing = Vec::new();
        for (what, name, entry, needed) in [
            ("user", &self.user_name, self.user, !is_known),
            ("cluster", &self.cluster_name, self.cluster, true),
        ] {
            if needed && !name.is_empty() && entry.is_none() {
                missing.push(format!(
                    "{what} {name} was not found for context {context}",
                    name = GoQuoted(name),
                    context = GoQuoted(&self.context_name)
                ));
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        Err(Error::Config(missing))
    }
}

fn from_cluster(value: &Value, file: &Path) -> Result<Resolved> {
    Ok(Resolved {
        server: text(value, "server").unwrap_or_default(),
        tls_server_name: text(value, "tls-server-name"),
        proxy_url: text(value, "proxy-url"),
        insecure: value.flag("insecure-skip-tls-verify"),
        authority: pem(value, "certificate-authority", file)?,
        cluster: value.clone(),
        ..Resolved::default()
    })
}

/// An address as a URL: what has no scheme is a host, and a port if it has one.
fn whole_url(server: &str) -> Result<String> {
    let host_follows = |(scheme, rest): (&str, &str)| {
        !scheme.is_empty() && !rest.is_empty() && !rest.starts_with('/')
    };
    let mut url = server.to_string();
    if !server.split_once("://").is_some_and(host_follows) {
        if server.find('/').is_some_and(|at| at + 1 < server.len()) {
            let server = quote(server);
            return Err(Error::msg(format!(
                "host must be a URL or a host:port pair: {server}"
            )));
        }
        url = format!("http://{server}");
    }
    Ok(url.trim_end_matches('/').to_string())
}

fn override_cluster(r: &mut Resolved, over: &Overrides) -> Result<()> {
    if let Some(s) = &over.server {
        r.server = s.clone();
    }
    if r.server.is_empty() {
        r.server = "http://localhost:8080".into();
    }
    if let Some(n) = &over.tls_server_name {
        r.tls_server_name = Some(n.clone());
    }
    if let Some(path) = &over.certificate_authority {
        r.authority = Some(read_pem("certificate-authority", Path::new(path))?);
        r.insecure = false;
    }
    // what is not so is taken for not said
    if let Some(insecure) = over.insecure.filter(|insecure| *insecure) {
        r.insecure = insecure;
        if insecure && over.certificate_authority.is_none() {
            r.authority = None;
        }
    }
    if r.insecure && r.authority.is_some() {
        return Err(Error::msg(
            "specifying a root certificates file with the insecure flag is not allowed",
        ));
    }
    Ok(())
}

/// Why nobody can log in by an auth provider.
fn no_provider(name: &str) -> Error {
    let removed = |plugin: &str, page: &str| {
        format!(
            "The {name} auth plugin has been removed.\nPlease use the {plugin} kubectl/client-go credential plugin instead.\nSee {page} for further details"
        )
    };
    Error::msg(match name {
        "gcp" => removed(
            "\"gke-gcloud-auth-plugin\"",
            "https://cloud.google.com/blog/products/containers-kubernetes/kubectl-auth-changes-in-gke",
        ),
        "azure" => removed(
            "https://github.com/Azure/kubelogin",
            "https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins",
        ),
        "oidc" => "the auth-provider \"oidc\" is not supported: use an exec plugin".into(),
        other => format!("no Auth Provider found for name {}", quote(other)),
    })
}

fn credentials(user: &Value, file: &Path, over: &Overrides) -> Result<Credentials> {
    if user.at("auth-provider").is_object() {
        return Err(no_provider(user.at("auth-provider").text("name")));
    }
    let mut c = Credentials {
        impersonate: impersonation(user, over)?,
        ..Credentials::default()
    };
    let certificate = match &over.client_certificate {
        Some(p) => Some(read_pem("client-cert", Path::new(p))?),
        None => pem(user, "client-certificate", file)?,
    };
    let key = match &over.client_key {
        Some(p) => Some(read_pem("client-key", Path::new(p))?),
        None => pem(user, "client-key", file)?,
    };
    c.certificate = match (certificate, key) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        // that a key is missing has been told
        (Some(_), None) => None,
        // a key without a certificate proves nothing
        (None, Some(_)) => None,
    };
    if let Some(t) = &over.token {
        c.token = Some(t.clone());
        return Ok(c);
    }
    if over.username.is_some() || over.password.is_some() {
        c.basic = Some((
            over.username.clone().unwrap_or_default(),
            over.password.clone().unwrap_or_default(),
        ));
        return Ok(c);
    }
    c.token = text(user, "token");
    c.token_file = text(user, "tokenFile").map(|path| super::beside(file, &path));
    if let Some(name) = text(user, "username") {
        c.basic = Some((name, text(user, "password").unwrap_or_default()));
    }
    let is_known = [
        c.token.is_some(),
        c.token_file.is_some(),
        c.certificate.is_some(),
        c.basic.is_some(),
    ];
    if user.at("exec").is_object() && !is_known.contains(&true) {
        c.exec = Some(user.at("exec").clone());
    }
    Ok(c)
}

/// The `Impersonate-*` headers.
fn impersonation(user: &Value, over: &Overrides) -> Result<Vec<(String, String)>> {
    let mut out = Vec::new();
    let name = over.as_user.clone().or_else(|| text(user, "as"));
    let uid = over.as_uid.clone().or_else(|| text(user, "as-uid"));
    let list = |v: &Value| -> Vec<String> {
        v.as_array()
            .into_iter()
            .flatten()
            .filter_map(|x| x.as_str().map(String::from))
            .collect()
    };
    let groups = if over.as_groups.is_empty() {
        list(user.at("as-groups"))
    } else {
        over.as_groups.clone()
    };
    let mut extra: Vec<(String, String)> = Vec::new();
    for pair in &over.as_extra {
        // one without a value says nothing, as in kubectl
        if let Some((k, v)) = pair.split_once('=') {
            extra.push((k.into(), v.into()));
        }
    }
    if extra.is_empty() {
        for (k, v) in user.map("as-user-extra").into_iter().flatten() {
            list(v).into_iter().for_each(|x| extra.push((k.clone(), x)));
        }
    }
    out.extend(name.map(|n| ("Impersonate-User".to_string(), n)));
    out.extend(uid.map(|u| ("Impersonate-Uid".to_string(), u)));
    out.extend(
        groups
            .into_iter()
            .map(|g| ("Impersonate-Group".to_string(), g)),
    );
    out.extend(
        extra
            .into_iter()
            .map(|(k, v)| (format!("Impersonate-Extra-{k}"), v)),
    );
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config() -> Config {
        let entry = |name: &str, value: Value| Entry {
            name: name.into(),
            value,
            file: "/x/config".into(),
        };
        Config {
            clusters: vec![entry(
                "c",
                json!({"server": "https://a:1/", "insecure-skip-tls-verify": true}),
            )],
            users: vec![entry("u", json!({"token": "t", "as": "bob"}))],
            contexts: vec![
                entry("x", json!({"cluster": "c", "user": "u", "namespace": "n"})),
                entry("broken", json!({"cluster": "gone"})),
            ],
            current_context: "x".into(),
            ..Config::default()
        }
    }

    #[test]
    fn the_command_line_wins() {
        let r = config().resolve(&Overrides::default()).unwrap();
        assert_eq!(
            (
                r.server.as_str(),
                r.insecure,
                r.credentials.token.as_deref()
            ),
            ("https://a:1", true, Some("t"))
        );
        assert_eq!(
            r.credentials.impersonate,
            [("Impersonate-User".to_string(), "bob".to_string())]
        );
        let r = config()
            .resolve(&Overrides {
                server: Some("https://h:2".into()),
                token: Some("z".into()),
                as_user: Some("eve".into()),
                ..Overrides::default()
            })
            .unwrap();
        assert_eq!(
            (r.server.as_str(), r.credentials.token.as_deref()),
            ("https://h:2", Some("z"))
        );
        assert_eq!(r.credentials.impersonate[0].1, "eve");
    }

    /// As kubectl v1.36 does it.
    #[test]
    fn who_can_be_overheard_does_not_say_who_they_are() {
        let at = |server: &str| {
            config().resolve(&Overrides {
                server: Some(server.into()),
                token: Some("z".into()),
                ..Overrides::default()
            })
        };
        for server in ["h:2", "http://h:2"] {
            let r = at(server).unwrap();
            assert_eq!(
                (r.server.as_str(), r.credentials.token),
                ("http://h:2", None)
            );
            assert_eq!(r.credentials.impersonate[0].1, "bob");
        }
        for server in ["://x", "h:2/x"] {
            let why = crate::error::told(&at(server).unwrap_err()).0;
            assert!(
                why.ends_with(&format!(
                    "host must be a URL or a host:port pair: {server:?}"
                )),
                "{why}"
            );
        }
    }

    #[test]
    fn what_is_named_must_be_there() {
        let e = |o: Overrides| crate::error::told(&config().resolve(&o).unwrap_err()).0;
        assert_eq!(
            e(Overrides {
                context: Some("nosuch".into()),
                ..Overrides::default()
            }),
            "error: context \"nosuch\" does not exist"
        );
        assert_eq!(
            e(Overrides {
                user: Some("nosuch".into()),
                ..Overrides::default()
            }),
            "error: auth info \"nosuch\" does not exist"
        );
        let mut config = config();
        config.list_mut("users").clear();
        let by_token = Overrides {
            token: Some("t".into()),
            ..Overrides::default()
        };
        assert_eq!(
            config.resolve(&by_token).unwrap().credentials.token,
            Some("t".into())
        );
        assert!(config.resolve(&Overrides::default()).is_err());
        assert_eq!(
            e(Overrides {
                context: Some("broken".into()),
                ..Overrides::default()
            }),
            "error: cluster \"gone\" was not found for context \"broken\""
        );
    }
}
