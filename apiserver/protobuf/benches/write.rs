//! What a list in protobuf pays for each of its items: `cargo bench -p skiff-protobuf`.

#[path = "../../api/benches/common/measure.rs"]
mod measuring;
#[path = "../../api/benches/common/pod.rs"]
mod pods;

use std::time::{Duration, Instant};

use measuring::measure;
use pods::pod;
use serde_json::{Value, json};
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
        // as many as find nothing of each other that was written before
        let texts: Vec<_> = (0..100)
            .map(|nth| to_json(&another(object, nth), Some(node)))
            .collect();
        let mut writer = Writer::new(node).expect("built in");
        let mut out = Vec::new();
        let mut next = texts.iter().cycle();
        measure(&format!("{name}, all different"), || {
            out.clear();
            let text = next.next().expect("there is always one more");
            writer.field(2, text, &mut out).expect("its own text");
        });
        println!(
            "  {} bytes of JSON, {} of protobuf",
            texts[0].len(),
            out.len()
        );
    }
    long_list(&pod);
}

/// The same object in other words: each text has a number at its end, but the kind and what it is of.
fn another(value: &Value, nth: usize) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| match name.as_str() {
                "kind" | "apiVersion" => (name.clone(), value.clone()),
                _ => (name.clone(), another(value, nth)),
            })
            .collect(),
        Value::Array(items) => items.iter().map(|item| another(item, nth)).collect(),
        Value::String(text) => format!("{text}{nth}").into(),
        plain => plain.clone(),
    }
}

/// What a list of 10,000 pods takes before it is sent, by the clock: its JSON is copied, its protobuf is made on one thread and on two.
fn long_list(pod: &Value) {
    const PODS: usize = 10_000;
    let node = Schema::builtin().of_kind("v1", "Pod").expect("built in");
    let fields = json!({"f:metadata": {"f:labels": {".": {}, "f:app": {}}}, "f:spec": {"f:containers": {"k:{\"name\":\"web\"}": {".": {}, "f:image": {}, "f:name": {}}}}});
    let mut pod = pod.clone();
    pod["metadata"]["managedFields"] = json!([{"manager": "m", "operation": "Update", "apiVersion": "v1", "time": "2026-01-02T03:04:05Z", "fieldsType": "FieldsV1", "fieldsV1": fields}]);
    // of one owner: each has its own name, place and address
    let texts: Vec<Vec<u8>> = (0..PODS)
        .map(|at| {
            pod["metadata"]["name"] = format!("web-{at}").into();
            pod["metadata"]["uid"] = format!("00000000-0000-4000-8000-{at:012}").into();
            pod["metadata"]["resourceVersion"] = format!("{at}").into();
            pod["spec"]["nodeName"] = format!("node-{}", at % 100).into();
            pod["status"]["podIP"] = format!("10.0.{}.{}", at / 256, at % 256).into();
            to_json(&pod, Some(node))
        })
        .collect();
    let copied = |texts: &[Vec<u8>]| {
        let mut piece = Vec::with_capacity(256 * 1024);
        let mut size = 0;
        for text in texts {
            piece.extend_from_slice(text);
            if piece.len() > 128 * 1024 {
                size += piece.len();
                piece.clear();
            }
        }
        size + piece.len()
    };
    let made = |texts: &[Vec<u8>]| {
        let mut writer = Writer::new(node).expect("built in");
        let mut out = Vec::new();
        for text in texts {
            writer.field(2, text, &mut out).expect("its own text");
        }
        out.len()
    };
    let two = |texts: &[Vec<u8>]| {
        let (first, second) = texts.split_at(texts.len() / 2);
        std::thread::scope(|scope| {
            let second = scope.spawn(|| made(second));
            made(first) + second.join().expect("no panic")
        })
    };
    let best = |name: &str, work: &dyn Fn(&[Vec<u8>]) -> usize| {
        let (mut best, mut size) = (Duration::MAX, 0);
        for _ in 0..7 {
            let begun = Instant::now();
            size = work(&texts);
            best = best.min(begun.elapsed());
        }
        let megabytes = size as f64 / 1e6;
        println!("{PODS} pods, {name}: {best:.1?}, {megabytes:.1} MB");
    };
    best("JSON copied", &copied);
    best("protobuf, one thread", &made);
    best("protobuf, two threads", &two);
}
