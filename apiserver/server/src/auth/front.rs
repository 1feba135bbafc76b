//! Who asks, as a proxy in front of an API server says it: `X-Remote-*` headers, read from such a proxy and said to the servers behind this one.
//!
//! Invariant: what is said here counts for nothing without the certificate of a front proxy (`authenticate/request_header.rs`).
//! Follows `staging/src/k8s.io/apiserver/pkg/authentication/request/headerrequest/requestheader.go` and
//! `staging/src/k8s.io/client-go/transport/round_trippers.go` (SetAuthProxyHeaders).

use http::{HeaderMap, HeaderName, HeaderValue};

use super::User;
use skiff_api::machinery::quote::GoQuoted;

pub const USER: HeaderName = HeaderName::from_static("x-remote-user");
pub const UID: HeaderName = HeaderName::from_static("x-remote-uid");
pub const GROUP: HeaderName = HeaderName::from_static("x-remote-group");
pub const EXTRA: &str = "x-remote-extra-";

/// The names of the headers as they are told to others: of the name, the uid, the groups, and how those of further facts begin.
pub const NAMES: [&str; 4] = [
    "X-Remote-User",
    "X-Remote-Uid",
    "X-Remote-Group",
    "X-Remote-Extra-",
];

/// A header by which a proxy says whom it speaks for.
pub fn is_header(name: &HeaderName) -> bool {
    [USER, UID, GROUP].contains(name) || name.as_str().starts_with(EXTRA)
}

/// The user whom headers name; `None`: they name nobody.
pub fn named(headers: &HeaderMap) -> Option<User> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let name = headers
        .get(USER)
        .map(text)
        .filter(|name| !name.is_empty())?;
    let mut user = User {
        name,
        uid: headers.get(UID).map(text).unwrap_or_default(),
        groups: headers.get_all(GROUP).into_iter().map(text).collect(),
        ..User::default()
    };
    for (name, value) in headers {
        if let Some(key) = name.as_str().strip_prefix(EXTRA) {
            user.extra
                .entry(unescape(key))
                .or_default()
                .push(text(value));
        }
    }
    Some(user)
}

/// What no header can hold of a user.
#[derive(thiserror::Error, Debug)]
#[error("net/http: invalid header field value for {}", GoQuoted(.0))]
pub struct Unsayable(String);

/// The headers that name a user.
pub fn said(user: &User) -> Result<HeaderMap, Unsayable> {
    let value = |of: &HeaderName, text: &str| {
        HeaderValue::from_bytes(text.as_bytes()).map_err(|_| Unsayable(of.to_string()))
    };
    let mut headers = HeaderMap::new();
    headers.insert(USER, value(&USER, &user.name)?);
    if !user.uid.is_empty() {
        headers.insert(UID, value(&UID, &user.uid)?);
    }
    for group in &user.groups {
        headers.append(GROUP, value(&GROUP, group)?);
    }
    for (key, values) in &user.extra {
        let name = format!("{EXTRA}{}", escape(key));
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Unsayable(name))?;
        for text in values {
            headers.append(&name, value(&name, text)?);
        }
    }
    Ok(headers)
}

/// `%XX` for what may not stand in the name of a header.
fn escape(key: &str) -> String {
    const KEPT: &[u8] = b"!#$&'*+-.^_`|~";
    let mut out = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte.is_ascii_alphanumeric() || KEPT.contains(&byte) {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Decodes `%xx`; what cannot be decoded stays as it is.
pub fn unescape(key: &str) -> String {
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = tail
            .get(..2)
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else {
            return key.to_owned();
        };
        bytes.push(byte);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).unwrap_or_else(|_| key.to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_is_said_is_read() {
        let user = User {
            name: "anna".into(),
            uid: "7".into(),
            groups: vec!["dev".into(), "ops".into()],
            extra: BTreeMap::from([("example.com/a%b".into(), vec!["x".into(), "y".into()])]),
        };
        let headers = said(&user).unwrap();
        assert_eq!(headers["x-remote-extra-example.com%2fa%25b"], "x");
        assert_eq!(named(&headers), Some(user));
        assert_eq!(named(&HeaderMap::new()), None);
        assert!(said(&User::new("a\nb", &[])).is_err());
    }
}
