//! Services of the type LoadBalancer as whoever makes one sees them: an address at once, which answers on this machine and from pods, whatever else has
//! the port, and is gone with the service.

use std::time::Duration;

use crate::support::{Cluster, http_get, is_root, on_path, skip, wait};

const PATIENCE: Duration = Duration::from_secs(30);
const POINT: &str = "jsonpath={.status.loadBalancer.ingress[0].ip}";

/// The address of a service, once it has one.
fn address(cluster: &Cluster, service: &str) -> String {
    wait(PATIENCE, &format!("an address of {service}"), || {
        let ip = cluster.skiff(&["get", "svc", service, "-o", POINT]);
        match ip.is_empty() {
            true => Err("none yet".to_owned()),
            false => Ok(ip),
        }
    })
}

fn answers(address: &str) {
    wait(PATIENCE, &format!("{address} answers"), || {
        http_get(address, "/").and_then(|text| match text.contains("pod front-") {
            true => Ok(()),
            false => Err(text),
        })
    });
}

#[test]
fn services_are_reached_from_outside() {
    if !is_root() || on_path("nft").is_none() {
        return skip("real nodes need root and nft");
    }
    let cluster = Cluster::start(&["--nodes=2", "--demo"]);
    for name in ["one", "two"] {
        cluster.skiff(&[
            "expose",
            "deployment",
            "front",
            "--type=LoadBalancer",
            "--port=80",
            "--target-port=8080",
            "--name",
            name,
        ]);
    }
    let (one, two) = (address(&cluster, "one"), address(&cluster, "two"));
    assert_ne!(
        one, two,
        "each has an address, and so all ports, of its own"
    );
    answers(&format!("{one}:80"));
    answers(&format!("{two}:80"));
    let local = r#"{"spec": {"externalTrafficPolicy": "Local"}}"#;
    cluster.skiff(&["patch", "svc", "one", "-p", local]);
    answers(&format!("{one}:80"));

    // what is no balancer's any more is reached from nowhere, and says so
    let inside = r#"{"spec": {"type": "ClusterIP", "externalTrafficPolicy": null}}"#;
    cluster.skiff(&["patch", "svc", "one", "-p", inside]);
    let status = cluster.skiff(&["get", "svc", "one", "-o", "jsonpath={.status}"]);
    assert_eq!(status, r#"{"loadBalancer":{}}"#);
    cluster.skiff(&["delete", "svc", "two"]);
    for ip in [&one, &two] {
        wait(
            PATIENCE,
            &format!("{ip} answers no more"),
            || match http_get(&format!("{ip}:80"), "/") {
                Ok(text) => Err(text),
                Err(_) => Ok(()),
            },
        );
    }
    cluster.end();
}
