use serde_json::json;

use super::*;

/// What a policy has against a request for an object.
fn judged(spec: Json, object: &Json, params: Option<&Json>) -> Verdict {
    let policy = Policy::read(
        &json!({"metadata": {"name": "p"}, "spec": spec}),
        Validations::read,
    );
    judge(
        &policy,
        &Input {
            object: Some(object),
            old: None,
            request: &json!({"operation": "CREATE", "name": "x"}),
            namespace: Some(&json!({"metadata": {"name": "a", "labels": {"tier": "low"}}})),
            params,
            asker: None,
        },
    )
}

fn messages_of(verdict: &Verdict) -> Vec<&str> {
    let all = verdict.denials.iter().chain(&verdict.annotations);
    all.map(|denial| denial.message.as_str()).collect()
}

#[test]
fn what_validations_say() {
    let object = json!({"spec": {"replicas": 7}});
    let one = |validation: Json| json!({"validations": [validation]});
    for (spec, wanted) in [
        (
            one(json!({"expression": "object.spec.replicas > 5"})),
            vec![],
        ),
        (
            one(json!({"expression": " object.spec.replicas < 5 "})),
            vec!["failed expression: object.spec.replicas < 5"],
        ),
        (
            one(json!({"expression": "object.spec.replicas < 5", "message": " too many "})),
            vec!["too many"],
        ),
        (
            one(
                json!({"expression": "object.spec.replicas < 5", "message": "too many", "messageExpression": "string(object.spec.replicas) + ' are too many'"}),
            ),
            vec!["7 are too many"],
        ),
        // an expression for a message that fails, says nothing or too many lines is passed over
        (
            one(
                json!({"expression": "false", "message": "no", "messageExpression": "object.nosuch"}),
            ),
            vec!["no"],
        ),
        (
            one(json!({"expression": "false", "message": "no", "messageExpression": "' '"})),
            vec!["no"],
        ),
        (
            one(json!({"expression": "false", "message": "no", "messageExpression": "'a\\nb'"})),
            vec!["no"],
        ),
        (
            one(json!({"expression": "object.nosuch == 1"})),
            vec!["expression 'object.nosuch == 1' resulted in error: no such key: nosuch"],
        ),
        (
            one(json!({"expression": "object.spec"})),
            vec!["compilation error: must evaluate to bool but got dyn"],
        ),
        (
            json!({"failurePolicy": "Ignore", "validations": [{"expression": "object.nosuch == 1"}, {"expression": "false"}]}),
            vec!["failed expression: false"],
        ),
        (
            json!({"variables": [{"name": "many", "expression": "object.spec.replicas > 5"}, {"name": "more", "expression": "variables.many && true"}], "validations": [{"expression": "!variables.more"}]}),
            vec!["failed expression: !variables.more"],
        ),
        (
            json!({"variables": [{"name": "a", "expression": "object.nosuch"}], "validations": [{"expression": "variables.a == 1"}, {"expression": "true || variables.a == 1"}]}),
            vec![
                "expression 'variables.a == 1' resulted in error: composited variable \"a\" fails to evaluate: no such key: nosuch",
            ],
        ),
        (
            one(
                json!({"expression": "namespaceObject.metadata.labels['tier'] == 'high' && request.operation == 'CREATE'"}),
            ),
            vec![
                "failed expression: namespaceObject.metadata.labels['tier'] == 'high' && request.operation == 'CREATE'",
            ],
        ),
        (
            json!({"matchConditions": [{"name": "c", "expression": "object.spec.replicas < 5"}], "validations": [{"expression": "false"}]}),
            vec![],
        ),
        (
            json!({"matchConditions": [{"name": "c", "expression": "object.nosuch < 5"}], "validations": [{"expression": "false"}]}),
            vec!["expression 'object.nosuch < 5' resulted in error: no such key: nosuch"],
        ),
        (
            json!({"failurePolicy": "Ignore", "matchConditions": [{"name": "c", "expression": "object.nosuch < 5"}], "validations": [{"expression": "false"}]}),
            vec![],
        ),
        (
            json!({"auditAnnotations": [{"key": "k", "valueExpression": "object.nosuch"}]}),
            vec!["compilation error: must evaluate to one of [string null_type] but got dyn"],
        ),
        (
            json!({"auditAnnotations": [{"key": "k", "valueExpression": "string(object.nosuch)"}, {"key": "l", "valueExpression": "'x'"}]}),
            vec!["expression 'string(object.nosuch)' resulted in error: no such key: nosuch"],
        ),
    ] {
        let verdict = judged(spec.clone(), &object, None);
        assert_eq!(messages_of(&verdict), wanted, "{spec}");
    }
}

#[test]
fn parameters_may_be_none() {
    let spec = json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}, "validations": [{"expression": "params != null && params.data.most == '5'"}]});
    let params = json!({"data": {"most": "5"}});
    assert_eq!(
        judged(spec.clone(), &json!({}), Some(&params)),
        Verdict::default()
    );
    assert_eq!(judged(spec, &json!({}), None).denials.len(), 1);
}

#[test]
fn reasons_have_codes() {
    for (reason, wanted) in [
        ("", ("Invalid", 422)),
        ("Invalid", ("Invalid", 422)),
        ("Forbidden", ("Forbidden", 403)),
        ("Unauthorized", ("Unauthorized", 401)),
        ("RequestEntityTooLarge", ("RequestEntityTooLarge", 413)),
    ] {
        assert_eq!(Reason::read(reason).answer(), wanted);
    }
}

#[test]
fn expressions_share_a_budget() {
    let object = json!({"list": (0..300).collect::<Vec<_>>()});
    let costly = json!({"expression": "object.list.all(a, object.list.all(b, a + b >= 0))"});
    let spec = json!({"validations": vec![costly; 30]});
    assert_eq!(
        messages_of(&judged(spec, &object, None)),
        vec![
            "validation failed due to running out of cost budget, no further validation rules will be run"
        ]
    );
}
