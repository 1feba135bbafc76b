//! Volumes as whoever claims one sees them: a StatefulSet of a tutorial gets its own, keeps what it wrote there when its pods and the cluster are replaced, and a
//! claim that is deleted takes its data along.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::support::{Cluster, PROGRAM, images, is_root, on_path, skip, wait};

const PATIENCE: Duration = Duration::from_secs(60);

const WEB: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  serviceName: web
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      securityContext: {runAsUser: 1234}
      containers:
      - name: web
        image: IMAGE
        imagePullPolicy: Never
        volumeMounts: [{name: www, mountPath: /data}]
  volumeClaimTemplates:
  - metadata: {name: www}
    spec:
      accessModes: [ReadWriteOnce]
      resources: {requests: {storage: 1Gi}}
"#;

fn folders(cluster: &Cluster) -> Vec<PathBuf> {
    let found = fs::read_dir(cluster.data().join("volumes"))
        .into_iter()
        .flatten();
    found.map(|entry| entry.unwrap().path()).collect()
}

fn is_ready(cluster: &Cluster) {
    let ready = [
        "get",
        "sts",
        "web",
        "-o",
        "jsonpath={.status.readyReplicas} ready",
    ];
    cluster.until(PATIENCE, "2 ready", &ready);
}

/// The folder of the claim's volume.
fn folder(cluster: &Cluster, claim: &str) -> PathBuf {
    let name = cluster.skiff(&["get", "pvc", claim, "-o", "jsonpath={.spec.volumeName}"]);
    let path = cluster.skiff(&["get", "pv", &name, "-o", "jsonpath={.spec.hostPath.path}"]);
    assert!(
        Path::new(&path).starts_with(cluster.data().join("volumes")),
        "{path}"
    );
    path.into()
}

/// The claim and its volume go, and the data with them; that of others stays.
fn is_deleted_with_its_claim(cluster: &Cluster) {
    let (gone, stays) = (folder(cluster, "www-web-1"), folder(cluster, "www-web-0"));
    cluster.skiff(&["scale", "sts", "web", "--replicas=1"]);
    cluster.skiff(&["delete", "pvc", "www-web-1"]);
    wait(PATIENCE, "one volume is left", || {
        let left = cluster.skiff(&["get", "pv", "-o", "name"]);
        match left.lines().count() {
            1 => Ok(()),
            _ => Err(left),
        }
    });
    assert!(!gone.exists() && stays.is_dir());
    assert_eq!(folders(cluster), [stays]);
}

#[test]
fn of_simulated_nodes() {
    let mut cluster = Cluster::start(&["--simulate=2"]);
    let class = cluster.skiff(&["get", "storageclass", "--no-headers"]);
    assert!(
        class.starts_with("standard (default)   skiff.dev/local   Delete   WaitForFirstConsumer"),
        "{class}"
    );
    cluster.apply(&WEB.replace("IMAGE", "skiff.local/shop:v1"));
    is_ready(&cluster);
    let events = cluster.skiff(&["get", "events", "-o", "custom-columns=R:.reason,M:.message"]);
    for said in [
        "Provisioning ",
        "External provisioner is provisioning volume for claim \"default/www-web-0\"",
        "Successfully provisioned volume pvc-",
        "ExternalProvisioning",
    ] {
        assert!(events.contains(said), "{said}: {events}");
    }
    is_deleted_with_its_claim(&cluster);

    // what cannot be made is told of
    cluster.apply(
        "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: shared, annotations: {volume.kubernetes.io/selected-node: node-1}}, \
          spec: {accessModes: [ReadWriteMany], resources: {requests: {storage: 1Gi}}}}",
    );
    cluster.until(
        PATIENCE,
        "ProvisioningFailed",
        &["events", "--for=pvc/shared"],
    );

    // a class that somebody has instead stays the only one
    let other = "{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: kept}, provisioner: skiff.dev/local, reclaimPolicy: Retain, volumeBindingMode: Immediate}";
    cluster.apply(other);
    cluster.skiff(&["delete", "storageclass", "standard"]);
    cluster.interrupt();
    cluster.up(&["--simulate=2"]);
    let classes = cluster.skiff(&["get", "storageclass", "-o", "name"]);
    assert_eq!(classes.trim(), "storageclass.storage.k8s.io/kept");

    // one that is to be kept outlives its claim, and is made at once
    cluster.apply(
        "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: now}, \
          spec: {storageClassName: kept, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}",
    );
    let bound = ["get", "pvc", "now", "-o", "jsonpath={.status.phase}"];
    cluster.until(PATIENCE, "Bound", &bound);
    let kept = folder(&cluster, "now");
    cluster.skiff(&["delete", "pvc", "now"]);
    cluster.until(PATIENCE, "Released", &["get", "pv"]);
    assert!(kept.is_dir());
    cluster.end();
}

#[test]
fn outlive_their_pods_and_the_cluster() {
    if !is_root() || on_path("nft").is_none() {
        return skip("real nodes need root and nft");
    }
    let mut cluster = Cluster::start(&["--nodes=1"]);
    let archive = cluster.folder.join("busybox.tar");
    if images::busybox(&archive, "skiff.test/busybox:1").is_none() {
        return skip("busybox is not installed");
    }
    let data = cluster.data();
    let load = [
        "image",
        "load",
        archive.to_str().unwrap(),
        "--data-dir",
        data.to_str().unwrap(),
    ];
    cluster.run(PROGRAM, &load);
    cluster.apply(&WEB.replace("IMAGE", "skiff.test/busybox:1"));
    is_ready(&cluster);
    let write = ["exec", "web-0", "--", "sh", "-c", "echo kept > /data/file"];
    cluster.skiff(&write);
    let read = ["exec", "web-0", "--", "cat", "/data/file"];
    let uid = ["get", "pod", "web-0", "-o", "jsonpath={.metadata.uid}"];
    let before = cluster.skiff(&uid);
    cluster.skiff(&["delete", "pod", "web-0"]);
    is_ready(&cluster);
    assert_ne!(cluster.skiff(&uid), before);
    assert_eq!(cluster.skiff(&read).trim(), "kept");
    cluster.interrupt();
    cluster.up(&["--nodes=1"]);
    cluster.until(PATIENCE, "kept", &read);
    is_ready(&cluster);
    is_deleted_with_its_claim(&cluster);
    cluster.end();
}
