//! Cluster DNS for real: asked by UDP and TCP from pods, nodes and the host, with a resolver of the machine behind it.

use std::{
    net::SocketAddr,
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use hickory_server::proto::{
    op::{Edns, Message, OpCode, Query, ResponseCode},
    rr::{Name, RecordType},
};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        dns::{DnsConfig, run_dns},
        family::IpFamily,
        ns::Namespace,
        view::{ClusterView, ObjectName},
    },
    lab::*,
};

const DNS: ([u8; 4], u16) = ([10, 96, 0, 10], 53);

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

async fn by_udp(ns: &Namespace, name: &str, kind: RecordType) -> std::io::Result<Message> {
    by_udp_at(ns, SocketAddr::from(DNS), name, kind).await
}

pub async fn by_udp_at(
    ns: &Namespace,
    server: SocketAddr,
    name: &str,
    kind: RecordType,
) -> std::io::Result<Message> {
    let any = IpFamily::of(server.ip()).unspecified();
    let socket = ns.udp_bind(SocketAddr::new(any, 0)).await?;
    socket.connect(server).await?;
    socket.send(&question(name, kind).to_vec().unwrap()).await?;
    let mut buffer = [0; 4096];
    let n = tokio::time::timeout(Duration::from_secs(2), socket.recv(&mut buffer))
        .await
        .map_err(|_| std::io::ErrorKind::TimedOut)??;
    Ok(Message::from_vec(&buffer[..n]).unwrap())
}

async fn by_tcp(ns: &Namespace, name: &str, kind: RecordType) -> Message {
    let mut stream = ns.tcp_connect(SocketAddr::from(DNS)).await.unwrap();
    let bytes = question(name, kind).to_vec().unwrap();
    stream
        .write_u16(u16::try_from(bytes.len()).unwrap())
        .await
        .unwrap();
    stream.write_all(&bytes).await.unwrap();
    let mut answer = vec![0; stream.read_u16().await.unwrap().into()];
    stream.read_exact(&mut answer).await.unwrap();
    Message::from_vec(&answer).unwrap()
}

pub fn addresses(message: &Message) -> Vec<String> {
    let mut all: Vec<_> = message.answers.iter().map(|r| r.data.to_string()).collect();
    all.sort();
    all
}

/// A resolver of the machine that knows one name, at a loopback address that only the machine itself reaches.
async fn machine_resolver(host: &Namespace, at: SocketAddr) {
    let socket = host.udp_bind(at).await.unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((n, from)) = socket.recv_from(&mut buffer).await {
            let mut message = Message::from_vec(&buffer[..n]).unwrap().into_response();
            let query = message.queries[0].clone();
            if query.name().to_lowercase() != Name::from_str("example.com.").unwrap() {
                message.metadata.response_code = ResponseCode::NXDomain;
            } else if query.query_type() == RecordType::A {
                let data = hickory_server::proto::rr::RData::A(
                    std::net::Ipv4Addr::new(192, 0, 2, 80).into(),
                );
                message.add_answer(hickory_server::proto::rr::Record::from_rdata(
                    query.name().clone(),
                    300,
                    data,
                ));
            }
            socket
                .send_to(&message.to_vec().unwrap(), from)
                .await
                .unwrap();
        }
    });
}

/// The answer to bytes as they are.
async fn said(ns: &Namespace, bytes: &[u8]) -> Vec<u8> {
    let socket = ns.udp_bind("0.0.0.0:0".parse().unwrap()).await.unwrap();
    socket.connect(SocketAddr::from(DNS)).await.unwrap();
    socket.send(bytes).await.unwrap();
    let mut buffer = vec![0; 4096];
    let received = tokio::time::timeout(DEADLINE, socket.recv(&mut buffer));
    let length = received.await.unwrap().unwrap();
    buffer.truncate(length);
    buffer
}

/// Letters and numbers come back, EDNS is answered with EDNS, of three addresses each is the first now and then, and what is no question is told so.
async fn as_it_was_asked(ns: &Namespace) {
    for _ in 0..2 {
        let mut asked = question("Web.nS.svc.CLUSTER.local.", RecordType::A);
        asked.metadata.id = 4711;
        let answer = Message::from_vec(&said(ns, &asked.to_vec().unwrap()).await).unwrap();
        assert_eq!(answer.metadata.id, 4711);
        let name = answer.queries[0].name().to_string();
        assert_eq!(name, "Web.nS.svc.CLUSTER.local.");
        assert!(answer.edns.is_none() && addresses(&answer) == ["10.96.0.5"]);
        let mut edns = Edns::new();
        edns.set_max_payload(4096);
        asked.set_edns(edns);
        let answer = Message::from_vec(&said(ns, &asked.to_vec().unwrap()).await).unwrap();
        assert_eq!(answer.edns.unwrap().max_payload(), 1232, "and no more");
    }
    let mut later = question("web.ns.svc.cluster.local.", RecordType::A);
    let mut edns = Edns::new();
    edns.set_version(1);
    later.set_edns(edns);
    let answer = Message::from_vec(&said(ns, &later.to_vec().unwrap()).await).unwrap();
    // signatures that are bad have the same number
    let code = u16::from(answer.metadata.response_code);
    assert_eq!(code, u16::from(ResponseCode::BADVERS));
    let edns = answer.edns.as_ref().map(|edns| edns.version());
    assert!(edns == Some(0) && answer.answers.is_empty());
    let mut first = std::collections::BTreeSet::new();
    let begun = Instant::now();
    while first.len() < 3 {
        assert!(begun.elapsed() < DEADLINE, "each is the first now and then");
        let answer = by_udp(ns, "three.ns.svc.cluster.local.", RecordType::A).await;
        let answers = answer.unwrap().answers;
        assert_eq!(answers.len(), 3);
        first.insert(answers[0].data.to_string());
    }
    let mut garbage = question("web.ns.svc.cluster.local.", RecordType::A)
        .to_vec()
        .unwrap();
    garbage[5] = 9;
    garbage.truncate(20);
    let answer = Message::from_vec(&said(ns, &garbage).await).unwrap();
    assert_eq!(answer.metadata.response_code, ResponseCode::FormErr);
    let mut notify = question("web.ns.svc.cluster.local.", RecordType::A);
    notify.metadata.op_code = OpCode::Notify;
    let answer = Message::from_vec(&said(ns, &notify.to_vec().unwrap()).await).unwrap();
    assert_eq!(answer.metadata.response_code, ResponseCode::NotImp);
}

/// Many who ask for the same at the same time, before it was ever answered: each is answered with its own number and letters, as far as there is room.
async fn all_at_once(ns: &Namespace) {
    const MANY: u16 = 100;
    let socket = ns.udp_bind("0.0.0.0:0".parse().unwrap()).await.unwrap();
    socket.connect(SocketAddr::from(DNS)).await.unwrap();
    let name = |id: u16| match id % 2 {
        0 => "many.ns.svc.cluster.local.",
        _ => "MANY.ns.svc.cluster.LOCAL.",
    };
    for id in 0..MANY {
        let mut asked = question(name(id), RecordType::A);
        asked.metadata.id = id;
        socket.send(&asked.to_vec().unwrap()).await.unwrap();
    }
    let mut answered = std::collections::BTreeSet::new();
    let mut buffer = [0; 4096];
    while answered.len() < usize::from(MANY) {
        let received = tokio::time::timeout(DEADLINE, socket.recv(&mut buffer));
        let length = received.await.unwrap().unwrap();
        let answer = Message::from_vec(&buffer[..length]).unwrap();
        let id = answer.metadata.id;
        assert_eq!(answer.queries[0].name().to_string(), name(id));
        let some = 1..200;
        assert!(answer.metadata.truncation && some.contains(&answer.answers.len()));
        assert!(answered.insert(id), "{id} was answered twice");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_answered() {
    if !possible().await {
        return;
    }
    let lab = Lab::new(2).await;
    machine_resolver(&lab.host, "127.0.0.53:53".parse().unwrap()).await;
    let resolv_conf = lab.dir.path().join("resolv.conf");
    std::fs::write(
        &resolv_conf,
        "nameserver 10.96.0.10\nnameserver 127.0.0.53\nsearch elsewhere.test\n",
    )
    .unwrap();
    let view = Arc::new(ClusterView::default());
    let put = |name: &str, spec: serde_json::Value| {
        view.put_service(
            serde_json::from_value(
                json!({"metadata": {"namespace": "ns", "name": name}, "spec": spec}),
            )
            .unwrap(),
        );
    };
    put(
        "web",
        json!({"clusterIP": "10.96.0.5", "ports": [{"port": 80}]}),
    );
    put(
        "ext",
        json!({"type": "ExternalName", "externalName": "example.com"}),
    );
    for (name, count) in [("many", 200), ("three", 3)] {
        put(name, json!({"clusterIP": "None"}));
        let all: Vec<_> = (1..=count)
            .map(|i| json!({"addresses": [format!("10.244.7.{i}")]}))
            .collect();
        view.put_slice(
            serde_json::from_value(json!({"metadata": {"namespace": "ns", "name": name, "labels": {"kubernetes.io/service-name": name}},
                "addressType": "IPv4", "endpoints": all}))
            .unwrap(),
        );
    }
    let stop = CancellationToken::new();
    let mut servers = Vec::new();
    for node in &lab.nodes {
        let config = DnsConfig {
            node: node.net.ns.clone(),
            upstream: lab.host.clone(),
            ips: vec![DNS.0.into()],
            domain: "cluster.local".into(),
            resolv_conf: resolv_conf.clone(),
        };
        servers.push(tokio::spawn(run_dns(view.clone(), config, stop.clone())));
    }
    view.set_synced();
    let pods = [lab.pod(0, "a").await, lab.pod(1, "b").await];
    for ns in [&pods[0].ns, &pods[1].ns, &lab.nodes[0].net.ns, &lab.host] {
        let ask = || by_udp(ns, "web.ns.svc.cluster.local.", RecordType::A);
        eventually("the server answers", || async {
            ask().await.is_ok_and(|m| addresses(&m) == ["10.96.0.5"])
        })
        .await;
    }
    let pod = &pods[0].ns;
    let web = by_tcp(pod, "web.ns.svc.cluster.local.", RecordType::A).await;
    assert!(
        web.metadata.authoritative
            && web.metadata.recursion_available
            && addresses(&web) == ["10.96.0.5"]
    );
    let none = by_udp(pod, "none.ns.svc.cluster.local.", RecordType::A)
        .await
        .unwrap();
    assert_eq!(none.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(none.authorities.len(), 1, "negative answers bear the SOA");
    let v6 = by_udp(pod, "web.ns.svc.cluster.local.", RecordType::AAAA)
        .await
        .unwrap();
    assert_eq!(
        (
            v6.metadata.response_code,
            v6.answers.len(),
            v6.authorities.len()
        ),
        (ResponseCode::NoError, 0, 1)
    );

    let world = by_udp(pod, "example.com.", RecordType::A).await.unwrap();
    assert_eq!(
        addresses(&world),
        ["192.0.2.80"],
        "through the machine's resolver at its loopback"
    );
    let alias = by_udp(pod, "ext.ns.svc.cluster.local.", RecordType::A)
        .await
        .unwrap();
    assert_eq!(addresses(&alias), ["192.0.2.80", "example.com."]);
    let nowhere = by_udp(pod, "nowhere.test.", RecordType::A).await.unwrap();
    assert_eq!(nowhere.metadata.response_code, ResponseCode::NXDomain);

    all_at_once(pod).await;
    assert_eq!(
        by_tcp(pod, "many.ns.svc.cluster.local.", RecordType::A)
            .await
            .answers
            .len(),
        200
    );

    as_it_was_asked(pod).await;
    view.put_service(
        serde_json::from_value(json!({"metadata": {"namespace": "ns", "name": "web"}, "spec": {"clusterIP": "10.96.0.6", "ports": [{"port": 80}]}}))
            .unwrap(),
    );
    eventually("what was kept is forgotten when it changes", || async {
        by_udp(pod, "web.ns.svc.cluster.local.", RecordType::A)
            .await
            .is_ok_and(|m| addresses(&m) == ["10.96.0.6"])
    })
    .await;
    view.remove_service(&ObjectName::new("ns", "web"));
    eventually("the name is gone", || async {
        by_udp(pod, "web.ns.svc.cluster.local.", RecordType::A)
            .await
            .is_ok_and(|m| m.metadata.response_code == ResponseCode::NXDomain)
    })
    .await;
    stop.cancel();
    for server in servers {
        server.await.unwrap().unwrap();
    }
}
