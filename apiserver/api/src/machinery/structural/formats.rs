//! Formats of strings: `email`, `date-time`, `ipv4` …
//!
//! Invariant: a name that upstream does not know checks nothing; dashes in names do not count.
//! Follows `kube-openapi/pkg/validation/strfmt` and, for what is known when, `apiextensions-apiserver/pkg/apiserver/validation/formats.go`.

mod email;
mod numbers;
mod text;

use std::hash::{Hash, Hasher};

use super::node::Kind;

/// The `format` of a schema.
#[derive(Debug)]
pub struct Format {
    /// As it is written.
    pub text: Box<str>,
    /// It is one that fits the type; others count for nothing when objects are held to the schema.
    pub fits: bool,
    /// Whether a string is of it, when strings have it.
    pub check: Option<fn(&str) -> bool>,
}

impl PartialEq for Format {
    fn eq(&self, other: &Format) -> bool {
        self.text == other.text && self.fits == other.fits
    }
}
impl Eq for Format {}
impl Hash for Format {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl Format {
    pub fn new(text: &str, kind: Kind, int_or_string: bool) -> Format {
        let check = check_of(text);
        Format {
            text: text.into(),
            fits: match kind {
                _ if int_or_string => check.is_some(),
                Kind::Any | Kind::String => check.is_some(),
                Kind::Integer => matches!(text, "int32" | "int64"),
                Kind::Number => matches!(text, "float" | "double"),
                _ => false,
            },
            check,
        }
    }
}

/// Whether a definition is told that its format is not known.
pub fn is_recognized(format: &str, kind: Kind) -> bool {
    format.is_empty() || Format::new(format, kind, false).fits
}

/// What checks strings of a format.
pub fn check_of(format: &str) -> Option<fn(&str) -> bool> {
    let name = format.replace('-', "");
    Some(match name.as_str() {
        "bsonobjectid" => |text| text.len() == 24 && text.bytes().all(|b| b.is_ascii_hexdigit()),
        "uri" => |text| crate::machinery::url::parse::parse_request(text).is_ok(),
        "email" => email::is_email,
        "hostname" => text::is_hostname,
        "ipv4" => text::is_ipv4,
        "ipv6" => text::is_ipv6,
        "cidr" => |text| crate::machinery::names::ip::parse_cidr_sloppy(text).is_some(),
        "mac" => text::is_mac,
        "uuid" => |text| text::is_uuid(text, None),
        "uuid3" => |text| text::is_uuid(text, Some('3')),
        "uuid4" => |text| text::is_uuid(text, Some('4')),
        "uuid5" => |text| text::is_uuid(text, Some('5')),
        "isbn" => |text| numbers::is_isbn10(text) || numbers::is_isbn13(text),
        "isbn10" => numbers::is_isbn10,
        "isbn13" => numbers::is_isbn13,
        "creditcard" => numbers::is_credit_card,
        "ssn" => numbers::is_ssn,
        "hexcolor" => text::is_hex_color,
        "rgbcolor" => text::is_rgb_color,
        "byte" => text::is_base64,
        "password" => |_| true,
        "date" => numbers::is_date,
        "duration" => numbers::is_duration,
        "datetime" => numbers::is_date_time,
        "k8sshortname" => text::is_short_name,
        "k8slongname" => text::is_long_name,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
