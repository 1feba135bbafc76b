//! Client libraries from outside against a running cluster: `kube` for Rust, `kubernetes` for Python, `@kubernetes/client-node` for JavaScript.

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api, Client, Config,
    api::{
        AttachParams, DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent,
        WatchParams,
    },
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;
use tokio::io::AsyncReadExt;

use crate::support::{Cluster, PROGRAM, images, missing, on_path, skip};

const IMAGE: &str = "test.local/busybox:1";

/// A cluster of one real node that has busybox.
fn cluster() -> Cluster {
    let cluster = Cluster::start(&[]);
    let archive = cluster.folder.join("busybox.tar");
    images::busybox(&archive, IMAGE).unwrap();
    let data = cluster.data();
    let loaded = cluster.skiff(&[
        "image",
        "load",
        archive.to_str().unwrap(),
        "--data-dir",
        data.to_str().unwrap(),
    ]);
    assert!(loaded.contains("busybox"), "{loaded}");
    cluster
}

async fn rust_client(cluster: &Cluster) -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
    Client::try_from(
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .unwrap(),
    )
    .unwrap()
}

async fn with_kube(cluster: &Cluster) {
    let client = rust_client(cluster).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let map: ConfigMap = serde_json::from_value(
        json!({"metadata": {"name": "rust", "labels": {"by": "kube"}}, "data": {"a": "1"}}),
    )
    .unwrap();
    let created = maps.create(&PostParams::default(), &map).await.unwrap();
    let version = created.metadata.resource_version.clone().unwrap();
    let mut events = maps
        .watch(
            &WatchParams::default().labels("by=kube").timeout(20),
            &version,
        )
        .await
        .unwrap()
        .boxed();
    let patch = Patch::Merge(json!({"data": {"a": "2"}}));
    let patched = maps
        .patch("rust", &PatchParams::default(), &patch)
        .await
        .unwrap();
    assert_eq!(patched.data.unwrap()["a"], "2");
    let applied = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "rust"}, "data": {"b": "3"}});
    let applied = maps
        .patch(
            "rust",
            &PatchParams::apply("rust-test"),
            &Patch::Apply(applied),
        )
        .await
        .unwrap();
    assert_eq!(
        applied.data.unwrap(),
        BTreeMap::from([("a".to_string(), "2".to_string()), ("b".into(), "3".into())])
    );
    assert_eq!(
        maps.list(&ListParams::default().labels("by=kube"))
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    maps.delete("rust", &DeleteParams::default()).await.unwrap();
    let mut seen = Vec::new();
    while seen.last() != Some(&"deleted") {
        match tokio::time::timeout(Duration::from_secs(10), events.try_next())
            .await
            .expect("an event in time")
            .unwrap()
            .expect("the watch goes on")
        {
            WatchEvent::Modified(_) => seen.push("modified"),
            WatchEvent::Deleted(_) => seen.push("deleted"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, ["modified", "modified", "deleted"]);
    assert!(maps.get_opt("rust").await.unwrap().is_none());

    let pods: Api<Pod> = Api::default_namespaced(client);
    let mut process = pods
        .exec(
            "busybox",
            [
                "sh",
                "-c",
                "read line; echo got $line; echo oops >&2; exit 3",
            ],
            &AttachParams::default().stdin(true),
        )
        .await
        .unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut process.stdin().unwrap(), b"words\n")
        .await
        .unwrap();
    let (mut out, mut errors) = (String::new(), String::new());
    process
        .stdout()
        .unwrap()
        .read_to_string(&mut out)
        .await
        .unwrap();
    process
        .stderr()
        .unwrap()
        .read_to_string(&mut errors)
        .await
        .unwrap();
    let status = process.take_status().unwrap().await.unwrap();
    assert_eq!(
        (out.as_str(), errors.as_str(), status.reason.as_deref()),
        ("got words\n", "oops\n", Some("NonZeroExitCode"))
    );
}

#[test]
fn libraries_find_what_they_expect() {
    if let Some(why) = missing(&["busybox"]) {
        return skip(&why);
    }
    let cluster = cluster();
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "busybox"},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "main", "image": IMAGE}]}});
    cluster.apply(&pod.to_string());
    cluster.skiff(&[
        "wait",
        "--for=condition=Ready",
        "pod/busybox",
        "--timeout=60s",
    ]);
    tokio::runtime::Runtime::new()
        .unwrap()
        .block_on(with_kube(&cluster));
    in_cluster(&cluster);
    short_lives(&cluster);
    hope_ends(&cluster);
    by_script(
        &cluster,
        ("python3", &["-c", "import kubernetes"]),
        "python_client.py",
        "python3 has no module kubernetes (pip install kubernetes)",
    );
    by_script(
        &cluster,
        (
            "node",
            &["-e", "require.resolve('@kubernetes/client-node')"],
        ),
        "javascript_client.mjs",
        "node finds no @kubernetes/client-node (npm install, and its node_modules in NODE_PATH)",
    );
    cluster.end();
}

/// Runs a script of the folder `clients` by a program, which has its library where this check of it succeeds.
fn by_script(cluster: &Cluster, (program, check): (&str, &[&str]), script: &str, absent: &str) {
    let program = on_path(program).filter(|program| {
        let found = std::process::Command::new(program).args(check).output();
        found.is_ok_and(|output| output.status.success())
    });
    let Some(program) = program else {
        return skip(absent);
    };
    let script = format!("{}/tests/clients/{script}", env!("CARGO_MANIFEST_DIR"));
    let said = cluster.run(program, &[&script]);
    assert!(said.contains("all as expected"), "{said}");
}

/// What a pod says is shown once, however soon it has ended.
fn short_lives(cluster: &Cluster) {
    for round in 0..8 {
        let name = format!("brief-{round}");
        let image = format!("--image={IMAGE}");
        let said = cluster.skiff(&[
            "run",
            &name,
            &image,
            "-i",
            "--rm",
            "--quiet",
            "--restart=Never",
            "--",
            "echo",
            "said",
        ]);
        let times = said.lines().filter(|line| *line == "said").count();
        assert_eq!(times, 1, "round {round}: {said:?}");
    }
}

/// Whoever waits for what cannot be any more is told so at once, with what the container wrote last.
fn hope_ends(cluster: &Cluster) {
    let image = format!("--image={IMAGE}");
    let script = "echo all is lost; exit 3";
    cluster.skiff(&[
        "run",
        "lost",
        &image,
        "--restart=Never",
        "--",
        "sh",
        "-c",
        script,
    ]);
    let well = "--for=jsonpath={.status.phase}=Succeeded";
    let args = ["wait", "pod/lost", well, "--timeout=60s"];
    let waited = cluster.output(PROGRAM, &args);
    let told = String::from_utf8_lossy(&waited.stderr).into_owned();
    assert!(!waited.status.success(), "{told}");
    assert!(
        told.contains("pods/lost will not be: ") && told.contains("| all is lost"),
        "{told}"
    );
    let why = cluster.skiff(&["why", "pod/lost"]);
    assert!(
        why.contains("container lost ended with 3") && why.contains("| all is lost"),
        "{why}"
    );
}

/// A pod has its account's token, which the API believes, and finds the API by name.
fn in_cluster(cluster: &Cluster) {
    let exec = |command: &str| cluster.skiff(&["exec", "busybox", "--", "sh", "-c", command]);
    let folder = "/var/run/secrets/kubernetes.io/serviceaccount";
    assert_eq!(exec(&format!("cat {folder}/namespace")), "default");
    assert!(exec(&format!("cat {folder}/ca.crt")).contains("BEGIN CERTIFICATE"));
    let token = exec(&format!("cat {folder}/token"));
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token.trim()}});
    std::fs::write(cluster.folder.join("review.json"), review.to_string()).unwrap();
    let path = cluster.folder.join("review.json");
    let who = cluster.skiff(&["create", "-f", path.to_str().unwrap(), "-o", "yaml"]);
    assert!(
        who.contains("authenticated: true")
            && who.contains("system:serviceaccount:default:default")
            && who.contains("pod-name"),
        "{who}"
    );
    assert!(exec("nslookup kubernetes.default.svc.cluster.local").contains("10.96.0.1"));
}
