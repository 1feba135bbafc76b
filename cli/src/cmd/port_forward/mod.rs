//! `port-forward`: local ports that lead to a pod's.
//! Invariant: one connection that fails does not end the others; a port that cannot be listened on ends the command.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/portforward` and `client-go/tools/portforward`; but each local connection has one
//! of its own to the server, so that none waits for another.

mod ports;

use super::pods;
use crate::client::{self, segment};
use crate::command::{Command, verb};
use crate::complete::Words;
use crate::context::{Ctx, With};
use crate::error::{Error, Result, bail, message};
use crate::flags::{Csv, Listed};
use crate::resource::{Info, builder::CLIENT_GO};
use crate::typed::Read;
use bytes::Bytes;
use serde_json::Value;
use skiff_nodeagent::stream::forward::PROTOCOL;
use skiff_nodeagent::stream::spdy::{Headers, Opener, Stream};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub static COMMAND: Command = Command {
    name: "port-forward",
    usage: "TYPE/NAME [options] [LOCAL_PORT:]REMOTE_PORT [...[LOCAL_PORT_N:]REMOTE_PORT_N]",
    short: "Forward one or more local ports to a pod",
    long: "Listen on local ports and lead connections to ports of a pod.\n\n Of a deployment, service or another kind that has several pods one is chosen. When that pod ends, so does the command.",
    examples: "
      # Ports 5000 and 6000, the same here and there
      kubectl port-forward pod/mypod 5000 6000
      # In a pod of a deployment
      kubectl port-forward deployment/mydeployment 5000 6000
      # A service's port by its name
      kubectl port-forward service/myservice 8443:https
      # Port 8888 here, on all addresses
      kubectl port-forward --address 0.0.0.0 pod/mypod 8888:5000
      # Any free port here
      kubectl port-forward pod/mypod :5000",
    run: verb!(run: Flags),
    words: Some(Words::PodAndPort),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// The addresses to listen on; by default localhost
    #[arg(long)]
    address: Vec<Csv>,
    /// How long to wait until a pod runs
    #[arg(long, default_value = "1m0s")]
    pod_running_timeout: f64,
}

async fn run(ctx: With<Flags>) -> Result<()> {
    let f = ctx.flags();
    let [word, given @ ..] = ctx.args() else {
        return Err(ctx.usage(USAGE));
    };
    if given.is_empty() {
        return Err(ctx.usage(USAGE));
    }
    super::pods::check_patience(&ctx, f.pod_running_timeout)?;
    let info = pods::object(&ctx, word, CLIENT_GO).await?;
    let pod = pods::attachable(&ctx, &info, f.pod_running_timeout).await?;
    let words = ports::numbers(&info, &pod, given)?;
    let text = |field: &str| pod.at("metadata").text(field).to_string();
    let place = Place {
        namespace: text("namespace"),
        pod: text("name"),
        uid: text("uid"),
    };
    let phase = pod.at("status").text("phase");
    if phase != "Running" {
        bail!("unable to forward port because pod is not running. Current status={phase}");
    }
    let pairs: Vec<(u16, u16)> = words
        .iter()
        .map(|w| ports::parse(w))
        .collect::<Result<_>>()?;
    let addresses = hosts(&f.address.list())?;
    // whether it can be done at all is to be known before anybody connects
    connect(&ctx, &place).await?;
    let mut tasks = tokio::task::JoinSet::new();
    let mut open = false;
    for pair in &pairs {
        match listen(&addresses, *pair).await {
            Ok(listeners) => {
                open = true;
                listeners.into_iter().for_each(|l| {
                    _ = tasks.spawn_local(serve((*ctx).clone(), l, place.clone(), pair.1))
                });
            }
            Err(e) => eprintln!("Unable to listen on port {}: {e}", pair.0),
        }
    }
    if !open {
        let shown: Vec<String> = pairs
            .iter()
            .map(|(local, remote)| format!("{{{local} {remote}}}"))
            .collect();
        bail!(
            "unable to listen on any of the requested ports: [{}]",
            shown.join(" ")
        );
    }
    tokio::select! {
        _ = tokio::signal::ctrl_c() => Ok(()),
        lost = lost(&ctx, &place) => lost,
        ended = tasks.join_next() => ended.and_then(std::result::Result::ok).unwrap_or(Ok(())),
    }
}

const USAGE: &str = "TYPE/NAME and list of ports are required for port-forward";

/// Where connections lead.
#[derive(Clone)]
struct Place {
    namespace: String,
    pod: String,
    uid: String,
}

/// Ends when the pod does.
async fn lost(ctx: &Ctx, place: &Place) -> Result<()> {
    let kind = crate::generate::kind("", "v1", "pods", "Pod", true);
    let info = Info::of(kind, &place.namespace, &place.pod, Value::Null);
    let runs = |pod: &Value| {
        pod.at("metadata").text("uid") == place.uid.as_str()
            && pod.at("status").text("phase") == "Running"
    };
    let far = tokio::time::Instant::now() + std::time::Duration::from_secs(30 * 24 * 3600);
    match super::wait::until(ctx, &info, far, |o| Ok(!o.is_some_and(runs))).await {
        Ok(_) => Err(Error::msg("lost connection to pod")),
        // Who may not look at pods may forward to them all the same.
        Err(e) if e.reason() == "Forbidden" => std::future::pending().await,
        Err(e) => Err(e),
    }
}

/// An address, and whether it is one of `localhost`'s, of which one is enough.
type Host = (IpAddr, bool);

/// The addresses to listen on, sorted as they are written.
fn hosts(given: &[String]) -> Result<Vec<Host>> {
    let mut out: BTreeMap<String, Host> = BTreeMap::new();
    let given = if given.is_empty() {
        &["localhost".to_string()]
    } else {
        given
    };
    for word in given {
        match (word.as_str(), word.parse::<IpAddr>()) {
            ("localhost", _) => {
                for ip in [
                    IpAddr::from(Ipv4Addr::LOCALHOST),
                    IpAddr::from(Ipv6Addr::LOCALHOST),
                ] {
                    out.entry(ip.to_string()).or_insert((ip, true));
                }
            }
            (_, Ok(ip)) => _ = out.insert(word.clone(), (ip, false)),
            _ => bail!("{word} is not a valid IP"),
        }
    }
    Ok(out.into_values().collect())
}

/// Listens on all addresses; a free port is the same on all of them.
async fn listen(hosts: &[Host], (local, remote): (u16, u16)) -> Result<Vec<TcpListener>> {
    let (mut listeners, mut port, mut failed, mut enough) = (Vec::new(), local, Vec::new(), true);
    for (ip, of_localhost) in hosts {
        let at = SocketAddr::new(*ip, port);
        match TcpListener::bind(at)
            .await
            .and_then(|l| Ok((l.local_addr()?, l)))
        {
            Ok((bound, listener)) => {
                port = bound.port();
                crate::print::put(&format!("Forwarding from {bound} -> {remote}\n"))?;
                listeners.push((listener, *of_localhost));
            }
            Err(e) => {
                let family = if ip.is_ipv4() { "tcp4" } else { "tcp6" };
                failed.push(format!(
                    "unable to create listener: Error listen {family} {at}: {}",
                    bind_error(&e)
                ));
                enough &= *of_localhost;
            }
        }
    }
    let localhost_works = !hosts.iter().any(|(_, l)| *l) || listeners.iter().any(|(_, l)| *l);
    if enough && localhost_works {
        return Ok(listeners.into_iter().map(|(l, _)| l).collect());
    }
    Err(message!(
        "Listeners failed to create with the following errors: [{}]",
        failed.join(" ")
    ))
}

/// A failure to listen in Go's words.
fn bind_error(e: &std::io::Error) -> String {
    let text = nix::errno::Errno::from_raw(e.raw_os_error().unwrap_or(0))
        .desc()
        .to_lowercase();
    format!("bind: {text}")
}

async fn serve(ctx: Ctx, listener: TcpListener, place: Place, remote: u16) -> Result<()> {
    let local = listener.local_addr()?.port();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(why) => {
                client::not_accepted(&why).await;
                continue;
            }
        };
        crate::print::put(&format!("Handling connection for {local}\n"))?;
        let (ctx, place) = (ctx.clone(), place.clone());
        tokio::task::spawn_local(async move {
            let done = match connect(&ctx, &place).await {
                Ok(opener) => connection(opener, stream, remote).await,
                Err(why) => Err(why),
            };
            if let Err(e) = done {
                eprintln!("error: an error occurred forwarding {local} -> {remote}: {e}");
            }
        });
    }
}

/// A connection to the pod's node, in which streams to its ports are opened.
async fn connect(ctx: &Ctx, place: &Place) -> Result<Opener> {
    let path = format!(
        "/api/v1/namespaces/{}/pods/{}/portforward",
        segment(&place.namespace),
        segment(&place.pod),
    );
    let opened = ctx.client()?.spdy(&path, PROTOCOL).await;
    opened.map_err(|why| message!("error upgrading connection: {why}"))
}

/// One connection: a stream that carries its bytes, and one on which the node tells why it does not.
async fn connection(opener: Opener, stream: TcpStream, remote: u16) -> Result<()> {
    let headers = |kind: &str| -> Headers {
        let port = remote.to_string();
        let pairs = [("streamtype", kind), ("port", &port), ("requestid", "0")];
        let pairs = pairs.map(|(name, value)| (name.into(), value.into()));
        pairs.into()
    };
    let mut errors = opener.open(headers("error")).await?;
    errors.out.close().await?;
    let data = opener.open(headers("data")).await?;
    let out = data.out.clone();
    carry(stream, data).await;
    // What has not been taken yet nobody waits for; the node's last word is to come through.
    out.reset().await?;
    let mut why = Vec::new();
    while let Some(piece) = errors.inbound.recv().await {
        why.extend_from_slice(&piece);
    }
    match why.as_slice() {
        [] => Ok(()),
        why => Err(Error::msg(String::from_utf8_lossy(why))),
    }
}

/// Copies in both directions until the pod has closed its half, or the local side takes no more. The end of what the local side
/// sends is passed on.
async fn carry(stream: TcpStream, mut data: Stream) {
    let (mut read, mut write) = stream.into_split();
    let there = async {
        let mut buffer = vec![0; 32 * 1024];
        loop {
            match read.read(&mut buffer).await {
                Ok(0) => break data.out.close().await,
                Ok(n) => data.out.send(Bytes::copy_from_slice(&buffer[..n])).await?,
                Err(broken) => break Err(broken),
            }
        }
    };
    let back = async {
        while let Some(piece) = data.inbound.recv().await {
            write.write_all(&piece).await?;
        }
        write.shutdown().await
    };
    tokio::pin!(there, back);
    tokio::select! {
        _ = &mut back => {}
        // an end that was passed on is no end of what comes back
        sent = &mut there => if sent.is_ok() { _ = back.await },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_nodeagent::stream::forward;

    #[test]
    fn localhost_is_two_addresses() {
        let shown = |words: &[&str]| {
            hosts(&words.iter().map(|w| (*w).to_string()).collect::<Vec<_>>()).map(|l| {
                l.iter()
                    .map(|(ip, l)| format!("{ip} {l}"))
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(shown(&[]).unwrap(), ["127.0.0.1 true", "::1 true"]);
        assert_eq!(
            shown(&["localhost", "0.0.0.0"]).unwrap(),
            ["0.0.0.0 false", "127.0.0.1 true", "::1 true"]
        );
        assert_eq!(
            shown(&["nosuch"]).unwrap_err().to_string(),
            "nosuch is not a valid IP"
        );
    }

    /// Two ends of a connection, and a connection to a node that forwards.
    async fn connected() -> (TcpStream, TcpStream, Opener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, served) = tokio::join!(client, listener.accept());
        let (near, far) = tokio::io::duplex(1 << 16);
        let target = forward::Target {
            netns: None,
            pod: "n/p".into(),
            uid: "u".into(),
        };
        tokio::spawn(forward::spdy(far, target));
        (client.unwrap(), served.unwrap().0, Opener::new(near))
    }

    /// A program that waits for the end of what it is told before it answers, and lets in nobody but the first who comes.
    #[tokio::test]
    async fn the_end_of_what_is_sent_is_passed_on_and_the_answer_comes_back() {
        let once = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = once.local_addr().unwrap().port();
        let program = async {
            let (mut stream, _) = once.accept().await.unwrap();
            drop(once);
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            stream
                .write_all(text.to_uppercase().as_bytes())
                .await
                .unwrap();
        };
        let (mut client, served, opener) = connected().await;
        let user = async {
            client.write_all(b"hello").await.unwrap();
            client.shutdown().await.unwrap();
            let mut text = String::new();
            client.read_to_string(&mut text).await.unwrap();
            text
        };
        let (done, (), text) = tokio::join!(connection(opener, served, port), program, user);
        done.unwrap();
        assert_eq!(text, "HELLO");
    }

    #[tokio::test]
    async fn a_port_that_nobody_listens_on_is_told() {
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = nobody.local_addr().unwrap().port();
        drop(nobody);
        let (_client, served, opener) = connected().await;
        let told = connection(opener, served, port).await.unwrap_err();
        let begins = format!("error forwarding port {port} to pod n/p, uid u: ");
        assert!(told.to_string().starts_with(&begins), "{told}");
    }

    /// Who goes away ends what the program still sends.
    #[tokio::test]
    async fn a_program_that_talks_without_end_learns_that_nobody_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let program = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
        };
        let (mut client, served, opener) = connected().await;
        let user = async move {
            client.read_u8().await.unwrap();
        };
        let all = async { tokio::join!(connection(opener, served, port), program, user) };
        let patience = std::time::Duration::from_secs(20);
        tokio::time::timeout(patience, all)
            .await
            .unwrap()
            .0
            .unwrap();
    }

    #[tokio::test]
    async fn a_free_port_is_the_same_on_all_addresses() {
        let both = hosts(&["127.0.0.1".into(), "127.0.0.2".into()]).unwrap();
        let listeners = listen(&both, (0, 80)).await.unwrap();
        let ports: Vec<u16> = listeners
            .iter()
            .map(|l| l.local_addr().unwrap().port())
            .collect();
        assert!(
            ports.len() == 2 && ports[0] == ports[1] && ports[0] != 0,
            "{ports:?}"
        );
        let told = listen(&both[..1], (ports[0], 80)).await.unwrap_err();
        let told = told.to_string();
        assert_eq!(
            told,
            format!(
                "Listeners failed to create with the following errors: [unable to create listener: Error listen tcp4 127.0.0.1:{}: bind: address already in use]",
                ports[0]
            )
        );
    }
}
