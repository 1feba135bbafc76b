//! What becomes of a write when a webhook cannot be asked.

use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use super::{MAPS, configure, hook, make, map, unconfigure};
use crate::{
    server::Server,
    webhook_server::{Reply, Webhook},
};

#[tokio::test]
async fn what_cannot_be_asked_refuses() {
    let server = Server::start().await;
    let webhook = Webhook::start(|path, request| match path {
        "/hang" => Reply::Never,
        "/garbage" => Reply::Raw(200, b"hello".to_vec()),
        "/empty" => Reply::Raw(200, Vec::new()),
        "/boom" => Reply::Raw(500, b"boom".to_vec()),
        "/missing" => Reply::Raw(404, Vec::new()),
        "/bare" => Reply::Raw(
            200,
            json!({"response": {"uid": request["uid"], "allowed": true}})
                .to_string()
                .into(),
        ),
        _ => Reply::Raw(
            200,
            br#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}"#.to_vec(),
        ),
    })
    .await;
    let other = Webhook::start(|_, _| Reply::allowed()).await;
    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain_at = plain.local_addr().unwrap();
    let plain = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        while let Ok((mut stream, _)) = plain.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let at = |path: &str| format!("https://{}{path}", webhook.address);
    let bundle = |authority: &str| STANDARD.encode(authority);
    let own = bundle(&webhook.authority);
    let service =
        |name: &str| json!({"service": {"namespace": "default", "name": name}, "caBundle": own});
    let port = webhook.address.port();
    server
        .make(
            "/api/v1/namespaces/default/services",
            &json!({"metadata": {"name": "bare"}, "spec": {"ports": [{"port": 443}]}}),
        )
        .await;
    let url = |url: String, bundle: &str| json!({"url": url, "caBundle": bundle});
    let post = |url: String, why: String| {
        format!("failed to call webhook: Post \"{url}?timeout=1s\": {why}")
    };
    for (client, said) in [
        (url(at("/hang"), &own), post(at("/hang"), "context deadline exceeded".into())),
        (
            url(at("/garbage"), &own),
            "failed to call webhook: couldn't get version/kind; json parse error: json: cannot unmarshal string into Go value of type struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }".into(),
        ),
        (
            url(at("/empty"), &own),
            "failed to call webhook: 0-length response with status code: 200 and content type: text/plain".into(),
        ),
        (
            url(at("/boom"), &own),
            "failed to call webhook: an error on the server (\"boom\") has prevented the request from succeeding".into(),
        ),
        (url(at("/missing"), &own), "failed to call webhook: the server could not find the requested resource".into()),
        (
            url(at("/bare"), &own),
            "received invalid webhook response: expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got /, Kind=".into(),
        ),
        (url(at("/"), &own), "received invalid webhook response: webhook response was absent".into()),
        (
            url(at("/"), &bundle(&other.authority)),
            post(at("/"), "tls: failed to verify certificate: x509: certificate signed by unknown authority".into()),
        ),
        (
            url(format!("https://localhost:{port}/"), &own),
            post(
                format!("https://localhost:{port}/"),
                "tls: failed to verify certificate: x509: certificate is not valid for any names, but wanted to match localhost".into(),
            ),
        ),
        (
            url(format!("https://{closed}/"), &own),
            post(format!("https://{closed}/"), format!("dial tcp {closed}: connect: connection refused")),
        ),
        (
            url(format!("https://{plain_at}/"), &own),
            post(format!("https://{plain_at}/"), "http: server gave HTTP response to HTTPS client".into()),
        ),
        (
            json!({"url": at("/"), "caBundle": "eA=="}),
            "could not get REST client: unable to load root certificates: unable to parse bytes as PEM block".into(),
        ),
        (
            service("absent"),
            post("https://absent.default.svc:443/".into(), "service \"absent\" not found".into()),
        ),
        (
            service("bare"),
            post("https://bare.default.svc:443/".into(), "no endpoints available for service \"bare\"".into()),
        ),
    ] {
        for (sort, policy) in [("mutating", "Fail"), ("validating", "Fail"), ("mutating", "Ignore"), ("validating", "Ignore")] {
            let more = json!({"failurePolicy": policy, "timeoutSeconds": 1});
            configure(&server, sort, "one", json!([hook("a.b.c", client.clone(), more)])).await;
            let place = format!("{MAPS}?dryRun=All");
            let answer = server.post(&place, &map("m")).await;
            match policy {
                "Fail" => assert_eq!(
                    answer.is(500).message(),
                    format!("Internal error occurred: failed calling webhook \"a.b.c\": {said}")
                ),
                _ => drop(answer.is(201)),
            }
            unconfigure(&server, sort, "one").await;
        }
    }
    plain.abort();
}

#[tokio::test]
async fn a_webhook_that_hangs_costs_others_nothing() {
    let server = Server::start().await;
    let webhook = Webhook::start(|_, _| Reply::Never).await;
    let more = json!({"timeoutSeconds": 2, "objectSelector": {"matchLabels": {"slow": "yes"}}});
    configure(
        &server,
        "validating",
        "one",
        json!([hook("a.b.c", webhook.config("/"), more)]),
    )
    .await;
    let mut slow = map("slow");
    slow["metadata"]["labels"] = json!({"slow": "yes"});
    let begun = Instant::now();
    let hanging = async {
        let writes = (0..50).map(|_| server.post(MAPS, &slow));
        let answers = futures::future::join_all(writes).await;
        assert!(answers.iter().all(|answer| answer.code == 500));
        begun.elapsed()
    };
    let others = async {
        // all of the others are on their way
        while webhook.seen().len() < 50 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut longest = Duration::ZERO;
        for at in 0..200 {
            let begun = Instant::now();
            make(&server, &format!("m{at}")).await.is(201);
            longest = longest.max(begun.elapsed());
        }
        longest
    };
    let (hung, longest) = futures::future::join(hanging, others).await;
    println!("200 writes beside 50 that hang: {longest:?} at most; those that hang: {hung:?}");
    assert!(longest < Duration::from_secs(1), "{longest:?}");
    // all at once: one after another they would take 100 s
    assert!(
        hung >= Duration::from_secs(2) && hung < Duration::from_secs(20),
        "{hung:?}"
    );
}
