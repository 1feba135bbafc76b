//! The server that a kubeconfig names, for the parts of this program that speak to it as a node or a cluster does and not as `get` and its like.
//!
//! Invariant: what these cannot do as the kubeconfig says is refused; nobody is believed, or shown anything, by another way than it says.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use skiff_watching::client::Remote;

use crate::kubeconfig::{Config, Credentials, Overrides, Resolved};

/// The server and the user of the context in use, of this file or of those that the environment names; nothing if there is no such context.
///
/// # Errors
/// The file is not there or is none, or its context cannot be used here.
pub fn of_kubeconfig(path: &str) -> anyhow::Result<Option<Remote>> {
    let config = Config::load(path)?;
    config.present()?;
    if config.current_context.is_empty() {
        return Ok(None);
    }
    remote(config.resolve(&Overrides::default())?).map(Some)
}

/// The same of a file that must have such a context.
///
/// # Errors
/// As above.
pub fn of_file(path: &Path) -> anyhow::Result<Remote> {
    let found = of_kubeconfig(&path.to_string_lossy());
    let found = found.and_then(|remote| remote.context("it has no current context"));
    found.with_context(|| format!("cannot use the kubeconfig {}", path.display()))
}

fn remote(resolved: Resolved) -> anyhow::Result<Remote> {
    let text = |pem: Vec<u8>| String::from_utf8(pem).context("a certificate of it is not PEM");
    let Credentials {
        token,
        token_file,
        basic,
        certificate,
        exec,
        impersonate,
    } = resolved.credentials;
    let unfit = [
        (resolved.tls_server_name.is_some(), "tls-server-name"),
        (resolved.proxy_url.is_some(), "proxy-url"),
        (token_file.is_some(), "tokenFile"),
        (basic.is_some(), "username"),
        (exec.is_some(), "exec"),
        (!impersonate.is_empty(), "as"),
    ];
    if let Some((_, field)) = unfit.iter().find(|(is_set, _)| *is_set) {
        bail!("its {field} is not understood here; certificates and tokens are");
    }
    // without an authority anyone would be believed, which is for the kubeconfig to say
    ensure!(
        resolved.insecure != resolved.authority.is_some(),
        "it must have either certificate-authority or insecure-skip-tls-verify"
    );
    let identity = certificate
        .map(|(certificate, key)| anyhow::Ok((text(certificate)?, text(key)?)))
        .transpose()?;
    Ok(Remote {
        server: resolved.server,
        authority: resolved.authority.map(text).transpose()?,
        identity,
        token,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual() -> Resolved {
        Resolved {
            server: "https://a".into(),
            authority: Some(b"pem".into()),
            ..Resolved::default()
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let found = remote(usual()).unwrap();
        assert_eq!(
            (found.server.as_str(), found.authority.as_deref()),
            ("https://a", Some("pem"))
        );
        let wrong: [(&str, fn(&mut Resolved)); 8] = [
            ("tls-server-name", |of| {
                of.tls_server_name = Some("b".into())
            }),
            ("proxy-url", |of| of.proxy_url = Some("http://b".into())),
            ("tokenFile", |of| {
                of.credentials.token_file = Some("b".into())
            }),
            ("username", |of| {
                of.credentials.basic = Some(("a".into(), "b".into()))
            }),
            ("exec", |of| {
                of.credentials.exec = Some(serde_json::Value::Null)
            }),
            ("as ", |of| {
                of.credentials.impersonate = vec![("Impersonate-User".into(), "b".into())]
            }),
            ("certificate-authority", |of| of.authority = None),
            ("insecure-skip-tls-verify", |of| of.insecure = true),
        ];
        for (named, change) in wrong {
            let mut resolved = usual();
            change(&mut resolved);
            let error = remote(resolved).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
        let insecure = Resolved {
            insecure: true,
            authority: None,
            ..usual()
        };
        assert_eq!(remote(insecure).unwrap().authority, None);
    }

    #[test]
    fn a_file_that_is_named_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("none");
        let error = of_kubeconfig(&missing.to_string_lossy()).unwrap_err();
        assert!(error.to_string().contains("no such file"), "{error}");
        let empty = folder.path().join("empty");
        std::fs::write(&empty, "").unwrap();
        assert!(of_kubeconfig(&empty.to_string_lossy()).unwrap().is_none());
        let error = format!("{:#}", of_file(&empty).unwrap_err());
        assert!(error.contains("no current context"), "{error}");
    }
}
