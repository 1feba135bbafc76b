//! Priority and fairness from outside: a flood holds nobody else up, and what is configured acts.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::body::Body;
use futures::stream;
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use skiff_server::{App, Limits};

use super::{
    load::until,
    server::{ADMIN, Answer, Server},
};

const FLOWS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas";
const LEVELS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const FLOW: &str = "x-kubernetes-pf-flowschema-uid";
const LEVEL: &str = "x-kubernetes-pf-prioritylevel-uid";

/// A level that has nearly all seats, keeps them, and lets few wait.
fn level(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 100_000, "borrowingLimitPercent": 0,
        "limitResponse": {"type": "Queue", "queuing": {"queues": 16, "handSize": 2, "queueLengthLimit": 20}}}}})
}

/// Everybody's requests for resources, told apart by their users.
fn schema(name: &str, level: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"priorityLevelConfiguration": {"name": level}, "matchingPrecedence": 100, "distinguisherMethod": {"type": "ByUser"},
        "rules": [{"subjects": [{"kind": "Group", "group": {"name": "system:authenticated"}}],
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true}]}]}})
}

async fn uid(server: &Server, path: &str, name: &str) -> String {
    let object = server.get(ADMIN, &format!("{path}/{name}")).await.is(200);
    object.json()["metadata"]["uid"].as_str().unwrap().into()
}

/// Waits until a request of the user's is taken by this schema and level.
async fn taken_by(server: &Server, token: &str, flow: &str, level: &str) {
    let wanted = [
        uid(server, FLOWS, flow).await,
        uid(server, LEVELS, level).await,
    ];
    until(async || {
        let answer = server.get(token, MAPS).await;
        [answer.header(FLOW), answer.header(LEVEL)] == wanted
    })
    .await;
}

/// A write whose body takes its time, by the user of `token`.
async fn slow_write(app: &Arc<App>, token: &str, takes: Duration) -> Answer {
    let body = json!({"metadata": {"generateName": "m"}}).to_string();
    let late = stream::once(async move {
        tokio::time::sleep(takes).await;
        Ok::<_, Infallible>(body)
    });
    let request = Request::post(MAPS)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .body(Body::from_stream(late));
    let response = app.clone().handle(request.unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    Answer {
        code: parts.status.as_u16(),
        headers: parts.headers,
        bytes: body.collect().await.unwrap().to_bytes(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_holds_nobody_else_up() {
    const FLOOD: usize = 200;
    let takes = Duration::from_millis(50);
    let server = Server::with(&["eve", "bob"], |config| {
        config.limits = Limits {
            reading: 2,
            mutating: 2,
        }
    })
    .await;
    for user in ["eve", "bob"] {
        server.grant(user, &["* configmaps"]).await;
    }
    server.make(LEVELS, &level("tenants")).await;
    server.make(FLOWS, &schema("tenants", "tenants")).await;
    taken_by(&server, "bob-token", "tenants", "tenants").await;

    let ended = Arc::new(AtomicBool::new(false));
    let (written, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let flow = uid(&server, FLOWS, "tenants").await;
    let flood: Vec<_> = (0..FLOOD)
        .map(|_| {
            let (app, ended, flow) = (server.running.app.clone(), ended.clone(), flow.clone());
            let (written, refused) = (written.clone(), refused.clone());
            tokio::spawn(async move {
                while !ended.load(Ordering::Relaxed) {
                    let answer = slow_write(&app, "eve-token", takes).await;
                    assert_eq!(answer.header(FLOW), flow, "{}", answer.code);
                    if answer.code == 201 {
                        written.fetch_add(1, Ordering::Relaxed);
                        continue;
                    }
                    let answer = answer.is(429);
                    assert_eq!(
                        answer.text(),
                        "Too many requests, please try again later.\n"
                    );
                    let after: u64 = answer.header("retry-after").parse().unwrap();
                    assert!((1..=32).contains(&after));
                    assert!(!answer.header(LEVEL).is_empty());
                    refused.fetch_add(1, Ordering::Relaxed);
                    // a client that does as it is told would wait for longer
                    tokio::time::sleep(takes).await;
                }
            })
        })
        .collect();
    until(async || refused.load(Ordering::Relaxed) > 10 && written.load(Ordering::Relaxed) > 10)
        .await;
    let mut times = Vec::new();
    for _ in 0..40 {
        let begun = Instant::now();
        server
            .get("bob-token", &format!("{MAPS}/none"))
            .await
            .is(404);
        times.push(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    ended.store(true, Ordering::Relaxed);
    for one in flood {
        one.await.unwrap();
    }
    times.sort();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    println!(
        "beside {FLOOD} in flight ({} written, {} refused): median {median:?}, worst {worst:?}",
        written.load(Ordering::Relaxed),
        refused.load(Ordering::Relaxed)
    );
    // behind all of those that wait it would be half a second; one write's time, or two, is what a seat takes to become free
    assert!(median < Duration::from_millis(200), "{times:?}");
    assert!(worst < Duration::from_secs(2), "{times:?}");
    let metrics = server.get(ADMIN, "/metrics").await.text();
    let line = "apiserver_flowcontrol_rejected_requests_total{flow_schema=\"tenants\",priority_level=\"tenants\",reason=\"queue-full\"}";
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test]
async fn what_is_configured_acts() {
    let server = Server::start(&["eve"]).await;
    server.grant("eve", &["get,list,watch configmaps"]).await;
    taken_by(&server, "eve-token", "global-default", "global-default").await;
    // who is nobody is not taken by anything; who may not, is
    let nobody = server.get("nobody", MAPS).await.is(401);
    assert_eq!((nobody.header(FLOW), nobody.header(LEVEL)), ("", ""));
    let refused = server.get("eve-token", "/api/v1/secrets").await.is(403);
    assert_eq!(
        refused.header(FLOW),
        uid(&server, FLOWS, "global-default").await
    );
    let admin = server.get(ADMIN, "/version").await.is(200);
    assert_eq!(admin.header(LEVEL), uid(&server, LEVELS, "exempt").await);
    let known = server.get("", "/readyz").await.is(200);
    assert_eq!(known.header(FLOW), uid(&server, FLOWS, "probes").await);
    // whoever is spoken for is taken as who he is
    let headers = [
        ("impersonate-user", "system:serviceaccount:kube-system:a"),
        ("impersonate-group", "system:serviceaccounts"),
    ];
    let other = server.send(ADMIN, "GET", "/api", &headers, "").await;
    assert_eq!(
        other.header(FLOW),
        uid(&server, FLOWS, "kube-system-service-accounts").await
    );

    // a schema waits for its level, and says so
    let dangling = async || {
        let found = server.get(ADMIN, &format!("{FLOWS}/mine")).await.json();
        let condition = found["status"]["conditions"][0].clone();
        assert!(found["metadata"]["managedFields"].as_array().is_some());
        condition["status"].as_str().unwrap_or("").to_owned()
    };
    server.make(FLOWS, &schema("mine", "mine")).await;
    until(async || dangling().await == "True").await;
    taken_by(&server, "eve-token", "global-default", "global-default").await;
    server.make(LEVELS, &level("mine")).await;
    until(async || dangling().await == "False").await;
    taken_by(&server, "eve-token", "mine", "mine").await;
    let patch = json!({"spec": {"priorityLevelConfiguration": {"name": "system"}}});
    server.merge(&format!("{FLOWS}/mine"), &patch).await.is(200);
    taken_by(&server, "eve-token", "mine", "system").await;
    server
        .send(ADMIN, "DELETE", &format!("{FLOWS}/mine"), &[], "")
        .await
        .is(200);
    taken_by(&server, "eve-token", "global-default", "global-default").await;

    // what must be there comes back; what is suggested is absent until it is looked after
    let before = uid(&server, FLOWS, "catch-all").await;
    for path in [
        format!("{FLOWS}/global-default"),
        format!("{FLOWS}/catch-all"),
        format!("{LEVELS}/catch-all"),
    ] {
        server.send(ADMIN, "DELETE", &path, &[], "").await.is(200);
    }
    until(async || {
        let codes = [FLOWS, LEVELS].map(|path| format!("{path}/catch-all"));
        let [flow, level] = [
            server.get(ADMIN, &codes[0]).await.code,
            server.get(ADMIN, &codes[1]).await.code,
        ];
        (flow, level) == (200, 200)
    })
    .await;
    taken_by(&server, "eve-token", "catch-all", "catch-all").await;
    assert_ne!(before, uid(&server, FLOWS, "catch-all").await);
}

#[tokio::test]
async fn a_list_takes_seats_by_what_it_reads() {
    let server = Server::start(&["eve"]).await;
    server.grant("eve", &["* configmaps"]).await;
    let large = "x".repeat(5000);
    for number in 0..80 {
        let name = format!("m{number}");
        let map = json!({"metadata": {"name": name}, "data": {"a": large}});
        server.make(MAPS, &map).await;
    }
    // 400 KB take five seats, twenty objects of them two; an object, however it is asked for, one
    for query in ["", "?limit=20", "/m1", "?fieldSelector=metadata.name%3Dm1"] {
        server
            .get("eve-token", &format!("{MAPS}{query}"))
            .await
            .is(200);
    }
    let metrics = server.get(ADMIN, "/metrics").await.text();
    for (bound, count) in [("1", 2), ("2", 3), ("4", 3), ("8", 4)] {
        let line = format!(
            "apiserver_flowcontrol_work_estimated_seats_bucket{{flow_schema=\"global-default\",priority_level=\"global-default\",le=\"{bound}\"}} {count}\n"
        );
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
}

/// A watch of eve's, of which nothing has been taken.
async fn watch(server: &Server, parameters: &str) -> http::Response<Body> {
    let request = Request::get(format!("{MAPS}?watch=1{parameters}"))
        .header("authorization", "Bearer eve-token")
        .body(Body::empty());
    let app = server.running.app.clone();
    app.handle(request.unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_watch_has_seats_until_it_has_told_what_there_is() {
    let server = Server::start(&["eve"]).await;
    server.grant("eve", &["get,list,watch configmaps"]).await;
    server.make(MAPS, &json!({"metadata": {"name": "m"}})).await;
    let response = watch(&server, "").await;
    assert_eq!(
        response.headers()[FLOW],
        uid(&server, FLOWS, "global-default").await
    );
    let executing = async || {
        let metrics = server.get(ADMIN, "/metrics").await.text();
        let line = "apiserver_flowcontrol_current_executing_requests{flow_schema=\"global-default\",priority_level=\"global-default\"} ";
        let found = metrics
            .lines()
            .find_map(|found| found.strip_prefix(line))
            .unwrap();
        found.parse::<usize>().unwrap()
    };
    // nobody has taken anything of it
    assert_eq!(executing().await, 1);
    let dump = "/debug/api_priority_and_fairness/dump_requests?includeRequestDetails=1";
    let shown = server.get(ADMIN, dump).await.is(200).text();
    assert!(
        shown.contains("eve,") && shown.contains("watch,"),
        "{shown}"
    );
    server.get("eve-token", dump).await.is(403);
    let mut body = response.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(first.starts_with(b"{\"type\":\"ADDED\""));
    let more = tokio::time::timeout(Duration::from_millis(20), body.frame()).await;
    assert!(more.is_err(), "there is no more");
    until(async || executing().await == 0).await;
    // one that asks for what comes alone has none to wait for
    let list = server.get("eve-token", MAPS).await.is(200).json();
    let at = list["metadata"]["resourceVersion"].as_str().unwrap();
    let _watch = watch(&server, &format!("&resourceVersion={at}")).await;
    assert_eq!(executing().await, 0);
}
