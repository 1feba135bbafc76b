//! Pods that have to leave their nodes.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use skiff_api::machinery::clock::system;
use skiff_watching::{
    api::{Delete, PatchType},
    clock::Now as _,
    error::unless_gone,
    key::Key,
};

use crate::plane::{Plane, pod_path};

fn disrupted(pod: &Value) -> Option<(String, String)> {
    let found = pod["status"]["conditions"]
        .as_array()?
        .iter()
        .find(|c| c["type"] == "DisruptionTarget" && c["status"] == "True")?;
    Some((
        found["reason"].as_str()?.into(),
        found["message"].as_str()?.into(),
    ))
}

async fn taint(plane: &Plane, node: &str) {
    plane
        .patch(
            &format!("/api/v1/nodes/{node}"),
            json!({"spec": {"taints": [{"key": "k", "value": "v", "effect": "NoExecute"}]}}),
        )
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn taints_drive_pods_off_and_say_so() {
    let plane = Plane::start().await;
    plane.node("one", json!({})).await;
    // a finalizer lets us see what it was at its end
    let toleration =
        json!([{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}]);
    plane
        .pod("patient", json!({"spec": {"tolerations": toleration}}))
        .await;
    plane
        .pod(
            "hasty",
            json!({"metadata": {"finalizers": ["example.com/look"]}}),
        )
        .await;
    plane.placed("patient").await;
    plane.placed("hasty").await;
    taint(&plane, "one").await;
    let gone = async |name: &str| {
        plane
            .get(&pod_path(name))
            .await
            .is_none_or(|pod| !pod["metadata"]["deletionTimestamp"].is_null())
    };
    plane
        .until("both gone", async || {
            gone("patient").await && gone("hasty").await
        })
        .await;
    let wanted = (
        "DeletionByTaintManager".to_string(),
        "Taint manager: deleting due to NoExecute taint".to_string(),
    );
    assert_eq!(
        disrupted(&plane.get(&pod_path("hasty")).await.unwrap()),
        Some(wanted)
    );
    assert_eq!(
        plane.event("hasty", "TaintManagerEviction").await,
        "TaintManagerEviction: Marking for deletion Pod default/hasty"
    );
    plane
        .until("both events of the one that waited", async || {
            let events = plane.events("patient").await;
            [
                "Marking for deletion Pod default/patient",
                "Cancelling deletion of Pod default/patient",
            ]
            .iter()
            .all(|text| events.iter().any(|e| e.ends_with(text)))
        })
        .await;
    plane.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_sees_that_its_pod_was_driven_off() {
    let plane = Plane::start().await;
    plane.node("one", json!({})).await;
    let policy = json!({"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}, {"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [0]}}]});
    let template = json!({"spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [{"name": "main", "image": "x"}]}});
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "work"}, "spec": {"backoffLimit": 0, "podFailurePolicy": policy, "template": template}});
    plane
        .create("/apis/batch/v1/namespaces/default/jobs", job)
        .await;
    let pods = async || {
        plane
            .list("/api/v1/namespaces/default/pods?labelSelector=job-name%3Dwork")
            .await
    };
    plane
        .until("its pod on the node", async || {
            pods()
                .await
                .iter()
                .any(|pod| pod["spec"]["nodeName"] == "one")
        })
        .await;
    let first = pods().await[0]["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_string();
    taint(&plane, "one").await;
    plane
        .until("its end", async || {
            plane
                .get(&pod_path(&first))
                .await
                .is_none_or(|pod| !pod["metadata"]["deletionTimestamp"].is_null())
        })
        .await;
    // what the kubelet would say
    let (failed, key) = (
        json!({"status": {"phase": "Failed"}}),
        Key::new("default", &first),
    );
    let status = plane
        .api
        .amend_status::<Pod>(&key, PatchType::Strategic, &failed)
        .await;
    let at_once = Delete {
        grace_seconds: Some(0),
        ..Delete::default()
    };
    let deleted = plane.api.delete::<Pod>(&key, &at_once).await;
    status.map(drop).and(unless_gone(deleted)).unwrap();
    plane
        .until("another in its place", async || {
            pods()
                .await
                .iter()
                .any(|pod| pod["metadata"]["name"] != first.as_str())
        })
        .await;
    let job = plane
        .get("/apis/batch/v1/namespaces/default/jobs/work")
        .await
        .unwrap();
    assert!(
        job["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .all(|c| c["type"] != "Failed"),
        "the failure does not count: {job}"
    );
    plane.end().await;
}

/// Time that runs fifty times as fast.
struct Fast(jiff::Timestamp, std::time::Instant);

const TIMES: u32 = 50;

impl skiff_watching::clock::Now for Fast {
    fn now(&self) -> jiff::Timestamp {
        skiff_watching::clock::after(self.0, self.1.elapsed() * TIMES)
    }
}

impl skiff_watching::clock::TimeSource for Fast {
    fn sleep_until(&self, deadline: jiff::Timestamp) -> futures::future::BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(
            skiff_watching::clock::until(self.now(), deadline) / TIMES,
        ))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_of_a_node_that_is_gone_fail_and_say_so() {
    let clock =
        skiff_watching::clock::Clock::from_source(Fast(system().now(), std::time::Instant::now()));
    let plane = Plane::with(|options| options.clock = clock).await;
    plane
        .pod(
            "left",
            json!({"metadata": {"finalizers": ["example.com/look"]}, "spec": {"nodeName": "gone"}}),
        )
        .await;
    plane.pod("free", json!({})).await;
    plane
        .until("its end", async || {
            plane
                .get(&pod_path("left"))
                .await
                .is_some_and(|pod| !pod["metadata"]["deletionTimestamp"].is_null())
        })
        .await;
    let pod = plane.get(&pod_path("left")).await.unwrap();
    assert_eq!(pod["status"]["phase"], "Failed");
    assert_eq!(
        disrupted(&pod),
        Some((
            "DeletionByPodGC".into(),
            "PodGC: node no longer exists".into()
        ))
    );
    assert!(plane.get(&pod_path("free")).await.unwrap()["metadata"]["deletionTimestamp"].is_null());
    plane.end().await;
}
