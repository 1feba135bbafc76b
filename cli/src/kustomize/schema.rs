//! What a kustomization file may hold, and of which types its fields are.
//! Invariant: a field that Go's decoder would refuse is refused in its words.
//! Behaviour follows `sigs.k8s.io/kustomize/api/types/kustomization.go`.

use crate::error::{Result, bail};
use serde_json::Value;
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::machinery::read::go_kind;

/// The type of a field.
pub enum Type {
    Text,
    Bool,
    Int,
    Texts,
    /// Texts by name.
    Pairs,
    /// Anything.
    Any,
    /// A struct of Go's name, or a list of them.
    One(&'static str, Fields),
    List(&'static str, Fields),
}
pub type Fields = &'static [(&'static str, Type)];
use Type::{Any, Bool, Int, List, One, Pairs, Text, Texts};

const OPTIONS: Fields = &[
    ("labels", Pairs),
    ("annotations", Pairs),
    ("disableNameSuffixHash", Bool),
    ("immutable", Bool),
];
const SELECTOR: Fields = &[
    ("group", Text),
    ("version", Text),
    ("kind", Text),
    ("name", Text),
    ("namespace", Text),
    ("annotationSelector", Text),
    ("labelSelector", Text),
];
const PATCH: Fields = &[
    ("path", Text),
    ("patch", Text),
    ("target", One("types.Selector", SELECTOR)),
    ("options", Any),
];
const SPEC: Fields = &[
    ("group", Text),
    ("version", Text),
    ("kind", Text),
    ("path", Text),
    ("create", Bool),
];
const IMAGE: Fields = &[
    ("name", Text),
    ("newName", Text),
    ("tagSuffix", Text),
    ("newTag", Text),
    ("digest", Text),
];
const CONFIG_MAP: Fields = &[
    ("namespace", Text),
    ("name", Text),
    ("behavior", Text),
    ("literals", Texts),
    ("files", Texts),
    ("envs", Texts),
    ("env", Text),
    ("options", One("types.GeneratorOptions", OPTIONS)),
];
const SECRET: Fields = &[
    ("namespace", Text),
    ("name", Text),
    ("behavior", Text),
    ("literals", Texts),
    ("files", Texts),
    ("envs", Texts),
    ("env", Text),
    ("options", One("types.GeneratorOptions", OPTIONS)),
    ("type", Text),
];

/// The whole file.
pub const KUSTOMIZATION: Fields = &[
    ("apiVersion", Text),
    ("kind", Text),
    ("metadata", Any),
    ("openapi", Pairs),
    ("namePrefix", Text),
    ("nameSuffix", Text),
    ("namespace", Text),
    ("commonLabels", Pairs),
    (
        "labels",
        List(
            "types.Label",
            &[
                ("pairs", Pairs),
                ("includeSelectors", Bool),
                ("includeTemplates", Bool),
                ("fields", List("types.FieldSpec", SPEC)),
            ],
        ),
    ),
    ("commonAnnotations", Pairs),
    ("patchesStrategicMerge", Texts),
    ("patchesJson6902", List("types.Patch", PATCH)),
    ("patches", List("types.Patch", PATCH)),
    ("images", List("types.Image", IMAGE)),
    ("imageTags", List("types.Image", IMAGE)),
    ("replacements", Any),
    (
        "replicas",
        List("types.Replica", &[("name", Text), ("count", Int)]),
    ),
    (
        "vars",
        List(
            "types.Var",
            &[("name", Text), ("objref", Any), ("fieldref", Any)],
        ),
    ),
    ("sortOptions", Any),
    ("resources", Texts),
    ("components", Texts),
    ("crds", Texts),
    ("bases", Texts),
    (
        "configMapGenerator",
        List("types.ConfigMapArgs", CONFIG_MAP),
    ),
    ("secretGenerator", List("types.SecretArgs", SECRET)),
    ("helmGlobals", Any),
    ("helmCharts", Any),
    ("helmChartInflationGenerator", Any),
    ("generatorOptions", One("types.GeneratorOptions", OPTIONS)),
    ("configurations", Texts),
    ("generators", Texts),
    ("transformers", Texts),
    ("validators", Texts),
    ("buildMetadata", Texts),
];

/// Checks a value against the fields of a struct.
///
/// # Errors
/// The first field that is unknown or of another type.
pub fn check(value: &Value, fields: Fields, path: &str) -> Result<()> {
    for (name, value) in value.as_object().into_iter().flatten() {
        let known = fields
            .iter()
            .find(|(field, _)| field.eq_ignore_ascii_case(name));
        let Some((name, of)) = known else {
            bail!(
                "invalid Kustomization: json: unknown field {name}",
                name = GoQuoted(&name)
            );
        };
        check_type(value, of, &format!("{path}.{name}"))?;
    }
    Ok(())
}

/// The same value with its fields under the names that they have here: Go's decoder does not look at their case.
pub fn renamed(value: Value, fields: Fields) -> Value {
    let Value::Object(map) = value else {
        return value;
    };
    let all = map.into_iter().map(|(name, value)| {
        let known = fields
            .iter()
            .find(|(field, _)| field.eq_ignore_ascii_case(&name));
        match (known, value) {
            (Some((name, One(_, below))), value) => (name.to_string(), renamed(value, below)),
            (Some((name, List(_, below))), Value::Array(list)) => {
                let list = list.into_iter().map(|one| renamed(one, below));
                (name.to_string(), Value::Array(list.collect()))
            }
            (Some((name, _)), value) => (name.to_string(), value),
            (None, value) => (name, value),
        }
    });
    Value::Object(all.collect())
}

fn check_type(value: &Value, of: &Type, path: &str) -> Result<()> {
    let wrong = |value: &Value, go: &str| {
        let kind = match value {
            Value::Number(n) if go == "int" => format!("number {n}"),
            other => go_kind(other).to_string(),
        };
        Err(crate::error::message!(
            "invalid Kustomization: json: cannot unmarshal {kind} into Go struct field Kustomization{path} of type {go}"
        ))
    };
    if value.is_null() {
        return Ok(());
    }
    match of {
        Text if !value.is_string() => wrong(value, "string"),
        Bool if !value.is_boolean() => wrong(value, "bool"),
        Int if !value.is_i64() => wrong(value, "int"),
        Texts => match value.as_array() {
            None => wrong(value, "[]string"),
            Some(list) => list
                .iter()
                .enumerate()
                .try_for_each(|(at, one)| check_type(one, &Text, &format!("{path}.{at}"))),
        },
        Pairs => match value.as_object() {
            None => wrong(value, "map[string]string"),
            Some(map) => map
                .iter()
                .try_for_each(|(key, one)| check_type(one, &Text, &format!("{path}.{key}"))),
        },
        One(go, fields) => match value.is_object() {
            true => check(value, fields, path),
            false => wrong(value, go),
        },
        List(go, fields) => match value.as_array() {
            None => wrong(value, &format!("[]{go}")),
            Some(list) => list.iter().enumerate().try_for_each(|(at, one)| match one {
                Value::Null => Ok(()),
                one if one.is_object() => check(one, fields, &format!("{path}.{at}")),
                one => wrong(one, go),
            }),
        },
        _ => Ok(()),
    }
}
