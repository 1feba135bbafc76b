//! Who reaches whom under which policies: `testdata/networkpolicy/truth.yaml`, each line tried by real connections, and again without the policies.

use std::{
    collections::BTreeSet,
    io::ErrorKind,
    net::SocketAddr,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    super::super::{
        family::IpFamily,
        ns::Namespace,
        tests::lab::{ask, ask_udp, in_both_families, serve},
    },
    town::{DNS, Town, object},
    yaml,
};

/// Whoever has no answer by then is shut out.
const SHUT_OUT: Duration = Duration::from_millis(200);
const DEADLINE: Duration = Duration::from_secs(5);
const SERVICE: [u8; 4] = [10, 96, 0, 5];

const CLIENTS: &[&str] = &[
    "near", "far", "guest", "alien", "web", "node0", "node1", "host",
];
const TARGETS: &[&str] = &[
    "web/80", "web/81", "web/53u", "db/80", "db/81", "svc", "dns", "world",
];

/// (client, target)
type Way = (&'static str, &'static str);

async fn settled(family: IpFamily) -> Option<Town> {
    let mut town = Town::new(family, 2).await?;
    town.policies(&[]);
    let port = |name: &str, number: u16, protocol: &str| json!({"name": name, "containerPort": number, "protocol": protocol});
    let web = [
        port("http", 80, "TCP"),
        port("admin", 81, "TCP"),
        port("dns", 53, "UDP"),
    ];
    // The same names, elsewhere.
    let db = [
        port("http", 81, "TCP"),
        port("admin", 80, "TCP"),
        port("dns", 53, "TCP"),
    ];
    for (node, name, namespace, labels, ports) in [
        (
            0,
            "web",
            "shop",
            json!({"app": "web", "tier": "back"}),
            json!(web),
        ),
        (
            0,
            "near",
            "shop",
            json!({"app": "near", "role": "client"}),
            json!([]),
        ),
        (
            0,
            "guest",
            "other",
            json!({"app": "guest", "role": "client"}),
            json!([]),
        ),
        (
            1,
            "db",
            "shop",
            json!({"app": "db", "tier": "back"}),
            json!(db),
        ),
        (
            1,
            "far",
            "shop",
            json!({"app": "far", "role": "client"}),
            json!([]),
        ),
        (1, "alien", "other", json!({"app": "alien"}), json!([])),
    ] {
        let serves: &[u16] = match name {
            "web" => &[80, 81, 53],
            "db" => &[80, 81],
            _ => &[],
        };
        town.pod(node, name, object(namespace, labels, ports), serves)
            .await;
    }
    let name = "kubernetes.io/metadata.name";
    town.listed(&[
        ("shop", json!({name: "shop", "team": "a"})),
        ("other", json!({name: "other", "team": "b"})),
        ("kube-system", json!({name: "kube-system"})),
    ]);
    let ports = json!([{"port": 8080, "targetPort": 80}]);
    town.cluster
        .service("svc", json!({"clusterIP": "10.96.0.5", "ports": ports}));
    let ports = json!([{"name": "", "port": 80, "protocol": "TCP"}]);
    town.cluster
        .endpoints_with("svc", ports, &[(&town.pods["web"].pod, 0, "ready")]);
    serve(&town.cluster.lab.host, world(&town).await, "world").await;
    Some(town)
}

async fn world(town: &Town) -> SocketAddr {
    SocketAddr::new(town.cluster.lab.gateway(), 80)
}

/// The ways that are tried; not those that have nothing to do with pods.
fn ways() -> impl Iterator<Item = Way> {
    let all = CLIENTS
        .iter()
        .flat_map(|client| TARGETS.iter().map(move |target| (*client, *target)));
    all.filter(|(client, target)| {
        let from_pod = !client.starts_with("node") && *client != "host";
        from_pod || !["dns", "world"].contains(target)
    })
}

/// The words of a line, `others` being whoever comes to a pod from elsewhere.
fn closed(case: &Value) -> BTreeSet<Way> {
    let known = |word: &str, list: &[&'static str]| {
        let found = list.iter().find(|known| **known == word);
        *found.unwrap_or_else(|| panic!("{word} in {case}"))
    };
    let mut found = BTreeSet::new();
    for (targets, clients) in case["closed"].as_object().unwrap() {
        for target in targets.split(' ').map(|word| known(word, TARGETS)) {
            let own: &[&str] = match target {
                "svc" | "web/80" | "web/81" | "web/53u" => &["web", "node0"],
                _ => &["node1"],
            };
            for word in clients.as_str().unwrap().split(' ') {
                if word == "others" {
                    let others = CLIENTS.iter().filter(|client| !own.contains(client));
                    found.extend(others.map(|client| (*client, target)));
                } else {
                    found.insert((known(word, CLIENTS), target));
                }
            }
        }
    }
    found
}

async fn try_way(ns: Namespace, to: SocketAddr, udp: bool, closed: bool) -> Result<(), String> {
    let asked = async {
        if udp {
            ask_udp(&ns, to).await
        } else {
            ask(&ns, to).await
        }
    };
    if !closed {
        return asked.await.map(drop).map_err(|e| e.to_string());
    }
    match tokio::time::timeout(SHUT_OUT, asked).await {
        Err(_) => Ok(()),
        Ok(Err(e)) if e.kind() == ErrorKind::TimedOut => Ok(()),
        Ok(answer) => Err(format!("{answer:?}")),
    }
}

/// Tries all ways until they are as they should be.
async fn holds(town: &Town, what: &str, closed: &BTreeSet<Way>) -> usize {
    let begun = Instant::now();
    loop {
        let mut tries = tokio::task::JoinSet::new();
        for (client, target) in ways() {
            let to = match target {
                "svc" => town.cluster.at(SERVICE, 8080),
                "dns" => town.cluster.at(DNS, 53),
                "world" => world(town).await,
                pod => {
                    let (pod, port) = pod.split_once('/').unwrap();
                    town.at(pod, port.trim_end_matches('u').parse().unwrap())
                }
            };
            let (ns, shut) = (town.ns(client).clone(), closed.contains(&(client, target)));
            let udp = target.ends_with('u') || target == "dns";
            tries.spawn(async move {
                let tried = try_way(ns, to, udp, shut).await;
                tried.map_err(|e| {
                    format!(
                        "{client} to {target}: {} but {e}",
                        if shut { "closed" } else { "open" }
                    )
                })
            });
        }
        let all = tries.join_all().await;
        let wrong: Vec<_> = all.iter().filter_map(|one| one.as_ref().err()).collect();
        if wrong.is_empty() {
            return all.len();
        }
        assert!(begun.elapsed() < DEADLINE, "{what}: {wrong:#?}");
    }
}

in_both_families!(policies_are_true);

async fn policies_are_true(family: IpFamily) {
    let Some(town) = settled(family).await else {
        return;
    };
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../testdata/networkpolicy/truth.yaml"
    );
    let text = std::fs::read_to_string(path).unwrap();
    let world = world(&town).await.ip().to_string();
    let node1 = town.cluster.lab.node_ip(1).to_string();
    let text = match family {
        IpFamily::V4 => text,
        IpFamily::V6 => text
            .replace("$WORLD/32", "\"$WORLD/128\"")
            .replace("$NODE1/32", "\"$NODE1/128\""),
    };
    let cases = yaml(&text.replace("$WORLD", &world).replace("$NODE1", &node1));
    let cases = cases.as_array().unwrap();
    let (begun, mut tried) = (Instant::now(), 0);
    tried += holds(&town, "before any policy", &BTreeSet::new()).await;
    for case in cases {
        let what = case["name"].as_str().unwrap();
        let policies: Vec<_> = case["policies"]
            .as_array()
            .unwrap()
            .iter()
            .map(|policy| {
                let namespace = policy["namespace"].as_str().unwrap_or("shop");
                (namespace, policy["spec"].clone())
            })
            .collect();
        town.policies(&policies);
        town.settled().await;
        tried += holds(&town, what, &closed(case)).await;
        town.policies(&[]);
        town.settled().await;
        tried += holds(&town, &format!("after: {what}"), &BTreeSet::new()).await;
    }
    eprintln!(
        "{} cases, {tried} connections in {:?}",
        cases.len(),
        begun.elapsed()
    );
}
