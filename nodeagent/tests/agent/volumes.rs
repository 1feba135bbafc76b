//! Volumes of pods: what they are made of, and what becomes of those that are not to be had.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn volumes_are_made_and_follow_their_sources() {
    if !support::may_mount() {
        return;
    }
    let node = Node::start();
    let path = "/api/v1/namespaces/default/configmaps/cm";
    let spec = json!({
        "serviceAccountName": "sa",
        "volumes": [
            {"name": "cm", "configMap": {"name": "cm"}}, {"name": "e", "emptyDir": {}},
            {"name": "secret", "secret": {"secretName": "s"}}, {"name": "api", "downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
            {"name": "all", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}, {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}}]}}],
        "containers": [{"name": "c", "image": "here:1", "volumeMounts": [{"name": "cm", "mountPath": "/cm"}, {"name": "e", "mountPath": "/e"}, {"name": "all", "mountPath": "/all"},
            {"name": "secret", "mountPath": "/secret"}, {"name": "api", "mountPath": "/api"}]}]});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "default"}, "data": {"k": "dg=="}});
    node.api.put("/api/v1/namespaces/default/secrets/s", secret);
    node.api.create_pod("node", "p", spec);
    node.event(
        "FailedMount: MountVolume.SetUp failed for volume \"cm\" : configmap \"cm\" not found",
    )
    .await;
    node.api.put(path, json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cm", "namespace": "default"}, "data": {"k": "old"}}));
    let pod = node.pod("p", "ready", ready).await;
    let mounts = node
        .runtime
        .specs
        .lock()
        .values()
        .next()
        .unwrap()
        .mounts
        .clone();
    let place = |target: &str| {
        mounts
            .iter()
            .find(|mount| mount.container_path.to_str() == Some(target))
            .unwrap()
            .host_path
            .clone()
    };
    assert_eq!(
        std::fs::read_to_string(place("/cm").join("k")).unwrap(),
        "old"
    );
    assert_eq!(
        std::fs::read_to_string(place("/all").join("token")).unwrap(),
        "the-token"
    );
    assert_eq!(
        std::fs::read_to_string(place("/all").join("name")).unwrap(),
        "p"
    );
    assert!(place("/e").is_dir());
    let is_memory = |target: &str| {
        nix::sys::statfs::statfs(&place(target))
            .unwrap()
            .filesystem_type()
            == nix::sys::statfs::TMPFS_MAGIC
    };
    if !nix::sys::statfs::statfs(node.dir.path())
        .is_ok_and(|found| found.filesystem_type() == nix::sys::statfs::TMPFS_MAGIC)
    {
        assert_eq!(
            ["/cm", "/all", "/e", "/secret", "/api"].map(is_memory),
            [false, true, false, true, true],
            "what is secret is not on the disk"
        );
    }
    let hosts = std::fs::read_to_string(place("/etc/hosts")).unwrap();
    assert!(
        hosts.ends_with(&format!(
            "{}\tp\n",
            pod["status"]["podIP"].as_str().unwrap()
        )),
        "{hosts}"
    );
    let mut changed = node.api.get(path).unwrap();
    changed["data"]["k"] = "new".into();
    node.api.put(path, changed);
    eventually("new content", || {
        (std::fs::read_to_string(place("/cm").join("k")).ok()? == "new").then_some(())
    })
    .await;
    node.api.delete_pod("p", 5);
    let dir = node
        .dir
        .path()
        .join("pods")
        .join(pod["metadata"]["uid"].as_str().unwrap());
    eventually("its folder is gone, with what was mounted in it", || {
        (!dir.exists()).then_some(())
    })
    .await;
    node.end().await;
}

/// Failed attempts become rarer, each volume's for itself; what a volume lacks ends its wait by appearing.
#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_is_not_to_be_had_is_tried_ever_more_seldom() {
    let node = Node::start();
    let spec = json!({
        "volumes": [
            {"name": "first", "configMap": {"name": "first"}}, {"name": "second", "configMap": {"name": "second"}},
            {"name": "file", "hostPath": {"path": node.dir.path().join("file"), "type": "File"}}],
        "containers": [{"name": "c", "image": "here:1"}]});
    let began = tokio::time::Instant::now();
    node.api.create_pod("node", "p", spec);
    let told = |volume: &str| -> u64 {
        let events = node.api.list("/api/v1/namespaces/default/events/");
        let of_volume = |event: &&Value| {
            let message = event["message"].as_str().unwrap();
            message.contains(&format!("for volume \"{volume}\""))
        };
        let counts = events.iter().filter(of_volume);
        counts.map(|event| event["count"].as_u64().unwrap()).sum()
    };
    for volume in ["first", "second", "file"] {
        eventually(&format!("failures of {volume}"), || {
            (told(volume) >= 4).then_some(())
        })
        .await;
    }
    // 0.5, 1 and 2 seconds; the next attempt is 4 seconds later.
    assert!(began.elapsed() >= Duration::from_millis(3500));
    std::fs::write(node.dir.path().join("file"), "").unwrap();
    let appeared = tokio::time::Instant::now();
    for name in ["first", "second"] {
        node.api.put(&format!("/api/v1/namespaces/default/configmaps/{name}"), json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": {}}));
    }
    let pod = node.api.pod("p").unwrap();
    let uid = pod["metadata"]["uid"].as_str().unwrap();
    let volumes = node.dir.path().join("pods").join(uid).join("volumes");
    eventually("the ConfigMaps are mounted", || {
        let made =
            ["first", "second"].map(|name| volumes.join("kubernetes.io~configmap").join(name));
        made.iter().all(|place| place.exists()).then_some(())
    })
    .await;
    assert!(appeared.elapsed() < Duration::from_secs(3));
    node.pod("p", "ready", ready).await;
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unsupported_volumes_are_refused_by_name() {
    let node = Node::start();
    let spec = json!({"volumes": [{"name": "v", "nfs": {"server": "s", "path": "/"}}], "containers": [{"name": "c", "image": "here:1"}]});
    node.api.create_pod("node", "p", spec);
    node.event("FailedMount: MountVolume.SetUp failed for volume \"v\" : volumes of kind nfs are not supported by this node").await;
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_volumes() {
    let node = Node::start();
    let spec = |reference: &str, mount: Value| {
        json!({"volumes": [{"name": "data", "image": {"reference": reference, "pullPolicy": "Always"}}],
            "containers": [{"name": "c", "image": "here:1", "volumeMounts": [mount]}, {"name": "without", "image": "here:1"}]})
    };
    node.api.create_pod(
        "node",
        "p",
        spec(
            "data:1",
            json!({"name": "data", "mountPath": "/data", "subPath": "dir"}),
        ),
    );
    let pod = node.pod("p", "ready", ready).await;
    node.event("Pulling: Pulling image \"data:1\"").await;
    let id = pod["status"]["containerStatuses"][0]["containerID"]
        .as_str()
        .unwrap()
        .trim_start_matches("skiff://")
        .to_owned();
    let mounts = node.runtime.specs.lock()[&id].mounts.clone();
    let mount = mounts
        .iter()
        .find(|mount| mount.container_path.to_str() == Some("/data"))
        .unwrap();
    let image = mount.image.as_ref().unwrap();
    assert_eq!(
        (
            mount.read_only,
            image.image_id.as_str(),
            image.sub_path.as_str()
        ),
        (true, "sha256:data:1", "dir")
    );

    node.api.create_pod(
        "node",
        "lost",
        spec("missing:1", json!({"name": "data", "mountPath": "/data"})),
    );
    let waits = |pod: &Value| {
        let (with, without) = (
            &pod["status"]["containerStatuses"][0]["state"]["waiting"],
            &pod["status"]["containerStatuses"][1]["state"],
        );
        with["reason"]
            .as_str()
            .is_some_and(|reason| ["ErrImagePull", "ImagePullBackOff"].contains(&reason))
            && !without["running"].is_null()
    };
    node.pod("lost", "waiting for its volume", waits).await;
    node.event("Failed: Failed to pull image \"missing:1\": no such manifest")
        .await;
    node.event("Failed: Error: ErrImagePull").await;

    node.api.create_pod(
        "node",
        "odd",
        spec(
            "data:1",
            json!({"name": "data", "mountPath": "/data", "subPath": "/abs"}),
        ),
    );
    node.event("Failed: Error: error SubPath `/abs` must not be an absolute path")
        .await;
    node.end().await;
}
