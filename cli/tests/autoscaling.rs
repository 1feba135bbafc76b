//! Autoscaling as it comes: what pods use is measured, shown, and scaled by; on real containers and on simulated ones.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Cluster, images, missing, on_path, skip, wait};

const MINUTE: Duration = Duration::from_secs(60);
/// What a pod uses is known so soon after its start.
const MEASURED: Duration = Duration::from_secs(15);
/// So soon after its load an autoscaler has acted.
const SCALED: Duration = Duration::from_secs(30);
const IMAGE: &str = "test.local/busybox:1";

fn get(cluster: &Cluster, what: &str) -> Value {
    serde_json::from_str(&cluster.skiff(&["get", what, "-o", "json"])).unwrap()
}

fn replicas(cluster: &Cluster) -> i64 {
    get(cluster, "deployment/web")["spec"]["replicas"]
        .as_i64()
        .unwrap()
}

fn autoscaler(most: i64) -> Value {
    let metric = json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}});
    json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"}, "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "minReplicas": 1, "maxReplicas": most,
        "metrics": [metric], "behavior": {"scaleDown": {"stabilizationWindowSeconds": 5}}}})
}

fn deployment(container: Value, annotations: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
        "replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}, "annotations": annotations},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}}}})
}

fn apply(cluster: &Cluster, objects: &[Value]) {
    let file = cluster.folder.join("objects.json");
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    std::fs::write(&file, list.to_string()).unwrap();
    cluster.skiff(&["apply", "-f", file.to_str().unwrap()]);
}

/// The programs that `top` is asked of: ours, and the real one where there is one.
fn tops(cluster: &Cluster, args: &[&str]) -> Vec<std::process::Output> {
    let mut all = vec![cluster.output(crate::support::PROGRAM, args)];
    all.extend(on_path("kubectl").map(|kubectl| cluster.output(kubectl, args)));
    all
}

/// What `top pod` says of the only pod, as soon as it says something.
fn until_measured(cluster: &Cluster) {
    wait(MINUTE, "a running pod", || {
        let pods = get(cluster, "pods");
        let phase = &pods["items"][0]["status"]["phase"];
        (phase == "Running").then_some(()).ok_or(format!("{phase}"))
    });
    wait(MEASURED, "what it uses", || {
        for said in tops(cluster, &["top", "pod", "--containers", "--no-headers"]) {
            let line = String::from_utf8_lossy(&said.stdout).into_owned();
            let words: Vec<&str> = line.split_whitespace().collect();
            let whole = matches!(words.as_slice(), [pod, "main", cpu, memory]
                if pod.starts_with("web-") && cpu.ends_with('m') && memory.ends_with("Mi"));
            if !whole {
                let errors = String::from_utf8_lossy(&said.stderr).into_owned();
                return Err(format!("{line:?} {errors:?}"));
            }
        }
        Ok(())
    });
}

#[test]
fn real_containers_that_burn() {
    if let Some(why) = missing(&["busybox"]) {
        return skip(&why);
    }
    let cluster = Cluster::start(&[]);
    let archive = cluster.folder.join("busybox.tar");
    images::busybox(&archive, IMAGE).unwrap();
    let (archive, data) = (
        archive.display().to_string(),
        cluster.data().display().to_string(),
    );
    cluster.skiff(&["image", "load", &archive, "--data-dir", &data]);
    // burns as long as there is a file that says so
    let script = "while true; do if [ -f /tmp/burn ]; then :; else sleep 0.2; fi; done";
    let container = json!({"name": "main", "image": IMAGE, "command": ["sh", "-c", script],
        "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}}});
    apply(&cluster, &[deployment(container, json!({})), autoscaler(2)]);
    until_measured(&cluster);
    wait(MINUTE, "an autoscaler that sees it", || {
        let status = get(&cluster, "hpa/web")["status"].clone();
        let current = &status["currentMetrics"][0]["resource"]["current"]["averageUtilization"];
        current.is_i64().then_some(()).ok_or(status.to_string())
    });
    assert_eq!(replicas(&cluster), 1);
    let pods = get(&cluster, "pods");
    let pod = pods["items"][0]["metadata"]["name"].as_str().unwrap();
    let say = |what: &str| cluster.skiff(&["exec", pod, "--", "sh", "-c", what]);
    say("touch /tmp/burn");
    let begun = Instant::now();
    wait(SCALED, "a second replica", || match replicas(&cluster) {
        2 => Ok(()),
        other => Err(format!("{other}: {}", get(&cluster, "hpa/web")["status"])),
    });
    eprintln!("scaled up {:?} after the load", begun.elapsed());
    let hot = cluster.skiff(&["top", "pod", pod, "--no-headers"]);
    let cpu: i64 = hot
        .split_whitespace()
        .nth(1)
        .unwrap()
        .trim_end_matches('m')
        .parse()
        .unwrap();
    assert!(
        (55..=260).contains(&cpu),
        "limited to 200m, asked to burn: {hot}"
    );
    say("rm /tmp/burn");
    wait(2 * MINUTE, "one replica again", || {
        match replicas(&cluster) {
            1 => Ok(()),
            other => Err(format!("{other}: {}", get(&cluster, "hpa/web")["status"])),
        }
    });
    let told = cluster.skiff(&["get", "events", "-o", "jsonpath={.items[*].message}"]);
    for wanted in [
        "New size: 2; reason: cpu resource utilization (percentage of request) above target",
        "New size: 1; reason: All metrics below target",
    ] {
        assert!(told.contains(wanted), "{told}");
    }
    let nodes = cluster.skiff(&["top", "node", "--no-headers"]);
    assert_eq!(nodes.split_whitespace().count(), 5, "{nodes}");
    cluster.end();
}

/// Those use what annotations say, which may change while they run.
#[test]
fn simulated_containers_as_annotated() {
    let cluster = Cluster::start(&["--simulate=2"]);
    let container =
        json!({"name": "main", "image": "any", "resources": {"requests": {"cpu": "100m"}}});
    let load = json!({"skiff.dev/cpu-usage": "40m", "skiff.dev/memory-usage": "30Mi"});
    apply(&cluster, &[deployment(container, load), autoscaler(4)]);
    until_measured(&cluster);
    for said in tops(&cluster, &["top", "pod", "--no-headers", "-A", "--sum"]) {
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let words: Vec<&str> = said.split_whitespace().collect();
        assert!(
            matches!(
                words.as_slice(),
                ["default", _, _, "30Mi", "________", "________", _, "30Mi"]
            ),
            "{said}"
        );
    }
    // two ask alike, and each in the other's form
    let both = ["top", "node", "--sort-by=memory"];
    let tables: Vec<String> = tops(&cluster, &both)
        .iter()
        .map(|said| {
            String::from_utf8_lossy(&said.stdout)
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned()
        })
        .collect();
    assert!(
        tables.windows(2).all(|pair| pair[0] == pair[1]),
        "{tables:?}"
    );
    assert_eq!(replicas(&cluster), 1);
    cluster.skiff(&[
        "annotate",
        "pod",
        "-l",
        "app=web",
        "--overwrite",
        "skiff.dev/cpu-usage=200m",
    ]);
    wait(MINUTE, "more replicas", || match replicas(&cluster) {
        1 => Err(get(&cluster, "hpa/web")["status"].to_string()),
        _ => Ok(()),
    });
    let shown = cluster.skiff(&["get", "podmetrics"]);
    assert_eq!(
        shown.split_whitespace().take(4).collect::<Vec<_>>(),
        ["NAME", "CPU", "MEMORY", "WINDOW"]
    );
    cluster.end();
}
