//! What is wrong with an identity and a cluster, all of it at once, before anything is sent.
//! Invariant: nothing that is wrong is left out, and what is wrong is never sent.
//! Behaviour follows `staging/src/k8s.io/client-go/tools/clientcmd/validation.go`.

use super::resolve::{Overrides, text};
use crate::error::quote;
use crate::typed::Read;
use serde_json::Value;
use std::path::Path;

/// An entry of the kubeconfig with its name and the file that it stands in.
pub struct Part<'a> {
    pub name: &'a str,
    pub value: &'a Value,
    pub file: &'a Path,
}

impl Part<'_> {
    fn has(&self, field: &str) -> bool {
        text(self.value, field).is_some()
    }

    /// The file that a field names, which a flag overrides.
    fn path(&self, field: &str, over: Option<&String>) -> Option<std::path::PathBuf> {
        let own = || text(self.value, field).map(|path| super::beside(self.file, &path));
        over.map(std::path::PathBuf::from).or_else(own)
    }

    fn unreadable(&self, what: &str, path: Option<&std::path::PathBuf>) -> Option<String> {
        let path = path?;
        let error = std::fs::File::open(path).err()?;
        let shown = path.display();
        Some(format!(
            "unable to read {what} {shown} for {} due to open {shown}: {}",
            self.name,
            crate::error::go_io(&error)
        ))
    }
}

/// What is wrong with a user's entry and the flags beside it.
pub fn user(user: &Part, over: &Overrides) -> Vec<String> {
    let name = user.name;
    let mut wrong = certificate(user, over);
    if user.value.at("exec").is_object() {
        if user.value.at("auth-provider").is_object() {
            wrong.push(format!(
                "authProvider cannot be provided in combination with an exec plugin for {name}"
            ));
        }
        wrong.extend(exec(user.value.at("exec"), name));
    }
    let mut methods = Vec::new();
    methods.extend((over.token.is_some() || user.has("token")).then_some("token"));
    let basic = over.username.is_some()
        || over.password.is_some()
        || user.has("username")
        || user.has("password");
    methods.extend(basic.then_some("basicAuth"));
    if methods.len() > 1 {
        wrong.push(format!(
            "more than one authentication method found for {name}; found [{}], only one is allowed",
            methods.join(" ")
        ));
    }
    let filled = |v: &Value| {
        v.as_array().is_some_and(|a| !a.is_empty()) || v.as_object().is_some_and(|o| !o.is_empty())
    };
    let more = over.as_uid.is_some()
        || user.has("as-uid")
        || !over.as_groups.is_empty()
        || filled(user.value.at("as-groups"));
    let more = more || !over.as_extra.is_empty() || filled(user.value.at("as-user-extra"));
    if more && over.as_user.is_none() && !user.has("as") {
        wrong.push(format!(
            "requesting uid, groups or user-extra for {name} without impersonating a user"
        ));
    }
    wrong
}

fn certificate(user: &Part, over: &Overrides) -> Vec<String> {
    let name = user.name;
    let certificate = user.path("client-certificate", over.client_certificate.as_ref());
    let key = user.path("client-key", over.client_key.as_ref());
    let certificate_data = over.client_certificate.is_none() && user.has("client-certificate-data");
    let key_data = over.client_key.is_none() && user.has("client-key-data");
    let mut wrong = Vec::new();
    if certificate.is_none() && !certificate_data {
        // upstream looks at a key without a certificate no further than this
        wrong.extend(user.unreadable("client-key", key.as_ref()));
        return wrong;
    }
    if certificate.is_some() && certificate_data {
        wrong.push(format!("client-cert-data and client-cert are both specified for {name}. client-cert-data will override."));
    }
    if key.is_some() && key_data {
        wrong.push(format!("client-key-data and client-key are both specified for {name}; client-key-data will override"));
    }
    if key.is_none() && !key_data {
        wrong.push(format!("client-key-data or client-key must be specified for {name} to use the clientCert authentication method."));
    }
    wrong.extend(user.unreadable("client-cert", certificate.as_ref()));
    wrong.extend(user.unreadable("client-key", key.as_ref()));
    wrong
}

fn exec(exec: &Value, name: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for field in ["command", "apiVersion"] {
        if text(exec, field).is_none() {
            wrong.push(format!(
                "{field} must be specified for {name} to use exec authentication plugin"
            ));
        }
    }
    let unnamed = exec
        .list("env")
        .iter()
        .filter(|v| text(v, "name").is_none());
    wrong.extend(unnamed.map(|_| {
        format!("env variable name must be specified for {name} to use exec authentication plugin")
    }));
    match text(exec, "interactiveMode").as_deref() {
        Some("Never" | "IfAvailable" | "Always") => {}
        None if super::fields::mode_is_implied(exec) => {}
        None => wrong.push(format!(
            "interactiveMode must be specified for {name} to use exec authentication plugin"
        )),
        Some(other) => wrong.push(format!(
            "invalid interactiveMode for {name}: {}",
            crate::error::quote(other)
        )),
    }
    wrong
}

/// What is wrong with a cluster's entry and the flags beside it.
pub fn cluster(cluster: &Part, over: &Overrides) -> Vec<String> {
    let mut wrong = Vec::new();
    let flag = over.certificate_authority.as_ref();
    let path = if over.insecure == Some(true) && flag.is_none() {
        None
    } else {
        cluster.path("certificate-authority", flag)
    };
    if path.is_some() && flag.is_none() && cluster.has("certificate-authority-data") {
        let name = cluster.name;
        wrong.push(format!("certificate-authority-data and certificate-authority are both specified for {name}. certificate-authority-data will override."));
    }
    wrong.extend(cluster.unreadable("certificate-authority", path.as_ref()));
    wrong.extend(proxy(cluster));
    wrong
}

fn proxy(cluster: &Part) -> Option<String> {
    let url = cluster.value.text("proxy-url");
    let (scheme, _) = url.split_once(':').unwrap_or_default();
    if url.is_empty() || matches!(scheme, "http" | "https" | "socks5") {
        return None;
    }
    Some(format!(
        "invalid 'proxy-url' {} for cluster {}: unsupported scheme {}, must be http, https, or socks5",
        quote(url),
        quote(cluster.name),
        quote(scheme)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What kubectl v1.36 says.
    #[test]
    fn all_that_is_wrong_is_told() {
        let over = |change: fn(&mut Overrides)| {
            let mut over = Overrides::default();
            change(&mut over);
            over
        };
        let gone = "open /nosuch: no such file or directory";
        for (value, over, want) in [
            (json!({"token": "x"}), over(|_| ()), vec![]),
            (
                json!({"token": "x", "username": "y"}),
                over(|_| ()),
                vec!["more than one authentication method found for u; found [token basicAuth], only one is allowed".to_string()],
            ),
            (
                json!({"token": "x"}),
                over(|o| o.username = Some("b".into())),
                vec!["more than one authentication method found for u; found [token basicAuth], only one is allowed".to_string()],
            ),
            (json!({}), over(|o| o.as_groups = vec!["g".into()]), vec!["requesting uid, groups or user-extra for u without impersonating a user".to_string()]),
            (json!({"as": "bob", "as-groups": ["g"]}), over(|_| ()), vec![]),
            (
                json!({}),
                over(|o| o.client_certificate = Some("/nosuch".into())),
                vec![
                    "client-key-data or client-key must be specified for u to use the clientCert authentication method.".to_string(),
                    format!("unable to read client-cert /nosuch for u due to {gone}"),
                ],
            ),
            (
                json!({"client-certificate-data": "eA==", "client-key-data": "eA=="}),
                over(|o| o.client_key = Some("/nosuch".into())),
                vec![format!("unable to read client-key /nosuch for u due to {gone}")],
            ),
            (
                json!({"exec": {}}),
                over(|_| ()),
                ["command", "apiVersion", "interactiveMode"].map(|field| format!("{field} must be specified for u to use exec authentication plugin")).to_vec(),
            ),
            (json!({"exec": {"command": "x", "apiVersion": "client.authentication.k8s.io/v1beta1"}}), over(|_| ()), vec![]),
        ] {
            assert_eq!(user(&Part { name: "u", value: &value, file: Path::new("/x/config") }, &over), want, "{value}");
        }
        let value = json!({"server": "https://a", "certificate-authority": "/nosuch"});
        let part = Part {
            name: "c",
            value: &value,
            file: Path::new("/x/config"),
        };
        assert_eq!(
            cluster(&part, &Overrides::default()),
            [format!(
                "unable to read certificate-authority /nosuch for c due to {gone}"
            )]
        );
    }
}
