//! What comes and goes under walls: policies while connections are open, pods, labels, and the agent itself.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    sync::oneshot,
};

use super::{
    super::{
        super::{
            family::IpFamily,
            ns::Namespace,
            tests::{
                lab::{Lab, ask, ask_udp, eventually, in_both_families, network, serve},
                services::nftables,
            },
        },
        Keeper, PolicyConfig, Walls,
        own::Request,
        plan::Own,
        view::{Seen, Told},
    },
    town::{Town, object},
};

const SOON: Duration = Duration::from_secs(1);
const SHUT_OUT: Duration = Duration::from_millis(300);

fn deny() -> Value {
    json!({"podSelector": {}, "policyTypes": ["Ingress"]})
}

fn allow(labels: Value) -> Value {
    json!({"podSelector": {}, "ingress": [{"from": [{"podSelector": {"matchLabels": labels}}]}]})
}

fn labelled(app: &str) -> Value {
    object("shop", json!({"app": app}), json!([]))
}

/// A server and two clients, one on each node.
async fn shop(family: IpFamily) -> Option<Town> {
    let mut town = Town::new(family, 2).await?;
    town.policies(&[]);
    town.pod(0, "web", labelled("web"), &[80]).await;
    town.pod(0, "near", labelled("near"), &[]).await;
    town.pod(1, "far", labelled("far"), &[]).await;
    town.listed(&[("shop", json!({"team": "a"}))]);
    Some(town)
}

async fn shut(ns: &Namespace, to: SocketAddr) -> bool {
    tokio::time::timeout(SHUT_OUT, ask(ns, to)).await.is_err()
}

/// Sends back what comes, and to whoever said `?` a word a moment.
async fn talker(ns: &Namespace, at: SocketAddr) {
    let listener = ns.tcp_listen(at).await.unwrap();
    let socket = std::sync::Arc::new(ns.udp_bind(at).await.unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                while stream.write_all(b"!").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            });
        }
    });
    tokio::spawn(async move {
        let mut buffer = [0; 16];
        while let Ok((_, from)) = socket.recv_from(&mut buffer).await {
            let socket = socket.clone();
            tokio::spawn(async move {
                while socket.send_to(b"!", from).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            });
        }
    });
}

/// What comes of an open connection: the time of the last of it, once nothing came for half a second.
async fn silent_since(mut receive: impl AsyncFnMut() -> bool) -> Instant {
    let begun = Instant::now();
    let mut last = begun;
    while let Ok(true) = tokio::time::timeout(Duration::from_millis(500), receive()).await {
        last = Instant::now();
        assert!(last - begun < Duration::from_secs(5), "it goes on and on");
    }
    last
}

async fn open(town: &Town, client: &str, to: SocketAddr) -> (TcpStream, UdpSocket) {
    let mut stream = town.ns(client).tcp_connect(to).await.unwrap();
    let socket = town
        .ns(client)
        .udp_bind(SocketAddr::new(town.cluster.lab.family.unspecified(), 0))
        .await
        .unwrap();
    socket.connect(to).await.unwrap();
    socket.send(b"?").await.unwrap();
    let mut word = [0];
    stream.read_exact(&mut word).await.unwrap();
    socket.recv(&mut word).await.unwrap();
    (stream, socket)
}

in_both_families!(open_connections_end_with_what_allowed_them);

async fn open_connections_end_with_what_allowed_them(family: IpFamily) {
    let Some(town) = shop(family).await else {
        return;
    };
    let to = town.at("web", 90);
    talker(town.ns("web"), to).await;
    // By the server's side, and by the client's; on one node and from the other.
    let out = json!({"podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["near", "far"]}]}, "policyTypes": ["Egress"]});
    for (what, spec) in [("ingress", deny()), ("egress", out)] {
        for client in ["near", "far"] {
            let (mut stream, socket) = open(&town, client, to).await;
            let told = Instant::now();
            town.policies(&[("shop", spec.clone())]);
            let mut buffer = [0; 4096];
            // The server goes on talking: only its own packets could keep this alive.
            let tcp = silent_since(async || stream.read(&mut buffer).await.is_ok_and(|n| n > 0))
                .await
                - told;
            let mut word = [0];
            let udp = silent_since(async || socket.recv(&mut word).await.is_ok()).await;
            let udp = udp.saturating_duration_since(told);
            eprintln!("{what}, {client}: silent after {tcp:?} (TCP)");
            assert!(
                tcp < SOON && udp < SOON + Duration::from_millis(600),
                "{what}, {client}: {tcp:?} {udp:?}"
            );
            town.policies(&[]);
            // What was only held back comes through again.
            let again = stream.read(&mut buffer);
            assert!(
                tokio::time::timeout(Duration::from_secs(5), again)
                    .await
                    .unwrap()
                    .unwrap()
                    > 0
            );
        }
    }
}

in_both_families!(connections_that_stay_allowed_go_on);

async fn connections_that_stay_allowed_go_on(family: IpFamily) {
    let Some(town) = shop(family).await else {
        return;
    };
    let to = town.at("web", 90);
    talker(town.ns("web"), to).await;
    let (mut stream, socket) = open(&town, "near", to).await;
    for number in 0..5 {
        let other = json!({"podSelector": {}, "ingress": [{"ports": [{"port": 1000 + number}]}]});
        town.policies(&[
            ("shop", deny()),
            ("shop", allow(json!({"app": "near"}))),
            ("shop", other),
        ]);
        town.settled().await;
        let mut word = [0];
        let heard = async {
            stream.read_exact(&mut word).await.unwrap();
            socket.recv(&mut word).await.unwrap();
        };
        tokio::time::timeout(SOON, heard).await.unwrap();
    }
}

in_both_families!(a_new_pod_is_closed_from_its_first_packet);

async fn a_new_pod_is_closed_from_its_first_packet(family: IpFamily) {
    let Some(mut town) = shop(family).await else {
        return;
    };
    town.policies(&[("shop", deny())]);
    town.settled().await;
    // Someone tries its address all the while.
    let (ns, next) = (town.ns("near").clone(), town.at("near", 80));
    let after = crate::network::family::next(next.ip()).unwrap();
    let to = SocketAddr::new(after, 80);
    let trying = tokio::spawn(async move {
        let mut tries = 0;
        loop {
            let answer = tokio::time::timeout(Duration::from_millis(20), ask(&ns, to)).await;
            assert!(
                !matches!(answer, Ok(Ok(_))),
                "open at try {tries}: {answer:?}"
            );
            tries += 1;
        }
    });
    town.pod(0, "new", labelled("new"), &[80]).await;
    assert_eq!(town.at("new", 80), to);
    assert!(
        ask(town.ns("node0"), to).await.is_ok(),
        "its own node reaches it at once"
    );
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!trying.is_finished());
    trying.abort();

    // One that nobody has told of is closed, both ways, but for its node; it opens when it is heard of.
    let begun = Instant::now();
    let pod = town.cluster.lab.pod(0, "unheard").await;
    assert!(
        begun.elapsed() < Duration::from_secs(4),
        "its start is not held up for long"
    );
    let at = SocketAddr::new(pod.ip, 80);
    serve(&pod.ns, at, "unheard").await;
    assert!(ask(town.ns("node0"), at).await.is_ok(), "probes pass");
    assert!(ask(town.ns("near"), at).await.is_err());
    assert!(shut(&pod.ns, town.at("web", 80)).await);
    town.announce("unheard", &object("other", json!({}), json!([])));
    eventually("it is open, as no policy selects it", || async {
        ask(town.ns("near"), at).await.is_ok()
    })
    .await;
}

in_both_families!(pods_start_without_a_wait);

async fn pods_start_without_a_wait(family: IpFamily) {
    let Some(town) = shop(family).await else {
        return;
    };
    for policies in [vec![], vec![("shop", deny())]] {
        town.policies(&policies);
        town.settled().await;
        let mut slowest = Duration::ZERO;
        for number in 0..5 {
            let uid = format!("p{number}");
            town.announce(&uid, &labelled("p"));
            let begun = Instant::now();
            town.cluster.lab.pod(0, &uid).await;
            slowest = slowest.max(begun.elapsed());
        }
        eprintln!(
            "networks of pods beside {} policies: at most {slowest:?}",
            policies.len()
        );
        assert!(slowest < Duration::from_millis(1500), "{slowest:?}");
        for number in 0..5 {
            use super::super::super::PodNetworks;
            town.cluster.lab.nodes[0]
                .pods
                .teardown(&format!("p{number}"))
                .await
                .unwrap();
        }
    }
}

in_both_families!(labels_and_addresses_change);

async fn labels_and_addresses_change(family: IpFamily) {
    let Some(mut town) = shop(family).await else {
        return;
    };
    let web = town.at("web", 80);
    let team = json!({"podSelector": {}, "ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"team": "b"}}}]}]});
    for (what, policies, opens) in [
        ("a pod's label", allow(json!({"friend": "yes"})), "pod"),
        ("a namespace's label", team, "namespace"),
    ] {
        town.policies(&[("shop", policies)]);
        town.settled().await;
        assert!(shut(town.ns("far"), web).await, "{what}");
        let change = |town: &mut Town, open: bool| match opens {
            "pod" if open => town.label("far", json!({"friend": "yes"})),
            "pod" => town.label("far", json!({"app": "far"})),
            _ => town.namespace("shop", json!({"team": if open { "b" } else { "a" }})),
        };
        let told = Instant::now();
        change(&mut town, true);
        eventually(what, || async { ask(town.ns("far"), web).await.is_ok() }).await;
        assert!(
            told.elapsed() < Duration::from_secs(4),
            "{what}: {:?}",
            told.elapsed()
        );
        change(&mut town, false);
        town.settled().await;
        assert!(shut(town.ns("far"), web).await, "{what}, back");
    }
    // The pod itself leaves what the policy selects.
    town.policies(&[(
        "shop",
        json!({"podSelector": {"matchLabels": {"app": "web"}}}),
    )]);
    town.settled().await;
    assert!(shut(town.ns("near"), web).await);
    town.label("web", json!({"app": "free"}));
    town.settled().await;
    assert!(ask(town.ns("near"), web).await.is_ok());
    // A peer is started anew, and has another address.
    town.policies(&[("shop", allow(json!({"app": "near"})))]);
    let before = town.at("near", 1);
    town.end("near").await;
    town.pod(0, "near-2", labelled("near"), &[]).await;
    assert_ne!(town.at("near-2", 1), before);
    assert!(ask(town.ns("near-2"), web).await.is_ok());
    // Whoever has the old address by then is no peer.
    town.pod(0, "other", labelled("other"), &[]).await;
    assert!(shut(town.ns("other"), web).await);
}

in_both_families!(walls_stand_while_the_agent_is_away);

async fn walls_stand_while_the_agent_is_away(family: IpFamily) {
    let Some(mut town) = shop(family).await else {
        return;
    };
    let web = town.at("web", 80);
    let policies = [("shop", allow(json!({"app": "far"})))];
    town.policies(&policies);
    town.settled().await;
    let check = async |town: &Town, when: &str| {
        assert!(ask(town.ns("far"), web).await.is_ok(), "{when}");
        assert!(ask(town.ns("node0"), web).await.is_ok(), "{when}");
        assert!(shut(town.ns("near"), web).await, "{when}");
    };
    check(&town, "before").await;
    town.leave(0).await;
    check(&town, "without an agent").await;
    town.come_back(0);
    tokio::time::sleep(Duration::from_millis(300)).await;
    check(&town, "while the new one has heard nothing").await;
    // A pod that goes meanwhile leaves nothing open.
    town.end("near").await;
    town.policies(&policies);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(
        ask(town.ns("far"), web).await.is_ok(),
        "while it has heard of policies alone"
    );
    town.listed(&[("shop", json!({}))]);
    town.pod(0, "near", labelled("near"), &[]).await;
    check(&town, "afterwards").await;
    town.tell(Told::Policies(Seen::Listed(Vec::new())));
    town.settled().await;
    assert!(ask(town.ns("near"), web).await.is_ok());
}

in_both_families!(a_pod_cannot_pass_for_another);

async fn a_pod_cannot_pass_for_another(family: IpFamily) {
    let Some(town) = shop(family).await else {
        return;
    };
    town.policies(&[("shop", allow(json!({"app": "far"})))]);
    town.settled().await;
    let web = town.at("web", 80);
    assert!(shut(town.ns("near"), web).await);
    // It gives itself the address of one that may, and sends by a way of its own.
    let links = crate::network::link::Links::open(town.ns("near"))
        .await
        .unwrap();
    let link = links.need("eth0").await.unwrap();
    let far = town.at("far", 0).ip();
    let alone = crate::network::family::alone(far);
    links
        .add_address(link, far, alone.prefix_len())
        .await
        .unwrap();
    links
        .route(network(family, "10.244.0.0/24"), None, link)
        .await
        .unwrap();
    let as_far = |ns: Namespace| async move {
        let make = match family {
            IpFamily::V4 => tokio::net::TcpSocket::new_v4,
            IpFamily::V6 => tokio::net::TcpSocket::new_v6,
        };
        let socket = ns.call(make).await.unwrap().unwrap();
        socket.bind(SocketAddr::new(far, 0)).unwrap();
        tokio::time::timeout(SHUT_OUT, socket.connect(web))
            .await
            .is_err_and(|_| true)
    };
    assert!(as_far(town.ns("near").clone()).await);
    // Neighbours that are asked for directly do not answer.
    assert!(ask(town.ns("near"), web).await.is_err());
    assert!(ask_udp(town.ns("near"), web).await.is_err());
    assert!(ask(town.ns("far"), web).await.is_ok());
}

in_both_families!(where_bridges_are_filtered);

in_both_families!(a_pod_cannot_take_the_address_of_another);

/// It answers whoever asks for the address before its owner does, and is not heard.
async fn a_pod_cannot_take_the_address_of_another(family: IpFamily) {
    let Some(mut town) = shop(family).await else {
        return;
    };
    let next = crate::network::family::next(town.at("near", 80).ip()).unwrap();
    let thief = town.ns("near").clone();
    let links = crate::network::link::Links::open(&thief).await.unwrap();
    let link = links.need("eth0").await.unwrap();
    let alone = crate::network::family::alone(next);
    links
        .add_address(link, next, alone.prefix_len())
        .await
        .unwrap();
    let at = SocketAddr::new(next, 80);
    serve(&thief, at, "thief").await;
    // Nobody has it yet, and nobody finds it.
    assert!(shut(town.ns("node0"), at).await);
    town.pod(0, "owner", labelled("owner"), &[80]).await;
    assert_eq!(town.at("owner", 80), at);
    for ns in ["node0", "web", "far"] {
        let (server, _) = ask(town.ns(ns), at).await.unwrap();
        assert_eq!(server, "owner", "from {ns}");
    }
    // The thief's own neighbours are as before.
    assert!(ask(&thief, town.at("web", 80)).await.is_ok());
}

/// Docker and Kubernetes ask for it: a service's packets then go from pod to pod over the bridge, translated on their way.
async fn where_bridges_are_filtered(family: IpFamily) {
    let Some(town) = shop(family).await else {
        return;
    };
    let call = match family {
        IpFamily::V4 => "bridge-nf-call-iptables",
        IpFamily::V6 => "bridge-nf-call-ip6tables",
    };
    let filtered = town
        .ns("node0")
        .sysctl(vec![(format!("net/bridge/{call}"), "1")]);
    if let Err(error) = filtered.await {
        return skiff_testing::skipped(error);
    }
    let ports = json!([{"port": 8080, "targetPort": 80}]);
    town.cluster
        .service("svc", json!({"clusterIP": "10.96.0.5", "ports": ports}));
    let ports = json!([{"name": "", "port": 80, "protocol": "TCP"}]);
    let web = &town.pods["web"].pod;
    town.cluster
        .endpoints_with("svc", ports, &[(web, 0, "ready")]);
    let ways = [town.at("web", 80), town.cluster.at([10, 96, 0, 5], 8080)];
    let clients = ["near", "far", "web"];
    for (policies, open) in [
        (vec![], &clients[..]),
        (vec![("shop", deny())], &["web"]),
        (
            vec![("shop", allow(json!({"app": "near"})))],
            &["near", "web"],
        ),
        (
            vec![("shop", allow(json!({"app": "far"})))],
            &["far", "web"],
        ),
    ] {
        town.policies(&policies);
        town.settled().await;
        for (client, to) in clients
            .iter()
            .flat_map(|c| ways.iter().map(move |to| (c, *to)))
        {
            let what = format!("{client} to {to} under {policies:?}");
            if open.contains(client) {
                eventually(&what, || async { ask(town.ns(client), to).await.is_ok() }).await;
            } else {
                assert!(shut(town.ns(client), to).await, "{what}");
            }
        }
    }
}

in_both_families!(nothing_is_left_and_nothing_else_is_touched);

async fn nothing_is_left_and_nothing_else_is_touched(family: IpFamily) {
    use crate::network::nft::{Family, Nft};
    let Some(mut town) = shop(family).await else {
        return;
    };
    town.policies(&[("shop", deny())]);
    town.settled().await;
    let ns = town.ns("node0").clone();
    // What is not the pods' passes through the node as before.
    let lab: &Lab = &town.cluster.lab;
    let host = SocketAddr::new(lab.gateway(), 80);
    serve(&lab.host, host, "host").await;
    assert!(ask(&ns, host).await.is_ok());
    let nft = Nft::find(&ns).await.unwrap();
    // Somebody flushes everything: walls are made anew in time. Here only that nothing fails.
    town.leave(0).await;
    super::super::clear(&ns).await.unwrap();
    super::super::clear(&ns).await.unwrap();
    for family in [Family::Ip, Family::Ip6, Family::Bridge] {
        let tables = nft.tables(family).await.unwrap();
        assert!(!tables.contains(&"skiff-policy".to_owned()), "{tables:?}");
    }
}

/// Two pods had an address, one after the other, and both gave it back before it was known what walls are made from.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_given_back_twice_is_closed_once() {
    if !nftables().await {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ns");
    let node = Namespace::make(&path).await.unwrap();
    let config = PolicyConfig {
        node: node.clone(),
        node_name: "node".into(),
        dir: dir.path().to_owned(),
        dns_ips: Vec::new(),
    };
    let (_walls, own) = Walls::new();
    let mut keeper = Keeper::start(None, config, &own).await.unwrap();
    let mut answers = Vec::new();
    for uid in ["one", "other"] {
        let own = Own {
            ips: vec![[10, 244, 0, 9].into()],
            link: None,
        };
        let uid = uid.to_owned();
        let (done, _) = oneshot::channel();
        let here = uid.clone();
        keeper.answer(Request::Here {
            uid: here,
            own,
            done,
        });
        let (done, answer) = oneshot::channel();
        keeper.answer(Request::Gone { uid, done });
        answers.push(answer);
    }
    assert!(!keeper.begun && keeper.kernel.is_some());
    keeper.round().await;
    assert!(keeper.closing.is_empty(), "it is closed");
    for answer in answers {
        answer.await.unwrap().unwrap();
    }
    drop(keeper);
    Namespace::delete(&path).unwrap();
}
