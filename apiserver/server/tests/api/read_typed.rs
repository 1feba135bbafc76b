//! Odd values that the server takes, read as controllers, scheduler and node agent read them: none of them may keep those from their work.
//!
//! What each field of each type may hold is looked at in `skiff_watching::typed`; here stands what comes through the server.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use skiff_api::machinery::yaml;
use skiff_watching::typed::READERS;

use crate::{server::Server, typed::Readers, verbs};

/// What is in a status that somebody has written who says as little as he can, or what nobody has heard of.
fn statuses(kind: &str) -> Option<Value> {
    let condition = json!({"type": "Odd", "status": "Unknown", "lastTransitionTime": null, "reason": "Odd", "message": ""});
    // where there has to be a time
    let mut early = condition.clone();
    early["lastTransitionTime"] = json!("0000-06-01T00:00:00Z");
    let updated = json!({"type": "Odd", "status": "Unknown", "lastUpdateTime": null});
    let probed = json!({"type": "Odd", "status": "Unknown", "lastProbeTime": null});
    let zero = "0001-01-01T00:00:00Z";
    Some(match kind {
        "Pod" => json!({
            "phase": "Odd", "conditions": [probed, condition], "startTime": zero, "podIPs": null, "resize": "Odd",
            "containerStatuses": [{"name": "engine", "state": {"running": {"startedAt": null}}, "lastState": {"terminated": {"exitCode": 1, "finishedAt": null}}}],
        }),
        "Service" => json!({"conditions": [condition], "loadBalancer": null}),
        "ReplicationController" => json!({"replicas": null, "conditions": [condition]}),
        "Node" => json!({
            "phase": "Odd", "capacity": {"cpu": 5, "memory": "1.5Gi", "example.com/odd": null}, "nodeInfo": null,
            "conditions": [{"type": "Ready", "status": "Odd", "lastHeartbeatTime": null}, condition], "images": [{"names": null}],
        }),
        "Namespace" => json!({"conditions": [condition]}),
        "PersistentVolume" => json!({"phase": "Odd", "lastPhaseTransitionTime": zero}),
        "PersistentVolumeClaim" => {
            json!({"phase": "Odd", "conditions": [probed], "capacity": {"storage": 1.5}, "allocatedResourceStatuses": null})
        }
        "ResourceQuota" => json!({"hard": {"pods": 5, "cpu": 0.5}, "used": {"pods": null}}),
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" => {
            json!({"replicas": 0, "conditions": [updated, condition], "collisionCount": null})
        }
        "Job" => json!({"conditions": [probed], "active": null, "uncountedTerminatedPods": null}),
        "CronJob" => json!({"active": [{}], "lastScheduleTime": zero}),
        "PodDisruptionBudget" => {
            json!({"disruptedPods": {"ferry": null}, "conditions": [early]})
        }
        "HorizontalPodAutoscaler" => {
            json!({"currentMetrics": null, "conditions": [condition], "desiredReplicas": null})
        }
        "CertificateSigningRequest" => json!({"conditions": [updated], "certificate": null}),
        "ValidatingAdmissionPolicy" => json!({"conditions": [early], "typeChecking": null}),
        "ServiceCIDR" => json!({"conditions": [condition]}),
        "VolumeAttachment" => json!({"attached": null, "attachError": {"time": null}}),
        _ => return None,
    })
}

/// The places in an object, but for its type and name.
fn places(object: &Value, at: String, found: &mut Vec<String>) {
    let below: Vec<(String, &Value)> = match object {
        Value::Object(map) => map
            .iter()
            .map(|(name, value)| (name.replace('~', "~0").replace('/', "~1"), value))
            .collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, item)| (index.to_string(), item))
            .collect(),
        _ => return,
    };
    for (name, value) in below {
        let place = format!("{at}/{name}");
        if !["/kind", "/apiVersion", "/metadata", "/metadata/name"].contains(&&*place) {
            found.push(place.clone());
        }
        places(value, place, found);
    }
}

#[tokio::test]
async fn what_the_server_takes_is_read_by_those_who_work_with_it() {
    let server = verbs::harbour().await;
    let mut readers = Readers::default();
    let (mut seen, mut with_status, mut refused) = (BTreeSet::new(), 0, Vec::new());
    for document in yaml::read(&verbs::objects()).unwrap() {
        let object = document.value;
        let kind = verbs::kind_of(&object).unwrap();
        let is_read = READERS
            .iter()
            .any(|of| of.api_version == kind.api_version() && of.kind == kind.kind);
        if !is_read {
            continue;
        }
        seen.insert(kind.kind.to_string());
        let collection = verbs::collection(kind, verbs::NAMESPACE);
        with_odd_values(&server, &collection, &object, &mut readers).await;
        let made = server.make(&collection, &object).await;
        readers.read(&collection, &made.text());
        let item = format!(
            "{collection}/{}",
            object["metadata"]["name"].as_str().unwrap_or_default()
        );
        let Some(status) = statuses(kind.kind) else {
            continue;
        };
        with_status += 1;
        let entry = json!({"manager": "a", "operation": "Update", "apiVersion": kind.api_version(), "time": null, "fieldsType": "FieldsV1", "fieldsV1": {}});
        for change in [
            json!({"status": status}),
            json!({"metadata": {"managedFields": [entry]}}),
        ] {
            let path = format!("{item}/status");
            let changed = server.patch(&path, "merge", &change).await;
            if changed.code != 200 {
                refused.push(changed.message());
            }
            readers.read(&format!("{item}/status {change}"), &changed.text());
        }
        readers.read(&item, &server.get(&item).await.is(200).text());
    }
    let unseen: Vec<&str> = READERS
        .iter()
        .map(|reader| reader.kind)
        .filter(|kind| !seen.contains(*kind))
        .collect();
    // parts of others, which bear their own tests
    assert_eq!(unseen, ["Scale", "TokenRequest"]);
    assert_eq!(with_status, 20);
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    readers.all_were_read();
}

/// Each field of the object as nothing, as an empty text and as one that nobody knows, where the server takes that.
async fn with_odd_values(server: &Server, collection: &str, object: &Value, readers: &mut Readers) {
    let mut found = Vec::new();
    places(object, String::new(), &mut found);
    let path = format!("{collection}?dryRun=All");
    for place in found {
        for odd in [json!(null), json!(""), json!("Odd"), json!(0)] {
            let mut changed = object.clone();
            *changed.pointer_mut(&place).unwrap() = odd.clone();
            let answer = server.post(&path, &changed).await;
            if answer.code == 201 {
                readers.read(&format!("{collection}{place} = {odd}"), &answer.text());
            }
        }
    }
}
