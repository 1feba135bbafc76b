//! A connection through a service beside one to the pod itself: from one pod to another of the same node.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use skiff_nodeagent::network::{
    PodNetworks,
    ns::Namespace,
    pods::{BridgeNetworks, PodNetworkConfig},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::world::{Node, address, bounded};

const SERVICE: u32 = 1;
const CLIENTS: usize = 16;
const ROUNDS: usize = 5;

async fn pod(pods: &BridgeNetworks, name: &str) -> (Namespace, Ipv4Addr) {
    let pod = pods.setup(name).await.expect("a pod");
    let std::net::IpAddr::V4(ip) = pod.ips[0] else {
        unreachable!("pods have addresses of version 4")
    };
    (Namespace::open(&pod.netns).expect("its namespace"), ip)
}

/// Answers 100 bytes to each 100 bytes.
async fn serve(ns: &Namespace, at: SocketAddr) {
    let listener = ns.tcp_listen(at).await.expect("a port");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 100];
                while stream.read_exact(&mut buffer).await.is_ok()
                    && stream.write_all(&buffer).await.is_ok()
                {}
            });
        }
    });
}

async fn ask(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut buffer = [1; 100];
    stream.write_all(&buffer).await?;
    stream.read_exact(&mut buffer).await.map(|_| ())
}

/// Requests a second by all clients; each on one connection, or on a new one each time.
async fn rate(ns: &Namespace, to: SocketAddr, keep: bool, time: Duration) -> f64 {
    let (done, stop) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let mut clients = tokio::task::JoinSet::new();
    // Sockets are made by a thread in the namespace, which a runtime of its own has.
    let runtime = ns.runtime("clients", 1).expect("a runtime");
    for _ in 0..CLIENTS {
        let (done, stop) = (done.clone(), stop.clone());
        let client = async move {
            let mut kept = None;
            while !stop.load(Ordering::Relaxed) {
                let mut stream = match kept.take() {
                    Some(stream) => stream,
                    None => TcpStream::connect(to).await.expect("a connection"),
                };
                ask(&mut stream).await.expect("an answer");
                done.fetch_add(1, Ordering::Relaxed);
                if keep {
                    kept = Some(stream);
                } else {
                    // no port waits for its second packet
                    stream.set_zero_linger().expect("linger");
                }
            }
        };
        clients.spawn_on(client, runtime.handle());
    }
    tokio::time::sleep(time / 5).await;
    let (before, begun) = (done.load(Ordering::Relaxed), std::time::Instant::now());
    tokio::time::sleep(time).await;
    let rate = (done.load(Ordering::Relaxed) - before) as f64 / begun.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    let all = async {
        while let Some(ended) = clients.join_next().await {
            ended.expect("a client that asked to the end");
        }
    };
    bounded("all clients end", all).await;
    runtime.shutdown_background();
    rate
}

pub async fn run(time: Duration) {
    let node = Node::new().await;
    let config = PodNetworkConfig {
        node: node.ns.clone(),
        dir: node.dir.path().join("network"),
        pod_cidrs: vec!["10.244.0.0/16".parse().expect("a network")],
        mtu: None,
        walls: None,
    };
    let pods = BridgeNetworks::start(config).await.expect("a bridge");
    let (server, ip) = pod(&pods, "server").await;
    let (client, _) = pod(&pods, "client").await;
    let direct = SocketAddr::from((ip, 8080));
    serve(&server, direct).await;
    for number in 2..1000 {
        node.service(
            number,
            &[
                (Ipv4Addr::new(10, 244, 9, 9), 8080),
                (Ipv4Addr::new(10, 244, 9, 10), 8080),
            ],
        );
    }
    node.service(SERVICE, &[(ip, 8080)]);
    node.view.set_synced();
    node.serve();
    let service = SocketAddr::from((address(SERVICE), 80));
    let answers = async {
        while !matches!(
            tokio::time::timeout(Duration::from_millis(100), client.tcp_connect(service)).await,
            Ok(Ok(_))
        ) {}
    };
    bounded("the service answers", answers).await;
    for (keep, what) in [
        (true, "on kept connections"),
        (false, "each on a new connection"),
    ] {
        let mut ratios = Vec::new();
        let (mut one, mut other) = (0.0, 0.0);
        for _ in 0..ROUNDS {
            let straight = rate(&client, direct, keep, time).await;
            let through = rate(&client, service, keep, time).await;
            ratios.push(through / straight);
            (one, other) = (one + straight, other + through);
        }
        ratios.sort_by(f64::total_cmp);
        let count = ROUNDS as f64;
        println!(
            "requests {what}: direct {:.0}/s, through a service {:.0}/s, median of the ratios {:.3} ({:.3} to {:.3})",
            one / count,
            other / count,
            ratios[ROUNDS / 2],
            ratios[0],
            ratios[ROUNDS - 1]
        );
    }
    drop(pods);
    for name in ["server", "client"] {
        let path = node.dir.path().join("network/netns").join(name);
        Namespace::delete(&path).expect("it goes");
    }
}
