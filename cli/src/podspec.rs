//! The pod inside an object that makes pods.
//! Invariant: kinds that hold no pod are an error, never an empty pod.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/polymorphichelpers/updatepodspec.go`.

use crate::error::{Error, Result};
use crate::typed::Read;
use serde_json::Value;

/// Where the pod's spec is, for kinds that have one.
pub fn pointer(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "Pod" => "/spec",
        "ReplicationController"
        | "Deployment"
        | "DaemonSet"
        | "ReplicaSet"
        | "StatefulSet"
        | "Job" => "/spec/template/spec",
        "CronJob" => "/spec/jobTemplate/spec/template/spec",
        _ => return None,
    })
}

/// The pod's spec, to be changed.
///
/// # Errors
/// An object that makes no pods.
pub fn spec_mut(object: &mut Value) -> Result<&mut Value> {
    let kind = object.text("kind").to_string();
    let path = pointer(&kind).ok_or_else(|| not_a_pod(object))?;
    object
        .pointer_mut(path)
        .ok_or_else(|| Error::msg(format!("the {kind} has no pod")))
}

fn not_a_pod(object: &Value) -> Error {
    Error::msg(format!(
        "the object is not a pod or does not have a pod template: {}",
        crate::typed::go_type(object)
    ))
}

/// The pod's spec.
pub fn spec(object: &Value) -> Option<&Value> {
    object.pointer(pointer(object.text_ptr("kind")?)?)
}

/// The containers whose names match a pattern with `*`; init containers too if asked for.
pub fn containers_mut<'a>(spec: &'a mut Value, pattern: &str, init: bool) -> Vec<&'a mut Value> {
    let Some(map) = spec.as_object_mut() else {
        return vec![];
    };
    map.iter_mut()
        .filter(|(k, _)| k.as_str() == "containers" || (init && k.as_str() == "initContainers"))
        .filter_map(|(_, v)| v.as_array_mut())
        .flatten()
        .filter(|c| matches_pattern(pattern, c.text("name")))
        .collect()
}

/// Whether a text names an image: `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`.
pub fn is_image(text: &str) -> bool {
    const PART: &str = "[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?";
    const PATH: &str = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*";
    let host = format!(r"(?:{PART}(?:\.{PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?");
    let digest = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}";
    let whole = format!(
        r"^(?:{host}/)?{PATH}(?:/{PATH})*(?::[0-9A-Za-z_][0-9A-Za-z_.-]{{0,127}})?(?:@{digest})?$"
    );
    regex::Regex::new(&whole).is_ok_and(|r| r.is_match(text))
}

/// Whether a name fits a pattern in which `*` stands for anything.
pub fn matches_pattern(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or("")) else {
        return false;
    };
    let mut last: Option<&str> = None;
    for part in parts {
        if let Some(p) = last {
            match rest.find(p) {
                Some(i) => rest = &rest[i + p.len()..],
                None => return false,
            }
        }
        last = Some(part);
    }
    match last {
        None => rest.is_empty(),
        Some(p) => rest.ends_with(p),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images() {
        for good in [
            "x",
            "nginx:1.2",
            "host.example.com:5000/a/b_c:tag",
            "[::1]:5000/a",
            "a@sha256:0123456789abcdef0123456789abcdef",
            "a__b",
        ] {
            assert!(is_image(good), "{good}");
        }
        for bad in ["", "X", "a b", "/a", ":t", "a:", "a@x", "a//b", "a:b:c"] {
            assert!(!is_image(bad), "{bad}");
        }
    }

    #[test]
    fn patterns() {
        for (p, n, want) in [
            ("*", "x", true),
            ("a*", "abc", true),
            ("a*c", "abc", true),
            ("a*c", "ab", false),
            ("a", "ab", false),
            ("*b*", "abc", true),
        ] {
            assert_eq!(matches_pattern(p, n), want, "{p} {n}");
        }
    }
}
