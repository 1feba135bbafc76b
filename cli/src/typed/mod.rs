//! Built-in kinds as Go's types have them: which fields they have, in which order, and which are written even when empty.
//! Invariant: custom resources have no type here and stay as they are.
//! Behaviour follows `staging/src/k8s.io/api` through the schema table of `skiff_api`.

mod scheme;

use crate::discovery::split_api_version;
use crate::error::{Problem, quote};
use serde_json::Value;
use skiff_api::machinery::patch::{merge, strategic};
pub use skiff_api::machinery::read::Read;
use skiff_api::machinery::read::go_kind;
use skiff_api::machinery::schema::{Node, Schema, TypeError, conform};

pub use scheme::knows;

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
    let read = schema(object).and_then(|node| written(object, node).ok());
    read.unwrap_or_else(|| object.clone())
}

/// The same of what must be of a kind that kubectl's scheme has; fields that its type lacks are gone.
///
/// # Errors
/// What Go's decoder says of another kind, and of a value that does not fit.
pub fn decoded(object: &Value) -> Result<Value, Problem> {
    if !object.is_object() {
        return Err(Problem(no_version_and_kind(object)));
    }
    let (version, kind) = (object.text("apiVersion"), object.text("kind"));
    if !knows(version, kind) {
        return Err(Problem(unregistered(version, kind, KUBECTL)));
    }
    match schema(object) {
        Some(node) => written(object, node).map_err(|why| Problem(why.0)),
        // of an API that is gone
        None => Ok(object.clone()),
    }
}

fn written(object: &Value, node: Node) -> Result<Value, TypeError> {
    let mut copy = object.clone();
    conform(&mut copy, node)?;
    if copy.at("metadata").at("creationTimestamp").is_null()
        && let Some(m) = copy.get_mut("metadata").and_then(Value::as_object_mut)
    {
        m.remove("creationTimestamp");
    }
    Ok(copy)
}

/// Where kubectl's own scheme is made, as its errors say.
pub const KUBECTL: &str = "pkg/scheme/scheme.go:28";

/// What is said of a kind that a scheme has no type of.
pub fn unregistered(version: &str, kind: &str, scheme: &str) -> String {
    format!(
        "no kind {} is registered for version {} in scheme {}",
        quote(kind),
        quote(version),
        quote(scheme)
    )
}

/// What is said of JSON that is no object where one with a version and a kind is to be.
pub fn no_version_and_kind(value: &Value) -> String {
    format!(
        "couldn't get version/kind; json parse error: json: cannot unmarshal {} into Go value of type struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}",
        go_kind(value)
    )
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

    /// What kubectl v1.36 makes of `run --overrides`, and says of it.
    #[test]
    fn what_is_decoded_fits_its_type() {
        let pod = |container: Value| json!({"apiVersion": "v1", "kind": "Pod", "spec": {"nosuch": 1, "containers": container}});
        let read = decoded(&pod(
            json!([{"name": "a", "env": [{"name": "E", "value": ""}]}]),
        ));
        assert_eq!(
            read.unwrap()["spec"],
            json!({"containers": [{"name": "a", "env": [{"name": "E"}], "resources": {}}]})
        );
        for (object, says) in [
            (
                pod(json!("x")),
                "json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type []v1.Container",
            ),
            (
                json!({"apiVersion": "v2", "kind": "Pod"}),
                "no kind \"Pod\" is registered for version \"v2\" in scheme \"pkg/scheme/scheme.go:28\"",
            ),
            (
                json!([]),
                "couldn't get version/kind; json parse error: json: cannot unmarshal array into Go value of type struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }",
            ),
        ] {
            assert_eq!(decoded(&object).unwrap_err().to_string(), says);
        }
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
