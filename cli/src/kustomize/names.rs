//! New names, and the fields that refer to them.
//! Invariant: a reference follows the object that it named in its file, through prefixes, suffixes and hashes.
//! Behaviour follows `sigs.k8s.io/kustomize/api/internal/accumulator` and its `namereference` configuration.

use super::Item;
use crate::typed::Read;
use serde_json::{Value, json};

/// Puts hashes onto names, and brings all references up to date.
pub fn finish(items: &mut [Item]) {
    for i in items.iter_mut().filter(|i| i.hashed) {
        let name = i.object.at("metadata").text("name").to_string();
        i.object["metadata"]["name"] = json!(format!("{name}-{}", i.hash));
    }
    let renamed: Vec<(String, String, String)> = items
        .iter()
        .map(|i| {
            (
                i.kind().to_string(),
                i.original.clone(),
                i.object.at("metadata").text("name").to_string(),
            )
        })
        .filter(|(_, old, new)| old != new)
        .collect();
    for i in items.iter_mut() {
        walk(&mut i.object, "", &renamed);
    }
}

/// What kind the field of that name refers to, by the name inside it.
fn target(field: &str) -> Option<&'static str> {
    Some(match field {
        "configMapRef" | "configMapKeyRef" | "configMap" => "ConfigMap",
        "secretRef" | "secretKeyRef" | "imagePullSecrets" | "nodePublishSecretRef" => "Secret",
        _ => return None,
    })
}

fn walk(value: &mut Value, field: &str, renamed: &[(String, String, String)]) {
    let rename = |kind: &str, v: &mut Value| {
        if let Some((_, _, new)) = renamed
            .iter()
            .find(|(k, old, _)| k == kind && v.as_str() == Some(old))
        {
            *v = json!(new);
        }
    };
    match value {
        Value::Array(list) => list.iter_mut().for_each(|v| walk(v, field, renamed)),
        Value::Object(map) => {
            if let Some(kind) = target(field)
                && let Some(name) = map.get_mut("name")
            {
                rename(kind, name);
            }
            // References that say what they refer to.
            if matches!(field, "roleRef" | "scaleTargetRef" | "subjects") {
                let kind = map
                    .get("kind")
                    .and_then(Value::as_str)
                    .unwrap_or("")
                    .to_string();
                if let Some(name) = map.get_mut("name") {
                    rename(&kind, name);
                }
            }
            if field == "service"
                && let Some(name) = map.get_mut("name")
            {
                rename("Service", name);
            }
            for (k, v) in map.iter_mut() {
                match k.as_str() {
                    "secretName" => rename("Secret", v),
                    "serviceAccountName" | "serviceAccount" => rename("ServiceAccount", v),
                    "claimName" => rename("PersistentVolumeClaim", v),
                    "serviceName" => rename("Service", v),
                    "priorityClassName" => rename("PriorityClass", v),
                    "storageClassName" => rename("StorageClass", v),
                    "ingressClassName" => rename("IngressClass", v),
                    "sources" | "secret" if field == "projected" || field == "sources" => {
                        if k == "secret"
                            && let Some(n) = v.get_mut("name")
                        {
                            rename("Secret", n);
                        }
                    }
                    _ => {}
                }
                walk(v, k, renamed);
            }
        }
        _ => {}
    }
}
