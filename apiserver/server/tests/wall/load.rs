//! More requests than there is room for, requests that take too long, and bodies that are dear to read.

use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use serde_json::json;
use skiff_server::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::server::{ADMIN, Server};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Waits until `true`, with a deadline.
pub async fn until(mut done: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done().await {
        assert!(Instant::now() < deadline, "it does not come");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// How many are in flight, by the server's own word.
async fn in_flight(server: &Server, kind: &str) -> usize {
    let metrics = server.get(ADMIN, "/metrics").await.text();
    let line = format!("apiserver_current_inflight_requests{{request_kind=\"{kind}\"}} ");
    metrics
        .lines()
        .find_map(|found| found.strip_prefix(&line))
        .unwrap()
        .parse()
        .unwrap()
}

#[tokio::test]
async fn no_more_at_once_than_there_is_room_for() {
    let server = Server::with(&["eve"], |config| {
        config.priority_and_fairness = false;
        config.limits = Limits {
            reading: 2,
            mutating: 1,
        }
    })
    .await;
    server.grant("eve", &["* configmaps"]).await;
    let begin = |length: usize| {
        format!(
            "POST {MAPS} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer eve-token\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    let map = |name: &str| json!({"metadata": {"name": name}});
    let first = map("m").to_string();
    let mut slow = server.connect().await;
    slow.write_all(begin(first.len()).as_bytes()).await.unwrap();
    until(async || in_flight(&server, "mutating").await == 1).await;

    let refused = server.post("eve-token", MAPS, &map("n")).await.is(429);
    assert_eq!(
        (refused.text().as_str(), refused.header("retry-after")),
        ("Too many requests, please try again later.\n", "1")
    );
    assert_eq!(refused.header("content-type"), "text/plain; charset=utf-8");
    // reading has room of its own; administrators always find some; who may not ask at all is told so first
    server.get("eve-token", MAPS).await.is(200);
    server.post(ADMIN, MAPS, &map("o")).await.is(201);
    server.send("nobody", "POST", MAPS, &[], "").await.is(401);
    slow.write_all(first.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    slow.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 201");
    until(async || in_flight(&server, "mutating").await == 0).await;
    server.post("eve-token", MAPS, &map("n")).await.is(201);
    let metrics = server.get(ADMIN, "/metrics").await.text();
    let line = "apiserver_request_terminations_total{code=\"429\",component=\"apiserver\",group=\"\",resource=\"configmaps\",scope=\"resource\",subresource=\"\",verb=\"POST\",version=\"v1\"} 1";
    assert!(metrics.contains(line), "{metrics}");

    // watches do not count, and a client that goes gives its place back
    let mut watches = Vec::new();
    for _ in 0..5 {
        let mut watch = server.connect().await;
        watch.write_all(format!("GET {MAPS}?watch=1 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer eve-token\r\n\r\n").as_bytes()).await.unwrap();
        watch.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
        watches.push(watch);
    }
    server.get("eve-token", MAPS).await.is(200);
    let mut gone = server.connect().await;
    gone.write_all(begin(1000).as_bytes()).await.unwrap();
    until(async || in_flight(&server, "mutating").await == 1).await;
    drop(gone);
    until(async || in_flight(&server, "mutating").await == 0).await;
}

#[tokio::test]
async fn a_request_has_its_time_and_no_more() {
    let time = Duration::from_millis(500);
    let server = Server::with(&[], |config| config.request_timeout = time).await;
    let mut slow = server.connect().await;
    let head = format!(
        "POST {MAPS} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ADMIN}\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{{"
    );
    let begun = Instant::now();
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let mut length = 0;
    while !String::from_utf8_lossy(&answer[..length]).contains("\"code\"") {
        let more = slow.read(&mut answer[length..]).await.unwrap();
        assert!(more > 0, "{}", String::from_utf8_lossy(&answer[..length]));
        length += more;
    }
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    assert!(
        answer.starts_with("HTTP/1.1 504 ") && begun.elapsed() >= time,
        "{answer}"
    );
    let status: serde_json::Value =
        serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap().trim()).unwrap();
    assert_eq!(
        status["message"],
        "Timeout: request did not complete within the allotted timeout"
    );
    assert_eq!(
        (&status["reason"], &status["details"]),
        (&json!("Timeout"), &json!({}))
    );

    // less time, when the client says so; and a number that is none
    let begun = Instant::now();
    server
        .get(
            ADMIN,
            &format!("{MAPS}/x?resourceVersion=999999&timeout=100ms"),
        )
        .await
        .is(504);
    assert!(begun.elapsed() < time);
    let odd = server.get("", "/version?timeout=soon").await.is(400);
    assert_eq!(
        odd.message(),
        "invalid timeout specified in the request URL - time: invalid duration \"soon\""
    );
    // a watch takes longer
    let begun = Instant::now();
    server
        .get(ADMIN, &format!("{MAPS}?watch=1&timeoutSeconds=2"))
        .await
        .is(200);
    assert!(begun.elapsed() >= Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dear_bodies_hold_nobody_up() {
    let server = Server::start(&[]).await;
    let bomb = {
        let levels: String = (1..30)
            .map(|level| {
                format!(
                    "a{level}: &a{level} [{}]\n",
                    vec![format!("*a{}", level - 1); 10].join(",")
                )
            })
            .collect();
        format!("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n{levels}")
    };
    let bodies = [
        (
            "application/yaml",
            "POST",
            MAPS.to_owned(),
            "[".repeat(1_500_000),
        ),
        (
            "application/yaml",
            "POST",
            MAPS.to_owned(),
            "{a: ".repeat(375_000),
        ),
        (
            "application/yaml",
            "POST",
            MAPS.to_owned(),
            "- ".repeat(750_000),
        ),
        ("application/yaml", "POST", MAPS.to_owned(), bomb.clone()),
        (
            "application/apply-patch+yaml",
            "PATCH",
            format!("{MAPS}/m?fieldManager=x"),
            bomb,
        ),
        (
            "application/apply-patch+yaml",
            "PATCH",
            format!("{MAPS}/m?fieldManager=x"),
            "[".repeat(1_500_000),
        ),
        (
            "application/json",
            "POST",
            MAPS.to_owned(),
            "[".repeat(1_500_000),
        ),
        (
            "application/json-patch+json",
            "PATCH",
            format!("{MAPS}/kube-root-ca.crt"),
            "[".repeat(1_500_000),
        ),
    ];
    for (kind, method, path, body) in bodies {
        let begun = Instant::now();
        let headers = [("content-type", kind)];
        let sending = server.send(ADMIN, method, &path, &headers, body);
        let asking = async {
            let mut longest = Duration::ZERO;
            for _ in 0..20 {
                let begun = Instant::now();
                server.get(ADMIN, "/readyz").await.is(200);
                longest = longest.max(begun.elapsed());
            }
            longest
        };
        let (answer, longest) = tokio::join!(sending, asking);
        assert!(
            (400..500).contains(&answer.code),
            "{kind}: {}",
            answer.text()
        );
        assert!(longest < Duration::from_secs(2), "{kind}: {longest:?}");
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{kind}: {:?}",
            begun.elapsed()
        );
    }
}

/// A watch of all that has been, without a network between.
async fn watch(server: &Server, accept: &str) -> axum::body::Body {
    let request = http::Request::get(format!("{MAPS}?watch=1&resourceVersion=1"))
        .header("authorization", format!("Bearer {ADMIN}"))
        .header("accept", accept);
    let request = request.body(axum::body::Body::empty()).unwrap();
    let app = server.running.app.clone();
    app.handle(request).await.unwrap().into_body()
}

/// However much happens while nobody reads, a watcher holds no copy of what is large, and of the rest one piece at a time.
#[tokio::test]
async fn who_watches_and_does_not_read_costs_little() {
    let server = Server::start(&[]).await;
    let watch = || watch(&server, "application/json");
    let (mut one, mut other) = (watch().await, watch().await);
    let make = async |name: &str, size: usize| {
        let map = json!({"metadata": {"name": name}, "data": {"x": "y".repeat(size)}});
        server.make(MAPS, &map).await;
    };
    for number in 0..100 {
        make(&format!("small-{number}"), 3000).await;
    }
    make("large", 300_000).await;
    make("last", 10).await;
    let mut pieces = Vec::new();
    while !pieces
        .last()
        .is_some_and(|piece: &bytes::Bytes| String::from_utf8_lossy(piece).contains("\"last\""))
    {
        let mut frames = Vec::new();
        for body in [&mut one, &mut other] {
            frames.push(body.frame().await.unwrap().unwrap().into_data().unwrap());
        }
        assert_eq!(frames[0], frames[1]);
        let shared = frames[0].as_ptr() == frames[1].as_ptr();
        assert!(
            frames[0].len() < 80_000 || shared,
            "a piece of {} bytes is each watcher's own",
            frames[0].len()
        );
        pieces.push(frames[0].clone());
    }
    let lines = pieces.concat();
    let lines: Vec<serde_json::Value> = lines
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    let names: Vec<&str> = lines
        .iter()
        .map(|line| line["object"]["metadata"]["name"].as_str().unwrap())
        .filter(|name| *name != "kube-root-ca.crt")
        .collect();
    assert_eq!(
        (names.len(), names[0], names[99], names[100], names[101]),
        (102, "small-0", "small-99", "large", "last")
    );
}

/// Metadata is written once for all who watch it, in each version of it by itself.
#[tokio::test]
async fn watchers_of_metadata_share_what_they_are_sent() {
    let server = Server::start(&[]).await;
    let watch = async |version: &str| {
        let accept = format!("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v={version}");
        watch(&server, &accept).await
    };
    let watchers = ["v1", "v1", "v1beta1", "v1beta1"];
    let mut bodies = Vec::new();
    for version in watchers {
        bodies.push(watch(version).await);
    }
    // a line of this size goes out as it is shared
    let note = "y".repeat(20_000);
    let map = json!({"metadata": {"name": "m", "annotations": {"note": note}}, "data": {"x": "y"}});
    server.make(MAPS, &map).await;
    let mut frames = Vec::new();
    for (body, version) in bodies.iter_mut().zip(watchers) {
        let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        let event: serde_json::Value = serde_json::from_slice(&frame).unwrap();
        let object = &event["object"];
        assert_eq!(event["type"], "ADDED");
        assert_eq!(object["kind"], "PartialObjectMetadata");
        assert_eq!(object["apiVersion"], format!("meta.k8s.io/{version}"));
        assert_eq!(object["metadata"]["annotations"]["note"], note);
        assert_eq!(object.get("data"), None);
        frames.push(frame);
    }
    for (one, other, shared) in [(0, 1, true), (2, 3, true), (1, 2, false)] {
        let same = frames[one].as_ptr() == frames[other].as_ptr();
        assert_eq!(same, shared, "{one} and {other}");
    }
}
