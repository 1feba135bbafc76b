//! Another object, as an expression's value says: what is to be put over it, or the steps of a JSON patch.
//!
//! Invariant: an object in an expression stands where its type's name says (`Object.spec.template` below `spec` and `template`).
//! Follows `staging/src/k8s.io/apiserver/pkg/admission/plugin/policy/mutating/patch` and `.../cel/mutation`.

use serde_json::{Map, Value as Json};
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::{
    kinds::Kind,
    machinery::{
        cel::{
            EvalError, Value,
            value::{List, Map as CelMap, convert::to_json},
        },
        managed_fields::{PutOverError, put_over},
        patch::json::{JsonPatch, JsonPatchError},
        read::Read,
        schema::Node,
        status::Status,
    },
};

/// Why an object cannot be changed as an expression says.
#[derive(thiserror::Error, Debug)]
pub enum ChangeError {
    #[error("type mismatch: {0}")]
    Misplaced(String),
    /// What a policy's own checks rule out.
    #[error("unsupported return type from ApplyConfiguration expression: {0}")]
    NoObject(String),
    #[error(
        "type mismatch: JSONPatchType.expression should evaluate to array of JSONPatch, got element of {0}"
    )]
    NoStep(String),
    #[error("error applying patch: {0}")]
    PutOver(#[from] PutOverError),
    #[error("JSONPath valueExpression evaluated to a type that could not marshal to JSON: {0}")]
    NoJson(EvalError),
    #[error("{0}")]
    Unwritable(EvalError),
    #[error("JSON Patch: {0}")]
    Patch(JsonPatchError),
    /// The patched object is none of its kind: told whatever the policy says of failures.
    #[error("{0}")]
    Unreadable(Status),
}

/// The object with what an expression of type `Object` gave over it.
pub fn applied(object: &Json, value: &Value<'_>, node: Node<'_>) -> Result<Json, ChangeError> {
    if !matches!(value, Value::Struct(_)) {
        return Err(ChangeError::NoObject(value.type_name().to_string()));
    }
    check_places(value)?;
    let mut config = to_json(value).map_err(ChangeError::Unwritable)?;
    for name in ["apiVersion", "kind"] {
        config[name] = object.text(name).into();
    }
    Ok(put_over(object, &config, node)?)
}

/// The object with the steps done that an expression of type `list(JSONPatch)` gave; as it was where a `test` among them fails.
pub fn patched(object: &Json, value: &Value<'_>) -> Result<Json, ChangeError> {
    let Value::List(list) = value else {
        return Err(ChangeError::NoStep(value.type_name().to_string()));
    };
    let mut steps = Vec::new();
    for item in list.iter() {
        steps.push(step(&item.map_err(ChangeError::NoJson)?)?);
    }
    let patch = JsonPatch::decode(&Json::Array(steps), false).map_err(ChangeError::Patch)?;
    let mut patched = object.clone();
    match patch.apply(&mut patched) {
        Ok(()) => Ok(patched),
        Err(JsonPatchError::TestFailed(_)) => Ok(object.clone()),
        Err(why) => Err(ChangeError::Patch(why)),
    }
}

/// Refuses fields that the kind does not have, which a patch could bring in.
pub fn check_known(kind: &Kind, object: &Json) -> Result<(), ChangeError> {
    let unreadable = |why: &str| ChangeError::Unreadable(Status::internal(why));
    let mut copy = object.clone();
    let decoded = kind
        .conform(&mut copy)
        .map_err(|why| unreadable(&why.to_string()))?;
    if decoded.unknown.is_empty() || kind.definition().is_some() {
        return Ok(());
    }
    let remarks: Vec<String> = decoded.remarks().collect();
    Err(unreadable(&format!(
        "strict decoding error: {}",
        remarks.join(", ")
    )))
}

/// One step of a patch as JSON.
fn step(value: &Value<'_>) -> Result<Json, ChangeError> {
    let Value::Struct(of) = value else {
        return Err(ChangeError::NoStep(value.type_name().to_string()));
    };
    let mut step = Map::from_iter([("op".into(), "".into()), ("path".into(), "".into())]);
    for (name, value) in &of.fields {
        if &**name == "value" {
            check_places(value)?;
        }
        let json = to_json(value).map_err(ChangeError::NoJson)?;
        if &**name == "from" && json == "" {
            continue;
        }
        step.insert(name.to_string(), json);
    }
    Ok(Json::Object(step))
}

/// The names of the types of objects are their places, from the outermost on.
fn check_places(value: &Value<'_>) -> Result<(), ChangeError> {
    let mut wrong = Vec::new();
    places(value, value.type_name(), &mut wrong);
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(ChangeError::Misplaced(wrong.join("\n"))),
    }
}

fn places(value: &Value<'_>, expected: &str, wrong: &mut Vec<String>) {
    match value {
        Value::Struct(of) => {
            if *of.name != *expected {
                wrong.push(format!("unexpected type name {}, expected {expected}, which matches field name path from root Object type", GoQuoted(&*of.name), expected = GoQuoted(&expected)));
            }
            for (name, value) in &of.fields {
                places(value, &format!("{expected}.{name}"), wrong);
            }
        }
        Value::List(list @ List::Items(_)) => {
            for item in list.iter().flatten() {
                places(&item, expected, wrong);
            }
        }
        Value::Map(map @ CelMap::Entries(_)) => {
            for key in map.keys() {
                if let Ok(Some(value)) = map.get(&key) {
                    places(&value, expected, wrong);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use skiff_api::{
        kinds::Registry,
        machinery::cel::{
            Activation, PER_CALL_LIMIT,
            admission::{Compiler, Gives, OBJECT},
            value::from_json,
        },
    };

    use super::*;

    /// What an expression makes of a deployment, or what is wrong.
    fn made(text: &str, gives: Gives) -> Result<Json, String> {
        let kind = Registry::builtin().stored("deployments.apps").unwrap();
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "labels": {"a": "1"}}, "spec": {"replicas": 1}});
        let compiled = Compiler::new(false)
            .compile(text, gives)
            .map_err(|why| why.to_string())?;
        let activation = Activation::new().with(OBJECT, from_json(&object));
        let value = compiled
            .evaluate(&activation, PER_CALL_LIMIT)
            .0
            .map_err(|why| why.to_string())?;
        let changed = match gives {
            Gives::Patch => patched(&object, &value),
            _ => applied(&object, &value, kind.node()),
        };
        let changed = changed.and_then(|changed| check_known(kind, &changed).map(|()| changed));
        let mut changed = changed.map_err(|why| why.to_string())?;
        Ok(changed["spec"].take())
    }

    #[test]
    fn what_is_put_over() {
        for (text, wanted) in [
            (
                "Object{spec: Object.spec{replicas: object.spec.replicas + 1}}",
                Ok(json!({"replicas": 2})),
            ),
            (
                "Object{spec: Object.spec{?replicas: optional.none()}}",
                Ok(json!({"replicas": 1})),
            ),
            (
                "Object{spec: Object.spec.other{replicas: 2}}",
                Err(
                    "type mismatch: unexpected type name \"Object.spec.other\", expected \"Object.spec\", which matches field name path from root Object type",
                ),
            ),
            (
                "Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{containers: [Object.spec.template.spec.containers{name: 'c'}]}}}}",
                Ok(json!({"replicas": 1, "template": {"spec": {"containers": [{"name": "c"}]}}})),
            ),
            (
                "Object{spec: Object.spec{nosuch: 1}}",
                Err(
                    "error applying patch: failed to convert patch object to typed object: .spec.nosuch: field not declared in schema",
                ),
            ),
        ] {
            assert_eq!(
                made(text, Gives::Applied),
                wanted.map_err(str::to_string),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_patched() {
        for (text, wanted) in [
            (
                "[JSONPatch{op: 'replace', path: '/spec/replicas', value: object.spec.replicas + 4}]",
                Ok(json!({"replicas": 5})),
            ),
            (
                "[JSONPatch{op: 'test', path: '/spec/replicas', value: 9}, JSONPatch{op: 'remove', path: '/spec/replicas'}]",
                Ok(json!({"replicas": 1})),
            ),
            (
                "[JSONPatch{op: 'add', path: '/spec/strategy', value: Object.spec.strategy{type: 'Recreate'}}]",
                Ok(json!({"replicas": 1, "strategy": {"type": "Recreate"}})),
            ),
            (
                "[JSONPatch{op: 'move', from: '/spec/replicas', path: '/spec/minReadySeconds'}]",
                Ok(json!({"minReadySeconds": 1})),
            ),
            (
                "[JSONPatch{op: 'add', path: '/spec/nosuch', value: 1}]",
                Err(
                    "Internal error occurred: strict decoding error: unknown field \"spec.nosuch\"",
                ),
            ),
            (
                "[JSONPatch{op: 'remove', path: '/spec/paused'}]",
                Err(
                    "JSON Patch: error in remove for path: '/spec/paused': Unable to remove nonexistent key: paused: missing value",
                ),
            ),
            (
                "[JSONPatch{op: 'jump', path: '/spec/paused'}]",
                Err("JSON Patch: Unexpected kind: jump"),
            ),
        ] {
            assert_eq!(
                made(text, Gives::Patch),
                wanted.map_err(str::to_string),
                "{text}"
            );
        }
    }
}
