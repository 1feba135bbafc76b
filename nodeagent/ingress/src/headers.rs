//! What becomes of a message's head on its way through.
//!
//! Invariant: what concerns one connection alone goes no further; what is said of where a request came from is this proxy's word and not the client's. The host
//! is the client's. Follows RFC 9110, sections 7.6 and 10.1.1.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header,
    uri::{PathAndQuery, Scheme},
};

/// What concerns one connection alone, besides what `Connection` names. `Trailer` stays: it says what comes at the end of the whole way.
const OWN: [HeaderName; 7] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Where requests of one connection come from, as they are told to endpoints.
#[derive(Clone, Debug)]
pub struct Origin {
    pub client: HeaderValue,
    pub port: HeaderValue,
    pub tls: bool,
}

/// Whether one of the words of a header, which are divided by commas, is this one.
fn has_word(headers: &HeaderMap, name: HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).into_iter();
    let mut words = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|v| v.split(','));
    words.any(|found| found.trim().eq_ignore_ascii_case(word))
}

/// What a message asks the connection to become, such as a WebSocket.
pub fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let wanted = headers.get(header::UPGRADE)?;
    // whoever wants HTTP/2 says so to each connection for itself
    let of_http = wanted
        .as_bytes()
        .get(..2)
        .is_some_and(|b| b.eq_ignore_ascii_case(b"h2"));
    (has_word(headers, header::CONNECTION, "upgrade") && !of_http).then(|| wanted.clone())
}

/// Takes away what concerns one connection alone.
pub fn drop_own(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .into_iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| name.trim().parse().ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in &OWN {
        headers.remove(name);
    }
    headers.remove(PROXY_CONNECTION);
}

/// The host that a request is for, with its port, as the client wrote it. `None`: it names none, or several.
pub fn authority<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    if let Some(authority) = uri.authority() {
        return Some(authority.as_str());
    }
    let mut hosts = headers.get_all(header::HOST).into_iter();
    let host = hosts.next()?.to_str().ok()?;
    hosts.next().is_none().then_some(host)
}

/// Makes a client's head that of the request to an endpoint.
pub fn forward(
    head: &mut http::request::Parts,
    origin: &Origin,
    http2: bool,
    tls: bool,
) -> Result<(), http::Error> {
    let upgrade = upgrade(&head.headers).filter(|_| !http2);
    let trailers = has_word(&head.headers, header::TE, "trailers");
    let host = match (authority(&head.uri, &head.headers), head.uri.authority()) {
        (Some(host), Some(_)) => Some(HeaderValue::try_from(host)?),
        _ => head.headers.get(header::HOST).cloned(),
    };
    drop_own(&mut head.headers);
    // it was answered here
    head.headers.remove(header::EXPECT);
    if head.version == Version::HTTP_2 && !http2 {
        join_cookies(&mut head.headers)?;
    }
    let headers = &mut head.headers;
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if let Some(upgrade) = upgrade {
        headers.insert(header::UPGRADE, upgrade);
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    let proto = if origin.tls { "https" } else { "http" };
    headers.insert(FORWARDED_FOR, origin.client.clone());
    headers.insert(REAL_IP, origin.client.clone());
    headers.insert(FORWARDED_PORT, origin.port.clone());
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(proto));
    match &host {
        Some(host) => drop(headers.insert(FORWARDED_HOST, host.clone())),
        None => drop(headers.remove(FORWARDED_HOST)),
    }
    let mut uri = http::uri::Parts::default();
    let star = PathAndQuery::from_static(if head.method == Method::OPTIONS {
        "*"
    } else {
        "/"
    });
    uri.path_and_query = Some(head.uri.path_and_query().cloned().unwrap_or(star));
    if http2 {
        headers.remove(header::HOST);
        // a client of HTTP/1.0 may have named none
        let host = host.as_ref().and_then(|host| host.to_str().ok());
        uri.authority = Some(host.unwrap_or("localhost").parse()?);
        uri.scheme = Some(if tls { Scheme::HTTPS } else { Scheme::HTTP });
        head.version = Version::HTTP_2;
    } else {
        if let Some(host) = host {
            headers.insert(header::HOST, host);
        }
        head.version = Version::HTTP_11;
    }
    head.uri = Uri::from_parts(uri)?;
    Ok(())
}

/// HTTP/2 may cut what is one header in HTTP/1.1.
fn join_cookies(headers: &mut HeaderMap) -> Result<(), http::Error> {
    let mut cookies = headers.get_all(header::COOKIE).into_iter();
    if cookies.next().is_none() || cookies.next().is_none() {
        return Ok(());
    }
    let all: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .into_iter()
        .map(HeaderValue::as_bytes)
        .collect();
    let joined = HeaderValue::from_bytes(&all.join(&b"; "[..]))?;
    headers.insert(header::COOKIE, joined);
    Ok(())
}
