//! What a list in protobuf pays for each of its items: `cargo bench -p skiff-protobuf`.

#[path = "../../api/benches/common/measure.rs"]
mod measuring;
#[path = "../../api/benches/common/pod.rs"]
mod pods;

use measuring::measure;
use pods::pod;
use serde_json::json;
use skiff_api::machinery::schema::{Schema, conform, to_json};
use skiff_protobuf::Writer;

fn main() {
    let mut pod = pod();
    let of_pods = Schema::builtin()
        .get("core.v1.Pod")
        .expect("pods are built in");
    conform(&mut pod, of_pods).expect("a good pod");
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "b"}, "data": {"a": "x".repeat(1000)}});
    for object in [&pod, &map] {
        let name = object["kind"].as_str().unwrap_or_default();
        let node = Schema::builtin().of_kind("v1", name).expect("built in");
        let text = to_json(object, Some(node));
        let mut writer = Writer::new(node).expect("built in");
        let mut out = Vec::new();
        measure(name, || {
            out.clear();
            writer.field(2, &text, &mut out).expect("its own text");
        });
        println!("  {} bytes of JSON, {} of protobuf", text.len(), out.len());
    }
}
