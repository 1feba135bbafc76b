//! What has lost its owner.

use serde_json::{Value, json};

use crate::{
    plane::{Plane, deployment, template},
    widget::{beside, made},
};

fn config_map(name: &str, owner: &Value) -> Value {
    let mut map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    if let Some(uid) = owner["metadata"]["uid"].as_str() {
        map["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"], "uid": uid}]);
    }
    map
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_in_another_namespace_owns_nothing_and_that_is_told() {
    let plane = Plane::start().await;
    plane
        .create(
            "/api/v1/namespaces",
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}}),
        )
        .await;
    let (here, there) = (
        "/api/v1/namespaces/default/configmaps",
        "/api/v1/namespaces/other/configmaps",
    );
    let owner = plane.create(here, config_map("owner", &Value::Null)).await;
    plane.create(here, config_map("good", &owner)).await;
    plane.create(there, config_map("bad", &owner)).await;
    let mut role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "wide"}, "rules": []});
    role["metadata"]["ownerReferences"] =
        config_map("", &owner)["metadata"]["ownerReferences"].clone();
    plane
        .create("/apis/rbac.authorization.k8s.io/v1/clusterroles", role)
        .await;
    let uid = owner["metadata"]["uid"].as_str().unwrap();
    for (name, namespace) in [("bad", "other"), ("wide", "")] {
        let place = format!("[v1/ConfigMap, namespace: {namespace}, name: owner, uid: {uid}]");
        assert_eq!(
            plane.event(name, "OwnerRefInvalidNamespace").await,
            format!(
                "OwnerRefInvalidNamespace: ownerRef {place} does not exist in namespace {namespace:?}"
            )
        );
    }
    plane
        .until("the bad one is gone", async || {
            plane.get(&format!("{there}/bad")).await.is_none()
        })
        .await;
    assert!(plane.get(&format!("{here}/good")).await.is_some());
    plane.delete(&format!("{here}/owner")).await;
    plane
        .until("the good one went with its owner", async || {
            plane.get(&format!("{here}/good")).await.is_none()
        })
        .await;
    assert!(
        plane
            .get("/apis/rbac.authorization.k8s.io/v1/clusterroles/wide")
            .await
            .is_some(),
        "what is in no namespace is not collected for that"
    );
    plane.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_in_a_version_that_is_not_served_proves_nothing() {
    let plane = Plane::start().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let owned = |name: &str, api_version: &str| {
        let mut map = config_map(name, &json!({"metadata": {"name": "gone", "uid": "1-2-3"}}));
        map["metadata"]["ownerReferences"][0]["apiVersion"] = api_version.into();
        map["metadata"]["ownerReferences"][0]["kind"] = "Deployment".into();
        map
    };
    plane.create(maps, owned("unsure", "apps/v1beta9")).await;
    plane.create(maps, owned("sure", "apps/v1")).await;
    plane
        .until("the one whose owner is known to be gone", async || {
            plane.get(&format!("{maps}/sure")).await.is_none()
        })
        .await;
    assert!(plane.get(&format!("{maps}/unsure")).await.is_some());
    plane.end().await;
}

fn widget(name: &str) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_of_a_kind_that_a_definition_brought_are_collected() {
    let plane = Plane::start().await;
    let names = json!({"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"});
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}});
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}});
    plane
        .create(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            definition,
        )
        .await;

    widgets_are_collected(&plane, widget).await;
    plane.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_of_a_kind_that_a_table_brought_are_collected() {
    let plane = Plane::start().await;
    plane.serve(beside);
    widgets_are_collected(&plane, |name| made(name, "red")).await;
    plane.end().await;
}

/// They go with their owner, and with their namespace.
async fn widgets_are_collected(plane: &Plane, widget: impl Fn(&str) -> Value) {
    let maps = "/api/v1/namespaces/default/configmaps";
    let owner = plane.create(maps, config_map("owner", &Value::Null)).await;
    let widgets = "/apis/example.com/v1/namespaces/default/widgets";
    plane
        .until("the kind is served", async || {
            plane.get(widgets).await.is_some()
        })
        .await;
    let mut owned = widget("owned");
    owned["metadata"]["ownerReferences"] =
        config_map("", &owner)["metadata"]["ownerReferences"].clone();
    plane.create(widgets, owned).await;
    plane.create(widgets, widget("free")).await;
    plane.delete(&format!("{maps}/owner")).await;
    plane
        .until("the owned one went with its owner", async || {
            plane.get(&format!("{widgets}/owned")).await.is_none()
        })
        .await;
    assert!(plane.get(&format!("{widgets}/free")).await.is_some());

    plane
        .create(
            "/api/v1/namespaces",
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}}),
        )
        .await;
    plane
        .create("/apis/example.com/v1/namespaces/other/widgets", widget("w"))
        .await;
    plane.delete("/api/v1/namespaces/other").await;
    plane
        .until("the namespace went, and what was in it", async || {
            plane.get("/api/v1/namespaces/other").await.is_none()
        })
        .await;
    assert!(
        plane
            .get("/apis/example.com/v1/namespaces/other/widgets/w")
            .await
            .is_none()
    );
}

const PODS: &str = "/api/v1/namespaces/default/pods";
const SETS: &str = "/apis/apps/v1/namespaces/default/replicasets";

/// Owners of an object, by their names.
fn owners(object: &Value) -> Vec<&str> {
    let all = object["metadata"]["ownerReferences"].as_array();
    let names = all.into_iter().flatten();
    names.map(|owner| owner["name"].as_str().unwrap()).collect()
}

/// Makes an owner, and waits for as many as it is to own; gives where the owner is, and where those are.
async fn owning(
    plane: &Plane,
    path: &str,
    owner: Value,
    of: &str,
    many: usize,
) -> (String, Vec<String>) {
    let owner = plane.create(path, owner).await;
    let uid = &owner["metadata"]["uid"];
    let mut owned = Vec::new();
    plane
        .until("what it owns", async || {
            let all = plane.list(of).await.into_iter();
            let its = all.filter(|one| one["metadata"]["ownerReferences"][0]["uid"] == *uid);
            owned = its
                .map(|one| format!("{of}/{}", one["metadata"]["name"].as_str().unwrap()))
                .collect();
            owned.len() == many
        })
        .await;
    let name = owner["metadata"]["name"].as_str().unwrap();
    (format!("{path}/{name}"), owned)
}

fn controller(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": name},
        "spec": {"replicas": 2, "selector": {"app": name}, "template": template(name)}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_owner_made_goes_with_it_or_stays_as_it_is_said() {
    let plane = Plane::start().await;
    let controllers = "/api/v1/namespaces/default/replicationcontrollers";
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    type Make = fn(&str) -> Value;
    let cases: [(&str, Make, &str, usize); 2] = [
        (deployments, |name| deployment(name, 0), SETS, 1),
        (controllers, controller, PODS, 2),
    ];
    for (path, make, of, many) in cases {
        let (place, owned) = owning(&plane, path, make("one"), of, many).await;
        plane.delete_with(&place, Some("Background")).await;
        for one in owned {
            plane
                .until("it went with its owner", async || {
                    plane.get(&one).await.is_none()
                })
                .await;
        }
        let (place, owned) = owning(&plane, path, make("two"), of, many).await;
        plane.delete_with(&place, Some("Orphan")).await;
        plane
            .until(
                "the owner is gone, which lets its orphans go before",
                async || plane.get(&place).await.is_none(),
            )
            .await;
        for one in owned {
            let left = plane.get(&one).await.unwrap();
            assert!(owners(&left).is_empty(), "{left}");
        }
    }
    plane.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_waits_for_its_dependents_where_that_is_asked_for() {
    let plane = Plane::start().await;
    let path = "/api/v1/namespaces/default/replicationcontrollers";
    let (place, owned) = owning(&plane, path, controller("c"), PODS, 2).await;
    let held = &owned[0];
    let hold = json!({"metadata": {"finalizers": ["example.com/hold"]}});
    plane.patch(held, hold).await;
    plane.delete_with(&place, Some("Foreground")).await;
    plane
        .until(
            "the other pod is gone, and this one told to go",
            async || {
                let pods = plane.list(PODS).await;
                pods.len() == 1 && pods[0]["metadata"]["deletionTimestamp"].is_string()
            },
        )
        .await;
    let waiting = plane.get(&place).await.unwrap();
    assert_eq!(
        waiting["metadata"]["finalizers"],
        json!(["foregroundDeletion"])
    );
    plane
        .patch(held, json!({"metadata": {"finalizers": null}}))
        .await;
    plane
        .until("the owner follows", async || {
            plane.get(&place).await.is_none() && plane.list(PODS).await.is_empty()
        })
        .await;
    plane.end().await;
}

/// An object that has another owner stays, and no circle keeps itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_owners_hold_and_circles_do_not() {
    let plane = Plane::start().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let one = plane.create(maps, config_map("one", &Value::Null)).await;
    let two = plane.create(maps, config_map("two", &Value::Null)).await;
    let mut shared = config_map("shared", &one);
    let blocks = |owner: &Value| {
        let mut of = config_map("", owner)["metadata"]["ownerReferences"][0].clone();
        of["blockOwnerDeletion"] = json!(true);
        of
    };
    shared["metadata"]["ownerReferences"] = json!([blocks(&one), blocks(&two)]);
    plane.create(maps, shared).await;
    plane
        .delete_with(&format!("{maps}/one"), Some("Foreground"))
        .await;
    plane
        .until("the one that goes does not wait for it", async || {
            plane.get(&format!("{maps}/one")).await.is_none()
        })
        .await;
    let left = plane.get(&format!("{maps}/shared")).await.unwrap();
    assert_eq!(owners(&left), ["two"]);

    let mut last = plane.create(maps, config_map("c0", &Value::Null)).await;
    let first = last.clone();
    for at in 1..3 {
        last = plane
            .create(maps, config_map(&format!("c{at}"), &last))
            .await;
    }
    let closing = config_map("", &last)["metadata"]["ownerReferences"].clone();
    let place = format!("{maps}/c0");
    plane
        .patch(&place, json!({"metadata": {"ownerReferences": closing}}))
        .await;
    assert_eq!(first["metadata"]["name"], "c0");
    plane.delete(&place).await;
    plane
        .until("all of the circle is gone", async || {
            plane
                .list(maps)
                .await
                .iter()
                .all(|map| !map["metadata"]["name"].as_str().unwrap().starts_with('c'))
        })
        .await;
    plane.end().await;
}
