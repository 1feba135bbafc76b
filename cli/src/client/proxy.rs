//! Ways through a proxy: which one a kubeconfig or the environment names, and how it is asked to connect.
//! Behaviour follows `golang.org/x/net/http/httpproxy` (the environment), Go's `net/http` (`CONNECT`, SOCKS 5), and `parseProxyURL` of
//! `staging/src/k8s.io/client-go/tools/clientcmd/client_config.go`.

use super::connect::{self, Stream};
use crate::error::Problem;
use base64::Engine;
use ipnet::IpNet;
use skiff_api::machinery::quote::GoQuoted;
use std::net::IpAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What is read of a proxy's answer at the most.
const LONGEST_ANSWER: usize = 16 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
    Socks,
}

/// A proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    scheme: Scheme,
    host: String,
    port: u16,
    /// A user's name and password.
    user: Option<(String, String)>,
}

impl Proxy {
    /// Reads a URL; one without a scheme is meant as HTTP.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(url: &str) -> Result<Proxy, Problem> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let (scheme, port) = match scheme {
            "http" => (Scheme::Http, 80),
            "https" => (Scheme::Https, 443),
            "socks5" | "socks5h" => (Scheme::Socks, 1080),
            other => {
                return Err(Problem(format!(
                    "unsupported scheme {other}, must be http, https, or socks5",
                    other = GoQuoted(&other)
                )));
            }
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (user, address) = match authority.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, authority),
        };
        let decode = |text: &str| {
            let text = percent_encoding::percent_decode_str(text);
            text.decode_utf8_lossy().into_owned()
        };
        let user = user.map(|user| {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            (decode(name), decode(password))
        });
        let (host, own) = connect::split_host(address).ok_or_else(|| {
            Problem(format!(
                "invalid address {address}",
                address = GoQuoted(&address)
            ))
        })?;
        Ok(Proxy {
            scheme,
            host,
            port: own.unwrap_or(port),
            user,
        })
    }

    /// The one that the environment names for an address; `None`: none.
    ///
    /// # Errors
    /// It names one that is none.
    pub fn of_environment(is_tls: bool, host: &str, port: u16) -> Result<Option<Proxy>, Problem> {
        let names = match is_tls {
            true => ["HTTPS_PROXY", "https_proxy"],
            false => ["HTTP_PROXY", "http_proxy"],
        };
        let first = |names: [&str; 2]| {
            let mut found = names.iter().filter_map(|name| std::env::var(name).ok());
            found.find(|value| !value.is_empty())
        };
        let Some(url) = first(names) else {
            return Ok(None);
        };
        let none = first(["NO_PROXY", "no_proxy"]).unwrap_or_default();
        if goes_directly(&none, host, port) {
            return Ok(None);
        }
        let proxy = Proxy::parse(&url);
        proxy.map(Some).map_err(|why| {
            Problem(format!(
                "invalid proxy address {url}: {why}",
                url = GoQuoted(&url)
            ))
        })
    }

    /// A connection to `host:port` through it.
    ///
    /// # Errors
    /// The cause, in Go's words.
    pub async fn connect(
        &self,
        host: &str,
        port: u16,
        keepalive: Option<Duration>,
    ) -> Result<Box<dyn Stream>, Problem> {
        let through = |why: Problem| match self.scheme {
            Scheme::Socks => Problem(format!(
                "socks connect tcp {}:{}->{host}:{port}: {why}",
                self.host, self.port
            )),
            _ => Problem(format!("proxyconnect tcp: {why}")),
        };
        let tcp = connect::dial(&self.host, self.port, keepalive)
            .await
            .map_err(through)?;
        let mut stream: Box<dyn Stream> = match self.scheme {
            Scheme::Https => connect::encrypted(tcp, &self.host).await.map_err(through)?,
            _ => Box::new(tcp),
        };
        match self.scheme {
            Scheme::Socks => self.greet(&mut stream, host, port).await.map_err(through)?,
            _ => self.ask(&mut stream, host, port).await?,
        }
        Ok(stream)
    }

    /// `CONNECT`.
    async fn ask(
        &self,
        stream: &mut Box<dyn Stream>,
        host: &str,
        port: u16,
    ) -> Result<(), Problem> {
        let address = match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        let user = self.user.as_ref().map(|(name, password)| {
            let both =
                base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
            format!("Proxy-Authorization: Basic {both}\r\n")
        });
        let text = format!(
            "CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n{}\r\n",
            user.unwrap_or_default()
        );
        stream.write_all(text.as_bytes()).await.map_err(io)?;
        let mut answer = Vec::new();
        // by single bytes: what comes behind the answer is not the proxy's
        while !answer.ends_with(b"\r\n\r\n") {
            if answer.len() > LONGEST_ANSWER {
                return Err(Problem("the proxy's answer is too long".into()));
            }
            answer.push(stream.read_u8().await.map_err(io)?);
        }
        let answer = String::from_utf8_lossy(&answer);
        let line = answer.lines().next().unwrap_or_default();
        let (_, status) = line.split_once(' ').unwrap_or_default();
        match status.split_once(' ').unwrap_or((status, "")) {
            ("200", _) => Ok(()),
            (code, "") => Err(Problem(format!("unknown status code {code}"))),
            (_, text) => Err(Problem(text.into())),
        }
    }

    /// SOCKS 5 (RFC 1928, 1929), which looks names up itself.
    async fn greet(
        &self,
        stream: &mut Box<dyn Stream>,
        host: &str,
        port: u16,
    ) -> Result<(), Problem> {
        const BY_PASSWORD: u8 = 2;
        let ways: &[u8] = match self.user {
            Some(_) => &[5, 2, 0, BY_PASSWORD],
            None => &[5, 1, 0],
        };
        stream.write_all(ways).await.map_err(io)?;
        let mut chosen = [0; 2];
        stream.read_exact(&mut chosen).await.map_err(io)?;
        match (chosen[1], &self.user) {
            (0, _) => {}
            (BY_PASSWORD, Some((name, password))) => {
                let mut text = vec![1];
                for part in [name, password] {
                    let length = u8::try_from(part.len())
                        .map_err(|_| Problem("invalid username/password".into()))?;
                    text.push(length);
                    text.extend(part.bytes());
                }
                stream.write_all(&text).await.map_err(io)?;
                let mut said = [0; 2];
                stream.read_exact(&mut said).await.map_err(io)?;
                if said[1] != 0 {
                    return Err(Problem("username/password authentication failed".into()));
                }
            }
            _ => return Err(Problem("no acceptable authentication methods".into())),
        }
        let mut asked = vec![5, 1, 0];
        match host.parse() {
            Ok(IpAddr::V4(ip)) => {
                asked.push(1);
                asked.extend(ip.octets());
            }
            Ok(IpAddr::V6(ip)) => {
                asked.push(4);
                asked.extend(ip.octets());
            }
            Err(_) => {
                let length =
                    u8::try_from(host.len()).map_err(|_| Problem("FQDN too long".into()))?;
                asked.extend([3, length]);
                asked.extend(host.bytes());
            }
        }
        asked.extend(port.to_be_bytes());
        stream.write_all(&asked).await.map_err(io)?;
        let mut said = [0; 4];
        stream.read_exact(&mut said).await.map_err(io)?;
        if said[1] != 0 {
            return Err(Problem(format!("unknown error {}", refusal(said[1]))));
        }
        let length = match said[3] {
            1 => 4,
            4 => 16,
            _ => usize::from(stream.read_u8().await.map_err(io)?),
        };
        let mut bound = vec![0; length + 2];
        stream.read_exact(&mut bound).await.map_err(io)?;
        Ok(())
    }
}

fn refusal(code: u8) -> String {
    match code {
        1 => "general SOCKS server failure",
        2 => "connection not allowed by ruleset",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "TTL expired",
        7 => "command not supported",
        8 => "address type not supported",
        _ => return format!("unknown code: {code}"),
    }
    .into()
}

fn io(why: std::io::Error) -> Problem {
    match why.kind() {
        std::io::ErrorKind::UnexpectedEof => Problem("EOF".into()),
        _ => Problem(crate::error::go_io(&why)),
    }
}

/// Whether an address is none that proxies are asked for: this machine's own, or one that `NO_PROXY` names.
fn goes_directly(none: &str, host: &str, port: u16) -> bool {
    let ip: Option<IpAddr> = host.parse().ok();
    if host == "localhost" || ip.is_some_and(|ip| ip.is_loopback()) {
        return true;
    }
    let host = host.to_lowercase();
    none.split(',')
        .map(|word| word.trim().to_lowercase())
        .any(|word| {
            if word == "*" {
                return true;
            }
            if let (Ok(net), Some(ip)) = (word.parse::<IpNet>(), ip) {
                return net.contains(&ip);
            }
            let (name, of_port) = match connect::split_host(&word) {
                Some((name, of_port)) => (name, of_port),
                None => return false,
            };
            if of_port.is_some_and(|of_port| of_port != port) {
                return false;
            }
            if ip.is_some() {
                return name == host;
            }
            // a name stands for itself and what is below it, `.name` and `*.name` for what is below
            match name.strip_prefix("*.").or_else(|| name.strip_prefix('.')) {
                Some(above) => host
                    .strip_suffix(above)
                    .is_some_and(|rest| rest.ends_with('.')),
                None => {
                    host == name
                        || host
                            .strip_suffix(&name)
                            .is_some_and(|rest| rest.ends_with('.'))
                }
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[test]
    fn who_goes_directly() {
        for [none, host, port, directly] in skiff_testing::table::rows(
            r#"
                            | example.com     | 443 | no
                            | localhost       | 443 | yes
                            | 127.0.0.7       | 443 | yes
                *           | example.com     | 443 | yes
                example.com | example.com     | 443 | yes
                example.com | a.example.com   | 443 | yes
                example.com | anexample.com   | 443 | no
                .example.com | example.com    | 443 | no
                .example.com | a.example.com  | 443 | yes
                a, b.c:6443 | b.c             | 6443 | yes
                a, b.c:6443 | b.c             | 443 | no
                10.0.0.0/8  | 10.1.2.3        | 443 | yes
                10.1.2.4    | 10.1.2.3        | 443 | no
            "#,
        ) {
            let found = goes_directly(none, host, port.parse().unwrap());
            assert_eq!(found, directly == "yes", "{none} {host}");
        }
    }

    #[test]
    fn urls_are_read() {
        let proxy = Proxy::parse("https://a%40b:c@p.example:8/").unwrap();
        assert_eq!(
            (proxy.scheme, proxy.host.as_str(), proxy.port),
            (Scheme::Https, "p.example", 8)
        );
        assert_eq!(proxy.user, Some(("a@b".into(), "c".into())));
        assert_eq!(Proxy::parse("p:3128").unwrap().port, 3128);
        assert_eq!(Proxy::parse("socks5://[::1]").unwrap().port, 1080);
        let why = Proxy::parse("ftp://p").unwrap_err().to_string();
        assert_eq!(
            why,
            "unsupported scheme \"ftp\", must be http, https, or socks5"
        );
    }

    /// A proxy that is asked, and what it answers; gives what came of it, and what it was sent.
    async fn asked(
        proxy: &str,
        answers: &'static [&'static [u8]],
    ) -> (Result<Vec<u8>, String>, Vec<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = proxy.replace("ADDRESS", &listener.local_addr().unwrap().to_string());
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut seen = Vec::new();
            for answer in answers {
                let mut buffer = vec![0; 1024];
                let length = stream.read(&mut buffer).await.unwrap();
                buffer.truncate(length);
                seen.push(buffer);
                stream.write_all(answer).await.unwrap();
            }
            seen
        });
        let proxy = Proxy::parse(&url).unwrap();
        let got = match proxy.connect("example.com", 443, None).await {
            Ok(mut stream) => {
                let mut rest = Vec::new();
                stream.read_to_end(&mut rest).await.unwrap();
                Ok(rest)
            }
            Err(why) => Err(why.to_string()),
        };
        (got, served.await.unwrap())
    }

    #[tokio::test]
    async fn proxies_are_asked_to_connect() {
        let (got, seen) = asked(
            "http://u:p@ADDRESS",
            &[b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nhello"],
        )
        .await;
        assert_eq!(got.unwrap(), b"hello");
        assert_eq!(
            String::from_utf8(seen[0].clone()).unwrap(),
            "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\nProxy-Authorization: Basic dTpw\r\n\r\n"
        );
        let (got, _) = asked("http://ADDRESS", &[b"HTTP/1.1 403 Forbidden\r\n\r\n"]).await;
        assert_eq!(got.unwrap_err(), "Forbidden");
        let (got, seen) = asked(
            "socks5://u:p@ADDRESS",
            &[
                &[5, 2],
                &[1, 0],
                &[5, 0, 0, 1, 1, 2, 3, 4, 0, 80, b'h', b'i'],
            ],
        )
        .await;
        assert_eq!(got.unwrap(), b"hi");
        assert_eq!(seen[1], [1, 1, b'u', 1, b'p']);
        assert_eq!(
            seen[2],
            [&[5, 1, 0, 3, 11][..], b"example.com", &[1, 187]].concat()
        );
        let (got, _) = asked(
            "socks5://ADDRESS",
            &[&[5, 0], &[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]],
        )
        .await;
        assert!(
            got.unwrap_err()
                .ends_with("unknown error connection refused")
        );
    }
}
