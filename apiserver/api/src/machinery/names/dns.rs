//! Names that DNS knows: labels, subdomains, wildcards, and object names made of them.
//!
//! Invariant: a value is scanned once, byte by byte; length is counted in bytes.
//! Follows upstream's `util/validation/validation.go` and `api/validation/generic.go`.

use super::{Messages, bounded, max_bytes_error, max_len_error, regex_error};

/// The longest label (RFC 1123 and 1035).
pub const DNS1123_LABEL_MAX_LENGTH: usize = 63;
/// The longest subdomain.
pub const DNS1123_SUBDOMAIN_MAX_LENGTH: usize = 253;

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const LABEL_MESSAGE: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
const SUBDOMAIN: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const SUBDOMAIN_MESSAGE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
const SUBDOMAIN_CASELESS_MESSAGE: &str = "an RFC 1123 subdomain must consist of alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
const UNDERSCORE_SUBDOMAIN: &str =
    r"_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*";
const UNDERSCORE_SUBDOMAIN_MESSAGE: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character";
const DNS1035_LABEL: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const DNS1035_LABEL_MESSAGE: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character";
const WILDCARD: &str = r"\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const WILDCARD_MESSAGE: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character";

fn lower(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

fn label_shape(s: &str) -> bool {
    bounded(s, lower, |b| lower(b) || b == b'-')
}

fn subdomain_shape(s: &str) -> bool {
    s.split('.').all(label_shape)
}

fn underscore_shape(s: &str) -> bool {
    s.split('.').all(|l| {
        bounded(l.strip_prefix('_').unwrap_or(l), lower, |b| {
            lower(b) || b == b'-' || b == b'_'
        })
    })
}

/// A label of RFC 1123: `my-name`.
pub fn is_dns1123_label(value: &str) -> Messages {
    dns1123_label(value, max_len_error)
}

fn dns1123_label(value: &str, too_long: fn(usize) -> String) -> Messages {
    let mut messages = Messages::new();
    if value.len() > DNS1123_LABEL_MAX_LENGTH {
        messages.push(too_long(DNS1123_LABEL_MAX_LENGTH));
    }
    if !label_shape(value) {
        messages.push(if subdomain_shape(value) {
            "must not contain dots".into()
        } else {
            regex_error(LABEL_MESSAGE, LABEL, &["my-name", "123-abc"])
        });
    }
    messages
}

fn subdomain(
    value: &str,
    shape: fn(&str) -> bool,
    too_long: fn(usize) -> String,
    message: &str,
    expression: &str,
    example: &str,
) -> Messages {
    let mut messages = Messages::new();
    if value.len() > DNS1123_SUBDOMAIN_MAX_LENGTH {
        messages.push(too_long(DNS1123_SUBDOMAIN_MAX_LENGTH));
    }
    if !shape(value) {
        messages.push(regex_error(message, expression, &[example]));
    }
    messages
}

/// Labels of RFC 1123 with dots between: `example.com`.
pub fn is_dns1123_subdomain(value: &str) -> Messages {
    subdomain(
        value,
        subdomain_shape,
        max_len_error,
        SUBDOMAIN_MESSAGE,
        SUBDOMAIN,
        "example.com",
    )
}

/// As [`is_dns1123_subdomain`], with underscores (names that EndpointSlices and search paths may bear).
pub fn is_dns1123_subdomain_with_underscore(value: &str) -> Messages {
    subdomain(
        value,
        underscore_shape,
        max_len_error,
        UNDERSCORE_SUBDOMAIN_MESSAGE,
        UNDERSCORE_SUBDOMAIN,
        "example.com",
    )
}

/// As [`is_dns1123_label`] where the newer, declarative checks speak: they count bytes in words, too.
pub fn is_dns1123_label_in_bytes(value: &str) -> Messages {
    dns1123_label(value, max_bytes_error)
}

/// As [`is_dns1123_subdomain`] where the newer, declarative checks speak.
pub fn is_dns1123_subdomain_in_bytes(value: &str) -> Messages {
    subdomain(
        value,
        subdomain_shape,
        max_bytes_error,
        SUBDOMAIN_MESSAGE,
        SUBDOMAIN,
        "example.com",
    )
}

/// A subdomain in which upper case is allowed, too (driver names).
pub fn is_dns1123_subdomain_caseless(value: &str) -> Messages {
    subdomain(
        value,
        |s| subdomain_shape(&s.to_ascii_lowercase()),
        max_bytes_error,
        SUBDOMAIN_CASELESS_MESSAGE,
        SUBDOMAIN,
        "Example.com",
    )
}

/// A label of RFC 1035, which starts with a letter: names of services.
pub fn is_dns1035_label(value: &str) -> Messages {
    let mut messages = Messages::new();
    if value.len() > DNS1123_LABEL_MAX_LENGTH {
        messages.push(max_len_error(DNS1123_LABEL_MAX_LENGTH));
    }
    if !label_shape(value) || !value.starts_with(|c: char| c.is_ascii_lowercase()) {
        messages.push(regex_error(
            DNS1035_LABEL_MESSAGE,
            DNS1035_LABEL,
            &["my-name", "abc-123"],
        ));
    }
    messages
}

/// `*.` and a subdomain: hosts of an Ingress.
pub fn is_wildcard_dns1123_subdomain(value: &str) -> Messages {
    subdomain(
        value,
        |s| s.strip_prefix("*.").is_some_and(subdomain_shape),
        max_len_error,
        WILDCARD_MESSAGE,
        WILDCARD,
        "*.example.com",
    )
}

/// A domain of three or more labels. The empty value is for the caller (it is `Required`).
pub fn is_fully_qualified_name(value: &str) -> Messages {
    let messages = is_dns1123_subdomain(value);
    if !messages.is_empty() {
        return vec![messages.join(",")];
    }
    if value.split('.').count() < 3 {
        return vec!["should be a domain with at least three segments separated by dots".into()];
    }
    messages
}

/// A domain of two or more labels, a dot at its end allowed. The second of each pair is the value to blame: the name, or one label of it. That there
/// must be one at all is told elsewhere.
pub fn is_fully_qualified_domain_name(value: &str) -> Vec<(String, String)> {
    if value.is_empty() {
        return Vec::new();
    }
    let name = value.strip_suffix('.').unwrap_or(value);
    let messages = is_dns1123_subdomain(name);
    if !messages.is_empty() {
        return vec![(messages.join(","), name.into())];
    }
    if name.split('.').count() < 2 {
        return vec![(
            "should be a domain with at least two segments separated by dots".into(),
            name.into(),
        )];
    }
    let bad = name.split('.').find_map(|label| {
        Some(is_dns1123_label(label))
            .filter(|m| !m.is_empty())
            .map(|m| (m.join(","), label.into()))
    });
    bad.into_iter().collect()
}

/// What a `generateName` is checked as: the dash at its end stands for what will follow.
pub fn mask_trailing_dash(name: &str) -> std::borrow::Cow<'_, str> {
    match name.strip_suffix('-') {
        Some(rest) if !rest.is_empty() => format!("{rest}a").into(),
        _ => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_subdomains() {
        let long = "a".repeat(64);
        for (check, good, bad) in [
            (
                is_dns1123_label as fn(&str) -> Messages,
                vec!["a", "0", "a-b", "0-9", &long[..63]],
                vec!["", "-a", "a-", "A", "a_b", "a.b", "é", &long],
            ),
            (
                is_dns1123_subdomain,
                vec!["a", "a.b", "a-b.c-d", "0.1"],
                vec!["", ".", "a.", ".a", "a..b", "a.-b", "A.b", "a_b"],
            ),
            (
                is_dns1035_label,
                vec!["a", "a-1"],
                vec!["", "1a", "-a", "a-", "A"],
            ),
            (
                is_wildcard_dns1123_subdomain,
                vec!["*.a", "*.a.b"],
                vec!["*", "*.", "a.b", "*.*.a", "*a.b"],
            ),
            (
                is_dns1123_subdomain_with_underscore,
                vec!["_a.b", "a_b"],
                vec!["_", "__a", "a_", ""],
            ),
            (is_dns1123_subdomain_caseless, vec!["A.b"], vec!["a_b", ""]),
            (is_fully_qualified_name, vec!["a.b.c"], vec!["a.b", "a.B.c"]),
        ] {
            for g in good {
                assert!(check(g).is_empty(), "{g}: {:?}", check(g));
            }
            for b in bad {
                assert!(!check(b).is_empty(), "{b}");
            }
        }
    }

    #[test]
    fn texts() {
        assert_eq!(
            is_dns1123_subdomain("A"),
            [
                r"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            ]
        );
        assert_eq!(
            is_dns1123_label("A"),
            [
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            ]
        );
        assert_eq!(is_dns1123_label("a.b"), ["must not contain dots"]);
        assert_eq!(
            is_dns1123_label(&"a".repeat(64)),
            ["must be no more than 63 characters"]
        );
        assert_eq!(
            is_dns1123_label_in_bytes(&"a".repeat(64)),
            ["must be no more than 63 bytes"]
        );
        assert_eq!(
            is_fully_qualified_domain_name("a"),
            [(
                "should be a domain with at least two segments separated by dots".into(),
                "a".into()
            )]
        );
        assert!(is_fully_qualified_domain_name("a.b.").is_empty());
        assert_eq!(mask_trailing_dash("web-"), "weba");
        assert_eq!(mask_trailing_dash("-"), "-");
    }
}
