//! Small checks that validations are made of, each writing upstream's errors.
//!
//! Invariant: a good value costs no allocation.
//! Follows `pkg/apis/core/validation/validation.go` and `staging/src/k8s.io/apimachinery/pkg/apis/meta/v1/validation/validation.go`.

use crate::kinds::prelude::*;
use crate::machinery::field::{Error, Kind};
use crate::machinery::quote::go_quote;
use crate::machinery::read::Read;
use crate::machinery::selector::Operator;

/// What is said of a field that must stay as it is.
pub const IMMUTABLE: &str = "field is immutable";
const NEGATIVE: &str = "must be greater than or equal to 0";

/// A status is written by whoever has seen the object.
pub fn version_required(object: &Value, errors: &mut Errors) {
    if object.resource_version().is_empty() {
        errors.required(&Path::new("resourceVersion"), "");
    }
}

pub fn dns_label(value: &str, path: &Path, errors: &mut Errors) {
    errors.invalid_all(path, value, names::is_dns1123_label(value));
}

pub fn subdomain(value: &str, path: &Path, errors: &mut Errors) {
    errors.invalid_all(path, value, names::is_dns1123_subdomain(value));
}

pub fn qualified_name(value: &str, path: &Path, errors: &mut Errors) {
    errors.invalid_all(path, value, names::is_qualified_name(value));
}

pub fn nonnegative(value: i64, path: &Path, errors: &mut Errors) {
    if value < 0 {
        errors.invalid(path, value, NEGATIVE);
    }
}

/// `low <= value <= high`.
pub fn range(value: i64, low: i64, high: i64, path: &Path, errors: &mut Errors) {
    for message in names::is_in_range(value, low, high) {
        errors.invalid(path, value, message);
    }
}

/// One of a list that upstream shows in its own order.
pub fn one_of(value: &str, supported: &[&str], path: &Path, errors: &mut Errors) {
    if !supported.contains(&value) {
        unsupported(value, supported, path, errors);
    }
}

/// One of a list, and present.
pub fn required_one_of(value: &str, supported: &[&str], path: &Path, errors: &mut Errors) {
    if value.is_empty() {
        errors.required(path, "");
    } else {
        one_of(value, supported, path, errors);
    }
}

/// `Unsupported value`, the supported ones in the order given.
pub fn unsupported(value: &str, supported: &[&str], path: &Path, errors: &mut Errors) {
    let listed: Vec<String> = supported.iter().map(|word| go_quote(word)).collect();
    errors.0.push(Error {
        kind: Kind::NotSupported,
        field: path.to_string(),
        value: Some(value.into()),
        detail: format!("supported values: {}", listed.join(", ")),
    });
}

/// `Invalid value` of something that is shown in upstream's own JSON (see `internal`).
pub fn invalid_shown(shown: &str, detail: &str, path: &Path, errors: &mut Errors) {
    errors.0.push(Error {
        kind: Kind::Invalid,
        field: path.to_string(),
        value: None,
        detail: if detail.is_empty() {
            shown.into()
        } else {
            format!("{shown}: {detail}")
        },
    });
}

/// `Duplicate value` of the same.
pub fn duplicate_shown(shown: &str, path: &Path, errors: &mut Errors) {
    errors.0.push(Error {
        kind: Kind::Duplicate,
        field: path.to_string(),
        value: None,
        detail: shown.into(),
    });
}

/// `Invalid value: null` of a pointer that is not set.
pub fn invalid_or_null(value: Option<&Value>, detail: &str, path: &Path, errors: &mut Errors) {
    errors.invalid(path, value.cloned().unwrap_or_default(), detail);
}

/// A field that is not as it was, shown as it is to be.
pub fn immutable(new: Option<&Value>, old: Option<&Value>, path: &Path, errors: &mut Errors) {
    if new != old {
        invalid_or_null(new, IMMUTABLE, path, errors);
    }
}

/// A `spec` that is not as it was, shown whole, as the hub type `kind`.
pub fn immutable_spec(new: &Value, old: &Value, kind: &str, errors: &mut Errors) {
    let spec = new.at("spec");
    if spec != old.at("spec") {
        invalid_shown(
            &internal::json(spec, kind),
            IMMUTABLE,
            &Path::new("spec"),
            errors,
        );
    }
}

/// A map of labels; bad values are reported at the map.
pub fn labels(owner: &Value, name: &str, path: &Path, errors: &mut Errors) {
    for (key, value) in owner.entries(name) {
        qualified_name(key, path, errors);
        let value = value.as_str().unwrap_or("");
        errors.invalid_all(path, value, names::is_label_value(value));
    }
}

/// A `LabelSelector`; `None` is good.
pub fn label_selector(
    selector: Option<&Value>,
    allow_invalid_values: bool,
    path: &Path,
    errors: &mut Errors,
) {
    let Some(selector) = selector else { return };
    labels(selector, "matchLabels", &path.child("matchLabels"), errors);
    for (index, requirement) in selector.list("matchExpressions").iter().enumerate() {
        label_requirement(
            requirement,
            allow_invalid_values,
            &path.child("matchExpressions").index(index),
            errors,
        );
    }
}

fn label_requirement(
    requirement: &Value,
    allow_invalid_values: bool,
    path: &Path,
    errors: &mut Errors,
) {
    if !values_of_operator(requirement, path, errors) {
        errors.invalid(
            &path.child("operator"),
            requirement.text("operator"),
            "not a valid selector operator",
        );
    }
    qualified_name(requirement.text("key"), &path.child("key"), errors);
    if !allow_invalid_values {
        label_values(requirement, &path.child("values"), errors);
    }
}

/// Whether there are values where the operator takes some; false when nobody knows the operator.
pub fn values_of_operator(requirement: &Value, path: &Path, errors: &mut Errors) -> bool {
    let values = requirement.list("values");
    match Operator::from_api(requirement.text("operator")) {
        Some(Operator::In | Operator::NotIn) => {
            if values.is_empty() {
                errors.required(
                    &path.child("values"),
                    "must be specified when `operator` is 'In' or 'NotIn'",
                );
            }
        }
        Some(Operator::Exists | Operator::DoesNotExist) => {
            if !values.is_empty() {
                errors.forbidden(
                    &path.child("values"),
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                );
            }
        }
        _ => return false,
    }
    true
}

/// The values of a requirement.
pub fn label_values(requirement: &Value, path: &Path, errors: &mut Errors) {
    for (index, value) in requirement.texts("values").enumerate() {
        errors.invalid_all(&path.index(index), value, names::is_label_value(value));
    }
}

/// `intstr`: a port number or the name of one.
pub fn port_number_or_name(port: &Value, path: &Path, errors: &mut Errors) {
    match port {
        Value::String(name) => errors.invalid_all(path, name, names::is_valid_port_name(name)),
        number => range(number.as_i64().unwrap_or(0), 1, 65535, path, errors),
    }
}

/// An absolute path or one that climbs is no path below a folder.
pub fn descending_path(target: &str, path: &Path, errors: &mut Errors) {
    if target.starts_with('/') {
        errors.invalid(path, target, "must be a relative path");
    }
    no_backsteps(target, path, errors);
}

pub fn no_backsteps(target: &str, path: &Path, errors: &mut Errors) {
    if target.split('/').any(|part| part == "..") {
        errors.invalid(path, target, "must not contain '..'");
    }
}

/// A descending path whose first name does not start with `..` either.
pub fn non_reserved_path(target: &str, path: &Path, errors: &mut Errors) {
    descending_path(target, path, errors);
    if target.starts_with("..") && !target.starts_with("../") {
        errors.invalid(path, target, "must not start with '..'");
    }
}

/// An address in one of the older fields.
pub fn legacy_ip(value: &str, valid_old: &[&str], path: &Path, errors: &mut Errors) {
    errors.invalid_all(
        path,
        value,
        names::ip::is_valid_ip_for_legacy_field(value, true, valid_old),
    );
}

/// An address that traffic can be sent to from elsewhere.
pub fn endpoint_ip(value: &str, path: &Path, errors: &mut Errors) {
    use std::net::IpAddr;
    let Some((address, _)) = names::ip::parse_ip_sloppy(value) else {
        return errors.invalid(path, value, "must be a valid IP address");
    };
    let special = match address {
        _ if address.is_unspecified() => {
            return errors.invalid(path, value, format!("may not be unspecified ({value})"));
        }
        _ if address.is_loopback() => "may not be in the loopback range (127.0.0.0/8, ::1/128)",
        IpAddr::V4(v4) if v4.is_link_local() => {
            "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
        }
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
        }
        IpAddr::V4(v4) if v4.octets()[..3] == [224, 0, 0] => {
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
        }
        IpAddr::V6(v6) if v6.segments()[0] & 0xff0f == 0xff02 => {
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
        }
        _ => return,
    };
    errors.invalid(path, value, special);
}

/// Where the API server itself is found. It may be told to listen on this machine alone, and is not found elsewhere then.
pub fn is_api_server(object: &Value) -> bool {
    object.at("metadata").text("namespace") == "default"
        && object.at("metadata").text("name") == "kubernetes"
}

/// A part of a path, where it is given.
pub fn segment(value: &str, path: &Path, errors: &mut Errors) {
    if !value.is_empty() {
        errors.invalid_all(path, value, names::is_path_segment_name(value));
    }
}

/// The same, and it must be given.
pub fn required_segment(value: &str, path: &Path, errors: &mut Errors) {
    if value.is_empty() {
        errors.required(path, "");
    }
    segment(value, path, errors);
}

/// How many bytes a base64 text stands for.
pub fn base64_len(text: &str) -> usize {
    (text.len() / 4 * 3).saturating_sub(text.bytes().rev().take_while(|byte| *byte == b'=').count())
}

/// Whether `check` finds nothing wrong.
pub fn is_good(check: impl FnOnce(&mut Errors)) -> bool {
    Errors::of(check).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors() {
        let long = "'In' or 'NotIn'";
        for (selector, wanted) in [
            (json!({"matchLabels": {"a": "b"}}), vec![]),
            (
                json!({"matchExpressions": [{"key": "a", "operator": "In"}]}),
                vec![format!(
                    "s.matchExpressions[0].values: Required value: must be specified when `operator` is {long}"
                )],
            ),
            (
                json!({"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}),
                vec![],
            ),
        ] {
            let mut errors = Errors::default();
            label_selector(Some(&selector), false, &Path::new("s"), &mut errors);
            let said: Vec<String> = errors.texts();
            match selector["matchExpressions"][0]["operator"].as_str() {
                Some("Gt") => assert_eq!(
                    said,
                    [
                        "s.matchExpressions[0].operator: Invalid value: \"Gt\": not a valid selector operator"
                    ]
                ),
                _ => assert_eq!(said, wanted),
            }
        }
    }

    #[test]
    fn addresses_that_mean_the_same_nowhere_else() {
        for (address, wanted) in [
            ("10.0.0.1", "[]"),
            ("2001:db8::1", "[]"),
            (
                "0.0.0.0",
                "ip: Invalid value: \"0.0.0.0\": may not be unspecified (0.0.0.0)",
            ),
            (
                "::1",
                "ip: Invalid value: \"::1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
            ),
            (
                "fe80::1",
                "ip: Invalid value: \"fe80::1\": may not be in the link-local range (169.254.0.0/16, fe80::/10)",
            ),
            (
                "ff02::1",
                "ip: Invalid value: \"ff02::1\": may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
            ),
            ("x", "ip: Invalid value: \"x\": must be a valid IP address"),
        ] {
            let mut errors = Errors::default();
            endpoint_ip(address, &Path::new("ip"), &mut errors);
            assert_eq!(errors.message(), wanted);
        }
    }

    #[test]
    fn paths() {
        for (target, wanted) in [
            ("a/b", vec![]),
            ("/a", vec!["must be a relative path"]),
            ("a/../b", vec!["must not contain '..'"]),
            ("..a", vec!["must not start with '..'"]),
            ("../a", vec!["must not contain '..'"]),
        ] {
            let mut errors = Errors::default();
            non_reserved_path(target, &Path::new("p"), &mut errors);
            assert_eq!(
                errors
                    .0
                    .iter()
                    .map(|e| e.detail.as_str())
                    .collect::<Vec<_>>(),
                wanted,
                "{target}"
            );
        }
    }

    #[test]
    fn values_in_upstreams_own_json() {
        let mut errors = Errors::default();
        invalid_shown("{\"A\":1}", IMMUTABLE, &Path::new("spec"), &mut errors);
        unsupported("x", &["b", "a"], &Path::new("spec"), &mut errors);
        assert_eq!(
            errors.message(),
            r#"[spec: Invalid value: {"A":1}: field is immutable, spec: Unsupported value: "x": supported values: "b", "a"]"#
        );
    }
}
