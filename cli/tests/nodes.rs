//! Three real nodes on one machine: traffic between them, a node that is cut off, and a control plane that is killed.

use std::{
    collections::BTreeSet,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{Cluster, PROGRAM, http_get, images, missing, on_path, skip, wait};

const MINUTE: Duration = Duration::from_secs(60);
const IMAGE: &str = "test.local/busybox:1";

fn load_busybox(cluster: &Cluster) {
    let archive = cluster.folder.join("busybox.tar");
    images::busybox(&archive, IMAGE).unwrap();
    let data = cluster.data();
    cluster.skiff(&[
        "image",
        "load",
        archive.to_str().unwrap(),
        "--data-dir",
        data.to_str().unwrap(),
    ]);
}

/// A Deployment of the shop's stock, a pod to a node, whose pods leave a lost node soon.
fn web(replicas: usize) -> String {
    let tolerations: Vec<Value> = ["not-ready", "unreachable"]
        .iter()
        .map(|name| json!({"key": format!("node.kubernetes.io/{name}"), "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}))
        .collect();
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"terminationGracePeriodSeconds": 1, "tolerations": tolerations, "containers": [
                {"name": "web", "image": "skiff.local/shop:v1", "args": ["stock"], "ports": [{"containerPort": 8080}], "resources": {"requests": {"cpu": "100m", "memory": "16Mi"}},
                 "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1}}]}}}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"type": "NodePort", "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}}]})
    .to_string()
}

fn items(cluster: &Cluster, args: &[&str]) -> Vec<Value> {
    let list: Value =
        serde_json::from_str(&cluster.skiff(&[&["get", "-o", "json"], args].concat())).unwrap();
    list["items"].as_array().cloned().unwrap_or_default()
}

/// name → node of the pods that are ready and stay.
fn ready_pods(cluster: &Cluster) -> Vec<(String, String)> {
    let ready = |pod: &Value| {
        pod["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|c| c["type"] == "Ready" && c["status"] == "True")
    };
    let pods = items(cluster, &["pods", "-l", "app=web"]);
    let stays = pods
        .iter()
        .filter(|pod| ready(pod) && pod["metadata"]["deletionTimestamp"].is_null());
    stays
        .map(|pod| {
            (
                pod["metadata"]["name"].as_str().unwrap().into(),
                pod["spec"]["nodeName"].as_str().unwrap().into(),
            )
        })
        .collect()
}

/// Each pod reaches every other pod, the service by its name, and the node port of each node.
fn everything_reaches_everything(cluster: &Cluster) {
    let mut pods = String::new();
    for number in 1..=3 {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("probe-{number}"), "labels": {"app": "probe"}},
            "spec": {"nodeName": format!("node-{number}"), "terminationGracePeriodSeconds": 1, "containers": [{"name": "main", "image": IMAGE}]}});
        pods += &format!("---\n{pod}\n");
    }
    cluster.apply(&pods);
    cluster.skiff(&[
        "wait",
        "--for=condition=Ready",
        "pod",
        "-l",
        "app=probe",
        "--timeout=60s",
    ]);
    let addresses: Vec<String> = items(cluster, &["pods", "-l", "app=web"])
        .iter()
        .map(|pod| pod["status"]["podIP"].as_str().unwrap().to_string())
        .collect();
    let port = cluster.skiff(&[
        "get",
        "service",
        "web",
        "-o",
        "jsonpath={.spec.ports[0].nodePort}",
    ]);
    let node_ips: Vec<String> = items(cluster, &["nodes"])
        .iter()
        .map(|node| {
            node["status"]["addresses"][0]["address"]
                .as_str()
                .unwrap()
                .to_string()
        })
        .collect();
    for number in 1..=3 {
        let pod = format!("probe-{number}");
        let urls = addresses
            .iter()
            .map(|ip| format!("http://{ip}:8080/"))
            .chain([
                "http://web/".into(),
                "http://web.default.svc.cluster.local/".into(),
            ]);
        for url in urls.chain(node_ips.iter().map(|ip| format!("http://{ip}:{port}/"))) {
            let said = cluster.skiff(&["exec", &pod, "--", "curl", "-s", "-S", "-m", "5", &url]);
            assert!(said.contains("left"), "{pod} asked {url}: {said}");
        }
    }
    for ip in &node_ips {
        assert!(
            http_get(&format!("{ip}:{port}"), "/")
                .unwrap()
                .contains("left")
        );
    }
    cluster.skiff(&["delete", "pod", "-l", "app=probe"]);
}

fn link(name: &str, state: &str) {
    assert!(
        Command::new(on_path("ip").unwrap())
            .args(["link", "set", name, state])
            .status()
            .unwrap()
            .success()
    );
}

/// The host's end of a node's cable: of the interfaces that begin with `skiff`, the one whose address is the node's neighbour.
fn cable_of(cluster: &Cluster, node: &str) -> String {
    let ip = cluster.skiff(&[
        "get",
        "node",
        node,
        "-o",
        "jsonpath={.status.addresses[0].address}",
    ]);
    let _ = http_get(&format!("{ip}:10250"), "/");
    let neighbours = Command::new(on_path("ip").unwrap())
        .args(["neigh", "show", &ip])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&neighbours.stdout).into_owned();
    let mac = text
        .split("lladdr ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .unwrap_or_else(|| panic!("no neighbour {ip}: {text}"))
        .to_string();
    let table = Command::new(on_path("bridge").unwrap())
        .args(["fdb", "show"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&table.stdout).into_owned();
    let line = text
        .lines()
        .find(|line| line.starts_with(&mac) && line.contains("master"))
        .unwrap_or_else(|| panic!("no port for {mac}: {text}"));
    line.split("dev ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .unwrap()
        .to_string()
}

#[test]
fn a_node_that_is_cut_off_loses_its_pods() {
    if let Some(why) = missing(&["busybox", "curl", "ip", "bridge"]) {
        return skip(&why);
    }
    let cluster = Cluster::start(&[
        "--nodes=3",
        "--node-monitor-period=500ms",
        "--node-monitor-grace-period=12s",
    ]);
    load_busybox(&cluster);
    cluster.apply(&web(3));
    wait(MINUTE, "three pods on three nodes", || {
        let pods = ready_pods(&cluster);
        let nodes: BTreeSet<&String> = pods.iter().map(|(_, node)| node).collect();
        if pods.len() == 3 && nodes.len() == 3 {
            Ok(())
        } else {
            Err(format!("{pods:?}"))
        }
    });
    everything_reaches_everything(&cluster);

    let cable = cable_of(&cluster, "node-2");
    link(&cable, "down");
    let begun = Instant::now();
    cluster.until(MINUTE, "NotReady", &["get", "node", "node-2"]);
    let lost = begun.elapsed();
    wait(MINUTE, "the pod of node-2 elsewhere", || {
        let pods = ready_pods(&cluster);
        if pods.len() == 3 && pods.iter().all(|(_, node)| node != "node-2") {
            Ok(())
        } else {
            Err(format!("{pods:?}"))
        }
    });
    println!(
        "NotReady after {lost:?}, its pod elsewhere after {:?}",
        begun.elapsed()
    );
    link(&cable, "up");
    wait(MINUTE, "node-2 back", || {
        let nodes = cluster.skiff(&["get", "nodes"]);
        if nodes.matches(" Ready ").count() == 3 {
            Ok(())
        } else {
            Err(nodes)
        }
    });
    wait(MINUTE, "the old pod's end", || {
        match items(&cluster, &["pods", "-l", "app=web"]).len() {
            3 => Ok(()),
            more => Err(format!("{more} pods")),
        }
    });
    cluster.end();
}

/// pid and start time of the processes of a cluster's containers.
fn containers(cluster: &Cluster) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let command = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        let groups = std::fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
        if command.starts_with("/shop\0") && groups.contains(&cluster.marks.instance) {
            let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let started = stat
                .rsplit(')')
                .next()
                .and_then(|rest| rest.split_whitespace().nth(19))
                .unwrap_or("")
                .to_string();
            found.insert((entry.file_name().to_string_lossy().into_owned(), started));
        }
    }
    found
}

#[test]
fn killed_while_64_clients_write() {
    if let Some(why) = missing(&[]) {
        return skip(&why);
    }
    let mut cluster = Cluster::start(&[]);
    cluster.apply(&web(2));
    cluster.skiff(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    let before = containers(&cluster);
    assert_eq!(before.len(), 2);
    let pod = ready_pods(&cluster)[0].0.clone();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let acknowledged = runtime.block_on(write_until_it_dies(&mut cluster));
    assert!(
        acknowledged.len() > 64,
        "only {} writes were acknowledged before the kill",
        acknowledged.len()
    );
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(
        containers(&cluster),
        before,
        "containers do not need the agent"
    );
    cluster.up(&[]);
    let stored: BTreeSet<String> = items(&cluster, &["configmaps"])
        .iter()
        .map(|map| map["metadata"]["name"].as_str().unwrap().to_string())
        .collect();
    let lost: Vec<&String> = acknowledged
        .iter()
        .filter(|name| !stored.contains(*name))
        .collect();
    assert!(
        lost.is_empty(),
        "{} of {} acknowledged writes are lost: {:?}",
        lost.len(),
        acknowledged.len(),
        &lost[..lost.len().min(5)]
    );
    println!(
        "{} writes were acknowledged before the kill, and all are there",
        acknowledged.len()
    );
    assert_eq!(
        containers(&cluster),
        before,
        "running containers were not touched"
    );
    wait(MINUTE, "the pods as they were", || {
        let pods = items(&cluster, &["pods", "-l", "app=web"]);
        let untouched = pods.len() == 2
            && pods
                .iter()
                .all(|pod| pod["status"]["containerStatuses"][0]["restartCount"] == 0);
        if untouched && ready_pods(&cluster).len() == 2 {
            Ok(())
        } else {
            Err(format!("{pods:?}"))
        }
    });
    assert!(cluster.skiff(&["logs", &pod]).contains("listens on port"));
    let exit = cluster.output(PROGRAM, &["exec", &pod, "--", "/shop"]);
    assert_eq!(
        exit.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&exit.stderr)
    );
    cluster.interrupt();
    // the state stayed: the next start brings the pods back
    cluster.up(&[]);
    wait(MINUTE, "the pods back", || {
        match ready_pods(&cluster).len() {
            2 => Ok(()),
            other => Err(format!("{other} pods are ready")),
        }
    });
    cluster.end();
}

/// 64 clients create objects; the server is killed in their midst. The names of what was acknowledged.
async fn write_until_it_dies(cluster: &mut Cluster) -> Vec<String> {
    use k8s_openapi::api::core::v1::ConfigMap;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = kube::config::Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default())
        .await
        .unwrap();
    let client = kube::Client::try_from(config).unwrap();
    let mut writers = tokio::task::JoinSet::new();
    let written = Arc::new(AtomicUsize::new(0));
    for writer in 0..64 {
        let maps: kube::Api<ConfigMap> = kube::Api::default_namespaced(client.clone());
        let written = written.clone();
        writers.spawn(async move {
            let mut acknowledged = Vec::new();
            for number in 0.. {
                let name = format!("w{writer}-{number}");
                let map: ConfigMap = serde_json::from_value(
                    json!({"metadata": {"name": name}, "data": {"x": "y".repeat(500)}}),
                )
                .unwrap();
                match maps.create(&Default::default(), &map).await {
                    Ok(_) => {
                        acknowledged.push(name);
                        written.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(_) => break,
                }
            }
            acknowledged
        });
    }
    let begun = Instant::now();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    // a busy machine takes longer
    while written.load(Ordering::Relaxed) <= 2 * 64 && begun.elapsed() < MINUTE {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    cluster.kill();
    let mut all = Vec::new();
    while let Some(done) = writers.join_next().await {
        all.extend(done.unwrap());
    }
    all
}
