//! Strategic merge patches: applied, made, and made of three documents.

use serde_json::Value;
use skiff_api::machinery::{
    patch::{Precondition, strategic},
    read::Read,
    schema::Schema,
};

use crate::{Target, seeds, texts};

pub const STRATEGIC: Target = Target::new("strategic", run, begin).words(&[
    "$patch",
    "replace",
    "delete",
    "merge",
    "$retainKeys",
    "$setElementOrder/containers",
    "$setElementOrder/finalizers",
    "$deleteFromPrimitiveList/finalizers",
    "$setElementOrder/ports",
    "spec",
    "metadata",
    "containers",
    "finalizers",
    "ports",
    "containerPort",
    "protocol",
    "name",
    "env",
    "volumes",
    "strategy",
    "core.v1.Pod",
    "apps.v1.Deployment",
    "core.v1.Service",
    "core.v1.Node",
]);

fn begin() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for file in ["apply", "two-way", "three-way"] {
        let text = seeds::read(format!("strategic/{file}.json"));
        let cases: Vec<Value> = serde_json::from_slice(&text).unwrap();
        for case in &cases {
            let second = ["patch", "modified"].map(|name| case.at(name));
            let second = second.into_iter().find(|value| !value.is_null());
            let third = match case.at("current") {
                Value::Null => case.at("original"),
                current => current,
            };
            all.push(seeds::joined(&[
                case.text("type"),
                &case.at("original").to_string(),
                &second.unwrap_or(&Value::Null).to_string(),
                &third.to_string(),
            ]));
        }
    }
    all
}

fn run(data: &[u8]) {
    let Some([name, original, second, current]) = texts(data) else {
        return;
    };
    let Some(node) = Schema::builtin().get(name) else {
        return;
    };
    let read = |text: &str| serde_json::from_str::<Value>(text);
    let [Ok(original), Ok(second), Ok(current)] = [original, second, current].map(read) else {
        return;
    };
    let said = |error: strategic::StrategicError| drop((error.to_string(), error.status()));
    let _ = strategic::apply(&original, &second, node).map_err(said);
    if let Ok(patch) = strategic::two_way(&original, &second, node, &[]) {
        let _ = strategic::apply(&original, &patch, node).map_err(said);
    }
    for overwrite in [false, true] {
        let made = strategic::three_way(
            &original,
            &second,
            &current,
            node,
            overwrite,
            &Precondition::APPLY,
        );
        if let Ok(patch) = made {
            let _ = strategic::apply(&current, &patch, node).map_err(said);
        }
    }
}
