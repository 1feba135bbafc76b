//! Events go an hour after they were written last, by either face, across restarts, and watchers see it.

use std::time::Duration;

use serde_json::{Value, json};
use skiff_server::Data;

use crate::{hands::Hands, server::Server};

const CORE: &str = "/api/v1/namespaces/default/events";
const NEW: &str = "/apis/events.k8s.io/v1/namespaces/default/events";
const MINUTE: u64 = 60;

fn event(name: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "default", "finalizers": ["example.com/x"]},
        "involvedObject": {"namespace": "default"}, "reason": "Tried", "type": "Normal", "source": {"component": "test"}})
}

fn version(answer: &Value) -> String {
    let version = answer["metadata"]["resourceVersion"].as_str();
    version.unwrap().to_string()
}

#[tokio::test]
async fn an_event_goes_an_hour_after_its_last_write() {
    let hands = Hands::new();
    let clock = hands.clock();
    let server = Server::with(|config| config.clock = clock).await;
    server.make(CORE, &event("quiet")).await;
    let told = server.make(CORE, &event("told-again")).await.json();
    hands.advance(30 * MINUTE);
    let again = json!({"count": 2});
    server
        .patch(&format!("{CORE}/told-again"), "merge", &again)
        .await
        .is(200);
    hands.advance(29 * MINUTE);
    let both = server.get(NEW).await.is(200).json();
    assert_eq!(both["items"].as_array().unwrap().len(), 2);
    hands.advance(MINUTE + 2);
    server.until_gone(&format!("{NEW}/quiet")).await;
    server.get(&format!("{CORE}/told-again")).await.is(200);
    // who watches is told
    let watched = server
        .get(&format!(
            "{CORE}?watch=true&timeoutSeconds=1&resourceVersion={}",
            version(&told)
        ))
        .await
        .is(200)
        .text();
    let lines: Vec<Value> = watched
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let seen: Vec<String> = lines
        .iter()
        .map(|line| format!("{} {}", line["type"], line["object"]["metadata"]["name"]))
        .collect();
    assert_eq!(
        seen,
        [r#""MODIFIED" "told-again""#, r#""DELETED" "quiet""#],
        "{watched}"
    );
    let number = |version: String| version.parse::<u64>().unwrap();
    assert!(number(version(&lines[1]["object"])) > number(version(&lines[0]["object"])));
    // its own hour is over, too
    hands.advance(30 * MINUTE);
    server.until_gone(&format!("{CORE}/told-again")).await;
}

/// One that was made anew lives as long as any.
#[tokio::test]
async fn an_event_of_a_name_that_was_there_before() {
    let hands = Hands::new();
    let clock = hands.clock();
    let server = Server::with(|config| config.clock = clock).await;
    let mut plain = event("e");
    plain["metadata"]["finalizers"] = json!([]);
    server.make(CORE, &plain).await;
    hands.advance(40 * MINUTE);
    server.delete(&format!("{CORE}/e")).await.is(200);
    server.make(CORE, &plain).await;
    server.make(CORE, &event("other")).await;
    hands.advance(61 * MINUTE);
    for name in ["e", "other"] {
        server.until_gone(&format!("{CORE}/{name}")).await;
    }
}

#[tokio::test]
async fn a_restart_does_not_make_events_younger() {
    let hands = Hands::new();
    let folder = tempfile::tempdir().unwrap();
    let start = async || {
        let (clock, data) = (hands.clock(), folder.path().join("data"));
        Server::with(|config| {
            config.clock = clock;
            config.data = Data::Folder(data);
        })
        .await
    };
    let server = start().await;
    server.make(CORE, &event("old")).await;
    hands.advance(40 * MINUTE);
    server.make(CORE, &event("young")).await;
    server.stop().await;
    let server = start().await;
    hands.advance(21 * MINUTE);
    server.until_gone(&format!("{CORE}/old")).await;
    server.get(&format!("{CORE}/young")).await.is(200);
    server.stop().await;
}

/// `--event-ttl`.
#[tokio::test]
async fn how_long_is_up_to_whoever_starts_the_server() {
    let hands = Hands::new();
    let clock = hands.clock();
    let server = Server::with(|config| {
        config.clock = clock;
        config.event_ttl = Duration::from_secs(5 * MINUTE);
    })
    .await;
    server.make(CORE, &event("e")).await;
    hands.advance(5 * MINUTE + 2);
    server.until_gone(&format!("{CORE}/e")).await;
    let acts = async |server: &Server| {
        let checks = server.get("/livez?verbose").await.is(200).text();
        checks.contains("poststarthook/expire-objects ok")
    };
    assert!(acts(&server).await);
    // no time is for ever
    let server = Server::with(|config| config.event_ttl = Duration::ZERO).await;
    assert!(!acts(&server).await);
}
