//! Network policies as whoever writes them sees them: real pods on two nodes, by labels, through a service, and out to names.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Cluster, images, missing, skip, wait};

const IMAGE: &str = "test.local/busybox:1";
const PATIENCE: Duration = Duration::from_secs(60);

fn pod(name: &str, node: usize, namespace: &str, app: &str) -> Value {
    let serves = json!({"name": "main", "image": "skiff.local/shop:v1", "args": ["stock"], "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1}});
    let asks = json!({"name": "main", "image": IMAGE});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": {"app": app}},
        "spec": {"nodeName": format!("node-{node}"), "terminationGracePeriodSeconds": 1, "containers": [if app == "web" { serves } else { asks }]}})
}

fn policy(name: &str, spec: Value) -> String {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name, "namespace": "shop"}, "spec": spec}).to_string()
}

struct Shop {
    cluster: Cluster,
}

impl Shop {
    fn start() -> Self {
        let cluster = Cluster::start(&["--nodes=2"]);
        let archive = cluster.folder.join("busybox.tar");
        images::busybox(&archive, IMAGE).unwrap();
        let data = cluster.data();
        let (archive, data) = (archive.to_str().unwrap(), data.to_str().unwrap());
        cluster.skiff(&["image", "load", archive, "--data-dir", data]);
        let namespace = |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}});
        let items = [
            namespace("shop"),
            namespace("other"),
            pod("web-1", 1, "shop", "web"),
            pod("web-2", 2, "shop", "web"),
            pod("friend", 2, "shop", "friend"),
            pod("stranger", 1, "shop", "stranger"),
            pod("guest", 1, "other", "friend"),
            service,
        ];
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        cluster.apply(&list.to_string());
        for namespace in ["shop", "other"] {
            cluster.skiff(&[
                "wait",
                "-n",
                namespace,
                "--for=condition=Ready",
                "pod",
                "--all",
                "--timeout=60s",
            ]);
        }
        Shop { cluster }
    }

    fn address(&self, pod: &str) -> String {
        let path = "jsonpath={.status.podIP}";
        self.cluster
            .skiff(&["get", "pod", pod, "-n", "shop", "-o", path])
    }

    /// What a pod is told by a URL; nothing when it is not answered.
    fn asks(&self, client: &str, url: &str) -> Option<String> {
        let namespace = if client == "guest" { "other" } else { "shop" };
        let args = [
            "exec", "-n", namespace, client, "--", "curl", "-s", "-S", "-m", "0.7", url,
        ];
        let output = self.cluster.output(crate::support::PROGRAM, &args);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        output
            .status
            .success()
            .then_some(text)
            .filter(|text| text.contains("left"))
    }

    /// Waits until exactly these ways are open: (client, URL).
    fn holds(&self, what: &str, urls: &[String], open: &[(&str, &str)]) {
        let begun = Instant::now();
        wait(PATIENCE, what, || {
            for client in ["friend", "stranger", "guest"] {
                for url in urls {
                    let wanted = open
                        .iter()
                        .any(|(c, part)| *c == client && url.contains(part));
                    if self.asks(client, url).is_some() != wanted {
                        return Err(format!(
                            "{client} to {url} should be {}",
                            if wanted { "open" } else { "closed" }
                        ));
                    }
                }
            }
            Ok(())
        });
        println!("{what}: seen after {:?}", begun.elapsed());
    }
}

#[test]
fn walls_between_pods() {
    if let Some(why) = missing(&["busybox", "curl", "nft"]) {
        return skip(&why);
    }
    let shop = Shop::start();
    let urls = [
        format!("http://{}:8080/", shop.address("web-1")),
        format!("http://{}:8080/", shop.address("web-2")),
        "http://web.shop.svc.cluster.local/".to_owned(),
    ];
    let all = ["friend", "stranger", "guest"].map(|client| (client, "http"));
    shop.holds("no policies", &urls, &all);

    shop.cluster
        .apply(&policy("deny", json!({"podSelector": {}})));
    shop.holds("default deny", &urls, &[]);
    shop.cluster.apply(&policy("friends", json!({"podSelector": {"matchLabels": {"app": "web"}},
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "friend"}}}], "ports": [{"port": "http"}]}]})));
    shop.holds(
        "friends of the own namespace, on each node and through the service",
        &urls,
        &[("friend", "http")],
    );
    // Probes come from the nodes.
    for pod in ["web-1", "web-2"] {
        let ready = "jsonpath={.status.conditions[?(@.type=='Ready')].status} {.status.containerStatuses[0].restartCount}";
        assert_eq!(
            shop.cluster
                .skiff(&["get", "pod", pod, "-n", "shop", "-o", ready]),
            "True 0",
            "{pod}"
        );
    }
    shop.cluster.skiff(&[
        "label",
        "pod",
        "-n",
        "shop",
        "stranger",
        "app=friend",
        "--overwrite",
    ]);
    shop.holds(
        "a new friend",
        &urls,
        &[("friend", "http"), ("stranger", "http")],
    );
    shop.cluster.skiff(&[
        "label",
        "pod",
        "-n",
        "shop",
        "stranger",
        "app=stranger",
        "--overwrite",
    ]);

    // What goes out is held back, too, names and all.
    shop.cluster.apply(&policy(
        "stay",
        json!({"podSelector": {"matchLabels": {"app": "friend"}}, "policyTypes": ["Egress"],
        "egress": [{"to": [{"podSelector": {"matchLabels": {"app": "web"}}}]}]}),
    ));
    shop.holds(
        "out to pods, but not to cluster DNS",
        &urls,
        &[("friend", ":8080")],
    );
    let dns = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}});
    shop.cluster.apply(&policy("names", json!({"podSelector": {}, "policyTypes": ["Egress"],
        "egress": [{"to": [dns], "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}]})));
    shop.holds("out to cluster DNS as well", &urls, &[("friend", "http")]);

    shop.cluster
        .skiff(&["delete", "networkpolicy", "-n", "shop", "--all"]);
    shop.holds("no policies any more", &urls, &all);
    shop.cluster.end();
}
