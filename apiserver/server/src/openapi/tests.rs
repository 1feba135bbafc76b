use std::collections::BTreeSet;

use super::*;

/// What upstream's document has of a definition that ours must have too.
fn facts(definition: &Value) -> BTreeSet<String> {
    let mut facts = BTreeSet::new();
    let list = |value: &Value| value.as_array().into_iter().flatten().map(Value::to_string).collect::<Vec<_>>().join(" ");
    facts.insert(format!("required {}", list(&definition["required"])));
    for (name, property) in definition["properties"].as_object().into_iter().flatten() {
        let kind = |value: &Value| {
            format!("{}{}{}", value["type"].as_str().unwrap_or(""), value["format"].as_str().unwrap_or(""), value["$ref"].as_str().unwrap_or(""))
        };
        facts.insert(format!("{name} is {}", kind(property)));
        for part in ["items", "additionalProperties"] {
            facts.insert(format!("{name} {part} {}", kind(&property[part])));
        }
        for extension in ["list-type", "list-map-keys", "patch-strategy", "patch-merge-key", "map-type"] {
            facts.insert(format!("{name} {extension} {}", property[&format!("x-kubernetes-{extension}")]));
        }
    }
    facts
}

#[test]
fn definitions_and_paths_are_upstreams() {
    let Some(data) = std::env::var_os("UPSTREAM_DATA") else {
        eprintln!("skipped: UPSTREAM_DATA does not name upstream's OpenAPI document");
        return;
    };
    let text = std::fs::read_to_string(std::path::Path::new(&data).join("openapi-v2.json")).unwrap();
    let theirs: Value = serde_json::from_str(&text).unwrap();
    let ours = model(None);
    let mut wrong = Vec::new();
    for (name, definition) in ours["definitions"].as_object().unwrap() {
        let Some(upstream) = theirs["definitions"].get(name) else { continue };
        let (a, b) = (facts(definition), facts(upstream));
        wrong.extend(b.difference(&a).map(|fact| format!("{name}: missing {fact}")));
    }
    let methods =
        |item: &Value| item.as_object().into_iter().flatten().map(|(name, _)| name.clone()).filter(|name| name != "parameters").collect::<BTreeSet<_>>();
    for (path, item) in ours["paths"].as_object().unwrap() {
        match theirs["paths"].get(path) {
            None => wrong.push(format!("{path} is not upstream's")),
            Some(upstream) if methods(upstream) != methods(item) => wrong.push(format!("{path}: {:?} for {:?}", methods(item), methods(upstream))),
            Some(upstream) => {
                for method in methods(item) {
                    for field in ["operationId", "x-kubernetes-action", "x-kubernetes-group-version-kind", "tags", "description"] {
                        if upstream[&method][field] != item[&method][field] {
                            wrong.push(format!("{path} {method} {field}: {} for {}", item[&method][field], upstream[&method][field]));
                        }
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} facts differ:\n{}", wrong.len(), wrong[..wrong.len().min(60)].join("\n"));
}

#[test]
fn every_reference_leads_somewhere() {
    for path in ["api/v1", "apis/apps/v1", "apis/autoscaling/v2"] {
        let document: Value = serde_json::from_slice(&version3_of(path).unwrap().bytes).unwrap();
        let text = document["paths"].to_string() + &document["components"].to_string();
        for reference in text.split("\"$ref\":\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            let name = reference.strip_prefix("#/components/schemas/").unwrap();
            assert!(document["components"]["schemas"][name].is_object(), "{path}: {name}");
        }
    }
}

#[test]
fn fields_are_described() {
    let definitions = definitions::all();
    let pod = &definitions["io.k8s.api.core.v1.PodSpec"]["properties"];
    let mute: Vec<&String> =
        pod.as_object().unwrap().iter().filter(|(_, field)| field["description"].as_str().unwrap_or("").is_empty()).map(|(name, _)| name).collect();
    assert!(mute.is_empty(), "{mute:?}");
}
