//! Names of pools, requests, attributes and shares.
//!
//! Follows `pkg/apis/resource/validation/validation.go`.

use crate::kinds::prelude::*;
use crate::kinds::validation::pod::volume_remote::csi_driver_name;
use crate::machinery::problem::{Problem, problem};

/// The longest name of an attribute or capacity, domain and all.
pub const LONGEST_QUALIFIED: usize = 63 + 1 + LONGEST_ID;
const LONGEST_ID: usize = 32;
const LONGEST_POOL: usize = 253;

/// Of pools: subdomains, with slashes between them.
pub fn pool(name: &str, path: &Path, errors: &mut Errors) {
    if name.is_empty() {
        return errors.required(path, "");
    }
    if name.len() > LONGEST_POOL {
        errors.too_long(path, LONGEST_POOL as i64);
    }
    for part in name.split('/') {
        checks::subdomain(part, path, errors);
    }
}

/// Of attributes and capacities: an identifier, perhaps with a domain before it.
pub fn qualified(name: &str, path: &Path, errors: &mut Errors) {
    let parts: Vec<&str> = name.split('/').collect();
    match parts[..] {
        [id] => identifier(id, path, errors),
        [domain, id] => {
            if domain.is_empty() {
                errors.invalid(path, "", "the domain must not be empty");
            } else {
                csi_driver_name(domain, path, errors);
            }
            if id.is_empty() {
                errors.invalid(path, "", "the name must not be empty");
            } else {
                identifier(id, path, errors);
            }
        }
        // upstream looks at no name of more parts
        _ => {}
    }
}

/// The same, with a domain.
pub fn fully_qualified(name: &str, path: &Path, errors: &mut Errors) {
    qualified(name, path, errors);
    if !name.contains('/') {
        errors.invalid(
            path,
            name,
            "a fully qualified name must be a domain and a name separated by a slash",
        );
    }
}

fn identifier(id: &str, path: &Path, errors: &mut Errors) {
    if id.len() > LONGEST_ID {
        errors.too_long(path, LONGEST_ID as i64);
    }
    errors.invalid_all(path, id, names::is_c_identifier(id));
}

/// The identity of a share of a device.
pub fn uid(uid: &str, path: &Path, errors: &mut Errors) {
    match uuid(uid) {
        Err(why) => errors.invalid(path, uid, format!("error validating uid: {why}")),
        Ok(()) if uid.len() != 36 || uid != uid.to_lowercase() => {
            let form = "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal characters";
            errors.invalid(path, uid, form);
        }
        Ok(()) => {}
    }
}

/// The forms that `uuid.Validate` of github.com/google/uuid knows.
fn uuid(text: &str) -> Result<(), Problem> {
    const DASHES: [usize; 4] = [8, 13, 18, 23];
    let bytes = text.as_bytes();
    let plain = match bytes.len() {
        36 => bytes,
        45 if bytes[..9].eq_ignore_ascii_case(b"urn:uuid:") => &bytes[9..],
        45 => {
            return Err(problem!(
                "invalid urn prefix: {}",
                crate::machinery::quote::go_quote(&String::from_utf8_lossy(&bytes[..9]))
            ));
        }
        38 if bytes[0] == b'{' && bytes[37] == b'}' => &bytes[1..37],
        38 => return Err("invalid bracketed UUID format".into()),
        32 => bytes,
        length => return Err(problem!("invalid UUID length: {length}")),
    };
    let is_dash = |at: usize| plain.len() == 36 && DASHES.contains(&at);
    let good = plain.iter().enumerate().all(|(at, byte)| {
        if is_dash(at) {
            *byte == b'-'
        } else {
            byte.is_ascii_hexdigit()
        }
    });
    if good {
        Ok(())
    } else {
        Err("invalid UUID format".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(check: fn(&str, &Path, &mut Errors), name: &str) -> String {
        Errors::of(|errors| check(name, &Path::new("n"), errors)).message()
    }

    #[test]
    fn names_of_attributes() {
        for (name, wanted) in [
            ("model", "[]"),
            ("gpu.example.com/model", "[]"),
            (
                "/model",
                "n: Invalid value: \"\": the domain must not be empty",
            ),
            ("a/", "n: Invalid value: \"\": the name must not be empty"),
            ("a/b/c", "[]"),
        ] {
            assert_eq!(said(qualified, name), wanted, "{name}");
        }
        assert!(
            said(qualified, &"x".repeat(33))
                .starts_with("n: Too long: may not be more than 32 bytes")
        );
        assert!(
            said(fully_qualified, "model")
                .contains("must be a domain and a name separated by a slash")
        );
    }

    #[test]
    fn identities_of_shares() {
        let plain = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
        for (uid, wanted) in [
            (plain.to_string(), ""),
            (
                plain.to_uppercase(),
                "uid must be in RFC 4122 normalized form",
            ),
            (
                format!("urn:uuid:{plain}"),
                "uid must be in RFC 4122 normalized form",
            ),
            (
                format!("{{{plain}}}"),
                "uid must be in RFC 4122 normalized form",
            ),
            (
                plain.replace('-', ""),
                "uid must be in RFC 4122 normalized form",
            ),
            (
                format!("urn:uid::{plain}"),
                "error validating uid: invalid urn prefix: \"urn:uid::\"",
            ),
            (
                format!("({plain})"),
                "error validating uid: invalid bracketed UUID format",
            ),
            (
                plain.replace('-', "_"),
                "error validating uid: invalid UUID format",
            ),
            ("x".into(), "error validating uid: invalid UUID length: 1"),
        ] {
            assert!(said(super::uid, &uid).contains(wanted), "{uid}");
        }
    }

    #[test]
    fn names_of_pools() {
        assert_eq!(said(pool, "a.b/c"), "[]");
        assert_eq!(said(pool, ""), "n: Required value");
        assert!(
            said(pool, "a//b")
                .starts_with("n: Invalid value: \"\": a lowercase RFC 1123 subdomain")
        );
        assert!(
            said(pool, &"x".repeat(254)).contains("n: Too long: may not be more than 253 bytes")
        );
    }
}
