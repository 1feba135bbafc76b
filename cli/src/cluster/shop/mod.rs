//! The shop: the program as it runs in the built-in image `skiff.local/shop`, as `/shop front` or `/shop stock`.
//!
//! `front` shows its version, pod and node and asks `stock` by its DNS name; `stock` counts what is left. On a busy day there are `till`, whose
//! work costs processor time and who brings its takings to the `vault`, and `thief`, who is after both.

mod door;
mod resolve;
pub mod thief;
mod till;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use door::Door;
use resolve::resolve;

const PATIENCE: Duration = Duration::from_secs(2);
/// What the front says when it does not reach the stock.
pub const UNKNOWN: &str = "unknown";

/// The whole program; answers the exit status.
pub fn main(args: Vec<String>) -> i32 {
    let part = args.first().map_or("front", String::as_str).to_string();
    if part == "thief" {
        return thief::main();
    }
    let port: u16 = std::env::var("PORT")
        .ok()
        .and_then(|p| p.parse().ok())
        .unwrap_or(8080);
    // by both families, where the kernel has both
    let both = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port));
    let listener = match both.or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("shop: cannot listen on port {port}: {error}");
            return 1;
        }
    };
    tellln!(
        "shop {} {part} on {} listens on port {port}",
        variable("SHOP_VERSION"),
        variable("POD_NAME")
    );
    let shop = Shop {
        door: Arc::default(),
        part: part.into(),
        listener: listener.into(),
    };
    shop.clone().leave_when_told();
    match &*shop.part {
        "till" => till::bring_takings(),
        "vault" => till::tell_what_came(),
        _ => {}
    }
    loop {
        match shop.listener.accept() {
            Ok((stream, _)) => shop.take(stream),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
            // one that went away before it was taken, or no more files for now
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    // The thread that leaves takes what comes, and ends the program.
    loop {
        std::thread::park();
    }
}

#[derive(Clone)]
struct Shop {
    door: Arc<Door>,
    part: Arc<str>,
    listener: Arc<TcpListener>,
}

impl Shop {
    /// Serves a connection on a thread of its own.
    fn take(&self, stream: TcpStream) {
        let number = self.door.knock();
        let shop = self.clone();
        std::thread::spawn(move || {
            // a visitor who leaves in the middle is no fault of the shop's
            let _ = shop.serve(stream, number);
            shop.door.heard(number);
        });
    }

    /// Takes the connections that the kernel made and that nobody took yet: true when there were any.
    fn take_those_outside(&self) -> bool {
        // if it cannot be done, the shop waits for one more visitor
        let _ = self.listener.set_nonblocking(true);
        let mut any = false;
        while let Ok((stream, _)) = self.listener.accept() {
            // a stream that would not wait is given up when it is read
            let _ = stream.set_nonblocking(false);
            self.take(stream);
            any = true;
        }
        any
    }

    fn serve(&self, stream: TcpStream, number: u64) -> std::io::Result<()> {
        let door = &self.door;
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
            let is_probe = matches!(path.as_str(), "/healthz" | "/readyz");
            let visit = (!is_probe).then(|| door.enter());
            door.heard(number);
            let (code, body) = match &visit {
                None if path == "/readyz" && door.is_closing() => (503, "closing\n".to_string()),
                None => (200, "ok\n".to_string()),
                Some(visit) => (200, self.answer(&path, visit.before)),
            };
            let reason = if code == 200 {
                "OK"
            } else {
                "Service Unavailable"
            };
            let keep = if last || door.is_closing() {
                "close"
            } else {
                "keep-alive"
            };
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {code} {reason}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: {keep}\r\n\r\n{body}"
            );
            writer.write_all(answer.as_bytes())?;
            if keep == "close" {
                return Ok(());
            }
        }
    }

    /// The answer to a visitor.
    fn answer(&self, path: &str, before: u64) -> String {
        match &*self.part {
            "stock" => format!("{} left\n", 1000 - before % 1000),
            "till" => till::sell(),
            "vault" => till::receive(path),
            _ => front(),
        }
    }

    /// On SIGTERM: visitors are served as long as they come, because rules elsewhere may still lead here; when they stay away, it is the end.
    /// Probes are no visitors: they come until the end.
    fn leave_when_told(self) {
        when_told(move || {
            self.door.visits().told = Some(Instant::now());
            let mut leaving = false;
            loop {
                let over = self.door.visits().is_over(Instant::now());
                leaving |= over;
                // From here on nobody else takes them.
                let came = leaving && self.take_those_outside();
                if over && (!came || self.door.visits().is_late(Instant::now())) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            if &*self.part == "till" {
                till::bring_the_last();
            }
            tellln!("shop: closed");
            std::process::exit(0);
        });
    }
}

/// Does it on a thread of its own when the program is told to end. To be called before there are other threads.
fn when_told(work: impl FnOnce() + Send + 'static) {
    use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
    let mut set = SigSet::empty();
    set.add(Signal::SIGTERM);
    set.add(Signal::SIGINT);
    // blocked here and in every thread made later; one thread waits for them. Neither fails for these signals
    let _ = sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None);
    std::thread::spawn(move || {
        let _ = set.wait();
        work();
    });
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

fn front() -> String {
    let stock = std::env::var("STOCK").unwrap_or_else(|_| "stock".into());
    let left = match ask(&stock, 80, "/") {
        Ok(left) => left.trim().to_string(),
        Err(error) => format!("{UNKNOWN} ({error})"),
    };
    format!(
        "shop {}\npod {}\nnode {}\nstock {left}\n",
        variable("SHOP_VERSION"),
        variable("POD_NAME"),
        variable("NODE_NAME")
    )
}

/// One GET, by name: found by asking cluster DNS.
fn ask(host: &str, port: u16, path: &str) -> std::io::Result<String> {
    let address = resolve(host)?;
    let mut stream = TcpStream::connect_timeout(&(address, port).into(), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_whom_the_kernel_let_in_are_served() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shop = Shop {
            door: Arc::default(),
            part: "stock".into(),
            listener: listener.into(),
        };
        assert!(!shop.take_those_outside());
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
        assert!(shop.take_those_outside());
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert!(text.ends_with("1000 left\n"), "{text}");
    }

    #[test]
    fn probes_are_no_visitors_and_connections_close_when_it_leaves() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let door = Arc::new(Door::default());
        let shop = Shop {
            door: door.clone(),
            part: "stock".into(),
            listener: listener.into(),
        };
        std::thread::spawn(move || {
            shop.listener
                .incoming()
                .flatten()
                .for_each(|stream| shop.take(stream))
        });
        let ask = |paths: &[&str]| {
            let mut stream = TcpStream::connect(address).unwrap();
            paths
                .iter()
                .for_each(|path| write!(stream, "GET {path} HTTP/1.1\r\n\r\n").unwrap());
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        };
        let text = ask(&["/healthz", "/readyz"]);
        assert_eq!(
            (
                text.matches("200 OK").count(),
                text.matches("keep-alive").count()
            ),
            (2, 2),
            "{text}"
        );
        assert_eq!(door.visits().served, 0);
        assert!(ask(&["/"]).ends_with("1000 left\n"));
        assert!(door.visits().last.is_some());
        door.visits().told = Some(Instant::now());
        let text = ask(&["/readyz"]);
        assert!(
            text.contains("503 Service Unavailable") && text.contains("Connection: close"),
            "{text}"
        );
        assert!(ask(&["/"]).contains("Connection: close"));
    }
}
