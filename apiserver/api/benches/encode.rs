//! What it costs to write an object in the order of its type, once a write: `cargo bench -p skiff-api --bench encode`. Budget: that of plain JSON.

#[path = "common/measure.rs"]
mod measuring;
#[path = "common/pod.rs"]
mod pods;

use measuring::measure;
use pods::pod;
use serde_json::json;
use skiff_api::machinery::schema::{Schema, conform, to_draft, to_json};

fn main() {
    let mut pod = pod();
    let of_pods = Schema::builtin()
        .get("core.v1.Pod")
        .expect("pods are built in");
    conform(&mut pod, of_pods).expect("a good pod");
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "b"}, "data": {"a": "x".repeat(1000)}});
    for (name, object) in [("pod", &pod), ("configmap", &map)] {
        let node = Schema::builtin()
            .of_kind("v1", object["kind"].as_str().unwrap_or(""))
            .expect("built in");
        measure(&format!("{name}, sorted by serde_json"), || {
            drop(std::hint::black_box(serde_json::to_vec(object)))
        });
        measure(&format!("{name}, keys sorted"), || {
            drop(std::hint::black_box(to_json(object, None)))
        });
        measure(&format!("{name}, in the type's order"), || {
            drop(std::hint::black_box(to_draft(object, node)))
        });
    }
}
