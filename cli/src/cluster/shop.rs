//! The shop: the program as it runs in the built-in image `skiff.local/shop`, as `/shop front` or `/shop stock`.
//!
//! `front` shows its version, pod and node and asks `stock` by its DNS name; `stock` counts what is left.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(2);

/// The whole program; answers the exit status.
pub fn main(args: Vec<String>) -> i32 {
    let part = args.first().map_or("front", String::as_str).to_string();
    let port: u16 = std::env::var("PORT").ok().and_then(|p| p.parse().ok()).unwrap_or(8080);
    let listener = match TcpListener::bind(("0.0.0.0", port)) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("shop: cannot listen on port {port}: {error}");
            return 1;
        }
    };
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    println!("shop {} {part} on {} listens on port {port}", variable("SHOP_VERSION"), variable("POD_NAME"));
    let closing = Arc::new(AtomicBool::new(false));
    let visits = Arc::new(AtomicU64::new(0));
    leave_when_told(closing.clone(), visits.clone());
    let served = Arc::new(AtomicU64::new(0));
    for stream in listener.incoming().flatten() {
        visits.fetch_add(1, Ordering::Relaxed);
        let (part, served, closing) = (part.clone(), served.clone(), closing.clone());
        std::thread::spawn(move || {
            let _ = serve(stream, &part, &served, &closing);
        });
    }
    0
}

/// On SIGTERM: visitors are served as long as they come, because rules elsewhere may still lead here; a second without one is the end.
fn leave_when_told(closing: Arc<AtomicBool>, visits: Arc<AtomicU64>) {
    use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
    /// Node agents kill after their grace time; the shop is gone before.
    const MOST: Duration = Duration::from_secs(20);
    let mut set = SigSet::empty();
    set.add(Signal::SIGTERM);
    set.add(Signal::SIGINT);
    // blocked here and in every thread made later; one thread waits for them
    let _ = sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None);
    std::thread::spawn(move || {
        let _ = set.wait();
        closing.store(true, Ordering::Relaxed);
        let told = std::time::Instant::now();
        loop {
            let before = visits.load(Ordering::Relaxed);
            std::thread::sleep(Duration::from_secs(1));
            if visits.load(Ordering::Relaxed) == before || told.elapsed() > MOST {
                break;
            }
        }
        println!("shop: closed");
        std::process::exit(0);
    });
}

fn serve(stream: TcpStream, part: &str, served: &AtomicU64, closing: &AtomicBool) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).unwrap_or("/").to_string();
        let mut last = false;
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header)? == 0 || header == "\r\n" || header == "\n" {
                break;
            }
            last |= header.trim().eq_ignore_ascii_case("connection: close");
        }
        let (code, body) = match path.as_str() {
            "/healthz" => (200, "ok\n".to_string()),
            "/readyz" if closing.load(Ordering::Relaxed) => (503, "closing\n".to_string()),
            "/readyz" => (200, "ok\n".to_string()),
            _ if part == "stock" => (200, format!("{} left\n", 1000u64.saturating_sub(served.fetch_add(1, Ordering::Relaxed) % 1000))),
            _ => front(),
        };
        let reason = if code == 200 { "OK" } else { "Service Unavailable" };
        let keep = if last || closing.load(Ordering::Relaxed) { "close" } else { "keep-alive" };
        write!(writer, "HTTP/1.1 {code} {reason}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: {keep}\r\n\r\n{body}", body.len())?;
        if keep == "close" {
            return Ok(());
        }
    }
}

fn front() -> (u16, String) {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let stock = std::env::var("STOCK").unwrap_or_else(|_| "stock".into());
    let left = match ask(&stock) {
        Ok(left) => left.trim().to_string(),
        Err(error) => format!("unknown ({error})"),
    };
    let text = format!("shop {}\npod {}\nnode {}\nstock {left}\n", variable("SHOP_VERSION"), variable("POD_NAME"), variable("NODE_NAME"));
    (200, text)
}

/// One GET, by name: found by asking cluster DNS.
fn ask(host: &str) -> std::io::Result<String> {
    let address = resolve(host)?;
    let mut stream = TcpStream::connect_timeout(&(address, 80).into(), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header == "\r\n" {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// The first address of a name, by /etc/resolv.conf: its servers and search list.
fn resolve(host: &str) -> std::io::Result<Ipv4Addr> {
    let text = std::fs::read_to_string("/etc/resolv.conf")?;
    let mut settings: HashMap<&str, Vec<&str>> = HashMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if let Some(word) = words.next() {
            settings.entry(word).or_default().extend(words);
        }
    }
    let missing = || std::io::Error::new(std::io::ErrorKind::NotFound, format!("no such host {host}"));
    let server: Ipv4Addr = settings.get("nameserver").and_then(|all| all.first()).and_then(|s| s.parse().ok()).ok_or_else(missing)?;
    let names = settings.get("search").into_iter().flatten().map(|domain| format!("{host}.{domain}")).chain([host.to_string()]);
    for name in names {
        if let Some(address) = query(server, &name)? {
            return Ok(address);
        }
    }
    Err(missing())
}

/// One question for an A record.
fn query(server: Ipv4Addr, name: &str) -> std::io::Result<Option<Ipv4Addr>> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut packet = vec![0x53, 0x4b, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.trim_end_matches('.').split('.') {
        packet.push(label.len() as u8);
        packet.extend_from_slice(label.as_bytes());
    }
    packet.extend_from_slice(&[0, 0, 1, 0, 1]);
    socket.send_to(&packet, (server, 53))?;
    let mut answer = [0; 1500];
    let (len, _) = socket.recv_from(&mut answer)?;
    let answer = &answer[..len];
    let count = answer.get(6..8).map_or(0, |b| u16::from_be_bytes([b[0], b[1]]));
    let mut at = packet.len();
    for _ in 0..count {
        // names in answers are pointers, or labels up to a zero
        while let Some(&byte) = answer.get(at) {
            if byte >= 0xc0 {
                at += 2;
                break;
            }
            at += 1 + usize::from(byte);
            if byte == 0 {
                break;
            }
        }
        let Some(head) = answer.get(at..at + 10) else { return Ok(None) };
        let (kind, size) = (u16::from_be_bytes([head[0], head[1]]), usize::from(u16::from_be_bytes([head[8], head[9]])));
        if let (1, Some(&[a, b, c, d])) = (kind, answer.get(at + 10..at + 10 + size)) {
            return Ok(Some(Ipv4Addr::new(a, b, c, d)));
        }
        at += 10 + size;
    }
    Ok(None)
}
