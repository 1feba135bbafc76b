//! Runs the stories of `testdata/apply`: steps that apply, put or merge into one object, and after each who owns what.
//! With `UPDATE_GOLDEN=1` what came out is written back instead of compared.

use std::path::PathBuf;

use serde_json::json;

use super::*;
use crate::machinery::patch::merge;
use crate::machinery::schema::{Schema, conform};

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/apply"))
}

fn reset_of(value: &Value) -> ResetFields {
    let paths: Vec<&'static str> = value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|p| &*String::from(p).leak())
        .collect();
    ResetFields::paths(&paths)
}

/// Does one step; the new object and what the story should say of it.
fn step(
    story: &Value,
    step: &Value,
    live: Option<&Value>,
    now: &str,
) -> Result<Value, ManagedFieldsError> {
    let text = |value: &'static str| step.get(value).and_then(Value::as_str).unwrap_or_default();
    let schema = Schema::builtin()
        .get(story["type"].as_str().unwrap())
        .unwrap_or_else(|| panic!("no type {}", story["type"]));
    let reset = reset_of(
        step.get("reset")
            .or(story.get("reset"))
            .unwrap_or(&Value::Null),
    );
    let api_version = story["apiVersion"].as_str().unwrap();
    let mut body = step["body"].clone();
    for field in ["apiVersion", "kind"] {
        if body.get(field).is_none() && step["do"] != "merge" {
            body[field] = story[field].clone();
        }
    }
    if step["do"] == "apply" {
        let force = step.get("force") == Some(&json!(true));
        return apply(
            live,
            &body,
            &Apply {
                manager: text("manager"),
                force,
                subresource: text("subresource"),
                api_version,
                now,
                schema,
                reset: &reset,
                versions: None,
            },
        );
    }
    let mut new = if step["do"] == "merge" {
        let mut new = live.unwrap().clone();
        merge::apply(&mut new, body, true).unwrap();
        new
    } else {
        body
    };
    // canonical form would drop a list that is empty, which says something here
    let sent = of(&new).cloned();
    conform(&mut new, schema).unwrap();
    put(&mut new, sent);
    let update = Update {
        manager: text("manager"),
        subresource: text("subresource"),
        api_version,
        now,
        schema,
        reset: &reset,
        versions: None,
    };
    let nothing = json!({});
    track_update(live.unwrap_or(&nothing), &mut new, &update)?;
    if step.get("forget").is_some() {
        put(&mut new, None);
    }
    Ok(new)
}

/// What a story says after a step: managers in short, and the object without them.
fn told(object: &Value) -> Value {
    let managers: Vec<Value> = of(object)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|e| {
            let subresource = e["subresource"]
                .as_str()
                .map(|s| format!("/{s}"))
                .unwrap_or_default();
            let time = e["time"].as_str().unwrap_or("never");
            json!([
                format!(
                    "{}{subresource} {} {time}",
                    e["manager"].as_str().unwrap(),
                    e["operation"].as_str().unwrap()
                ),
                e["fieldsV1"]
            ])
        })
        .collect();
    let mut object = object.clone();
    put(&mut object, None);
    for field in ["apiVersion", "kind"] {
        object.as_object_mut().unwrap().remove(field);
    }
    json!({"managers": managers, "object": object})
}

#[test]
fn stories() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let (mut ran, mut wrong) = (0, Vec::new());
    let mut files: Vec<_> = std::fs::read_dir(folder())
        .unwrap()
        .map(|f| f.unwrap().path())
        .collect();
    files.sort();
    for file in files {
        let mut stories: Vec<Value> =
            serde_json::from_str(&std::fs::read_to_string(&file).unwrap())
                .unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        for story in &mut stories {
            let mut live: Option<Value> = None;
            let mut steps = story["steps"].take();
            for (at, one) in steps.as_array_mut().unwrap().iter_mut().enumerate() {
                ran += 1;
                let now = format!("2026-01-01T00:00:{at:02}Z");
                let got = match step(story, one, live.as_ref(), &now) {
                    Ok(mut object) => {
                        let schema = Schema::builtin()
                            .get(story["type"].as_str().unwrap())
                            .unwrap();
                        conform(&mut object, schema).unwrap();
                        object["metadata"]["uid"] = "u".into();
                        let told = told(&object);
                        live = Some(object);
                        told
                    }
                    Err(error) => {
                        let status = error.status().to_value();
                        json!({"error": status["message"], "code": status["code"], "causes": status["details"]["causes"]})
                    }
                };
                if update {
                    one["wanted"] = got;
                } else if one["wanted"] != got {
                    wrong.push(format!(
                        "{}: step {at}\n  wanted {}\n  got    {got}",
                        story["name"], one["wanted"]
                    ));
                }
            }
            story["steps"] = steps;
        }
        if update {
            let lines = |story: &Value| {
                let mut head = story.clone();
                let steps: Vec<String> = head["steps"]
                    .take()
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|s| format!("    {s}"))
                    .collect();
                head.as_object_mut().unwrap().remove("steps");
                let head = head.to_string();
                format!(
                    "  {},\"steps\":[\n{}\n  ]}}",
                    &head[..head.len() - 1],
                    steps.join(",\n")
                )
            };
            std::fs::write(
                &file,
                format!(
                    "[\n{}\n]\n",
                    stories.iter().map(lines).collect::<Vec<_>>().join(",\n")
                ),
            )
            .unwrap();
        }
    }
    assert!(ran >= 60, "only {ran} steps");
    assert!(
        wrong.is_empty(),
        "{} of {ran} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// Two versions of autoscalers, which differ in more than the paths that are looked at here.
struct Autoscalers;

impl Versions for Autoscalers {
    fn knows(&self, api_version: &str) -> Result<bool, String> {
        match api_version {
            "odd" => Err("odd".into()),
            version => Ok(matches!(version, "autoscaling/v1" | "autoscaling/v2")),
        }
    }

    fn at<'v>(&'v self, object: &Value, api_version: &str) -> Option<(Value, Node<'v>)> {
        let version = api_version.strip_prefix("autoscaling/")?;
        let schema =
            Schema::builtin().get(&format!("autoscaling.{version}.HorizontalPodAutoscaler"))?;
        let mut object = object.clone();
        object["apiVersion"] = api_version.into();
        Some((object, schema))
    }
}

#[test]
fn managers_at_other_versions() {
    let schema = |v: &str| {
        Schema::builtin()
            .get(&format!("autoscaling.{v}.HorizontalPodAutoscaler"))
            .unwrap()
    };
    let config = |v: &str, max: i32| json!({"apiVersion": format!("autoscaling/{v}"), "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"}, "spec": {"maxReplicas": max}});
    let reset = ResetFields::paths(&["status"]);
    let now = "2026-01-01T00:00:00Z";
    let at = |v: &'static str, manager: &'static str| Apply {
        manager,
        force: false,
        subresource: "",
        api_version: if v == "v1" {
            "autoscaling/v1"
        } else {
            "autoscaling/v2"
        },
        now,
        schema: schema(v),
        reset: &reset,
        versions: Some(&Autoscalers),
    };
    let mut live = apply(None, &config("v1", 4), &at("v1", "a")).unwrap();
    live["apiVersion"] = "autoscaling/v2".into();
    live["metadata"]["uid"] = "u".into();
    conform(&mut live, schema("v2")).unwrap();
    let conflict = apply(Some(&live), &config("v2", 9), &at("v2", "b")).unwrap_err();
    assert_eq!(
        conflict.to_string(),
        "Apply failed with 1 conflict: conflict with \"a\": .spec.maxReplicas"
    );
    // who wrote at a version that is no more owns nothing
    live["metadata"]["managedFields"][0]["apiVersion"] = "autoscaling/v2beta2".into();
    let new = apply(Some(&live), &config("v2", 9), &at("v2", "b")).unwrap();
    let managers: Vec<_> = of(&new)
        .unwrap()
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["manager"].clone())
        .collect();
    assert_eq!(managers, ["b"]);
}

#[test]
fn updates_that_cannot_be_compared() {
    let schema = Schema::builtin().get("core.v1.ServiceAccount").unwrap();
    let mut new = json!({"metadata": {"name": "a"}, "secrets": [{}]});
    let update = Update {
        manager: "m",
        subresource: "",
        api_version: "v1",
        now: "2026-01-01T00:00:00Z",
        schema,
        reset: &ResetFields::default(),
        versions: None,
    };
    let error = track_update(&json!({}), &mut new, &update).unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to compare objects: element 0: associative list with keys has an element that omits all key fields [\"name\"] (and doesn't have default values for any key fields)"
    );
    assert_eq!(of(&new), None);
}

/// Who wrote at a version that is no more is forgotten with the next write, whatever that changes; one that cannot be read leaves nobody, or is told.
#[test]
fn managers_at_versions_that_are_no_more() {
    let schema = Schema::builtin()
        .get("autoscaling.v2.HorizontalPodAutoscaler")
        .unwrap();
    let entry = |manager: &str, operation: &str, version: &str| json!({"manager": manager, "operation": operation, "apiVersion": version, "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:maxReplicas": {}}}});
    let live = |versions: &[&str]| {
        let entries: Vec<Value> = versions
            .iter()
            .map(|version| entry(version, "Update", version))
            .collect();
        json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h", "uid": "u", "managedFields": entries}, "spec": {"maxReplicas": 1}})
    };
    let names = |object: &Value| -> Vec<String> {
        let entries = object["metadata"]["managedFields"].as_array();
        let entries = entries.into_iter().flatten();
        entries
            .map(|entry| entry["manager"].as_str().unwrap().to_string())
            .collect()
    };
    let reset = ResetFields::default();
    let update = Update {
        manager: "m",
        subresource: "",
        api_version: "autoscaling/v2",
        now: "2026-01-02T00:00:00Z",
        schema,
        reset: &reset,
        versions: Some(&Autoscalers),
    };
    let before = live(&["autoscaling/v1", "autoscaling/v2beta2"]);
    let mut same = before.clone();
    track_update(&before, &mut same, &update).unwrap();
    assert_eq!(names(&same), ["autoscaling/v1"]);
    let odd = live(&["autoscaling/v1", "odd"]);
    let mut new = odd.clone();
    track_update(&odd, &mut new, &update).unwrap_err();
    assert!(names(&new).is_empty());
    let applied = Apply {
        manager: "m",
        force: false,
        subresource: "",
        api_version: "autoscaling/v2",
        now: "2026-01-02T00:00:00Z",
        schema,
        reset: &reset,
        versions: Some(&Autoscalers),
    };
    let config = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"}, "spec": {"minReplicas": 1}});
    let new = apply(Some(&before), &config, &applied).unwrap();
    assert_eq!(names(&new), ["m", "autoscaling/v1"]);
    let error = apply(Some(&odd), &config, &applied).unwrap_err();
    assert_eq!(error.to_string(), "odd");
}
