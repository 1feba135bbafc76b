//! Webhooks behind services.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use super::{configure, hook, make};
use crate::{
    server::Server,
    webhook_server::{Reply, Webhook},
};

#[tokio::test]
async fn services_are_reached_by_their_endpoints() {
    let server = Server::start().await;
    let socket = tokio::net::UdpSocket::bind("0.0.0.0:0").await.unwrap();
    let own = match socket.connect("203.0.113.1:9").await {
        Ok(()) => socket.local_addr().unwrap().ip(),
        Err(_) => return skiff_testing::skipped("this machine has no address but its loopback"),
    };
    let webhook = Webhook::named(&["hook.default.svc"], own, |_, _| {
        Reply::Response(json!({"allowed": false}))
    })
    .await;
    let ports = json!([{"name": "web", "port": 8443, "targetPort": 1}]);
    server
        .make(
            "/api/v1/namespaces/default/services",
            &json!({"metadata": {"name": "hook"}, "spec": {"ports": ports}}),
        )
        .await;
    let slice = json!({"metadata": {"name": "hook-x", "labels": {"kubernetes.io/service-name": "hook"}}, "addressType": "IPv4",
        "ports": [{"name": "web", "port": webhook.address.port()}], "endpoints": [{"addresses": [own.to_string()], "conditions": {"ready": true}}]});
    server
        .make(
            "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
            &slice,
        )
        .await;
    let service = json!({"service": {"namespace": "default", "name": "hook", "port": 8443, "path": "/p"}, "caBundle": STANDARD.encode(&webhook.authority)});
    configure(
        &server,
        "validating",
        "one",
        json!([hook("a.b.c", service, json!({}))]),
    )
    .await;
    make(&server, "m").await.is(400);
    assert_eq!(webhook.seen()[0].0, "/p");
}
