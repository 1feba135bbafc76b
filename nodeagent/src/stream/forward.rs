//! Port-forwarding: pairs of streams, each pair a connection to a port of the pod.
//!
//! Invariant: the connection is made from inside the pod's network namespace, by a thread that is thrown away afterwards.
//! Follows `staging/src/k8s.io/streaming/pkg/cri/portforward`.

use std::{
    collections::HashMap,
    fs::File,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream as StdStream},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use nix::sched::{CloneFlags, setns};
use skiff_api::machinery::quote::GoQuoted;
use skiff_watching::task::boxed;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    task::JoinSet,
};

use super::{Io, spdy, ws};
use crate::{outcome, probe::http::words, time};

/// The protocol of port-forwarding over SPDY.
pub const PROTOCOL: &str = "portforward.k8s.io";
/// The same through a WebSocket.
pub const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
/// The old protocols over WebSocket: two channels a port.
pub const WEBSOCKET: [(&str, ws::Framing); 2] = [
    ("v4.channel.k8s.io", ws::Framing::Binary),
    ("v4.base64.channel.k8s.io", ws::Framing::Base64),
];

/// Where connections go.
#[derive(Clone, Debug)]
pub struct Target {
    /// `None`: the node's own network.
    pub netns: Option<PathBuf>,
    pub pod: String,
    pub uid: String,
}

/// Why a port is not forwarded, or no longer.
#[derive(thiserror::Error, Debug)]
enum Error {
    #[error("failed to connect to localhost:{port} inside namespace {namespace}, {source}", namespace = GoQuoted(.namespace))]
    Dial {
        port: u16,
        namespace: String,
        source: NotDialled,
    },
    #[error("the connecting thread broke off")]
    BrokenOff,
    #[error(transparent)]
    Carry(#[from] std::io::Error),
}

#[derive(thiserror::Error, Debug)]
enum NotDialled {
    #[error("{}: {source}", .path.display())]
    NoNamespace {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("setns: {0}")]
    Setns(#[from] nix::Error),
    #[error(
        "IPv4: dial tcp4 127.0.0.1:{port}: {} IPv6 dial tcp6 [::1]:{port}: {} ", words(.v4), words(.v6)
    )]
    Refused {
        port: u16,
        v4: std::io::Error,
        v6: std::io::Error,
    },
    #[error(transparent)]
    Socket(#[from] std::io::Error),
}

/// Connects to `port` on the pod's loopback address.
async fn dial(target: &Target, port: u16) -> Result<TcpStream, Error> {
    let netns = target.netns.clone();
    let failed = |source| Error::Dial {
        port,
        namespace: target.uid.clone(),
        source,
    };
    let connect = move || -> Result<StdStream, NotDialled> {
        if let Some(path) = netns {
            let file = File::open(&path);
            let file = file.map_err(|source| NotDialled::NoNamespace { path, source })?;
            setns(file, CloneFlags::CLONE_NEWNET)?;
        }
        let dial = |address: IpAddr| {
            StdStream::connect_timeout(&(address, port).into(), Duration::from_secs(10))
        };
        let stream = dial(Ipv4Addr::LOCALHOST.into()).or_else(|v4| {
            let v6 = dial(Ipv6Addr::LOCALHOST.into());
            v6.map_err(|v6| NotDialled::Refused { port, v4, v6 })
        })?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    };
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || outcome::nobody_may_wait(sender.send(connect())));
    let stream = receiver
        .await
        .map_err(|_| Error::BrokenOff)?
        .map_err(failed)?;
    TcpStream::from_std(stream).map_err(|source| failed(source.into()))
}

fn wording(target: &Target, port: u16, error: &Error) -> Bytes {
    let Target { pod, uid, .. } = target;
    Bytes::from(format!(
        "error forwarding port {port} to pod {pod}, uid {uid}: {error}"
    ))
}

#[derive(Default)]
struct Pair {
    data: Option<spdy::Stream>,
    error: Option<spdy::Stream>,
}

/// Serves a client over SPDY until it leaves.
pub async fn spdy(io: impl Io, target: Target) {
    let mut streams = spdy::serve(io);
    let target = Arc::new(target);
    let mut pairs: HashMap<String, Pair> = HashMap::new();
    let mut forwards = JoinSet::new();
    while let Some(stream) = streams.recv().await {
        while forwards.try_join_next().is_some() {}
        let request = request_of(&stream);
        let pair = pairs.entry(request.clone()).or_default();
        match stream.header("streamtype") {
            Some("error") => pair.error = Some(stream),
            Some("data") => pair.data = Some(stream),
            _ => {
                outcome::nobody_may_wait(stream.out.reset().await);
                continue;
            }
        }
        if let Pair {
            data: Some(_),
            error: Some(_),
        } = pair
            && let Some(Pair {
                data: Some(data),
                error: Some(error),
            }) = pairs.remove(&request)
        {
            forwards.spawn(boxed(one(target.clone(), data, error)));
        }
    }
}

/// Which streams belong together: those of one request, or with old clients a stream and the one after it.
fn request_of(stream: &spdy::Stream) -> String {
    match (stream.header("requestid"), stream.header("streamtype")) {
        (Some(request), _) => request.to_owned(),
        (None, Some("error")) => stream.id.to_string(),
        (None, _) => stream.id.saturating_sub(2).to_string(),
    }
}

async fn one(target: Arc<Target>, data: spdy::Stream, error: spdy::Stream) {
    let port = data
        .header("port")
        .and_then(|port| port.parse().ok())
        .unwrap_or(0);
    let forwarded = match dial(&target, port).await {
        Ok(connection) => carry(connection, data.inbound, &data.out)
            .await
            .map_err(Error::from),
        Err(reason) => Err(reason),
    };
    if let Err(reason) = forwarded {
        tracing::debug!(%reason, port, "port not forwarded");
        outcome::nobody_may_wait(error.out.send(wording(&target, port, &reason)).await);
    }
    outcome::nobody_may_wait(data.out.close().await);
    outcome::nobody_may_wait(error.out.close().await);
}

/// Copies in both directions until the pod closes or the client has no use for more; the client's end is passed on.
async fn carry(
    connection: TcpStream,
    mut inbound: mpsc::Receiver<Bytes>,
    out: &spdy::Outlet,
) -> std::io::Result<()> {
    let (mut read, mut write) = connection.into_split();
    let input = async {
        while let Some(data) = inbound.recv().await {
            if write.write_all(&data).await.is_err() {
                return;
            }
        }
        // The pod sees the end.
        outcome::may_be_broken_off(write.shutdown().await);
        std::future::pending::<()>().await;
    };
    let output = async {
        let mut buffer = vec![0; 32 * 1024];
        loop {
            let count = read.read(&mut buffer).await?;
            if count == 0 {
                return Ok(());
            }
            out.send(Bytes::copy_from_slice(&buffer[..count])).await?;
        }
    };
    tokio::select! {
        done = output => done,
        () = input => Ok(()),
        () = out.gone() => Ok(()),
    }
}

/// Serves a client of the old WebSocket protocol: for each port a data and an error channel, each beginning with the port's number.
pub async fn websocket(io: impl Io, framing: ws::Framing, ports: &[u16], target: Target) {
    let ws::Channels {
        mut inbound,
        outbound,
    } = ws::serve(io, framing).await;
    let mut into: HashMap<u8, mpsc::Sender<Bytes>> = HashMap::new();
    let mut forwards = JoinSet::new();
    for (index, port) in ports.iter().enumerate() {
        let Ok(channel) = u8::try_from(index * 2) else {
            break;
        };
        let (sender, receiver) = mpsc::channel(64);
        into.insert(channel, sender);
        forwards.spawn(boxed(one_channel(
            target.clone(),
            *port,
            channel,
            receiver,
            outbound.clone(),
        )));
    }
    drop(outbound);
    while let Some(message) = inbound.recv().await {
        if let ws::Inbound::Data(channel, data) = message
            && let Some(sender) = into.get(&channel).filter(|_| !data.is_empty())
            && sender.send(data).await.is_err()
        {
            into.remove(&channel);
        }
    }
    forwards.shutdown().await;
}

async fn one_channel(
    target: Target,
    port: u16,
    channel: u8,
    mut inbound: mpsc::Receiver<Bytes>,
    outbound: mpsc::Sender<(u8, Bytes)>,
) {
    for first in [channel, channel + 1] {
        if outbound
            .send((first, Bytes::copy_from_slice(&port.to_le_bytes())))
            .await
            .is_err()
        {
            return;
        }
    }
    let connection = match dial(&target, port).await {
        Ok(connection) => connection,
        Err(reason) => {
            let told = outbound
                .send((channel + 1, wording(&target, port, &reason)))
                .await;
            return outcome::nobody_may_wait(told);
        }
    };
    let (mut read, mut write) = connection.into_split();
    let mut buffer = vec![0; 32 * 1024];
    loop {
        tokio::select! {
            data = inbound.recv() => match data {
                Some(data) => if write.write_all(&data).await.is_err() { return },
                None => return,
            },
            count = read.read(&mut buffer) => match count {
                Ok(0) | Err(_) => return,
                Ok(count) => if outbound.send((channel, Bytes::copy_from_slice(&buffer[..count]))).await.is_err() { return },
            },
        }
    }
}

/// Serves a client that tunnels SPDY through a WebSocket.
pub async fn tunnelled(io: impl Io, target: Target) {
    spdy(ws::tunnel(io).await, target).await;
}

/// How long an idle client is kept.
pub const IDLE: Duration = Duration::from_secs(4 * 3600);

/// Serves with the idle limit of upstream's node agent.
pub async fn limited(serve: impl Future<Output = ()>) {
    if time::timeout(IDLE, serve).await.is_none() {
        tracing::debug!("port-forward connection closed after four hours");
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::spdy::tests::{Client, Seen},
        *,
    };

    fn target() -> Target {
        Target {
            netns: None,
            pod: "n/p".into(),
            uid: "u".into(),
        }
    }

    #[tokio::test]
    async fn bytes_reach_the_port_and_come_back() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        skiff_watching::task::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            stream
                .write_all(text.to_uppercase().as_bytes())
                .await
                .unwrap();
        });
        let (near, far) = tokio::io::duplex(1 << 16);
        skiff_watching::task::spawn(spdy(far, target()));
        let mut client = Client::new(near);
        client
            .open(
                1,
                &[("streamtype", "error"), ("port", &port), ("requestid", "0")],
            )
            .await;
        client
            .open(
                3,
                &[("streamtype", "data"), ("port", &port), ("requestid", "0")],
            )
            .await;
        client.send(3, b"hello", true).await;
        let mut got = Vec::new();
        loop {
            match client.next().await.unwrap() {
                Seen::Data(3, true, _) => break,
                Seen::Data(3, false, data) => got.extend(data),
                _ => {}
            }
        }
        assert_eq!(got, b"HELLO");
    }

    #[tokio::test]
    async fn a_closed_port_is_told() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let (near, far) = tokio::io::duplex(1 << 16);
        skiff_watching::task::spawn(spdy(far, target()));
        let mut client = Client::new(near);
        let text = port.to_string();
        client
            .open(
                1,
                &[("streamtype", "error"), ("port", &text), ("requestid", "0")],
            )
            .await;
        client
            .open(
                3,
                &[("streamtype", "data"), ("port", &text), ("requestid", "0")],
            )
            .await;
        loop {
            if let Seen::Data(1, false, data) = client.next().await.unwrap() {
                let text = String::from_utf8(data).unwrap();
                assert!(text.starts_with(&format!("error forwarding port {port} to pod n/p, uid u: failed to connect to localhost:{port}")), "{text}");
                break;
            }
        }
    }
}
