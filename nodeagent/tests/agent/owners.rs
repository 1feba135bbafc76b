//! Whom volumes belong to, and who may do what with them.

use std::os::unix::fs::MetadataExt;

use serde_json::{Value, json};

use super::{Node, ready, support};

#[tokio::test(flavor = "multi_thread")]
async fn volumes_are_their_pods_users_and_groups() {
    if !support::may_mount() {
        return;
    }
    let node = Node::start();
    let cases: [(&str, Value, (u32, u32, u32)); 4] = [
        ("user", json!({"runAsUser": 1000}), (0o600, 1000, 0)),
        ("group", json!({"fsGroup": 10000}), (0o640, 0, 10000)),
        (
            "both",
            json!({"runAsUser": 1000, "fsGroup": 10000}),
            (0o640, 1000, 10000),
        ),
        ("neither", json!({}), (0o644, 0, 0)),
    ];
    for (name, context, wanted) in cases {
        let spec = json!({
            "serviceAccountName": "sa",
            "securityContext": context,
            "volumes": [{"name": "memory", "emptyDir": {"medium": "Memory"}}, {"name": "v", "projected": {"sources": [
                {"serviceAccountToken": {"path": "token"}},
                {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}}]}}],
            "containers": [{"name": "c", "image": "here:1", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]});
        node.api.create_pod("node", name, spec);
        let pod = node.pod(name, "ready", ready).await;
        let dir = node.dir.path().join("pods");
        let dir = dir.join(pod["metadata"]["uid"].as_str().unwrap());
        let volume = dir.join("volumes/kubernetes.io~projected/v");
        let file = |path: &str| std::fs::metadata(volume.join(path)).unwrap();
        let token = file("token");
        let found = (token.mode() & 0o7777, token.uid(), token.gid());
        assert_eq!(found, wanted, "{name}");
        // Memory is open to all, who cannot remove each other's files in it.
        let group = wanted.2;
        let open = if group == 0 { 0o1777 } else { 0o3777 };
        let memory = std::fs::metadata(dir.join("volumes/kubernetes.io~empty-dir/memory"));
        for folder in [file("."), memory.unwrap()] {
            let found = (folder.mode() & 0o7777, folder.gid());
            assert_eq!(found, (open, group), "{name}");
        }
        assert_eq!(file("name").uid(), 0, "{name}: what is no secret");
        assert_eq!(file("name").mode() & 0o004, 0o004, "{name}");
    }
    node.end().await;
}
