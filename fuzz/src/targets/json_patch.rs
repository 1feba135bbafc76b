//! JSON patches: a document, and operations on it.

use serde_json::{Value, json};
use skiff_api::machinery::patch::json::JsonPatch;

use crate::{Target, seeds, texts};

pub const JSON_PATCH: Target = Target::new("json_patch", run, begin)
    .words(&[
        "add",
        "remove",
        "replace",
        "move",
        "copy",
        "test",
        "op",
        "path",
        "from",
        "value",
        "/",
        "/-",
        "/0",
        "/-1",
        "/a~1b",
        "/a~0b",
        "/spec",
        "/metadata/name",
        "/spec/containers/0",
        "/spec/containers/-",
        "/01",
        "/+1",
        "~2",
    ])
    // copies may add 3 MiB, of values that are small
    .always(256 << 20);

fn begin() -> Vec<Vec<u8>> {
    let patch = json!([
        {"op": "test", "path": "/kind", "value": "ConfigMap"},
        {"op": "add", "path": "/metadata/labels", "value": {"a": "b"}},
        {"op": "copy", "from": "/metadata", "path": "/spec"},
        {"op": "move", "from": "/metadata/labels", "path": "/labels"},
        {"op": "replace", "path": "/kind", "value": [1, 2]},
        {"op": "add", "path": "/kind/-", "value": 3},
        {"op": "remove", "path": "/kind/0"},
    ]);
    let objects = seeds::objects().iter();
    objects
        .map(|object| seeds::joined(&[object, &patch]))
        .collect()
}

fn run(data: &[u8]) {
    let Some([document, patch]) = texts(data) else {
        return;
    };
    let (Ok(document), Ok(body)) = (
        serde_json::from_str::<Value>(document),
        serde_json::from_str::<Value>(patch),
    ) else {
        return;
    };
    for validate in [false, true] {
        if let Ok(patch) = JsonPatch::decode(&body, validate) {
            let mut document = document.clone();
            let _ = patch
                .apply(&mut document)
                .map_err(|error| error.to_string());
        }
    }
}
