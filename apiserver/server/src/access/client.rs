//! A client of one server outside, by its URL.
//!
//! Invariant: it speaks TLS; what it shows of itself (a certificate, a token) goes to that server alone, and redirects are not followed.

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Uri, header};
use http_body_util::Full;
use rustls::{ClientConfig, pki_types::ServerName};
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::machinery::url::{clean, escape_path};

use crate::{
    dial::Behind,
    services::Unresolved,
    webhook::{AskError, Endpoint, LONGEST_ANSWER, Reply, Target, place_of},
};

/// How the server shows itself, in upstream's words.
const USER_AGENT: &str = "kube-apiserver";

/// A server of which no client can be made.
#[derive(thiserror::Error, Debug)]
pub enum ClientError {
    #[error("{} is no https URL", GoQuoted(.0))]
    Url(String),
    #[error("{quoted} is no name of a server: {1}", quoted = GoQuoted(.0))]
    Name(String, String),
}

/// What a request is allowed by.
#[derive(Clone, Debug, Default)]
pub enum Credentials {
    #[default]
    None,
    /// The value of the header `Authorization`.
    Header(HeaderValue),
    /// A file that holds a token, read whenever it is needed.
    TokenFile(PathBuf),
}

pub struct Client {
    endpoint: Endpoint,
    place: (String, u16),
    /// `https://host:port`, as it was written.
    base: String,
    authority: String,
    path: String,
    credentials: Credentials,
}

impl Client {
    /// A client of what is at `url`, whose certificate is to bear `name`, by default the host.
    ///
    /// # Errors
    /// It is no such URL.
    pub fn new(
        url: &str,
        name: Option<&str>,
        tls: ClientConfig,
        credentials: Credentials,
        behind: Option<Behind>,
    ) -> Result<Client, ClientError> {
        let none = || ClientError::Url(url.into());
        let uri: Uri = url.parse().map_err(|_| none())?;
        let place = place_of(&uri).ok_or_else(none)?;
        let authority = uri.authority().ok_or_else(none)?.to_string();
        let name = name.unwrap_or(&place.0).to_string();
        let server = ServerName::try_from(name.clone())
            .map_err(|error| ClientError::Name(name, error.to_string()))?;
        let decoded = percent_encoding::percent_decode_str(uri.path()).decode_utf8_lossy();
        let mut path = escape_path(&clean(&decoded));
        if let Some(query) = uri.query() {
            path.extend(["?", query]);
        }
        Ok(Client {
            endpoint: Endpoint::new(server, tls.into(), behind),
            place,
            base: format!("https://{authority}"),
            authority,
            path,
            credentials,
        })
    }

    /// What is there.
    ///
    /// # Errors
    /// There is no answer in time.
    pub async fn get(&self, patience: Duration) -> Result<Reply, AskError> {
        let request = Request::get(&self.path)
            .header(header::HOST, &self.authority)
            .header(header::USER_AGENT, USER_AGENT)
            .body(Full::default())?;
        self.call(request, &self.path, patience).await
    }

    /// Sends a document, and gives the answer's; how long it waits is told with it.
    ///
    /// # Errors
    /// There is no answer in time, or one that refuses.
    pub async fn post(&self, document: Bytes, patience: Duration) -> Result<Bytes, AskError> {
        self.send(document, patience).await?.document()
    }

    /// The same, whatever the answer is.
    ///
    /// # Errors
    /// There is no answer in time.
    pub async fn send(&self, document: Bytes, patience: Duration) -> Result<Reply, AskError> {
        let nanos = i64::try_from(patience.as_nanos()).unwrap_or(i64::MAX);
        let told = skiff_api::machinery::gonum::duration_text(nanos);
        let mark = if self.path.contains('?') { '&' } else { '?' };
        let path = format!("{}{mark}timeout={told}", self.path);
        let mut request = Request::post(&path)
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, */*")
            .header(header::USER_AGENT, USER_AGENT)
            .body(Full::new(document))?;
        if let Some(allowed) = self.allowed()? {
            request.headers_mut().insert(header::AUTHORIZATION, allowed);
        }
        self.call(request, &path, patience).await
    }

    fn allowed(&self) -> Result<Option<HeaderValue>, AskError> {
        Ok(match &self.credentials {
            Credentials::None => None,
            Credentials::Header(value) => Some(value.clone()),
            Credentials::TokenFile(path) => {
                let read = std::fs::read_to_string(path);
                let token = read.map_err(|error| AskError::Token {
                    path: path.clone(),
                    error,
                })?;
                let value = HeaderValue::try_from(format!("Bearer {}", token.trim()));
                Some(value.map_err(http::Error::from)?)
            }
        })
    }

    async fn call(
        &self,
        request: Request<Full<Bytes>>,
        path: &str,
        patience: Duration,
    ) -> Result<Reply, AskError> {
        let target = Target {
            url: &format!("{}{path}", self.base),
            place: &|| Ok::<_, Unresolved>(self.place.clone()),
        };
        self.endpoint
            .call(request, &target, patience, LONGEST_ANSWER)
            .await
    }
}
