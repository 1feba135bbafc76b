//! Questions about the cluster's own names that are answered a second, beside unbound with the same names, both on one thread, asked by `dnsperf`. What is not
//! installed is left out.

use std::{
    net::Ipv4Addr,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use skiff_nodeagent::network::{
    dns::{DnsConfig, run_dns},
    link::Links,
};
use tokio::process::{Child, Command};

use super::world::{Node, address};

const SERVICES: u32 = 100;
const ROUNDS: usize = 5;
const OURS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
const THEIRS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 11);

fn inside(node: &Path, program: &str) -> Command {
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net={}", node.display()))
        .arg(program)
        .kill_on_drop(true);
    command
}

/// unbound with the same names.
fn unbound(node: &Node) -> Option<Child> {
    let dir = node.dir.path().display();
    let mut text = format!(
        "server:\n interface: {THEIRS}\n do-daemonize: no\n chroot: \"\"\n username: \"\"\n directory: \"{dir}\"\n pidfile: \"\"\n use-syslog: no\n\
         logfile: \"{dir}/unbound.log\"\n access-control: 0.0.0.0/0 allow\n num-threads: 1\n local-zone: \"cluster.local.\" static\n"
    );
    for number in 0..SERVICES {
        let ip = address(number);
        text += &format!(" local-data: \"s{number}.ns.svc.cluster.local. 30 IN A {ip}\"\n");
    }
    let file = node.dir.path().join("unbound.conf");
    std::fs::write(&file, text).expect("a file");
    let mut command = inside(&node.path(), "unbound");
    command.arg("-d").arg("-c").arg(file).stderr(Stdio::null());
    command.spawn().ok()
}

/// Answers a second, as `dnsperf` counted them; `None` where it is not there, or where nobody answers.
async fn rate(node: &Node, server: Ipv4Addr, names: &Path, time: Duration) -> Option<f64> {
    let output = inside(&node.path(), "dnsperf")
        .args(["-s", &server.to_string(), "-c", "16", "-q", "200", "-l"])
        .arg(time.as_secs().to_string())
        .arg("-d")
        .arg(names)
        .output()
        .await
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let after = |word: &str| text.lines().find_map(|line| line.trim().strip_prefix(word));
    let codes = after("Response codes:").unwrap_or_default().trim();
    if !codes.contains("NOERROR") || !codes.contains("NXDOMAIN") || codes.matches(',').count() > 1 {
        println!("dns: {server} says {codes}");
    }
    after("Queries per second:")?.trim().parse().ok()
}

async fn answers(node: &Node, server: Ipv4Addr) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        let socket = node.ns.udp_bind("0.0.0.0:0".parse().expect("an address"));
        let socket = socket.await.expect("a socket");
        // it may not be there yet
        if socket.connect((server, 53)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        }
        // the root's name servers, which nobody here knows
        let question = [0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];
        let mut buffer = [0; 512];
        let asked = socket.send(&question).await.is_ok();
        let wait = tokio::time::timeout(Duration::from_millis(50), socket.recv(&mut buffer));
        if asked && matches!(wait.await, Ok(Ok(_))) {
            return true;
        }
    }
    false
}

pub async fn run(time: Duration) {
    let node = Node::new().await;
    let links = Links::open(&node.ns).await.expect("netlink");
    links
        .add_address(1, THEIRS.into(), 32)
        .await
        .expect("an address");
    for number in 0..SERVICES {
        let ip = |last| (Ipv4Addr::new(10, 244, 1, last), 8080);
        node.service(number, &[ip(1), ip(2), ip(3)]);
    }
    node.view.set_synced();
    let resolv_conf = node.dir.path().join("resolv.conf");
    std::fs::write(&resolv_conf, "").expect("a file");
    let config = DnsConfig {
        node: node.ns.clone(),
        upstream: node.ns.clone(),
        ips: vec![OURS.into()],
        domain: "cluster.local".into(),
        resolv_conf,
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
    let mut rival = unbound(&node);
    answers(&node, OURS).await;
    if rival.is_none() || !answers(&node, THEIRS).await {
        println!("dns: unbound is not there to be compared with");
    }
    let (mut ours, mut ratios) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let Some(own) = rate(&node, OURS, &names, time).await else {
            println!("dns: dnsperf was not run");
            break;
        };
        ours.push(own);
        if let Some(other) = rate(&node, THEIRS, &names, time).await {
            println!("dns: {own:.0} answers/s, unbound {other:.0}");
            ratios.push(own / other);
        }
    }
    for (what, mut all) in [("answers/s", ours), ("times unbound's", ratios)] {
        all.sort_by(f64::total_cmp);
        if let Some(median) = all.get(all.len() / 2) {
            println!("dns: {median:.2} {what} (median)");
        }
    }
    if let Some(rival) = &mut rival {
        rival.kill().await.expect("it ends");
    }
    runtime.shutdown_background();
}
