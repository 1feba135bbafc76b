//! Endpoints and EndpointSlices.

use serde_json::{Value, json};

use crate::plane::{Plane, now, pod_path};

const SERVICES: &str = "/api/v1/namespaces/default/services";

/// A plane of both families, IPv4 first.
async fn of_both_families() -> Plane {
    let cut = |network: &str| network.parse().unwrap();
    Plane::of(
        |config| config.service_ranges = "10.96.0.0/16,fd00:10:96::/112".parse().unwrap(),
        |options| {
            options.allocate_node_cidrs = true;
            options.cluster_cidrs = vec![cut("10.244.0.0/16"), cut("fd00:10:244::/56")];
        },
    )
    .await
}

/// `FAMILY ADDRESS,…` of each slice of a service, in order.
async fn slices(plane: &Plane, service: &str) -> Vec<String> {
    let path = format!(
        "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io/service-name%3D{service}"
    );
    let text = |slice: &Value| {
        let name = slice["metadata"]["name"].as_str().unwrap();
        assert!(name.starts_with(&format!("{service}-")), "{name}");
        let endpoints = slice["endpoints"].as_array().into_iter().flatten();
        let ips = endpoints.flat_map(|endpoint| endpoint["addresses"].as_array().unwrap());
        let mut ips: Vec<_> = ips.map(|ip| ip.as_str().unwrap()).collect();
        ips.sort();
        format!(
            "{} {}",
            slice["addressType"].as_str().unwrap(),
            ips.join(",")
        )
    };
    let mut found: Vec<_> = plane.list(&path).await.iter().map(text).collect();
    found.sort();
    found
}

/// The addresses of a service's Endpoints.
async fn endpoints(plane: &Plane, service: &str) -> Vec<String> {
    let path = format!("/api/v1/namespaces/default/endpoints/{service}");
    let object = plane.get(&path).await.unwrap_or_default();
    let subsets = object["subsets"].as_array().into_iter().flatten();
    let addresses = subsets.flat_map(|subset| subset["addresses"].as_array().into_iter().flatten());
    let mut ips: Vec<_> = addresses
        .map(|of| of["ip"].as_str().unwrap().to_string())
        .collect();
    ips.sort();
    ips
}

/// What a kubelet says of a pod with these addresses.
async fn runs(plane: &Plane, name: &str, ips: &[&str]) {
    let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": now()});
    let list: Vec<_> = ips.iter().map(|ip| json!({"ip": ip})).collect();
    let status =
        json!({"phase": "Running", "podIP": ips[0], "podIPs": list, "conditions": [ready]});
    plane
        .patch(
            &format!("{}/status", pod_path(name)),
            json!({"status": status}),
        )
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_without_a_service_are_left_alone() {
    let plane = Plane::start().await;
    let path = "/api/v1/namespaces/default/endpoints";
    // a service that comes and goes takes its own with it
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "served"}, "spec": {"selector": {"app": "x"}, "ports": [{"port": 80}]}});
    plane
        .create("/api/v1/namespaces/default/services", service)
        .await;
    let there = async |name: &str| plane.get(&format!("{path}/{name}")).await.is_some();
    plane
        .until("the service's endpoints", async || there("served").await)
        .await;
    // not before that: what is there when the controller begins was left behind
    let subsets = json!([{"addresses": [{"ip": "192.0.2.5"}], "ports": [{"port": 80}]}]);
    plane.create(path, json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "alone"}, "subsets": subsets})).await;
    plane
        .delete("/api/v1/namespaces/default/services/served")
        .await;
    plane
        .until("their end", async || !there("served").await)
        .await;
    assert!(there("alone").await, "what nobody serves is nobody's");
    plane.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slice_without_endpoints_has_none() {
    let plane = Plane::start().await;
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}});
    plane
        .create("/api/v1/namespaces/default/services", service)
        .await;
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io/service-name%3Dweb";
    plane
        .until("a slice", async || !plane.list(slices).await.is_empty())
        .await;
    assert_eq!(
        plane.list(slices).await[0]["endpoints"],
        Value::Null,
        "as upstream writes it: null"
    );
    plane.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_has_a_network_of_each_family() {
    let plane = of_both_families().await;
    for (name, ipv4, ipv6) in [
        ("one", "10.244.0.0/24", "fd00:10:244::/64"),
        ("two", "10.244.1.0/24", "fd00:10:244:1::/64"),
    ] {
        plane.node(name, json!({})).await;
        let wanted = json!([ipv4, ipv6]);
        plane
            .until("pod networks", async || {
                let node = plane.get(&format!("/api/v1/nodes/{name}")).await.unwrap();
                node["spec"]["podCIDRs"] == wanted && node["spec"]["podCIDR"] == ipv4
            })
            .await;
    }
    plane.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slices_are_of_the_families_of_their_service() {
    let plane = of_both_families().await;
    plane.node("one", json!({})).await;
    for (name, ips) in [
        ("both", &["10.244.0.5", "fd00:10:244::5"][..]),
        ("four", &["10.244.0.6"]),
        ("other-first", &["fd00:10:244::7", "10.244.0.7"]),
    ] {
        let on = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"nodeName": "one"}});
        plane.pod(name, on).await;
        runs(&plane, name, ips).await;
    }
    let four = "IPv4 10.244.0.5,10.244.0.6,10.244.0.7";
    let six = "IPv6 fd00:10:244::5,fd00:10:244::7";
    for (name, spec, wanted) in [
        ("single", json!({}), &[four][..]),
        ("six", json!({"ipFamilies": ["IPv6"]}), &[six]),
        (
            "two",
            json!({"ipFamilyPolicy": "RequireDualStack"}),
            &[four, six],
        ),
        (
            "six-first",
            json!({"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6"]}),
            &[four, six],
        ),
        (
            "headless",
            json!({"clusterIP": "None", "ipFamilyPolicy": "PreferDualStack"}),
            &[four, six],
        ),
        (
            "headless-six",
            json!({"clusterIP": "None", "ipFamilies": ["IPv6"]}),
            &[six],
        ),
    ] {
        let mut service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}});
        for (field, value) in spec.as_object().unwrap() {
            service["spec"][field] = value.clone();
        }
        let made = plane.create(SERVICES, service).await;
        let first = made["spec"]["ipFamilies"][0].as_str().unwrap();
        plane
            .until(&format!("slices of {name}"), async || {
                slices(&plane, name).await == wanted
            })
            .await;
        let of_first = wanted
            .iter()
            .find_map(|slice| slice.strip_prefix(&format!("{first} ")));
        plane
            .until(&format!("endpoints of {name}"), async || {
                endpoints(&plane, name).await.join(",") == of_first.unwrap()
            })
            .await;
    }
    // one that gives a family up, one that takes one, and one that puts the other first
    for (name, change, wanted) in [
        ("two", json!({"ipFamilyPolicy": "SingleStack"}), &[four][..]),
        (
            "single",
            json!({"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv4", "IPv6"]}),
            &[four, six],
        ),
        (
            "headless",
            json!({"ipFamilies": ["IPv6", "IPv4"]}),
            &[four, six],
        ),
    ] {
        plane
            .patch(&format!("{SERVICES}/{name}"), json!({"spec": change}))
            .await;
        plane
            .until(&format!("slices of {name}"), async || {
                slices(&plane, name).await == wanted
            })
            .await;
    }
    plane
        .until("endpoints of the other family", async || {
            endpoints(&plane, "headless").await == ["fd00:10:244::5", "fd00:10:244::7"]
        })
        .await;
    plane.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_of_both_families_are_mirrored_apart() {
    let plane = of_both_families().await;
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "outside"},
        "spec": {"ports": [{"port": 80}], "ipFamilyPolicy": "RequireDualStack"}});
    plane.create(SERVICES, service).await;
    let addresses = json!([{"ip": "192.0.2.5"}, {"ip": "2001:db8::5"}, {"ip": "192.0.2.6"}]);
    let made = json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "outside"},
        "subsets": [{"addresses": addresses, "ports": [{"port": 80}]}]});
    plane
        .create("/api/v1/namespaces/default/endpoints", made)
        .await;
    plane
        .until("slices of both", async || {
            slices(&plane, "outside").await == ["IPv4 192.0.2.5,192.0.2.6", "IPv6 2001:db8::5"]
        })
        .await;
    plane.end().await;
}
