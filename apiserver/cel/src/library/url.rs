//! URLs, as Go's `net/url` reads them. Follows upstream's `staging/src/k8s.io/apiserver/pkg/cel/library/urls.go`.

use super::{text, value};
use crate::error::EvalError;
use crate::function::{Function, Library};
use crate::quote::GoQuoted;
use crate::types::Type;
use crate::value::{Key, Map, Opaque, Text, Value};
use std::any::Any;
use std::collections::BTreeMap;

/// The name of its type.
pub const TYPE: &str = "kubernetes.URL";

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Url {
    scheme: String,
    /// What follows the scheme, where that is no path.
    opaque: String,
    user: String,
    host: String,
    /// In escaped form.
    path: String,
    query: String,
    fragment: String,
}

impl Opaque for Url {
    fn type_name(&self) -> &'static str {
        TYPE
    }

    fn equals(&self, other: &dyn Opaque) -> Option<bool> {
        other
            .as_any()
            .downcast_ref::<Url>()
            .map(|other| self == other)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Why a text is no URL. The texts are Go's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parse {text}: {why}", text = GoQuoted(.text))]
pub struct UrlError {
    text: String,
    why: String,
}

/// Whether a URL is one that a request may be for: absolute, or a path.
pub fn is_request_uri(text: &str) -> Result<(), UrlError> {
    parse(text, text, true).map(|_| ())
}

/// A URL with its fragment.
pub fn read(text: &str) -> Result<Url, UrlError> {
    is_request_uri(text)?;
    let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
    let mut url = parse(text, rest, false)?;
    if let Some(why) = bad_escape(fragment) {
        return Err(fault(text, why));
    }
    url.fragment = fragment.to_owned();
    Ok(url)
}

fn fault(text: &str, why: impl Into<String>) -> UrlError {
    UrlError {
        text: text.to_owned(),
        why: why.into(),
    }
}

/// The scheme, and what follows it.
fn scheme(text: &str) -> Result<(&str, &str), &'static str> {
    for (at, b) in text.bytes().enumerate() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at == 0 => return Err("missing protocol scheme"),
            b':' => return Ok((&text[..at], &text[at + 1..])),
            _ => break,
        }
    }
    Ok(("", text))
}

/// An escape that is none: why it is not.
fn bad_escape(text: &str) -> Option<String> {
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        let escape = &rest.as_bytes()[at..];
        let fits = escape.len() >= 3 && escape[1..3].iter().all(u8::is_ascii_hexdigit);
        if !fits {
            let shown: String = rest[at..].chars().take(3).collect();
            return Some(format!(
                "invalid URL escape {shown}",
                shown = GoQuoted(&shown)
            ));
        }
        rest = &rest[at + 3..];
    }
    None
}

fn parse(whole: &str, text: &str, request: bool) -> Result<Url, UrlError> {
    let fault = |why: String| Err(fault(whole, why));
    if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return fault("net/url: invalid control character in URL".into());
    }
    if text.is_empty() && request {
        return fault("empty url".into());
    }
    let mut url = Url::default();
    if text == "*" {
        url.path = "*".into();
        return Ok(url);
    }
    let (found, rest) = match scheme(text) {
        Ok(found) => found,
        Err(why) => return fault(why.into()),
    };
    url.scheme = found.to_ascii_lowercase();
    let (mut rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    url.query = query.to_owned();
    if !rest.starts_with('/') {
        if !url.scheme.is_empty() {
            url.opaque = rest.to_owned();
            return Ok(url);
        }
        if request {
            return fault("invalid URI for request".into());
        }
        if rest
            .split('/')
            .next()
            .is_some_and(|first| first.contains(':'))
        {
            return fault("first path segment in URL cannot contain colon".into());
        }
    }
    let may_have_host = !url.scheme.is_empty() || !request && !rest.starts_with("///");
    if may_have_host && let Some(after) = rest.strip_prefix("//") {
        let end = after.find('/').unwrap_or(after.len());
        let (authority, path) = after.split_at(end);
        rest = path;
        if let Err(why) = set_authority(&mut url, authority) {
            return fault(why);
        }
    }
    if let Some(why) = bad_escape(rest) {
        return fault(why);
    }
    url.path = escaped_path(rest);
    Ok(url)
}

fn set_authority(url: &mut Url, authority: &str) -> Result<(), String> {
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (user, host),
        None => ("", authority),
    };
    let valid = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
    if !user.chars().all(valid) {
        return Err("net/url: invalid userinfo".into());
    }
    if let Some(why) = bad_escape(user) {
        return Err(why);
    }
    let port = if host.starts_with('[') {
        let end = host.rfind(']').ok_or("missing ']' in host")?;
        &host[end + 1..]
    } else {
        host.rfind(':').map_or("", |at| &host[at..])
    };
    let valid_port = match port.strip_prefix(':') {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_digit()),
        None => port.is_empty(),
    };
    if !valid_port {
        return Err(format!(
            "invalid port {port} after host",
            port = GoQuoted(&port)
        ));
    }
    if let Some(why) = bad_escape(host) {
        return Err(why);
    }
    let allowed = |c: char| {
        !c.is_ascii() || c.is_ascii_alphanumeric() || "-_.~!$&'()*+,;=:[]<>\"%".contains(c)
    };
    if let Some(c) = host.chars().find(|c| !allowed(*c)) {
        return Err(format!(
            "invalid character {} in host name",
            GoQuoted(&c.to_string())
        ));
    }
    url.user = user.to_owned();
    url.host = unescape(host, false);
    Ok(())
}

/// `%20` and the like as what they mean; what is no UTF-8 is replaced.
fn unescape(text: &str, plus: bool) -> String {
    let text = if plus {
        text.replace('+', " ")
    } else {
        text.to_owned()
    };
    percent_encoding::percent_decode_str(&text)
        .decode_utf8_lossy()
        .into_owned()
}

/// A path as it was written, if it was escaped well enough; escaped anew else.
fn escaped_path(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.~$&+,/:;=@!'()*[]%".contains(c);
    if path.chars().all(plain) {
        return path.to_owned();
    }
    let keep = |b: u8| b.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&b);
    let decoded: Vec<u8> = percent_encoding::percent_decode_str(path).collect();
    let mut escaped = String::with_capacity(path.len() + 8);
    for b in decoded {
        if keep(b) {
            escaped.push(b as char);
        } else {
            escaped.push_str(&format!("%{b:02X}"));
        }
    }
    escaped
}

impl Url {
    fn port_split(&self) -> (&str, &str) {
        let host = self.host.as_str();
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (name, port),
            _ => (host, ""),
        };
        let inner = name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'));
        (inner.unwrap_or(name), port)
    }

    /// The values of each key of the query, in order.
    fn query_values(&self) -> BTreeMap<String, Vec<String>> {
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for part in self.query.split('&') {
            if part.is_empty() || part.contains(';') {
                continue;
            }
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            if bad_escape(key).is_some() || bad_escape(value).is_some() {
                continue;
            }
            let known = values.entry(unescape(key, true)).or_default();
            known.push(unescape(value, true));
        }
        values
    }
}

fn url<'v>(args: &'v [Value<'_>]) -> Result<&'v Url, EvalError> {
    value(args, 0)?
        .as_opaque()
        .ok_or_else(EvalError::no_such_overload)
}

pub fn library() -> Library {
    let ty = Type::object(TYPE);
    let of = [ty.clone()];
    let queries = Type::map(Type::String, Type::list(Type::String));
    let functions = vec![
        Function::new("url").global("string_to_url", &[Type::String], ty, |args| {
            read(text(args, 0)?).map(Value::opaque).map_err(|error| {
                EvalError::new(format!(
                    "URL parse error during conversion from string: {error}"
                ))
            })
        }),
        Function::new("getScheme").member("url_get_scheme", &of, Type::String, |args| {
            Ok(Value::string(url(args)?.scheme.as_str()))
        }),
        Function::new("getHost").member("url_get_host", &of, Type::String, |args| {
            Ok(Value::string(url(args)?.host.as_str()))
        }),
        Function::new("getHostname").member("url_get_hostname", &of, Type::String, |args| {
            Ok(Value::string(url(args)?.port_split().0))
        }),
        Function::new("getPort").member("url_get_port", &of, Type::String, |args| {
            Ok(Value::string(url(args)?.port_split().1))
        }),
        Function::new("getEscapedPath").member("url_get_escaped_path", &of, Type::String, |args| {
            Ok(Value::string(url(args)?.path.as_str()))
        }),
        Function::new("getQuery").member("url_get_query", &of, queries, |args| {
            let values = url(args)?.query_values().into_iter();
            let entries = values.map(|(key, values)| {
                let values = values.into_iter().map(Value::string).collect();
                (Key::String(Text::Shared(key.into())), Value::list(values))
            });
            Ok(Value::Map(Map::of(entries.collect())))
        }),
        Function::new("isURL").global("is_url_string", &[Type::String], Type::Bool, |args| {
            Ok(Value::Bool(is_request_uri(text(args, 0)?).is_ok()))
        }),
    ];
    Library {
        functions,
        types: Vec::new(),
    }
}
