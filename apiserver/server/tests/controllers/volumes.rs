//! Volumes, claims and classes, and what keeps them.

use serde_json::{Value, json};

use crate::{
    kubelet::RUN,
    plane::{Plane, pod_path},
};

const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";
const VOLUMES: &str = "/api/v1/persistentvolumes";
const STORAGE: &str = "/apis/storage.k8s.io/v1";

async fn has_finalizer(plane: &Plane, path: &str) -> bool {
    plane
        .get(path)
        .await
        .is_some_and(|object| object["metadata"]["finalizers"].is_array())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_use_is_kept_until_it_is_not() {
    let plane = Plane::start().await;
    plane.node("one", json!({})).await;
    let _kubelets = plane.kubelets(|_| RUN);
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "slow"}, "provisioner": "kubernetes.io/no-provisioner",
        "allowVolumeExpansion": true, "volumeBindingMode": "WaitForFirstConsumer"});
    plane
        .create(&format!("{STORAGE}/storageclasses"), class)
        .await;
    let spec = json!({"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "slow", "hostPath": {"path": "/tmp/x"}});
    plane.create(VOLUMES, json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "disk"}, "spec": spec})).await;
    let spec = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "slow", "resources": {"requests": {"storage": "1Gi"}}});
    plane.create(CLAIMS, json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": spec})).await;
    plane.pod("user", json!({"spec": {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]}})).await;
    let (claim, volume) = (format!("{CLAIMS}/data"), format!("{VOLUMES}/disk"));
    plane
        .until("the claim is bound", async || {
            plane.get(&claim).await.unwrap()["status"]["phase"] == "Bound"
        })
        .await;
    plane.placed("user").await;
    assert!(has_finalizer(&plane, &claim).await && has_finalizer(&plane, &volume).await);
    plane
        .patch(
            &claim,
            json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}}),
        )
        .await;
    assert_eq!(
        plane.event("data", "ExternalExpanding").await,
        "ExternalExpanding: waiting for an external controller to expand this PVC"
    );
    plane.delete(&claim).await;
    plane.delete(&volume).await;
    assert!(plane.get(&claim).await.is_some() && plane.get(&volume).await.is_some());
    plane.delete(&pod_path("user")).await;
    plane
        .until("the claim and then the volume are gone", async || {
            plane.get(&claim).await.is_none() && plane.get(&volume).await.is_none()
        })
        .await;
    plane.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_gets_the_default_class_that_comes_after_it() {
    let plane = Plane::start().await;
    let spec =
        json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    let claim = |name: &str, class: Value| {
        let mut spec = spec.clone();
        spec["storageClassName"] = class;
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec})
    };
    plane.create(CLAIMS, claim("any", Value::Null)).await;
    plane.create(CLAIMS, claim("none", json!(""))).await;
    assert_eq!(
        plane.event("any", "FailedBinding").await,
        "FailedBinding: no persistent volumes available for this claim and no storage class is set"
    );
    let mark = json!({"storageclass.kubernetes.io/is-default-class": "true"});
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "usual", "annotations": mark}, "provisioner": "a/b"});
    plane
        .create(&format!("{STORAGE}/storageclasses"), class)
        .await;
    let class_of = async |name: &str| {
        let claim = plane.get(&format!("{CLAIMS}/{name}")).await.unwrap();
        claim["spec"]["storageClassName"].clone()
    };
    plane
        .until("the claim has the class", async || {
            class_of("any").await == "usual"
        })
        .await;
    plane.event("any", "ExternalProvisioning").await;
    assert_eq!(class_of("none").await, "");
    plane.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_class_of_attributes_stays_while_a_claim_names_it() {
    let plane = Plane::start().await;
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttributesClass", "metadata": {"name": "fast"}, "driverName": "d", "parameters": {"a": "b"}});
    let classes = format!("{STORAGE}/volumeattributesclasses");
    plane.create(&classes, class).await;
    let path = format!("{classes}/fast");
    plane
        .until("it is protected", async || {
            has_finalizer(&plane, &path).await
        })
        .await;
    let spec = json!({"accessModes": ["ReadWriteOnce"], "volumeAttributesClassName": "fast", "resources": {"requests": {"storage": "1Gi"}}});
    plane.create(CLAIMS, json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": spec})).await;
    plane
        .until("the claim is protected", async || {
            has_finalizer(&plane, &format!("{CLAIMS}/data")).await
        })
        .await;
    // its finalizer is given at its creation; that something is said of it shows that the controllers know it
    plane.event("data", "FailedBinding").await;
    plane.delete(&path).await;
    assert!(plane.get(&path).await.is_some());
    plane.delete(&format!("{CLAIMS}/data")).await;
    plane
        .until("both are gone", async || plane.get(&path).await.is_none())
        .await;
    plane.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_of_services_stays_while_its_addresses_are_in_no_other() {
    let plane = Plane::start().await;
    let cidrs = "/apis/networking.k8s.io/v1/servicecidrs";
    let ready = async |name: &str| -> Value {
        let cidr = plane
            .get(&format!("{cidrs}/{name}"))
            .await
            .unwrap_or_default();
        cidr["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|c| c["type"] == "Ready")
            .cloned()
            .unwrap_or_default()
    };
    plane
        .create(cidrs, json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "more"}, "spec": {"cidrs": ["10.250.0.0/24"]}}))
        .await;
    plane
        .until("it is ready", async || {
            ready("more").await["status"] == "True"
                && has_finalizer(&plane, &format!("{cidrs}/more")).await
        })
        .await;
    let kubernetes = plane.get(&format!("{cidrs}/kubernetes")).await.unwrap();
    let first = kubernetes["spec"]["cidrs"].clone();
    plane
        .until("so is the first one", async || {
            has_finalizer(&plane, &format!("{cidrs}/kubernetes")).await
        })
        .await;
    plane.delete(&format!("{cidrs}/kubernetes")).await;
    plane
        .until("it is held", async || {
            ready("kubernetes").await["reason"] == "Terminating"
        })
        .await;
    // another with its addresses lets it go, ten seconds after it was deleted
    plane.create(cidrs, json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "same"}, "spec": {"cidrs": first}})).await;
    plane
        .until("it goes, and the server makes it anew", async || {
            let now = plane.get(&format!("{cidrs}/kubernetes")).await;
            now.is_some_and(|now| now["metadata"]["uid"] != kubernetes["metadata"]["uid"])
        })
        .await;
    plane.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_by_which_machines_join_sign_and_expire() {
    let plane = Plane::with(|options| {
        options.controllers = ["*", "bootstrapsigner", "tokencleaner"]
            .map(String::from)
            .into()
    })
    .await;
    let token = |id: &str, life: i64| {
        let expiration = (skiff_api::machinery::clock::system().now()
            + jiff::SignedDuration::from_secs(life))
        .to_string();
        json!({"apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token", "metadata": {"name": format!("bootstrap-token-{id}")},
            "stringData": {"token-id": id, "token-secret": "0123456789abcdef", "usage-bootstrap-signing": "true", "expiration": expiration}})
    };
    let (secrets, maps) = (
        "/api/v1/namespaces/kube-system/secrets",
        "/api/v1/namespaces/kube-public/configmaps",
    );
    plane.create(secrets, token("abcdef", 3600)).await;
    plane.create(secrets, token("ghijkl", 2)).await;
    plane
        .create(
            maps,
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cluster-info"}, "data": {"kubeconfig": "x", "jws-kubeconfig-gonegg": "old"}}),
        )
        .await;
    let names = async || -> Vec<String> {
        let info = plane.get(&format!("{maps}/cluster-info")).await.unwrap();
        info["data"].as_object().unwrap().keys().cloned().collect()
    };
    plane
        .until("both sign", async || {
            names().await
                == [
                    "jws-kubeconfig-abcdef",
                    "jws-kubeconfig-ghijkl",
                    "kubeconfig",
                ]
        })
        .await;
    plane
        .until("one has expired", async || {
            plane
                .get(&format!("{secrets}/bootstrap-token-ghijkl"))
                .await
                .is_none()
        })
        .await;
    plane
        .until("and its signature went", async || {
            names().await == ["jws-kubeconfig-abcdef", "kubeconfig"]
        })
        .await;
    plane.end().await;
}
