//! What quotas count, and what they refuse.

use serde_json::{Value, json};
use skiff_watching::api::PatchType;

use crate::plane::{Plane, template};

const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";

async fn quota(plane: &Plane, name: &str, spec: Value) {
    let object = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}, "spec": spec});
    plane.create(QUOTAS, object).await;
}

/// Waits until a quota says that this is used.
async fn used(plane: &Plane, name: &str, wanted: Value) {
    let place = format!("{QUOTAS}/{name}");
    let what = format!("{name} counts {wanted}");
    plane
        .until(&what, async || {
            let quota = plane.get(&place).await.unwrap();
            let of = wanted.as_object().unwrap().iter();
            of.into_iter()
                .all(|(name, many)| quota["status"]["used"][name] == *many)
        })
        .await;
}

/// One object more than is allowed of each sort is refused, and what goes is counted no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_of_every_sort_are_counted_while_they_are_there() {
    let plane = Plane::start().await;
    let sorts = [
        (
            "pods",
            "api/v1",
            json!({"kind": "Pod", "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "i"}]}}),
        ),
        ("configmaps", "api/v1", json!({"kind": "ConfigMap"})),
        ("secrets", "api/v1", json!({"kind": "Secret"})),
        (
            "services",
            "api/v1",
            json!({"kind": "Service", "spec": {"ports": [{"port": 80}]}}),
        ),
        (
            "replicationcontrollers",
            "api/v1",
            json!({"kind": "ReplicationController", "spec": {"replicas": 0, "selector": {"app": "r"}, "template": template("r")}}),
        ),
        (
            "count/replicasets.apps",
            "apis/apps/v1",
            json!({"kind": "ReplicaSet", "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "s"}}, "template": template("s")}}),
        ),
    ];
    let path = |counted: &str, root: &str| {
        let plural = counted
            .trim_start_matches("count/")
            .trim_end_matches(".apps");
        format!("/{root}/namespaces/default/{plural}")
    };
    let own = "/api/v1/namespaces/default/configmaps/kube-root-ca.crt";
    plane
        .until("the map that every namespace has", async || {
            plane.get(own).await.is_some()
        })
        .await;
    // the system's own are there before: one more of each is allowed
    let (mut hard, mut there) = (json!({"resourcequotas": "1"}), Vec::new());
    for (counted, root, _) in &sorts {
        there.push(plane.list(&path(counted, root)).await.len());
        hard[*counted] = json!((there[there.len() - 1] + 1).to_string());
    }
    quota(&plane, "all", json!({"hard": hard})).await;
    used(&plane, "all", json!({"resourcequotas": "1"})).await;
    for ((counted, root, object), there) in sorts.into_iter().zip(there) {
        let (path, most) = (path(counted, root), there + 1);
        let named = |name: &str| {
            let mut object = object.clone();
            object["apiVersion"] = json!(root.split_once('/').unwrap().1);
            object["metadata"] = json!({"name": name});
            object
        };
        used(&plane, "all", json!({counted: there.to_string()})).await;
        plane.create(&path, named("first")).await;
        used(&plane, "all", json!({counted: most.to_string()})).await;
        let refused = plane.api.post(&path, &named("second")).await.unwrap_err();
        let told = refused.to_string();
        let wanted = format!(
            "exceeded quota: all, requested: {counted}=1, used: {counted}={most}, limited: {counted}={most}"
        );
        assert!(told.contains(&wanted), "{told}");
        plane.delete(&format!("{path}/first")).await;
        used(&plane, "all", json!({counted: there.to_string()})).await;
    }
    plane.end().await;
}

/// A quota with scopes counts the pods that are in all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scopes_tell_which_pods_are_counted() {
    let plane = Plane::start().await;
    for scope in [
        "BestEffort",
        "NotBestEffort",
        "Terminating",
        "NotTerminating",
    ] {
        let spec = json!({"hard": {"pods": "5"}, "scopes": [scope]});
        let name = scope.to_lowercase();
        quota(&plane, &name, spec).await;
        // until it is known what is used, nothing may be made
        used(&plane, &name, json!({"pods": "0"})).await;
    }
    let asks = json!({"requests": {"cpu": "100m"}});
    for (name, spec, counted) in [
        ("plain", json!({}), ["besteffort", "notterminating"]),
        (
            "asks",
            json!({"containers": [{"name": "c", "image": "i", "resources": asks}]}),
            ["notbesteffort", "notterminating"],
        ),
        (
            "ends",
            json!({"activeDeadlineSeconds": 3600}),
            ["besteffort", "terminating"],
        ),
    ] {
        plane.pod(name, json!({"spec": spec})).await;
        for quota in [
            "besteffort",
            "notbesteffort",
            "terminating",
            "notterminating",
        ] {
            let many = usize::from(counted.contains(&quota)).to_string();
            used(&plane, quota, json!({"pods": many})).await;
        }
        plane.delete(&crate::plane::pod_path(name)).await;
    }
    for quota in [
        "besteffort",
        "notbesteffort",
        "terminating",
        "notterminating",
    ] {
        used(&plane, quota, json!({"pods": "0"})).await;
    }
    plane.end().await;
}

/// A pod that gets an end while it runs is counted by the quota of those that end from then on, and by the other no more; once, though the scheduler writes between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_comes_into_a_scope_is_charged() {
    let plane = Plane::start().await;
    let scopes = ["Terminating", "NotTerminating"].map(|scope| (scope.to_lowercase(), scope));
    for (name, scope) in &scopes {
        let spec = json!({"hard": {"pods": "1"}, "scopes": [scope]});
        quota(&plane, name, spec).await;
        used(&plane, name, json!({"pods": "0"})).await;
    }
    plane.pod("a", json!({})).await;
    used(&plane, "notterminating", json!({"pods": "1"})).await;
    let end = json!({"spec": {"activeDeadlineSeconds": 3600}});
    plane.patch(&crate::plane::pod_path("a"), end.clone()).await;
    // at once, not when the quota is looked at again
    let quota = plane.get(&format!("{QUOTAS}/terminating")).await.unwrap();
    assert_eq!(quota["status"]["used"]["pods"], "1");
    used(&plane, "notterminating", json!({"pods": "0"})).await;
    plane.pod("b", json!({})).await;
    used(&plane, "notterminating", json!({"pods": "1"})).await;
    let path = crate::plane::pod_path("b");
    let refused = plane.api.patch(&path, PatchType::Merge, &end).await;
    let refused = refused.unwrap_err();
    let wanted = "exceeded quota: terminating, requested: pods=1, used: pods=1, limited: pods=1";
    assert!(refused.to_string().contains(wanted), "{refused}");
    plane.end().await;
}

/// What a quota allows is changed, and it no longer counts when it is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_that_is_changed_or_gone_is_no_longer_what_it_was() {
    let plane = Plane::start().await;
    quota(&plane, "q", json!({"hard": {"secrets": "0"}})).await;
    used(&plane, "q", json!({"secrets": "0"})).await;
    let secrets = "/api/v1/namespaces/default/secrets";
    let secret =
        |name: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}});
    assert!(plane.api.post(secrets, &secret("a")).await.is_err());
    let place = format!("{QUOTAS}/q");
    plane
        .patch(&place, json!({"spec": {"hard": {"secrets": "1"}}}))
        .await;
    plane
        .until("the new bound holds", async || {
            plane.get(&place).await.unwrap()["status"]["hard"]["secrets"] == "1"
        })
        .await;
    plane.create(secrets, secret("a")).await;
    assert!(plane.api.post(secrets, &secret("b")).await.is_err());
    plane.delete(&place).await;
    plane
        .until("nothing holds", async || {
            plane.api.post(secrets, &secret("b")).await.is_ok()
        })
        .await;
    plane.end().await;
}

/// What one quota refuses is charged to no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_is_charged_to_nobody() {
    let plane = Plane::start().await;
    for (name, most) in [("a", "5"), ("b", "1"), ("c", "5")] {
        quota(&plane, name, json!({"hard": {"secrets": most}})).await;
        used(&plane, name, json!({"secrets": "0"})).await;
    }
    let secret =
        |name: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}});
    let secrets = "/api/v1/namespaces/default/secrets";
    plane.create(secrets, secret("one")).await;
    let refused = plane.api.post(secrets, &secret("two")).await.unwrap_err();
    let told = "exceeded quota: b, requested: secrets=1, used: secrets=1, limited: secrets=1";
    assert!(refused.to_string().contains(told), "{refused}");
    // at once: sooner or later they are counted anew
    let found = ["a", "b", "c"].map(|name| format!("{QUOTAS}/{name}"));
    for place in found {
        let quota = plane.get(&place).await.unwrap();
        assert_eq!(quota["status"]["used"]["secrets"], "1", "{place}");
    }
    plane.end().await;
}
