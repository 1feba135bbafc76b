//! Connections: names to addresses, TCP, TLS.
//! Invariant: a certificate is checked unless the user said in so many words that it shall not be.
//! Behaviour follows `staging/src/k8s.io/client-go/transport`.
//!
//! Not `kube::Client`: a command of a few milliseconds has no use for its service stack, and failures are to be told in the words of Go's dialer.

use super::proxy::Proxy;
use crate::error::{Error, Problem, Result, quote};
use crate::kubeconfig::Resolved;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use skiff_api::machinery::quote::GoQuoted;
use skiff_watching::tls;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A connection, encrypted or not.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Where to connect to, and how.
pub struct Target {
    pub scheme: String,
    /// `host:port` or `host`, as written.
    pub authority: String,
    /// The path that comes before all others, without a slash at its end.
    pub prefix: String,
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    proxy: Option<Proxy>,
}

impl Target {
    /// Reads the address and makes ready for TLS.
    ///
    /// # Errors
    /// An address that is none, certificates that cannot be read.
    pub fn new(r: &Resolved, certificate: Option<&(Vec<u8>, Vec<u8>)>) -> Result<Target> {
        let bad = || {
            Error::msg(format!(
                "the server's address {} is not a URL",
                GoQuoted(&r.server)
            ))
        };
        let (scheme, rest) = r.server.split_once("://").ok_or_else(bad)?;
        let (authority, prefix) = rest.find('/').map_or((rest, ""), |i| rest.split_at(i));
        if let Some(cause) = wrong_url(authority, rest) {
            return Err(Error::Connection {
                verb: "Get".into(),
                url: r.server.clone(),
                cause,
            });
        }
        let (host, port) = split_host(authority).ok_or_else(bad)?;
        let port = port.unwrap_or(if scheme == "https" { 443 } else { 80 });
        let tls = if scheme == "https" {
            let name = r.tls_server_name.clone().unwrap_or_else(|| host.clone());
            let name = ServerName::try_from(name.clone()).map_err(|_| {
                Error::msg(format!(
                    "{name} is not a server's name",
                    name = GoQuoted(&name)
                ))
            })?;
            Some((
                TlsConnector::from(Arc::new(tls_config(r, certificate)?)),
                name,
            ))
        } else {
            None
        };
        Ok(Target {
            scheme: scheme.into(),
            authority: authority.into(),
            prefix: prefix.trim_end_matches('/').into(),
            proxy: proxy(r, &host, port)?,
            host,
            port,
            tls,
        })
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{}{path}", self.scheme, self.authority, self.prefix)
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// The cause, in Go's words.
    pub async fn connect(&self) -> Result<Box<dyn Stream>, Problem> {
        self.connect_with(None).await
    }

    /// The same, looking after the connection every so often, to see whether it still stands.
    ///
    /// # Errors
    /// As `connect`.
    pub async fn connect_with(
        &self,
        keepalive: Option<Duration>,
    ) -> Result<Box<dyn Stream>, Problem> {
        if !matches!(self.scheme.as_str(), "http" | "https") {
            let scheme = crate::error::quote(&self.scheme);
            return Err(Problem(format!("unsupported protocol scheme {scheme}")));
        }
        let stream = match &self.proxy {
            Some(proxy) => proxy.connect(&self.host, self.port, keepalive).await?,
            None => Box::new(dial(&self.host, self.port, keepalive).await?),
        };
        let Some((connector, name)) = &self.tls else {
            return Ok(stream);
        };
        match connector.connect(name.clone(), stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(e) => Err(tls_cause(&e).into()),
        }
    }
}

/// The proxy that leads to the server: the kubeconfig's, or the environment's.
fn proxy(r: &Resolved, host: &str, port: u16) -> Result<Option<Proxy>> {
    if let Some(url) = &r.proxy_url {
        return Ok(Some(
            Proxy::parse(url).map_err(|why| Error::msg(why.to_string()))?,
        ));
    }
    Proxy::of_environment(r.server.starts_with("https://"), host, port)
        .map_err(|why| Error::msg(why.to_string()))
}

/// A TCP connection.
///
/// # Errors
/// The cause, in Go's words.
pub async fn dial(
    host: &str,
    port: u16,
    keepalive: Option<Duration>,
) -> Result<TcpStream, Problem> {
    let mut last = format!("dial tcp: lookup {host}: no such host");
    for address in addresses(host, port).await? {
        match TcpStream::connect(address).await {
            Ok(tcp) => {
                // without it answers only come later
                let _ = tcp.set_nodelay(true);
                if let Some(period) = keepalive {
                    look_after(&tcp, period).map_err(|e| Problem(e.to_string()))?;
                }
                return Ok(tcp);
            }
            Err(e) => last = format!("dial tcp {address}: {}", crate::error::go_io(&e)),
        }
    }
    Err(last.into())
}

fn look_after(tcp: &TcpStream, period: Duration) -> nix::Result<()> {
    use nix::sys::socket::{setsockopt, sockopt};
    let seconds = u32::try_from(period.as_secs().max(1)).unwrap_or(u32::MAX);
    setsockopt(tcp, sockopt::KeepAlive, &true)?;
    setsockopt(tcp, sockopt::TcpKeepIdle, &seconds)?;
    setsockopt(tcp, sockopt::TcpKeepInterval, &seconds)
}

/// TLS to a host whose authority the system knows.
///
/// # Errors
/// The cause, in Go's words.
pub async fn encrypted(tcp: TcpStream, host: &str) -> Result<Box<dyn Stream>, Problem> {
    let roots = roots(None).map_err(|e| Problem(e.to_string()))?;
    let config = tls::client(Some(roots)).map_err(|e| Problem(e.to_string()))?;
    let config = config.with_no_client_auth();
    let name = ServerName::try_from(host.to_string()).map_err(|_| {
        Problem(format!(
            "{host} is not a server's name",
            host = GoQuoted(&host)
        ))
    })?;
    let connector = TlsConnector::from(Arc::new(config));
    match connector.connect(name, tcp).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(e) => Err(tls_cause(&e).into()),
    }
}

/// The addresses of a name.
///
/// # Errors
/// The cause, in Go's words.
pub async fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, Problem> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let known = from_hosts_file(host);
    let found = if !known.is_empty() {
        known
    } else if host == "localhost" {
        vec![
            IpAddr::from([127, 0, 0, 1]),
            IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
        ]
    } else {
        look_up(host).await?
    };
    let found = found.into_iter();
    Ok(found.map(|ip| SocketAddr::new(ip, port)).collect())
}

fn from_hosts_file(name: &str) -> Vec<IpAddr> {
    let text = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let lines = text.lines().map(|l| l.split('#').next().unwrap_or(""));
    lines
        .filter(|l| {
            l.split_whitespace()
                .skip(1)
                .any(|n| n.eq_ignore_ascii_case(name))
        })
        .filter_map(|l| l.split_whitespace().next()?.parse().ok())
        .collect()
}

async fn look_up(name: &str) -> Result<Vec<IpAddr>, Problem> {
    let server = name_server().map_or_else(String::new, |ip| format!(" on {ip}:53"));
    let unknown = || format!("dial tcp: lookup {name}{server}: no such host");
    let fail = |e: &dyn std::fmt::Display| format!("dial tcp: lookup {name}{server}: {e}");
    let resolver = hickory_resolver::TokioResolver::builder_tokio()
        .map_err(|e| fail(&e))?
        .build()
        .map_err(|e| fail(&e))?;
    match resolver.lookup_ip(name).await {
        Ok(found) => Ok(found.iter().collect()),
        Err(why) if why.is_no_records_found() => Err(unknown().into()),
        Err(why) => Err(fail(&why).into()),
    }
}

/// The name server that is asked first, as messages tell it.
fn name_server() -> Option<IpAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").ok()?;
    let mut servers = text.lines().filter_map(|line| {
        let address = line.trim().strip_prefix("nameserver")?;
        address.trim().parse().ok()
    });
    servers.next()
}

/// What Go finds wrong with a URL, by the host and port that it names and all behind its scheme.
fn wrong_url(authority: &str, rest: &str) -> Option<String> {
    let escape = |at: usize| {
        rest.get(at..)
            .map(|from| from.chars().take(3).collect::<String>())
    };
    let is_hex = |escape: &String| escape[1..].chars().filter(char::is_ascii_hexdigit).count() == 2;
    let mut escapes = rest.match_indices('%').filter_map(|(at, _)| escape(at));
    if let Some(wrong) = escapes.find(|escape| !is_hex(escape)) {
        return Some(format!("invalid URL escape {}", quote(&wrong)));
    }
    let port = authority.rsplit_once(':').map(|(_, port)| port)?;
    if port.contains(']') {
        return None;
    }
    if !port.bytes().all(|digit| digit.is_ascii_digit()) {
        return Some(format!(
            "invalid port {} after host",
            quote(&format!(":{port}"))
        ));
    }
    let too_large = !port.is_empty() && port.parse::<u16>().is_err();
    too_large.then(|| format!("dial tcp: address {port}: invalid port"))
}

/// `host`, `host:port`, `[host]:port`.
pub fn split_host(authority: &str) -> Option<(String, Option<u16>)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        let port = match after.strip_prefix(':') {
            Some(p) => Some(p.parse().ok()?),
            None => None,
        };
        return Some((host.into(), port));
    }
    match authority.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() => Some((host.into(), Some(port.parse().ok()?))),
        Some(_) => None,
        None if authority.is_empty() => None,
        None => Some((authority.into(), None)),
    }
}

fn tls_config(r: &Resolved, certificate: Option<&(Vec<u8>, Vec<u8>)>) -> Result<ClientConfig> {
    let fail = |e: rustls::Error| match e {
        rustls::Error::InconsistentKeys(_) => {
            Error::msg("tls: private key does not match public key")
        }
        e => Error::msg(format!("tls: {e}")),
    };
    let roots = match r.insecure {
        true => None,
        false => Some(roots(r.authority.as_deref())?),
    };
    let builder = tls::client(roots).map_err(fail)?;
    let mut config = match certificate {
        Some((cert, key)) => {
            let chain: Vec<CertificateDer> = CertificateDer::pem_slice_iter(cert)
                .collect::<Result<_, _>>()
                .map_err(|e| {
                    Error::msg(format!(
                        "tls: failed to find any PEM data in certificate input: {e}"
                    ))
                })?;
            let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| {
                Error::msg(format!(
                    "tls: failed to find any PEM data in key input: {e}"
                ))
            })?;
            builder.with_client_auth_cert(chain, key).map_err(fail)?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn roots(authority: Option<&[u8]>) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    if let Some(pem) = authority {
        let certificates: Vec<CertificateDer> = CertificateDer::pem_slice_iter(pem)
            .filter_map(Result::ok)
            .collect();
        if store.add_parsable_certificates(certificates).0 == 0 {
            return Err(Error::msg(
                "unable to load root certificates: unable to parse bytes as PEM block",
            ));
        }
        return Ok(store);
    }
    let named = std::env::var_os("SSL_CERT_FILE").map(std::path::PathBuf::from);
    let usual = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
    ];
    for path in named
        .into_iter()
        .chain(usual.iter().map(std::path::PathBuf::from))
    {
        if let Ok(pem) = std::fs::read(path) {
            store.add_parsable_certificates(
                CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok),
            );
            break;
        }
    }
    Ok(store)
}

fn tls_cause(e: &std::io::Error) -> String {
    let text = e.to_string();
    let wrong = |why: &str| format!("tls: failed to verify certificate: x509: {why}");
    match e.get_ref().and_then(|r| r.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(c)) => match c {
            why if skiff_watching::tls::is_of_unknown_authority(why) => {
                wrong("certificate signed by unknown authority")
            }
            rustls::CertificateError::Expired | rustls::CertificateError::ExpiredContext { .. } => {
                wrong("certificate has expired or is not yet valid")
            }
            rustls::CertificateError::NotValidForNameContext {
                expected,
                presented,
            } => wrong(&other_name(&expected.to_str(), presented)),
            other => wrong(&other.to_string()),
        },
        // What stands there is no record at all.
        Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
            "tls: first record does not look like a TLS handshake".into()
        }
        Some(other) => format!("tls: {other}"),
        None => text,
    }
}

/// That a certificate is another's, in Go's words: with the names of the kind that was wanted.
fn other_name(wanted: &str, presented: &[String]) -> String {
    let is_address = wanted.parse::<std::net::IpAddr>().is_ok();
    let names: Vec<String> = presented
        .iter()
        .filter_map(|name| {
            if is_address {
                let address = name.strip_prefix("IpAddress(")?.strip_suffix(')')?;
                let read = address.parse::<std::net::IpAddr>();
                Some(read.map_or(address.to_string(), |address| address.to_string()))
            } else {
                let name = name.strip_prefix("DnsName(\"")?.strip_suffix("\")")?;
                Some(name.to_string())
            }
        })
        .collect();
    match (names.is_empty(), is_address) {
        (false, _) => format!(
            "certificate is valid for {}, not {wanted}",
            names.join(", ")
        ),
        (true, true) => format!(
            "cannot validate certificate for {wanted} because it doesn't contain any IP SANs"
        ),
        (true, false) => {
            format!("certificate is not valid for any names, but wanted to match {wanted}")
        }
    }
}

/// What lies under an error of hyper's.
pub fn cause(e: &hyper::Error) -> String {
    let mut source: Option<&dyn std::error::Error> = std::error::Error::source(e);
    let mut text = e.to_string();
    while let Some(s) = source {
        text = s
            .downcast_ref::<std::io::Error>()
            .map_or_else(|| s.to_string(), tls_cause);
        source = s.source();
    }
    if e.is_incomplete_message() {
        "EOF".into()
    } else {
        text
    }
}

/// The machine's architecture as Go names it.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_addresses_are_told_as_go_tells_them() {
        for (rest, want) in [
            ("a:1/x%20y", None),
            ("[::1]/", None),
            ("a:foo", Some("invalid port \":foo\" after host")),
            ("a:70000/x", Some("dial tcp: address 70000: invalid port")),
            ("a/%zz", Some("invalid URL escape \"%zz\"")),
            ("a/%2", Some("invalid URL escape \"%2\"")),
        ] {
            let authority = rest.split('/').next().unwrap_or_default();
            assert_eq!(wrong_url(authority, rest).as_deref(), want, "{rest}");
        }
    }

    #[test]
    fn addresses_are_split() {
        for (text, want) in [
            ("a:1", Some(("a".to_string(), Some(1)))),
            ("[::1]:2", Some(("::1".into(), Some(2)))),
            ("h", Some(("h".into(), None))),
            (":3", None),
            ("", None),
            ("a:x", None),
        ] {
            assert_eq!(split_host(text), want, "{text}");
        }
    }
}
