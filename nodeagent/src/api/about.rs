//! What the node tells of itself: `/healthz`, `/configz`, `/pods` and `/runningpods/`; and that it tells nothing of the machine's logs.
//!
//! Invariant: a setting is told only where the agent goes by it. Follows `InstallAuthNotRequiredHandlers`, `getPods` and `getRunningPods` in
//! `pkg/kubelet/server/server.go`, `staging/src/k8s.io/apiserver/pkg/server/healthz` and `staging/src/k8s.io/component-base/configz`.

use std::time::Duration;

use axum::{
    extract::{Path, Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use skiff_api::machinery::gonum;

use super::{auth, query, shared::Shared};
use crate::{
    config::Config,
    logs::aside,
    node::lease,
    pod::{handle::Handle, names},
};

/// The checks of which `/healthz` is made. That it answers is what there is to be known: nothing of the agent waits for anything else of it.
const CHECKS: [&str; 3] = ["ping", "log", "syncloop"];

fn plain(text: String) -> Response {
    let mut response = text.into_response();
    let nosniff = HeaderValue::from_static("nosniff");
    response
        .headers_mut()
        .insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

/// All checks: `ok`, or a line each with `?verbose`.
pub async fn healthz(request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let given = |name: &str| query::parameters(query).any(|(key, _)| key == name);
    if !given("verbose") {
        return plain("ok".into());
    }
    let excluded = |check: &str| {
        query::parameters(query).any(|(key, value)| key == "exclude" && value == check)
    };
    let line = |check: &&str| match excluded(check) {
        true => format!("[+]{check} excluded: ok\n"),
        false => format!("[+]{check} ok\n"),
    };
    let lines: String = CHECKS.iter().map(line).collect();
    plain(format!("{lines}healthz check passed\n"))
}

/// One of the checks.
pub async fn check(Path(name): Path<String>) -> Response {
    match CHECKS.contains(&name.as_str()) {
        true => plain("ok".into()),
        false => (StatusCode::NOT_FOUND, "404 page not found\n").into_response(),
    }
}

/// The machine's own logs are nobody's to read through the node, as where `enableSystemLogHandler` is false.
pub async fn logs_disabled() -> Response {
    let mut refused = plain("logs endpoint is disabled.\n".into());
    *refused.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    refused
}

pub async fn configz(State(shared): State<Shared>) -> Response {
    query::json(&json!({"kubeletconfig": settings(&shared.node.config)}))
}

fn text(duration: Duration) -> String {
    gonum::duration_text(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
}

/// The settings that the agent goes by, as a KubeletConfiguration has them.
fn settings(config: &Config) -> Value {
    let mut all = json!({
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "enableServer": config.api.is_some(),
        "authentication": {
            "webhook": {"enabled": true, "cacheTTL": text(auth::TOKEN_FOR)},
            "anonymous": {"enabled": false},
        },
        "authorization": {
            "mode": "Webhook",
            "webhook": {"cacheAuthorizedTTL": text(auth::ALLOWED_FOR), "cacheUnauthorizedTTL": text(auth::DENIED_FOR)},
        },
        "clusterDomain": config.cluster_domain,
        "nodeStatusUpdateFrequency": text(config.intervals.status_check),
        "nodeStatusReportFrequency": text(config.intervals.status),
        "nodeLeaseDurationSeconds": lease::seconds(config),
        "syncFrequency": text(config.intervals.resync),
        "maxPods": config.max_pods,
        "resolvConf": config.resolv_conf,
        "containerLogMaxSize": format!("{}Mi", aside::MAX_BYTES >> 20),
        "containerLogMaxFiles": aside::MAX_FILES,
        "containerLogMonitorInterval": text(config.intervals.log_rotation),
        "podLogsDir": config.log_dir,
        "registerNode": true,
        "enableDebuggingHandlers": true,
        "enableSystemLogHandler": false,
    });
    if let Some(api) = &config.api {
        all["address"] = api.listen.ip().to_string().into();
        all["port"] = api.listen.port().into();
    }
    if !config.cluster_dns.is_empty() {
        all["clusterDNS"] = json!(config.cluster_dns);
    }
    if !config.taints.is_empty() {
        all["registerWithTaints"] = json!(config.taints);
    }
    all
}

fn list(pods: Vec<Value>) -> Response {
    query::json(&json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods}))
}

pub async fn pods(State(shared): State<Shared>) -> Response {
    let pods = shared.node.pods.read();
    list(pods.values().map(|handle| of_list(handle)).collect())
}

/// A pod as it stands in a list, where nothing says its type.
fn of_list(handle: &Handle) -> Value {
    let mut pod = json!(handle.with_status());
    if let Some(fields) = pod.as_object_mut() {
        fields.retain(|name, _| !matches!(name.as_str(), "kind" | "apiVersion"));
    }
    pod
}

/// The pods that the runtime has containers of, with no more than the runtime knows.
pub async fn running_pods(State(shared): State<Shared>) -> Response {
    let pods = shared.node.pods.read();
    list(pods.values().filter_map(|handle| as_run(handle)).collect())
}

fn as_run(handle: &Handle) -> Option<Value> {
    let state = handle.state.lock();
    let containers: Vec<Value> = state
        .view
        .running()
        .map(|container| json!({"name": container.name, "image": container.image_id, "resources": {}}))
        .collect();
    if containers.is_empty() {
        return None;
    }
    let pod = handle.pod();
    let metadata = json!({"name": names::name(&pod), "namespace": names::namespace(&pod), "uid": names::uid(&pod)});
    Some(json!({"metadata": metadata, "spec": {"containers": containers}, "status": {}}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_as_their_kind_has_them() {
        let mut config = Config::new("n", "/data");
        config.cluster_dns = vec!["10.96.0.10".parse().unwrap()];
        let told = settings(&config);
        for (name, wanted) in [
            ("kind", json!("KubeletConfiguration")),
            ("clusterDNS", json!(["10.96.0.10"])),
            ("maxPods", json!(110)),
            ("nodeStatusReportFrequency", json!("5m0s")),
            ("nodeLeaseDurationSeconds", json!(40)),
            ("containerLogMaxSize", json!("10Mi")),
            ("enableServer", json!(false)),
        ] {
            assert_eq!(told[name], wanted, "{name}");
        }
        assert_eq!(told.get("port"), None);
    }
}
