//! Where pods go, and who makes room for whom.

use serde_json::json;

use crate::plane::{Plane, deployment, pod_path};
use crate::series::{is_typed, value};

fn asking(cpu: &str, priority: Option<&str>) -> serde_json::Value {
    let mut changes = json!({"spec": {"containers": [{"name": "main", "image": "x", "resources": {"requests": {"cpu": cpu}}}]}});
    if let Some(class) = priority {
        changes["spec"]["priorityClassName"] = class.into();
    }
    changes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_matters_more_makes_others_leave() {
    let plane = Plane::start().await;
    plane.node("one", json!({})).await;
    let class = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high"}, "value": 1000});
    plane
        .create("/apis/scheduling.k8s.io/v1/priorityclasses", class)
        .await;
    // a finalizer lets us see what it was at its end
    let mut low = asking("2", None);
    low["metadata"] = json!({"finalizers": ["example.com/look"]});
    plane.pod("low", low).await;
    plane.placed("low").await;
    let high = plane.pod("high", asking("2", Some("high"))).await;
    plane
        .until("a promise", async || {
            plane.get(&pod_path("high")).await.unwrap()["status"]["nominatedNodeName"] == "one"
        })
        .await;
    plane
        .until("its end", async || {
            !plane.get(&pod_path("low")).await.unwrap()["metadata"]["deletionTimestamp"].is_null()
        })
        .await;
    let conditions = plane.get(&pod_path("low")).await.unwrap()["status"]["conditions"].clone();
    let target = conditions
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["type"] == "DisruptionTarget")
        .unwrap();
    assert_eq!(
        (&target["reason"], &target["message"]),
        (
            &json!("PreemptionByScheduler"),
            &json!("default-scheduler: preempting to accommodate a higher priority pod")
        )
    );
    let kinds: Vec<_> = conditions
        .as_array()
        .unwrap()
        .iter()
        .map(|c| &c["type"])
        .collect();
    assert_eq!(
        kinds,
        ["PodScheduled", "DisruptionTarget"],
        "a new one comes last"
    );
    let text = plane.metrics().await;
    for (line, told) in [
        ("scheduler_preemption_victims_count", 1.0),
        ("scheduler_preemption_victims_sum", 1.0),
    ] {
        assert_eq!(value(&text, line), Some(told), "{line}\n{text}");
    }
    let uid = high["metadata"]["uid"].as_str().unwrap();
    assert_eq!(
        plane.event("low", "Preempted").await,
        format!("Preempted: Preempted by pod {uid} on node one")
    );
    assert_eq!(
        plane.event("high", "FailedScheduling").await,
        "FailedScheduling: 0/1 nodes are available: 1 Insufficient cpu."
    );
    plane
        .patch(&pod_path("low"), json!({"metadata": {"finalizers": null}}))
        .await;
    assert_eq!(plane.placed("high").await, "one");
    assert!(
        plane.get(&pod_path("high")).await.unwrap()["status"]["nominatedNodeName"].is_null(),
        "the promise is kept"
    );
    plane.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_are_spread_over_zones() {
    let plane = Plane::start().await;
    for (name, zone) in [("a1", "a"), ("a2", "a"), ("b1", "b")] {
        plane
            .node(name, json!({"metadata": {"labels": {"zone": zone}}}))
            .await;
    }
    // the scheduler hears of nodes in their order: who finds the last knows all
    plane
        .pod("finds", json!({"spec": {"nodeSelector": {"zone": "b"}}}))
        .await;
    assert_eq!(plane.placed("finds").await, "b1");
    let constraint = json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "web"}}});
    for number in 0..6 {
        let changes = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"topologySpreadConstraints": [constraint]}});
        plane.pod(&format!("web-{number}"), changes).await;
    }
    let mut in_b = 0;
    for number in 0..6 {
        in_b += usize::from(plane.placed(&format!("web-{number}")).await == "b1");
    }
    assert_eq!(in_b, 3);
    // without zone b, one more in zone a is one too many; a pod that goes nowhere else shows when the scheduler knows
    plane
        .patch(
            "/api/v1/nodes/b1",
            json!({"metadata": {"labels": {"closed": "yes"}}, "spec": {"unschedulable": true}}),
        )
        .await;
    plane
        .pod(
            "shows",
            json!({"spec": {"nodeSelector": {"closed": "yes"}}}),
        )
        .await;
    plane
        .until("b1 being closed", async || {
            plane
                .events("shows")
                .await
                .iter()
                .any(|told| told.contains("1 node(s) were unschedulable"))
        })
        .await;
    for name in ["web-6", "web-7"] {
        plane.pod(name, json!({"metadata": {"labels": {"app": "web"}}, "spec": {"topologySpreadConstraints": [constraint]}})).await;
    }
    assert!(["a1", "a2"].contains(&plane.placed("web-6").await.as_str()));
    let wanted = "FailedScheduling: 0/3 nodes are available: 1 node(s) were unschedulable, 2 node(s) didn't match pod topology spread constraints. no new claims to deallocate, preemption: 0/3 nodes are available: 1 Preemption is not helpful for scheduling, 2 No preemption victims found for incoming pod.";
    assert_eq!(plane.event("web-7", "FailedScheduling").await, wanted);
    plane
        .patch("/api/v1/nodes/b1", json!({"spec": {"unschedulable": null}}))
        .await;
    assert_eq!(
        plane.placed("web-7").await,
        "b1",
        "it hopes again when the node is back"
    );
    plane.end().await;
}

/// What dashboards ask the scheduler for, with the labels and types that upstream's has.
const SERIES: [(&str, &str, &str); 9] = [
    (
        "scheduler_pending_pods",
        "gauge",
        "{queue=\"unschedulable\"}",
    ),
    (
        "scheduler_schedule_attempts_total",
        "counter",
        "{profile=\"default-scheduler\",result=\"scheduled\"}",
    ),
    (
        "scheduler_scheduling_attempt_duration_seconds",
        "histogram",
        "{profile=\"default-scheduler\",result=\"scheduled\"}",
    ),
    (
        "scheduler_scheduling_algorithm_duration_seconds",
        "histogram",
        "",
    ),
    (
        "scheduler_pod_scheduling_sli_duration_seconds",
        "histogram",
        "{attempts=\"1\"}",
    ),
    ("scheduler_pod_scheduling_attempts", "histogram", ""),
    ("scheduler_preemption_attempts_total", "counter", ""),
    ("scheduler_preemption_victims", "histogram", ""),
    (
        "scheduler_queue_incoming_pods_total",
        "counter",
        "{event=\"UnschedulablePodAdd\",queue=\"active\"}",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_scheduler_does_is_counted_in_its_own_cluster_alone() {
    let (plane, other) = (Plane::start().await, Plane::start().await);
    plane.node("one", json!({})).await;
    plane.pod("fits", asking("1", None)).await;
    plane.placed("fits").await;
    plane.pod("large", asking("7", None)).await;
    let told = |text: &str, line: &str| value(text, line).unwrap_or_default();
    plane
        .until("counts of both", async || {
            let text = plane.metrics().await;
            told(&text, "scheduler_pending_pods{queue=\"unschedulable\"}") == 1.0
                && told(&text, "scheduler_pod_scheduling_attempts_count") == 1.0
        })
        .await;
    let text = plane.metrics().await;
    for (name, kind, labels) in SERIES {
        assert!(is_typed(&text, name, kind), "{name}\n{text}");
        let suffix = if kind == "histogram" { "_count" } else { "" };
        let line = format!("{name}{suffix}{labels}");
        assert!(value(&text, &line).is_some(), "{line}\n{text}");
    }
    const ATTEMPTS: &str = "scheduler_schedule_attempts_total{profile=\"default-scheduler\"";
    for (line, least) in [
        (format!("{ATTEMPTS},result=\"scheduled\"}}"), 1.0),
        (format!("{ATTEMPTS},result=\"unschedulable\"}}"), 1.0),
        ("scheduler_pod_scheduling_sli_duration_seconds_count{attempts=\"1\"}".into(), 1.0),
        ("scheduler_preemption_attempts_total".into(), 1.0),
        ("scheduler_queue_incoming_pods_total{event=\"UnschedulablePodAdd\",queue=\"active\"}".into(), 2.0),
        ("scheduler_queue_incoming_pods_total{event=\"ScheduleAttemptFailure\",queue=\"unschedulable\"}".into(), 1.0),
    ] {
        assert!(told(&text, &line) >= least, "{line}\n{text}");
    }
    // whatever happens in one cluster, another in the same process tells nothing of it
    let elsewhere = other.metrics().await;
    assert_eq!(
        told(&elsewhere, "scheduler_pod_scheduling_attempts_count"),
        0.0
    );
    assert_eq!(
        value(&elsewhere, &format!("{ATTEMPTS},result=\"scheduled\"}}")),
        None
    );
    plane
        .create(
            "/apis/apps/v1/namespaces/default/deployments",
            deployment("d", 1),
        )
        .await;
    const ADDED: &str = "workqueue_adds_total{name=\"deployment\"}";
    plane
        .until("a deployment that is worked on", async || {
            told(&plane.metrics().await, ADDED) > 0.0
        })
        .await;
    assert_eq!(value(&other.metrics().await, ADDED), Some(0.0));
    plane.end().await;
    other.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_goes_while_it_waits_for_its_volume_is_told_of() {
    let plane = Plane::start().await;
    plane.node("one", json!({})).await;
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "late"}, "provisioner": "csi.example.com",
        "volumeBindingMode": "WaitForFirstConsumer"});
    plane
        .create("/apis/storage.k8s.io/v1/storageclasses", class)
        .await;
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "claim"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "late", "resources": {"requests": {"storage": "1Gi"}}}});
    plane.create(claims, claim).await;
    let volumes = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "claim"}}]);
    plane
        .pod("user", json!({"spec": {"volumes": volumes}}))
        .await;
    plane
        .until("its node is told", async || {
            let claim = plane.get(&format!("{claims}/claim")).await.unwrap();
            claim["metadata"]["annotations"]["volume.kubernetes.io/selected-node"] == "one"
        })
        .await;
    plane.delete(&pod_path("user")).await;
    let gone = "FailedScheduling: running PreBind plugin \"VolumeBinding\": binding volumes: pod does not exist any more: pod \"user\" not found";
    // another may come first, of a pod that is seen before its claim
    plane
        .until("that it is gone is told", async || {
            plane.events("user").await.iter().any(|event| event == gone)
        })
        .await;
    plane.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_has_its_node_does_not_say_that_it_has_none() {
    let plane = Plane::start().await;
    plane
        .node("one", json!({"spec": {"unschedulable": true}}))
        .await;
    plane.pod("waits", json!({})).await;
    plane.event("waits", "FailedScheduling").await;
    // it is tried when the node takes pods again, and once more when its taint has gone after that
    let node = "/api/v1/nodes/one";
    plane
        .patch(node, json!({"spec": {"unschedulable": null}}))
        .await;
    plane.placed("waits").await;
    plane.event("waits", "Scheduled").await;
    let pod = plane.get(&pod_path("waits")).await.unwrap();
    let conditions = pod["status"]["conditions"].as_array().unwrap();
    let placed = conditions.iter().find(|c| c["type"] == "PodScheduled");
    assert_eq!(placed.unwrap()["status"], "True", "{pod}");
    plane.end().await;
}
