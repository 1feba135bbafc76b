//! A control plane in memory, with someone who plays the nodes.
//!
//! Invariant: nothing is listened for beyond loopback, and nothing is left when it is dropped. Whatever controllers and scheduler do in a test, their
//! accounts have the right to: a test that saw one refused fails at its end.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use skiff_api::kinds::Registry;
use skiff_server::{App, Config, Data, Running, auth::User};
use skiff_watching::{
    api::{Api, Delete, PatchType},
    client::Client,
    events::Events,
    informer::Informers,
};
use tokio_util::sync::CancellationToken;

/// How long is waited for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// API server, controllers and scheduler.
pub struct Plane {
    pub api: Api,
    server: Option<Running>,
    stop: CancellationToken,
    refused: Refused,
    _keys: tempfile::TempDir,
}

/// What a part of the plane asked for and had no right to.
#[derive(Clone, Default)]
struct Refused(Arc<Mutex<Vec<String>>>);

impl Refused {
    /// The API as this user, whose refusals are noted.
    fn api(&self, app: &Arc<App>, user: User, agent: &'static str) -> Api {
        let (inner, all) = (skiff_server::client(app, user), self.0.clone());
        let service = tower::service_fn(move |request: http::Request<Full<bytes::Bytes>>| {
            let (inner, all) = (inner.clone(), all.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await?.to_bytes().to_vec();
                let answer = inner.send(http::Request::from_parts(parts, body)).await?;
                if answer.status() != http::StatusCode::FORBIDDEN {
                    return Ok(answer);
                }
                let (parts, body) = answer.into_parts();
                let text = body.collect().await?.to_bytes();
                let status: Value = serde_json::from_slice(&text)?;
                // admission refuses, too, but not for want of a right
                all.lock().unwrap().extend(
                    status["message"]
                        .as_str()
                        .filter(|message| message.contains(": User "))
                        .map(str::to_owned),
                );
                Ok::<_, skiff_watching::client::BoxError>(http::Response::from_parts(
                    parts,
                    Full::new(text).map_err(Into::into).boxed_unsync(),
                ))
            }
        });
        Api::new(Client::new(service), agent)
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

fn user(name: &str, groups: &[&str]) -> User {
    User::new(name, &[groups, &["system:authenticated"]].concat())
}

impl Plane {
    /// Serves other kinds from now on.
    pub fn serve(&self, change: impl Fn(&Registry) -> Registry) {
        self.server.as_ref().unwrap().app.serve(change);
    }

    /// With upstream's defaults.
    pub async fn start() -> Plane {
        Plane::with(|_| {}).await
    }

    /// With other options.
    pub async fn with(change: impl FnOnce(&mut skiff_controllers::Options)) -> Plane {
        Plane::of(|_| {}, change).await
    }

    /// With another server, too.
    pub async fn of(
        configure: impl FnOnce(&mut Config),
        change: impl FnOnce(&mut skiff_controllers::Options),
    ) -> Plane {
        let keys = tempfile::tempdir().unwrap();
        let mut config = Config::new(Data::Memory, keys.path().join("pki"));
        configure(&mut config);
        let server = skiff_server::start(config).await.unwrap();
        let stop = CancellationToken::new();
        let mut options = skiff_controllers::Options {
            root_ca_pem: Some(server.pki.serving_ca.clone()),
            ..Default::default()
        };
        change(&mut options);
        let queues = Arc::new(options.queues.clone());
        server.app.metrics.tell_of(queues);
        let refused = Refused::default();
        let api = refused.api(
            &server.app,
            user("system:kube-controller-manager", &[]),
            "kube-controller-manager",
        );
        let (app, noted) = (server.app.clone(), refused.clone());
        let accounts: skiff_controllers::Accounts = Arc::new(move |name| {
            let account = user(
                &format!("system:serviceaccount:kube-system:{name}"),
                &[
                    "system:serviceaccounts",
                    "system:serviceaccounts:kube-system",
                ],
            );
            noted.api(&app, account, "kube-controller-manager")
        });
        let events = Events::start(api.clone(), options.clock.clone(), stop.clone());
        let informers = Informers::new(api.clone(), options.clock.clone(), &events, stop.clone());
        let (shared, token) = (informers.clone(), stop.clone());
        tokio::spawn(skiff_controllers::start(api, accounts, shared, options, token).unwrap());
        let api = refused.api(
            &server.app,
            user("system:kube-scheduler", &[]),
            "kube-scheduler",
        );
        let options = skiff_scheduler::Options::default();
        server.app.metrics.tell_of(options.figures.clone());
        tokio::spawn(skiff_scheduler::run(api, informers, options, stop.clone()));
        let api = Api::new(server.client(user("admin", &["system:masters"])), "test");
        let plane = Plane {
            api,
            server: Some(server),
            stop,
            refused,
            _keys: keys,
        };
        plane
            .until("the namespace's service account", async || {
                plane
                    .get("/api/v1/namespaces/default/serviceaccounts/default")
                    .await
                    .is_some()
            })
            .await;
        plane
    }

    /// Creates an object in its namespace, `default` if it has none, and gives what became of it.
    pub async fn create(&self, path: &str, object: Value) -> Value {
        serde_json::from_str(
            &self
                .api
                .post(path, &object)
                .await
                .unwrap_or_else(|error| panic!("{path}: {error}\n{object}")),
        )
        .unwrap()
    }

    /// An object, if it is there.
    pub async fn get(&self, path: &str) -> Option<Value> {
        match self.api.get_path::<Value>(path).await {
            Ok(object) => Some(object),
            Err(error) if error.is_not_found() => None,
            Err(error) => panic!("{path}: {error}"),
        }
    }

    /// The objects of a collection.
    pub async fn list(&self, path: &str) -> Vec<Value> {
        self.get(path)
            .await
            .and_then(|list| list["items"].as_array().cloned())
            .unwrap_or_default()
    }

    pub async fn patch(&self, path: &str, patch: Value) {
        self.api
            .patch(path, PatchType::Merge, &patch)
            .await
            .unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    pub async fn delete(&self, path: &str) {
        self.delete_with(path, None).await;
    }

    /// Deletes with what is to become of dependents: `Background`, `Foreground` or `Orphan`.
    pub async fn delete_with(&self, path: &str, propagation: Option<&'static str>) {
        let options = Delete {
            propagation,
            ..Delete::default()
        };
        self.api
            .delete_path(path, &options)
            .await
            .unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// Waits until something is so.
    pub async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds().await {
            assert!(
                Instant::now() < deadline,
                "it did not come about: {what}; refused: {:?}",
                self.refused.all()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// `reason: message` of all events about objects of this name.
    pub async fn events(&self, name: &str) -> Vec<String> {
        let about = |event: &Value| event["involvedObject"]["name"] == name;
        let events = self.list("/api/v1/events").await;
        events
            .iter()
            .filter(|event| about(event))
            .map(|e| {
                format!(
                    "{}: {}",
                    e["reason"].as_str().unwrap(),
                    e["message"].as_str().unwrap()
                )
            })
            .collect()
    }

    /// Waits for an event about an object of this name, and gives it as `reason: message`.
    pub async fn event(&self, name: &str, reason: &str) -> String {
        let mut found = None;
        self.until(&format!("an event {reason} about {name}"), async || {
            found = self
                .events(name)
                .await
                .into_iter()
                .find(|event| event.starts_with(&format!("{reason}: ")));
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    /// A node that is ready, and its heart beats once.
    pub async fn node(&self, name: &str, changes: Value) {
        let ready = json!({"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now(), "lastTransitionTime": now()});
        let room = json!({"cpu": "2", "memory": "4Gi", "pods": "110"});
        let mut node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}, "spec": {},
            "status": {"allocatable": room, "capacity": room, "conditions": [ready]}});
        skiff_api::machinery::patch::merge::apply(&mut node, changes, false).unwrap();
        self.create("/api/v1/nodes", node).await;
        // what a node that is not ready yet is given at first
        self.patch(
            &format!("/api/v1/nodes/{name}"),
            json!({"spec": {"taints": null}}),
        )
        .await;
    }

    /// A pod in `default`.
    pub async fn pod(&self, name: &str, changes: Value) -> Value {
        let container = json!({"name": "main", "image": "x"});
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}});
        skiff_api::machinery::patch::merge::apply(&mut pod, changes, false).unwrap();
        self.create("/api/v1/namespaces/default/pods", pod).await
    }

    /// Waits until the pod is on a node, and gives its name.
    pub async fn placed(&self, name: &str) -> String {
        let mut node = String::new();
        self.until(&format!("{name} on a node"), async || {
            let pod = self.get(&pod_path(name)).await.unwrap_or_default();
            node = pod["spec"]["nodeName"].as_str().unwrap_or("").to_string();
            !node.is_empty()
        })
        .await;
        node
    }

    /// What a kubelet says of a pod.
    pub async fn is_in_phase(&self, name: &str, phase: &str) {
        let ready = json!({"type": "Ready", "status": if phase == "Running" { "True" } else { "False" }, "lastTransitionTime": now()});
        let status = json!({"status": {"phase": phase, "startTime": now(), "conditions": [ready]}});
        self.api
            .patch(&(pod_path(name) + "/status"), PatchType::Strategic, &status)
            .await
            .unwrap();
    }

    /// What this cluster tells Prometheus.
    pub async fn metrics(&self) -> String {
        self.api.get_text("/metrics").await.unwrap()
    }

    /// What controllers and scheduler were refused so far.
    pub fn refused(&self) -> Vec<String> {
        self.refused.all()
    }

    /// Ends all of it, in which nobody was refused anything.
    pub async fn end(mut self) {
        assert_eq!(self.refused.all(), Vec::<String>::new());
        self.stop.cancel();
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub fn pod_path(name: &str) -> String {
    format!("/api/v1/namespaces/default/pods/{name}")
}

/// The present moment as the API writes it.
pub fn now() -> String {
    skiff_api::machinery::time::seconds(skiff_api::machinery::clock::system().now())
}

/// A pod template for workloads whose pods have these labels.
pub fn template(app: &str) -> Value {
    json!({"metadata": {"labels": {"app": app}}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "main", "image": "x"}]}})
}

/// A Deployment of this name.
pub fn deployment(name: &str, replicas: i32) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template(name)}})
}

/// Of a condition, what stands in this field and what it says; nothing of one that is not there.
pub fn condition(field: &str, object: &Value, kind: &str) -> (String, String) {
    let conditions = object["status"]["conditions"].as_array();
    let found = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == kind);
    let text = |name: &str| found.and_then(|found| found[name].as_str());
    (
        text(field).unwrap_or_default().into(),
        text("message").unwrap_or_default().into(),
    )
}
