//! Server-side apply, and who owns what after an update: a live object with its managed fields, and a configuration of the same kind.

use std::sync::LazyLock;

use serde_json::{Value, json};
use skiff_api::machinery::{
    managed_fields::{Apply, ResetFields, Update, apply, check, put_over, track_update},
    read::Read,
};

use super::{NAMES, kind_of, object_of};
use crate::{Target, parts, seeds};

pub const APPLY: Target = Target::new("apply", run, begin).words(NAMES);

fn begin() -> Vec<Vec<u8>> {
    let of = |manager: &str, object: &Value| {
        let fields = object
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(name, _)| *name != "metadata");
        let fields = fields.map(|(name, value)| {
            let within = value.as_object().into_iter().flatten();
            let within = within.map(|(name, _)| (format!("f:{name}"), json!({})));
            (format!("f:{name}"), Value::Object(within.collect()))
        });
        json!({"manager": manager, "operation": "Apply", "apiVersion": object["apiVersion"], "time": "2026-01-02T03:04:05Z", "fieldsType": "FieldsV1",
            "fieldsV1": Value::Object(fields.collect())})
    };
    let objects = seeds::objects().iter().map(|object| {
        let mut live = object.clone();
        live["metadata"]["uid"] = "u".into();
        live["metadata"]["managedFields"] = json!([of("a", object), of("b", object)]);
        seeds::joined(&[&live, object])
    });
    let mut all: Vec<Vec<u8>> = objects.collect();
    let stories: Vec<Value> = serde_json::from_slice(&seeds::read("apply/stories.json")).unwrap();
    for story in &stories {
        let mut live = None;
        for step in story.list("steps") {
            let said = |object: &Value| {
                let mut object = object.clone();
                object["apiVersion"] = story["apiVersion"].clone();
                object["kind"] = story["kind"].clone();
                object
            };
            let body = said(step.at("body"));
            all.push(seeds::joined(&[
                &live.take().unwrap_or_else(|| body.clone()),
                &body,
            ]));
            let wanted = step.at("wanted");
            let mut object = said(wanted.at("object"));
            let managers = wanted.list("managers").iter().map(|manager| {
                json!({"manager": "a", "operation": "Apply", "apiVersion": story["apiVersion"], "time": "2026-01-02T03:04:05Z", "fieldsType": "FieldsV1",
                    "fieldsV1": manager[1]})
            });
            object["metadata"]["managedFields"] = managers.collect();
            live = Some(object);
        }
    }
    all
}

fn run(data: &[u8]) {
    static RESET: LazyLock<ResetFields> = LazyLock::new(|| ResetFields::paths(&["status"]));
    let [live, config] = parts(data);
    let Some((kind, live)) = object_of(live) else {
        return;
    };
    let Ok(config) = serde_json::from_slice::<Value>(config) else {
        return;
    };
    let _ = check(live.at("metadata").get("managedFields")).map_err(|error| error.to_string());
    let api_version = kind.api_version();
    for (manager, force) in [("a", false), ("kubectl", false), ("c", true)] {
        let how = Apply {
            manager,
            force,
            subresource: "",
            api_version: &api_version,
            now: "2026-02-03T04:05:06Z",
            schema: kind.node(),
            reset: &RESET,
            versions: None,
        };
        for live in [Some(&live), None] {
            match apply(live, &config, &how) {
                Ok(mut made) => drop(kind.conform(&mut made)),
                Err(error) => drop((error.to_string(), error.status())),
            }
        }
    }
    let _ = put_over(&live, &config, kind.node()).map_err(|error| error.to_string());
    let mut new = config;
    if kind_of(&new).is_none_or(|of| of.type_name() != kind.type_name())
        || kind.conform(&mut new).is_err()
    {
        return;
    }
    let how = Update {
        manager: "d",
        subresource: "",
        api_version: &api_version,
        now: "2026-02-03T04:05:06Z",
        schema: kind.node(),
        reset: &RESET,
        versions: None,
    };
    let _ = track_update(&live, &mut new, &how).map_err(|error| error.to_string());
}
