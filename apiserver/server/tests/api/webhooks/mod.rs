//! Admission webhooks, asked by a server: what they may say, what they may change, and what becomes of a write when they cannot be asked.

mod counted;
mod failures;
mod forms;
mod lives;
mod matching;
mod patches;
mod services;
mod verdicts;

use std::time::Duration;

use serde_json::{Value, json};

use crate::server::{Answer, Server};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";

/// A webhook about ConfigMaps, with these fields besides.
fn hook(name: &str, client: Value, more: Value) -> Value {
    let mut hook = json!({"name": name, "sideEffects": "None", "admissionReviewVersions": ["v1"], "clientConfig": client,
        "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]});
    hook.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    hook
}

/// Makes a configuration of a sort (`mutating`, `validating`), and waits until it is followed.
async fn configure(server: &Server, sort: &str, name: &str, hooks: Value) {
    let path = format!("{GROUP}/{sort}webhookconfigurations");
    server
        .make(
            &path,
            &json!({"metadata": {"name": name}, "webhooks": hooks}),
        )
        .await;
    followed().await;
}

async fn unconfigure(server: &Server, sort: &str, name: &str) {
    let path = format!("{GROUP}/{sort}webhookconfigurations/{name}");
    server.delete(&path).await.is(200);
    followed().await;
}

/// Who follows configurations runs when this task waits.
async fn followed() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}

fn map(name: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"a": "b"}})
}

async fn make(server: &Server, name: &str) -> Answer {
    server.post(MAPS, &map(name)).await
}
