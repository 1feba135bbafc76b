//! The annotation of client-side apply, where `kubectl` turns to server-side apply: what it says was applied is no conflict, and it is kept up to date.
//!
//! Invariant: only the manager `kubectl` is treated so.
//! Follows upstream's `managedfields/internal/{lastapplied,lastappliedmanager,lastappliedupdater}.go`.

use serde_json::{Map, Value};

use super::Apply;
use super::compare::compare;
use super::fieldset::field_set;
use super::managers::Header;
use super::set::Set;
use super::types::Ty;
use super::validate::validate;

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// What all annotations of an object may weigh, in bytes.
const TOTAL_ANNOTATION_SIZE_LIMIT: usize = 256 * 1024;

fn annotation(object: &Value) -> Option<&str> {
    object
        .get("metadata")?
        .get("annotations")?
        .get(ANNOTATION)?
        .as_str()
        .filter(|a| !a.is_empty())
}

/// The conflicts that are left when fields that client-side apply set to what they are now are nobody else's.
pub(super) fn remaining<'a>(
    live: &Value,
    found: Vec<(Header<'a>, Set<'a>)>,
    apply: &Apply<'_>,
) -> Vec<(Header<'a>, Set<'a>)> {
    let Some(last) = annotation(live).and_then(|text| serde_json::from_str::<Value>(text).ok())
    else {
        return found;
    };
    let ty = Ty::Node(apply.schema);
    if last.get("apiVersion").and_then(Value::as_str) != Some(apply.api_version)
        || validate(&last, ty).is_err()
    {
        return found;
    }
    let Ok((changed, removed)) = compare(&last, live, ty) else {
        return found;
    };
    let allowed = field_set(&last, ty)
        .difference(&changed)
        .difference(&removed);
    found
        .into_iter()
        .map(|(manager, set)| (manager, set.difference(&allowed)))
        .filter(|(_, set)| !set.is_empty())
        .collect()
}

/// Brings the annotation of an applied object up to date, when it has one.
pub(super) fn refresh(object: &mut Value, config: &Value) {
    if annotation(object).is_none() {
        return;
    }
    let mut applied = config.clone();
    if let Some(annotations) = applied
        .get_mut("metadata")
        .and_then(|m| m.get_mut("annotations"))
        .and_then(Value::as_object_mut)
    {
        annotations.remove(ANNOTATION);
    }
    let Some(annotations) = object
        .get_mut("metadata")
        .and_then(|m| m.get_mut("annotations"))
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    annotations.insert(ANNOTATION.into(), format!("{applied}\n").into());
    if weight(annotations) > TOTAL_ANNOTATION_SIZE_LIMIT {
        annotations.remove(ANNOTATION);
    }
}

fn weight(annotations: &Map<String, Value>) -> usize {
    annotations
        .iter()
        .map(|(k, v)| k.len() + v.as_str().map_or(0, str::len))
        .sum()
}
