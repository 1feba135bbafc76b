//! Built-in kinds as Go's types have them: which fields they have, in which order, and which are written even when empty.
//! Invariant: custom resources have no type here and stay as they are.
//! Behaviour follows `staging/src/k8s.io/api` through the schema table of `skiff_api`.

use crate::discovery::split_api_version;
use crate::error::Problem;
use serde_json::Value;
use skiff_api::machinery::patch::{merge, strategic};
pub use skiff_api::machinery::read::Read;
use skiff_api::machinery::schema::{Node, Schema, conform};

/// The built-in type of an object; nothing for kinds that are not built in.
pub fn schema(object: &Value) -> Option<Node<'static>> {
    of(object.text_ptr("apiVersion")?, object.text_ptr("kind")?)
}

/// The built-in type of a kind.
pub fn of(api_version: &str, kind: &str) -> Option<Node<'static>> {
    let (group, version) = split_api_version(api_version);
    let short = match group {
        "" => "core",
        "internal.apiserver.k8s.io" => "apiserverinternal",
        g if !g.contains('.') => g,
        g if g.ends_with(".k8s.io") => g.split('.').next().unwrap_or(g),
        _ => return None,
    };
    Schema::builtin().get(&format!("{short}.{version}.{kind}"))
}

/// What Go calls the type that it reads the object into.
pub fn go_type(object: &Value) -> String {
    match schema(object) {
        Some(_) => format!(
            "*{}.{}",
            split_api_version(object.text("apiVersion")).1,
            object.text("kind")
        ),
        None => "*unstructured.Unstructured".into(),
    }
}

/// The object as Go would write it after reading it into its type; unknown kinds stay as they are.
pub fn canonical(object: &Value) -> Value {
    let mut copy = object.clone();
    if let Some(node) = schema(object) {
        if conform(&mut copy, node).is_err() {
            return object.clone();
        }
        if copy.at("metadata").at("creationTimestamp").is_null()
            && let Some(m) = copy.get_mut("metadata").and_then(Value::as_object_mut)
        {
            m.remove("creationTimestamp");
        }
    }
    copy
}

/// The patch that makes `after` of `before`, and its media type: strategic for built-in kinds, merge for the others.
///
/// # Errors
/// Objects that no patch can be made of.
pub fn patch(before: &Value, after: &Value) -> Result<(Value, &'static str), Problem> {
    match schema(before) {
        Some(node) => Ok((
            strategic::two_way(before, after, node, &[]).map_err(|e| e.to_string())?,
            STRATEGIC,
        )),
        None => Ok((
            merge::create(before, after).map_err(|e| e.to_string())?,
            MERGE,
        )),
    }
}

/// Media types of patches.
pub const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub const MERGE: &str = "application/merge-patch+json";
pub const JSON_PATCH: &str = "application/json-patch+json";
pub const APPLY: &str = "application/apply-patch+yaml";

/// What a text in base64 holds.
///
/// # Errors
/// Where it is none, as Go tells it.
pub fn base64(text: &str) -> std::result::Result<Vec<u8>, String> {
    use base64::Engine;
    let plain: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let decoded = base64::engine::general_purpose::STANDARD.decode(&plain);
    decoded.map_err(|why| {
        let at = match why {
            base64::DecodeError::InvalidByte(at, _) => at,
            base64::DecodeError::InvalidLastSymbol(at, _) => at,
            // the last four are not whole
            base64::DecodeError::InvalidLength(_) | base64::DecodeError::InvalidPadding => {
                plain.len() / 4 * 4
            }
        };
        format!("illegal base64 data at input byte {at}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn go_writes_some_empty_fields() {
        let d = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}, "spec": {"selector": {}, "template": {"spec": {"containers": [{"name": "a"}]}}}});
        let c = canonical(&d);
        assert_eq!(c["spec"]["strategy"], json!({}));
        assert_eq!(
            c["spec"]["template"]["spec"]["containers"][0]["resources"],
            json!({})
        );
        assert_eq!(c["status"], json!({}));
        assert_eq!(
            canonical(&json!({"apiVersion": "x.example.com/v1", "kind": "K", "a": 1}))["a"],
            1
        );
    }

    #[test]
    fn patches_fit_the_kind() {
        let pod = |image: &str| json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "a", "image": image}]}});
        let (p, kind) = patch(&pod("x"), &pod("y")).unwrap();
        assert_eq!(
            (p["spec"]["containers"][0]["image"].as_str(), kind),
            (Some("y"), STRATEGIC)
        );
        let custom = |n: i64| json!({"apiVersion": "e.com/v1", "kind": "K", "n": n});
        assert_eq!(
            patch(&custom(1), &custom(2)).unwrap(),
            (json!({"n": 2}), MERGE)
        );
    }
}
