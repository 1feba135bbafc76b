//! What a cluster cannot be without comes back while the server runs, and what nobody touched is not written.

use serde_json::{Value, json};

use crate::{hands::Hands, server::Server};

const SERVICE: &str = "/api/v1/namespaces/default/services/kubernetes";
const ENDPOINTS: &str = "/api/v1/namespaces/default/endpoints/kubernetes";
const SLICE: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes";
const TRUST: &str = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
const LEASES: &str = "/api/v1/namespaces/kube-node-lease";

async fn start() -> (Hands, Server) {
    let hands = Hands::new();
    let clock = hands.clock();
    let server = Server::with(|config| config.clock = clock).await;
    (hands, server)
}

/// Lets time go on, ten seconds at a time, until an object is there as wanted; how long that took.
async fn passes(
    hands: &Hands,
    server: &Server,
    path: &str,
    wanted: impl Fn(&Value) -> bool,
) -> u64 {
    let passed = std::cell::Cell::new(0);
    server
        .until(path, |answer| {
            let there = answer.code == 200 && wanted(&answer.json());
            if !there {
                hands.advance(10);
                passed.set(passed.get() + 10);
            }
            there
        })
        .await;
    passed.get()
}

/// Everything of an object but what each one has of its own.
fn said(object: &Value) -> Value {
    let mut object = object.clone();
    object["metadata"] = json!({"labels": object["metadata"]["labels"]});
    object
}

#[tokio::test]
async fn the_service_kubernetes_and_where_it_leads() {
    let (hands, server) = start().await;
    for path in [SERVICE, ENDPOINTS, SLICE] {
        let before = server.get(path).await.is(200).json();
        // a look that is under way may bring it back at once
        loop {
            server.delete(path).await.is(200);
            if server.get(path).await.code == 404 {
                break;
            }
        }
        passes(&hands, &server, path, |_| true).await;
        let after = server.get(path).await.is(200).json();
        assert_eq!(said(&after), said(&before), "{path}");
        assert_ne!(after["metadata"]["uid"], before["metadata"]["uid"]);
    }
    let before = server.get(ENDPOINTS).await.is(200).json();
    let elsewhere =
        json!({"subsets": [{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 1}]}]});
    server.patch(ENDPOINTS, "merge", &elsewhere).await.is(200);
    passes(&hands, &server, ENDPOINTS, |now| {
        now["subsets"] == before["subsets"]
    })
    .await;
}

#[tokio::test]
async fn a_namespace_of_the_system() {
    let (hands, server) = start().await;
    let lease = async || {
        server.delete(LEASES).await.is(200);
        let mut namespace = server.get(LEASES).await.is(200).json();
        namespace["spec"]["finalizers"] = json!([]);
        let finalize = format!("{LEASES}/finalize");
        server.put(&finalize, &namespace).await.is(200);
        server.get(LEASES).await.is(404);
        passes(&hands, &server, LEASES, |_| true).await
    };
    lease().await;
    // a minute more: what nobody touched was looked at and not written
    let versions = async || {
        let mut versions = Vec::new();
        for path in [
            SERVICE,
            ENDPOINTS,
            SLICE,
            TRUST,
            LEASES,
            "/api/v1/namespaces/default",
        ] {
            let object = server.get(path).await.is(200).json();
            versions.push(object["metadata"]["resourceVersion"].to_string());
        }
        versions
    };
    let mut before = versions().await;
    lease().await;
    before.remove(4);
    let mut after = versions().await;
    after.remove(4);
    assert_eq!(after, before);
}

/// At once, whatever time it is.
#[tokio::test]
async fn whom_the_server_speaks_for() {
    let (_hands, server) = start().await;
    let before = server.get(TRUST).await.is(200).json();
    server.delete(TRUST).await.is(200);
    let after = server
        .until(TRUST, |answer| answer.code == 200)
        .await
        .json();
    assert_eq!(after["data"], before["data"]);
    let changed = json!({"data": {"client-ca-file": "x"}});
    server.patch(TRUST, "merge", &changed).await.is(200);
    server
        .until(TRUST, |answer| answer.json()["data"] == before["data"])
        .await;
}

/// Since when tokens are tracked: half an hour at the most.
#[tokio::test]
async fn since_when_tokens_are_tracked() {
    let (hands, server) = start().await;
    let map = "/api/v1/namespaces/kube-system/configmaps/kube-apiserver-legacy-service-account-token-tracking";
    server.delete(map).await.is(200);
    passes(&hands, &server, map, |map| map["data"]["since"].is_string()).await;
}

/// The Lease by which the server is known: there, renewed, made again; those of servers that are no more go.
#[tokio::test]
async fn the_lease_of_the_server() {
    let (hands, server) = start().await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
    let all = format!("{leases}?labelSelector=apiserver.kubernetes.io/identity=kube-apiserver");
    let found = |answer: &crate::server::Answer| {
        let list = answer.json()["items"].as_array().unwrap().clone();
        list.iter()
            .find(|lease| lease["metadata"]["name"] != "left")
            .cloned()
    };
    let list = server.until(&all, |answer| found(answer).is_some()).await;
    let first = found(&list).unwrap();
    let name = first["metadata"]["name"].as_str().unwrap();
    let holder = first["spec"]["holderIdentity"].as_str().unwrap();
    let id = name.strip_prefix("apiserver-").unwrap();
    assert_eq!(id.len(), 26, "{name}");
    assert!(holder.starts_with(&format!("{name}_")), "{holder}");
    assert_eq!(first["spec"]["leaseDurationSeconds"], 3600);
    assert!(first["metadata"]["labels"]["kubernetes.io/hostname"].is_string());
    assert_eq!(
        first["metadata"]["managedFields"][0]["manager"],
        "kube-apiserver"
    );
    let path = format!("{leases}/{name}");
    let renewed = |lease: &Value| lease["spec"]["renewTime"] != first["spec"]["renewTime"];
    passes(&hands, &server, &path, renewed).await;
    server.delete(&path).await.is(200);
    passes(&hands, &server, &path, |_| true).await;
    let again = server.get(&path).await.is(200).json();
    assert_eq!(
        again["spec"]["holderIdentity"],
        first["spec"]["holderIdentity"]
    );
    let labels = json!({"apiserver.kubernetes.io/identity": "kube-apiserver"});
    for (name, labels) in [("left", labels), ("anyones", json!({}))] {
        let lease = json!({"metadata": {"name": name, "labels": labels}, "spec": {}});
        server.make(leases, &lease).await;
    }
    server
        .until(&format!("{leases}/left"), |answer| {
            hands.advance(600);
            answer.code == 404
        })
        .await;
    server.get(&format!("{leases}/anyones")).await.is(200);
}
