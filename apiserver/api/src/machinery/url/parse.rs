//! URLs as Go reads them, so that what is wrong with one is said in its words.
//!
//! Invariant: what `net/url.Parse` refuses is refused. Follows `net/url` of Go 1.26.

use crate::machinery::problem::{Problem, problem};
use crate::machinery::quote::go_quote;
use std::net::Ipv6Addr;

use percent_encoding::{AsciiSet, utf8_percent_encode};

use crate::machinery::url::UNRESERVED;

/// The parts of a URL that are asked for; empty where they are absent.
#[derive(Debug, Default, PartialEq)]
pub struct Url {
    /// In small letters.
    pub scheme: String,
    /// With its port.
    pub host: String,
    /// Name and password, encoded.
    pub user: Option<String>,
    /// Decoded.
    pub fragment: String,
    pub query: String,
}

/// Where in a URL a text stands: what may stand there as it is.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Host,
    Zone,
    /// Users, paths and fragments.
    Other,
}

/// Reads a URL; the error is what Go says.
pub fn parse(text: &str) -> Result<Url, Problem> {
    let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
    let said = |of: &str, why: Problem| problem!("parse {}: {why}", go_quote(of));
    let mut url = without_fragment(rest).map_err(|why| said(rest, why))?;
    url.fragment = unescape(fragment, Part::Other).map_err(|why| said(text, why))?;
    Ok(url)
}

/// Reads what stands in a request: an absolute URL or an absolute path, without a fragment.
pub fn parse_request(text: &str) -> Result<Url, Problem> {
    let said = |why: Problem| problem!("parse {}: {why}", go_quote(text));
    if text.is_empty() {
        return Err(said("empty url".into()));
    }
    let (scheme, rest) = scheme(text).map_err(said)?;
    if text != "*" && scheme.is_empty() && !rest.starts_with('/') {
        // what is wrong with its signs is told first
        let fits = without_fragment(text).err();
        let control = fits.filter(|why| why.starts_with("net/url: invalid control"));
        return Err(said(control.unwrap_or("invalid URI for request".into())));
    }
    if scheme.is_empty() && rest.starts_with("//") {
        // two slashes begin no host where there is no scheme
        let path = rest.split('?').next().unwrap_or(rest);
        unescape(path, Part::Other).map_err(said)?;
        return Ok(Url::default());
    }
    without_fragment(text).map_err(said)
}

fn without_fragment(text: &str) -> Result<Url, Problem> {
    if text.bytes().any(|b| b.is_ascii_control()) {
        return Err("net/url: invalid control character in URL".into());
    }
    let (scheme, rest) = scheme(text)?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut url = Url {
        scheme: scheme.to_ascii_lowercase(),
        query: query.into(),
        ..Url::default()
    };
    if text == "*" || (!rest.starts_with('/') && !scheme.is_empty()) {
        return Ok(url);
    }
    if !rest.starts_with('/')
        && rest
            .split('/')
            .next()
            .is_some_and(|segment| segment.contains(':'))
    {
        return Err("first path segment in URL cannot contain colon".into());
    }
    let has_authority = rest.starts_with("//") && !(scheme.is_empty() && rest.starts_with("///"));
    let path = if has_authority {
        let authority = &rest[2..];
        let (authority, path) = authority.split_at(authority.find('/').unwrap_or(authority.len()));
        (url.user, url.host) = user_and_host(authority)?;
        path
    } else {
        rest
    };
    unescape(path, Part::Other)?;
    Ok(url)
}

fn scheme(text: &str) -> Result<(&str, &str), Problem> {
    let is_part = |(at, b): (usize, u8)| {
        b.is_ascii_alphabetic() || (at > 0 && (b.is_ascii_digit() || b"+-.".contains(&b)))
    };
    match text.bytes().enumerate().find(|found| !is_part(*found)) {
        Some((0, b':')) => Err("missing protocol scheme".into()),
        Some((at, b':')) => Ok((&text[..at], &text[at + 1..])),
        _ => Ok(("", text)),
    }
}

fn user_and_host(authority: &str) -> Result<(Option<String>, String), Problem> {
    let Some((user, host)) = authority.rsplit_once('@') else {
        return Ok((None, host(authority)?));
    };
    let host = self::host(host)?;
    if !user
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&b))
    {
        return Err("net/url: invalid userinfo".into());
    }
    let (name, password) = user
        .split_once(':')
        .map_or((user, None), |(name, password)| (name, Some(password)));
    let name = escape(&unescape(name, Part::Other)?);
    let shown = match password {
        Some(password) => format!("{name}:{}", escape(&unescape(password, Part::Other)?)),
        None => name,
    };
    Ok((Some(shown), host))
}

fn host(host: &str) -> Result<String, Problem> {
    match (host.rfind('['), host.find(':')) {
        (Some(0), _) => literal(host),
        (Some(_), _) => Err("invalid IP-literal".into()),
        (None, Some(at)) => {
            port(&host[at..])?;
            unescape(host, Part::Host)
        }
        (None, None) => unescape(host, Part::Host),
    }
}

/// `[ADDRESS]` with or without a port.
fn literal(host: &str) -> Result<String, Problem> {
    let end = host.rfind(']').ok_or("missing ']' in host")?;
    port(&host[end + 1..])?;
    let inner = &host[1..end];
    let (address, zone) = inner.split_at(inner.find("%25").unwrap_or(inner.len()));
    let (address, zone) = (unescape(address, Part::Host)?, unescape(zone, Part::Zone)?);
    if address.parse::<std::net::Ipv4Addr>().is_ok() && zone.is_empty() {
        return Err("invalid IP-literal".into());
    }
    if address.parse::<Ipv6Addr>().is_err() || zone == "%" {
        return Err(problem!(
            "invalid host: ParseAddr({}): unable to parse IP",
            go_quote(&format!("{address}{zone}"))
        ));
    }
    Ok(format!("[{address}{zone}]{}", &host[end + 1..]))
}

fn port(text: &str) -> Result<(), Problem> {
    let good = text.is_empty()
        || text
            .strip_prefix(':')
            .is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    if good {
        Ok(())
    } else {
        Err(problem!("invalid port {} after host", go_quote(text)))
    }
}

/// A path's text, as it is meant.
///
/// # Errors
/// What Go says of an escape that is none.
pub fn unescape_path(path: &str) -> Result<String, Problem> {
    unescape(path, Part::Other)
}

fn unescape(text: &str, part: Part) -> Result<String, Problem> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        if byte != b'%' {
            if part != Part::Other && byte.is_ascii() && !may_stand_in_host(byte) {
                return Err(problem!(
                    "invalid character {} in host name",
                    go_quote(&text[at..=at])
                ));
            }
            out.push(byte);
            at += 1;
            continue;
        }
        let digit = |at: usize| bytes.get(at).and_then(|b| (*b as char).to_digit(16));
        let whole = &bytes[at..bytes.len().min(at + 3)];
        let wrong = || {
            Err(problem!(
                "invalid URL escape {}",
                go_quote(&String::from_utf8_lossy(whole))
            ))
        };
        let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2)) else {
            return wrong();
        };
        let value = (high * 16 + low) as u8;
        let allowed = match part {
            Part::Host => value >= 0x80 || whole == b"%25",
            Part::Zone => {
                whole == b"%25" || value == b' ' || !value.is_ascii() || may_stand_in_host(value)
            }
            Part::Other => true,
        };
        if !allowed {
            return wrong();
        }
        out.push(value);
        at += 3;
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

fn may_stand_in_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:[]<>\"".contains(&byte)
}

/// Names and passwords, as Go writes them.
fn escape(text: &str) -> String {
    const KEPT: &AsciiSet = &UNRESERVED
        .remove(b'$')
        .remove(b'&')
        .remove(b'+')
        .remove(b',')
        .remove(b';')
        .remove(b'=');
    utf8_percent_encode(text, KEPT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_a_url() {
        let url = parse("HTTPS://me:a!b@host:1/path?q=1#a%20b").unwrap();
        assert_eq!(
            url,
            Url {
                scheme: "https".into(),
                host: "host:1".into(),
                user: Some("me:a%21b".into()),
                fragment: "a b".into(),
                query: "q=1".into()
            }
        );
        for (text, host) in [
            ("https://h/", "h"),
            ("https://[::1]:80", "[::1]:80"),
            ("https://[fe80::1%25en0]", "[fe80::1%en0]"),
            ("https:h", ""),
            ("h", ""),
        ] {
            assert_eq!(parse(text).unwrap().host, host, "{text}");
        }
    }

    #[test]
    fn what_is_none() {
        for (text, why) in [
            (
                "a\nb",
                "parse \"a\\nb\": net/url: invalid control character in URL",
            ),
            (":x", "parse \":x\": missing protocol scheme"),
            (
                "1:x",
                "parse \"1:x\": first path segment in URL cannot contain colon",
            ),
            (
                "https://h:x",
                "parse \"https://h:x\": invalid port \":x\" after host",
            ),
            (
                "https://h:1:2",
                "parse \"https://h:1:2\": invalid port \":1:2\" after host",
            ),
            (
                "https://a b",
                "parse \"https://a b\": invalid character \" \" in host name",
            ),
            (
                "https://h/%zz",
                "parse \"https://h/%zz\": invalid URL escape \"%zz\"",
            ),
            (
                "https://h/%2",
                "parse \"https://h/%2\": invalid URL escape \"%2\"",
            ),
            (
                "https://%41",
                "parse \"https://%41\": invalid URL escape \"%41\"",
            ),
            (
                "https://[::1",
                "parse \"https://[::1\": missing ']' in host",
            ),
            (
                "https://a[::1]",
                "parse \"https://a[::1]\": invalid IP-literal",
            ),
            (
                "https://[1.2.3.4]",
                "parse \"https://[1.2.3.4]\": invalid IP-literal",
            ),
            (
                "https://a^@h",
                "parse \"https://a^@h\": net/url: invalid userinfo",
            ),
            (
                "https://h#%",
                "parse \"https://h#%\": invalid URL escape \"%\"",
            ),
        ] {
            assert_eq!(parse(text), Err(why.into()), "{text}");
        }
    }
}
