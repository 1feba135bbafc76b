//! Questions that cluster DNS answers a second, asked by `dnsperf` where it is there; beside any server that listens at `BESIDE` (an address and port).

use std::{net::Ipv4Addr, time::Duration};

use skiff_nodeagent::network::dns::{DnsConfig, run_dns};

use super::world::Node;

const SERVICES: u32 = 100;

pub async fn run(time: Duration) {
    let node = Node::new().await;
    for number in 0..SERVICES {
        let ip = |last| (Ipv4Addr::new(10, 244, 1, last), 8080);
        node.service(number, &[ip(1), ip(2), ip(3)]);
    }
    node.view.set_synced();
    let config = DnsConfig {
        node: node.ns.clone(),
        upstream: node.ns.clone(),
        ips: vec![Ipv4Addr::new(10, 96, 0, 10).into()],
        domain: "cluster.local".into(),
        resolv_conf: node.dir.path().join("resolv.conf"),
    };
    let runtime = node.ns.runtime("dns", 1).expect("a runtime");
    let (view, stop) = (node.view.clone(), node.stop.clone());
    runtime.spawn(async move { run_dns(view, config, stop).await.expect("a DNS server") });
    let names = node.dir.path().join("names");
    let mut text = String::new();
    for number in 0..SERVICES {
        text += &format!("s{number}.ns.svc.cluster.local A\n");
        text += &format!("s{number}.ns.svc.cluster.local AAAA\n");
        text += &format!("s{number}.ns.svc.cluster.local.ns.svc.cluster.local A\n");
    }
    std::fs::write(&names, text).expect("a file");
    let output = tokio::process::Command::new("nsenter")
        .arg(format!("--net={}", node.path().display()))
        .args(["dnsperf", "-s", "10.96.0.10", "-c", "16", "-q", "200", "-l"])
        .arg(time.as_secs().to_string())
        .arg("-d")
        .arg(&names)
        .output()
        .await;
    match output {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout);
            let wanted = |line: &&str| {
                ["per second", "lost", "Response codes"]
                    .iter()
                    .any(|w| line.contains(w))
            };
            for line in text.lines().filter(wanted) {
                println!("dns: {}", line.trim());
            }
        }
        Ok(output) => println!("dns: {}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => println!("dns: dnsperf was not run: {error}"),
    }
    runtime.shutdown_background();
}
