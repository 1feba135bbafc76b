//! What managed fields cost at each write: `cargo bench -p skiff-api --bench managed_fields`. Budget: 30 µs for the creation of a pod of 2 KB.

#[path = "common/measure.rs"]
mod measuring;
#[path = "common/pod.rs"]
mod pods;

use measuring::measure;
use pods::pod;
use serde_json::json;
use skiff_api::machinery::managed_fields::{Apply, ResetFields, Update, apply, track_update};
use skiff_api::machinery::schema::{Schema, conform};

fn main() {
    let schema = Schema::builtin()
        .get("core.v1.Pod")
        .expect("pods are built in");
    let mut pod = pod();
    conform(&mut pod, schema).expect("a good pod");
    let (no_status, no_spec) = (
        ResetFields::paths(&["status"]),
        ResetFields::paths(&["spec"]),
    );
    let now = "2026-01-01T00:00:00Z";
    let create = Update {
        manager: "kube-controller-manager",
        subresource: "",
        api_version: "v1",
        now,
        schema,
        reset: &no_status,
        versions: None,
    };
    let nothing = json!({});
    println!("a pod of {} bytes", pod.to_string().len());
    measure("copy it", || drop(std::hint::black_box(pod.clone())));
    measure("copy it and note its creation", || {
        let mut new = pod.clone();
        track_update(&nothing, &mut new, &create).expect("noted");
    });

    let mut live = pod.clone();
    track_update(&nothing, &mut live, &create).expect("noted");
    live["metadata"]["uid"] = "u".into();
    let mut new = live.clone();
    new["status"] = json!({"phase": "Running", "podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True", "lastProbeTime": null, "lastTransitionTime": now}]});
    let status = Update {
        manager: "kubelet",
        subresource: "status",
        reset: &no_spec,
        ..create
    };
    measure("copy it with a status", || {
        drop(std::hint::black_box(new.clone()))
    });
    measure("copy it and note the status", || {
        let mut new = new.clone();
        track_update(&live, &mut new, &status).expect("noted");
    });

    let config = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-5d8f7c9b6d-abcde", "labels": {"x": "y"}}});
    let label = Apply {
        manager: "a",
        force: false,
        subresource: "",
        api_version: "v1",
        now,
        schema,
        reset: &no_status,
        versions: None,
    };
    measure("apply a label", || {
        drop(std::hint::black_box(
            apply(Some(&live), &config, &label).expect("applied"),
        ))
    });
}
