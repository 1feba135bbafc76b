//! What is told of requests that cannot be taken as they are, and of what is passed over: one line a rule, on objects that are made first.

use serde_json::{Value, json};

use crate::server::{Answer, Server};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const SERVICES: &str = "/api/v1/namespaces/default/services";
const TABLE: (&str, &str) = ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");

/// A request (`METHOD TYPE PATH`, the type of a patch where it is one), its body, and the code and the end of the message that answer it.
pub type Case = (&'static str, &'static str, u16, &'static str);

async fn ask(server: &Server, request: &str, body: &str) -> Answer {
    let mut words = request.split(' ');
    let (method, second) = (words.next().unwrap(), words.next().unwrap());
    let (content, path) = match words.next() {
        Some(path) => (second, path),
        None => ("json", second),
    };
    let content = match content {
        "json" => "application/json",
        "patch" => "application/json-patch+json",
        "merge" => "application/merge-patch+json",
        "strategic" => "application/strategic-merge-patch+json",
        "apply" => "application/apply-patch+yaml",
        other => panic!("{other} is no type of a body"),
    };
    let headers = [("content-type", content), ("accept", "application/json")];
    server.send(method, path, &headers, body.to_string()).await
}

pub async fn told(server: &Server, cases: &[Case]) {
    for (request, body, code, end) in cases {
        let answer = ask(server, request, body).await;
        let message = match answer.code {
            400.. => answer.message(),
            _ => answer.text(),
        };
        assert_eq!(answer.code, *code, "{request} {body}: {message}");
        assert!(message.ends_with(end), "{request} {body}: {message}");
    }
}

async fn with_map() -> Server {
    let server = Server::start().await;
    let map =
        json!({"metadata": {"name": "m", "finalizers": ["a.b/c"]}, "data": {"b": "1", "a": "2"}});
    server.make(MAPS, &map).await;
    server
}

#[tokio::test]
async fn a_patch_may_leave_out_what_an_object_says_that_it_is_but_not_change_it() {
    let server = with_map().await;
    told(&server, &[
        ("PATCH merge /api/v1/namespaces/default/configmaps/m?dryRun=All", r#"{"kind": null}"#, 200, ""),
        ("PATCH patch /api/v1/namespaces/default/configmaps/m?dryRun=All", r#"[{"op": "remove", "path": "/kind"}]"#, 200, ""),
        ("PATCH merge /api/v1/namespaces/default/configmaps/m?dryRun=All", r#"{"apiVersion": null}"#, 400, "the name of the object (m based on URL) was undeterminable: name must be provided"),
        ("PATCH merge /api/v1/namespaces/default/configmaps/m?dryRun=All&fieldValidation=Strict", r#"{"apiVersion": null}"#, 422, r#": strict decoding error: unknown field "data", unknown field "metadata""#),
        ("PATCH apply /api/v1/namespaces/default/configmaps/m?dryRun=All&fieldManager=x", r#"{"apiVersion": "v2", "kind": "ConfigMap", "metadata": {"name": "m"}}"#, 400, "invalid object type: /v2, Kind=ConfigMap"),
        ("PATCH apply /api/v1/namespaces/default/configmaps/m?dryRun=All&fieldManager=x", r#"{"apiVersion": "a/b/c", "kind": "ConfigMap", "metadata": {"name": "m"}}"#, 400, "invalid object type: /, Kind="),
        ("PATCH apply /api/v1/namespaces/default/configmaps/m?dryRun=All&fieldManager=x", r#"{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "m"}}"#, 400, "invalid object type: apps/v1, Kind=Deployment"),
        ("PATCH patch /api/v1/namespaces/default/configmaps/m?dryRun=All", r#"[{"op": "replace", "path": "", "value": {}}]"#, 400, "the name of the object (m based on URL) was undeterminable: name must be provided"),
        ("PATCH merge /api/v1/namespaces/default/configmaps/m?dryRun=All", r#"{"kind": "Pod"}"#, 422, ": converting (v1.Pod) to (core.ConfigMap): unknown conversion"),
        ("PATCH merge /api/v1/namespaces/default/configmaps/m?dryRun=All", r#"{"kind": "Nosuch"}"#, 422, r#": no kind "Nosuch" is registered for version "v1" in scheme "pkg/api/legacyscheme/scheme.go:30""#),
        ("PATCH merge /api/v1/namespaces/default/configmaps/m?dryRun=All", r#"{"apiVersion": "a/b/c"}"#, 422, ": unexpected GroupVersion string: a/b/c"),
        ("PATCH merge /api/v1/namespaces/default/configmaps/m?dryRun=All", r#"{"kind": 7}"#, 422, ": couldn't get version/kind; json parse error: json: cannot unmarshal number into Go struct field .kind of type string"),
        ("PATCH strategic /api/v1/namespaces/default/configmaps/m?dryRun=All", r#"{"kind": "Pod", "apiVersion": "v9"}"#, 200, ""),
        ("PATCH strategic /api/v1/namespaces/default/configmaps/m?dryRun=All", r#"{"metadata": {"name": "x", "namespace": "y"}}"#, 400, "the namespace of the provided object does not match the namespace sent on the request"),
        ("PATCH strategic /api/v1/namespaces/default/configmaps/m?dryRun=All", r#"{"metadata": {"name": "x"}}"#, 400, "the name of the object (x) does not match the name on the URL (m)"),
        ("PUT /api/v1/namespaces/default/configmaps/m?dryRun=All", r#"{"metadata": {"name": "", "namespace": "y"}}"#, 400, "the namespace of the provided object does not match the namespace sent on the request"),
    ]).await;
    let kept = ask(
        &server,
        &format!("PATCH strategic {MAPS}/m?dryRun=All"),
        r#"{"kind": "Pod"}"#,
    )
    .await;
    assert_eq!(kept.json()["kind"], "ConfigMap");
}

#[tokio::test]
async fn what_is_applied_bears_a_name_unless_it_is_there() {
    let server = with_map().await;
    told(&server, &[
        ("PATCH apply /api/v1/namespaces/default/configmaps/m?fieldManager=a&dryRun=All", r#"{"apiVersion": "v1", "kind": "ConfigMap"}"#, 200, ""),
        ("PATCH apply /api/v1/namespaces/default/configmaps/new?fieldManager=a", r#"{"apiVersion": "v1", "kind": "ConfigMap"}"#, 400, "the name of the object (new based on URL) was undeterminable: name must be provided"),
        ("PATCH apply /api/v1/namespaces/default/configmaps/m?fieldManager=a", r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": ""}}"#, 400, "the name of the object (m based on URL) was undeterminable: name must be provided"),
        ("PATCH apply /api/v1/namespaces/default/configmaps/m?fieldManager=a", r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "managedFields": [{}]}}"#, 400, "metadata.managedFields must be nil"),
        ("PATCH apply /api/v1/namespaces/default/configmaps/m?fieldManager=a", r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "managedFields": "x"}}"#, 500, ".metadata.managedFields: expected list, got &{x}"),
    ]).await;
}

/// What operations put into an object is told of as it was written, what they went through is sorted, and the rest is in Go's order.
#[tokio::test]
async fn a_patched_object_is_told_of_as_it_was_written() {
    let server = Server::start().await;
    let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 1}]}});
    server.make(SERVICES, &service).await;
    let patch = r#"[{"op": "add", "path": "/spec/selector", "value": {"z": 1, "a": "<"}}, {"op": "test", "path": "/kind", "value": "Service", "from": "/metadata/name"}]"#;
    let refused = ask(&server, &format!("PATCH patch {SERVICES}/s"), patch).await;
    let message = refused.is(422).message();
    assert!(
        message.contains(r#"\"metadata\":{\"name\":\"s\",\"namespace\""#),
        "{message}"
    );
    assert!(
        message.contains(r#"\"selector\":{\"z\":1,\"a\":\"\\u003c\"},\"sessionAffinity\""#),
        "{message}"
    );
    assert!(message.ends_with("json: cannot unmarshal number into Go struct field ServiceSpec.spec.selector of type string"), "{message}");
    let unknown = r#"[{"op": "add", "path": "/spec/zz", "value": 1}, {"op": "add", "path": "/aa", "value": 1}]"#;
    let warned = ask(
        &server,
        &format!("PATCH patch {SERVICES}/s?dryRun=All"),
        unknown,
    )
    .await;
    assert_eq!(
        warned.is(200).warnings,
        [
            r#"299 - "unknown field \"aa\"""#,
            r#"299 - "unknown field \"spec.zz\"""#
        ]
    );
}

#[tokio::test]
async fn lists_are_refused_for_what_upstream_looks_at_first() {
    let server = with_map().await;
    told(&server, &[
        ("GET /api/v1/namespaces/default/configmaps?labelSelector=a+b&resourceVersionMatch=x", "", 400, "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("GET /api/v1/namespaces/default/configmaps?fieldSelector=x%3D1&resourceVersionMatch=Exact", "", 422, "resourceVersionMatch is forbidden unless resourceVersion is provided"),
        ("GET /api/v1/namespaces/default/configmaps?fieldSelector=x%3D1&resourceVersion=x", "", 400, r#""x" is not a known field selector: only "metadata.name", "metadata.namespace""#),
        ("GET /api/v1/namespaces/default/configmaps?fieldSelector=x%3D1&continue=x", "", 400, r#""x" is not a known field selector: only "metadata.name", "metadata.namespace""#),
        ("GET /api/v1/namespaces/default/configmaps?limit=&labelSelector=a+b", "", 400, r#"strconv.ParseInt: parsing "": invalid syntax"#),
        ("GET /api/v1/namespaces/default/configmaps?sendInitialEvents=true&resourceVersionMatch=Exact", "", 422, "unless resourceVersion is provided, sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list]"),
        ("DELETE /api/v1/namespaces/default/configmaps?limit=x", "{", 400, r#"strconv.ParseInt: parsing "x": invalid syntax"#),
    ]).await;
    let jobs = "/apis/batch/v1/namespaces/default/jobs?fieldSelector=x%3D1";
    let refused = ask(&server, &format!("DELETE {jobs}"), "").await.is(400);
    assert_eq!(refused.warnings, [""; 0]);
    let table = server
        .send("GET", &format!("{MAPS}/m?includeObject=x"), &[TABLE], "")
        .await
        .is(400);
    assert_eq!(
        table.message(),
        "Unable to convert to Table as requested: includeObject: Invalid value: \"x\": must be 'Metadata', 'Object', 'None', or empty"
    );
}

#[tokio::test]
async fn options_of_a_deletion_are_read_by_themselves() {
    let server = with_map().await;
    told(&server, &[
        ("DELETE /api/v1/namespaces/default/configmaps/m?dryRun=All", r#"{"gracePeriodSeconds": "x"}"#, 400, "json: cannot unmarshal string into Go struct field DeleteOptions.gracePeriodSeconds of type int64"),
        ("DELETE /api/v1/namespaces/default/configmaps/m?dryRun=All", r#"{"kind": 7}"#, 400, "couldn't get version/kind; json parse error: json: cannot unmarshal number into Go struct field .kind of type string"),
        ("DELETE /api/v1/namespaces/default/configmaps/m?dryRun=All", r#"{"apiVersion": "a/b/c"}"#, 400, "unexpected GroupVersion string: a/b/c"),
        ("DELETE /api/v1/namespaces/default/configmaps/m?dryRun=All", r#"{"kind": "Nosuch"}"#, 400, r#"no kind "Nosuch" is registered for version "meta.k8s.io/v1" in scheme "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27""#),
        ("DELETE /api/v1/namespaces/default/configmaps/m?dryRun=All", r#"{"dryRun": ["All"], "orphanDependents": false}"#, 202, ""),
        ("DELETE /api/v1/namespaces/default/configmaps/m?dryRun=All", r#"{"dryRun": ["All"], "propagationPolicy": "Background"}"#, 200, ""),
        ("DELETE /api/v1/namespaces/default/configmaps/m?dryRun=All", "null", 200, ""),
    ]).await;
}

#[tokio::test]
async fn there_is_nothing_beyond_the_paths_that_are() {
    let server = with_map().await;
    told(
        &server,
        &[
            (
                "GET /api/v1/namespaces/default/status/x",
                "",
                404,
                "the server could not find the requested resource",
            ),
            (
                "GET /api/v1/namespaces/default/pods/p/log/x",
                "",
                404,
                "the server could not find the requested resource",
            ),
            (
                "GET /apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                "",
                405,
                "the server does not allow this method on the requested resource",
            ),
            (
                "GET /apis/authorization.k8s.io/v1/selfsubjectaccessreviews/x",
                "",
                404,
                "the server could not find the requested resource",
            ),
            (
                "GET /apis/authorization.k8s.io/v1/localsubjectaccessreviews",
                "",
                404,
                "the server could not find the requested resource",
            ),
            (
                "GET /api/v1/namespaces/default/bindings/x",
                "",
                404,
                "the server could not find the requested resource",
            ),
        ],
    )
    .await;
    let none = ask(
        &server,
        "PUT /api/v1/namespaces/default/endpoints/x/status",
        "{}",
    )
    .await;
    assert_eq!(none.is(404).warnings, [""; 0]);
}

#[tokio::test]
async fn metadata_is_looked_at_as_each_kind_does() {
    let server = Server::start().await;
    let lease = json!({"metadata": {"name": "l", "finalizers": ["x"]}});
    server
        .make(
            "/apis/coordination.k8s.io/v1/namespaces/default/leases",
            &lease,
        )
        .await;
    let budget = json!({"metadata": {"name": "B_", "generateName": "X_", "finalizers": ["x"]}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}});
    server
        .make(
            "/apis/policy/v1/namespaces/default/poddisruptionbudgets",
            &budget,
        )
        .await;
    let service = json!({"metadata": {"name": "1abc"}, "spec": {"ports": [{"port": 1}]}});
    let made = server.make(SERVICES, &service).await.json();
    told(
        &server,
        &[
            (
                "POST /apis/policy/v1/namespaces/default/poddisruptionbudgets",
                r#"{"metadata": {"name": "p", "labels": {"-": "-"}}, "spec": {"minAvailable": -1, "selector": {"matchLabels": {"a": "b"}}}}"#,
                422,
                "PodDisruptionBudget.policy \"p\" is invalid: spec.minAvailable: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                "POST /api/v1/namespaces/default/services",
                r#"{"metadata": {"name": "a.b"}, "spec": {"ports": [{"port": 1}]}}"#,
                422,
                "metadata.name: Invalid value: \"a.b\": must not contain dots",
            ),
            (
                "PATCH merge /api/v1/namespaces/default/services/1abc?dryRun=All",
                r#"{"metadata": {"generateName": "X_"}}"#,
                200,
                "",
            ),
        ],
    )
    .await;
    // when an object was made is the server's to say
    let born = &made["metadata"]["creationTimestamp"];
    let patch = json!({"metadata": {"creationTimestamp": "2001-01-01T00:00:00Z"}});
    let kept = server
        .patch(&format!("{SERVICES}/1abc"), "merge", &patch)
        .await
        .is(200)
        .json();
    assert_eq!(kept["metadata"]["creationTimestamp"], *born);
    // the status of some kinds is written without its metadata
    for path in [
        "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas/probes/status",
        "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations/system/status",
        "/apis/networking.k8s.io/v1/servicecidrs/kubernetes/status",
        "/apis/apiregistration.k8s.io/v1/apiservices/v1.apps/status",
    ] {
        let patch = json!({"metadata": {"labels": {"told": "x"}, "finalizers": ["a.b/c"]}});
        let left = server.patch(path, "merge", &patch).await.is(200).json();
        assert_eq!(left["metadata"]["labels"].get("told"), None, "{left}");
        assert_eq!(left["metadata"].get("finalizers"), None, "{left}");
    }
    // each mistake is told as often as upstream comes to it
    let finalizers = json!({"metadata": {"finalizers": ["a b"]}});
    for (path, object, times) in [
        (
            MAPS,
            json!({"metadata": {"name": "a"}}),
            vec![
                "metadata.finalizers",
                "metadata.finalizers[0]",
                "metadata.finalizers",
                "metadata.finalizers[0]",
            ],
        ),
        (
            SERVICES,
            json!({"metadata": {"name": "a"}, "spec": {"ports": [{"port": 1}]}}),
            vec!["metadata.finalizers", "metadata.finalizers[0]"],
        ),
    ] {
        server.make(path, &object).await;
        let refused = server
            .patch(&format!("{path}/a"), "merge", &finalizers)
            .await
            .is(422)
            .json();
        let causes = refused["details"]["causes"].as_array().unwrap().iter();
        let fields: Vec<&str> = causes
            .map(|cause| cause["field"].as_str().unwrap())
            .collect();
        assert_eq!(fields, times, "{refused}");
    }
}

#[tokio::test]
async fn questions_are_answered_without_what_only_stored_objects_have() {
    let server = Server::start().await;
    let with = |spec: Value| json!({"metadata": {"name": "n", "uid": "u", "selfLink": "s", "deletionGracePeriodSeconds": 1}, "spec": spec});
    let rules = server
        .post(
            "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
            &with(json!({"namespace": "default"})),
        )
        .await
        .is(201)
        .json();
    assert_eq!(
        (&rules["metadata"], &rules["spec"]),
        (&json!({}), &json!({}))
    );
    let token = server
        .post("/apis/authentication.k8s.io/v1/tokenreviews", &json!({"metadata": {"uid": "u"}, "spec": {"token": "x"}, "status": {"audiences": ["a"], "authenticated": true}}))
        .await
        .is(201)
        .json();
    assert_eq!(token["metadata"].get("uid"), None);
    assert_eq!(token["status"]["audiences"], json!(["a"]));
    assert_eq!(token["status"].get("authenticated"), None);
}

#[tokio::test]
async fn a_volume_that_is_described_in_place_is_a_drivers() {
    let server = Server::start().await;
    let path = "/apis/storage.k8s.io/v1/volumeattachments";
    let of = |spec: Value| json!({"metadata": {"name": "a"}, "spec": {"attacher": "a.b", "nodeName": "n", "source": {"inlineVolumeSpec": spec}}});
    let host = json!({"accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}, "capacity": {"storage": "1"}, "storageClassName": "s", "volumeMode": "Block", "persistentVolumeReclaimPolicy": "Delete"});
    let refused = server.post(path, &of(host)).await.is(422).json();
    let causes = refused["details"]["causes"].as_array().unwrap().iter();
    let said: Vec<String> = causes
        .map(|cause| {
            format!(
                "{} {}",
                cause["field"].as_str().unwrap(),
                cause["reason"].as_str().unwrap()
            )
        })
        .collect();
    let at = |field: &str, reason: &str| format!("spec.source.inlineVolumeSpec.{field} {reason}");
    assert_eq!(
        said,
        [
            at("capacity", "FieldValueForbidden"),
            at("csi", "FieldValueRequired"),
            at("persistentVolumeReclaimPolicy", "FieldValueForbidden"),
            at("storageClassName", "FieldValueForbidden"),
            at("volumeMode", "FieldValueForbidden"),
        ]
    );
    let driver =
        json!({"accessModes": ["ReadWriteOnce"], "csi": {"driver": "a.b", "volumeHandle": "h"}});
    server.make(path, &of(driver)).await;
}

#[tokio::test]
async fn a_status_of_what_is_balanced_is_looked_at() {
    let server = Server::start().await;
    let plain = json!({"metadata": {"name": "plain"}, "spec": {"ports": [{"port": 80}]}});
    server.make(SERVICES, &plain).await;
    let balanced = json!({"metadata": {"name": "balanced"}, "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}});
    server.make(SERVICES, &balanced).await;
    let ingresses = "/apis/networking.k8s.io/v1/namespaces/default/ingresses";
    let backend = json!({"service": {"name": "plain", "port": {"number": 80}}});
    let entrance = json!({"metadata": {"name": "entrance"}, "spec": {"defaultBackend": backend}});
    server.make(ingresses, &entrance).await;
    let cases: &[(&str, &str, Value, u16, &str)] = &[
        (
            SERVICES,
            "plain",
            json!({"ip": "10.0.0.1"}),
            422,
            "status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'",
        ),
        (SERVICES, "balanced", json!({"ip": "10.0.0.1"}), 200, ""),
        (
            SERVICES,
            "balanced",
            json!({"ip": "x"}),
            422,
            "status.loadBalancer.ingress[0].ip: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ),
        (
            SERVICES,
            "balanced",
            json!({"ipMode": "VIP"}),
            422,
            "status.loadBalancer.ingress[0].ipMode: Forbidden: may not be specified when `ip` is not set",
        ),
        (
            SERVICES,
            "balanced",
            json!({"ip": "10.0.0.1", "ipMode": "x"}),
            422,
            "status.loadBalancer.ingress[0].ipMode: Unsupported value: \"x\": supported values: \"Proxy\", \"VIP\"",
        ),
        (
            SERVICES,
            "balanced",
            json!({"hostname": "10.0.0.1"}),
            422,
            "status.loadBalancer.ingress[0].hostname: Invalid value: \"10.0.0.1\": must be a DNS name, not an IP address",
        ),
        (
            ingresses,
            "entrance",
            json!({"ip": "x"}),
            422,
            "status.loadBalancer.ingress[0].ip: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ),
    ];
    for (place, name, point, code, end) in cases {
        let status = json!({"status": {"loadBalancer": {"ingress": [point]}}});
        let path = format!("{place}/{name}/status?dryRun=All");
        let answer = server.patch(&path, "merge", &status).await;
        assert_eq!(answer.code, *code, "{name} {point}: {}", answer.text());
        if *code != 200 {
            assert!(answer.message().ends_with(end), "{}", answer.message());
        }
    }
    for path in [
        format!("{SERVICES}/balanced"),
        format!("{ingresses}/entrance"),
    ] {
        let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": "2001:DB8::1"}]}}});
        let told = server
            .patch(&format!("{path}/status"), "merge", &status)
            .await
            .is(200);
        let warned = told.headers["warning"].to_str().unwrap();
        let said = "status.loadBalancer.ingress[0]: IPv6 address \\\"2001:DB8::1\\\" should be in RFC 5952 canonical format (\\\"2001:db8::1\\\")";
        assert_eq!(warned, format!("299 - \"{said}\""));
    }
}

/// What is answered and not kept has no metadata, and is no table.
#[tokio::test]
async fn questions_are_no_tables() {
    let server = Server::start().await;
    let review = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}});
    let headers = [
        ("content-type", "application/json"),
        ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io"),
    ];
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let answer = server
        .send("POST", path, &headers, review.to_string())
        .await;
    let answer = answer.is(406).json();
    assert_eq!(answer["reason"], "NotAcceptable", "{answer}");
}
