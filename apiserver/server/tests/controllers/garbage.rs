//! What has lost its owner.

use serde_json::{Value, json};

use crate::{
    plane::Plane,
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
