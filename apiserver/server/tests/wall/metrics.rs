//! A client's text is no label.

use super::server::{ADMIN, Server};

#[tokio::test]
async fn what_clients_make_up_is_not_remembered() {
    let server = Server::start(&["eve"]).await;
    server.get(ADMIN, "/api/v1/pods").await.is(200);
    // each flow schema that takes one of them has its lines
    for token in ["", "eve-token"] {
        server.get(token, "/api/v1/pods").await.is(403);
    }
    let before = server.get(ADMIN, "/metrics").await.text();
    for number in 0..50 {
        for token in ["", "eve-token", ADMIN] {
            for path in [
                format!("/api/v1/made-up-{number}"),
                format!("/apis/made-up-{number}/v1/things"),
                format!("/apis/apps/v{number}/deployments"),
                format!("/api/v1/namespaces/made-up-{number}/pods/p/made-up-{number}"),
            ] {
                server.get(token, &path).await;
                server
                    .send(
                        token,
                        &format!("MADEUP{number}"),
                        "/api/v1/pods",
                        &[("user-agent", &format!("made-up-{number}/1"))],
                        "",
                    )
                    .await;
            }
        }
    }
    let after = server.get(ADMIN, "/metrics").await.text();
    assert!(
        !after.contains("made-up") && !after.contains("MADEUP"),
        "{after}"
    );
    // a method that nobody knows is one verb more; times of writes and requests have a line a bound
    let lines = |text: &str| {
        let single = text
            .lines()
            .filter(|line| line.starts_with("apiserver_request") && !line.contains("_bucket{"));
        single
            .map(|line| {
                line.rsplit_once(' ')
                    .map_or(line, |(name, _)| name)
                    .to_owned()
            })
            .collect::<std::collections::BTreeSet<String>>()
    };
    let (before, now) = (lines(&before), lines(&after));
    let more: Vec<&String> = now.difference(&before).collect();
    assert!(more.len() <= 12, "{more:#?}");
    let line = "apiserver_request_total{code=\"200\",component=\"apiserver\",dry_run=\"\",group=\"\",resource=\"pods\",scope=\"cluster\",subresource=\"\",\
                system_client=\"\",verb=\"LIST\",version=\"v1\"} 1\n";
    assert!(after.contains(line), "{after}");
}
