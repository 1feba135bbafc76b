//! Every row of the tables beside what upstream's own files say of its kind: discovery, and an object with every field set in JSON, YAML and protobuf.
//!
//! Invariant: what differs on purpose is a list here, and a line of it that differs no longer fails the test. The files are found by `UPSTREAM_DATA`;
//! without it these tests say that they were skipped.

use std::{collections::BTreeSet, path::PathBuf};

use serde_json::{Value, json};
use skiff_api::{
    kinds::{Kind, Registry},
    machinery::schema::to_draft,
};
use skiff_storage::{Attributes, Draft, Expect, Key, Write};

use crate::{
    differences::differences,
    protobuf::{self, PROTOBUF},
    server::Server,
    verbs,
};

/// A folder of upstream's files.
fn folder(name: &str) -> Option<PathBuf> {
    let Some(data) = std::env::var_os("UPSTREAM_DATA") else {
        skiff_testing::skipped(format!("UPSTREAM_DATA does not name upstream's {name}"));
        return None;
    };
    Some(PathBuf::from(data).join(name))
}

/// A version that upstream does not serve unless it is told to, which its documents show all the same.
fn is_off(version: &Value) -> bool {
    let name = version.as_str().unwrap_or_default();
    name.contains("alpha") || name.contains("beta")
}

/// Leaves out the versions that are off, in documents of both forms, and groups of which no version is left.
fn only_what_is_on(document: &mut Value) {
    for list in ["groups", "items"] {
        let Some(groups) = document.get_mut(list).and_then(Value::as_array_mut) else {
            continue;
        };
        groups.iter_mut().for_each(only_what_is_on);
        groups.retain(|group| group["versions"] != json!([]));
    }
    if let Some(versions) = document.get_mut("versions").and_then(Value::as_array_mut) {
        versions.retain(|version| !version.is_object() || !is_off(&version["version"]));
    }
}

#[tokio::test]
async fn discovery_is_upstreams() {
    let Some(folder) = folder("discovery") else {
        return;
    };
    let server = Server::start().await;
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    for file in std::fs::read_dir(&folder).unwrap() {
        let file = file.unwrap().path();
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut wanted: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        only_what_is_on(&mut wanted);
        let version = name.rsplit("__").next().unwrap_or_default();
        if is_off(&version.into()) || wanted["versions"] == json!([]) {
            continue;
        }
        let (path, accept) = match &*name {
            "aggregated_v2" => ("/apis".to_string(), aggregated),
            name => (format!("/{}", name.replace("__", "/")), "application/json"),
        };
        let answer = server.send("GET", &path, &[("accept", accept)], "").await;
        let mut found = answer.is(200).json();
        for document in [&mut found, &mut wanted] {
            // no two servers listen at the same address
            if let Some(addresses) = document.get_mut("serverAddressByClientCIDRs") {
                addresses[0]["serverAddress"] = json!("<address>");
            }
        }
        let told = differences(&wanted, &found);
        wrong.extend(told.iter().map(|one| format!("{name}: {one}")));
        seen.insert(path);
    }
    for kind in Registry::builtin().all() {
        let path = match kind.group {
            "" => format!("/api/{}", kind.version),
            group => format!("/apis/{group}/{}", kind.version),
        };
        assert!(seen.contains(&path), "upstream has no {path}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Puts an object into the store as it is, past all that would refuse it; answers its key.
async fn put(server: &Server, kind: &Kind, object: &Value) -> Key {
    let all = Registry::builtin();
    let stored = all.stored(&kind.stored_resource()).unwrap();
    let mut value = object.clone();
    kind.convert(&mut value, stored).unwrap();
    let (bytes, revision_at) = to_draft(&value, stored.node());
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    let namespace = if kind.namespaced {
        text("namespace")
    } else {
        ""
    };
    let key = Key {
        resource: kind.stored_resource().into(),
        namespace: namespace.into(),
        name: text("name").into(),
    };
    let none = std::iter::empty::<(&str, &str)>;
    let draft = Draft {
        bytes,
        revision_at,
        attributes: Attributes::new(true, text("uid"), none(), none()),
    };
    write(server, &key, Expect::Absent, Some(draft)).await;
    key
}

async fn write(server: &Server, key: &Key, expect: Expect, draft: Option<Draft>) {
    let write = Write {
        key: key.clone(),
        expect,
        draft,
        last: None,
    };
    server.app.core.store.commit(write).await.unwrap();
}

/// Annotations with which upstream, too, tells in a version what it has no field for: of which kind, and what is told of its golden object.
const TOLD_MORE: [(&str, &str, &str); 1] = [(
    "autoscaling/v1 HorizontalPodAutoscaler",
    "autoscaling.alpha.kubernetes.io/current-metrics",
    r#"[{"type":"Resource","resource":{"name":"cpu","currentAverageUtilization":5,"currentAverageValue":"0"}}]"#,
)];

#[tokio::test]
async fn golden_objects_come_back_from_the_store_as_they_went_in() {
    let Some(folder) = folder("api-golden") else {
        return;
    };
    let server = Server::start().await;
    let mut wrong = Vec::new();
    let mut seen = 0;
    for kind in Registry::builtin()
        .all()
        .iter()
        .filter(|kind| kind.is_stored())
    {
        let group = if kind.group.is_empty() {
            "core"
        } else {
            kind.group
        };
        let file = folder.join(format!("{group}.{}.{}.json", kind.version, kind.kind));
        let Ok(golden) = std::fs::read(&file) else {
            continue;
        };
        seen += 1;
        let mut wanted: Value = serde_json::from_slice(&golden).unwrap();
        let key = put(&server, kind, &wanted).await;
        let name = wanted["metadata"]["name"].as_str().unwrap();
        let namespace = wanted["metadata"]["namespace"].as_str().unwrap_or_default();
        let path = format!("{}/{name}", verbs::collection(kind, namespace));
        let found = server.get(&path).await.is(200).json();
        let revision = found["metadata"]["resourceVersion"].as_str().unwrap();
        let revision: u64 = revision.parse().unwrap();
        wanted["metadata"]["resourceVersion"] = json!(revision.to_string());
        let named = format!("{} {}", kind.api_version(), kind.kind);
        let more = TOLD_MORE.iter().find(|(of, ..)| *of == named);
        let tell = |wanted: &mut Value| {
            if let Some((_, annotation, text)) = more {
                wanted["metadata"]["annotations"][annotation] = json!(text);
            }
        };
        tell(&mut wanted);
        let told = differences(&wanted, &found);
        wrong.extend(told.iter().map(|one| format!("{named} in JSON: {one}")));
        let yaml = [("accept", "application/yaml")];
        let found = server.send("GET", &path, &yaml, "").await.is(200).text();
        let wanted = std::fs::read_to_string(file.with_extension("yaml")).unwrap();
        let own = format!("\n  resourceVersion: \"{revision}\"\n");
        let mut found = found.replace(&own, "\n  resourceVersion: resourceVersionValue\n");
        if let Some((_, annotation, text)) = more {
            found = found.replacen(&format!("    {annotation}: '{text}'\n"), "", 1);
        }
        if found != wanted {
            let lines = found.lines().zip(wanted.lines());
            let first = lines.into_iter().find(|(found, wanted)| found != wanted);
            wrong.push(format!("{named} in YAML: {first:?}"));
        }
        let binary = [("accept", PROTOBUF)];
        let found = server.send("GET", &path, &binary, "").await.is(200);
        let golden = std::fs::read(file.with_extension("pb")).unwrap();
        let mut wanted = protobuf::read(&golden);
        wanted["metadata"]["resourceVersion"] = json!(revision.to_string());
        tell(&mut wanted);
        let told = differences(&wanted, &protobuf::read(&found.bytes));
        wrong.extend(told.iter().map(|one| format!("{named} in protobuf: {one}")));
        // other versions of the kind have the same name
        write(&server, &key, Expect::Revision(revision), None).await;
    }
    assert!(seen > 50, "{seen} of them are stored");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
