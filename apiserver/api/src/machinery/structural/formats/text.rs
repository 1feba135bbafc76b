//! Formats of names, addresses and encodings.
//!
//! Follows `strfmt/{default,kubernetes-extensions}.go` and `internal/third_party/govalidator`.

use std::{net::IpAddr, sync::LazyLock};

use regex::Regex;

use crate::machinery::names;

/// A letter, a digit or a symbol.
fn is_named(c: char) -> bool {
    static OTHERS: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^[\p{S}\p{L}]$").expect("an expression"));
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || "$+<=>^`|~".contains(c);
    }
    OTHERS.is_match(c.encode_utf8(&mut [0; 4]))
}

/// A name of one part, or one whose last part is a top-level domain.
pub fn is_hostname(text: &str) -> bool {
    let of_names = |text: &str| text.chars().all(is_named);
    let single = || {
        let mut rest = text.chars();
        let first = rest.next().is_some_and(is_named);
        let rest = rest.as_str();
        let rest = rest.strip_prefix('-').unwrap_or(rest);
        first && of_names(rest) && rest.chars().count() <= 62
    };
    let dotted = || {
        let (labels, top) = text.rsplit_once('.')?;
        let label = |label: &str| {
            label.chars().all(|c| c == '-' || is_named(c))
                && label.chars().next().is_some_and(is_named)
                && label.chars().next_back().is_some_and(is_named)
                && label.chars().count() <= 63
        };
        let is_top = |c: char| is_named(c) && (c.is_ascii_alphabetic() || c.is_alphabetic());
        Some(
            labels.split('.').all(label)
                && top.chars().all(is_top)
                && (2..=63).contains(&top.chars().count()),
        )
    };
    text.len() <= 255
        && text.split('.').all(|part| part.len() <= 63)
        && (single() || dotted().unwrap_or(false))
}

/// Zeros in front are tolerated.
pub fn is_ipv4(text: &str) -> bool {
    text.contains('.') && names::ip::parse_ip_sloppy(text).is_some()
}

pub fn is_ipv6(text: &str) -> bool {
    text.contains(':') && text.parse::<IpAddr>().is_ok()
}

/// 6, 8 or 20 bytes: in pairs of digits after `:` or `-`, or in fours after `.`.
pub fn is_mac(text: &str) -> bool {
    let bytes = text.as_bytes();
    let groups = |separator: u8, digits: usize| {
        let mut groups = bytes.split(|b| *b == separator);
        let count = groups.clone().count() * digits / 2;
        matches!(count, 6 | 8 | 20)
            && groups.all(|group| group.len() == digits && group.iter().all(u8::is_ascii_hexdigit))
    };
    match (bytes.get(2), bytes.get(4)) {
        (Some(separator @ (b':' | b'-')), _) => groups(*separator, 2),
        (_, Some(b'.')) => groups(b'.', 4),
        _ => false,
    }
}

/// Of any version, or of one; dashes may be left out.
pub fn is_uuid(text: &str, version: Option<char>) -> bool {
    let mut rest = text;
    for (at, length) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if at > 0 {
            rest = rest.strip_prefix('-').unwrap_or(rest);
        }
        let Some(group) = rest.get(..length) else {
            return false;
        };
        let first = group.chars().next();
        let fits = match (at, version) {
            (2, Some(version)) => first == Some(version),
            (3, Some('4' | '5')) => first.is_some_and(|c| "89abAB".contains(c)),
            _ => true,
        };
        if !fits || !group.bytes().all(|b| b.is_ascii_hexdigit()) {
            return false;
        }
        rest = &rest[length..];
    }
    rest.is_empty()
}

/// `#fff`, `ffffff`.
pub fn is_hex_color(text: &str) -> bool {
    let digits = text.strip_prefix('#').unwrap_or(text);
    matches!(digits.len(), 3 | 6) && digits.bytes().all(|b| b.is_ascii_hexdigit())
}

/// `rgb(255, 0, 17)`.
pub fn is_rgb_color(text: &str) -> bool {
    let part = |part: &str| {
        let part = part.trim_matches(['\t', '\n', '\x0c', '\r', ' ']);
        let plain =
            part.bytes().all(|b| b.is_ascii_digit()) && (part == "0" || !part.starts_with('0'));
        plain && part.parse::<u8>().is_ok()
    };
    let parts = text
        .strip_prefix("rgb(")
        .and_then(|rest| rest.strip_suffix(')'));
    parts.is_some_and(|parts| parts.split(',').count() == 3 && parts.split(',').all(part))
}

/// Of the usual alphabet, padded, not empty.
pub fn is_base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !text.is_empty()
        && text.len().is_multiple_of(4)
        && text.len() - body.len() <= 2
        && body
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+/".contains(&b))
}

fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    text.bytes().all(inner) && !text.is_empty() && !text.starts_with('-') && !text.ends_with('-')
}

/// A label in DNS.
pub fn is_short_name(text: &str) -> bool {
    text.len() <= 63 && is_label(text)
}

/// A name in DNS, whose labels may be of any length.
pub fn is_long_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}
