//! What is said first where more than one thing is wrong, and what is said beside it: the order of a write's steps, as clients see it.

use serde_json::{Value, json};

use crate::server::{Answer, Server};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const WATCH: &str = "/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=1";

/// Asked by somebody who may write roles and bindings in every place, and holds nothing else.
async fn writer(server: &Server, method: &str, path: &str, body: &Value) -> Answer {
    let headers = [
        ("content-type", "application/json"),
        ("impersonate-user", "writer"),
    ];
    server.send(method, path, &headers, body.to_string()).await
}

async fn with_writer() -> Server {
    let server = Server::start().await;
    let rules = json!([{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["create", "update", "get"]}]);
    let role = json!({"metadata": {"name": "writer"}, "rules": rules});
    server.make(&format!("{RBAC}/clusterroles"), &role).await;
    let group = "rbac.authorization.k8s.io";
    let binding = json!({"metadata": {"name": "writer"}, "subjects": [{"kind": "User", "name": "writer", "apiGroup": group}],
        "roleRef": {"kind": "ClusterRole", "name": "writer", "apiGroup": group}});
    server
        .make(&format!("{RBAC}/clusterrolebindings"), &binding)
        .await;
    server
}

/// Pods can be made.
async fn with_account() -> Server {
    let server = Server::start().await;
    let path = "/api/v1/namespaces/default/serviceaccounts";
    server
        .make(path, &json!({"metadata": {"name": "default"}}))
        .await;
    server
}

#[tokio::test]
async fn who_grants_too_much_is_told_of_that_before_anything_else() {
    let server = with_writer().await;
    let roles = format!("{RBAC}/namespaces/default/roles");
    let rules = json!([{"nonResourceURLs": ["healthz"], "verbs": ["get"]}]);
    let role = json!({"metadata": {"name": "a"}, "rules": rules});
    let message = "is attempting to grant RBAC permissions not currently held:\n{NonResourceURLs:[\"healthz\"], Verbs:[\"get\"]}";
    let answer = writer(&server, "POST", &roles, &role).await.is(403);
    assert!(answer.message().ends_with(message), "{}", answer.message());
    server
        .make(&roles, &json!({"metadata": {"name": "a"}, "rules": []}))
        .await;
    let one = format!("{roles}/a");
    let answer = writer(&server, "PUT", &one, &role).await.is(403);
    assert!(answer.message().ends_with(message), "{}", answer.message());
    // who may grant anything is told what is wrong with it
    let answer = server.post(&roles, &role).await.is(422);
    assert!(
        answer
            .message()
            .ends_with("namespaced rules cannot apply to non-resource URLs")
    );
}

#[tokio::test]
async fn a_role_is_looked_for_in_no_namespace_by_a_binding_of_the_cluster() {
    let server = with_writer().await;
    let group = "rbac.authorization.k8s.io";
    let binding = json!({"metadata": {"name": "b"}, "roleRef": {"kind": "Role", "name": "a", "apiGroup": group}});
    let path = format!("{RBAC}/clusterrolebindings");
    let answer = writer(&server, "POST", &path, &binding).await;
    assert_eq!(answer.is(400).message(), "Namespace parameter required.");
    server.post(&path, &binding).await.is(422);
}

#[tokio::test]
async fn what_validates_comes_after_warnings() {
    let server = with_account().await;
    server
        .make(
            "/api/v1/namespaces/default/resourcequotas",
            &json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "0"}}}),
        )
        .await;
    let status = json!({"status": {"hard": {"pods": "0"}, "used": {"pods": "0"}}});
    let path = "/api/v1/namespaces/default/resourcequotas/q/status";
    server.patch(path, "merge", &status).await.is(200);
    let pod = json!({"metadata": {"name": "p"}, "spec": {"automountServiceAccountToken": false, "nodeSelector": {"beta.kubernetes.io/os": "linux"}, "containers": [{"name": "c", "image": "x"}]}});
    let answer = server.post(PODS, &pod).await.is(403);
    assert_eq!(answer.warnings.len(), 1, "{:?}", answer.warnings);
}

#[tokio::test]
async fn a_name_that_could_have_been_made_is_told_of_so() {
    let server = Server::start().await;
    let map = json!({"metadata": {"name": "m"}});
    server.make(MAPS, &map).await;
    let answer = server.post(MAPS, &map).await.is(409);
    assert_eq!(answer.message(), "configmaps \"m\" already exists");
    let map = json!({"metadata": {"name": "m", "generateName": "x-"}});
    for path in [MAPS.to_string(), format!("{MAPS}?dryRun=All")] {
        let answer = server.post(&path, &map).await.is(409);
        assert_eq!(
            answer.message(),
            "configmaps \"m\" already exists, the server was not able to generate a unique name for the object"
        );
        assert_eq!(answer.json()["details"]["retryAfterSeconds"], 1);
    }
}

#[tokio::test]
async fn owners_that_stand_twice_are_named() {
    let server = Server::start().await;
    let owner = |uid: &str| json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid});
    let owners = json!([owner("a"), owner("b"), owner("a"), owner("b"), owner("c")]);
    let map = json!({"metadata": {"name": "m", "ownerReferences": owners}});
    let told = |when: &str| {
        [format!(
            "299 - \".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: a, b\""
        )]
    };
    assert_eq!(server.post(MAPS, &map).await.is(201).warnings, told(""));
    let one = format!("{MAPS}/m?dryRun=All");
    assert_eq!(server.put(&one, &map).await.is(200).warnings, told(""));
    let patch = json!({"metadata": {"ownerReferences": owners}});
    let patched = server.patch(&one, "merge", &patch).await.is(200);
    assert_eq!(patched.warnings, told(" after mutating admission happens"));
}

#[tokio::test]
async fn all_that_is_wrong_with_parameters_is_told() {
    let server = Server::start().await;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}});
    let path = format!("{MAPS}/m?dryRun=all&fieldValidation=x");
    let headers = [("content-type", "application/apply-patch+yaml")];
    let answer = server.send("PATCH", &path, &headers, map.to_string()).await;
    assert_eq!(
        answer.is(422).message(),
        "PatchOptions.meta.k8s.io \"\" is invalid: [fieldManager: Required value: is required for apply patch, dryRun: Unsupported value: [\"all\"]: supported values: \"All\", fieldValidation: Unsupported value: \"x\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"]"
    );
    for (query, told) in [
        (
            "&sendInitialEvents=true&resourceVersionMatch=Exact",
            "[resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan, resourceVersionMatch: Unsupported value: \"Exact\": supported values: \"NotOlderThan\"]",
        ),
        (
            "&continue=x",
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided",
        ),
    ] {
        let answer = server.get(&format!("{WATCH}{query}")).await.is(422);
        let said = format!("ListOptions.meta.k8s.io \"\" is invalid: {told}");
        assert_eq!(answer.message(), said, "{query}");
    }
}

#[tokio::test]
async fn a_watch_of_what_there_is_tells_when_it_was_told() {
    let server = Server::start().await;
    let told = |answer: Answer| -> Vec<Value> {
        let text = answer.is(200).text();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let end = |event: &Value| {
        event["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"] == "true"
    };
    for query in ["", "&resourceVersion=0"] {
        let path = format!("{WATCH}&allowWatchBookmarks=true{query}");
        let events = told(server.get(&path).await);
        assert_eq!(events.iter().filter(|e| end(e)).count(), 1, "{events:?}");
        let events = told(server.get(&format!("{WATCH}{query}")).await);
        assert_eq!(events.iter().filter(|e| end(e)).count(), 0, "{events:?}");
    }
    // in a table it is a row of an object that is nothing
    let path = format!(
        "{WATCH}&allowWatchBookmarks=true&fieldSelector=metadata.name%3Dx&includeObject=None"
    );
    let table = ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    let events = told(server.send("GET", &path, &[table], "").await);
    let object = &events[0]["object"];
    assert_eq!(object["columnDefinitions"][0]["name"], "Name");
    assert_eq!(object["rows"][0]["cells"], json!(["", 0, "<unknown>"]));
    let partial = &object["rows"][0]["object"];
    assert_eq!(
        partial["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
}

#[tokio::test]
async fn a_scale_is_an_object() {
    let server = Server::start().await;
    let apps = "/apis/apps/v1/namespaces/default/deployments";
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}});
    let spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template});
    let made = server
        .make(apps, &json!({"metadata": {"name": "d"}, "spec": spec}))
        .await
        .json();
    let own = made["metadata"]["uid"].as_str().unwrap();
    let one = format!("{apps}/d/scale?dryRun=All");
    let other = format!(
        "Operation cannot be fulfilled on deployments/scale.apps \"d\": Precondition failed: UID in precondition: x, UID in object meta: {own}"
    );
    let stored = format!(
        "Operation cannot be fulfilled on deployments.apps \"d\": StorageError: invalid object, Code: 4, Key: /deployments/default/d, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: x, UID in object meta: {own}"
    );
    let cases = [
        ("PUT", json!({"uid": own}), 200, ""),
        ("PUT", json!({"uid": "x"}), 409, &*stored),
        ("PATCH", json!({"uid": "x"}), 409, &*other),
        (
            "PUT",
            json!({"resourceVersion": "x"}),
            500,
            "strconv.ParseUint: parsing \"x\": invalid syntax",
        ),
        (
            "PUT",
            json!({"resourceVersion": "1"}),
            409,
            "Operation cannot be fulfilled on deployments.apps \"d\": the object has been modified; please apply your changes to the latest version and try again",
        ),
        (
            "PUT",
            json!({"namespace": "other"}),
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            "PATCH",
            json!({"namespace": "other"}),
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            "PATCH",
            json!({"finalizers": ["x"]}),
            422,
            "Scale.autoscaling \"d\" is invalid: metadata.finalizers[0]: Invalid value: \"x\": name is neither a standard finalizer name nor is it fully qualified",
        ),
        (
            "PUT",
            json!({"generation": -1}),
            422,
            "Scale.autoscaling \"d\" is invalid: metadata.generation: Invalid value: -1: must be greater than or equal to 0",
        ),
    ];
    for (method, mut metadata, code, told) in cases {
        metadata["name"] = "d".into();
        let scale = json!({"metadata": metadata, "spec": {"replicas": 3}});
        let media = match method {
            "PUT" => "application/json",
            _ => "application/merge-patch+json",
        };
        let headers = [("content-type", media)];
        let answer = server.send(method, &one, &headers, scale.to_string()).await;
        let answer = answer.is(code);
        assert_eq!(
            answer.json()["message"].as_str().unwrap_or(""),
            told,
            "{scale}"
        );
    }
}

#[tokio::test]
async fn what_a_pod_is_asked_for_is_about_that_pod() {
    let server = with_account().await;
    let container = json!({"name": "c", "image": "x"});
    let pod = json!({"metadata": {"name": "p"}, "spec": {"automountServiceAccountToken": false, "containers": [container]}});
    server.make(PODS, &pod).await;
    let elsewhere =
        "the namespace of the provided object does not match the namespace sent on the request";
    let node = json!({"kind": "Node", "name": "n"});
    for (sub, body, code, told) in [
        (
            "binding",
            json!({"target": node}),
            400,
            "name in URL does not match name in Binding object",
        ),
        (
            "binding",
            json!({"metadata": {"name": "p", "namespace": "x"}, "target": node}),
            400,
            elsewhere,
        ),
        (
            "eviction",
            json!({"metadata": {"name": "p", "namespace": "x"}}),
            400,
            elsewhere,
        ),
    ] {
        let answer = server.post(&format!("{PODS}/p/{sub}"), &body).await;
        assert_eq!(answer.is(code).message(), told, "{sub} {body}");
    }
    let path = format!("{PODS}/p/binding");
    let stale = json!({"metadata": {"name": "p", "resourceVersion": "1"}, "target": node});
    let told = server.post(&path, &stale).await.is(409).message();
    assert!(
        told.contains("Precondition failed: ResourceVersion in precondition: 1,"),
        "{told}"
    );
    let told = server.get(&format!("{PODS}/p/portforward?ports=x")).await;
    assert_eq!(
        told.is(400).message(),
        "cannot convert to []int32: strconv.ParseUint: parsing \"x\": invalid syntax"
    );
}

#[tokio::test]
async fn custom_objects_are_told_of_as_what_has_no_type() {
    let server = Server::start().await;
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "n": {"type": "integer"}, "s": {"type": "string"}, "m": {"type": "string", "format": "mac"}}}}});
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
        "subresources": {"scale": {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n"}}});
    let definition = json!({"metadata": {"name": "hulls.a.b"}, "spec": {"group": "a.b", "scope": "Cluster",
        "names": {"plural": "hulls", "singular": "hull", "kind": "Hull", "listKind": "HullList"}, "versions": [version]}});
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    server.make(definitions, &definition).await;
    let hulls = "/apis/a.b/v1/hulls";
    server.until(hulls, |answer| answer.code == 200).await;
    let hull = |name: &str, spec: Value| json!({"apiVersion": "a.b/v1", "kind": "Hull", "metadata": {"name": name}, "spec": spec});
    let one = format!("{hulls}/h");
    server.make(hulls, &hull("h", json!({"n": 2}))).await;

    // a null that may not be is left out of what is sent whole, and refused in what is applied
    let null = hull("other", json!({"s": null}));
    server
        .post(&format!("{hulls}?dryRun=All"), &null)
        .await
        .is(201);
    for (spec, code, told) in [
        (
            json!({"s": null}),
            422,
            "spec.s in body must be of type string: \"null\"",
        ),
        (
            json!({"m": true}),
            422,
            "spec.m in body must be of type mac",
        ),
        (
            json!({"m": [1]}),
            500,
            ".spec.m: expected any scalar, got &{[1]}",
        ),
        (
            json!({"s": 5}),
            500,
            ".spec.s: expected string, got &value.valueUnstructured{Value:5}",
        ),
    ] {
        let answer = server.apply(&one, &hull("h", spec)).await.is(code);
        assert!(answer.message().contains(told), "{}", answer.message());
    }

    let scale = format!("{one}/scale");
    for (path, accept, code, told) in [
        (
            &one,
            "as=PartialObjectMetadataList",
            500,
            "content is not a list",
        ),
        (
            &hulls.to_string(),
            "as=PartialObjectMetadata",
            406,
            "you requested PartialObjectMetadata, but the requested object is a list (*unstructured.UnstructuredList)",
        ),
        (
            &scale,
            "as=PartialObjectMetadataList",
            406,
            "you requested PartialObjectMetadataList, but the requested object is not a list (*v1.Scale)",
        ),
        (&scale, "as=PartialObjectMetadata", 200, ""),
        (&scale, "as=Table", 200, ""),
    ] {
        let accept = format!("application/json;v=v1;g=meta.k8s.io;{accept}");
        let answer = server.send("GET", path, &[("accept", &accept)], "").await;
        let answer = answer.is(code).json();
        assert_eq!(
            answer["message"].as_str().unwrap_or(""),
            told,
            "{path} {accept}"
        );
        assert_ne!(answer["kind"], "Scale");
    }
}

#[tokio::test]
async fn what_is_accepted_is_asked_of_what_is_no_object_too() {
    let server = Server::start().await;
    let log = format!("{PODS}/p/log");
    let json = "application/json";
    let all = "text/plain, application/json, application/yaml, application/vnd.kubernetes.protobuf";
    for (path, accept, code, available) in [
        ("/version", json, 200, ""),
        ("/version", "*/*", 200, ""),
        ("/version", "text/html", 406, json),
        ("/.well-known/openid-configuration", "text/html", 406, json),
        ("/openid/v1/jwks", json, 406, "application/jwk-set+json"),
        ("/openid/v1/jwks", "application/jwk-set+json", 200, ""),
        (&log, "text/html", 406, all),
        (&log, json, 404, ""),
        ("/healthz", "text/html", 200, ""),
    ] {
        let answer = server.send("GET", path, &[("accept", accept)], "").await;
        let answer = answer.is(code);
        if code == 406 {
            let told = format!("406: Not Acceptable\n\nAvailable representations: {available}");
            assert_eq!(answer.message(), told, "{path} {accept}");
        }
    }
    let answer = server
        .send("GET", &log, &[("accept", "text/plain")], "")
        .await;
    let told = "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf";
    assert_eq!(answer.is(406).message(), told);
}

/// A body is read as what it says that it is before anybody sees that it is something else.
#[tokio::test]
async fn a_body_is_read_before_it_is_seen_to_be_something_else() {
    let server = Server::start().await;
    let said = async |path: &str, body: Value| server.post(path, &body).await.is(400).message();
    let list = |items: Value| json!({"apiVersion": "v1", "kind": "ConfigMapList", "odd": 1, "items": items});
    let start = "ConfigMapList in version \"v1\" cannot be handled as a ConfigMap:";
    assert_eq!(
        said(MAPS, list(json!([]))).await,
        format!("{start} converting (v1.ConfigMapList) to (core.ConfigMap): unknown conversion")
    );
    let wrong = said(MAPS, list(json!([{"data": 3}]))).await;
    assert!(
        wrong.starts_with(&format!("{start} json: cannot unmarshal number into")),
        "{wrong}"
    );
    let scalers = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    let scaler = |field: &str, value: Value| {
        let mut scaler = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"}});
        scaler[field] = value;
        scaler
    };
    let start =
        "HorizontalPodAutoscaler in version \"v1\" cannot be handled as a HorizontalPodAutoscaler:";
    let strict = format!("{scalers}?fieldValidation=Strict");
    assert_eq!(
        said(&strict, scaler("odd", 1.into())).await,
        format!("{start} strict decoding error: unknown field \"odd\"")
    );
    let other = server.post(scalers, &scaler("odd", 1.into())).await.is(400);
    assert_eq!(other.warnings, ["299 - \"unknown field \\\"odd\\\"\""]);
    assert_eq!(
        other.message(),
        "the API version in the data (autoscaling/v1) does not match the expected API version (autoscaling/v2)"
    );
}

/// What is common to all groups is no kind of a group of its own.
#[tokio::test]
async fn what_is_common_to_all_groups_is_no_object() {
    let server = Server::start().await;
    for kind in ["Table", "PartialObjectMetadata"] {
        let body = json!({"apiVersion": "meta.k8s.io/v1", "kind": kind});
        let said = server.post(MAPS, &body).await.is(400).message();
        assert!(
            said.contains(&format!(
                "no kind \"{kind}\" is registered for version \"meta.k8s.io/v1\""
            )),
            "{said}"
        );
    }
}

/// Owners that stand twice are warned of, also when there is nothing to update.
#[tokio::test]
async fn owners_that_stand_twice_are_told_of_first() {
    let server = Server::start().await;
    let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"});
    let map = json!({"metadata": {"name": "a", "ownerReferences": [owner, owner]}});
    let absent = server.put(&format!("{MAPS}/a"), &map).await.is(404);
    assert_eq!(absent.warnings.len(), 1, "{:?}", absent.warnings);
    let bare = json!({"metadata": {"name": "a"}});
    server.make(MAPS, &bare).await;
    let there = server.put(&format!("{MAPS}/a"), &map).await.is(200);
    assert_eq!(there.warnings, absent.warnings);
}

/// A version that says nothing does not keep an object from being made.
#[tokio::test]
async fn versions_that_say_nothing_may_be_created_with() {
    let server = Server::start().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    for (at, version) in ["0", "00", "abc", "-1"].iter().enumerate() {
        let metadata = json!({"name": format!("m{at}"), "resourceVersion": version});
        let made = server.make(maps, &json!({"metadata": metadata})).await;
        assert_ne!(made.json()["metadata"]["resourceVersion"], **version);
    }
    let metadata = json!({"name": "m", "resourceVersion": "5"});
    let refused = server.post(maps, &json!({"metadata": metadata})).await;
    refused.is(500);
}

/// What is wrong with a request for a token is told before anybody looks for the account.
#[tokio::test]
async fn a_token_is_asked_for_by_name() {
    let server = Server::start().await;
    let path = "/api/v1/namespaces/default/serviceaccounts/absent/token";
    let other = json!({"metadata": {"name": "other"}, "spec": {}});
    let refused = server.post(path, &other).await.is(422);
    assert_eq!(
        refused.message(),
        "TokenRequest.authentication.k8s.io \"absent\" is invalid: metadata.name: Invalid value: \"other\": must match the service account name if specified"
    );
    server.post(path, &json!({"spec": {}})).await.is(404);
}

/// Whoever may not is told so in a form that no browser takes for another.
#[tokio::test]
async fn refusals_are_what_they_say() {
    let server = Server::start().await;
    let asked = async |headers: &[(&str, &str)]| server.send("GET", MAPS, headers, "").await;
    for (headers, code) in [
        (&[("impersonate-user", "nobody")][..], 403),
        (&[("impersonate-group", "nobodies")], 400),
    ] {
        let refused = asked(headers).await.is(code);
        assert_eq!(refused.headers["x-content-type-options"], "nosniff");
    }
    let answer = asked(&[]).await.is(200);
    assert!(answer.headers.get("x-content-type-options").is_none());
}
