//! Where proxies lead, what they pass on, and whose certificate they show.

use serde_json::{Value, json};
use skiff_server::auth::pki::{Authority, San};

use super::{
    backend::{Backend, own_address},
    server::{ADMIN, Server},
};

pub const BASE: &str = "/api/v1/namespaces/default";

/// A pod that runs at this address, as its node says.
pub async fn pod(server: &Server, name: &str, ip: &str) {
    server
        .post(
            ADMIN,
            &format!("{BASE}/serviceaccounts"),
            &json!({"metadata": {"name": "default"}}),
        )
        .await;
    let pod = json!({"metadata": {"name": name}, "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}});
    server.make(&format!("{BASE}/pods"), &pod).await;
    let status = json!({"status": {"podIP": ip, "podIPs": [{"ip": ip}]}});
    let path = format!("{BASE}/pods/{name}/status");
    server.merge(&path, &status).await.is(200);
}

pub async fn node(server: &Server, name: &str, ip: &str, port: u16) {
    server
        .make("/api/v1/nodes", &json!({"metadata": {"name": name}}))
        .await;
    let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": ip}], "daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}});
    let path = format!("/api/v1/nodes/{name}/status");
    server.merge(&path, &status).await.is(200);
}

async fn service(
    server: &Server,
    name: &str,
    port: u16,
    target: &Value,
    ip: &str,
    pod: Option<&str>,
) {
    let ports = json!([{"name": "web", "port": port, "targetPort": target}]);
    server
        .make(
            &format!("{BASE}/services"),
            &json!({"metadata": {"name": name}, "spec": {"ports": ports}}),
        )
        .await;
    let mut address = json!({"ip": ip});
    if let Some(pod) = pod {
        address["targetRef"] = json!({"kind": "Pod", "namespace": "default", "name": pod});
    }
    let subsets = json!([{"addresses": [address], "ports": [{"name": "web", "port": target}]}]);
    server
        .make(
            &format!("{BASE}/endpoints"),
            &json!({"metadata": {"name": name}, "subsets": subsets}),
        )
        .await;
}

#[tokio::test]
async fn a_proxy_leads_nowhere_else() {
    let server = Server::start(&[]).await;
    for (name, ip) in [
        ("loop", "127.0.0.1"),
        ("meta", "169.254.169.254"),
        ("six", "::1"),
        ("many", "224.0.0.1"),
    ] {
        pod(&server, name, ip).await;
        let refused = server
            .get(
                ADMIN,
                &format!("{BASE}/pods/{name}:{}/proxy/", server.address().port()),
            )
            .await
            .is(400);
        assert_eq!(refused.message(), "address not allowed", "{ip}");
    }
    pod(&server, "good", "192.0.2.77").await;
    for (id, code, message) in [
        (
            "http:good:80@169.254.169.254",
            503,
            "error trying to reach service: dial tcp: lookup tcp/80@169.254.169.254: unknown port",
        ),
        ("good:80%2F..%2Fx", 404, ""),
        (
            "good:99999",
            503,
            "error trying to reach service: dial tcp: address 99999: invalid port",
        ),
        ("ftp:good:80", 400, "invalid pod request \"ftp:good:80\""),
        ("a:b:c:d", 400, "invalid pod request \"a:b:c:d\""),
    ] {
        let refused = server
            .get(ADMIN, &format!("{BASE}/pods/{id}/proxy/"))
            .await
            .is(code);
        if !message.is_empty() {
            assert_eq!(refused.message(), message, "{id}");
        }
    }
    node(&server, "self", "127.0.0.1", server.address().port()).await;
    assert_eq!(
        server
            .get(ADMIN, "/api/v1/nodes/self/proxy/healthz")
            .await
            .is(400)
            .message(),
        "address not allowed"
    );
    assert_eq!(
        server
            .get(ADMIN, "/api/v1/nodes/self:22/proxy/")
            .await
            .is(400)
            .message(),
        "address not allowed"
    );

    // endpoints that are no pod's, or not that pod's
    service(&server, "foreign", 80, &json!(8080), "192.0.2.1", None).await;
    service(
        &server,
        "lying",
        80,
        &json!(8080),
        "192.0.2.1",
        Some("good"),
    )
    .await;
    for name in ["foreign", "lying"] {
        let refused = server
            .get(ADMIN, &format!("{BASE}/services/{name}:80/proxy/"))
            .await
            .is(503);
        assert_eq!(
            refused.message(),
            format!("no endpoints available for service \"{name}:80\"")
        );
    }
    let refused = server
        .get(ADMIN, &format!("{BASE}/services/lying:81/proxy/"))
        .await
        .is(503);
    assert_eq!(
        refused.message(),
        "no service port 81 found for service \"lying\""
    );
    assert_eq!(
        server
            .get(ADMIN, &format!("{BASE}/services/absent/proxy/"))
            .await
            .is(404)
            .message(),
        "services \"absent\" not found"
    );
}

#[tokio::test]
async fn what_goes_through_and_what_does_not() {
    let Some(ip) = own_address().await else {
        return;
    };
    let server = Server::start(&[]).await;
    let backend = Backend::plain(ip).await;
    let port = backend.port;
    pod(&server, "p", &ip.to_string()).await;
    service(&server, "s", 80, &json!(port), &ip.to_string(), Some("p")).await;
    let secret = [
        ("impersonate-user", "system:serviceaccount:default:x"),
        ("impersonate-group", "system:masters"),
        ("x-remote-user", "root"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=1"),
        ("cookie", "a=b"),
        ("host", "api.example.com"),
    ];
    for base in [
        format!("{BASE}/pods/p:{port}/proxy"),
        format!("{BASE}/services/s:80/proxy"),
        format!("{BASE}/services/http:s:web/proxy"),
    ] {
        let answer = server
            .send(
                ADMIN,
                "GET",
                &format!("{base}/a/proxy/../b/?x=1&y=%2F"),
                &secret,
                "",
            )
            .await
            .is(200);
        let seen = backend.last().head.to_ascii_lowercase();
        assert!(
            seen.starts_with("get /a/b/?x=1&y=%2f http/1.1\r\n"),
            "{seen}"
        );
        for absent in [
            "authorization",
            "impersonate-",
            "x-remote-",
            "x-hop",
            "keep-alive",
            "connection:",
            "audit-id",
        ] {
            assert!(!seen.contains(absent), "{absent} in {seen}");
        }
        for present in [
            "cookie: a=b\r\n",
            "host: api.example.com\r\n",
            &format!("x-forwarded-uri: {base}/a/b/\r\n"),
        ] {
            assert!(seen.contains(present), "no {present} in {seen}");
        }
        for absent in [
            "x-mine",
            "keep-alive",
            "access-control-allow-origin",
            "connection",
        ] {
            assert_eq!(answer.header(absent), "", "{absent}");
        }
        assert_eq!(
            (answer.text().as_str(), answer.header("set-cookie")),
            ("hello", "a=b")
        );
        assert_eq!(answer.header("cache-control"), "no-cache, private");

        let page = server.get(ADMIN, &format!("{base}/page")).await.is(200);
        assert_eq!(
            page.text(),
            format!("<a href=\"{base}/rewriteme\">test</a>")
        );
        assert_eq!(
            server
                .get(ADMIN, &format!("{base}/there"))
                .await
                .is(302)
                .header("location"),
            format!("{base}/here")
        );
        let slash = server.get(ADMIN, &format!("{base}?q=1")).await.is(301);
        assert_eq!(slash.header("location"), format!("{base}/?q=1"));
        for method in ["OPTIONS", "POST", "PUT", "PATCH", "DELETE", "HEAD"] {
            server
                .send(ADMIN, method, &format!("{base}/x"), &[], "")
                .await
                .is(200);
            assert!(
                backend.last().head.starts_with(&format!("{method} /x ")),
                "{}",
                backend.last().head
            );
        }
    }
    let gone = backend.port;
    drop(backend);
    tokio::task::yield_now().await;
    let refused = server
        .get(ADMIN, &format!("{BASE}/pods/p:{gone}/proxy/"))
        .await;
    if refused.code == 503 {
        assert!(
            refused
                .message()
                .starts_with("error trying to reach service: dial tcp "),
            "{}",
            refused.message()
        );
    }
}

/// An authority that the cluster does not know, and a certificate of it.
fn stranger(server: &Server) -> (Authority, skiff_server::auth::pki::Issued) {
    let (authority, _) = Authority::generate(server.running.app.core.clock.shared()).unwrap();
    let issued = authority
        .serving("stranger", &[], &[San::of("stranger.example.com")])
        .unwrap();
    (authority, issued)
}

#[tokio::test]
async fn the_servers_certificate_is_for_nodes_alone() {
    let Some(ip) = own_address().await else {
        return;
    };
    let server = Server::start(&[]).await;
    let ca = server.running.pki.authority.certificate_pem().as_bytes();
    let (_, issued) = stranger(&server);
    let foreign = Backend::tls(ip, &issued, ca).await;
    pod(&server, "p", &ip.to_string()).await;
    // TLS with a certificate of its own, which proxies do not verify
    assert_eq!(
        server
            .get(
                ADMIN,
                &format!("{BASE}/pods/https:p:{}/proxy/x", foreign.port)
            )
            .await
            .is(200)
            .text(),
        "hello"
    );
    assert_eq!(foreign.last().shown, None, "no certificate of ours");

    let serving = server
        .running
        .pki
        .authority
        .node_serving("n", &[ip.to_string()])
        .unwrap();
    let node_api = Backend::tls(ip, &serving, ca).await;
    node(&server, "n", &ip.to_string(), node_api.port).await;
    assert_eq!(
        server
            .get(ADMIN, "/api/v1/nodes/n/proxy/pods")
            .await
            .is(200)
            .text(),
        "hello"
    );
    assert_eq!(
        node_api.last().shown,
        Some(("kube-apiserver-kubelet-client".into(), vec![]))
    );
    assert!(
        !node_api
            .last()
            .head
            .to_ascii_lowercase()
            .contains("authorization")
    );
    assert_eq!(
        server
            .get(ADMIN, &format!("{BASE}/pods/p/log"))
            .await
            .is(200)
            .text(),
        "said\n"
    );
    let asked = node_api.last();
    assert!(
        asked
            .head
            .starts_with("GET /containerLogs/default/p/c?stream=All HTTP/1.1\r\n"),
        "{}",
        asked.head
    );
    // another port of the node is not its API
    server
        .get(
            ADMIN,
            &format!("/api/v1/nodes/https:n:{}/proxy/x", foreign.port),
        )
        .await
        .is(200);
    assert_eq!(foreign.last().shown, None);

    // a node that says that it is where it is not: its certificate does not hold there
    node(&server, "liar", &ip.to_string(), foreign.port).await;
    let before = foreign.count();
    let refused = server
        .get(ADMIN, "/api/v1/nodes/liar/proxy/pods")
        .await
        .is(503);
    assert!(
        refused
            .message()
            .starts_with("error trying to reach service: tls: "),
        "{}",
        refused.message()
    );
    assert_eq!(foreign.count(), before);
}

#[tokio::test]
async fn what_the_identity_for_nodes_opens() {
    let server = Server::start(&[]).await;
    let review = |resource: &str, subresource: &str, verb: &str| {
        json!({"spec": {"user": "kube-apiserver-kubelet-client", "groups": ["system:authenticated"],
            "resourceAttributes": {"resource": resource, "subresource": subresource, "verb": verb, "name": "n"}}})
    };
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    for (resource, subresource, verb, allowed) in [
        ("nodes", "proxy", "create", true),
        ("nodes", "stats", "get", true),
        ("secrets", "", "list", false),
        ("pods", "exec", "create", false),
        ("nodes", "", "delete", false),
    ] {
        let answer = server
            .make(path, &review(resource, subresource, verb))
            .await
            .json();
        assert_eq!(
            answer["status"]["allowed"], allowed,
            "{verb} {resource}/{subresource}"
        );
    }
}

/// What is absent on the way bears the name of what was asked for.
#[tokio::test]
async fn what_is_absent_on_the_way() {
    let server = Server::start(&[]).await;
    let base = "/api/v1/namespaces/default";
    server
        .post(
            ADMIN,
            &format!("{base}/serviceaccounts"),
            &json!({"metadata": {"name": "default"}}),
        )
        .await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "node-a", "containers": [{"name": "c", "image": "i"}]}});
    server.make(&format!("{base}/pods"), &pod).await;
    server
        .make(
            &format!("{base}/services"),
            &json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}),
        )
        .await;
    let spdy = [
        ("connection", "Upgrade"),
        ("upgrade", "SPDY/3.1"),
        ("x-stream-protocol-version", "v5.channel.k8s.io"),
    ];
    for (method, path, kind, name) in [
        ("GET", "pods/p/log", "pods", "node-a"),
        ("POST", "pods/p/exec?command=ls&stdout=1", "pods", "node-a"),
        ("POST", "pods/p/attach?stdout=1", "pods", "node-a"),
        ("POST", "pods/p/portforward", "pods", "node-a"),
        ("GET", "pods/q/proxy/", "pods", "q"),
        ("GET", "services/s/proxy/", "services", "s"),
        ("GET", "services/t/proxy/", "services", "t"),
    ] {
        let answer = server
            .send(
                ADMIN,
                method,
                &format!("{base}/{path}"),
                if method == "POST" { &spdy } else { &[] },
                "",
            )
            .await
            .is(404);
        assert_eq!(
            answer.message(),
            format!("{kind} \"{name}\" not found"),
            "{path}"
        );
        assert_eq!(
            answer.json()["details"],
            json!({"name": name, "kind": kind})
        );
    }
    let answer = server
        .get(ADMIN, "/api/v1/nodes/node-a/proxy/healthz")
        .await
        .is(404);
    assert_eq!(answer.message(), "nodes \"node-a\" not found");
}
