//! `proxy`: a local address that leads to the server, with one's credentials.
//! Invariant: only hosts and paths that the patterns accept are let through.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/proxy` and `pkg/proxy`.

use crate::client::{Call, Client};
use crate::command::{Command, verb};
use crate::context::With;
use crate::error::{Error, Result, message};
use crate::flags::Refused;
use crate::print;
use crate::typed::Read;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use regex::Regex;
use std::rc::Rc;

pub static COMMAND: Command = Command {
    name: "proxy",
    usage: "[--port=PORT] [--www=static-dir] [--www-prefix=prefix] [--api-prefix=prefix]",
    short: "Run a proxy to the Kubernetes API server",
    long: "Listen on a local address and pass requests on to the server, as the user of the kubeconfig.",
    examples: "
      # On a port
      kubectl proxy --port=8011
      # On any free port
      kubectl proxy --port=0
      # Below a prefix
      kubectl proxy --api-prefix=/k8s-api",
    refused: &[
        Refused::value("www", "static files are not served").short('w'),
        Refused::value("www-prefix", "static files are not served").short('P'),
        Refused::value("unix-socket", "only TCP is listened on").short('u'),
        Refused::value("keepalive", "the system's own keep-alive is used"),
        Refused::switch(
            "append-server-path",
            "the server's path is always put before all others",
        ),
    ],
    run: verb!(run: Flags),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// The port to listen on; 0 for any free one
    #[arg(long, short, default_value = "8001")]
    port: i64,
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    address: String,
    /// The prefix below which the API is
    #[arg(long, default_value = "/")]
    api_prefix: String,
    /// Which paths are let through
    #[arg(long, default_value = "^.*")]
    accept_paths: String,
    /// Which paths are not
    #[arg(long, default_value = "^/api/.*/pods/.*/exec,^/api/.*/pods/.*/attach")]
    reject_paths: String,
    /// Which hosts are let through
    #[arg(long, default_value = "^localhost$,^127\\.0\\.0\\.1$,^\\[::1\\]$")]
    accept_hosts: String,
    /// Which methods are not let through
    #[arg(long, default_value = "^$")]
    reject_methods: String,
    /// Let everything through
    #[arg(long)]
    disable_filter: bool,
}

struct Filter {
    accept_paths: Vec<Regex>,
    reject_paths: Vec<Regex>,
    accept_hosts: Vec<Regex>,
    reject_methods: Vec<Regex>,
    off: bool,
}

fn patterns(text: &str) -> Result<Vec<Regex>> {
    text.split(',')
        .filter(|p| !p.is_empty())
        .map(|p| Regex::new(p).map_err(|e| message!("{p}: {e}")))
        .collect()
}

impl Filter {
    fn lets(&self, method: &str, path: &str, host: &str) -> bool {
        let any = |list: &[Regex], text: &str| list.iter().any(|r| r.is_match(text));
        self.off
            || (any(&self.accept_paths, path)
                && !any(&self.reject_paths, path)
                && any(&self.accept_hosts, host)
                && !any(&self.reject_methods, method))
    }
}

async fn run(ctx: With<Flags>) -> Result<()> {
    let f = ctx.flags();
    let filter = Rc::new(Filter {
        accept_paths: patterns(f.accept_paths.as_str())?,
        reject_paths: patterns(f.reject_paths.as_str())?,
        accept_hosts: patterns(f.accept_hosts.as_str())?,
        reject_methods: patterns(f.reject_methods.as_str())?,
        off: f.disable_filter,
    });
    if filter.off {
        eprintln!(
            "Warning: Request filter disabled, your proxy is vulnerable to XSRF attacks, please be cautious"
        );
    }
    let client = ctx.client()?.clone();
    let prefix: Rc<str> = f.api_prefix.trim_end_matches('/').into();
    let port = u16::try_from(f.port).map_err(|_| message!("invalid port {}", f.port))?;
    let listener = tokio::net::TcpListener::bind((f.address.as_str(), port))
        .await
        .map_err(|e| {
            message!(
                "listen tcp {}:{port}: {}",
                f.address.as_str(),
                crate::error::go_io(&e)
            )
        })?;
    print::put(&format!(
        "Starting to serve on {}\n",
        listener.local_addr()?
    ))?;
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            _ = tokio::signal::ctrl_c() => return Ok(()),
        };
        let (client, filter, prefix) = (client.clone(), filter.clone(), prefix.clone());
        tokio::task::spawn_local(async move {
            let service = hyper::service::service_fn(move |request| {
                let (client, filter, prefix) = (client.clone(), filter.clone(), prefix.clone());
                async move {
                    Ok::<_, std::convert::Infallible>(
                        pass(&client, &filter, &prefix, request).await,
                    )
                }
            });
            if let Err(e) = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await
            {
                tracing::debug!("a proxied connection ended: {e}");
            }
        });
    }
}

type Body = BoxBody<Bytes, hyper::Error>;

fn answer(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut r = Response::new(
        Full::new(text.into())
            .map_err(|never| match never {})
            .boxed(),
    );
    *r.status_mut() = status;
    r
}

async fn pass(
    client: &Client,
    filter: &Filter,
    prefix: &str,
    request: Request<Incoming>,
) -> Response<Body> {
    let host = request
        .headers()
        .get("host")
        .and_then(|h| h.to_str().ok())
        .unwrap_or("");
    let bare = host
        .rsplit_once(':')
        .filter(|(_, p)| p.bytes().all(|b| b.is_ascii_digit()))
        .map_or(host, |(h, _)| h);
    if !filter.lets(request.method().as_str(), request.uri().path(), bare) {
        return answer(StatusCode::FORBIDDEN, "Forbidden\n");
    }
    let whole = request.uri().path_and_query().map_or("/", |p| p.as_str());
    let Some(path) = whole.strip_prefix(prefix) else {
        return answer(StatusCode::NOT_FOUND, "404 page not found\n");
    };
    let header = |name: &str, or: &str| {
        request
            .headers()
            .get(name)
            .and_then(|h| h.to_str().ok())
            .unwrap_or(or)
            .to_string()
    };
    let (accept, kind) = (
        header("accept", "*/*"),
        header("content-type", "application/json"),
    );
    let (method, path) = (
        request.method().clone(),
        if path.starts_with('/') {
            path.to_string()
        } else {
            format!("/{path}")
        },
    );
    let body = match request.into_body().collect().await {
        Ok(b) => b.to_bytes(),
        Err(e) => return answer(StatusCode::BAD_REQUEST, e.to_string()),
    };
    let call = Call {
        method,
        path,
        accept: &accept,
        content_type: &kind,
        body,
        is_raw: true,
    };
    match client.stream(&call).await {
        Ok(response) => {
            let (mut parts, body) = response.into_parts();
            parts.headers.remove("transfer-encoding");
            Response::from_parts(parts, body.boxed())
        }
        Err(Error::Status(s)) => {
            let code = s
                .at("code")
                .as_u64()
                .and_then(|c| u16::try_from(c).ok())
                .and_then(|c| StatusCode::from_u16(c).ok())
                .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut r = answer(code, s.to_string());
            r.headers_mut().insert(
                "content-type",
                http::HeaderValue::from_static("application/json"),
            );
            r
        }
        Err(e) => answer(StatusCode::BAD_GATEWAY, e.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_accepted_passes() {
        let f = Filter {
            accept_paths: patterns("^.*").unwrap(),
            reject_paths: patterns("^/api/.*/pods/.*/exec").unwrap(),
            accept_hosts: patterns("^localhost$").unwrap(),
            reject_methods: patterns("^$").unwrap(),
            off: false,
        };
        assert!(f.lets("GET", "/api/v1/pods", "localhost"));
        assert!(!f.lets("GET", "/api/v1/pods", "evil.example.com"));
        assert!(!f.lets("POST", "/api/v1/namespaces/x/pods/y/exec", "localhost"));
    }
}
