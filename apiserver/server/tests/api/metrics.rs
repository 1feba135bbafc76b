//! `/metrics`: the names that dashboards and alerts ask for, their labels, and counts that rise.

use serde_json::json;

use crate::server::Server;

/// The value of a line.
fn value(text: &str, line: &str) -> Option<f64> {
    let rest = text.lines().find_map(|one| one.strip_prefix(line))?;
    rest.strip_prefix(' ')?.parse().ok()
}

#[tokio::test]
async fn what_happens_is_counted() {
    let server = Server::start().await;
    let path = "/api/v1/namespaces/default/configmaps";
    let create =
        |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    server.post(path, &create("a")).await.is(201);
    server.get(&format!("{path}/a")).await.is(200);
    server.get("/api/v1/endpoints").await.is(200);
    let watched = server
        .get(&format!("{path}?watch=1&timeoutSeconds=1"))
        .await;
    assert!(watched.is(200).text().contains("ADDED"));

    let before = server.get("/metrics").await.is(200).text();
    server.post(path, &create("b")).await.is(201);
    server.get(&format!("{path}/b")).await.is(200);
    let after = server.get("/metrics").await.is(200).text();
    const OF: &str = "component=\"apiserver\",dry_run=\"\",group=\"\",resource=\"configmaps\",scope=\"resource\",subresource=\"\"";
    const PROMISED: &str = "component=\"apiserver\",group=\"\",resource=\"configmaps\",scope=\"resource\",subresource=\"\"";
    const STORED: &str = "group=\"\",operation=\"create\",resource=\"configmaps\"";
    for line in [
        format!(
            "apiserver_request_total{{code=\"201\",{OF},system_client=\"\",verb=\"POST\",version=\"v1\"}}"
        ),
        format!("apiserver_request_duration_seconds_count{{{OF},verb=\"GET\",version=\"v1\"}}"),
        format!(
            "apiserver_request_duration_seconds_bucket{{{OF},verb=\"GET\",version=\"v1\",le=\"60\"}}"
        ),
        format!("etcd_request_duration_seconds_count{{{STORED}}}"),
        "apiserver_admission_controller_admission_duration_seconds_count{name=\"NamespaceLifecycle\",operation=\"CREATE\",rejected=\"false\",type=\"admit\"}".into(),
        "apiserver_admission_step_admission_duration_seconds_count{operation=\"CREATE\",rejected=\"false\",type=\"validate\"}".into(),
        format!("etcd_request_duration_seconds_bucket{{{STORED},le=\"+Inf\"}}"),
        "apiserver_resource_objects{group=\"\",resource=\"configmaps\"}".into(),
        format!("apiserver_request_sli_duration_seconds_count{{{PROMISED},verb=\"GET\",version=\"v1\"}}"),
        format!("apiserver_response_sizes_bucket{{{PROMISED},verb=\"GET\",version=\"v1\",le=\"1000\"}}"),
        "apiserver_request_body_size_bytes_bucket{group=\"\",resource=\"configmaps\",verb=\"create\",le=\"50000\"}".into(),
        "apiserver_storage_objects{resource=\"configmaps\"}".into(),
    ] {
        let (old, new) = (value(&before, &line), value(&after, &line));
        assert_eq!(new, old.map(|old| old + 1.0), "{line}\n{after}");
        assert!(new.is_some(), "{line}\n{after}");
    }
    for line in [
        "authorization_attempts_total{result=\"allowed\"}",
        "authorization_duration_seconds_count{result=\"allowed\"}",
        "process_cpu_seconds_total",
    ] {
        assert!(value(&after, line) >= value(&before, line), "{line}");
        assert!(value(&after, line).is_some(), "{line}\n{after}");
    }
    for line in [
        "apiserver_tls_handshake_errors_total 0",
        "apiserver_requested_deprecated_apis{group=\"\",removed_release=\"\",resource=\"endpoints\",subresource=\"\",version=\"v1\"} 1",
        "apiserver_watch_events_total{group=\"\",resource=\"configmaps\",version=\"v1\"} ",
        "apiserver_watch_events_sizes_bucket{group=\"\",resource=\"configmaps\",version=\"v1\",le=\"1024\"} ",
        "apiserver_longrunning_requests{component=\"apiserver\",group=\"\",resource=\"configmaps\",scope=\"namespace\",subresource=\"\",verb=\"WATCH\",version=\"v1\"} 0",
        "kubernetes_build_info{",
        "process_open_fds ",
        "process_virtual_memory_max_bytes ",
        "apiserver_client_certificate_expiration_seconds_count ",
        "aggregator_unavailable_apiservice{name=\"v1.apps\"} 0",
    ] {
        let found = after.lines().any(|one| one.starts_with(line));
        assert!(found, "{line}\n{after}");
    }
}

#[tokio::test]
async fn a_long_list_counts_with_what_was_sent_of_it() {
    let server = Server::start().await;
    let path = "/api/v1/namespaces/default/configmaps";
    for name in ["a", "b", "c"] {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": "x".repeat(200_000)}});
        server.post(path, &object).await.is(201);
    }
    const OF: &str = "component=\"apiserver\",group=\"\",resource=\"configmaps\",scope=\"namespace\",subresource=\"\",verb=\"LIST\",version=\"v1\"";
    let told =
        |text: &str, what: &str| value(text, &format!("apiserver_response_sizes_{what}{{{OF}}}"));
    let length = server.get(path).await.is(200).text().len();
    assert!(length > 600_000);
    let text = server.get("/metrics").await.is(200).text();
    assert_eq!(told(&text, "count"), Some(1.0), "{text}");
    assert_eq!(told(&text, "sum"), Some(length as f64), "{text}");
}
