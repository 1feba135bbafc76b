//! Bootstrap tokens, by which a new machine joins: `ID.SECRET`, kept as secrets `bootstrap-token-ID` of kube-system.
//!
//! Invariant: what is amiss with the secret makes the token nobody's, and is logged, never told. Follows
//! `plugin/pkg/auth/authenticator/token/bootstrap/bootstrap.go` and `staging/src/k8s.io/cluster-bootstrap`.

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::Value;
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::machinery::{meta::Meta, read::Read, time};
use subtle::ConstantTimeEq;

use crate::auth::{Objects, Unauthorized, User};

const TYPE: &str = "bootstrap.kubernetes.io/token";
const DEFAULT_GROUP: &str = "system:bootstrappers";

/// Whose token this is.
pub fn user(token: &str, objects: &dyn Objects, now: Timestamp) -> Option<User> {
    let (id, secret) = split(token)?;
    let name = format!("bootstrap-token-{id}");
    let stored = objects.get("secrets", "kube-system", &name)?;
    let checked = serde_json::from_slice::<Value>(&stored.bytes.read())
        .map_err(|error| Unauthorized(error.to_string()))
        .and_then(|object| check(&object, id, secret, now));
    match checked {
        Ok(groups) => Some(User {
            name: format!("system:bootstrap:{id}"),
            groups,
            ..User::default()
        }),
        Err(why) => {
            tracing::info!(
                "bootstrap secret {name} in namespace kube-system matching bearer token {why}"
            );
            None
        }
    }
}

/// Six and sixteen lower-case letters and digits.
fn split(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.split_once('.')?;
    let plain = |text: &str, length| {
        text.len() == length
            && text
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    (plain(id, 6) && plain(secret, 16)).then_some((id, secret))
}

/// The groups of the token, or what is wrong with its secret.
fn check(
    object: &Value,
    id: &str,
    secret: &str,
    now: Timestamp,
) -> Result<Vec<String>, Unauthorized> {
    // what cannot be read (when it ends, maybe) is not taken for absent
    let data = |key: &str| {
        let bytes = STANDARD.decode(object.at("data").text(key));
        let text = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok());
        text.ok_or_else(|| format!("has invalid value for key {key}."))
    };
    if object.is_deleting() {
        return Err("is deleted and awaiting removal".into());
    }
    if object.text("type") != TYPE || object.some("data").is_none() {
        return Err(format!("has invalid type, expected {TYPE}.").into());
    }
    if !bool::from(data("token-secret")?.as_bytes().ct_eq(secret.as_bytes())) {
        return Err("has invalid value for key token-secret.".into());
    }
    if data("token-id")? != id {
        return Err("has invalid value for key token-id.".into());
    }
    let expiration = data("expiration")?;
    if !expiration.is_empty() && time::parse(&expiration).map_or(true, |end| end <= now) {
        return Err("has expired.".into());
    }
    if data("usage-bootstrap-authentication")? != "true" {
        return Err("not marked usage-bootstrap-authentication=true.".into());
    }
    let extra = data("auth-extra-groups")?;
    let mut groups = BTreeSet::from([DEFAULT_GROUP.to_owned()]);
    for group in extra.split(',').filter(|_| !extra.is_empty()) {
        if !is_group(group) {
            return Err(format!(
                "has invalid value for key auth-extra-groups: bootstrap group {group} is invalid.",
                group = GoQuoted(&group)
            )
            .into());
        }
        groups.insert(group.to_owned());
    }
    Ok(groups.into_iter().collect())
}

/// `system:bootstrappers:` and up to 256 of lower-case letters, digits, colons and dashes, a letter or digit last.
fn is_group(group: &str) -> bool {
    let part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    group
        .strip_prefix("system:bootstrappers:")
        .is_some_and(|rest| {
            rest.len() <= 256
                && rest
                    .bytes()
                    .all(|byte| part(byte) || byte == b':' || byte == b'-')
                && rest.bytes().last().is_some_and(part)
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::auth::testing::Fake;

    fn secret(changes: &[(&str, Option<&str>)]) -> Value {
        let mut data = json!({});
        let fields = [
            ("token-id", "abc123"),
            ("token-secret", "0123456789abcdef"),
            ("usage-bootstrap-authentication", "true"),
            (
                "auth-extra-groups",
                "system:bootstrappers:kubeadm:default-node-token",
            ),
        ];
        for (key, value) in fields
            .into_iter()
            .map(|(key, value)| (key, Some(value)))
            .chain(changes.iter().copied())
        {
            data[key] = value.map_or(Value::Null, |value| json!(STANDARD.encode(value)));
        }
        json!({"metadata": {"namespace": "kube-system", "name": "bootstrap-token-abc123"}, "type": TYPE, "data": data})
    }

    fn ask(token: &str, secret: Value) -> Option<User> {
        user(
            token,
            &Fake::default().with("secrets", secret),
            "2026-01-01T00:00:00Z".parse().unwrap(),
        )
    }

    const TOKEN: &str = "abc123.0123456789abcdef";

    #[test]
    fn good_tokens_are_known() {
        let user = ask(TOKEN, secret(&[])).unwrap();
        assert_eq!(user.name, "system:bootstrap:abc123");
        assert_eq!(
            user.groups,
            [
                "system:bootstrappers",
                "system:bootstrappers:kubeadm:default-node-token"
            ]
        );
        assert_eq!(
            ask(TOKEN, secret(&[("auth-extra-groups", None)]))
                .unwrap()
                .groups,
            ["system:bootstrappers"]
        );
        assert!(
            ask(
                TOKEN,
                secret(&[("expiration", Some("2026-01-01T00:00:01Z"))])
            )
            .is_some()
        );
    }

    #[test]
    fn others_are_nobodys() {
        for token in [
            "",
            "abc123",
            "abc123.",
            "abc123.0123456789abcdeF",
            "abc123.0123456789abcde",
            "abc123.0123456789abcdee",
            "abc124.0123456789abcdef",
            "ABC123.0123456789abcdef",
        ] {
            assert_eq!(ask(token, secret(&[])), None, "{token}");
        }
        let changes: &[(&str, Option<&str>)] = &[
            ("token-id", Some("abc124")),
            ("token-id", None),
            ("token-secret", None),
            ("usage-bootstrap-authentication", Some("false")),
            ("usage-bootstrap-authentication", None),
            ("expiration", Some("2026-01-01T00:00:00Z")),
            ("expiration", Some("tomorrow")),
            ("auth-extra-groups", Some("system:masters")),
            ("auth-extra-groups", Some("system:bootstrappers:A")),
            ("auth-extra-groups", Some("system:bootstrappers:a,")),
            ("auth-extra-groups", Some("system:bootstrappers:a:")),
        ];
        for change in changes {
            assert_eq!(ask(TOKEN, secret(&[*change])), None, "{change:?}");
        }
        // not even since when it holds no more can be read
        let mut odd = secret(&[]);
        odd["data"]["expiration"] = json!("!!");
        assert_eq!(ask(TOKEN, odd), None);
        let mut other = secret(&[]);
        other["type"] = json!("Opaque");
        assert_eq!(ask(TOKEN, other), None);
        let mut deleted = secret(&[]);
        deleted["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(ask(TOKEN, deleted), None);
        let mut elsewhere = secret(&[]);
        elsewhere["metadata"]["namespace"] = json!("default");
        assert_eq!(ask(TOKEN, elsewhere), None);
    }
}
