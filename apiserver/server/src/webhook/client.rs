//! A client of one webhook that is configured in the API: its place, whom it believes.
//!
//! Invariant: a webhook is believed by the authorities of its own configuration alone. Follows
//! `staging/src/k8s.io/apiserver/pkg/util/webhook/client.go`.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;
use rustls::pki_types::ServerName;
use serde_json::Value;
use skiff_api::machinery::{
    read::Read,
    url::{clean, escape_path},
};

use super::endpoint::{AskError, Endpoint, Target};
use crate::{
    core::Core,
    dial::{
        Behind,
        location::authority,
        trust::{self, TrustError},
    },
    services::{self, Unresolved},
};

/// How the server shows itself, in upstream's words.
const USER_AGENT: &str = "kube-apiserver-admission";
/// A configuration of which no client can be made.
#[derive(thiserror::Error, Debug, Clone, PartialEq)]
pub enum ClientError {
    #[error("webhook configuration must have either service or URL")]
    Nowhere,
    #[error("Unparsable URL: {0}")]
    Url(String),
    #[error("illegal base64 data in caBundle")]
    Bundle,
    #[error(transparent)]
    Trust(#[from] TrustError),
}

enum Place {
    Address(String, u16),
    Service {
        namespace: String,
        name: String,
        port: u16,
    },
}

pub struct Client {
    place: Place,
    /// Host and port as the URL shows them.
    authority: String,
    path: String,
    endpoint: Endpoint,
}

impl Client {
    /// A client of what a `clientConfig` names.
    ///
    /// # Errors
    /// It names nothing, or its authorities cannot be read.
    pub fn new(config: &Value, behind: Option<Behind>) -> Result<Client, ClientError> {
        let bundle = STANDARD
            .decode(config.text("caBundle"))
            .map_err(|_| ClientError::Bundle)?;
        let tls = Arc::new(trust::client(&bundle)?);
        let (place, shown, host, path) = match (config.some("service"), config.text_ptr("url")) {
            (Some(service), _) => of_service(service)?,
            (None, Some(url)) => of_url(url)?,
            (None, None) => return Err(ClientError::Nowhere),
        };
        let name = host.trim_matches(['[', ']']).to_string();
        Ok(Client {
            place,
            authority: shown,
            path: escape_path(&clean(&path)),
            endpoint: Endpoint::new(
                ServerName::try_from(name).map_err(|error| ClientError::Url(error.to_string()))?,
                tls,
                behind,
            ),
        })
    }

    /// Sends a document and gives the answer's, which may be `longest` bytes long.
    ///
    /// # Errors
    /// There is none within `patience`, or one that refuses.
    pub async fn post(
        &self,
        core: &Core,
        document: Bytes,
        patience: Duration,
        longest: usize,
    ) -> Result<Bytes, AskError> {
        let seconds = patience.as_millis().div_ceil(1000);
        let target = format!("{}?timeout={seconds}s", self.path);
        let request = self.request(&target, document)?;
        let target = Target {
            url: &format!("https://{}{target}", self.authority),
            place: &|| self.resolved(core),
        };
        let reply = self
            .endpoint
            .call(request, &target, patience, longest)
            .await?;
        reply.document()
    }

    fn resolved(&self, core: &Core) -> Result<(String, u16), Unresolved> {
        match &self.place {
            Place::Address(host, port) => Ok((host.clone(), *port)),
            Place::Service {
                namespace,
                name,
                port,
            } => services::resolve(core, namespace, name, *port),
        }
    }

    fn request(&self, target: &str, document: Bytes) -> http::Result<Request<Full<Bytes>>> {
        Request::post(target)
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, */*")
            .header(header::USER_AGENT, USER_AGENT)
            .body(Full::new(document))
    }
}

/// Where it is, host and port as the URL shows them, the name that its certificate is to bear, and the path.
type Placed = (Place, String, String, String);

fn of_service(service: &Value) -> Result<Placed, ClientError> {
    let (name, namespace) = (service.text("name"), service.text("namespace"));
    let port = match service.int("port") {
        0 => 443,
        port => {
            u16::try_from(port).map_err(|_| ClientError::Url(format!("invalid port {port}")))?
        }
    };
    let host = format!("{name}.{namespace}.svc");
    let place = Place::Service {
        namespace: namespace.into(),
        name: name.into(),
        port,
    };
    let shown = authority(&host, port);
    Ok((place, shown, host, service.text("path").into()))
}

fn of_url(text: &str) -> Result<Placed, ClientError> {
    let url: http::Uri = text
        .parse()
        .map_err(|error| ClientError::Url(format!("{error}")))?;
    let shown = url.authority().ok_or(ClientError::Nowhere)?;
    let host = url.host().unwrap_or("").to_string();
    let bare = host.trim_matches(['[', ']']).to_string();
    let path = percent_encoding::percent_decode_str(url.path()).decode_utf8_lossy();
    Ok((
        Place::Address(bare, url.port_u16().unwrap_or(443)),
        shown.to_string(),
        host,
        path.into_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn places() {
        let service = |path: Value| json!({"service": {"name": "s", "namespace": "n", "port": 8443, "path": path}});
        for (config, wanted) in [
            (json!({"url": "https://a.b"}), "https://a.b/"),
            (json!({"url": "https://a.b:1/x/y/"}), "https://a.b:1/x/y"),
            (
                json!({"url": "https://[::1]:1/a%20b"}),
                "https://[::1]:1/a%20b",
            ),
            (service(Value::Null), "https://s.n.svc:8443/"),
            (service(json!("/validate")), "https://s.n.svc:8443/validate"),
        ] {
            let client = Client::new(&config, None).unwrap();
            assert_eq!(
                format!("https://{}{}", client.authority, client.path),
                wanted
            );
        }
        assert_eq!(
            Client::new(&json!({}), None).err(),
            Some(ClientError::Nowhere)
        );
        let bundle = json!({"url": "https://a", "caBundle": "eA=="});
        assert_eq!(
            Client::new(&bundle, None)
                .err()
                .map(|why| why.to_string())
                .as_deref(),
            Some("unable to load root certificates: unable to parse bytes as PEM block")
        );
    }
}
