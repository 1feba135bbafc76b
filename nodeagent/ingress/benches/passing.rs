//! The proxy beside nginx and haproxy, before the same backend, by `wrk`: `cargo bench -p skiff-ingress`. What is not installed is left out; without nginx and
//! wrk there is nothing to measure with. Each has one thread. `SECONDS` and `ROUNDS` say for how long, and how often in turn.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use skiff_ingress::{
    endpoint::Protocol,
    proxy::{Proxy, Route},
    serve::Door,
    table::{HostMatch, PathMatch, Table},
    upstream::Upstream,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A program that ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // nginx and haproxy end their workers when they are asked to
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.0.id()).expect("a pid"));
        let asked = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        if asked.is_err() || self.0.wait().is_err() {
            eprintln!("a program may be left behind");
        }
    }
}

fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    socket.local_addr().expect("an address").port()
}

fn start(program: &str, args: &[&str], port: u16) -> Option<Running> {
    let mut command = Command::new(program);
    command
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let running = Running(command.spawn().ok()?);
    let begun = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        if begun.elapsed() > Duration::from_secs(5) {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Some(running)
}

fn nginx(dir: &Path, name: &str, port: u16, servers: &str) -> Option<Running> {
    let file = dir.join(name);
    let path = dir.display();
    let text = format!(
        "worker_processes 1; pid {path}/{name}.pid; error_log /dev/null; daemon off; events {{ worker_connections 1024; }}\n\
         http {{ access_log off; keepalive_requests 1000000; client_body_temp_path {path}/{name}-body; proxy_temp_path {path}/{name}-proxy;\n\
         fastcgi_temp_path {path}/{name}-f; uwsgi_temp_path {path}/{name}-u; scgi_temp_path {path}/{name}-s;\n{servers} }}\n"
    );
    std::fs::write(&file, text).expect("a file");
    start("nginx", &["-c", &file.display().to_string()], port)
}

/// Ticks of the processor that these processes have had.
fn ticks(pids: &[u32]) -> u64 {
    let of = |pid: &u32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = text.rsplit(')').next()?.split_whitespace().collect();
        Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
    };
    pids.iter().filter_map(of).sum()
}

/// A process and its children.
fn family(pid: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    let mut all: Vec<u32> = children
        .split_whitespace()
        .filter_map(|c| c.parse().ok())
        .collect();
    all.push(pid);
    all
}

/// (requests a second, the 99th of a hundred) that `wrk` measured.
fn wrk(port: u16, connections: u32, seconds: u32) -> Option<(f64, String)> {
    let output = Command::new("wrk")
        .args([
            "-t1",
            "--latency",
            &format!("-c{connections}"),
            &format!("-d{seconds}s"),
        ])
        .arg(format!("http://127.0.0.1:{port}/a/path?with=query"))
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let after = |word: &str| {
        let line = text.lines().find(|line| line.trim().starts_with(word))?;
        line.split_whitespace().last().map(str::to_owned)
    };
    if let Some(bad) = after("Non-2xx").or_else(|| after("Socket errors")) {
        println!("    not all was answered: {bad}");
    }
    Some((after("Requests/sec")?.parse().ok()?, after("99%")?))
}

/// A node's proxy, on one thread of its own.
fn skiff(backend: SocketAddr) -> u16 {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let to = Arc::new(Upstream::new("n/s:80".into()));
            to.set(&[backend], Protocol::Http1);
            let of = "n/i".into();
            let https_only = false;
            let mut table = Table::default();
            table.add(
                HostMatch::Any,
                PathMatch::prefix("/"),
                Route { to, https_only, of },
            );
            let proxy = Arc::new(Proxy::new(None));
            proxy.routes.store(Arc::new(table));
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let door = Door::new(vec![listener], None).expect("a door");
            tell.send(door.port()).expect("somebody waits");
            let serving = tokio::spawn(door.serve(proxy, CancellationToken::new()));
            serving.await.expect("it serves");
        });
    });
    told.recv().expect("a port")
}

fn number(name: &str, otherwise: u32) -> u32 {
    let text = std::env::var(name).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn main() {
    let dir = std::env::temp_dir().join(format!("skiff-passing-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a folder");
    let backend = free_port();
    let body = "x".repeat(112);
    let servers =
        format!("server {{ listen 127.0.0.1:{backend}; location / {{ return 200 {body}; }} }}");
    let Some(_backend) = nginx(&dir, "backend", backend, &servers) else {
        return println!("nginx is not installed");
    };
    let mut rivals = vec![("skiff", skiff(([127, 0, 0, 1], backend).into()), None)];
    let port = free_port();
    let servers = format!(
        "upstream b {{ server 127.0.0.1:{backend}; keepalive 256; }}\nserver {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://b; proxy_http_version 1.1;\n\
         proxy_set_header Connection \"\"; proxy_set_header Host $http_host; proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-For $remote_addr;\n\
         proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Forwarded-Port $server_port; proxy_set_header X-Forwarded-Proto $scheme; }} }}"
    );
    rivals.extend(nginx(&dir, "proxy", port, &servers).map(|one| ("nginx", port, Some(one))));
    let port = free_port();
    let file = dir.join("haproxy");
    let text = format!(
        "global\n nbthread 1\ndefaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n option forwardfor\n http-reuse always\n\
         frontend f\n bind 127.0.0.1:{port}\n default_backend b\nbackend b\n server s 127.0.0.1:{backend}\n"
    );
    std::fs::write(&file, text).expect("a file");
    let haproxy = start("haproxy", &["-f", &file.display().to_string()], port);
    rivals.extend(haproxy.map(|one| ("haproxy", port, Some(one))));
    let (seconds, rounds) = (number("SECONDS", 4), number("ROUNDS", 3));
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load before: {}", load.trim());
    for connections in [8, 64] {
        for round in 0..rounds {
            for (name, port, running) in &rivals {
                let pids = match running {
                    Some(running) => family(running.0.id()),
                    None => vec![std::process::id()],
                };
                let before = ticks(&pids);
                let Some((rate, p99)) = wrk(*port, connections, seconds) else {
                    return println!("wrk is not installed");
                };
                // a tick is a hundredth of a second
                let cpu = (ticks(&pids) - before) as f64 * 1e4 / (rate * f64::from(seconds));
                println!(
                    "{connections} connections, round {round}: {name} {rate:.0}/s, 99 of 100 within {p99}, {cpu:.1} us of CPU a request"
                );
            }
        }
    }
    drop(rivals);
    if let Err(error) = std::fs::remove_dir_all(&dir) {
        eprintln!("left behind: {error}");
    }
}
