//! What a real server was recorded to answer about access, asked of this folder alone: authentication by token, impersonation, authorization,
//! escalation and reviews, over the default policy and the recording's own roles.

use std::{collections::HashMap, io::Write, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::{
    Attributes, User,
    authenticate::review::token_review,
    authenticate::{Anonymous, Authenticator, Config},
    authorize::{
        Authorizers, bootstrap, escalation, forbidden,
        rbac::{CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES},
        reviews,
    },
    impersonate::impersonate,
    testing::{Fake, StoppedClock, of_modes, recorded},
};

/// As much of a request's path as access hangs on.
fn attributes(method: &str, target: &str, user: User) -> Attributes {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query: HashMap<&str, &str> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .collect();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
        ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
        _ => {
            let verb = method.to_lowercase();
            return Attributes {
                user: Arc::new(user),
                verb,
                path: path.into(),
                ..Attributes::default()
            };
        }
    };
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
        ["namespaces", namespace] => (*namespace, &["namespaces", namespace][..]),
        rest => ("", rest),
    };
    let at = |index: usize| rest.get(index).copied().unwrap_or_default().to_owned();
    let verb = match (method, at(1).as_str()) {
        ("GET", "") if query.get("watch") == Some(&"true") => "watch",
        ("GET", "") => "list",
        ("GET", _) => "get",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", "") => "deletecollection",
        _ => "delete",
    };
    Attributes {
        user: Arc::new(user),
        verb: verb.into(),
        resource_request: true,
        group: group.into(),
        version: version.into(),
        resource: at(0),
        name: at(1),
        subresource: at(2),
        namespace: namespace.into(),
        path: path.into(),
        ..Attributes::default()
    }
}

fn world(lines: &[Value]) -> (Authenticator, Authorizers) {
    let fake = Arc::new(Fake::default());
    for (resource, _, object) in bootstrap::bootstrap_objects() {
        fake.put(resource, object);
    }
    for line in lines.iter().filter(|line| line["setup"] == true) {
        let resource = match line["response"]["kind"].as_str() {
            Some("Role") => ROLES,
            Some("ClusterRole") => CLUSTER_ROLES,
            Some("RoleBinding") => ROLE_BINDINGS,
            Some("ClusterRoleBinding") => CLUSTER_ROLE_BINDINGS,
            _ => continue,
        };
        fake.put(resource, line["response"].clone());
    }
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"admin-token,admin,u-admin,system:masters\nalice-token,alice,u-alice,dev\nbob-token,bob,u-bob,\"dev,ops\"\n").unwrap();
    let config = Config {
        client_ca: None,
        front_proxies: None,
        token_file: Some(file.path().to_owned()),
        service_account_keys: vec![],
        issuers: vec!["https://kubernetes.default.svc".into()],
        audiences: vec![],
        lookup: true,
        bootstrap_tokens: true,
        anonymous: Anonymous::Yes,
        remote: Vec::new(),
    };
    let authenticator = Authenticator::new(
        config,
        fake.clone(),
        StoppedClock::at("2026-01-01T00:00:00Z"),
    )
    .unwrap();
    (authenticator, of_modes(&["Node", "RBAC"], fake))
}

fn headers(line: &Value) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut add = |name: &str, value: &str| {
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
    };
    for (name, value) in line["headers"].as_object().into_iter().flatten() {
        for value in value.as_array().unwrap_or(&vec![value.clone()]) {
            add(name, value.as_str().unwrap());
        }
    }
    match line.get("as") {
        Some(Value::Null) => {}
        token => add(
            "Authorization",
            &format!(
                "Bearer {}",
                token.and_then(Value::as_str).unwrap_or("admin-token")
            ),
        ),
    }
    headers
}

/// What this folder answers: a refusal, the status of a review, or nothing (whatever comes after access decides).
async fn answer(
    line: &Value,
    authenticator: &Authenticator,
    authorizers: &Authorizers,
) -> Option<Result<Value, Value>> {
    let headers = headers(line);
    let (method, path) = (line["method"].as_str()?, line["path"].as_str()?);
    let Ok(identity) = authenticator.identify(path, &headers, None).await else {
        return Some(Err(json!({"code": 401, "message": "Unauthorized"})));
    };
    let asked = attributes(method, path, Arc::unwrap_or_clone(identity?.user));
    let refuse = |status: skiff_api::machinery::status::Status| Some(Err(status.to_value()));
    let asked = match impersonate(&headers, &asked, authorizers).await {
        Ok(Some(user)) => Attributes {
            user: Arc::new(user),
            ..asked
        },
        Ok(None) => asked,
        Err(status) => return refuse(status),
    };
    let verdict = authorizers.decide(&asked).await;
    if !verdict.allowed() {
        return refuse(forbidden(&asked, verdict.reason()));
    }
    let spec = &line["body"]["spec"];
    let status = match asked.resource.as_str() {
        "subjectaccessreviews" => reviews::subject_access(authorizers, spec).await,
        "selfsubjectaccessreviews" => {
            reviews::self_subject_access(authorizers, &asked.user, spec).await
        }
        "selfsubjectrulesreviews" => reviews::self_subject_rules(
            authorizers,
            &asked.user,
            spec["namespace"].as_str().unwrap_or_default(),
        ),
        "selfsubjectreviews" => Ok(json!({"userInfo": &*asked.user})),
        "tokenreviews" => token_review(authenticator, &json!({"spec": spec})).await,
        resource => {
            let kind = escalation::Kind::of(resource)
                .filter(|_| matches!(asked.verb.as_str(), "create" | "update"))?;
            let empty = json!({});
            let write = escalation::Write {
                kind,
                user: &asked.user,
                namespace: &asked.namespace,
                request_name: &asked.name,
                new: &line["body"],
                old: (asked.verb == "update").then_some(&empty),
            };
            return escalation::check(authorizers, &write)
                .await
                .err()
                .and_then(refuse);
        }
    };
    Some(status.map_err(|status| status.to_value()))
}

/// Lists compare without order, as the recording's own comparison has it.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(sorted).collect();
            items.sort_by_key(Value::to_string);
            Value::Array(items)
        }
        Value::Object(map) => Value::Object(
            map.iter()
                .map(|(key, value)| (key.clone(), sorted(value)))
                .collect(),
        ),
        other => other.clone(),
    }
}

#[tokio::test]
async fn access_is_as_recorded() {
    let Some(lines) = recorded("access.jsonl") else {
        return;
    };
    let (authenticator, authorizers) = world(&lines);
    let (mut compared, mut wrong) = (0, Vec::new());
    for line in lines
        .iter()
        .filter(|line| line["id"].is_string() && line["setup"] != true)
    {
        let (id, recorded) = (line["id"].as_str().unwrap(), &line["response"]);
        let code = line["status"].as_i64().unwrap();
        // Validation of specs comes before, and is the kinds'.
        if code == 422 {
            continue;
        }
        let got = answer(line, &authenticator, &authorizers).await;
        let right = match &got {
            Some(Err(status)) => {
                status["code"] == code
                    && status["message"] == recorded["message"]
                    && status.get("details") == recorded.get("details").filter(|_| code != 401)
            }
            Some(Ok(status)) => sorted(status) == sorted(&recorded["status"]),
            None => code != 401 && code != 403,
        };
        compared += 1;
        if !right {
            wrong.push(format!(
                "{id}: {got:?}\n   recorded: {code} {}",
                if code < 300 {
                    &recorded["status"]
                } else {
                    recorded
                }
            ));
        }
    }
    eprintln!("{compared} answers compared");
    assert!(compared > 180, "{compared}");
    assert!(
        wrong.is_empty(),
        "{} of {compared} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
