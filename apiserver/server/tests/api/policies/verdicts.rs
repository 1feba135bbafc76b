//! What policies say of a write, and what becomes of it when they fail.

use serde_json::{Value, json};

use super::{REFUSED, over, said};

#[tokio::test]
async fn messages_reasons_and_failures() {
    let one = |validation: Value| json!({"validations": [validation]});
    for (change, code, message) in [
        (
            one(json!({"expression": "has(object.data.b)"})),
            422,
            "failed expression: has(object.data.b)",
        ),
        (
            one(
                json!({"expression": "false", "messageExpression": "'a is ' + object.data.a", "reason": "Forbidden"}),
            ),
            403,
            "a is 1",
        ),
        (
            one(json!({"expression": "false", "reason": "RequestEntityTooLarge", "message": "m"})),
            413,
            "m",
        ),
        (
            one(json!({"expression": "object.data.b == '1'"})),
            422,
            "expression 'object.data.b == '1'' resulted in error: no such key: b",
        ),
        (
            json!({"variables": [{"name": "a", "expression": "int(object.data.a)"}, {"name": "b", "expression": "variables.a + 1"}],
                "validations": [{"expression": "variables.b == 1", "messageExpression": "'b is ' + string(variables.b)"}]}),
            422,
            "b is 2",
        ),
        (
            json!({"matchConditions": [{"name": "c", "expression": "object.data.b == '1'"}], "validations": [{"expression": "false"}]}),
            422,
            "expression 'object.data.b == '1'' resulted in error: no such key: b",
        ),
        (
            json!({"auditAnnotations": [{"key": "k", "valueExpression": "string(object.data.b)"}]}),
            422,
            "expression 'string(object.data.b)' resulted in error: no such key: b",
        ),
        (
            one(json!({"expression": "request.userInfo.username != 'admin'"})),
            422,
            "failed expression: request.userInfo.username != 'admin'",
        ),
        (
            one(
                json!({"expression": "request.options.kind != 'CreateOptions' || namespaceObject.metadata.name != 'default'"}),
            ),
            422,
            "failed expression: request.options.kind != 'CreateOptions' || namespaceObject.metadata.name != 'default'",
        ),
        (
            one(
                json!({"expression": "!authorizer.requestResource.check('delete').allowed() || authorizer.serviceAccount('default', 'nobody').group('').resource('pods').check('get').allowed()", "message": "m"}),
            ),
            422,
            "m",
        ),
        (
            json!({"paramKind": {"apiVersion": "none.example.com/v1", "kind": "None"}, "validations": [{"expression": "true"}]}),
            422,
            "",
        ),
    ] {
        let answer = said(change.clone(), json!({}), json!({"a": "1"}))
            .await
            .is(code);
        let wanted = match message {
            "" => "configmaps \"m\" is forbidden: ValidatingAdmissionPolicy 'p' denied request: failed to configure policy: failed to find resource referenced by paramKind: 'none.example.com/v1, Kind=None'".to_string(),
            message => format!("{REFUSED}{message}"),
        };
        assert_eq!(answer.message(), wanted, "{change}");
    }
    // what goes wrong is passed over where a policy says so; what is false is not
    let ignoring = |change: Value| over(json!({"failurePolicy": "Ignore"}), change);
    for (change, code) in [
        (one(json!({"expression": "object.data.b == '1'"})), 201),
        (one(json!({"expression": "object.data.a == '2'"})), 422),
        (
            json!({"matchConditions": [{"name": "c", "expression": "object.data.b == '1'"}], "validations": [{"expression": "false"}]}),
            201,
        ),
        (
            json!({"paramKind": {"apiVersion": "none.example.com/v1", "kind": "None"}, "validations": [{"expression": "true"}]}),
            201,
        ),
        (
            json!({"auditAnnotations": [{"key": "k", "valueExpression": "string(object.data.b)"}]}),
            201,
        ),
    ] {
        said(ignoring(change), json!({}), json!({"a": "1"}))
            .await
            .is(code);
    }
}
