//! Metrics of webhooks, and what they take out of a request's own time.

use std::time::Duration;

use serde_json::json;

use super::{MAPS, configure, hook, map, unconfigure};
use crate::{
    server::Server,
    webhook_server::{Reply, Webhook},
};

#[tokio::test]
async fn what_comes_of_each_webhook_is_counted() {
    let server = Server::start().await;
    let webhook = Webhook::start(|path, _| match path {
        "/boom" => Reply::Raw(500, b"boom".to_vec()),
        "/no" => Reply::Response(json!({"allowed": false})),
        _ => {
            std::thread::sleep(Duration::from_millis(300));
            Reply::allowed()
        }
    })
    .await;
    for (sort, path, policy, code) in [
        ("mutating", "/slow", "Fail", 201),
        ("validating", "/no", "Fail", 400),
        ("mutating", "/boom", "Ignore", 201),
        ("validating", "/boom", "Fail", 500),
    ] {
        let name = format!("{}.{policy}.c", &path[1..]).to_lowercase();
        let more = json!({"failurePolicy": policy});
        configure(
            &server,
            sort,
            "one",
            json!([hook(&name, webhook.config(path), more)]),
        )
        .await;
        server
            .post(MAPS, &map(&format!("m{code}{policy}").to_lowercase()))
            .await
            .is(code);
        unconfigure(&server, sort, "one").await;
    }
    let text = server.get("/metrics").await.is(200).text();
    const OF: &str = "apiserver_admission_webhook_";
    for line in [
        r#"request_total{code="200",name="slow.fail.c",operation="CREATE",rejected="false",type="admit"} 1"#,
        r#"request_total{code="400",name="no.fail.c",operation="CREATE",rejected="true",type="validating"} 1"#,
        r#"request_total{code="503",name="boom.ignore.c",operation="CREATE",rejected="false",type="admit"} 1"#,
        r#"rejection_count{error_type="no_error",name="no.fail.c",operation="CREATE",rejection_code="400",type="validating"} 1"#,
        r#"rejection_count{error_type="calling_webhook_error",name="boom.fail.c",operation="CREATE",rejection_code="503",type="validating"} 1"#,
        r#"fail_open_count{name="boom.ignore.c",type="admit"} 1"#,
        r#"admission_duration_seconds_bucket{name="slow.fail.c",operation="CREATE",rejected="false",type="admit",le="0.1"} 0"#,
        r#"admission_duration_seconds_count{name="slow.fail.c",operation="CREATE",rejected="false",type="admit"} 1"#,
    ] {
        assert!(
            text.lines().any(|one| one.strip_prefix(OF) == Some(line)),
            "{line}\n{text}"
        );
    }
    let sum = |name: &str| {
        let mut lines = text.lines();
        let line = lines.find(|line| {
            line.starts_with(name)
                && line.contains("resource=\"configmaps\"")
                && line.contains("POST")
        });
        let (_, value) = line
            .unwrap_or_else(|| panic!("{name}\n{text}"))
            .rsplit_once(' ')
            .unwrap();
        value.parse::<f64>().unwrap()
    };
    let (all, own) = (
        sum("apiserver_request_duration_seconds_sum"),
        sum("apiserver_request_sli_duration_seconds_sum"),
    );
    assert!(all - own > 0.3, "{all} {own}");
}
