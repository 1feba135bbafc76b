//! Keys and values: of labels, ConfigMaps, the environment, paths, headers.
//!
//! Invariant: as its neighbours, a value is scanned once and a good one costs nothing.
//! Follows upstream's `util/validation/validation.go` and `api/validate/content/{kube,identifier,path}.go`.

use super::{
    DNS1123_SUBDOMAIN_MAX_LENGTH, Messages, bounded, empty_error, is_dns1123_subdomain,
    is_dns1123_subdomain_in_bytes, max_bytes_error, max_len_error, regex_error,
};

/// The longest label value, and the longest name part of a key.
pub const LABEL_VALUE_MAX_LENGTH: usize = 63;

const KEY: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const KEY_MESSAGE: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const KEY_EXAMPLES: [&str; 3] = ["MyName", "my.name", "123-abc"];
const VALUE: &str = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?";
const VALUE_MESSAGE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const HTTP_PATH: &str = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+";

fn key_shape(s: &str) -> bool {
    bounded(
        s,
        |b| b.is_ascii_alphanumeric(),
        |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'),
    )
}

/// A qualified name, which is what a label key is: `name` or `example.com/name`.
pub fn is_qualified_name(value: &str) -> Messages {
    let mut messages = Messages::new();
    let mut parts = value.split('/');
    let name = match (parts.next(), parts.next(), parts.next()) {
        (Some(name), None, _) => name,
        (Some(prefix), Some(name), None) => {
            if prefix.is_empty() {
                messages.push(format!("prefix part {}", empty_error()));
            } else {
                messages.extend(
                    is_dns1123_subdomain_in_bytes(prefix)
                        .into_iter()
                        .map(|m| format!("prefix part {m}")),
                );
            }
            name
        }
        _ => {
            let shape = regex_error(KEY_MESSAGE, KEY, &KEY_EXAMPLES);
            return vec![format!(
                "a valid label key {shape} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        messages.push(format!("name part {}", empty_error()));
    } else if name.len() > LABEL_VALUE_MAX_LENGTH {
        messages.push(format!(
            "name part {}",
            max_bytes_error(LABEL_VALUE_MAX_LENGTH)
        ));
    }
    if !key_shape(name) {
        messages.push(format!(
            "name part {}",
            regex_error(KEY_MESSAGE, KEY, &KEY_EXAMPLES)
        ));
    }
    messages
}

/// The value of a label; the empty one is good.
pub fn is_label_value(value: &str) -> Messages {
    let mut messages = Messages::new();
    if value.len() > LABEL_VALUE_MAX_LENGTH {
        messages.push(max_bytes_error(LABEL_VALUE_MAX_LENGTH));
    }
    if !value.is_empty() && !key_shape(value) {
        messages.push(regex_error(
            VALUE_MESSAGE,
            VALUE,
            &["MyValue", "my_value", "12345"],
        ));
    }
    messages
}

/// An identifier of the C language.
pub fn is_c_identifier(value: &str) -> Messages {
    let ok = value
        .bytes()
        .enumerate()
        .all(|(i, b)| b == b'_' || b.is_ascii_alphabetic() || (i > 0 && b.is_ascii_digit()));
    if ok && !value.is_empty() {
        return Messages::new();
    }
    vec![regex_error(
        "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_'",
        "[A-Za-z_][A-Za-z0-9_]*",
        &["my_name", "MY_NAME", "MyName"],
    )]
}

/// A name that can be one segment of a path: not `.` or `..`, without `/` and `%`.
pub fn is_path_segment_name(name: &str) -> Messages {
    if name == "." || name == ".." {
        return vec![format!("may not be '{name}'")];
    }
    is_path_segment_prefix(name)
}

/// The start of such a name (`generateName`).
pub fn is_path_segment_prefix(name: &str) -> Messages {
    ['/', '%']
        .iter()
        .filter(|c| name.contains(**c))
        .map(|c| format!("may not contain '{c}'"))
        .collect()
}

fn climbs(value: &str) -> Option<String> {
    match value {
        "." => Some("must not be '.'".into()),
        ".." => Some("must not be '..'".into()),
        _ => value
            .starts_with("..")
            .then(|| "must not start with '..'".into()),
    }
}

/// The name of an environment variable, in the strict form.
pub fn is_env_var_name(value: &str) -> Messages {
    let mut messages = Messages::new();
    let ok = value.bytes().enumerate().all(|(i, b)| {
        matches!(b, b'-' | b'.' | b'_') || b.is_ascii_alphabetic() || (i > 0 && b.is_ascii_digit())
    });
    if !ok || value.is_empty() {
        messages.push(regex_error(
            "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must not start with a digit",
            "[-._a-zA-Z][-._a-zA-Z0-9]*",
            &["my.env-name", "MY_ENV.NAME", "MyEnvName1"],
        ));
    }
    messages.extend(climbs(value));
    messages
}

/// The name of an environment variable, in the form that pods may use since 1.34: printable ASCII but `=`.
pub fn is_relaxed_env_var_name(value: &str) -> Messages {
    let mut messages = Messages::new();
    if value.is_empty() {
        messages.push(format!("environment variable name {}", empty_error()));
    }
    if !value
        .bytes()
        .all(|b| (b' '..=b'~').contains(&b) && b != b'=')
    {
        messages.push("a valid environment variable name must consist only of printable ASCII characters other than '='".into());
    }
    messages
}

/// A key of a ConfigMap or Secret.
pub fn is_config_map_key(value: &str) -> Messages {
    let mut messages = Messages::new();
    if value.len() > DNS1123_SUBDOMAIN_MAX_LENGTH {
        messages.push(max_len_error(DNS1123_SUBDOMAIN_MAX_LENGTH));
    }
    if value.is_empty()
        || !value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
    {
        messages.push(regex_error(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    messages.extend(climbs(value));
    messages
}

/// The name of a header field.
pub fn is_http_header_name(value: &str) -> Messages {
    if !value.is_empty()
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    {
        return Messages::new();
    }
    vec![regex_error(
        "a valid HTTP header must consist of alphanumeric characters or '-'",
        "[-A-Za-z0-9]+",
        &["X-Header-Name"],
    )]
}

/// `example.com/some/path`. The second of each pair is the part to blame. The empty value is for the caller (it is `Required`).
pub fn is_domain_prefixed_path(value: &str) -> Vec<(String, String)> {
    let Some((host, path)) = value
        .split_once('/')
        .filter(|(h, p)| !h.is_empty() && !p.is_empty())
    else {
        return vec![(
            "must be a domain-prefixed path (such as \"acme.io/foo\")".into(),
            value.into(),
        )];
    };
    let mut found: Vec<_> = is_dns1123_subdomain(host)
        .into_iter()
        .map(|m| (m, host.to_string()))
        .collect();
    if !path
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&b))
    {
        found.push((regex_error("Invalid path", HTTP_PATH, &[]), path.into()));
    }
    found
}

/// `example.com/key`. The empty value is for the caller (it is `Required`).
pub fn is_domain_prefixed_key(value: &str) -> Messages {
    let messages = is_qualified_name(value);
    if messages.is_empty() && !value.contains('/') {
        return vec!["must be a domain-prefixed key (such as \"acme.io/foo\")".into()];
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        let long = "a".repeat(64);
        for (check, good, bad) in [
            (
                is_qualified_name as fn(&str) -> Messages,
                vec!["a", "A_b.c-d", "example.com/a", "1"],
                vec!["", "-a", "a-", "/a", "a/", "a/b/c", "A.b/c", "é", &long],
            ),
            (
                is_label_value,
                vec!["", "a", "A_b.c", "1"],
                vec!["-", "a-", "a b", "a/b", &long],
            ),
            (is_c_identifier, vec!["_", "a1"], vec!["", "1a", "a-"]),
            (
                is_path_segment_name,
                vec!["", "a:b", "..."],
                vec![".", "..", "a/b", "a%"],
            ),
            (
                is_env_var_name,
                vec!["A", "a.b-c_d1"],
                vec!["", "1a", "a=b", "..a", "..", "."],
            ),
            (
                is_relaxed_env_var_name,
                vec!["1 a", "~"],
                vec!["", "a=b", "é", "\u{1}"],
            ),
            (
                is_config_map_key,
                vec!["a.b", "A_1-"],
                vec!["", ".", "..", "..a", "a/b", "a b"],
            ),
            (is_http_header_name, vec!["X-A"], vec!["", "X_A", "X:"]),
            (is_domain_prefixed_key, vec!["a.io/b"], vec!["b", "a/b/c"]),
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
        let name = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
        assert_eq!(is_qualified_name(""), ["name part must be non-empty", name]);
        assert_eq!(is_qualified_name("a b"), [name]);
        assert_eq!(
            is_qualified_name(&"a".repeat(64)),
            ["name part must be no more than 63 bytes"]
        );
        assert!(is_qualified_name("a/b/c")[0].ends_with(
            " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        ));
        assert_eq!(
            is_path_segment_name("a/%"),
            ["may not contain '/'", "may not contain '%'"]
        );
        assert_eq!(
            is_domain_prefixed_path("a.io/b?"),
            [(
                r"Invalid path (regex used for validation is '[A-Za-z0-9/\-._~%!$&'()*+,;=:]+')"
                    .into(),
                "b?".into()
            )]
        );
        assert!(is_domain_prefixed_path("a.io/b/c").is_empty());
    }
}
