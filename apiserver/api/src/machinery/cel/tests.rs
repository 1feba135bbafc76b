//! Expressions over data that a schema declares: `testdata/cel/declared/*.yaml`. A group has a `schema`, `self`, and `cases` with `cel`, and `refused` or
//! `error` where they are not true; `cost` and `most` as in the other cases of expressions.

use super::*;
use crate::machinery::read::Read;
use serde_json::Value as Json;
use skiff_cel::value::from_json_as;
use std::sync::Arc;

const CASES: [&str; 2] = [
    include_str!("../../../../../testdata/cel/declared/costs.yaml"),
    include_str!("../../../../../testdata/cel/declared/reading.yaml"),
];

/// What differs between a case and what came of it.
fn differs(env: &Env, of: &Arc<Declared>, itself: &Json, case: &Json) -> Option<String> {
    let compiled = match (env.compile(case.text("cel")), case.text_ptr("refused")) {
        (Err(issues), Some(wanted)) if issues.to_string() == wanted => return None,
        (Err(issues), _) => return Some(issues.to_string()),
        (Ok(_), Some(_)) => return Some("it was not refused".into()),
        (Ok(compiled), None) => compiled,
    };
    if let Err(error) = compiled.instantiated() {
        return Some(error.to_string());
    }
    let most = compiled.cost_estimate().max;
    let wanted = case.some("most").and_then(Json::as_u64);
    if wanted.is_some_and(|wanted| wanted != most) {
        return Some(format!("most {most}"));
    }
    let value = from_json_as(itself, of).expect("it is of its type");
    let activation = Activation::new().with("self", value);
    let (outcome, cost) = compiled.evaluate(&activation, RUNTIME_BUDGET);
    let wanted = case.some("cost").and_then(Json::as_u64);
    if wanted.is_some_and(|wanted| wanted != cost) {
        return Some(format!("cost {cost}"));
    }
    match (outcome, case.text_ptr("error")) {
        (Ok(Value::Bool(true)), None) => None,
        (Err(error), Some(wanted)) if error.to_string() == wanted => None,
        (outcome, _) => Some(format!("{outcome:?}")),
    }
}

#[test]
fn declared_data() {
    let mut faults = Vec::new();
    for text in CASES {
        let groups: Vec<Json> = serde_yaml_ng::from_str(text).expect("groups of cases");
        for group in &groups {
            let of = declare_root(group.at("schema"), "selfType");
            let env = env().extend().declared("self", &of).build();
            for case in group.list("cases") {
                if let Some(fault) = differs(&env, &of, group.at("self"), case) {
                    faults.push(format!("{}\n    {fault}", case.text("cel")));
                }
            }
        }
    }
    assert!(
        faults.is_empty(),
        "{}:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

#[test]
fn sizes_of_schemas() {
    for (schema, max_elements, min_size) in [
        (r#"{"type": "string"}"#, 3_145_726, 2),
        (r#"{"type": "string", "maxLength": 10}"#, 40, 2),
        (r#"{"type": "string", "enum": ["a", "abc"]}"#, 3, 2),
        (r#"{"type": "string", "format": "date-time"}"#, 32, 21),
        (
            r#"{"type": "array", "items": {"type": "integer"}}"#,
            1_572_863,
            2,
        ),
        (
            r#"{"type": "array", "maxItems": 5, "items": {"type": "integer"}}"#,
            5,
            2,
        ),
        (
            r#"{"type": "object", "additionalProperties": {"type": "string"}}"#,
            393_215,
            2,
        ),
        (
            r#"{"type": "object", "required": ["a", "b"], "properties": {"a": {"type": "string"}, "b": {"type": "string", "default": ""}}}"#,
            0,
            9,
        ),
        (r#"{"x-kubernetes-int-or-string": true}"#, 3_145_726, 1),
    ] {
        let schema_json: Json = serde_json::from_str(schema).expect("a schema");
        let of = declare(&schema_json, "t");
        assert_eq!(
            (of.max_elements, of.min_size),
            (max_elements, min_size),
            "{schema}"
        );
    }
    let hidden: Json = serde_json::json!({"type": "array", "items": {"x-kubernetes-preserve-unknown-fields": true}});
    assert!(declare(&hidden, "t").ty.is_none());
}
