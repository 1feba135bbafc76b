//! What watchers are told, and from where on.

use serde_json::{Value, json};

use crate::server::Server;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Makes a config map, and gives the revision.
async fn make(server: &Server, name: &str, label: &str) -> String {
    let map = json!({"metadata": {"name": name, "labels": {"of": label}}, "data": {"a": "1"}});
    revision(&server.make(MAPS, &map).await.json())
}

async fn change(server: &Server, name: &str, change: Value) -> String {
    let place = format!("{MAPS}/{name}");
    revision(&server.patch(&place, "merge", &change).await.is(200).json())
}

fn revision(object: &Value) -> String {
    object["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .into()
}

/// Type, name and revision of all events of a watch that ends by itself.
async fn told(server: &Server, query: &str) -> Vec<[String; 3]> {
    let path = format!("{MAPS}?watch=true&timeoutSeconds=1&{query}");
    let text = server.get(&path).await.is(200).text();
    let event = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap();
        let name = event["object"]["metadata"]["name"].as_str().unwrap();
        [
            event["type"].as_str().unwrap().into(),
            name.into(),
            revision(&event["object"]),
        ]
    };
    text.lines().map(event).collect()
}

fn names(events: &[[String; 3]]) -> Vec<String> {
    events
        .iter()
        .map(|[what, name, _]| format!("{what} {name}"))
        .collect()
}

#[tokio::test]
async fn a_watch_begins_after_the_revision_that_it_names() {
    let server = Server::start().await;
    make(&server, "a", "x").await;
    let first = change(&server, "a", json!({"data": {"a": "2"}})).await;
    let second = change(&server, "a", json!({"data": {"a": "3"}})).await;
    server.delete(&format!("{MAPS}/a")).await.is(200);
    let events = told(&server, &format!("resourceVersion={first}")).await;
    assert_eq!(names(&events), ["MODIFIED a", "DELETED a"]);
    assert_eq!(events[0][2], second);

    // who comes back goes on after what was seen last, as if there had been no gap
    make(&server, "b", "x").await;
    let events = told(&server, &format!("resourceVersion={second}")).await;
    assert_eq!(names(&events), ["DELETED a", "ADDED b"]);
    let after = told(&server, &format!("resourceVersion={}", events[0][2])).await;
    assert_eq!(after, events[1..]);
}

#[tokio::test]
async fn selectors_tell_of_what_comes_changes_and_leaves() {
    let server = Server::start().await;
    let before = make(&server, "other", "z").await;
    make(&server, "a", "x").await;
    make(&server, "b", "y").await;
    change(&server, "a", json!({"data": {"a": "2"}})).await;
    change(&server, "a", json!({"metadata": {"labels": {"of": "y"}}})).await;
    change(&server, "a", json!({"data": {"a": "3"}})).await;
    change(&server, "a", json!({"metadata": {"labels": {"of": "x"}}})).await;
    server.delete(&format!("{MAPS}/a")).await.is(200);
    for (selector, wanted) in [
        (
            "of%3Dx",
            vec!["ADDED a", "MODIFIED a", "DELETED a", "ADDED a", "DELETED a"],
        ),
        (
            "of%3Dy",
            vec!["ADDED b", "ADDED a", "MODIFIED a", "DELETED a"],
        ),
        (
            "of%20in%20(x,y)",
            vec![
                "ADDED a",
                "ADDED b",
                "MODIFIED a",
                "MODIFIED a",
                "MODIFIED a",
                "MODIFIED a",
                "DELETED a",
            ],
        ),
    ] {
        let events = told(
            &server,
            &format!("resourceVersion={before}&labelSelector={selector}"),
        )
        .await;
        assert_eq!(names(&events), wanted, "{selector}");
    }
}

/// Whoever watches, from wherever, while others write: all see one order.
#[tokio::test]
async fn all_watchers_see_one_order() {
    let server = Server::start().await;
    let start = make(&server, "start", "x").await;
    let writes = async {
        let mut seen = vec![start.clone()];
        for round in 0..20 {
            let name = format!("m{}", round % 4);
            seen.push(match round < 4 {
                true => make(&server, &name, "x").await,
                false => change(&server, &name, json!({"data": {"a": round.to_string()}})).await,
            });
        }
        seen
    };
    let queries: Vec<String> = (0..5).map(|_| format!("resourceVersion={start}")).collect();
    let watches = futures::future::join_all(queries.iter().map(|query| told(&server, query)));
    let (seen, early) = futures::future::join(writes, watches).await;
    let from = |at: usize| format!("resourceVersion={}", seen[at]);
    let whole = told(&server, &from(0)).await;
    let revisions: Vec<&String> = whole.iter().map(|event| &event[2]).collect();
    assert_eq!(revisions, seen[1..].iter().collect::<Vec<_>>());
    for early in early {
        assert_eq!(early, whole);
    }
    for at in [3, 7, 19] {
        assert_eq!(told(&server, &from(at)).await, whole[at..]);
    }
}

/// What there is at a revision that is not there yet is waited for, and not told when it does not come.
#[tokio::test]
async fn initial_events_are_of_the_revision_that_is_asked_for() {
    let server = Server::start().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    server.make(maps, &json!({"metadata": {"name": "a"}})).await;
    let path = format!(
        "{maps}?watch=1&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
    );
    let told = server.get(&format!("{path}&resourceVersion=99999")).await;
    let event = told.is(200).json();
    assert_eq!(
        (&event["type"], &event["object"]["code"]),
        (&json!("ERROR"), &json!(504))
    );
}

/// Who watches for some time is told where it stands shortly before the end, so that it misses little when it comes back.
#[tokio::test]
async fn the_last_bookmark_comes_before_the_end() {
    let server = Server::start().await;
    let start = make(&server, "start", "x").await;
    let watch =
        |rest: &str| format!("{MAPS}?watch=true&resourceVersion={start}&timeoutSeconds=3{rest}");
    let (told, silent) = (watch("&allowWatchBookmarks=true"), watch(""));
    let (told, silent) = tokio::join!(server.get(&told), server.get(&silent));
    let event = told.is(200).json();
    assert_eq!(
        (&event["type"], revision(&event["object"])),
        (&json!("BOOKMARK"), start)
    );
    assert_eq!(silent.is(200).text(), "");
}
