//! GET requests for probes and hooks, to whoever answers: certificates are not checked.
//!
//! Invariant: one request, one connection; at most 10 KiB of the answer are read.
//! Follows `pkg/probe/http` and `pkg/kubelet/lifecycle/handlers.go`.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use http::{Request, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use k8s_openapi::{
    api::core::v1::{Container, HTTPGetAction},
    apimachinery::pkg::util::intstr::IntOrString,
};
use rustls::{ClientConfig, pki_types::ServerName};
use skiff_api::machinery::gonum::atoi;
use skiff_api::machinery::problem::Problem;
use skiff_api::machinery::quote::GoQuoted;
use skiff_watching::tls;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use crate::time;

#[derive(thiserror::Error, Debug)]
pub enum Error {
    /// The request cannot even be made up.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// No answer, in the words of Go's client.
    #[error("Get {url}: {source}", url = GoQuoted(.url))]
    NoAnswer { url: String, source: NoAnswer },
}

#[derive(thiserror::Error, Debug)]
pub enum Invalid {
    /// The name of no port, and no number.
    #[error(transparent)]
    NoPort(#[from] Problem),
    #[error("invalid port number: {0}")]
    Port(i64),
    #[error("parse {url}: {source}", url = GoQuoted(.url))]
    Url {
        url: String,
        source: http::uri::InvalidUri,
    },
}

#[derive(thiserror::Error, Debug)]
pub enum NoAnswer {
    #[error(transparent)]
    NoConnection(#[from] NoConnection),
    #[error(transparent)]
    Host(#[from] rustls::pki_types::InvalidDnsNameError),
    #[error(transparent)]
    Tls(#[from] std::io::Error),
    #[error(transparent)]
    Request(#[from] http::Error),
    #[error("{}", if .0.is_incomplete_message() { "EOF".to_owned() } else { .0.to_string() })]
    Exchange(#[from] hyper::Error),
    #[error("stopped after 10 redirects")]
    Redirects,
    #[error("context deadline exceeded (Client.Timeout exceeded while awaiting headers)")]
    TimedOut,
}

/// No connection, in the words of Go's dialer.
#[derive(thiserror::Error, Debug)]
#[error("dial tcp {target}: {}", words(.source))]
pub struct NoConnection {
    target: String,
    source: std::io::Error,
}

/// An answer: where it came from in the end, the status code, and the beginning of its body.
#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    pub body: String,
    /// The answer was a redirection to another host, which is not followed.
    pub redirected_away: bool,
}

const MAX_BODY: usize = 10 * 1024;
const MAX_REDIRECTS: usize = 10;

/// The number of a port that is given as such or by the name of one of the container's ports.
pub fn port(port: &IntOrString, container: &Container) -> Result<u16, Invalid> {
    let number = match port {
        IntOrString::Int(number) => i64::from(*number),
        IntOrString::String(name) => {
            let mut ports = container.ports.iter().flatten();
            let named = ports.find(|port| port.name.as_deref() == Some(name));
            named.map_or_else(|| atoi(name), |port| Ok(port.container_port.into()))?
        }
    };
    let fits = u16::try_from(number).ok().filter(|number| *number > 0);
    fits.ok_or(Invalid::Port(number))
}

/// Sends the request that `action` describes, to `pod_ip` when it names no host.
pub async fn get(
    container: &Container,
    action: &HTTPGetAction,
    pod_ip: &str,
    agent: &str,
    limit: Duration,
) -> Result<Answer, Error> {
    let port = port(&action.port, container)?;
    let host = action
        .host
        .as_deref()
        .filter(|host| !host.is_empty())
        .unwrap_or(pod_ip);
    let place = place(host, port);
    let scheme = action
        .scheme
        .as_deref()
        .unwrap_or("HTTP")
        .to_ascii_lowercase();
    let path = action
        .path
        .as_deref()
        .filter(|path| !path.is_empty())
        .unwrap_or("/");
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    let mut url = format!("{scheme}://{place}{path}");
    let fetch = async {
        for _ in 0..=MAX_REDIRECTS {
            let (answer, location) = once(&url, action, agent).await?;
            let Some(next) = location.and_then(|location| join(&url, &location)) else {
                return Ok(answer);
            };
            if host_of(&next) != host_of(&url) {
                return Ok(Answer {
                    redirected_away: true,
                    ..answer
                });
            }
            url = next;
        }
        Err(Error::NoAnswer {
            url: url.clone(),
            source: NoAnswer::Redirects,
        })
    };
    let first = format!("{scheme}://{host}:{port}{path}");
    let late = Error::NoAnswer {
        url: first,
        source: NoAnswer::TimedOut,
    };
    time::timeout(limit, fetch).await.unwrap_or(Err(late))
}

fn host_of(url: &str) -> Option<String> {
    url.parse::<Uri>().ok()?.host().map(str::to_owned)
}

fn join(base: &str, location: &str) -> Option<String> {
    if location.contains("://") {
        return Some(location.to_owned());
    }
    let base: Uri = base.parse().ok()?;
    let path = if location.starts_with('/') {
        location.to_owned()
    } else {
        format!("/{location}")
    };
    Some(format!(
        "{}://{}{path}",
        base.scheme_str()?,
        base.authority()?
    ))
}

async fn once(
    url: &str,
    action: &HTTPGetAction,
    agent: &str,
) -> Result<(Answer, Option<String>), Error> {
    let uri: Uri = url.parse().map_err(|source| Invalid::Url {
        url: url.to_owned(),
        source,
    })?;
    let answer = connect_and_ask(&uri, action, agent).await;
    answer.map_err(|source| Error::NoAnswer {
        url: url.to_owned(),
        source,
    })
}

async fn connect_and_ask(
    uri: &Uri,
    action: &HTTPGetAction,
    agent: &str,
) -> Result<(Answer, Option<String>), NoAnswer> {
    let secure = uri.scheme_str() == Some("https");
    let host = uri.host().unwrap_or_default();
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let stream = connect(host, port).await?;
    if !secure {
        return exchange(stream, uri, action, agent).await;
    }
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())?;
    let stream = tokio_rustls::TlsConnector::from(trusting())
        .connect(name, stream)
        .await?;
    exchange(stream, uri, action, agent).await
}

/// A host with a port, as Go writes them: addresses of IPv6 in brackets.
pub fn place(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// Connects. Closing waits for nothing, so that many probes leave no sockets behind.
pub async fn connect(host: &str, port: u16) -> Result<TcpStream, NoConnection> {
    let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await;
    let stream = stream.map_err(|source| NoConnection {
        target: place(host, port),
        source,
    })?;
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%error, "linger not set");
    }
    Ok(stream)
}

/// How Go tells why there is no connection.
pub fn words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        std::io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        std::io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
        std::io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
        _ => error.to_string(),
    }
}

async fn exchange<S>(
    stream: S,
    uri: &Uri,
    action: &HTTPGetAction,
    agent: &str,
) -> Result<(Answer, Option<String>), NoAnswer>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = skiff_watching::task::spawn(connection);
    let answer = async {
        let request = request(uri, action, agent)?;
        let response = sender.send_request(request).await?;
        let code = response.status().as_u16();
        let location = response
            .headers()
            .get(header::LOCATION)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let mut body = Vec::new();
        let mut frames = response.into_body();
        while let Some(frame) = frames.frame().await {
            let frame = frame?;
            body.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            if body.len() >= MAX_BODY {
                body.truncate(MAX_BODY);
                break;
            }
        }
        let moved = (301..=308).contains(&code) && code != 304;
        Ok((
            Answer {
                code,
                body: String::from_utf8_lossy(&body).into_owned(),
                redirected_away: false,
            },
            location.filter(|_| moved),
        ))
    };
    let answer = answer.await;
    driver.abort();
    answer
}

fn request(
    uri: &Uri,
    action: &HTTPGetAction,
    agent: &str,
) -> Result<Request<Empty<bytes::Bytes>>, http::Error> {
    let own = |name: &str| {
        action
            .http_headers
            .iter()
            .flatten()
            .find(|header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value.as_str())
    };
    let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::get(path).header(header::HOST, own("host").unwrap_or(&authority));
    if own("user-agent").is_none() {
        request = request.header(header::USER_AGENT, agent);
    }
    if own("accept").is_none() {
        request = request.header(header::ACCEPT, "*/*");
    }
    request = request.header(header::CONNECTION, "close");
    for header in action
        .http_headers
        .iter()
        .flatten()
        .filter(|header| !header.name.eq_ignore_ascii_case("host") && !header.value.is_empty())
    {
        request = request.header(&header.name, &header.value);
    }
    request.body(Empty::new())
}

/// A configuration that trusts every server.
fn trusting() -> Arc<ClientConfig> {
    static CONFIG: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
        let builder = tls::client(None)
            .unwrap_or_else(|_| unreachable!("ring supports the default versions"));
        Arc::new(builder.with_no_client_auth())
    });
    CONFIG.clone()
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn requests_and_answers() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = skiff_watching::task::spawn(async move {
            let mut requests = Vec::new();
            for answer in [
                "HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n",
                "HTTP/1.1 500 No\r\nContent-Length: 4\r\n\r\noops",
            ] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut buffer = vec![0; 4096];
                let count = stream.read(&mut buffer).await.unwrap();
                requests.push(String::from_utf8_lossy(&buffer[..count]).into_owned());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            requests
        });
        let container: Container =
            from_value(json!({"name": "c", "ports": [{"name": "web", "containerPort": port}]}))
                .unwrap();
        let action: HTTPGetAction = from_value(json!({"port": "web", "path": "here", "httpHeaders": [{"name": "Host", "value": "x.y"}]})).unwrap();
        let limit = Duration::from_secs(5);
        let answer = get(&container, &action, "127.0.0.1", "kube-probe/1.36", limit)
            .await
            .unwrap();
        assert_eq!((answer.code, answer.body.as_str()), (500, "oops"));
        let requests = server.await.unwrap();
        assert!(
            requests[0]
                .starts_with("GET /here HTTP/1.1\r\nhost: x.y\r\nuser-agent: kube-probe/1.36\r\n"),
            "{}",
            requests[0]
        );
        assert!(requests[1].starts_with("GET /there"));
        // a port that somebody has and nobody listens on
        let held = tokio::net::TcpSocket::new_v4().unwrap();
        held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = held.local_addr().unwrap().port();
        let container: Container =
            from_value(json!({"name": "c", "ports": [{"name": "web", "containerPort": port}]}))
                .unwrap();
        let error = get(&container, &action, "127.0.0.1", "a", limit)
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "Get \"http://127.0.0.1:{port}/here\": dial tcp 127.0.0.1:{port}: connect: connection refused"
            )
        );
    }
}
