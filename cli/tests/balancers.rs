//! Services of the type LoadBalancer as whoever makes one sees them: an address of each family at once, which answers on this machine and from pods,
//! whatever else has the port, and is gone with the service. Ingresses are reached by the families of their nodes, too.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::support::{Cluster, http_get, is_root, on_path, skip, wait};

const PATIENCE: Duration = Duration::from_secs(30);
const POINTS: &str = "jsonpath={.status.loadBalancer.ingress[*].ip}";

/// The addresses of a service or an Ingress, once it has so many.
fn addresses(cluster: &Cluster, of: &str, count: usize) -> Vec<IpAddr> {
    wait(PATIENCE, &format!("{count} addresses of {of}"), || {
        let ips = cluster.skiff(&["get", of, "-o", POINTS]);
        let ips: Vec<IpAddr> = ips.split(' ').flat_map(str::parse).collect();
        match ips.len() == count {
            true => Ok(ips),
            false => Err(format!("{ips:?}")),
        }
    })
}

/// The address of a service, once it has one.
fn address(cluster: &Cluster, service: &str) -> IpAddr {
    addresses(cluster, &format!("svc/{service}"), 1)[0]
}

/// A service of the type for the front of the demo's shop.
fn expose(cluster: &Cluster, name: &str) {
    let front = ["deployment", "front", "--type=LoadBalancer"];
    let ports = ["--port=80", "--target-port=8080", "--name"];
    cluster.skiff(&[&["expose"], &front[..], &ports[..], &[name]].concat());
}

fn answers(ip: IpAddr) {
    let address = SocketAddr::new(ip, 80).to_string();
    wait(PATIENCE, &format!("{address} answers"), || {
        http_get(&address, "/").and_then(|text| match text.contains("pod front-") {
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
        expose(&cluster, name);
    }
    let (one, two) = (address(&cluster, "one"), address(&cluster, "two"));
    assert_ne!(
        one, two,
        "each has an address, and so all ports, of its own"
    );
    answers(one);
    answers(two);
    let local = r#"{"spec": {"externalTrafficPolicy": "Local"}}"#;
    cluster.skiff(&["patch", "svc", "one", "-p", local]);
    answers(one);

    // what is no balancer's any more is reached from nowhere, and says so
    let inside = r#"{"spec": {"type": "ClusterIP", "externalTrafficPolicy": null}}"#;
    cluster.skiff(&["patch", "svc", "one", "-p", inside]);
    let status = cluster.skiff(&["get", "svc", "one", "-o", "jsonpath={.status}"]);
    assert_eq!(status, r#"{"loadBalancer":{}}"#);
    cluster.skiff(&["delete", "svc", "two"]);
    for ip in [one, two] {
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

#[test]
fn by_both_families() {
    if !is_root() || on_path("nft").is_none() {
        return skip("real nodes need root and nft");
    }
    let cluster = Cluster::start(&["--nodes=1", "--demo", "--ip-family=dual"]);
    expose(&cluster, "both");
    let both = r#"{"spec": {"ipFamilyPolicy": "RequireDualStack"}}"#;
    cluster.skiff(&["patch", "svc", "both", "-p", both]);
    cluster.skiff(&["create", "ingress", "both", "--rule=/*=both:80"]);
    for of in ["svc/both", "ingress/both"] {
        let ips = addresses(&cluster, of, 2);
        assert!(ips[0].is_ipv4() && ips[1].is_ipv6(), "{of}: {ips:?}");
        ips.into_iter().for_each(answers);
    }
    cluster.end();
}
