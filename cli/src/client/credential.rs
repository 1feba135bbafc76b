//! The headers and the certificate that tell the server who is asking.
//! Invariant: credentials go into headers marked sensitive, and into no message.
//! Behaviour follows `staging/src/k8s.io/client-go/transport/round_trippers.go`.

use super::{Options, exec_plugin};
use crate::error::{Error, Result};
use crate::kubeconfig::{Credentials, Resolved};
use base64::Engine;
use http::{HeaderMap, HeaderName, HeaderValue};
use skiff_api::machinery::quote::GoQuoted;

/// What credentials come to.
pub struct Made {
    pub headers: HeaderMap,
    /// PEM texts of a certificate and its key.
    pub certificate: Option<(Vec<u8>, Vec<u8>)>,
}

/// Reads token files and runs the exec plugin, if there is one.
///
/// # Errors
/// What cannot be read, run or sent.
pub fn headers(c: &Credentials, resolved: &Resolved, options: &Options) -> Result<Made> {
    let mut made = Made {
        headers: HeaderMap::new(),
        certificate: c.certificate.clone(),
    };
    let mut token = c.token.clone();
    if let Some(path) = &c.token_file {
        let text = std::fs::read_to_string(path).map_err(|e| {
            Error::msg(format!(
                "failed to read token file {}: {}",
                path.display(),
                crate::error::go_io(&e)
            ))
        })?;
        token = Some(text.trim().to_string());
    }
    if let Some(exec) = &c.exec {
        let given = exec_plugin::run(exec, resolved, options)?;
        token = given.token.or(token);
        made.certificate = given.certificate.or(made.certificate);
    }
    let authorization = match (&token, &c.basic) {
        (Some(t), _) => Some(format!("Bearer {t}")),
        (None, Some((user, password))) => Some(format!(
            "Basic {}",
            base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"))
        )),
        (None, None) => None,
    };
    if let Some(text) = authorization {
        let mut value = HeaderValue::from_str(&text)
            .map_err(|_| Error::msg("the credentials cannot be sent in a header"))?;
        value.set_sensitive(true);
        made.headers.insert(http::header::AUTHORIZATION, value);
    }
    for (name, value) in &c.impersonate {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
            Error::msg(format!("{name} cannot be a header", name = GoQuoted(&name)))
        })?;
        made.headers.append(name, super::header(value)?);
    }
    Ok(made)
}
