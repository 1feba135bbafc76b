//! Addresses and node ports of services: from which networks, to whom, and what is told to those who get none.

use serde_json::{Value, json};

use crate::server::{Answer, Server};

const SERVICES: &str = "/api/v1/namespaces/default/services";
const CIDRS: &str = "/apis/networking.k8s.io/v1/servicecidrs";
const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";
const OTHER_NETWORK: &str = "the provided network does not match the current range";
const TAKEN: &str = "provided IP is already allocated";

async fn ask(server: &Server, query: &str, name: &str, spec: Value) -> Answer {
    let mut service = json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
    for (field, value) in spec.as_object().unwrap() {
        service["spec"][field] = value.clone();
    }
    server.post(&format!("{SERVICES}{query}"), &service).await
}

async fn service(server: &Server, name: &str, spec: Value) -> Answer {
    ask(server, "", name, spec).await
}

fn ip(answer: Answer) -> String {
    let service = answer.is(201).json();
    service["spec"]["clusterIP"].as_str().unwrap().into()
}

/// What is told to a service that asks for an address and is not given it.
async fn refusal(server: &Server, ip: &str) -> String {
    let said = service(server, "refused", json!({"clusterIP": ip}))
        .await
        .is(422);
    let head = format!(
        "Service \"refused\" is invalid: spec.clusterIPs: Invalid value: [\"{ip}\"]: failed to allocate IP {ip}: "
    );
    let said = said.message();
    said.strip_prefix(&head)
        .unwrap_or_else(|| panic!("{said}"))
        .into()
}

async fn network(server: &Server, name: &str, net: &str) {
    let cidr = json!({"metadata": {"name": name, "finalizers": ["example.com/kept"]}, "spec": {"cidrs": [net]}});
    server.make(CIDRS, &cidr).await;
}

async fn say_ready(server: &Server, name: &str, status: &str) {
    let condition = json!({"type": "Ready", "status": status, "reason": "", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let patch = json!({"status": {"conditions": [condition]}});
    let path = format!("{CIDRS}/{name}/status");
    server.patch(&path, "merge", &patch).await.is(200);
}

#[tokio::test]
async fn a_network_gives_while_it_is_ready_and_stays() {
    let server = Server::start().await;
    assert_eq!(refusal(&server, "10.97.0.5").await, OTHER_NETWORK);
    for out in ["10.96.0.0", "10.96.255.255"] {
        assert_eq!(refusal(&server, out).await, OTHER_NETWORK, "{out}");
    }
    // nobody has said anything of it yet
    network(&server, "more", "10.97.0.0/24").await;
    service(&server, "a", json!({"clusterIP": "10.97.0.5"}))
        .await
        .is(201);
    assert_eq!(refusal(&server, "10.97.0.5").await, TAKEN);
    say_ready(&server, "more", "False").await;
    assert_eq!(refusal(&server, "10.97.0.6").await, OTHER_NETWORK);
    say_ready(&server, "more", "True").await;
    service(&server, "b", json!({"clusterIP": "10.97.0.6"}))
        .await
        .is(201);
    server.delete(&format!("{CIDRS}/more")).await.is(200);
    assert_eq!(refusal(&server, "10.97.0.7").await, OTHER_NETWORK);
    // what it gave is still taken back
    server.delete(&format!("{SERVICES}/a")).await.is(200);
    server.get(&format!("{ADDRESSES}/10.97.0.5")).await.is(404);
    server.stop().await;
}

#[tokio::test]
async fn the_next_network_is_taken_when_the_first_is_full() {
    let server =
        Server::with(|config| config.service_ranges = "10.9.0.0/29".parse().unwrap()).await;
    // the service `kubernetes` has the first of six
    for name in ["e", "f", "g", "h"] {
        service(&server, name, json!({})).await.is(201);
    }
    let last = ip(service(&server, "a", json!({})).await);
    let full = service(&server, "b", json!({})).await.is(500);
    let said =
        "Internal error occurred: failed to allocate a serviceIP for Service \"b\": range is full";
    assert_eq!(full.message(), said);
    network(&server, "more", "10.9.1.0/30").await;
    let mut more = [
        ip(service(&server, "b", json!({})).await),
        ip(service(&server, "c", json!({})).await),
    ];
    more.sort();
    assert_eq!(more, ["10.9.1.1", "10.9.1.2"]);
    service(&server, "d", json!({})).await.is(500);
    server.delete(&format!("{SERVICES}/a")).await.is(200);
    assert_eq!(ip(service(&server, "d", json!({})).await), last);
    server.stop().await;
}

#[tokio::test]
async fn an_address_that_somebody_else_has_is_not_given() {
    let server =
        Server::with(|config| config.service_ranges = "10.9.0.0/29".parse().unwrap()).await;
    let by_hand = |name: &str| json!({"metadata": {"name": name}, "spec": {"parentRef": {"group": "example.com", "resource": "gates", "name": "g"}}});
    for n in 2..6 {
        server
            .make(ADDRESSES, &by_hand(&format!("10.9.0.{n}")))
            .await;
    }
    assert_eq!(refusal(&server, "10.9.0.3").await, TAKEN);
    assert_eq!(ip(service(&server, "a", json!({})).await), "10.9.0.6");
    service(&server, "b", json!({})).await.is(500);
    server
        .delete(&format!("{ADDRESSES}/10.9.0.3"))
        .await
        .is(200);
    assert_eq!(ip(service(&server, "b", json!({})).await), "10.9.0.3");
    let address = server
        .get(&format!("{ADDRESSES}/10.9.0.3"))
        .await
        .is(200)
        .json();
    let parent = json!({"resource": "services", "namespace": "default", "name": "b"});
    assert_eq!(address["spec"]["parentRef"], parent);
    // one that a service has is its own, whatever becomes of the object
    server
        .delete(&format!("{ADDRESSES}/10.9.0.3"))
        .await
        .is(200);
    assert_eq!(refusal(&server, "10.9.0.3").await, TAKEN);
    server.stop().await;
}

#[tokio::test]
async fn what_was_given_is_known_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let data = || skiff_server::Data::Folder(folder.path().join("data"));
    {
        let server = Server::with(|config| config.data = data()).await;
        network(&server, "more", "10.97.0.0/24").await;
        let spec = json!({"type": "NodePort", "clusterIP": "10.97.0.5", "ports": [{"port": 80, "nodePort": 30007}]});
        service(&server, "a", spec).await.is(201);
        server.stop().await;
    }
    let server = Server::with(|config| config.data = data()).await;
    assert_eq!(refusal(&server, "10.97.0.5").await, TAKEN);
    service(&server, "b", json!({"clusterIP": "10.97.0.6"}))
        .await
        .is(201);
    let spec = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30007}]});
    let said = service(&server, "c", spec).await.is(422).message();
    assert_eq!(
        said,
        "Service \"c\" is invalid: spec.ports[0].nodePort: Invalid value: 30007: provided port is already allocated"
    );
    server.stop().await;
}

#[tokio::test]
async fn the_default_network_comes_back() {
    let server = Server::start().await;
    server.delete(&format!("{CIDRS}/kubernetes")).await.is(200);
    let ready = |answer: &Answer| {
        answer.code == 200
            && answer
                .text()
                .contains("Kubernetes default Service CIDR is ready")
    };
    server.until(&format!("{CIDRS}/kubernetes"), ready).await;
    service(&server, "a", json!({"clusterIP": "10.96.0.5"}))
        .await
        .is(201);
    server.stop().await;
}

#[tokio::test]
async fn a_dry_run_shows_what_nobody_is_given() {
    let server = Server::start().await;
    let dry = async |spec: Value| ask(&server, "?dryRun=All", "dry", spec).await;
    assert_eq!(ip(dry(json!({})).await), "10.96.0.0");
    // it looks whether there may be such an address, not whether it is free
    assert_eq!(
        ip(dry(json!({"clusterIP": "10.96.0.1"})).await),
        "10.96.0.1"
    );
    let said = dry(json!({"clusterIP": "10.97.0.1"}))
        .await
        .is(422)
        .message();
    let wanted = "failed to allocate IP 10.97.0.1: the provided IP (10.97.0.1) is not in the valid range. The range of valid IPs is 10.96.0.0/16";
    assert!(said.ends_with(wanted), "{said}");
    let ports = json!([{"name": "a", "port": 80}, {"name": "b", "port": 81}, {"name": "c", "port": 81, "protocol": "UDP"}]);
    let shown =
        dry(json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": ports}))
            .await
            .is(201)
            .json();
    let ports = shown["spec"]["ports"].as_array().unwrap().iter();
    let ports: Vec<_> = ports
        .map(|port| port["nodePort"].as_i64().unwrap())
        .collect();
    assert_eq!(ports, [32769, 32770, 32770]);
    assert_eq!(shown["spec"]["healthCheckNodePort"], 32771);
    say_ready(&server, "kubernetes", "False").await;
    let said = dry(json!({})).await.is(422).message();
    assert!(
        said.ends_with("[\"\"]: failed to allocate IP: allocator not ready"),
        "{said}"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_node_port_is_one_services_in_all_protocols() {
    let server = Server::start().await;
    let ported = async |name: &str, ports: Value| {
        service(&server, name, json!({"type": "NodePort", "ports": ports})).await
    };
    ported("a", json!([{"port": 80, "nodePort": 30001}]))
        .await
        .is(201);
    let said = ported(
        "b",
        json!([{"port": 80, "nodePort": 30001, "protocol": "UDP"}]),
    )
    .await
    .is(422);
    assert!(
        said.message()
            .ends_with("provided port is already allocated")
    );
    // where one port number is two ports, one node port is theirs
    let two = json!([{"name": "a", "port": 80}, {"name": "b", "port": 80, "protocol": "UDP", "nodePort": 30004}]);
    let made = ported("c", two).await.is(201).json();
    assert_eq!(made["spec"]["ports"][0]["nodePort"], 30004);
    let other = json!([{"name": "a", "port": 80, "nodePort": 30005}, {"name": "b", "port": 81, "protocol": "UDP", "nodePort": 30005}]);
    let said = ported("d", other).await.is(422).message();
    assert!(
        said.contains(
            "spec.ports[1].nodePort: Invalid value: 30005: provided port is already allocated"
        ),
        "{said}"
    );
    let checked = |port: i64| json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "allocateLoadBalancerNodePorts": false, "healthCheckNodePort": port});
    service(&server, "e", checked(30020)).await.is(201);
    let said = service(&server, "f", checked(30020))
        .await
        .is(500)
        .message();
    assert_eq!(
        said,
        "Internal error occurred: failed to allocate requested HealthCheck NodePort 30020: provided port is already allocated"
    );
    // an update that is refused takes nothing
    let patch = |ports: Value| json!({"spec": {"type": "NodePort", "ports": ports}});
    let twice = patch(
        json!([{"name": "a", "port": 80, "nodePort": 30031}, {"name": "b", "port": 80, "nodePort": 30031}]),
    );
    let path = format!("{SERVICES}/a");
    let said = server.patch(&path, "merge", &twice).await.is(500).message();
    assert_eq!(said, "duplicate nodePort: {TCP 30031}");
    ported("g", json!([{"port": 80, "nodePort": 30031}]))
        .await
        .is(201);
    server.stop().await;
}

#[tokio::test]
async fn one_family_is_what_the_cluster_has() {
    let server = Server::start().await;
    network(&server, "six", "2001:db8::/64").await;
    for (spec, said) in [
        (
            json!({"clusterIP": "2001:db8::5"}),
            "spec.clusterIPs[0]: Invalid value: [\"2001:db8::5\"]: IPv6 is not configured on this cluster",
        ),
        (
            json!({"ipFamilies": ["IPv6"]}),
            "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster",
        ),
        (
            json!({"ipFamilyPolicy": "RequireDualStack"}),
            "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services",
        ),
    ] {
        let answer = service(&server, "a", spec).await.is(422);
        assert_eq!(
            answer.message(),
            format!("Service \"a\" is invalid: {said}")
        );
    }
    server.stop().await;
    let server = Server::with(|config| {
        config.service_ranges = "fd00::/108".parse().unwrap();
        config.advertise = vec!["[fd00:1::1]:6443".parse().unwrap()];
    })
    .await;
    let made = service(&server, "a", json!({"ipFamilyPolicy": "PreferDualStack"}))
        .await
        .is(201)
        .json();
    assert_eq!(made["spec"]["ipFamilies"], json!(["IPv6"]));
    let ip = made["spec"]["clusterIP"].as_str().unwrap();
    assert!(ip.starts_with("fd00::"), "{ip}");
    server.get(&format!("{ADDRESSES}/{ip}")).await.is(200);
    server.stop().await;
}
