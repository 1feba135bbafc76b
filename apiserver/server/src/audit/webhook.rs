//! The webhook that events are sent to, as a kubeconfig names it.
//!
//! Follows `plugin/pkg/audit/webhook/webhook.go` and `pkg/util/webhook/webhook.go` of apiserver: whatever goes wrong is tried again.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use serde_json::Value;
use skiff_api::machinery::{read::Read, yaml};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::dial::{self, DialError, trust};

const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is tried, and how much longer each wait is than the one before.
const ATTEMPTS: u32 = 5;
const GROWTH: f64 = 1.5;
const JITTER: f64 = 0.2;

/// A kubeconfig that names no webhook.
#[derive(thiserror::Error, Debug)]
pub enum ConfigError {
    #[error("initializing audit webhook: {path}: {source}")]
    File {
        path: String,
        source: std::io::Error,
    },
    #[error("initializing audit webhook: error loading config file {path:?}: {why}")]
    Text { path: String, why: String },
    #[error("initializing audit webhook: invalid configuration: {0}")]
    Content(String),
    #[error("initializing audit webhook: {0}")]
    Trust(#[from] trust::TrustError),
    #[error("initializing audit webhook: {0}")]
    Tls(#[from] rustls::Error),
}

/// Why events were not taken.
#[derive(thiserror::Error, Debug)]
pub enum SendError {
    #[error("Post {url:?}: {why}")]
    Dial { url: String, why: DialError },
    #[error("Post {0:?}: context deadline exceeded")]
    Late(String),
    #[error("cannot make a request: {0}")]
    Request(#[from] http::Error),
    #[error("cannot read the token: {0}")]
    Token(std::io::Error),
    #[error("the webhook answered {0}")]
    Refused(http::StatusCode),
}

enum Credential {
    None,
    Header(String),
    /// A file with a token, read each time.
    TokenFile(PathBuf),
}

pub struct Webhook {
    host: String,
    port: u16,
    authority: String,
    path: String,
    /// `None`: plain HTTP.
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    credential: Credential,
    backoff: Duration,
}

impl Webhook {
    /// Reads a kubeconfig; its current context is the webhook.
    ///
    /// # Errors
    /// It cannot be read, or names none.
    pub fn open(path: &Path, backoff: Duration) -> Result<Webhook, ConfigError> {
        let shown = || path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::File {
            path: shown(),
            source,
        })?;
        let (config, _) = yaml::read_first(&text).map_err(|why| ConfigError::Text {
            path: shown(),
            why: why.to_string(),
        })?;
        let folder = path.parent().unwrap_or(Path::new("."));
        Webhook::of(&config, folder, backoff)
    }

    fn of(config: &Value, folder: &Path, backoff: Duration) -> Result<Webhook, ConfigError> {
        let context = named(
            config,
            "contexts",
            "context",
            config.text("current-context"),
        )?;
        let cluster = named(config, "clusters", "cluster", context.text("cluster"))?;
        let nobody = Value::Null;
        let user = match context.text("user") {
            "" => &nobody,
            name => named(config, "users", "user", name)?,
        };
        let url: http::Uri = cluster
            .text("server")
            .parse()
            .map_err(|error| ConfigError::Content(format!("server: {error}")))?;
        let (Some(authority), Some(host)) = (url.authority(), url.host()) else {
            return Err(ConfigError::Content("no server is named".into()));
        };
        let secure = url.scheme_str() == Some("https");
        let host = host.trim_matches(['[', ']']).to_string();
        let path = match url.path_and_query().map_or("/", |path| path.as_str()) {
            "" => "/",
            path => path,
        };
        Ok(Webhook {
            port: url.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            authority: authority.to_string(),
            path: path.into(),
            tls: match secure {
                true => Some(secured(cluster, user, &host, folder)?),
                false => None,
            },
            host,
            credential: credential(user, folder),
            backoff,
        })
    }

    /// Sends events, as long as it takes them to arrive or too often to fail.
    ///
    /// # Errors
    /// The last attempt's.
    pub async fn send(&self, events: &[Vec<u8>]) -> Result<(), SendError> {
        let mut list =
            br#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":["#
                .to_vec();
        list.extend(events.join(&b','));
        list.extend_from_slice(b"]}\n");
        let list = Bytes::from(list);
        let mut wait = self.backoff;
        let mut left = ATTEMPTS;
        loop {
            left -= 1;
            let Err(error) = self.post(list.clone()).await else {
                return Ok(());
            };
            if left == 0 {
                return Err(error);
            }
            tracing::debug!(%error, "audit events will be sent again");
            tokio::time::sleep(wait.mul_f64(1.0 + JITTER * rand::random::<f64>())).await;
            wait = wait.mul_f64(GROWTH);
        }
    }

    fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority, self.path)
    }

    async fn post(&self, list: Bytes) -> Result<(), SendError> {
        let late = |_| SendError::Late(self.url());
        let posted = tokio::time::timeout(PATIENCE, self.exchange(list));
        posted.await.map_err(late)?
    }

    async fn exchange(&self, list: Bytes) -> Result<(), SendError> {
        let request = self.request(list)?;
        let failed = |why| SendError::Dial {
            url: self.url(),
            why,
        };
        let tcp = dial::connect(&self.host, self.port, None)
            .await
            .map_err(failed)?;
        let status = match &self.tls {
            None => over(tcp, request).await,
            Some((config, name)) => {
                let secured = dial::shake_hands(config.clone(), name.clone(), tcp).await;
                over(secured.map_err(failed)?, request).await
            }
        };
        match status.map_err(|why| failed(why.into()))? {
            status if status.is_success() => Ok(()),
            status => Err(SendError::Refused(status)),
        }
    }

    fn request(&self, list: Bytes) -> Result<Request<Full<Bytes>>, SendError> {
        let mut request = Request::post(&self.path)
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, */*")
            .header(header::USER_AGENT, "kube-apiserver");
        let shown = match &self.credential {
            Credential::None => None,
            Credential::Header(text) => Some(text.clone()),
            Credential::TokenFile(path) => {
                let token = std::fs::read_to_string(path).map_err(SendError::Token)?;
                Some(format!("Bearer {}", token.trim()))
            }
        };
        if let Some(shown) = shown {
            request = request.header(header::AUTHORIZATION, shown);
        }
        Ok(request.body(Full::new(list))?)
    }
}

async fn over(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
) -> Result<http::StatusCode, hyper::Error> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    skiff_watching::task::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to the audit webhook ended");
        }
    });
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    answer.into_body().collect().await?;
    Ok(status)
}

fn named<'c>(
    config: &'c Value,
    list: &str,
    what: &str,
    name: &str,
) -> Result<&'c Value, ConfigError> {
    let found = config
        .list(list)
        .iter()
        .find(|one| one.text("name") == name);
    found
        .and_then(|one| one.some(what))
        .ok_or_else(|| ConfigError::Content(format!("{what} {name:?} does not exist")))
}

/// What stands under a name itself, or in the file that it names.
fn data(of: &Value, name: &str, folder: &Path) -> Result<Vec<u8>, ConfigError> {
    let (inline, file) = (of.text(&format!("{name}-data")), of.text(name));
    if !inline.is_empty() {
        return STANDARD
            .decode(inline)
            .map_err(|error| ConfigError::Content(format!("{name}-data: {error}")));
    }
    if file.is_empty() {
        return Ok(Vec::new());
    }
    let path = folder.join(file);
    std::fs::read(&path).map_err(|source| ConfigError::File {
        path: path.display().to_string(),
        source,
    })
}

fn secured(
    cluster: &Value,
    user: &Value,
    host: &str,
    folder: &Path,
) -> Result<(Arc<ClientConfig>, ServerName<'static>), ConfigError> {
    let name = match cluster.text("tls-server-name") {
        "" => host,
        name => name,
    };
    let name = ServerName::try_from(name.to_string())
        .map_err(|error| ConfigError::Content(error.to_string()))?;
    let builder = match cluster.flag("insecure-skip-tls-verify") {
        true => skiff_watching::tls::client(None)?,
        false => trust::believing(&data(cluster, "certificate-authority", folder)?)?,
    };
    let certificate = data(user, "client-certificate", folder)?;
    let key = data(user, "client-key", folder)?;
    let unread = |error: rustls::pki_types::pem::Error| ConfigError::Content(error.to_string());
    let config = match certificate.is_empty() {
        true => builder.with_no_client_auth(),
        false => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&certificate).collect();
            let key = PrivateKeyDer::from_pem_slice(&key).map_err(unread)?;
            builder.with_client_auth_cert(chain.map_err(unread)?, key)?
        }
    };
    Ok((Arc::new(config), name))
}

fn credential(user: &Value, folder: &Path) -> Credential {
    let (token, file) = (user.text("token"), user.text("tokenFile"));
    if !token.is_empty() {
        return Credential::Header(format!("Bearer {token}"));
    }
    if !file.is_empty() {
        return Credential::TokenFile(folder.join(file));
    }
    match user.text("username") {
        "" => Credential::None,
        name => {
            let pair = format!("{name}:{}", user.text("password"));
            Credential::Header(format!("Basic {}", STANDARD.encode(pair)))
        }
    }
}
