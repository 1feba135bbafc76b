//! What managed fields cost at each write: `cargo bench -p skiff-api --bench managed_fields`. Budget: 30 µs for the creation of a pod of 2 KB.
//!
//! Times are those that the thread spent on a processor, so that a busy machine does not blur them. Linux only.

use serde_json::{Value, json};
use skiff_api::machinery::managed_fields::{Apply, ResetFields, Update, apply, track_update};
use skiff_api::machinery::schema::{Schema, conform};

fn pod() -> Value {
    json!({"apiVersion":"v1","kind":"Pod","metadata":{"name":"web-5d8f7c9b6d-abcde","namespace":"default","generateName":"web-5d8f7c9b6d-","labels":{"app":"web","pod-template-hash":"5d8f7c9b6d","tier":"front"},"annotations":{"prometheus.io/scrape":"true","prometheus.io/port":"8080"},"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-5d8f7c9b6d","uid":"7a3b0b0e-0000-4000-8000-000000000000","controller":true,"blockOwnerDeletion":true}]},
      "spec":{"containers":[{"name":"web","image":"nginx:1.27","ports":[{"containerPort":8080,"name":"http","protocol":"TCP"},{"containerPort":8443,"name":"https","protocol":"TCP"}],"env":[{"name":"A","value":"1"},{"name":"B","value":"2"},{"name":"POD","valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.name"}}}],"resources":{"limits":{"cpu":"500m","memory":"256Mi"},"requests":{"cpu":"100m","memory":"128Mi"}},"livenessProbe":{"httpGet":{"path":"/healthz","port":8080,"scheme":"HTTP"},"timeoutSeconds":1,"periodSeconds":10,"successThreshold":1,"failureThreshold":3},"readinessProbe":{"httpGet":{"path":"/readyz","port":8080,"scheme":"HTTP"},"timeoutSeconds":1,"periodSeconds":10,"successThreshold":1,"failureThreshold":3},"volumeMounts":[{"name":"data","mountPath":"/data"},{"name":"cfg","mountPath":"/etc/cfg","readOnly":true}],"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent","securityContext":{"runAsNonRoot":true,"allowPrivilegeEscalation":false}}],
      "volumes":[{"name":"data","emptyDir":{}},{"name":"cfg","configMap":{"name":"web-cfg","defaultMode":420}}],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","serviceAccountName":"web","securityContext":{},"schedulerName":"default-scheduler","tolerations":[{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}],"priority":0,"enableServiceLinks":true,"preemptionPolicy":"PreemptLowerPriority"},"status":{"phase":"Pending","qosClass":"Burstable"}})
}

/// Nanoseconds that this thread has spent on a processor.
fn spent() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ')
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or_default()
}

fn measure(name: &str, mut once: impl FnMut()) {
    const TIMES: u64 = 20_000;
    (0..TIMES / 10).for_each(|_| once());
    let before = spent();
    (0..TIMES).for_each(|_| once());
    println!("{name:<28} {:>8} ns", (spent() - before) / TIMES);
}

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
