//! Objects that upstream wrote, in both directions.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use skiff_api::{
    kinds::Registry,
    machinery::{
        schema::{Node, Schema, conform, to_json},
        yaml,
    },
};

use super::*;

/// Kinds of which there is no golden object: upstream tests them elsewhere.
const UNSEEN: &[&str] = &[
    "apiextensions.k8s.io/v1 CustomResourceDefinition",
    "apiregistration.k8s.io/v1 APIService",
];

/// The golden objects in protobuf whose types are known; `None` where there are none on this machine.
fn golden() -> Option<Vec<(PathBuf, Node<'static>)>> {
    let Some(data) = std::env::var_os("UPSTREAM_DATA") else {
        skiff_testing::skipped("UPSTREAM_DATA does not name upstream's golden objects");
        return None;
    };
    let files = std::fs::read_dir(Path::new(&data).join("api-golden")).unwrap();
    let mut found = Vec::new();
    for file in files {
        let place = file.unwrap().path();
        if place.extension().is_none_or(|end| end != "pb") {
            continue;
        }
        let binary = std::fs::read(&place).unwrap();
        let said = unwrap(&binary).unwrap();
        if let Some(node) = Schema::builtin().of_kind(&said.api_version, &said.kind) {
            found.push((place, node));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Some(found)
}

#[test]
fn golden_objects_are_read() {
    let mut wrong = Vec::new();
    for (place, node) in golden().unwrap_or_default() {
        let binary = std::fs::read(&place).unwrap();
        let mut wanted: Value =
            serde_json::from_slice(&std::fs::read(place.with_extension("json")).unwrap()).unwrap();
        let envelope = unwrap(&binary).unwrap();
        let name = &*node.as_type().unwrap().name;
        let text = std::fs::read_to_string(place.with_extension("yaml")).unwrap();
        let (read, remarks) = yaml::read_first(&text).unwrap();
        if read != wanted || !remarks.is_empty() {
            wrong.push(format!("{name}: its YAML is read as {read}, {remarks:?}"));
        }
        if yaml::write(&wanted) != text {
            wrong.push(format!("{name}: its YAML is not what is written"));
        }
        let mut found = match decode(envelope.raw, name).unwrap() {
            Ok(value) => value,
            Err(error) => {
                wrong.push(format!("{name}: {error}"));
                continue;
            }
        };
        found["apiVersion"] = envelope.api_version.into();
        found["kind"] = envelope.kind.into();
        conform(&mut wanted, node).unwrap();
        if let Err(error) = conform(&mut found, node) {
            wrong.push(format!("{name}: {error}"));
        } else if wanted != found {
            wrong.push(format!("{name}: {}", difference("", &wanted, &found)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn golden_objects_are_written_to_the_byte() {
    let Some(golden) = golden() else { return };
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for (place, node) in golden {
        let wanted = std::fs::read(&place).unwrap();
        let said = unwrap(&wanted).unwrap();
        let name = format!("{} {}", said.api_version, said.kind);
        let text = std::fs::read(place.with_extension("json")).unwrap();
        let value: Value = serde_json::from_slice(&text).unwrap();
        match encode(&to_json(&value, Some(node)), node) {
            Ok(found) if found == wanted => {
                let text = to_json(&value, Some(node));
                let mut writer = Writer::new(node).unwrap();
                let mut write = || {
                    let mut out = Vec::new();
                    writer.field(2, &text, &mut out).map(|()| out)
                };
                let all = [write(), write(), write()];
                if all[1] != all[0] || all[2] != all[0] {
                    wrong.push(format!("{name}: it is another when it is written again"));
                }
            }
            Ok(found) => {
                let at = found
                    .iter()
                    .zip(&wanted)
                    .take_while(|(a, b)| a == b)
                    .count();
                let around = |bytes: &[u8]| {
                    let piece = &bytes[at.saturating_sub(24)..(at + 24).min(bytes.len())];
                    piece.escape_ascii().to_string()
                };
                wrong.push(format!(
                    "{name}: byte {at} of {} and {}\n  wrote  {}\n  wanted {}",
                    found.len(),
                    wanted.len(),
                    around(&found),
                    around(&wanted)
                ));
            }
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
        seen.insert(name);
    }
    seen.extend(UNSEEN.iter().map(ToString::to_string));
    let all = Registry::builtin().all();
    let missing = all
        .iter()
        .map(|kind| format!("{} {}", kind.api_version(), kind.kind))
        .filter(|name| !seen.contains(name));
    wrong.extend(missing.map(|name| format!("{name}: there is no golden object of it")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn difference(path: &str, a: &Value, b: &Value) -> String {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            let names: BTreeSet<&String> = x.keys().chain(y.keys()).collect();
            let differing = names.into_iter().find(|name| x.get(*name) != y.get(*name));
            differing.map_or(String::new(), |name| {
                difference(
                    &format!("{path}/{name}"),
                    x.get(name).unwrap_or(&Value::Null),
                    y.get(name).unwrap_or(&Value::Null),
                )
            })
        }
        _ => format!("{path}: {a} is not {b}"),
    }
}

/// What is written of `object`, and what is read of that again.
fn there_and_back(object: &Value) -> (Vec<u8>, Value) {
    let (api_version, kind) = (&object["apiVersion"], &object["kind"]);
    let node = Schema::builtin()
        .of_kind(api_version.as_str().unwrap(), kind.as_str().unwrap())
        .unwrap();
    let binary = encode(&to_json(object, Some(node)), node).unwrap();
    let said = unwrap(&binary).unwrap();
    let mut value = decode(said.raw, &node.as_type().unwrap().name)
        .unwrap()
        .unwrap();
    value["apiVersion"] = said.api_version.into();
    value["kind"] = said.kind.into();
    conform(&mut value, node).unwrap();
    (binary, value)
}

#[test]
fn what_is_absent_is_written_as_zero() {
    // upstream answers this to who asks for a custom resource in protobuf
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "NotAcceptable", "code": 406});
    let wanted = b"k8s\0\n\x0c\n\x02v1\x12\x06Status\x12\x25\n\x06\n\0\x12\0\x1a\0\x12\x07Failure\x1a\0\x22\rNotAcceptable\x30\x96\x03\x1a\0\x22\0";
    let (found, back) = there_and_back(&status);
    assert_eq!(
        found.escape_ascii().to_string(),
        wanted.escape_ascii().to_string()
    );
    assert_eq!(back, status);
}

#[test]
fn odd_values_come_back() {
    for object in [
        json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "a"}, "data": {"": "AAH/", "empty": "", "z": "eg=="}, "type": "Opaque"}),
        json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a", "labels": {"b": "\"<é\n\u{2028}", "a": ""}, "generation": -1, "creationTimestamp": "1969-12-31T23:59:59Z",
                "managedFields": [{"manager": "m", "operation": "Update", "apiVersion": "v1", "time": "2026-02-28T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {"f:a": {".": {}}}}]},
            "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "1500m"}}, "ports": [{"containerPort": 80}], "livenessProbe": {"httpGet": {"port": "http"}}}],
                "priority": -2_147_483_648, "activeDeadlineSeconds": i64::MIN, "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}], "securityContext": {"supplementalGroups": [1, -2, 3]}},
            "status": {}}),
        json!({"kind": "Lease", "apiVersion": "coordination.k8s.io/v1", "metadata": {"name": "a"}, "spec": {"renewTime": "2024-02-29T12:13:14.000015Z", "acquireTime": "1960-01-01T00:00:00.500000Z"}}),
        json!({"kind": "CustomResourceDefinition", "apiVersion": "apiextensions.k8s.io/v1", "metadata": {"name": "a"}, "spec": {"group": "g", "names": {"plural": "p", "kind": "K"}, "scope": "Cluster",
            "versions": [{"name": "v1", "served": true, "storage": false, "schema": {"openAPIV3Schema": {"type": "object", "maximum": 1.5, "default": {"b": 1, "a": "<"}, "enum": ["x", null],
                "properties": {"one": {"items": {"type": "string"}}, "more": {"items": [{"type": "string"}, {}]}, "open": {"additionalProperties": true}, "shut": {"additionalProperties": false},
                    "map": {"additionalProperties": {"type": "string"}}}, "dependencies": {"a": ["b"], "c": {"type": "object"}}}}, "subresources": {"status": {}}}]},
            "status": {"conditions": null, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": null}}),
        json!({"kind": "APIService", "apiVersion": "apiregistration.k8s.io/v1", "metadata": {"name": "v1.g"},
            "spec": {"service": {"namespace": "n", "name": "s", "port": 443}, "group": "g", "version": "v1", "caBundle": "AQID", "groupPriorityMinimum": 1, "versionPriority": 2}, "status": {}}),
        json!({"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {}, "spec": {},
            "status": {"user": {"username": "u", "extra": {"a": ["x", "y"], "b": ["z"]}}}}),
        json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "7", "remainingItemCount": 0},
            "items": [{"metadata": {"name": "a"}, "spec": {"containers": null}, "status": {}}]}),
        json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": [{"metadata": {"name": "g"}, "versions": [{"version": "v1", "resources": [
            {"resource": "r", "responseKind": {"group": "", "version": "", "kind": "K"}, "scope": "Cluster", "singularResource": "s", "verbs": ["get"]}], "freshness": "Current"}]}]}),
    ] {
        assert_eq!(there_and_back(&object).1, object);
    }
}

#[test]
fn lists_of_metadata_have_numbers_of_their_own_in_the_older_version() {
    let item = json!({"metadata": {"name": "a"}});
    let list = |version: &str| {
        there_and_back(&json!({"kind": "PartialObjectMetadataList", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": {}, "items": [item]})).0
    };
    let (new, old) = (list("v1"), list("v1beta1"));
    let raw = |binary: &[u8]| unwrap(binary).unwrap().raw.to_vec();
    assert_eq!(raw(&new)[..8], *b"\n\x06\n\0\x12\0\x1a\0");
    assert!(raw(&old).ends_with(b"\x12\x06\n\0\x12\0\x1a\0"));
}

#[test]
fn what_objects_have_in_common_is_written_as_if_they_had_not() {
    let pod = |number: usize| {
        let env = json!([{"name": "A", "value": format!("of a few letters {}", number / 2)}, {"name": "B", "value": "as always, of a few letters"}]);
        let managed = ["one", "two"].map(|manager| json!({"manager": manager, "fieldsType": "FieldsV1", "fieldsV1": {format!("f:of-{manager}"): {"f:all": {}, "f:more": {}}}}));
        json!({"metadata": {"name": format!("p{number}"), "labels": {"app": "of all of these", "n": format!("{}", number % 3)}, "managedFields": managed},
            "spec": {"containers": [{"name": "a", "env": env, "resources": {}}, {"name": "b", "env": [{"name": "C", "value": "the other one's, which is long"}], "resources": {}}],
                "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}], "nodeSelector": {"of": "all"}},
            "status": {"conditions": [{"type": "Ready", "status": if number.is_multiple_of(5) { "True" } else { "False" }}]}})
    };
    let node = Schema::builtin().get("core.v1.Pod").unwrap();
    let mut writer = Writer::new(node).unwrap();
    for number in 0..200 {
        let text = to_json(&pod(number), Some(node));
        let (mut found, mut wanted) = (b"before".to_vec(), b"before".to_vec());
        writer.field(2, &text, &mut found).unwrap();
        let mut fresh = Writer::new(node).unwrap();
        fresh.field(2, &text, &mut wanted).unwrap();
        assert_eq!(found, wanted, "{number}");
        // one that cannot be written is in nobody's way
        if number == 100 {
            let broken = &text[..text.len() - 10];
            assert!(writer.field(2, broken, &mut Vec::new()).is_err());
        }
    }
}

#[test]
fn verbs_are_a_message() {
    let list = json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "v1", "resources": [
        {"name": "a", "singularName": "", "namespaced": true, "kind": "A", "verbs": ["get", "list"]}]});
    let (binary, back) = there_and_back(&list);
    assert_eq!(back, list);
    let verbs = b"\x22\x0b\n\x03get\n\x04list";
    assert!(binary.windows(verbs.len()).any(|piece| piece == verbs));
}

#[test]
fn what_has_no_form_or_does_not_fit() {
    let schema = Schema::builtin();
    let written = |text: &str, name: &str| encode(text.as_bytes(), schema.get(name).unwrap());
    let table = written("{}", "meta.v1.Table").unwrap_err();
    assert_eq!(
        table.to_string(),
        "object *v1.Table does not implement the protobuf marshalling interface and cannot be encoded to a protobuf message"
    );
    for (text, wanted) in [
        ("", ProtobufError::Ended),
        ("[]", ProtobufError::Unfit(0)),
        (r#"{"metadata":[]}"#, ProtobufError::Unfit(12)),
        (r#"{"metadata":{}"#, ProtobufError::Ended),
        (r#"{"metadata":{}} {"#, ProtobufError::Unfit(16)),
        (r#"{"metadata":{} "data":{}}"#, ProtobufError::Unfit(15)),
        (r#"{"data":{"a":1}}"#, ProtobufError::Unfit(13)),
        (r#"{"immutable":1}"#, ProtobufError::Unfit(13)),
        (r#"{"binaryData":{"a":"!"}}"#, ProtobufError::Unfit(19)),
        (
            r#"{"metadata":{"generation":1.5}}"#,
            ProtobufError::Unfit(26),
        ),
        (
            r#"{"metadata":{"creationTimestamp":"soon"}}"#,
            ProtobufError::Unfit(33),
        ),
        (r#"{"unknown":[{"a":"]"},tru]}"#, ProtobufError::Unfit(22)),
    ] {
        assert_eq!(written(text, "core.v1.ConfigMap"), Err(wanted), "{text}");
    }
}

#[test]
fn lists_in_pieces_are_lists() {
    let node = Schema::builtin().get("core.v1.ConfigMap").unwrap();
    let item = |name: &str| json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name}, "data": {"a": "b".repeat(300)}});
    let metadata = json!({"resourceVersion": "7"});
    let list = json!({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": metadata, "items": [item("a"), item("b")]});
    let mut items = Vec::new();
    let mut writer = Writer::new(node).unwrap();
    for name in ["a", "b"] {
        let text = to_json(&item(name), Some(node));
        writer.field(2, &text, &mut items).unwrap();
    }
    let head = list_head(
        "v1",
        "ConfigMapList",
        metadata.to_string().as_bytes(),
        items.len(),
    );
    let whole = [&head.unwrap(), &items[..], list_tail()].concat();
    assert_eq!(whole, there_and_back(&list).0);
    let frame = event("ADDED", &whole);
    let length = u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize;
    assert_eq!(length, frame.len() - 4);
    let told = decode(&frame[4..], "meta.v1.WatchEvent");
    assert!(told.unwrap().is_err(), "its object is no JSON");
    assert!(frame.ends_with(&whole) && frame[4..].starts_with(b"\n\x05ADDED\x12"));
}
