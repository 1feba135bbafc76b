//! Kinds that definitions bring: served as soon as they are established, held to their schema, shown in each of their versions, and gone with their
//! definition.

use std::time::Duration;

use serde_json::{Value, json};

use crate::server::Server;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const BOATS: &str = "/apis/sea.example.com/v1/namespaces/default/boats";

fn boats() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "boats.sea.example.com"},
        "spec": {
            "group": "sea.example.com", "scope": "Namespaced",
            "names": {"plural": "boats", "singular": "boat", "kind": "Boat", "shortNames": ["bt"], "categories": ["all"]},
            "versions": [
                {"name": "v1beta1", "served": true, "storage": false, "schema": {"openAPIV3Schema":
                    {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}},
                {"name": "v1", "served": true, "storage": true,
                 "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.oars", "statusReplicasPath": ".status.oars", "labelSelectorPath": ".status.selector"}},
                 "additionalPrinterColumns": [{"name": "Oars", "type": "integer", "jsonPath": ".spec.oars", "description": "How many"}],
                 "selectableFields": [{"jsonPath": ".spec.color"}],
                 "schema": {"openAPIV3Schema": {"type": "object", "required": ["spec"], "properties": {
                    "spec": {"type": "object", "description": "What it is to be", "properties": {
                        "oars": {"type": "integer", "minimum": 1, "default": 2},
                        "color": {"type": "string", "enum": ["red", "green"]},
                        "crew": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"],
                            "items": {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}, "role": {"type": "string"}}}},
                        "inner": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
                        "rest": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}},
                    "status": {"type": "object", "properties": {"oars": {"type": "integer"}, "selector": {"type": "string"}}}}}}}
            ]
        }
    })
}

fn boat(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "sea.example.com/v1", "kind": "Boat", "metadata": {"name": name}, "spec": spec})
}

fn condition(definition: &Value, of: &str) -> String {
    let conditions = definition["status"]["conditions"].as_array();
    let found = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == of);
    found.map_or(String::new(), |condition| {
        format!(
            "{} {}",
            condition["status"].as_str().unwrap(),
            condition["reason"].as_str().unwrap()
        )
    })
}

async fn establish(server: &Server, definition: &Value) {
    server.make(DEFINITIONS, definition).await;
    let path = format!(
        "{DEFINITIONS}/{}",
        definition["metadata"]["name"].as_str().unwrap()
    );
    server
        .until(&path, |answer| {
            condition(&answer.json(), "Established") == "True InitialNamesAccepted"
        })
        .await;
}

async fn sailing() -> Server {
    let server = Server::start().await;
    establish(&server, &boats()).await;
    server
}

#[tokio::test]
async fn whoever_reads_that_it_is_established_can_use_its_kinds() {
    let server = Server::start().await;
    server.get(BOATS).await.is(404);
    establish(&server, &boats()).await;
    server.get(BOATS).await.is(200);
    let groups = server.get("/apis/sea.example.com").await.is(200).json();
    assert_eq!(groups["preferredVersion"]["version"], "v1");
    let resources = server.get("/apis/sea.example.com/v1").await.json();
    let names: Vec<&str> = resources["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["boats", "boats/status", "boats/scale"]);
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let accept = [("accept", aggregated)];
    let all = server
        .send("GET", "/apis", &accept, "")
        .await
        .is(200)
        .json();
    let mut groups = all["items"].as_array().unwrap().iter();
    let group = groups
        .find(|group| group["metadata"]["name"] == "sea.example.com")
        .unwrap();
    let version = &group["versions"][0];
    assert_eq!(
        (&version["version"], &version["resources"][0]["resource"]),
        (&json!("v1"), &json!("boats"))
    );
    let shown = server
        .get("/openapi/v3/apis/sea.example.com/v1")
        .await
        .is(200)
        .json();
    let schema = &shown["components"]["schemas"]["com.example.sea.v1.Boat"];
    assert_eq!(
        schema["properties"]["spec"]["description"],
        "What it is to be"
    );
    assert!(schema["properties"]["metadata"].is_object(), "{schema}");
    // kubectl apply patches by what stands here
    let patch =
        &shown["paths"]["/apis/sea.example.com/v1/namespaces/{namespace}/boats/{name}"]["patch"];
    let media = patch["requestBody"]["content"].as_object().unwrap().keys();
    assert_eq!(
        media.collect::<Vec<_>>(),
        [
            "application/apply-patch+yaml",
            "application/json-patch+json",
            "application/merge-patch+json"
        ]
    );
    let definitions = &server.get("/openapi/v2").await.json()["definitions"];
    assert_eq!(
        definitions["com.example.sea.v1.Boat"]["properties"]["spec"]["properties"]["oars"]["type"],
        "integer"
    );
    assert!(definitions.get("com.example.sea.v1.BoatList").is_some());
}

/// Types of both documents whose names begin like this.
async fn described(server: &Server, begins: &str) -> Vec<String> {
    let two = server.get("/openapi/v2").await.is(200).json();
    let mut names: Vec<String> = two["definitions"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    names.retain(|name| name.starts_with(begins) && !name.ends_with("List"));
    let index = server.get("/openapi/v3").await.is(200).json();
    for name in &names {
        let (group, version) = match name.rsplit('.').nth(1) {
            Some(version) => (name.split('.').nth(2).unwrap(), version),
            None => panic!("{name}"),
        };
        let path = format!("apis/{group}.example.com/{version}");
        assert!(index["paths"].get(&path).is_some(), "{path}");
    }
    names.sort();
    names
}

/// Documents follow what is served: versions that stop, versions that are renamed, other groups and kinds beside them.
#[tokio::test]
async fn documents_follow_the_versions_that_are_served() {
    let server = sailing().await;
    let boats_of = |versions: &[&str]| -> Vec<String> {
        let name = |version: &&str| format!("com.example.sea.{version}.Boat");
        versions.iter().map(name).collect()
    };
    assert_eq!(
        described(&server, "com.example.sea.").await,
        boats_of(&["v1", "v1beta1"])
    );

    // another kind of the group, and the same of another group
    let named = |group: &str, plural: &str, kind: &str| {
        let mut definition = boats();
        definition["metadata"]["name"] = json!(format!("{plural}.{group}.example.com"));
        definition["spec"]["group"] = json!(format!("{group}.example.com"));
        definition["spec"]["names"] = json!({"plural": plural, "kind": kind});
        definition
    };
    establish(&server, &named("sea", "rafts", "Raft")).await;
    establish(&server, &named("lake", "boats", "Boat")).await;
    assert_eq!(
        described(&server, "com.example.").await,
        [
            "com.example.lake.v1.Boat",
            "com.example.lake.v1beta1.Boat",
            "com.example.sea.v1.Boat",
            "com.example.sea.v1.Raft",
            "com.example.sea.v1beta1.Boat",
            "com.example.sea.v1beta1.Raft"
        ]
    );
    for name in ["rafts.sea", "boats.lake"] {
        let place = format!("{DEFINITIONS}/{name}.example.com");
        server.delete(&place).await.is(200);
        server.until(&place, |answer| answer.code == 404).await;
    }

    let place = format!("{DEFINITIONS}/boats.sea.example.com");
    let old = "/apis/sea.example.com/v1beta1/namespaces/default/boats";
    for (change, code, left) in [
        (
            json!([{"op": "replace", "path": "/spec/versions/0/served", "value": false}]),
            404,
            &["v1"][..],
        ),
        (
            json!([{"op": "replace", "path": "/spec/versions/0/served", "value": true}]),
            200,
            &["v1", "v1beta1"],
        ),
        (
            json!([{"op": "replace", "path": "/spec/versions/0/name", "value": "v2"}]),
            404,
            &["v1", "v2"],
        ),
    ] {
        server.patch(&place, "json", &change).await.is(200);
        server.until(old, |answer| answer.code == code).await;
        assert_eq!(described(&server, "com.example.").await, boats_of(left));
    }
}

/// What a definition does not know, and what is said twice: refused, told of or passed over, as whoever writes asks.
#[tokio::test]
async fn fields_that_are_not_known_are_told() {
    let server = sailing().await;
    let old = "/apis/sea.example.com/v1beta1/namespaces/default/boats";
    let maps = "/api/v1/namespaces/default/configmaps";
    let v1 = r#""apiVersion":"sea.example.com/v1","kind":"Boat","metadata":{"name":"a"}"#;
    let beta = v1.replace("/v1", "/v1beta1");
    for (path, body, said) in [
        (
            BOATS,
            format!(r#"{{{v1},"spec":{{"oars":3,"sail":1}}}}"#),
            Some("unknown field \"spec.sail\""),
        ),
        (
            BOATS,
            format!(r#"{{{v1},"spec":{{"rest":{{"sail":1}}}}}}"#),
            None,
        ),
        (
            BOATS,
            format!(r#"{{{v1},"spec":{{"oars":3,"oars":4}}}}"#),
            Some("duplicate field \"spec.oars\""),
        ),
        (
            BOATS,
            format!(r#"{{{v1},"spec":{{"rest":{{"a":1,"a":2}}}}}}"#),
            Some("duplicate field \"spec.rest.a\""),
        ),
        (
            BOATS,
            format!(
                r#"{{{},"spec":{{}}}}"#,
                v1.replace("\"name\"", "\"mast\":1,\"name\"")
            ),
            Some("unknown field \"metadata.mast\""),
        ),
        (
            old,
            format!(r#"{{{beta},"sail":1,"spec":{{"sail":1}}}}"#),
            None,
        ),
        (
            old,
            format!(r#"{{{beta},"spec":{{"sail":1,"sail":2}}}}"#),
            Some("duplicate field \"spec.sail\""),
        ),
        (
            BOATS,
            format!(
                r#"{{{v1},"spec":{{"inner":{{"apiVersion":"v1","kind":"X","metadata":{{"name":"i","mast":1}}}}}}}}"#
            ),
            Some(r#"unknown field "spec.inner.metadata.mast""#),
        ),
        (
            maps,
            r#"{"metadata":{"name":"m"},"data":{"a":"1"},"sail":1}"#.into(),
            Some(r#"unknown field "sail""#),
        ),
        (
            maps,
            r#"{"metadata":{"name":"m"},"data":{"a":"1","a":"2"}}"#.into(),
            Some(r#"duplicate field "data.a""#),
        ),
        (
            maps,
            r#"{"metadata":{"name":"m","mast":1}}"#.into(),
            Some(r#"unknown field "metadata.mast""#),
        ),
    ] {
        for how in ["Strict", "Warn", "Ignore"] {
            let path = format!("{path}?dryRun=All&fieldValidation={how}");
            let json = [("content-type", "application/json")];
            let answer = server.send("POST", &path, &json, body.clone()).await;
            let refused = how == "Strict" && said.is_some();
            assert_eq!(
                answer.code,
                if refused { 400 } else { 201 },
                "{body} {how}: {}",
                answer.text()
            );
            let heard = match how {
                "Strict" if refused => answer.message(),
                _ => answer.warnings.join(" ").replace('\\', ""),
            };
            match said.filter(|_| how != "Ignore") {
                Some(said) => assert!(heard.contains(said), "{body} {how}: {heard}"),
                None => assert_eq!(heard, "", "{body} {how}"),
            }
        }
    }
}

/// What is sent is what is stored: empty lists and maps, nulls where anything may stand, numbers of any size.
#[tokio::test]
async fn objects_are_kept_as_they_are_sent() {
    let server = sailing().await;
    let rest = json!({"a": [], "b": {}, "c": null, "large": 9_007_199_254_740_993_i64, "half": 2.5, "text": ""});
    let made = server
        .make(
            BOATS,
            &boat("a", json!({"oars": 4, "crew": [], "rest": rest.clone()})),
        )
        .await
        .json();
    assert_eq!(made["spec"]["rest"], rest);
    let read = server.get(&format!("{BOATS}/a")).await.json();
    assert_eq!(
        (&read["spec"]["rest"], &read["spec"]["crew"]),
        (&rest, &json!([]))
    );
    assert_eq!(
        (&read["metadata"]["generation"], read.get("status")),
        (&json!(1), None)
    );
    let list = server.get(BOATS).await.json();
    assert_eq!(list["items"][0], read);
    assert_eq!(
        (&list["kind"], &list["metadata"]["continue"]),
        (&json!("BoatList"), &json!(""))
    );
}

#[tokio::test]
async fn objects_are_held_to_the_schema() {
    let server = sailing().await;
    let made = server.make(BOATS, &boat("a", json!({}))).await.json();
    assert_eq!(made["spec"]["oars"], 2, "its default");
    let refused = server
        .post(BOATS, &boat("b", json!({"oars": 0, "color": "blue"})))
        .await
        .is(422)
        .message();
    assert!(
        refused.contains("spec.oars in body should be greater than or equal to 1")
            && refused.contains(r#"spec.color: Unsupported value: "blue""#),
        "{refused}"
    );
    let unknown = boat("b", json!({"sails": 1}));
    let refused = server
        .post(&format!("{BOATS}?fieldValidation=Strict"), &unknown)
        .await
        .is(400)
        .message();
    assert!(
        refused.contains(r#"unknown field "spec.sails""#),
        "{refused}"
    );
    let warned = server.post(BOATS, &unknown).await.is(201);
    assert!(
        warned.warnings[0].contains(r#"unknown field \"spec.sails\""#),
        "{:?}",
        warned.warnings
    );
    assert_eq!(warned.json()["spec"], json!({"oars": 2}));
    server
        .patch(
            &format!("{BOATS}/b"),
            "merge",
            &json!({"spec": {"oars": "two"}}),
        )
        .await
        .is(422);
    server
        .patch(
            &format!("{BOATS}/b"),
            "strategic-merge",
            &json!({"spec": {"oars": 3}}),
        )
        .await
        .is(415);
    let no_version = server
        .put(&format!("{BOATS}/b"), &boat("b", json!({})))
        .await
        .is(422)
        .message();
    assert!(
        no_version.contains("must be specified for an update"),
        "{no_version}"
    );
}

#[tokio::test]
async fn status_and_scale_have_ways_of_their_own() {
    let server = sailing().await;
    server.make(BOATS, &boat("a", json!({"oars": 4}))).await;
    let path = format!("{BOATS}/a");
    let told = server
        .patch(
            &format!("{path}/status"),
            "merge",
            &json!({"metadata": {"labels": {"x": "y"}}, "spec": {"oars": 9}, "status": {"oars": 3, "selector": "a=b"}}),
        )
        .await
        .is(200)
        .json();
    assert_eq!(
        (
            &told["spec"]["oars"],
            &told["status"]["oars"],
            told["metadata"].get("labels"),
            &told["metadata"]["generation"]
        ),
        (&json!(4), &json!(3), None, &json!(1))
    );
    let scaled = server
        .patch(
            &format!("{path}/scale"),
            "merge",
            &json!({"spec": {"replicas": 6}}),
        )
        .await
        .is(200)
        .json();
    assert_eq!(
        (
            &scaled["spec"]["replicas"],
            &scaled["status"]["replicas"],
            &scaled["status"]["selector"]
        ),
        (&json!(6), &json!(3), &json!("a=b"))
    );
    let read = server.get(&path).await.json();
    assert_eq!(
        (&read["spec"]["oars"], &read["metadata"]["generation"]),
        (&json!(6), &json!(2))
    );
}

#[tokio::test]
async fn each_version_shows_the_same_objects() {
    let server = sailing().await;
    let old = "/apis/sea.example.com/v1beta1/namespaces/default/boats";
    let mut first = boat("a", json!({"oars": 4}));
    first["apiVersion"] = "sea.example.com/v1beta1".into();
    first["anything"] = 1.into();
    let made = server.make(old, &first).await.json();
    assert_eq!(
        (&made["apiVersion"], made.get("anything")),
        (&json!("sea.example.com/v1beta1"), None)
    );
    assert_eq!(
        server.get(&format!("{BOATS}/a")).await.json()["apiVersion"],
        "sea.example.com/v1"
    );
    assert_eq!(
        server.get(old).await.json()["items"][0]["apiVersion"],
        "sea.example.com/v1beta1"
    );
}

#[tokio::test]
async fn fields_that_are_selectable_select() {
    let server = sailing().await;
    for (name, color) in [("a", "red"), ("b", "green")] {
        server
            .make(BOATS, &boat(name, json!({"color": color})))
            .await;
    }
    let selected = server
        .get(&format!("{BOATS}?fieldSelector=spec.color%3Dgreen"))
        .await
        .is(200)
        .json();
    assert_eq!(selected["items"].as_array().unwrap().len(), 1);
    assert_eq!(selected["items"][0]["metadata"]["name"], "b");
    let refused = server
        .get(&format!("{BOATS}?fieldSelector=spec.oars%3D2"))
        .await
        .is(400)
        .message();
    assert_eq!(refused, "field label not supported: spec.oars");
}

/// What was stored before a default came has it when it is read.
#[tokio::test]
async fn a_schema_that_changes_shows_in_what_was_stored_before() {
    let server = sailing().await;
    server.make(BOATS, &boat("a", json!({"oars": 4}))).await;
    let path = format!("{DEFINITIONS}/boats.sea.example.com");
    let mut changed = server.get(&path).await.json();
    let spec = changed
        .pointer_mut("/spec/versions/1/schema/openAPIV3Schema/properties/spec/properties")
        .unwrap();
    spec["flag"] = json!({"type": "string", "default": "none"});
    server.put(&path, &changed).await.is(200);
    let read = server
        .until(&format!("{BOATS}/a"), |answer| {
            answer.json()["spec"]["flag"] == "none"
        })
        .await
        .json();
    assert_eq!(read["spec"]["oars"], 4);
    assert_eq!(
        server.get(BOATS).await.json()["items"][0]["spec"]["flag"],
        "none"
    );
}

/// What breaks a rule that came later, and is as it was, is told and kept.
#[tokio::test]
async fn what_was_so_before_is_told_and_not_refused() {
    let server = sailing().await;
    server
        .make(
            BOATS,
            &boat("a", json!({"color": "red", "crew": [{"id": "x"}]})),
        )
        .await;
    let path = format!("{DEFINITIONS}/boats.sea.example.com");
    let mut changed = server.get(&path).await.json();
    let spec = changed
        .pointer_mut(
            "/spec/versions/1/schema/openAPIV3Schema/properties/spec/properties/crew/items",
        )
        .unwrap();
    spec["x-kubernetes-validations"] =
        json!([{"rule": "has(self.role)", "message": "everybody has a role"}]);
    server.put(&path, &changed).await.is(200);
    let added = boat("new", json!({"crew": [{"id": "x"}]}));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while server
        .post(&format!("{BOATS}?dryRun=All"), &added)
        .await
        .code
        != 422
    {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the rule is not asked"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let update = server
        .patch(
            &format!("{BOATS}/a"),
            "merge",
            &json!({"spec": {"color": "green"}}),
        )
        .await
        .is(200);
    assert!(
        update
            .warnings
            .iter()
            .any(|text| text.contains("spec.crew[0]: Invalid value: everybody has a role")),
        "{:?}",
        update.warnings
    );
    server
        .patch(
            &format!("{BOATS}/a"),
            "merge",
            &json!({"spec": {"crew": [{"id": "y"}]}}),
        )
        .await
        .is(422);
}

#[tokio::test]
async fn names_that_others_have_are_not_accepted() {
    let server = sailing().await;
    let mut ships = boats();
    ships["metadata"]["name"] = "ships.sea.example.com".into();
    ships["spec"]["names"] =
        json!({"plural": "ships", "singular": "ship", "kind": "Ship", "shortNames": ["bt"]});
    server.make(DEFINITIONS, &ships).await;
    let path = format!("{DEFINITIONS}/ships.sea.example.com");
    server
        .until(&path, |answer| {
            condition(&answer.json(), "NamesAccepted") == "False ShortNamesConflict"
        })
        .await;
    server.get("/apis/sea.example.com/v1/ships").await.is(404);
    // the name is given back
    server
        .delete(&format!("{DEFINITIONS}/boats.sea.example.com"))
        .await
        .is(200);
    server
        .until(&path, |answer| {
            condition(&answer.json(), "Established") == "True InitialNamesAccepted"
        })
        .await;
    server.get("/apis/sea.example.com/v1/ships").await.is(200);
}

/// Its objects go first, those that somebody holds when they are let go.
#[tokio::test]
async fn it_goes_with_all_its_objects() {
    let server = sailing().await;
    server.make(BOATS, &boat("a", json!({}))).await;
    let mut held = boat("held", json!({}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    server.make(BOATS, &held).await;
    let path = format!("{DEFINITIONS}/boats.sea.example.com");
    let going = server.delete(&path).await.is(200).json();
    assert_eq!(
        condition(&going, "Terminating"),
        "True InstanceDeletionPending"
    );
    server.until_gone(&format!("{BOATS}/a")).await;
    let refused = server
        .post(BOATS, &boat("new", json!({})))
        .await
        .is(403)
        .message();
    assert!(
        refused.contains("create not allowed while custom resource definition is terminating"),
        "{refused}"
    );
    server
        .patch(
            &format!("{BOATS}/held"),
            "merge",
            &json!({"metadata": {"finalizers": null}}),
        )
        .await
        .is(200);
    server.until_gone(&path).await;
    server.until_gone(BOATS).await;
    // and comes again, with nothing of before
    establish(&server, &boats()).await;
    assert_eq!(server.get(BOATS).await.json()["items"], json!([]));
}

/// After a restart it is all there.
#[tokio::test]
async fn a_restart_brings_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let data = || skiff_server::Data::Folder(folder.path().join("data"));
    {
        let server = Server::with(|config| config.data = data()).await;
        establish(&server, &boats()).await;
        server
            .make(BOATS, &boat("a", json!({"color": "red"})))
            .await;
        server.stop().await;
    }
    let server = Server::with(|config| config.data = data()).await;
    let read = server
        .get(&format!("{BOATS}?fieldSelector=spec.color%3Dred"))
        .await
        .is(200)
        .json();
    assert_eq!(read["items"][0]["metadata"]["name"], "a");
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_served_is_told_as_by_nobody() {
    let server = sailing().await;
    let boat = json!({"apiVersion": "sea.example.com/v1", "kind": "Boat", "metadata": {"name": "a"}, "spec": {}});
    server.make(BOATS, &boat).await;
    // kubectl says which resource it asked for where the answer is no Status
    for path in [
        "/apis/nosuch.example.com/v1/boats",
        "/apis/sea.example.com/v9",
        "/apis/sea.example.com/v9/boats",
        "/apis/sea.example.com/v1/nosuch",
        "/apis/sea.example.com/v1/boats/a",
    ] {
        let answer = server.get(path).await.is(404);
        assert_eq!(answer.text(), "404 page not found\n", "{path}");
    }
    let answer = server.get("/apis/apps/v1/nosuch").await.is(404);
    assert_eq!(
        answer.message(),
        "the server could not find the requested resource"
    );
    let answer = server.get(&format!("{BOATS}/a/nosuch")).await.is(404);
    assert_eq!(answer.message(), "boats.sea.example.com \"a\" not found");
    let other = json!({"kind": "Foo", "apiVersion": "sea.example.com/v9"});
    let answer = server.patch(&format!("{BOATS}/a"), "merge", &other).await;
    assert_eq!(
        answer.is(422).message(),
        "Foo.sea.example.com \"a\" is invalid: [kind: Invalid value: \"Foo\": must be Boat, apiVersion: Invalid value: \"sea.example.com/v9\": must be sea.example.com/v1]"
    );
}
