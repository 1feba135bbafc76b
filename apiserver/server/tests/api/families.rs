//! Which families and addresses services have in clusters of one family and of both: a table of what a real server answered, and what follows from it.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use crate::server::{Answer, Server};

const TABLE: &str = include_str!("../../../../testdata/services/families.txt");
const SERVICES: &str = "/api/v1/namespaces/default/services";
const CIDRS: &str = "/apis/networking.k8s.io/v1/servicecidrs";
const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";
const SLICE: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes";
const BOTH: &str = "10.96.0.0/16,fd00:10:96::/112";
const SIX_FIRST: &str = "fd00:10:96::/112,10.96.0.0/16";
/// Addresses that the table asks for; others the server chose.
const ASKED: [&str; 4] = [
    "10.96.0.50",
    "10.96.0.51",
    "fd00:10:96::50",
    "fd00:10:97::5",
];

async fn cluster(ranges: &str) -> Server {
    let server = match ranges.starts_with("fd") {
        true => "[2001:db8::1]:6443",
        false => "192.0.2.1:6443",
    };
    Server::with(|config| {
        config.service_ranges = ranges.parse().unwrap();
        config.advertise = vec![server.parse().unwrap()];
    })
    .await
}

fn service(spec: &Value) -> Value {
    let mut service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}});
    set(&mut service, spec.as_object().unwrap());
    service
}

fn set(service: &mut Value, fields: &Map<String, Value>) {
    let spec = service["spec"].as_object_mut().unwrap();
    for (field, value) in fields {
        spec.remove(field);
        if !value.is_null() {
            spec.insert(field.clone(), value.clone());
        }
    }
}

async fn create(server: &Server, spec: &Value) -> Answer {
    server.post(SERVICES, &service(spec)).await
}

/// A service, changed.
async fn changed(server: &Server, how: &str, spec: &Value, change: &Value) -> Answer {
    let mut made = create(server, spec).await.is(201).json();
    let path = format!("{SERVICES}/a");
    match how {
        "merge" | "strategic" => {
            let patch = json!({"spec": change});
            let kind = if how == "merge" {
                how
            } else {
                "strategic-merge"
            };
            server.patch(&path, kind, &patch).await
        }
        "put" => {
            set(&mut made, change.as_object().unwrap());
            server.put(&path, &made).await
        }
        "replace" => server.put(&path, &service(change)).await,
        other => panic!("{other} is no way to change a service"),
    }
}

/// The text with a star for what is not the same each time.
fn masked(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_hexdigit() || c == ':' || c == '.';
    let mut masked = text.to_string();
    for word in text.split(|c| !is_part(c)) {
        let word = word.trim_end_matches([':', '.']);
        if ASKED.contains(&word) {
            continue;
        }
        match word.parse() {
            Ok(IpAddr::V4(_)) if word.starts_with("10.96.") => {
                masked = masked.replace(word, "10.96.*")
            }
            Ok(IpAddr::V6(_)) if word.starts_with("fd00:10:96::") => {
                masked = masked.replace(word, "fd00:10:96::*");
            }
            _ => {}
        }
    }
    masked
}

fn told(answer: &Answer) -> String {
    if answer.code >= 300 {
        let message = answer.message();
        let why = message.split_once(" is invalid: ");
        let why = why.map_or(message.as_str(), |(_, why)| why);
        return format!("{} {}", answer.code, masked(why));
    }
    let service = answer.json();
    let list = |field: &str| {
        let list = service["spec"][field].as_array().into_iter().flatten();
        let texts: Vec<_> = list.filter_map(Value::as_str).map(masked).collect();
        match texts.is_empty() {
            true => "-".into(),
            false => texts.join(","),
        }
    };
    let policy = service["spec"]["ipFamilyPolicy"].as_str().unwrap_or("-");
    let (families, ips) = (list("ipFamilies"), list("clusterIPs"));
    format!("{} {policy} {families} {ips}", answer.code)
}

/// The names of the IPAddress objects of the service `a`.
async fn addresses(server: &Server) -> Vec<String> {
    let all = server.get(ADDRESSES).await.is(200).json();
    let items = all["items"].as_array().unwrap().iter();
    let of_it = items.filter(|address| address["spec"]["parentRef"]["name"] == "a");
    of_it
        .map(|address| {
            let name = address["metadata"]["name"].as_str().unwrap();
            let family = if name.contains(':') { "IPv6" } else { "IPv4" };
            let label = &address["metadata"]["labels"]["ipaddress.kubernetes.io/ip-family"];
            assert_eq!(label, family, "{name}");
            name.to_string()
        })
        .collect()
}

fn ips(service: &Value) -> Vec<String> {
    let list = service["spec"]["clusterIPs"]
        .as_array()
        .into_iter()
        .flatten();
    let ips = list.filter_map(Value::as_str).filter(|ip| *ip != "None");
    ips.map(str::to_string).collect()
}

#[tokio::test]
async fn what_a_real_server_answered() {
    let mut server = None;
    let mut lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    let (mut rows, mut wrong) = (0, Vec::new());
    while let Some(line) = lines.next() {
        let (how, rest) = line.split_once(' ').unwrap();
        if how == "cluster" {
            server = Some(cluster(rest).await);
            continue;
        }
        let server = server.as_ref().unwrap();
        let read = |text: &str| -> Value { serde_json::from_str(text).unwrap() };
        let answer = match rest.split_once(" with ") {
            Some((spec, change)) => changed(server, how, &read(spec), &read(change)).await,
            None => create(server, &read(rest)).await,
        };
        let (got, wanted) = (told(&answer), lines.next().unwrap().trim());
        if got != wanted {
            wrong.push(format!("{line}\n  {wanted}\n  {got}"));
        }
        // whatever was done, the objects are those of the service's addresses
        let stored = server.get(&format!("{SERVICES}/a")).await.json();
        let (mut has, mut objects) = (ips(&stored), addresses(server).await);
        has.sort();
        objects.sort();
        assert_eq!(objects, has, "{line}");
        server.delete(&format!("{SERVICES}/a")).await;
        assert_eq!(addresses(server).await, [""; 0], "{line}");
        rows += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(rows > 140, "{rows} rows");
}

#[tokio::test]
async fn the_clusters_own_objects_in_a_cluster_of_both_families() {
    for (ranges, ip, family, endpoint) in [
        (BOTH, "10.96.0.1", "IPv4", "192.0.2.1"),
        (SIX_FIRST, "fd00:10:96::1", "IPv6", "2001:db8::1"),
    ] {
        let server = cluster(ranges).await;
        let spec = async |path: &str| server.get(path).await.is(200).json()["spec"].clone();
        let cidrs: Vec<&str> = ranges.split(',').collect();
        assert_eq!(
            spec(&format!("{CIDRS}/kubernetes")).await["cidrs"],
            json!(cidrs)
        );
        let service = spec(&format!("{SERVICES}/kubernetes")).await;
        assert_eq!(service["clusterIPs"], json!([ip]));
        assert_eq!(service["ipFamilies"], json!([family]));
        assert_eq!(service["ipFamilyPolicy"], "SingleStack");
        let slice = server.get(SLICE).await.is(200).json();
        assert_eq!(slice["addressType"], family);
        assert_eq!(slice["endpoints"][0]["addresses"], json!([endpoint]));
        server.stop().await;
    }
}

#[tokio::test]
async fn a_server_is_reached_by_the_first_family() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("pki");
    let mut config = skiff_server::Config::new(skiff_server::Data::Memory, keys);
    config.service_ranges = SIX_FIRST.parse().unwrap();
    config.advertise = vec!["192.0.2.1:6443".parse().unwrap()];
    let refused = skiff_server::start(config).await.err().unwrap().to_string();
    let said =
        "service IP family \"fd00:10:96::/112\" must match public address family \"192.0.2.1\"";
    assert_eq!(refused, said);
}

#[tokio::test]
async fn a_second_family_comes_and_goes_at_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let start = async |ranges: &str| {
        let data = skiff_server::Data::Folder(folder.path().join("data"));
        Server::with(|config| {
            config.data = data;
            config.service_ranges = ranges.parse().unwrap();
        })
        .await
    };
    let path = format!("{SERVICES}/a");
    let single = start("10.96.0.0/16").await;
    let prefers = json!({"ipFamilyPolicy": "PreferDualStack"});
    let made = create(&single, &prefers).await.is(201).json();
    assert_eq!(made["spec"]["ipFamilies"], json!(["IPv4"]));
    single.stop().await;

    let both = start(BOTH).await;
    let cidr = both
        .get(&format!("{CIDRS}/kubernetes"))
        .await
        .is(200)
        .json();
    assert_eq!(
        cidr["spec"]["cidrs"],
        json!(["10.96.0.0/16", "fd00:10:96::/112"])
    );
    assert_eq!(cidr["status"]["conditions"][0]["status"], "True");
    // one that prefers both is left as it is until somebody touches what is about it
    let labels = json!({"metadata": {"labels": {"a": "b"}}});
    let kept = both.patch(&path, "merge", &labels).await.is(200).json();
    assert_eq!(kept["spec"], made["spec"]);
    let two = json!({"spec": {"ipFamilies": ["IPv4", "IPv6"]}});
    let two = both.patch(&path, "merge", &two).await.is(200).json();
    let ips = ips(&two);
    assert_eq!(ips[0], made["spec"]["clusterIP"].as_str().unwrap());
    let six = format!("{ADDRESSES}/{}", ips[1]);
    assert!(ips[1].starts_with("fd00:10:96::"), "{ips:?}");
    both.get(&six).await.is(200);
    both.stop().await;

    // the address stays the service's, and is known to be in use, without its family being the cluster's
    let single = start("10.96.0.0/16").await;
    let kept = single.get(&path).await.is(200).json();
    assert_eq!(kept["spec"], two["spec"]);
    single.get(&six).await.is(200);
    let cidr = single
        .get(&format!("{CIDRS}/kubernetes"))
        .await
        .is(200)
        .json();
    assert_eq!(cidr["spec"]["cidrs"].as_array().unwrap().len(), 2);
    let kept = single.patch(&path, "merge", &labels).await.is(200).json();
    assert_eq!(kept["spec"], two["spec"]);
    let spec = json!({"spec": {"ipFamilyPolicy": "SingleStack"}});
    let one = single.patch(&path, "merge", &spec).await.is(200).json();
    assert_eq!(one["spec"]["clusterIPs"], json!([ips[0]]));
    single.stop().await;
}

#[tokio::test]
async fn a_node_port_is_one_number_in_both_families() {
    let server = cluster(BOTH).await;
    let spec = json!({"type": "LoadBalancer", "ipFamilyPolicy": "RequireDualStack", "ports": [{"port": 80, "nodePort": 30077}],
        "externalIPs": ["192.0.2.7", "2001:db8::7"], "loadBalancerSourceRanges": ["192.0.2.0/24", "2001:db8::/64"]});
    let made = create(&server, &spec).await.is(201).json();
    assert_eq!(made["spec"]["ports"][0]["nodePort"], 30077);
    assert_eq!(ips(&made).len(), 2);
    let points = json!([{"ip": "192.0.2.8"}, {"ip": "2001:db8::8"}]);
    let patch = json!({"status": {"loadBalancer": {"ingress": points}}});
    let path = format!("{SERVICES}/a/status");
    let told = server.patch(&path, "merge", &patch).await.is(200).json();
    let points =
        json!([{"ip": "192.0.2.8", "ipMode": "VIP"}, {"ip": "2001:db8::8", "ipMode": "VIP"}]);
    assert_eq!(told["status"]["loadBalancer"]["ingress"], points);
    server.stop().await;
}

#[tokio::test]
async fn an_address_of_the_second_family_belongs_to_one_service() {
    let server = cluster(BOTH).await;
    let spec = json!({"ipFamilyPolicy": "RequireDualStack", "clusterIP": "10.96.0.50", "clusterIPs": ["10.96.0.50", "fd00:10:96::50"]});
    create(&server, &spec).await.is(201);
    let mut other = service(&json!({"clusterIP": "fd00:10:96::50"}));
    other["metadata"]["name"] = "b".into();
    let said = server.post(SERVICES, &other).await.is(422).message();
    assert!(
        said.ends_with("failed to allocate IP fd00:10:96::50: provided IP is already allocated"),
        "{said}"
    );
    // what the first family gave is given back when the second cannot
    let free = json!({"ipFamilyPolicy": "RequireDualStack", "clusterIP": "10.96.0.51", "clusterIPs": ["10.96.0.51", "fd00:10:96::50"]});
    let mut other = service(&free);
    other["metadata"]["name"] = "b".into();
    server.post(SERVICES, &other).await.is(422);
    let mut third = service(&json!({"clusterIP": "10.96.0.51"}));
    third["metadata"]["name"] = "c".into();
    server.post(SERVICES, &third).await.is(201);
    let mut dry = service(&json!({"ipFamilyPolicy": "RequireDualStack"}));
    dry["metadata"]["name"] = "d".into();
    let path = format!("{SERVICES}?dryRun=All");
    let shown = server.post(&path, &dry).await.is(201).json();
    assert_eq!(ips(&shown), ["10.96.0.0", "fd00:10:96::"]);
    let single = json!({"spec": {"ipFamilyPolicy": "SingleStack"}});
    server
        .patch(&format!("{SERVICES}/a"), "merge", &single)
        .await
        .is(200);
    other["spec"] = json!({"ports": [{"port": 80}], "clusterIP": "fd00:10:96::50"});
    server.post(SERVICES, &other).await.is(201);
    server.stop().await;
}
