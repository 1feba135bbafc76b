//! Documents of OpenAPI over HTTP: the index of version 3, the tags in its addresses, and what is not there.

use serde_json::Value;

use crate::server::Server;

#[tokio::test]
async fn the_index_leads_to_documents_that_may_be_kept() {
    let server = Server::start().await;
    let index = server.get("/openapi/v3").await.is(200);
    assert_eq!(index.headers["content-type"], "text/plain; charset=utf-8");
    let paths = index.json()["paths"].as_object().unwrap().clone();
    for path in [
        "api",
        "api/v1",
        "apis",
        "apis/apps",
        "apis/apps/v1",
        "version",
        "openid/v1/jwks",
    ] {
        let place = paths[path]["serverRelativeURL"].as_str().unwrap();
        let document = server.get(place).await.is(200);
        assert_eq!(document.headers["cache-control"], "public, immutable");
        assert!(document.headers.contains_key("expires"), "{path}");
        let tag = document.headers["etag"].to_str().unwrap().to_owned();
        assert_eq!(
            place,
            format!("/openapi/v3/{path}?hash={}", tag.trim_matches('"'))
        );
        // what has another tag is elsewhere
        let plain = format!("/openapi/v3/{path}");
        let moved = server.get(&format!("{plain}?hash=ABC")).await.is(301);
        assert_eq!(moved.headers["location"], place);
        // without one, it is not kept without asking
        let asked = server.get(&plain).await.is(200);
        assert_eq!(asked.headers["cache-control"], "no-cache, private");
        assert_eq!(asked.headers["vary"], "Accept");
        assert_eq!(asked.headers["etag"], tag.as_str());
        let known = [("if-none-match", tag.as_str())];
        let same = server.send("GET", &plain, &known, "").await.is(304);
        assert!(same.bytes.is_empty());
    }
}

#[tokio::test]
async fn what_is_not_there_is_told_as_upstream_tells_it() {
    let server = Server::start().await;
    for path in [
        "/openapi/v3/nothing",
        "/openapi/v3/",
        "/openapi/v3/apis/apps/v1/",
    ] {
        let answer = server.get(path).await.is(404);
        assert_eq!(answer.text(), "", "{path}");
        assert!(!answer.headers.contains_key("content-type"), "{path}");
    }
    for path in ["/openapi", "/openapi/v2/x", "/openapi/v4"] {
        let answer = server.get(path).await.is(404);
        assert_eq!(answer.text(), "404 page not found\n", "{path}");
    }
}

/// The paths of the older form of watches are in the documents, and they are served.
#[tokio::test]
async fn watch_paths_are_described_and_served() {
    let server = Server::start().await;
    let document: Value = server.get("/openapi/v2").await.is(200).json();
    let path = "/api/v1/watch/namespaces/{namespace}/services/{name}";
    assert_eq!(
        document["paths"][path]["get"]["operationId"],
        "watchCoreV1NamespacedService"
    );
    let path = "/api/v1/watch/namespaces/default/services/kubernetes?timeoutSeconds=1";
    let events = server.get(path).await.is(200).text();
    assert!(
        events.starts_with(r#"{"type":"ADDED","object":{"kind":"Service","#),
        "{events}"
    );
}
