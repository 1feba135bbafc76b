//! What workloads do when things go wrong halfway, or are found half done.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde_json::{Value, json};

use crate::{
    kubelet::{Act, RUN},
    plane::{Plane, deployment, template},
};

const SETS: &str = "/apis/apps/v1/namespaces/default";
const PODS: &str = "/api/v1/namespaces/default/pods";

fn image(object: &Value) -> &str {
    object["spec"]["containers"][0]["image"]
        .as_str()
        .or(object["spec"]["template"]["spec"]["containers"][0]["image"].as_str())
        .unwrap_or("")
}

/// The same workload with another image.
fn other_image(image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}})
}

async fn plane_of(nodes: usize) -> Plane {
    let plane = Plane::start().await;
    for node in 0..nodes {
        plane.node(&format!("node-{node}"), json!({})).await;
    }
    plane
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_goes_on_from_the_replica_set_that_it_finds() {
    let plane = plane_of(1).await;
    let _kubelets = plane.kubelets(|_| RUN);
    let mut set = deployment("web", 1);
    set["kind"] = "ReplicaSet".into();
    set["metadata"] = json!({"name": "found", "labels": {"app": "web"}, "annotations": {"deployment.kubernetes.io/revision": "3546343826724305832"}});
    set["spec"]["template"]["spec"]["containers"][0]["image"] = "older".into();
    plane.create(&format!("{SETS}/replicasets"), set).await;
    plane
        .until("the found set's pod", async || {
            plane
                .list(PODS)
                .await
                .iter()
                .any(|pod| pod["status"]["phase"] == "Running")
        })
        .await;
    plane
        .create(&format!("{SETS}/deployments"), deployment("web", 1))
        .await;
    plane
        .until(
            "one new set of the next revision, the found one adopted and empty",
            async || {
                let sets = plane.list(&format!("{SETS}/replicasets")).await;
                let revision = |set: &Value| {
                    set["metadata"]["annotations"]["deployment.kubernetes.io/revision"]
                        .as_str()
                        .unwrap_or("")
                        .to_string()
                };
                sets.len() == 2
                    && sets
                        .iter()
                        .all(|set| set["metadata"]["ownerReferences"][0]["name"] == "web")
                    && sets.iter().any(|set| {
                        revision(set) == "3546343826724305833"
                            && set["status"]["readyReplicas"] == 1
                    })
                    && sets.iter().any(|set| {
                        set["metadata"]["name"] == "found" && set["status"]["replicas"] == 0
                    })
            },
        )
        .await;
    // with no history to keep, it goes
    plane
        .patch(
            &format!("{SETS}/deployments/web"),
            json!({"spec": {"revisionHistoryLimit": 0}}),
        )
        .await;
    plane
        .until("no old sets", async || {
            plane.list(&format!("{SETS}/replicasets")).await.len() == 1
        })
        .await;
    plane.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_goes_back_to_the_revision_that_it_is_annotated_with() {
    let plane = plane_of(1).await;
    let _kubelets = plane.kubelets(|_| RUN);
    let path = format!("{SETS}/deployments/web");
    let is = async |revision: &str, now: &str| {
        plane
            .until(&format!("revision {revision} of {now}"), async || {
                let web = plane.get(&path).await.unwrap();
                let notes = &web["metadata"]["annotations"];
                notes["deployment.kubernetes.io/revision"] == revision
                    && notes["deprecated.deployment.rollback.to"].is_null()
                    && image(&web) == now
            })
            .await;
    };
    plane
        .create(&format!("{SETS}/deployments"), deployment("web", 1))
        .await;
    is("1", "x").await;
    plane.patch(&path, other_image("next")).await;
    is("2", "next").await;
    for (to, revision, now, said) in [
        (
            "1",
            "3",
            "x",
            "DeploymentRollback: Rolled back deployment \"web\" to revision 1",
        ),
        (
            "9",
            "3",
            "x",
            "DeploymentRollbackRevisionNotFound: Unable to find the revision to rollback to.",
        ),
        (
            "3",
            "3",
            "x",
            "DeploymentRollbackTemplateUnchanged: The rollback revision contains the same template as current deployment \"web\"",
        ),
        (
            "0",
            "4",
            "next",
            "DeploymentRollback: Rolled back deployment \"web\" to revision 2",
        ),
    ] {
        let wanted =
            json!({"metadata": {"annotations": {"deprecated.deployment.rollback.to": to}}});
        plane.patch(&path, wanted).await;
        plane
            .until(said, async || {
                plane.events("web").await.iter().any(|event| event == said)
            })
            .await;
        is(revision, now).await;
    }
    plane.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_that_is_stuck_grows_in_proportion_and_is_rolled_over() {
    let plane = plane_of(1).await;
    let _kubelets = plane.kubelets(|pod| if image(pod) == "bad" { Act::Wait } else { RUN });
    let mut web = deployment("web", 10);
    web["spec"]["strategy"] = json!({"rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}});
    plane.create(&format!("{SETS}/deployments"), web).await;
    let sizes = async || {
        let sets = plane.list(&format!("{SETS}/replicasets")).await;
        let size = |name: &str| {
            sets.iter()
                .find(|set| image(set) == name)
                .map_or(0, |set| set["spec"]["replicas"].as_i64().unwrap())
        };
        let ready = |name: &str| {
            sets.iter()
                .find(|set| image(set) == name)
                .and_then(|set| set["status"]["availableReplicas"].as_i64())
                .unwrap_or(0)
        };
        (size("x"), size("bad"), ready("x"), ready("good"))
    };
    plane.until("all ten", async || sizes().await.2 == 10).await;
    plane
        .patch(&format!("{SETS}/deployments/web"), other_image("bad"))
        .await;
    plane
        .until("eight and five", async || sizes().await == (8, 5, 8, 0))
        .await;
    plane
        .patch(
            &format!("{SETS}/deployments/web"),
            json!({"spec": {"replicas": 30}}),
        )
        .await;
    plane
        .until("twenty and thirteen", async || {
            sizes().await == (20, 13, 20, 0)
        })
        .await;
    plane
        .patch(&format!("{SETS}/deployments/web"), other_image("good"))
        .await;
    plane
        .until("thirty new ones and no old ones", async || {
            sizes().await == (0, 0, 0, 30)
        })
        .await;
    let web = plane.get(&format!("{SETS}/deployments/web")).await.unwrap();
    assert_eq!(
        web["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "3"
    );
    plane.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stateful_set_halts_at_a_pod_that_is_not_ready_and_a_parallel_one_does_not() {
    let plane = plane_of(1).await;
    let ready = Arc::new(AtomicBool::new(true));
    let seen = ready.clone();
    let _kubelets = plane.kubelets(move |_| Act::Run {
        ready: seen.load(Ordering::Relaxed),
    });
    for (policy, held) in [("OrderedReady", true), ("Parallel", false)] {
        let set = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": {"replicas": 1, "serviceName": "db",
            "podManagementPolicy": policy, "selector": {"matchLabels": {"app": "db"}}, "template": template("db")}});
        plane.create(&format!("{SETS}/statefulsets"), set).await;
        let path = format!("{SETS}/statefulsets/db");
        let count = async || plane.list(PODS).await.len();
        let status = async |field: &str| {
            plane.get(&path).await.unwrap()["status"][field]
                .as_i64()
                .unwrap_or(0)
        };
        let scale = async |replicas: i32| {
            plane
                .patch(&path, json!({"spec": {"replicas": replicas}}))
                .await
        };
        let observed = async || {
            let set = plane.get(&path).await.unwrap();
            set["status"]["observedGeneration"] == set["metadata"]["generation"]
        };
        plane
            .until("one ready", async || status("readyReplicas").await == 1)
            .await;
        for (from, to) in [(1, 3), (3, 0)] {
            ready.store(false, Ordering::Relaxed);
            plane
                .until("none ready", async || status("readyReplicas").await == 0)
                .await;
            scale(to).await;
            plane.until("the change seen", observed).await;
            if held {
                assert_eq!(count().await, from, "{policy} {from} -> {to}");
                // all the same, for as long as it takes to look at it again
                plane
                    .patch(
                        &path,
                        json!({"metadata": {"annotations": {"look": "again"}}}),
                    )
                    .await;
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                assert_eq!(count().await, from, "{policy} {from} -> {to}");
            } else {
                plane
                    .until("all of them", async || {
                        count().await == usize::try_from(to).unwrap()
                    })
                    .await;
            }
            ready.store(true, Ordering::Relaxed);
            plane
                .until("as many as wanted", async || {
                    status("readyReplicas").await == i64::from(to)
                        && count().await == usize::try_from(to).unwrap()
                })
                .await;
        }
        plane.delete(&path).await;
        plane
            .until("it is gone", async || plane.get(&path).await.is_none())
            .await;
    }
    plane.end().await;
}

/// A strategy that says nothing of how pods are replaced has no partition.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stateful_set_without_a_partition_replaces_each_pod_once() {
    let plane = plane_of(1).await;
    let _kubelets = plane.kubelets(|_| RUN);
    let spec = json!({"replicas": 3, "serviceName": "base", "updateStrategy": {"type": "RollingUpdate"},
        "selector": {"matchLabels": {"app": "base"}}, "template": template("base")});
    let path = format!("{SETS}/statefulsets");
    plane.create(&path, json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "base"}, "spec": spec})).await;
    let path = format!("{path}/base");
    let ready = async |image_of: &str| {
        let pods = plane.list(PODS).await;
        let set = plane.get(&path).await.unwrap();
        let ready = set["status"]["readyReplicas"] == 3 && set["status"]["updatedReplicas"] == 3;
        ready && pods.len() == 3 && pods.iter().all(|pod| image(pod) == image_of)
    };
    plane.until("three pods", async || ready("x").await).await;
    plane.patch(&path, other_image("next")).await;
    plane
        .until("three others", async || ready("next").await)
        .await;
    for number in 0..3 {
        let created = format!("SuccessfulCreate: Create Pod base-{number} in StatefulSet base");
        let events = plane.list("/api/v1/events").await;
        let of = |event: &&Value| {
            let (reason, message) = (event["reason"].as_str(), event["message"].as_str());
            format!("{}: {}", reason.unwrap(), message.unwrap()).starts_with(&created)
        };
        let times = events
            .iter()
            .filter(of)
            .map(|e| e["count"].as_i64().unwrap());
        assert_eq!(times.sum::<i64>(), 2, "{created}");
    }
    plane.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn daemons_come_back_and_those_that_an_undone_update_left_alone_stay() {
    let plane = plane_of(3).await;
    let _kubelets = plane.kubelets(|pod| if image(pod) == "bad" { Act::Wait } else { RUN });
    let set = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent"},
        "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": template("agent")}});
    plane.create(&format!("{SETS}/daemonsets"), set).await;
    let path = format!("{SETS}/daemonsets/agent");
    let available = async || {
        plane.get(&path).await.unwrap()["status"]["numberAvailable"]
            .as_i64()
            .unwrap_or(0)
    };
    plane
        .until("one on each node", async || available().await == 3)
        .await;
    let names = async |with: &str| {
        let pods = plane.list(PODS).await;
        pods.iter()
            .filter(|pod| image(pod) == with)
            .map(|pod| pod["metadata"]["name"].as_str().unwrap().to_string())
            .collect::<Vec<_>>()
    };
    let failed = names("x").await[0].clone();
    plane.is_in_phase(&failed, "Failed").await;
    plane
        .until("another in its place", async || {
            !names("x").await.contains(&failed) && available().await == 3
        })
        .await;
    plane.patch(&path, other_image("bad")).await;
    plane
        .until("one of the new ones", async || {
            names("bad").await.len() == 1
        })
        .await;
    let left = names("x").await;
    assert_eq!(left.len(), 2, "no more than one at a time");
    plane.patch(&path, other_image("x")).await;
    plane
        .until("three of the old ones", async || {
            names("x").await.len() == 3 && names("bad").await.is_empty() && available().await == 3
        })
        .await;
    let after = names("x").await;
    assert!(
        left.iter().all(|name| after.contains(name)),
        "{left:?} {after:?}"
    );
    plane.patch(&path, json!({"spec": {"template": {"spec": {"nodeSelector": {"kubernetes.io/hostname": "node-1"}}}}})).await;
    plane
        .until("on one node alone", async || {
            available().await == 1
                && plane
                    .list(PODS)
                    .await
                    .iter()
                    .all(|pod| pod["spec"]["nodeName"] == "node-1")
        })
        .await;
    plane.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replication_controller_says_that_a_quota_stops_it() {
    let plane = plane_of(1).await;
    let _kubelets = plane.kubelets(|_| RUN);
    let quota = "/api/v1/namespaces/default/resourcequotas";
    plane.create(quota, json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "two"}, "spec": {"hard": {"pods": "2"}}})).await;
    plane
        .until("the quota counted", async || {
            plane.get(&format!("{quota}/two")).await.unwrap()["status"]["hard"]["pods"] == "2"
        })
        .await;
    let controller = json!({"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "three"},
        "spec": {"replicas": 3, "selector": {"app": "three"}, "template": template("three")}});
    plane
        .create(
            "/api/v1/namespaces/default/replicationcontrollers",
            controller,
        )
        .await;
    let path = "/api/v1/namespaces/default/replicationcontrollers/three";
    let conditions = async || plane.get(path).await.unwrap()["status"]["conditions"].clone();
    plane
        .until("its failure told", async || {
            conditions().await[0]["type"] == "ReplicaFailure"
        })
        .await;
    assert_eq!(conditions().await[0]["reason"], "FailedCreate");
    plane.patch(path, json!({"spec": {"replicas": 2}})).await;
    plane
        .until("its failure over", async || conditions().await.is_null())
        .await;
    // a pod whose label is changed is let go, and taken up again when it is changed back
    let pod = plane.list(PODS).await[0]["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_string();
    let owners = async || {
        plane.get(&format!("{PODS}/{pod}")).await.unwrap()["metadata"]["ownerReferences"].clone()
    };
    plane.delete(&format!("{quota}/two")).await;
    plane
        .patch(
            &format!("{PODS}/{pod}"),
            json!({"metadata": {"labels": {"app": "none"}}}),
        )
        .await;
    plane
        .until("it is let go", async || {
            owners().await.is_null() && plane.list(PODS).await.len() == 3
        })
        .await;
    plane
        .patch(
            &format!("{PODS}/{pod}"),
            json!({"metadata": {"labels": {"app": "three"}}}),
        )
        .await;
    plane
        .until("two again", async || plane.list(PODS).await.len() == 2)
        .await;
    plane.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revisions_that_others_make_and_delete_are_lived_with() {
    let plane = plane_of(1).await;
    let _kubelets = plane.kubelets(|_| RUN);
    let set = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent"},
        "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": template("agent")}});
    plane.create(&format!("{SETS}/daemonsets"), set).await;
    let path = format!("{SETS}/controllerrevisions");
    let revisions = async || plane.list(&path).await;
    plane
        .until("its revision", async || revisions().await.len() == 1)
        .await;
    let first = revisions().await.remove(0);
    // another of the same data, with the next number and no hash, and the first one goes
    let mut second = json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "data": first["data"], "revision": 2,
        "metadata": {"name": "agent-mine", "labels": {"app": "agent"}}});
    second["metadata"]["ownerReferences"] = first["metadata"]["ownerReferences"].clone();
    plane.create(&path, second).await;
    plane
        .delete(&format!(
            "{path}/{}",
            first["metadata"]["name"].as_str().unwrap()
        ))
        .await;
    plane
        .until("the second one stands for the template", async || {
            let left = revisions().await;
            left.len() == 1
                && left[0]["metadata"]["labels"]["controller-revision-hash"] == "agent-mine"
        })
        .await;
    plane
        .patch(&format!("{SETS}/daemonsets/agent"), other_image("y"))
        .await;
    plane
        .until("a third one", async || {
            revisions().await.iter().any(|r| r["revision"] == 3)
        })
        .await;
    plane.delete(&format!("{path}/agent-mine")).await;
    let third = revisions()
        .await
        .into_iter()
        .find(|r| r["revision"] == 3)
        .unwrap();
    plane
        .delete(&format!(
            "{path}/{}",
            third["metadata"]["name"].as_str().unwrap()
        ))
        .await;
    plane
        .until("the present one again", async || {
            revisions()
                .await
                .iter()
                .any(|r| r["metadata"]["uid"] != third["metadata"]["uid"])
        })
        .await;
    plane.end().await;
}
