//! Objects in protobuf, as client-go's operators send them and ask for them. The client is made of the reader that bodies are read with: golden
//! objects of upstream hold that to what upstream reads.

use std::io::Read;

use serde_json::{Value, json};
use skiff_api::machinery::schema::{Node, Schema, conform, to_json};
use skiff_protobuf::{decode, encode, unwrap};

use crate::{
    server::{Answer, Server},
    widget,
};

pub const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// The type of an object; discovery's oldest documents do not say of which version they are.
fn node_of(api_version: &str, kind: &str) -> Node<'static> {
    let version = Some(api_version).filter(|version| !version.is_empty());
    Schema::builtin()
        .of_kind(version.unwrap_or("v1"), kind)
        .unwrap_or_else(|| panic!("{api_version} {kind}"))
}

/// An object in its envelope, as JSON would show it.
pub fn read(bytes: &[u8]) -> Value {
    let said = unwrap(bytes).unwrap_or_else(|why| panic!("{why}: {}", bytes.escape_ascii()));
    let node = node_of(&said.api_version, &said.kind);
    let mut value = decode(said.raw, &node.as_type().unwrap().name)
        .unwrap()
        .unwrap();
    value["apiVersion"] = said.api_version.into();
    value["kind"] = said.kind.into();
    shown(value)
}

/// An object of a type that is built in, without what is empty.
pub fn shown(mut value: Value) -> Value {
    let text = |name: &str| value[name].as_str().unwrap_or_default();
    let node = node_of(text("apiVersion"), text("kind"));
    conform(&mut value, node).unwrap();
    value
}

/// The same of JSON, without what has no place in protobuf: the types of objects within.
pub fn without_inner_types(json: Value) -> Value {
    fn strip(value: &mut Value, within: bool) {
        match value {
            Value::Object(map) => {
                if within {
                    map.remove("kind");
                    map.remove("apiVersion");
                }
                for (name, child) in map {
                    strip(child, matches!(&**name, "volumeClaimTemplates" | "items"));
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| strip(item, within)),
            _ => {}
        }
    }
    let mut value = shown(json);
    strip(&mut value, false);
    value
}

/// The number and the contents of a field that is text or a message, and what follows it.
fn take_field(bytes: &[u8]) -> (u8, &[u8], &[u8]) {
    let (mut length, mut at) = (0, 1);
    loop {
        length |= usize::from(bytes[at] & 0x7f) << (7 * (at - 1));
        at += 1;
        if bytes[at - 1] & 0x80 == 0 {
            break;
        }
    }
    (
        bytes[0] >> 3,
        &bytes[at..at + length],
        &bytes[at + length..],
    )
}

/// What a watch told.
pub fn events(mut bytes: &[u8]) -> Vec<(String, Value)> {
    let mut events = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (frame, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        bytes = rest;
        let (of_type, what, object) = take_field(frame);
        let (of_object, object, end) = take_field(object);
        let (of_raw, raw, _) = take_field(object);
        assert_eq!((of_type, of_object, of_raw, end), (1, 2, 1, &[][..]));
        events.push((String::from_utf8(what.to_vec()).unwrap(), read(raw)));
    }
    assert!(bytes.is_empty());
    events
}

fn media(answer: &Answer) -> &str {
    answer.headers["content-type"].to_str().unwrap()
}

impl Server {
    /// What client-go asks for the kinds that it knows; the answer, which is in protobuf.
    pub async fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let accept = format!("{PROTOBUF},application/json");
        let body = match body {
            Value::Null => Vec::new(),
            body => {
                let text = |name: &str| body[name].as_str().unwrap();
                let node = Schema::builtin().of_kind(text("apiVersion"), text("kind"));
                encode(&to_json(body, node), node.unwrap()).unwrap()
            }
        };
        let headers = [("accept", accept.as_str()), ("content-type", PROTOBUF)];
        let answer = self.send(method, path, &headers, body).await;
        assert_eq!(media(&answer), PROTOBUF, "{}", answer.text());
        (answer.code, read(&answer.bytes))
    }

    async fn accepting(&self, accept: &str, path: &str) -> Answer {
        self.send("GET", path, &[("accept", accept)], "").await
    }
}

fn map(name: &str, data: &str) -> Value {
    json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name, "namespace": "default"}, "data": {"a": data}})
}

#[tokio::test]
async fn a_client_may_speak_nothing_else() {
    let server = Server::start().await;
    let (code, made) = server.ask("POST", MAPS, &map("one", "1")).await;
    let one = format!("{MAPS}/one");
    assert_eq!((code, &made), (201, &server.get(&one).await.json()));
    let (code, refused) = server.ask("POST", MAPS, &map("one", "1")).await;
    assert_eq!(
        (code, &refused["reason"], &refused["kind"]),
        (409, &json!("AlreadyExists"), &json!("Status"))
    );

    let mut changed = made.clone();
    changed["data"]["a"] = json!("<2>");
    let (code, changed) = server.ask("PUT", &one, &changed).await;
    assert_eq!((code, &changed["data"]["a"]), (200, &json!("<2>")));
    let headers = [
        ("accept", PROTOBUF),
        ("content-type", "application/merge-patch+json"),
    ];
    let patch = json!({"data": {"b": "3"}}).to_string();
    let patched = server.send("PATCH", &one, &headers, patch).await.is(200);
    assert_eq!(read(&patched.bytes)["data"], json!({"a": "<2>", "b": "3"}));

    let (_, list) = server.ask("GET", MAPS, &Value::Null).await;
    assert_eq!(list, shown(server.get(MAPS).await.json()));
    let query = format!("{MAPS}?watch=true&resourceVersion=0&timeoutSeconds=1");
    let told = server.accepting(PROTOBUF, &query).await.is(200);
    assert_eq!(media(&told), format!("{PROTOBUF};stream=watch"));
    let told = events(&told.bytes);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0], ("ADDED".into(), server.get(&one).await.json()));

    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": made["metadata"]["uid"]}});
    let (code, gone) = server.ask("DELETE", &one, &options).await;
    assert_eq!(
        (code, &gone["status"], &gone["details"]["name"]),
        (200, &json!("Success"), &json!("one"))
    );
    let (code, absent) = server.ask("GET", &one, &Value::Null).await;
    let same = server.get(&one).await.json();
    assert_eq!((code, &absent), (404, &same));
}

/// What was made for one list is used for the next, by lists and watches of other versions, too: an object of two versions is told in each.
#[tokio::test]
async fn what_is_listed_again_is_as_it_is_now() {
    let server = Server::start().await;
    for (name, data) in [("one", "1"), ("two", "2"), ("three", "3")] {
        server.make(MAPS, &map(name, data)).await;
    }
    let target = json!({"kind": "Deployment", "name": "a", "apiVersion": "apps/v1"});
    let scaler = json!({"kind": "HorizontalPodAutoscaler", "apiVersion": "autoscaling/v2", "metadata": {"name": "a"},
        "spec": {"maxReplicas": 3, "scaleTargetRef": target}});
    let scalers = |version: &str| {
        format!("/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers")
    };
    server.make(&scalers("v2"), &scaler).await;
    let as_now = || async {
        for path in [MAPS, &scalers("v1"), &scalers("v2")] {
            let wanted = shown(server.get(path).await.json());
            let (_, list) = server.ask("GET", path, &Value::Null).await;
            assert_eq!(list, wanted);
            let query = format!("{path}?watch=true&resourceVersion=0&timeoutSeconds=1");
            let told = server.accepting(PROTOBUF, &query).await.is(200);
            let told = events(&told.bytes).into_iter().map(|(_, object)| object);
            let items = wanted["items"].as_array().unwrap();
            let without_types = told.map(|mut object| {
                let map = object.as_object_mut().unwrap();
                map.retain(|name, _| !matches!(&**name, "kind" | "apiVersion"));
                object
            });
            assert_eq!(without_types.collect::<Vec<_>>(), *items, "{path}");
        }
    };
    as_now().await;
    as_now().await;
    let two = format!("{MAPS}/two");
    let changed = json!({"data": {"a": "changed"}});
    server.patch(&two, "merge", &changed).await.is(200);
    server.delete(&format!("{MAPS}/one")).await.is(200);
    server.make(MAPS, &map("four", "4")).await;
    as_now().await;
    server.delete(&two).await.is(200);
    server.make(MAPS, &map("two", "anew")).await;
    as_now().await;
}

#[tokio::test]
async fn watchers_in_both_encodings_are_told_the_same() {
    let server = Server::start().await;
    server.make(MAPS, &map("one", "1")).await;
    let since = server.get(MAPS).await.json()["metadata"]["resourceVersion"].clone();
    let since = since.as_str().unwrap();
    let labelled = json!({"metadata": {"labels": {"a": "b"}}});
    let one = format!("{MAPS}/one");
    server.patch(&one, "merge", &labelled).await.is(200);
    server.make(MAPS, &map("two", "2")).await;
    server.delete(&one).await.is(200);
    for query in [
        format!("resourceVersion={since}"),
        format!("resourceVersion={since}&labelSelector=a%3Db"),
        "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true".into(),
        "resourceVersion=0".into(),
    ] {
        let path = format!("{MAPS}?watch=true&timeoutSeconds=1&{query}");
        let metadata = ";as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        for form in ["", metadata] {
            let (json, protobuf) = (
                format!("application/json{form}"),
                format!("{PROTOBUF}{form}"),
            );
            let (wanted, found) = tokio::join!(
                server.accepting(&json, &path),
                server.accepting(&protobuf, &path)
            );
            let wanted: Vec<(String, Value)> = wanted
                .text()
                .lines()
                .map(|line| serde_json::from_str::<Value>(line).unwrap())
                .map(|event| {
                    let what = event["type"].as_str().unwrap().to_owned();
                    (what, shown(event["object"].clone()))
                })
                .collect();
            assert_eq!(events(&found.bytes), wanted, "{query} {form}");
            assert!(!wanted.is_empty());
        }
    }
    // what ends a watch is told in the same way
    let path = format!("{MAPS}?watch=true&timeoutSeconds=1&resourceVersion=999999");
    let wanted = server.get(&path).await;
    let found = server.accepting(PROTOBUF, &path).await;
    assert_eq!(found.code, wanted.code);
}

#[tokio::test]
async fn the_first_clause_that_can_be_served_is() {
    let server = Server::start().await;
    server.app.serve(widget::beside);
    server.make(MAPS, &map("one", "1")).await;
    let widgets = "/apis/example.com/v1/namespaces/default/widgets";
    server.make(widgets, &widget::made("one", "red")).await;
    let one = format!("{MAPS}/one");
    let own = format!("{widgets}/one");
    let table = ";as=Table;g=meta.k8s.io;v=v1";
    let partial = ";as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    let partials = ";as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let older = ";as=PartialObjectMetadataList;g=meta.k8s.io;v=v1beta1";
    let discovery = ";as=APIGroupDiscoveryList;g=apidiscovery.k8s.io;v=v2";
    let (json, yaml, protobuf) = ("application/json", "application/yaml", PROTOBUF);
    for (path, accept, code, wanted) in [
        (&*one, format!("{protobuf},{json}"), 200, protobuf),
        (&one, format!("{json},{protobuf}"), 200, json),
        (&one, format!("{json};q=0.5,{protobuf}"), 200, protobuf),
        (&one, "application/*".into(), 406, json),
        (&one, format!("{protobuf};stream=watch"), 200, protobuf),
        (&one, format!("{protobuf};stream=other,{yaml}"), 200, yaml),
        // no table is written in protobuf
        (&one, format!("{protobuf}{table}"), 406, json),
        (&one, format!("{protobuf}{table},{json}{table}"), 200, json),
        (&one, format!("{protobuf}{partial}"), 200, protobuf),
        (MAPS, format!("{protobuf}{partials}"), 200, protobuf),
        (MAPS, format!("{protobuf}{older}"), 200, protobuf),
        (MAPS, format!("{protobuf}{partial}"), 406, json),
        // an object of somebody's own kind has no form in protobuf; its metadata has
        (&own, protobuf.into(), 406, protobuf),
        (&own, format!("{protobuf},{json}"), 200, json),
        (&own, format!("{protobuf}{partial}"), 200, protobuf),
        (
            widgets,
            format!("{protobuf}{partials},{json}"),
            200,
            protobuf,
        ),
        ("/api", protobuf.into(), 200, protobuf),
        ("/apis", protobuf.into(), 200, protobuf),
        ("/apis/apps", protobuf.into(), 200, protobuf),
        ("/apis/apps/v1", protobuf.into(), 200, protobuf),
        ("/api/v1", protobuf.into(), 200, protobuf),
        (
            "/apis",
            format!("{protobuf}{discovery},{json}"),
            200,
            protobuf,
        ),
        ("/apis", format!("{json}{discovery},{protobuf}"), 200, json),
        // upstream offers CBOR behind a gate that is off
        (&one, "application/cbor".into(), 406, json),
        (&one, format!("application/cbor,{protobuf}"), 200, protobuf),
    ] {
        let answer = server.accepting(&accept, path).await;
        let found = media(&answer).split(';').next().unwrap().to_owned();
        assert_eq!((answer.code, &*found), (code, wanted), "{path} {accept}");
        if found == protobuf {
            let read = read(&answer.bytes);
            let same = accept.replace(protobuf, json);
            if code == 200 {
                let plain = without_inner_types(server.accepting(&same, path).await.json());
                assert_eq!(read, plain, "{path} {accept}");
            } else {
                assert_eq!(read["code"], json!(code));
            }
        }
    }
    let watch = format!("{MAPS}?watch=true&timeoutSeconds=1");
    let refused = server.accepting(yaml, &watch).await.is(406);
    let wanted = "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";
    let refused = refused.text().replace("\n  ", " ");
    assert!(refused.contains(wanted), "{refused}");
    let own = format!("{widgets}?watch=true&timeoutSeconds=1&resourceVersion=0");
    server.accepting(protobuf, &own).await.is(406);
    let told = server
        .accepting(&format!("{protobuf}{partial},{json}"), &own)
        .await;
    assert_eq!(
        events(&told.bytes)[0].1["kind"],
        json!("PartialObjectMetadata")
    );
}

#[tokio::test]
async fn long_lists_are_sent_in_pieces_and_compressed() {
    let server = Server::start().await;
    for at in 0..40 {
        let data = format!("{at:04}").repeat(2_000);
        server
            .make(MAPS, &map(&format!("map-{at:02}"), &data))
            .await;
    }
    let plain = server.get(MAPS).await;
    let wanted = shown(plain.json());
    let list = server.accepting(PROTOBUF, MAPS).await.is(200);
    assert_eq!(read(&list.bytes), wanted);
    for accept in ["application/json", "application/yaml", PROTOBUF] {
        let headers = [("accept", accept), ("accept-encoding", "gzip")];
        // a list tells of the store's revision, which is written to by whoever keeps a Lease
        let (answer, whole) = loop {
            let whole = server.accepting(accept, MAPS).await;
            let answer = server.send("GET", MAPS, &headers, "").await.is(200);
            if server.accepting(accept, MAPS).await.bytes == whole.bytes {
                break (answer, whole);
            }
        };
        assert_eq!(answer.headers["content-encoding"], "gzip", "{accept}");
        assert_eq!(answer.headers["vary"], "Accept-Encoding");
        assert!(answer.bytes.len() < plain.bytes.len() / 4);
        let mut bytes = Vec::new();
        let mut decoder = flate2::read::GzDecoder::new(&answer.bytes[..]);
        decoder.read_to_end(&mut bytes).unwrap();
        assert!(bytes == whole.bytes, "{accept}");
        // short ones are not, nor are watches
        for path in ["?limit=1", "?watch=true&timeoutSeconds=1&resourceVersion=0"] {
            let path = format!("{MAPS}{path}");
            let answer = server.send("GET", &path, &headers, "").await;
            assert!(!answer.headers.contains_key("content-encoding"), "{path}");
        }
    }
}

/// A field of wire type 2: a text, or a message of such fields.
fn field(number: u8, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    // two bytes are enough here
    let varint = |value: usize| [value as u8 & 0x7f | 0x80, (value >> 7) as u8];
    [
        &varint(usize::from(number) << 3 | 2),
        &varint(content.len()),
        content,
    ]
    .concat()
}

fn flag(number: u8) -> Vec<u8> {
    vec![number << 3, 1]
}

/// Numbers from `generated.proto` of apiextensions/v1 and apimachinery.
#[tokio::test]
async fn a_definition_is_taken_as_every_kind_is() {
    let server = Server::start().await;
    let property = field(
        29,
        [field(1, "size"), field(2, field(5, "integer"))].concat(),
    );
    let schema = field(4, field(1, [field(5, "object"), property].concat()));
    let version = field(7, [field(1, "v1"), flag(2), flag(3), schema].concat());
    let names = field(
        3,
        [
            field(1, "things"),
            field(2, "thing"),
            field(4, "Thing"),
            field(5, "ThingList"),
        ]
        .concat(),
    );
    let spec = field(
        2,
        [
            field(1, "example.com"),
            names,
            field(4, "Namespaced"),
            version,
        ]
        .concat(),
    );
    let object = [field(1, field(1, "things.example.com")), spec].concat();
    let kind = field(
        1,
        [
            field(1, "apiextensions.k8s.io/v1"),
            field(2, "CustomResourceDefinition"),
        ]
        .concat(),
    );
    let body = [b"k8s\0".to_vec(), kind, field(2, object)].concat();
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let made = server
        .send(
            "POST",
            path,
            &[("content-type", "application/vnd.kubernetes.protobuf")],
            body,
        )
        .await
        .is(201)
        .json();
    assert_eq!(
        made["spec"]["names"],
        json!({"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"})
    );
    let version = &made["spec"]["versions"][0];
    assert_eq!(
        (&version["served"], &version["storage"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(
        version["schema"]["openAPIV3Schema"],
        json!({"type": "object", "properties": {"size": {"type": "integer"}}})
    );
}
