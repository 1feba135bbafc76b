//! What stands behind a proxy in a test: answers by path, and remembers what it was asked and who showed which certificate.

use std::{net::IpAddr, sync::Arc};

use parking_lot::Mutex;
use skiff_server::auth::pki::{Facts, Issued, tls};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

/// An address of this machine that is not its loopback; `None` when it has none, which a test says aloud.
pub async fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").await.ok()?;
    socket.connect("203.0.113.1:9").await.ok()?;
    let ip = socket.local_addr().ok()?.ip();
    if ip.is_loopback() || ip.is_unspecified() {
        skiff_testing::skipped("this machine has no address but its loopback");
        return None;
    }
    Some(ip)
}

#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The request's lines up to the empty one.
    pub head: String,
    /// The common name and the organizations of the certificate that was shown.
    pub shown: Option<(String, Vec<String>)>,
}

pub struct Backend {
    pub port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Backend {
    pub async fn plain(ip: IpAddr) -> Backend {
        Backend::start(ip, None).await
    }

    /// Serves with this certificate, and asks for one of `client_ca`.
    pub async fn tls(ip: IpAddr, serving: &Issued, client_ca: &[u8]) -> Backend {
        Backend::start(
            ip,
            Some(TlsAcceptor::from(
                tls::server_config(serving, Some(client_ca)).unwrap(),
            )),
        )
        .await
    }

    async fn start(ip: IpAddr, acceptor: Option<TlsAcceptor>) -> Backend {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let task = tokio::spawn({
            let seen = seen.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let (seen, acceptor) = (seen.clone(), acceptor.clone());
                    tokio::spawn(async move {
                        match acceptor {
                            None => answer(stream, None, seen).await,
                            Some(acceptor) => {
                                let Ok(stream) = acceptor.accept(stream).await else {
                                    return;
                                };
                                let shown = stream
                                    .get_ref()
                                    .1
                                    .peer_certificates()
                                    .map(|chain| Facts::read(&chain[0]).unwrap());
                                answer(
                                    stream,
                                    shown.map(|facts| (facts.common_name, facts.organizations)),
                                    seen,
                                )
                                .await;
                            }
                        }
                    });
                }
            }
        });
        Backend { port, seen, task }
    }

    /// What it was asked last.
    pub fn last(&self) -> Seen {
        self.seen.lock().last().cloned().unwrap_or_default()
    }

    pub fn count(&self) -> usize {
        self.seen.lock().len()
    }
}

async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    shown: Option<(String, Vec<String>)>,
    seen: Arc<Mutex<Vec<Seen>>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap_or("").to_owned();
    seen.lock().push(Seen {
        head: head.clone(),
        shown,
    });
    let page = |kind: &str, more: &str, body: &str| {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n{more}content-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    if head.to_ascii_lowercase().contains("\r\nupgrade:") {
        let _ = stream
            .write_all(
                b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\n",
            )
            .await;
        let (mut reading, mut writing) = tokio::io::split(stream);
        let _ = tokio::io::copy(&mut reading, &mut writing).await;
        return;
    }
    let text = match path.split('?').next().unwrap_or("") {
        "/page" => page("text/html", "", "<a href=\"/rewriteme\">test</a>"),
        "/there" => "HTTP/1.1 302 Found\r\nlocation: /here\r\ncontent-length: 0\r\n\r\n".to_owned(),
        path if path.starts_with("/containerLogs/") => page("text/plain", "", "said\n"),
        _ => page(
            "text/plain",
            "connection: x-mine\r\nx-mine: 1\r\nkeep-alive: timeout=5\r\naccess-control-allow-origin: *\r\nset-cookie: a=b\r\n",
            "hello",
        ),
    };
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
}
