//! Secrets: what each type must hold, and that what is marked immutable stays as it is.
//!
//! Follows `ValidateSecret` and `ValidateSecretUpdate` of `pkg/apis/core/validation/validation.go`, `pkg/registry/core/secret/strategy.go`.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::kinds::prelude::*;
use crate::kinds::rows::core::config_map::{MOST, unchanged_when_immutable};
use crate::kinds::validation::checks::{IMMUTABLE, base64_len};
use crate::machinery::gojson::object_error;
use crate::machinery::meta::child_mut;

const ACCOUNT_ANNOTATION: &str = "kubernetes.io/service-account.name";
const TLS: &str = "kubernetes.io/tls";

pub const STRATEGY: Strategy = Strategy {
    defaults,
    prepare_for_update,
    validate,
    validate_update,
    warnings: |new, _| warnings(new),
    ..Strategy::DEFAULT
};

/// `stringData` is for writing only: it goes into `data`, over what is there.
///
/// Follows `pkg/apis/core/v1/conversion.go` (Convert_v1_Secret_To_core_Secret).
fn defaults(object: &mut Value) {
    let Some(map) = object.as_object_mut() else {
        return;
    };
    crate::kinds::fill::text(map, "type", "Opaque");
    let Some(Value::Object(texts)) = map.remove("stringData") else {
        return;
    };
    let data = child_mut(object, "data");
    for (key, text) in texts {
        data.insert(
            key,
            BASE64_STANDARD.encode(text.as_str().unwrap_or("")).into(),
        );
    }
}

fn prepare_for_update(new: &mut Value, old: &Value) {
    if new.text("type").is_empty() {
        new["type"] = old.at("type").clone();
    }
}

fn decoded(secret: &Value, key: &str) -> Option<Vec<u8>> {
    secret
        .at("data")
        .text_ptr(key)
        .map(|text| BASE64_STANDARD.decode(text).unwrap_or_default())
}

fn validate(secret: &Value) -> Errors {
    let mut errors = Errors::default();
    let path = Path::new("data");
    let mut size = 0;
    for (key, value) in secret.entries("data") {
        errors.invalid_all(&path.key(key), key, names::is_config_map_key(key));
        size += base64_len(value.as_str().unwrap_or(""));
    }
    if size > MOST {
        errors.too_long(&path, MOST as i64);
    }
    let has = |key: &str| secret.at("data").some(key).is_some();
    let mut need = |keys: &[&str]| {
        keys.iter()
            .filter(|key| !has(key))
            .for_each(|key| errors.required(&path.key(key), ""))
    };
    match secret.text("type") {
        "kubernetes.io/service-account-token"
            if secret
                .annotation(ACCOUNT_ANNOTATION)
                .unwrap_or("")
                .is_empty() =>
        {
            errors.required(
                &Path::new("metadata.annotations").key(ACCOUNT_ANNOTATION),
                "",
            );
        }
        "kubernetes.io/dockercfg" => docker(secret, ".dockercfg", &mut errors),
        "kubernetes.io/dockerconfigjson" => docker(secret, ".dockerconfigjson", &mut errors),
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            need(&["username", "password"])
        }
        "kubernetes.io/ssh-auth" if secret.at("data").text("ssh-privatekey").is_empty() => {
            errors.required(&path.key("ssh-privatekey"), "")
        }
        TLS => need(&["tls.crt", "tls.key"]),
        _ => {}
    }
    errors
}

fn docker(secret: &Value, key: &str, errors: &mut Errors) {
    let path = Path::new("data");
    match decoded(secret, key) {
        None => errors.required(&path.key(key), ""),
        Some(text) => {
            if let Some(said) = object_error(&text) {
                errors.invalid(&path.key(key), "<secret contents redacted>", said);
            }
        }
    }
}

fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    if new.text("type") != old.text("type") {
        errors.invalid(&Path::new("type"), new.text("type"), IMMUTABLE);
    }
    errors.extend(unchanged_when_immutable(new, old, &["data"]));
    errors.extend(validate(new));
    errors
}

/// What Go's `tls.X509KeyPair` has against the two texts, as far as their envelopes tell.
fn warnings(secret: &Value) -> Warnings {
    if secret.text("type") != TLS {
        return Vec::new();
    }
    let blocks = |key: &str| pem_types(&decoded(secret, key).unwrap_or_default());
    let (certificate, key) = (blocks("tls.crt"), blocks("tls.key"));
    let is_key = |kind: &String| kind == "PRIVATE KEY" || kind.ends_with(" PRIVATE KEY");
    let skipped = |list: &[String]| format!("[{}]", list.join(" "));
    let said = match (certificate.iter().any(|kind| kind == "CERTIFICATE"), key.iter().any(is_key)) {
        (false, _) => match certificate.as_slice() {
            [] => "tls: failed to find any PEM data in certificate input".into(),
            [one] if one.ends_with("PRIVATE KEY") => {
                "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched".into()
            }
            several => {
                format!(
                    "tls: failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks of the following types: {}",
                    skipped(several)
                )
            }
        },
        (true, false) => match key.as_slice() {
            [] => "tls: failed to find any PEM data in key input".into(),
            [one] if one == "CERTIFICATE" => "tls: found a certificate rather than a key in the PEM for the private key".into(),
            several => format!(
                "tls: failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after skipping PEM blocks of the following types: {}",
                skipped(several)
            ),
        },
        (true, true) => return Vec::new(),
    };
    vec![said]
}

/// The types of the PEM blocks of a text.
fn pem_types(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let begin = |line: &str| {
        Some(
            line.trim_end()
                .strip_prefix("-----BEGIN ")?
                .strip_suffix("-----")?
                .to_string(),
        )
    };
    text.lines()
        .filter_map(begin)
        .filter(|kind| text.contains(&format!("-----END {kind}-----")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_data() {
        let mut secret = json!({"data": {"a": "b2xk", "b": "Yg=="}, "stringData": {"a": "new"}});
        defaults(&mut secret);
        assert_eq!(
            secret,
            json!({"type": "Opaque", "data": {"a": "bmV3", "b": "Yg=="}})
        );
    }

    #[test]
    fn types_have_their_keys() {
        let data = |kind: &str, data: Value| json!({"type": kind, "metadata": {}, "data": data});
        for (secret, said) in [
            (data("Opaque", json!({"a": ""})), "[]"),
            (
                data("Opaque", json!({"": ""})),
                "data[]: Invalid value: \"\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
            ),
            (
                data(TLS, json!({"tls.crt": ""})),
                "data[tls.key]: Required value",
            ),
            (
                data("kubernetes.io/basic-auth", json!({"password": ""})),
                "[]",
            ),
            (
                data("kubernetes.io/basic-auth", json!({})),
                "[data[username]: Required value, data[password]: Required value]",
            ),
            (
                data("kubernetes.io/ssh-auth", json!({"ssh-privatekey": ""})),
                "data[ssh-privatekey]: Required value",
            ),
            (
                data("kubernetes.io/dockercfg", json!({})),
                "data[.dockercfg]: Required value",
            ),
            (
                data("kubernetes.io/dockercfg", json!({".dockercfg": "e30="})),
                "[]",
            ),
            (
                data(
                    "kubernetes.io/dockerconfigjson",
                    json!({".dockerconfigjson": "eA=="}),
                ),
                "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": invalid character 'x' looking for beginning of value",
            ),
            (
                data("kubernetes.io/service-account-token", json!({})),
                "metadata.annotations[kubernetes.io/service-account.name]: Required value",
            ),
        ] {
            assert_eq!(validate(&secret).message(), said, "{secret}");
        }
    }

    #[test]
    fn the_type_stays() {
        let old = json!({"type": "Opaque", "immutable": true, "data": {"a": "MQ=="}});
        let mut new = json!({"immutable": true, "data": {"a": "MQ=="}});
        prepare_for_update(&mut new, &old);
        assert!(validate_update(&new, &old).is_empty());
        new["type"] = "x".into();
        new["data"]["a"] = "Mg==".into();
        let said = "[type: Invalid value: \"x\": field is immutable, data: Forbidden: field is immutable when `immutable` is set]";
        assert_eq!(validate_update(&new, &old).message(), said);
    }

    #[test]
    fn certificates_are_looked_at() {
        let pem = |kind: &str| {
            BASE64_STANDARD.encode(format!(
                "-----BEGIN {kind}-----\nAA==\n-----END {kind}-----\n"
            ))
        };
        let said = |certificate: &str, key: &str| {
            warnings(
                &json!({"type": TLS, "data": {"tls.crt": pem(certificate), "tls.key": pem(key)}}),
            )
        };
        assert!(said("CERTIFICATE", "EC PRIVATE KEY").is_empty());
        assert_eq!(
            said("CERTIFICATE", "CERTIFICATE"),
            ["tls: found a certificate rather than a key in the PEM for the private key"]
        );
        assert_eq!(
            warnings(&json!({"type": TLS, "data": {"tls.crt": "eA=="}})),
            ["tls: failed to find any PEM data in certificate input"]
        );
    }
}
