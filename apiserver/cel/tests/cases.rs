//! Expressions and what comes of them: `testdata/cel/*.yaml`, one file an area.
//!
//! A case has `cel`, and one of `value` (as JSON), `error` (when evaluated), `unmade` (when instantiated) or `refused` (when compiled); `cost` is what it
//! costs in fact, `estimate` what at least and at most. `variables` of a file are by name the type and the value that its cases may ask for.

use serde::Deserialize;
use serde_json::Value as Json;
use skiff_cel::value::{convert, from_json};
use skiff_cel::{Activation, Env, PER_CALL_LIMIT, Type};
use std::collections::BTreeMap;
use std::path::Path;

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/cel");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    variables: BTreeMap<String, Variable>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Variable {
    r#type: String,
    #[serde(default)]
    value: Json,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    cel: String,
    value: Option<Json>,
    error: Option<String>,
    unmade: Option<String>,
    refused: Option<String>,
    cost: Option<u64>,
    estimate: Option<(u64, u64)>,
}

/// `list(map(string, int))`
fn read_type(text: &str) -> Type {
    let inner = |prefix: &str| {
        let rest = text.strip_prefix(prefix)?.strip_prefix('(')?;
        rest.strip_suffix(')')
    };
    if let Some(of) = inner("list") {
        return Type::list(read_type(of));
    }
    if let Some(of) = inner("map") {
        let (key, value) = of.split_once(", ").expect("a map has two types");
        return Type::map(read_type(key), read_type(value));
    }
    match text {
        "bool" => Type::Bool,
        "int" => Type::Int,
        "double" => Type::Double,
        "string" => Type::String,
        "dyn" => Type::Dyn,
        other => panic!("{other} is no type of a case"),
    }
}

/// What differs between a case and what came of it.
fn differs(env: &Env, variables: &BTreeMap<String, Variable>, case: &Case) -> Option<String> {
    let compiled = match (env.compile(&case.cel), &case.refused) {
        (Err(issues), Some(wanted)) => {
            let found = issues.to_string();
            return (found.trim_end() != wanted.trim_end()).then_some(found);
        }
        (Err(issues), None) => return Some(issues.to_string()),
        (Ok(_), Some(_)) => return Some("it was not refused".into()),
        (Ok(compiled), None) => compiled,
    };
    if let Err(error) = compiled.instantiated() {
        let found = error.to_string();
        return (Some(&found) != case.unmade.as_ref()).then_some(found);
    }
    let mut wrong = Vec::new();
    let estimate = compiled.cost_estimate();
    if let Some(wanted) = case.estimate
        && wanted != (estimate.min, estimate.max)
    {
        wrong.push(format!("estimate [{}, {}]", estimate.min, estimate.max));
    }
    let mut activation = Activation::new();
    for (name, variable) in variables {
        activation.set(name, from_json(&variable.value));
    }
    let (outcome, cost) = compiled.evaluate(&activation, PER_CALL_LIMIT);
    if case.cost.is_some_and(|wanted| wanted != cost) {
        wrong.push(format!("cost {cost}"));
    }
    let found = outcome.and_then(|value| convert::to_json(&value));
    match (found, &case.value, &case.error) {
        (Ok(found), Some(wanted), None) if found == *wanted => {}
        (Err(found), None, Some(wanted)) if found.to_string() == *wanted => {}
        (Ok(found), ..) => wrong.push(format!("value {found}")),
        (Err(found), ..) => wrong.push(format!("error {found}")),
    }
    (!wrong.is_empty()).then(|| wrong.join(", "))
}

#[test]
fn all_cases() {
    let mut faults = Vec::new();
    let mut count = 0;
    let mut files: Vec<_> = std::fs::read_dir(Path::new(CASES))
        .expect("the cases are there")
        .map(|entry| entry.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "yaml"))
        .collect();
    files.sort();
    for path in files {
        let text = std::fs::read_to_string(&path).expect("a text");
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let file: File =
            serde_yaml_ng::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut builder = Env::kubernetes().extend().bindings();
        for (name, variable) in &file.variables {
            builder = builder.variable(name, read_type(&variable.r#type));
        }
        let env = builder.build();
        for case in &file.cases {
            count += 1;
            if let Some(fault) = differs(&env, &file.variables, case) {
                faults.push(format!("{name}: {}\n    {fault}", case.cel));
            }
        }
    }
    assert!(
        faults.is_empty(),
        "{} of {count}:\n{}",
        faults.len(),
        faults.join("\n")
    );
    assert!(count >= 200, "{count} cases");
}
