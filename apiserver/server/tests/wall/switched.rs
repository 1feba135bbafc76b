//! Connections that become others behind a proxy: streams of pods, of aggregated servers, WebSockets.

use std::net::IpAddr;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;
use skiff_api::machinery::clock;
use skiff_server::auth::pki::{Authority, San};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    backend::{Backend, own_address},
    load::until,
    proxies::{BASE, node, pod},
    server::{ADMIN, Server},
};

async fn head(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap().to_ascii_lowercase()
}

#[tokio::test]
async fn switched_connections() {
    let Some(ip) = own_address().await else {
        return;
    };
    let ip: IpAddr = ip;
    let server = Server::start(&[]).await;
    let backend = Backend::plain(ip).await;
    pod(&server, "p", &ip.to_string()).await;
    let mut stream = server.connect().await;
    let request = format!(
        "GET {BASE}/pods/p:{}/proxy/echo?a=b HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ADMIN}\r\nconnection: keep-alive, Upgrade\r\nupgrade: echo\r\n\r\n",
        backend.port
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = head(&mut stream).await;
    assert!(
        answer.starts_with("http/1.1 101 ") && answer.contains("upgrade: echo"),
        "{answer}"
    );
    let asked = backend.last().head.to_ascii_lowercase();
    assert!(
        asked.starts_with("get /echo?a=b ")
            && asked.contains("x-forwarded-for: 127.0.0.1")
            && !asked.contains("bearer"),
        "{asked}"
    );
    stream.write_all(b"back and forth").await.unwrap();
    let mut heard = [0; 14];
    stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"back and forth");

    // streams of pods are only to be had by switching
    node(&server, "n", &ip.to_string(), backend.port).await;
    assert_eq!(
        server
            .send(
                ADMIN,
                "POST",
                &format!("{BASE}/pods/p/exec?command=id&stdout=1"),
                &[],
                ""
            )
            .await
            .is(400)
            .message(),
        "Upgrade request required"
    );
    assert_eq!(
        server
            .get(ADMIN, &format!("{BASE}/pods/p/proxy/?dryRun=All"))
            .await
            .is(400)
            .message(),
        "dryRun is not supported"
    );
}

#[tokio::test]
async fn connections_of_servers_behind_are_switched() {
    let server = Server::start(&[]).await;
    let map = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
    let map = server.get(ADMIN, map).await.is(200).json();
    let front = map["data"]["requestheader-client-ca-file"]
        .as_str()
        .unwrap();
    let (authority, _) = Authority::generate(clock::system()).unwrap();
    let name = San::Dns("fish.default.svc".into());
    let serving = authority.serving("fish", &[], &[name]).unwrap();
    let backend = Backend::tls([127, 0, 0, 1].into(), &serving, front.as_bytes()).await;
    let service = json!({"metadata": {"name": "fish"}, "spec": {"type": "ExternalName", "externalName": "localhost"}});
    server.make(&format!("{BASE}/services"), &service).await;
    let services = "/apis/apiregistration.k8s.io/v1/apiservices";
    let ca = BASE64_STANDARD.encode(authority.certificate_pem());
    let api = json!({"metadata": {"name": "v1.fish.example.com"}, "spec": {"group": "fish.example.com", "version": "v1", "groupPriorityMinimum": 2000,
        "versionPriority": 15, "caBundle": ca, "service": {"name": "fish", "namespace": "default", "port": backend.port}}});
    server.make(services, &api).await;
    let path = format!("{services}/v1.fish.example.com");
    until(async || {
        let now = server.get(ADMIN, &path).await.json();
        now["status"]["conditions"][0]["status"] == "True"
    })
    .await;

    let mut stream = server.connect().await;
    let request = format!(
        "GET /apis/fish.example.com/v1/namespaces/default/fish/nemo/stream HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ADMIN}\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = head(&mut stream).await;
    assert!(answer.starts_with("http/1.1 101 "), "{answer}");
    stream.write_all(b"back and forth").await.unwrap();
    let mut heard = [0; 14];
    stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"back and forth");
}

/// A server's frames of a WebSocket, as opcode and payload.
async fn frame(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> (u8, Vec<u8>) {
    let first = stream.read_u8().await.unwrap();
    let length = stream.read_u8().await.unwrap();
    assert!(length < 126, "short frames only");
    let mut payload = vec![0; length.into()];
    stream.read_exact(&mut payload).await.unwrap();
    (first & 0x0f, payload)
}

#[tokio::test]
async fn logs_over_a_websocket() {
    let Some(ip) = own_address().await else {
        return;
    };
    let server = Server::start(&[]).await;
    let serving = server
        .running
        .pki
        .authority
        .node_serving("n", &[ip.to_string()])
        .unwrap();
    let node_api = Backend::tls(
        ip,
        &serving,
        server.running.pki.authority.certificate_pem().as_bytes(),
    )
    .await;
    pod(&server, "p", &ip.to_string()).await;
    node(&server, "n", &ip.to_string(), node_api.port).await;
    const TEXT: u8 = 1;
    const BYTES: u8 = 2;
    for (protocols, chosen, frames) in [
        ("", "", [(BYTES, ""), (BYTES, "said\n")]),
        (
            "binary.k8s.io",
            "binary.k8s.io",
            [(BYTES, ""), (BYTES, "said\n")],
        ),
        (
            "other, base64.binary.k8s.io, binary.k8s.io",
            "base64.binary.k8s.io",
            [(TEXT, ""), (TEXT, "c2FpZAo=")],
        ),
    ] {
        let mut stream = server.connect().await;
        let wanted = if protocols.is_empty() {
            String::new()
        } else {
            format!("sec-websocket-protocol: {protocols}\r\n")
        };
        let request = format!(
            "GET {BASE}/pods/p/log HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ADMIN}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{wanted}\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = head(&mut stream).await;
        assert!(answer.starts_with("http/1.1 101 "), "{answer}");
        assert_eq!(
            answer.contains(&format!("sec-websocket-protocol: {chosen}")),
            !chosen.is_empty(),
            "{answer}"
        );
        for (kind, payload) in frames {
            assert_eq!(
                frame(&mut stream).await,
                (kind, payload.as_bytes().to_vec()),
                "{protocols}"
            );
        }
    }
    let websocket = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-protocol", "other"),
    ];
    server
        .send(ADMIN, "GET", &format!("{BASE}/pods/p/log"), &websocket, "")
        .await
        .is(403);
    // a pod that is nowhere yet has said nothing
    let waiting = json!({"metadata": {"name": "waiting"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    server.make(&format!("{BASE}/pods"), &waiting).await;
    server
        .get(ADMIN, &format!("{BASE}/pods/waiting/log"))
        .await
        .is(204);
}
