//! Ports, their names, ids, percentages.
//!
//! Invariant: as its neighbours. Follows upstream's `util/validation/validation.go` and `api/validate/content/decimal_int.go`.

use super::{Messages, empty_error, inclusive_range_error, max_len_error, regex_error};

/// A port: 1 to 65535.
pub fn is_valid_port_num(port: i64) -> Messages {
    is_in_range(port, 1, 65535)
}

/// `low <= value <= high`.
pub fn is_in_range(value: i64, low: i64, high: i64) -> Messages {
    if (low..=high).contains(&value) {
        Messages::new()
    } else {
        vec![inclusive_range_error(low, high)]
    }
}

/// A user id: 0 to 2^31-1.
pub fn is_valid_user_id(id: i64) -> Messages {
    is_in_range(id, 0, i64::from(i32::MAX))
}

/// The name of a port as IANA has them: `http`, at most 15 bytes.
pub fn is_valid_port_name(port: &str) -> Messages {
    let mut messages = Messages::new();
    if port.len() > 15 {
        messages.push(max_len_error(15));
    }
    if port.is_empty()
        || !port
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    {
        messages
            .push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".into());
    }
    if !port.bytes().any(|b| b.is_ascii_lowercase()) {
        messages.push("must contain at least one letter (a-z)".into());
    }
    if port.contains("--") {
        messages.push("must not contain consecutive hyphens".into());
    }
    if port.starts_with('-') || port.ends_with('-') {
        messages.push("must not begin or end with a hyphen".into());
    }
    messages
}

/// `25%`.
pub fn is_valid_percent(percent: &str) -> Messages {
    match percent.strip_suffix('%') {
        Some(n) if !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()) => Messages::new(),
        _ => vec![regex_error(
            "a valid percent string must be a numeric string followed by an ending '%'",
            "[0-9]+%",
            &["1%", "93%"],
        )],
    }
}

/// A whole number as a person writes it: no sign but `-`, no zeros in front.
pub fn is_decimal_integer(value: &str) -> Messages {
    if value.is_empty() {
        return vec![empty_error()];
    }
    let digits = value.strip_prefix('-').unwrap_or(value);
    let plain = value == "0"
        || (digits.starts_with(|c: char| ('1'..='9').contains(&c))
            && digits.bytes().all(|b| b.is_ascii_digit()));
    if plain {
        Messages::new()
    } else {
        vec!["must be a valid decimal integer in canonical form".into()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(
            is_valid_port_num(0),
            ["must be between 1 and 65535, inclusive"]
        );
        assert!(is_valid_port_num(65535).is_empty());
        assert_eq!(
            is_valid_user_id(-1),
            ["must be between 0 and 2147483647, inclusive"]
        );
        assert!(is_valid_percent("100%").is_empty());
        assert_eq!(
            is_valid_percent("%"),
            [
                "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
            ]
        );
        for good in ["0", "1", "-1", "120"] {
            assert!(is_decimal_integer(good).is_empty(), "{good}");
        }
        for bad in ["", "-", "-0", "01", "+1", "1.0"] {
            assert_eq!(is_decimal_integer(bad).len(), 1, "{bad}");
        }
    }

    #[test]
    fn port_names() {
        for (given, wanted) in [
            ("http", vec![]),
            ("a-b-1", vec![]),
            (
                "",
                vec![
                    "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
                    "must contain at least one letter (a-z)",
                ],
            ),
            ("80", vec!["must contain at least one letter (a-z)"]),
            ("a--b", vec!["must not contain consecutive hyphens"]),
            ("-a", vec!["must not begin or end with a hyphen"]),
            (
                "A",
                vec![
                    "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
                    "must contain at least one letter (a-z)",
                ],
            ),
            (
                "abcdefghijklmnop",
                vec!["must be no more than 15 characters"],
            ),
        ] {
            assert_eq!(is_valid_port_name(given), wanted, "{given}");
        }
    }
}
