//! What the server says of its own health, its paths and its discovery, over HTTP.

use serde_json::Value;

use crate::server::Server;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

#[tokio::test]
async fn each_check_has_a_path_and_a_line() {
    let server = Server::start().await;
    let paths = server.get("/").await.is(200).json()["paths"].to_string();
    for endpoint in ["healthz", "livez", "readyz"] {
        let short = server.get(&format!("/{endpoint}")).await.is(200);
        assert_eq!(short.text(), "ok");
        assert_eq!(short.headers["x-content-type-options"], "nosniff");
        let all = server
            .get(&format!("/{endpoint}?verbose"))
            .await
            .is(200)
            .text();
        let (checks, end) = all.trim_end().rsplit_once('\n').unwrap();
        assert_eq!(end, format!("{endpoint} check passed"));
        for line in checks.lines() {
            let name = line
                .strip_prefix("[+]")
                .unwrap()
                .strip_suffix(" ok")
                .unwrap();
            let path = format!("/{endpoint}/{name}");
            assert_eq!(server.get(&path).await.is(200).text(), "ok", "{path}");
            assert!(paths.contains(&path), "{path}");
        }
        let ready = endpoint == "readyz";
        assert_eq!(checks.contains("[+]shutdown ok"), ready, "{checks}");
        for name in ["etcd", "poststarthook/rbac/bootstrap-roles"] {
            assert!(checks.contains(&format!("[+]{name} ok")), "{checks}");
        }
    }
    let excluded = server.get("/livez?verbose&exclude=etcd&exclude=x").await;
    let text = excluded.is(200).text();
    assert!(text.contains("[+]etcd excluded: ok\n"), "{text}");
    let warning = "warn: some health checks cannot be excluded: no matches for \"x\"\n";
    assert!(text.contains(warning), "{text}");
    for path in [
        "/readyz/nothing",
        "/readyz/",
        "/livez/shutdown",
        "/healthzz",
    ] {
        let answer = server.get(path).await.is(404);
        assert_eq!(answer.text(), "404 page not found\n");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
    let metrics = server.get("/metrics/slis").await.is(200).text();
    let line = r#"kubernetes_healthcheck{name="etcd",type="livez"} 1"#;
    assert!(metrics.lines().any(|one| one == line), "{metrics}");
}

#[tokio::test]
async fn who_stops_is_not_ready_and_lives() {
    let server = Server::start().await;
    server.app.stopping.cancel();
    let unready = server.get("/readyz").await.is(500).text();
    assert!(
        unready.ends_with("[-]shutdown failed: reason withheld\nreadyz check failed\n"),
        "{unready}"
    );
    let why = server.get("/readyz/shutdown").await.is(500).text();
    assert_eq!(why, "internal server error: process is shutting down\n");
    server.get("/livez").await.is(200);
    server.get("/readyz?exclude=shutdown").await.is(200);
}

#[tokio::test]
async fn aggregated_discovery_may_be_kept_by_its_tag() {
    let server = Server::start().await;
    for path in ["/api", "/apis"] {
        let accept = ("accept", AGGREGATED);
        let all = server.send("GET", path, &[accept], "").await.is(200);
        assert_eq!(all.headers["cache-control"], "public");
        assert_eq!(all.headers["vary"], "Accept");
        let tag = all.headers["etag"].to_str().unwrap().to_owned();
        assert_eq!(tag.len(), 130, "{tag}");
        let document: Value = all.json();
        assert_eq!(document["kind"], "APIGroupDiscoveryList");
        let known = [accept, ("if-none-match", tag.as_str())];
        server.send("GET", path, &known, "").await.is(304);
        let plain = server.get(path).await.is(200);
        assert_eq!(plain.headers["cache-control"], "no-cache, private");
        assert!(!plain.headers.contains_key("vary"));
    }
}
