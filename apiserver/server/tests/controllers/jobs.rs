//! Jobs whose pods fail.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use serde_json::{Value, json};
use skiff_api::machinery::clock::system;
use skiff_watching::clock::Now as _;

use crate::{
    kubelet::{Act, RUN},
    plane::Plane,
};

const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";

fn index(pod: &Value) -> i64 {
    pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"]
        .as_str()
        .and_then(|index| index.parse().ok())
        .unwrap_or(0)
}

/// An indexed Job with these fields.
fn job(name: &str, parallelism: i32, completions: i32, changes: Value) -> Value {
    let template = json!({"spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [{"name": "main", "image": "x"}]}});
    let mut job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"parallelism": parallelism, "completions": completions, "completionMode": "Indexed", "template": template}});
    skiff_api::machinery::patch::merge::apply(&mut job, json!({"spec": changes}), false).unwrap();
    job
}

/// Waits until the Job is over; gives `condition reason` of all conditions, and its status.
async fn over(plane: &Plane, name: &str) -> (Vec<String>, Value) {
    let mut found = (Vec::new(), Value::Null);
    plane
        .until(&format!("the end of {name}"), async || {
            let job = plane.get(&format!("{JOBS}/{name}")).await.unwrap();
            let conditions = job["status"]["conditions"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            found = (
                conditions
                    .iter()
                    .map(|c| {
                        format!(
                            "{} {}",
                            c["type"].as_str().unwrap(),
                            c["reason"].as_str().unwrap()
                        )
                    })
                    .collect(),
                job["status"].clone(),
            );
            conditions
                .iter()
                .any(|c| c["type"] == "Complete" || c["type"] == "Failed")
        })
        .await;
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn indexes_fail_and_succeed_each_by_itself() {
    let plane = Plane::start().await;
    plane.node("one", json!({})).await;
    // even indexes succeed, odd ones fail
    let _kubelets = plane.kubelets(|pod| Act::End((index(pod) % 2) as i32));
    let fail_index = json!({"rules": [{"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [1]}}]});
    let cases = [
        (
            job("each", 2, 4, json!({"backoffLimitPerIndex": 1})),
            ["FailureTarget FailedIndexes", "Failed FailedIndexes"],
            json!({"failedIndexes": "1,3", "completedIndexes": "0,2", "failed": 4, "succeeded": 2}),
        ),
        (
            job(
                "most",
                1,
                4,
                json!({"backoffLimitPerIndex": 0, "maxFailedIndexes": 0}),
            ),
            [
                "FailureTarget MaxFailedIndexesExceeded",
                "Failed MaxFailedIndexesExceeded",
            ],
            json!({"failedIndexes": "1", "completedIndexes": "0", "failed": 1, "succeeded": 1}),
        ),
        (
            job(
                "at-once",
                2,
                2,
                json!({"backoffLimitPerIndex": 1, "podFailurePolicy": fail_index}),
            ),
            ["FailureTarget FailedIndexes", "Failed FailedIndexes"],
            json!({"failedIndexes": "1", "completedIndexes": "0", "failed": 1, "succeeded": 1}),
        ),
        (
            job(
                "some",
                1,
                5,
                json!({"backoffLimit": 2147483647, "successPolicy": {"rules": [{"succeededCount": 1}]}}),
            ),
            ["SuccessCriteriaMet SuccessPolicy", "Complete SuccessPolicy"],
            json!({"completedIndexes": "0", "succeeded": 1}),
        ),
        (
            job(
                "zero",
                2,
                5,
                json!({"successPolicy": {"rules": [{"succeededIndexes": "0"}]}}),
            ),
            ["SuccessCriteriaMet SuccessPolicy", "Complete SuccessPolicy"],
            json!({"completedIndexes": "0", "succeeded": 1, "ready": 0, "terminating": 0}),
        ),
    ];
    for (job, _, _) in &cases {
        plane.create(JOBS, job.clone()).await;
    }
    for (job, wanted, status) in cases {
        let name = job["metadata"]["name"].as_str().unwrap();
        let (conditions, found) = over(&plane, name).await;
        assert_eq!(conditions, wanted, "{name}");
        for (field, value) in status.as_object().unwrap() {
            assert_eq!(&found[field], value, "{name} {field}: {found}");
        }
    }
    plane.end().await;
}

/// A pod that a Job finds is counted as its own are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_is_adopted_is_counted() {
    let plane = Plane::start().await;
    plane.node("one", json!({})).await;
    let found = json!({"metadata": {"labels": {"j": "x"}}, "spec": {"restartPolicy": "Never"}});
    plane.pod("found", found).await;
    let template = json!({"metadata": {"labels": {"j": "x"}}, "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "x"}]}});
    let work = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "work"},
        "spec": {"manualSelector": true, "selector": {"matchLabels": {"j": "x"}}, "template": template}});
    plane
        .create("/apis/batch/v1/namespaces/default/jobs", work)
        .await;
    let found = "/api/v1/namespaces/default/pods/found";
    plane
        .until("it is held until it is counted", async || {
            plane.get(found).await.unwrap()["metadata"]["finalizers"]
                == json!(["batch.kubernetes.io/job-tracking"])
        })
        .await;
    plane
        .api
        .amend_status::<skiff_podspec::pod::Pod>(
            &skiff_watching::key::Key::new("default", "found"),
            skiff_watching::api::PatchType::Merge,
            &json!({"status": {"phase": "Succeeded"}}),
        )
        .await
        .unwrap();
    plane
        .until("the Job is complete", async || {
            let job = plane
                .get("/apis/batch/v1/namespaces/default/jobs/work")
                .await;
            job.unwrap()["status"]["succeeded"] == 1
        })
        .await;
    plane.end().await;
}

/// A clock that stands still until it is let go; then two seconds have passed, and it goes on.
#[derive(Clone)]
struct Held(jiff::Timestamp, Arc<OnceLock<Instant>>);

impl skiff_watching::clock::Now for Held {
    fn now(&self) -> jiff::Timestamp {
        let passed = self.1.get().map(|at| at.elapsed() + Duration::from_secs(2));
        skiff_watching::clock::after(self.0, passed.unwrap_or_default())
    }
}

impl skiff_watching::clock::TimeSource for Held {
    fn sleep_until(&self, deadline: jiff::Timestamp) -> BoxFuture<'static, ()> {
        let clock = self.clone();
        Box::pin(async move {
            while clock.now() < deadline {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    }
}

/// Pods that end soon after one another are counted together: what ended by itself is not deleted for another's failure.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_side_by_side_are_counted_together() {
    let held = Held(system().now(), Arc::default());
    let clock = skiff_watching::clock::Clock::from_source(held.clone());
    let plane = Plane::with(|options| options.clock = clock).await;
    plane.node("one", json!({})).await;
    let second = Arc::new(AtomicBool::new(false));
    let may_fail = second.clone();
    let _kubelets = plane.kubelets(move |pod| {
        if index(pod) == 0 || may_fail.load(Ordering::Relaxed) {
            Act::End(1)
        } else {
            RUN
        }
    });
    plane
        .create(JOBS, job("both", 2, 2, json!({"backoffLimit": 0})))
        .await;
    let failed = async || {
        let pods = plane.list("/api/v1/namespaces/default/pods").await;
        let failed = |pod: &&Value| pod["status"]["phase"] == "Failed";
        pods.iter().filter(failed).count()
    };
    plane
        .until("the first has failed", async || failed().await == 1)
        .await;
    second.store(true, Ordering::Relaxed);
    plane
        .until("the second has failed", async || failed().await == 2)
        .await;
    held.1.get_or_init(Instant::now);
    let (conditions, status) = over(&plane, "both").await;
    assert_eq!(
        conditions,
        [
            "FailureTarget BackoffLimitExceeded",
            "Failed BackoffLimitExceeded"
        ]
    );
    assert_eq!(status["failed"], 2, "{status}");
    plane.event("both", "BackoffLimitExceeded").await;
    let told = plane.events("both").await;
    assert!(
        !told.iter().any(|event| event.contains("SuccessfulDelete")),
        "{told:?}"
    );
    plane.end().await;
}

/// A Job that the history does not keep goes before anything is told of its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_no_history_is_deleted_and_nothing_more_is_said() {
    let plane = Plane::start().await;
    plane.node("one", json!({})).await;
    let _kubelets = plane.kubelets(|_| Act::End(1));
    let template =
        json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "x"}]}});
    let spec = json!({"backoffLimit": 0, "template": template});
    let crons = "/apis/batch/v1/namespaces/default/cronjobs";
    let cron = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "tick"},
        "spec": {"schedule": "0 0 1 1 *", "suspend": true, "failedJobsHistoryLimit": 0, "jobTemplate": {"spec": spec}}});
    let cron = plane.create(crons, cron).await;
    let owner = json!([{"apiVersion": "batch/v1", "kind": "CronJob", "name": "tick", "uid": cron["metadata"]["uid"], "controller": true}]);
    let meta = json!({"name": "tick-1", "ownerReferences": owner});
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": {"suspend": true, "backoffLimit": 0, "template": template}});
    let job = plane.create(JOBS, job).await;
    let reference = json!({"apiVersion": "batch/v1", "kind": "Job", "namespace": "default", "name": "tick-1", "uid": job["metadata"]["uid"]});
    plane
        .api
        .amend_status::<k8s_openapi::api::batch::v1::CronJob>(
            &skiff_watching::key::Key::new("default", "tick"),
            skiff_watching::api::PatchType::Merge,
            &json!({"status": {"active": [reference]}}),
        )
        .await
        .unwrap();
    plane
        .patch(
            &format!("{JOBS}/tick-1"),
            json!({"spec": {"suspend": false}}),
        )
        .await;
    let deleted = plane.event("tick", "SuccessfulDelete").await;
    assert_eq!(deleted, "SuccessfulDelete: Deleted job tick-1");
    plane
        .until("nothing is active", async || {
            let cron = plane.get(&format!("{crons}/tick")).await.unwrap();
            cron["status"]["active"].is_null()
        })
        .await;
    let told = plane.events("tick").await;
    assert!(
        !told.iter().any(|event| event.contains("SawCompletedJob")),
        "{told:?}"
    );
    plane.end().await;
}
