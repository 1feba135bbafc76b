//! ConfigMaps: what keys may be called, how much they hold, and that what is marked immutable stays as it is.
//!
//! Follows `ValidateConfigMap` and `ValidateConfigMapUpdate` of `pkg/apis/core/validation/validation.go`.

use crate::kinds::prelude::*;
use crate::kinds::validation::checks::base64_len;

/// What the data of a ConfigMap or Secret may weigh.
pub const MOST: usize = 1024 * 1024;
pub const SET: &str = "field is immutable when `immutable` is set";

pub const STRATEGY: Strategy = Strategy {
    validate,
    validate_update,
    ..Strategy::DEFAULT
};

fn validate(map: &Value) -> Errors {
    let mut errors = Errors::default();
    let mut size = 0;
    let (data, binary) = (Path::new("data"), Path::new("binaryData"));
    for (key, value) in map.entries("data") {
        let at = data.key(key);
        errors.invalid_all(&at, key, names::is_config_map_key(key));
        if map.at("binaryData").get(key).is_some() {
            errors.invalid(&at, key, "duplicate of key present in binaryData");
        }
        size += value.as_str().map_or(0, str::len);
    }
    for (key, value) in map.entries("binaryData") {
        errors.invalid_all(&binary.key(key), key, names::is_config_map_key(key));
        size += base64_len(value.as_str().unwrap_or(""));
    }
    if size > MOST {
        errors.too_long(&Path::NAMELESS, MOST as i64);
    }
    errors
}

fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = unchanged_when_immutable(new, old, &["data", "binaryData"]);
    errors.extend(validate(new));
    errors
}

/// What is marked immutable keeps the mark and these fields.
pub fn unchanged_when_immutable(new: &Value, old: &Value, fields: &[&'static str]) -> Errors {
    let mut errors = Errors::default();
    if old.flag("immutable") {
        if !new.flag("immutable") {
            errors.forbidden(&Path::new("immutable"), SET);
        }
        for field in fields
            .iter()
            .filter(|field| new.some(field) != old.some(field))
        {
            errors.forbidden(&Path::new(field), SET);
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_size() {
        for (map, said) in [
            (
                json!({"data": {"a.b_c-D": "x"}, "binaryData": {"b": "AA=="}}),
                "[]",
            ),
            (
                json!({"data": {"a": "x"}, "binaryData": {"a": "AA=="}}),
                "data[a]: Invalid value: \"a\": duplicate of key present in binaryData",
            ),
            (
                json!({"data": {"..": "x"}}),
                "data[..]: Invalid value: \"..\": must not be '..'",
            ),
            (
                json!({"data": {"a": "x".repeat(MOST)}, "binaryData": {"b": "AA=="}}),
                "[]: Too long: may not be more than 1048576 bytes",
            ),
        ] {
            assert_eq!(validate(&map).message(), said);
        }
    }

    #[test]
    fn immutable_stays() {
        let old = json!({"immutable": true, "data": {"a": "1"}});
        assert!(validate_update(&old, &old).is_empty());
        let said = |new| validate_update(&new, &old).message();
        assert_eq!(
            said(json!({"immutable": true, "data": {"a": "2"}})),
            format!("data: Forbidden: {SET}")
        );
        assert_eq!(
            said(json!({"data": {"a": "1"}})),
            format!("immutable: Forbidden: {SET}")
        );
        assert!(
            validate_update(
                &json!({"immutable": true, "data": {"a": "2"}}),
                &json!({"immutable": false, "data": {"a": "1"}})
            )
            .is_empty()
        );
    }
}
