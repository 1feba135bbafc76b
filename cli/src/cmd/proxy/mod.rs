//! `proxy`: a local address that leads to the server, with one's credentials, and to files of one's own.
//! Invariant: only hosts, paths and methods that the patterns accept are let through.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/proxy` and `pkg/proxy`.

mod files;
mod filter;
mod pass;
mod pattern;
mod way;

use crate::client::klog;
use crate::command::{Command, verb};
use crate::context::With;
use crate::error::{Result, bail, message};
use crate::print;
use bytes::Bytes;
use filter::Filter;
use http::{Request, Response, StatusCode, header, uri::PathAndQuery};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use pass::Remote;
use std::convert::Infallible;
use std::net::IpAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use way::{Way, Ways};

pub static COMMAND: Command = Command {
    name: "proxy",
    usage: "[--port=PORT] [--www=static-dir] [--www-prefix=prefix] [--api-prefix=prefix]",
    short: "Run a proxy to the Kubernetes API server",
    long: "Listen on a local address and pass requests on to the server, as the user of the kubeconfig. Beside the server, files of a folder can be served.",
    examples: "
      # On a port
      kubectl proxy --port=8011
      # On any free port
      kubectl proxy --port=0
      # Below a prefix
      kubectl proxy --api-prefix=/k8s-api
      # With the files of a folder below /my-files/
      kubectl proxy --www=/my/files --www-prefix=/my-files/",
    run: verb!(run: Flags),
    ..Command::NEW
};

const PORT: i64 = 8001;

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// The port to listen on; 0 for any free one
    #[arg(long, short, default_value = "8001")]
    port: i64,
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    address: String,
    /// A socket of the file system to listen on instead
    #[arg(long, short = 'u')]
    unix_socket: String,
    /// The prefix below which the API is
    #[arg(long, default_value = "/")]
    api_prefix: String,
    /// A folder whose files are served, too
    #[arg(long, short = 'w')]
    www: String,
    /// The prefix below which they are
    #[arg(long, short = 'P', default_value = "/static/")]
    www_prefix: String,
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
    /// How often a connection for an exec or the like is looked after, to see whether it still stands; 0 for the system's own way
    #[arg(long, default_value = "0s")]
    keepalive: f64,
    /// Put the path of the server's address before that of each request
    #[arg(long)]
    append_server_path: bool,
}

/// What answers.
struct Proxy {
    remote: Remote,
    ways: Ways,
}

async fn run(ctx: With<Flags>) -> Result<()> {
    let f = ctx.flags();
    let client = ctx.client()?.clone();
    let below = |prefix: &str| match prefix.ends_with('/') {
        true => prefix.to_string(),
        false => format!("{prefix}/"),
    };
    let path = client.server_path();
    if !f.append_server_path && !path.is_empty() {
        warn(
            172,
            &format!(
                "Your kube context contains a server path {path}, use --append-server-path to automatically append the path to each request"
            ),
        );
    }
    if f.disable_filter && f.unix_socket.is_empty() {
        warn(
            177,
            "Request filter disabled, your proxy is vulnerable to XSRF attacks, please be cautious",
        );
    }
    let filter = match f.disable_filter {
        true => None,
        false => Some(Filter::read(
            &f.accept_paths,
            &f.reject_paths,
            &f.accept_hosts,
            &f.reject_methods,
        )?),
    };
    if f.port != PORT && !f.unix_socket.is_empty() {
        bail!("cannot set --unix-socket and --port at the same time");
    }
    if !f.www.is_empty() {
        look_at(&f.www);
    }
    let keepalive = (f.keepalive > 0.0).then(|| Duration::from_secs_f64(f.keepalive));
    let proxy = Rc::new(Proxy {
        remote: Remote::new(client, f.append_server_path, keepalive),
        ways: Ways {
            filter,
            api_prefix: below(&f.api_prefix),
            www: (!f.www.is_empty()).then(|| (f.www.clone().into(), below(&f.www_prefix))),
        },
    });
    let listening = listen(f).await?;
    print::put(&format!("Starting to serve on {}\n", listening.address()?))?;
    loop {
        tokio::select! {
            accepted = listening.accept(&proxy) => if let Err(why) = accepted {
                crate::client::not_accepted(&why).await;
            },
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

/// A warning, as the line of upstream's file tells it.
fn warn(line: u32, text: &str) {
    klog('W', &format!("proxy.go:{line}"), text);
}

/// Warns of a folder that is none.
fn look_at(folder: &str) {
    match std::fs::metadata(folder) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => warn(
            202,
            &format!("Static file directory {folder} is not a directory"),
        ),
        Err(why) => warn(
            200,
            &format!(
                "Failed to stat static file directory {folder}: stat {folder}: {}",
                crate::error::go_io(&why)
            ),
        ),
    }
}

enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener, String),
}

async fn listen(f: &Flags) -> Result<Listening> {
    if !f.unix_socket.is_empty() {
        let path = Path::new(&f.unix_socket);
        let is_socket = std::fs::metadata(path).is_ok_and(|found| found.file_type().is_socket());
        if is_socket {
            std::fs::remove_file(path)?;
        }
        // nobody else may use one's credentials
        let mask = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
        let bound = UnixListener::bind(path);
        nix::sys::stat::umask(mask);
        return match bound {
            Ok(listener) => Ok(Listening::Unix(listener, f.unix_socket.clone())),
            Err(why) => bail!(
                "listen unix {}: bind: {}",
                path.display(),
                crate::error::go_io(&why)
            ),
        };
    }
    let port = u16::try_from(f.port)
        .map_err(|_| message!("listen tcp: address {}: invalid port", f.port))?;
    let found = crate::client::addresses(&f.address, port).await;
    let found = found.map_err(|why| {
        let why = why.to_string();
        message!(
            "listen tcp: {}",
            why.strip_prefix("dial tcp: ").unwrap_or(&why)
        )
    })?;
    let bound = TcpListener::bind(found.as_slice()).await;
    bound.map(Listening::Tcp).map_err(|why| {
        message!(
            "listen tcp {}:{port}: bind: {}",
            f.address,
            crate::error::go_io(&why)
        )
    })
}

impl Listening {
    fn address(&self) -> Result<String> {
        Ok(match self {
            Listening::Tcp(listener) => listener.local_addr()?.to_string(),
            Listening::Unix(_, path) => path.clone(),
        })
    }

    async fn accept(&self, proxy: &Rc<Proxy>) -> std::io::Result<()> {
        match self {
            Listening::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                serve(proxy.clone(), stream, Some(peer.ip()));
            }
            Listening::Unix(listener, _) => serve(proxy.clone(), listener.accept().await?.0, None),
        }
        Ok(())
    }
}

fn serve(
    proxy: Rc<Proxy>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Option<IpAddr>,
) {
    tokio::task::spawn_local(async move {
        let service = hyper::service::service_fn(move |request| {
            let proxy = proxy.clone();
            async move { Ok::<_, Infallible>(proxy.answer(request, peer).await) }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        if let Err(why) = served.await {
            tracing::debug!("a proxied connection ended: {why}");
        }
    });
}

type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// A plain text, as Go's servers answer mistakes.
fn plain(status: StatusCode, text: &str) -> Response<Body> {
    let body = Full::new(Bytes::from(text.to_string()));
    let mut response = Response::new(body.map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let value = http::HeaderValue::from_static;
    headers.insert(header::CONTENT_TYPE, value("text/plain; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, value("nosniff"));
    response
}

/// What Go's servers say where nothing is.
const NOT_FOUND: &str = "404 page not found\n";

fn not_found() -> Response<Body> {
    plain(StatusCode::NOT_FOUND, NOT_FOUND)
}

/// Asks for another path.
fn moved(to: &str) -> Response<Body> {
    let mut response = plain(StatusCode::MOVED_PERMANENTLY, "");
    if let Ok(to) = to.parse() {
        response.headers_mut().insert(header::LOCATION, to);
    }
    response
}

impl Proxy {
    async fn answer(&self, mut request: Request<Incoming>, peer: Option<IpAddr>) -> Response<Body> {
        let host = request.headers().get(header::HOST);
        let host = host.and_then(|host| host.to_str().ok()).unwrap_or("");
        let uri = request.uri();
        let query = uri.query().map(|query| format!("?{query}"));
        let query = query.unwrap_or_default();
        let path = match self.ways.way(request.method().as_str(), uri.path(), host) {
            Way::Refused(status, text) => return plain(status, text),
            Way::Moved(to) => return moved(&(to + &query)),
            Way::File(folder, file) => return files::answer(folder, &file, request).await,
            Way::Server(path) => path,
        };
        match PathAndQuery::try_from(path + &query) {
            Ok(whole) => *request.uri_mut() = whole.into(),
            Err(why) => return plain(StatusCode::BAD_REQUEST, &format!("{why}\n")),
        }
        self.remote.answer(request, peer).await
    }
}
