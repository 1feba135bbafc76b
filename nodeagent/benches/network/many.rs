//! 10,000 services with 10 endpoints each: how long until they answer, what they take, and how long one change takes until it is in force.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use skiff_nodeagent::network::link::Links;
use tokio::io::AsyncReadExt;

use super::world::{self, Node, address};

const SERVICES: u32 = 10_000;
const ENDPOINTS: u32 = 10;
const CHANGES: usize = 200;

/// All addresses of pods are this node's own, so that each of them answers.
async fn pods(node: &Node) {
    let links = Links::open(&node.ns).await.expect("netlink");
    let add = links.add_address(1, Ipv4Addr::new(10, 244, 0, 1).into(), 15);
    add.await.expect("pods' addresses");
    let all = "10.96.0.0/12".parse().expect("a network");
    links.route(all, None, 1).await.expect("a route");
    for port in [8080, 8081] {
        let at = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let listener = node.ns.tcp_listen(at).await.expect("a port");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let text = port.to_string();
                stream
                    .try_write(text.as_bytes())
                    .expect("room for a few bytes");
            }
        });
    }
}

fn endpoints(service: u32, count: u32, port: u16) -> Vec<(Ipv4Addr, u16)> {
    let ip = |number| Ipv4Addr::from(0x0af4_0100 + (service * 16 + number) % 0x1_fe00);
    (0..count).map(|number| (ip(number), port)).collect()
}

/// The port of whoever answers for a service.
async fn asked(node: &Node, service: u32) -> Option<String> {
    let to = SocketAddr::from((address(service), 80));
    let talk = async {
        let mut text = String::new();
        let mut stream = node.ns.tcp_connect(to).await.ok()?;
        stream.read_to_string(&mut text).await.ok()?;
        Some(text)
    };
    tokio::time::timeout(Duration::from_millis(200), talk)
        .await
        .ok()?
}

async fn until(node: &Node, service: u32, port: &str) {
    let answers = async { while asked(node, service).await.as_deref() != Some(port) {} };
    world::bounded(&format!("service {service} leads to {port}"), answers).await;
}

pub async fn run() {
    let node = Node::new().await;
    pods(&node).await;
    let before = world::resident();
    for number in 0..SERVICES {
        node.service(number, &endpoints(number, ENDPOINTS, 8080));
    }
    let seen = world::resident();
    let (kernel, begun) = (world::kernel(), Instant::now());
    node.view.set_synced();
    node.serve();
    until(&node, SERVICES - 1, "8080").await;
    let loaded = begun.elapsed();
    println!(
        "{SERVICES} services of {ENDPOINTS} endpoints: in force after {loaded:?}; {} KB are what was seen of the API, {} KB the rules, {} KB in the kernel",
        seen - before,
        world::resident() - seen,
        world::kernel() - kernel,
    );
    let (mut same, mut more) = (Vec::new(), Vec::new());
    for round in 0..CHANGES {
        let number = (round as u32 * 7919) % SERVICES;
        // All endpoints go to another port; then one more comes, which is told by its port, as they all have it.
        let begun = Instant::now();
        node.endpoints(number, &endpoints(number, ENDPOINTS, 8081));
        until(&node, number, "8081").await;
        same.push(begun.elapsed());
        let begun = Instant::now();
        node.endpoints(number, &endpoints(number, ENDPOINTS + 1, 8080));
        until(&node, number, "8080").await;
        more.push(begun.elapsed());
    }
    for (what, mut times) in [
        ("ten endpoints change their port", same),
        ("one more endpoint, and ten change their port", more),
    ] {
        times.sort_unstable();
        println!(
            "{what}, until a connection meets it: median {:?}, of 100 the worst {:?}, worst {:?}",
            times[times.len() / 2],
            times[times.len() * 99 / 100],
            times[times.len() - 1]
        );
    }
}
