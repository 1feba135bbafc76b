//! The customers: requests over TLS that come at a rate of the day, whether or not those before were answered.
//!
//! Invariant: what was sent is never sent again. A connection that turns out closed before anything was sent over it is replaced, and where no connection
//! can be made another node is tried: nothing of the request has left by then. Latency counts from when the customer meant to come.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use nix::sys::socket::{setsockopt, sockopt};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::watch,
};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::{
    chronicle::{Chronicle, lock},
    day::Day,
    ground::NodeOf,
    measure::Ended,
    stage::HOST,
    watch::Sight,
};

const PORT: u16 = 443;
/// A customer leaves who is not served within this time.
const PATIENCE: Duration = Duration::from_secs(30);
/// Those who are inside when the day is broken off have so long.
const GRACE: Duration = Duration::from_secs(2);
/// How long making a connection may take, and how long a node may leave unacknowledged what was sent.
const REACH: Duration = Duration::from_secs(1);
/// A connection that nobody has used for so long is closed from here, well before the other side would.
const IDLE: Duration = Duration::from_secs(5);
/// How often it is looked whether a node still takes somebody in, how long it may take to answer, and how often it has to before it is trusted again.
const KNOCK: Duration = Duration::from_millis(250);
const KNOCK_PATIENCE: Duration = Duration::from_millis(500);
const TRUST: u32 = 4;

type Sender = http1::SendRequest<Empty<Bytes>>;

/// The way in by one node.
struct Door {
    node: String,
    address: SocketAddr,
    idle: Mutex<VecDeque<(Instant, Sender)>>,
    /// Customers are sent there.
    open: AtomicBool,
    /// The node is cut off: what goes by it breaks.
    cut: AtomicBool,
}

/// See the module.
pub struct Crowd {
    doors: Vec<Door>,
    next: AtomicUsize,
    tls: TlsConnector,
    name: ServerName<'static>,
    chronicle: Arc<Chronicle>,
}

/// Why a customer was not served, in few words.
type Why = String;

impl Door {
    /// A connection that is still good. The last one first: those that too many were made of come to be idle.
    fn take(&self) -> Option<Sender> {
        let mut idle = lock(&self.idle);
        while let Some((since, sender)) = idle.pop_back() {
            if since.elapsed() < IDLE && !sender.is_closed() {
                return Some(sender);
            }
        }
        None
    }

    fn give_back(&self, sender: Sender) {
        if !sender.is_closed() && self.open.load(Ordering::Relaxed) {
            lock(&self.idle).push_back((Instant::now(), sender));
        }
    }

    fn shut(&self) {
        self.open.store(false, Ordering::Relaxed);
        lock(&self.idle).clear();
    }

    async fn stream(&self) -> std::io::Result<TcpStream> {
        let socket = match self.address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_nodelay(true)?;
        setsockopt(
            &socket,
            sockopt::TcpUserTimeout,
            &(REACH.as_millis() as u32),
        )?;
        socket.connect(self.address).await
    }

    /// Looks, for as long as the day goes on, whether somebody would be let in.
    async fn guard(&self, sight: &watch::Receiver<Sight>) {
        let mut good = TRUST;
        loop {
            tokio::time::sleep(KNOCK).await;
            let knocked = tokio::time::timeout(KNOCK_PATIENCE, self.stream()).await;
            good = match knocked {
                Ok(Ok(_)) => good + 1,
                _ => 0,
            };
            let ready = sight.borrow().nodes.get(&self.node) == Some(&true);
            if good == 0 {
                self.shut();
            } else if good >= TRUST && ready {
                self.open.store(true, Ordering::Relaxed);
            }
        }
    }
}

impl Crowd {
    pub fn new(
        nodes: &[NodeOf],
        certificate: &str,
        chronicle: Arc<Chronicle>,
    ) -> anyhow::Result<Crowd> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(certificate.as_bytes())?)?;
        let mut config = skiff_watching::tls::client(Some(roots))?.with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let door = |node: &NodeOf| Door {
            node: node.name.clone(),
            address: (node.ip, PORT).into(),
            idle: Mutex::default(),
            open: AtomicBool::new(true),
            cut: AtomicBool::new(false),
        };
        Ok(Crowd {
            doors: nodes.iter().map(door).collect(),
            next: AtomicUsize::new(0),
            tls: TlsConnector::from(Arc::new(config)),
            name: ServerName::try_from(HOST)?,
            chronicle,
        })
    }

    /// Waits until every node serves a customer.
    pub async fn wait_until_served(&self, limit: Duration) -> anyhow::Result<()> {
        let served = async {
            for door in &self.doors {
                while self.ask(door).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        };
        tokio::time::timeout(limit, served)
            .await
            .context("the Ingress does not answer at every node")
    }

    /// What goes by this node breaks from now on, or does not any more: for the table, which tells it apart. Nobody is kept from going there.
    pub fn is_cut(&self, node: &str, cut: bool) {
        for door in self.doors.iter().filter(|door| door.node == node) {
            door.cut.store(cut, Ordering::Relaxed);
        }
    }

    /// Customers come by the day's rate until `closed`; those who are inside then are served, or leave when their patience is over. Once the day is
    /// broken off (`told`), those who are not served soon are sent away, and counted nowhere.
    pub async fn come(
        self: Arc<Self>,
        day: Day,
        seed: u64,
        sight: watch::Receiver<Sight>,
        closed: CancellationToken,
        told: CancellationToken,
    ) {
        let guards = self.doors.iter().map(|door| door.guard(&sight));
        let mut inside = tokio::task::JoinSet::new();
        let coming = async {
            let mut chance = StdRng::seed_from_u64(seed);
            let mut next = Duration::ZERO;
            loop {
                let at = self.chronicle.instant(next);
                tokio::time::sleep_until(at.into()).await;
                let crowd = self.clone();
                inside.spawn(async move { crowd.visit(at).await });
                while inside.try_join_next().is_some() {}
                let rate = day.rate(next).max(0.1);
                let luck: f64 = chance.random_range(f64::EPSILON..1.0);
                next += Duration::from_secs_f64(-luck.ln() / rate);
            }
        };
        tokio::select! {
            () = coming => {}
            _ = futures::future::join_all(guards) => {}
            () = closed.cancelled() => {}
        }
        let served = async { while inside.join_next().await.is_some() {} };
        let sent_away = async {
            told.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            () = served => {}
            () = sent_away => {}
        }
        inside.shutdown().await;
    }

    async fn visit(&self, meant: Instant) {
        let mut at = None;
        let visit = self.served_somewhere(&mut at);
        let visited = tokio::time::timeout_at((meant + PATIENCE).into(), visit).await;
        let late = |_| Err(format!("no answer within {} s", PATIENCE.as_secs()));
        match visited.unwrap_or_else(late) {
            Ok(version) => {
                let latency = meant.elapsed();
                self.chronicle.note(Ended::Answered(latency), version);
            }
            Err(why) => {
                let cut = at.is_some_and(|door: &Door| door.cut.load(Ordering::Relaxed));
                self.chronicle.note(Ended::Failed { why, cut }, None);
            }
        }
    }

    /// Goes by the first door behind which a connection can be made; `at`: the last that was tried.
    async fn served_somewhere<'a>(
        &'a self,
        at: &mut Option<&'a Door>,
    ) -> Result<Option<String>, Why> {
        let count = self.doors.len();
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let mut ways: Vec<&Door> = (0..count)
            .map(|n| &self.doors[(first + n) % count])
            .collect();
        ways.sort_by_key(|door| !door.open.load(Ordering::Relaxed));
        let mut last = "no node".to_owned();
        for door in ways {
            *at = Some(door);
            match self.connected(door).await {
                Ok((sender, kept)) => return self.served(door, sender, kept).await,
                Err(why) => last = why,
            }
        }
        Err(last)
    }

    /// A connection, and whether it was kept.
    async fn connected(&self, door: &Door) -> Result<(Sender, bool), Why> {
        match door.take() {
            Some(sender) => Ok((sender, true)),
            None => self.connect(door).await.map(|sender| (sender, false)),
        }
    }

    /// A new connection. How long it takes once the node has let somebody in is for the caller to limit.
    async fn connect(&self, door: &Door) -> Result<Sender, Why> {
        let told = |error: std::io::Error| format!("cannot connect: {}", error.kind());
        let stream = tokio::time::timeout(REACH, door.stream())
            .await
            .map_err(|_| "cannot connect: timed out".to_owned())?
            .map_err(told)?;
        let stream = self.tls.connect(self.name.clone(), stream).await;
        let stream = TokioIo::new(stream.map_err(told)?);
        let made = http1::handshake(stream).await;
        let (sender, connection) = made.map_err(|error| format!("cannot connect: {error}"))?;
        skiff_watching::task::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a customer's connection ended");
            }
        });
        Ok(sender)
    }

    /// One request over a new connection, as a customer would.
    async fn ask(&self, door: &Door) -> Result<Option<String>, Why> {
        let sender = self.connect(door).await?;
        self.served(door, sender, false).await
    }

    /// Sends the request and reads the answer: the version of the till that gave it.
    async fn served(
        &self,
        door: &Door,
        mut sender: Sender,
        mut kept: bool,
    ) -> Result<Option<String>, Why> {
        let mut request = Request::get("/")
            .header(header::HOST, HOST)
            .body(Empty::new())
            .map_err(|error| error.to_string())?;
        loop {
            match sender.try_send_request(request).await {
                Ok(response) => {
                    let version = read(response).await?;
                    door.give_back(sender);
                    return Ok(version);
                }
                Err(mut error) => match error.take_message() {
                    // it was closed while nobody used it, and nothing was sent
                    Some(unsent) if kept => {
                        request = unsent;
                        (sender, kept) = self.connected(door).await?;
                    }
                    _ => return Err(broken(&error.into_error())),
                },
            }
        }
    }
}

fn broken(error: &hyper::Error) -> Why {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    format!("broken off: {error}{}", cause.unwrap_or_default())
}

/// An answer to its end; only a 200 is one.
async fn read(response: Response<Incoming>) -> Result<Option<String>, Why> {
    let status = response.status();
    let body = response.into_body().collect().await;
    let body = body.map_err(|error| broken(&error))?.to_bytes();
    if status != StatusCode::OK {
        return Err(format!("answered {status}"));
    }
    let text = String::from_utf8_lossy(&body);
    let first = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("till "));
    match first {
        Some(version) => Ok(Some(version.to_owned())),
        None => Err("answered by somebody else".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::{stage::Certificate, words::Words};

    /// A door that takes people in and says nothing, not even who it is.
    async fn mute() -> (tokio::net::TcpListener, SocketAddr) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    fn crowd(address: SocketAddr) -> Arc<Crowd> {
        let node = NodeOf {
            name: "a".into(),
            ip: address.ip(),
        };
        let chronicle = Arc::new(Chronicle::new(Words::of("en").unwrap()));
        let certificate = Certificate::make().unwrap().certificate;
        let mut crowd = Crowd::new(&[node], &certificate, chronicle).unwrap();
        crowd.doors[0].address = address;
        Arc::new(crowd)
    }

    #[tokio::test]
    async fn nobody_waits_longer_than_patience_lasts() {
        let (_listener, address) = mute().await;
        let crowd = crowd(address);
        let begun = Instant::now();
        let meant = begun
            .checked_sub(PATIENCE - Duration::from_millis(300))
            .unwrap();
        crowd.is_cut("a", true);
        crowd.visit(meant).await;
        assert!(begun.elapsed() < Duration::from_secs(10));
        let ledger = crowd.chronicle.ledger();
        assert_eq!(ledger.why["no answer within 30 s"], 1);
        assert_eq!((ledger.whole.failed, ledger.whole.failed_by_cut), (0, 1));
    }

    #[tokio::test]
    async fn who_is_inside_is_sent_away_when_the_day_is_broken_off() {
        let (listener, address) = mute().await;
        let crowd = crowd(address);
        let day = Day {
            length: Duration::from_secs(60),
            peak: 1000.0,
        };
        let (closed, told) = (CancellationToken::new(), CancellationToken::new());
        let (_sender, sight) = watch::channel(Sight::default());
        let coming = crowd
            .clone()
            .come(day, 1, sight, closed.clone(), told.clone());
        let broken_off = async {
            let inside = listener.accept().await.unwrap();
            told.cancel();
            closed.cancel();
            inside
        };
        let limit = PATIENCE / 2;
        let both = async { tokio::join!(coming, broken_off) };
        tokio::time::timeout(limit, both).await.unwrap();
        assert_eq!(crowd.chronicle.ledger().whole.requests(), 0);
    }
}
