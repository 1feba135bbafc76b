//! A configuration put over an object, of which nobody comes to own anything: what admission policies do.
//!
//! Invariant: nothing that the object has is removed, and what is owned as a whole is not touched, since that would remove what it does not repeat.
//! Follows `ApplyStructuredMergeDiff` of `staging/src/k8s.io/apiserver/pkg/admission/plugin/policy/mutating/patch/smd.go`.

use serde_json::Value;

use super::merge::merge;
use super::types::{Atom, Ty};
use super::validate::{validate, validate_object};
use crate::machinery::problem::Problem;
use crate::machinery::schema::Node;

/// Why a configuration cannot be put over an object.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PutOverError {
    #[error("failed to convert patch object to typed object: {0}")]
    Untyped(Problem),
    #[error(
        "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {}",
        .0.join(", ")
    )]
    Atomic(Vec<String>),
    #[error("failed to convert original object to typed object: {0}")]
    Original(Problem),
    #[error("failed to merge patch: {0}")]
    Merge(Problem),
}

/// The object with the configuration over it; it wants defaults and canonical form. Both are of the type, and say so.
pub fn put_over(live: &Value, config: &Value, schema: Node<'_>) -> Result<Value, PutOverError> {
    let ty = Ty::Node(schema);
    validate(config, ty).map_err(PutOverError::Untyped)?;
    let mut found = Vec::new();
    atomic(config, ty, "", &mut found);
    if !found.is_empty() {
        return Err(PutOverError::Atomic(found));
    }
    validate_object(live, ty).map_err(PutOverError::Original)?;
    merge(live, config, ty).map_err(PutOverError::Merge)
}

/// Paths of what is owned as a whole.
fn atomic(value: &Value, ty: Ty<'_>, path: &str, found: &mut Vec<String>) {
    match (ty.atom(Some(value)), value) {
        (Atom::Map(map), Value::Object(fields)) => {
            if map.atomic {
                found.push(path.to_string());
            }
            for (name, value) in fields {
                if let Some(ty) = map.field(name) {
                    atomic(value, ty, &format!("{path}.{name}"), found);
                }
            }
        }
        (Atom::List(list), Value::Array(items)) => {
            if list.atomic {
                found.push(path.to_string());
            }
            for (at, item) in items.iter().enumerate() {
                atomic(item, list.element, &format!("{path}[{at}]"), found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machinery::schema::Schema;
    use serde_json::json;

    #[test]
    fn what_is_put_over_pods() {
        let schema = Schema::builtin()
            .of_kind("v1", "Pod")
            .expect("pods have a type");
        let live = json!({"metadata": {"name": "p", "labels": {"a": "1"}}, "spec": {"containers": [{"name": "c", "image": "i", "args": ["x"]}]}});
        let over = |config: Value| put_over(&live, &config, schema).map_err(|why| why.to_string());
        assert_eq!(
            over(
                json!({"metadata": {"labels": {"b": "2"}}, "spec": {"containers": [{"name": "d", "image": "j"}, {"name": "c", "image": "k"}]}})
            ),
            Ok(
                json!({"metadata": {"name": "p", "labels": {"a": "1", "b": "2"}}, "spec": {"containers": [{"name": "d", "image": "j"}, {"name": "c", "image": "k", "args": ["x"]}]}})
            )
        );
        assert_eq!(
            over(json!({"spec": {"containers": [{"name": "c", "args": ["y"]}], "nodeSelector": {"a": "b"}}})),
            Err("invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.containers[0].args, .spec.nodeSelector".to_string())
        );
        assert_eq!(
            over(json!({"spec": {"nosuch": 1}})),
            Err("failed to convert patch object to typed object: .spec.nosuch: field not declared in schema".to_string())
        );
    }
}
