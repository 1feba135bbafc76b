//! A small API server, a runtime and an image store in memory, for tests of the whole agent.

#![allow(dead_code, reason = "each test uses a part of it")]

mod fakes;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use skiff_nodeagent::time;
use tokio::sync::broadcast;

pub use self::fakes::{FakeImages, FakeRuntime};

/// The store behind the API: objects by path, and everything that happens to them.
pub struct Store {
    objects: Mutex<BTreeMap<String, Value>>,
    revision: AtomicU64,
    changes: broadcast::Sender<(String, Value)>,
    /// Paths of patches to what is not there.
    pub refusals: Mutex<Vec<String>>,
}

pub type Api = Arc<Store>;

pub fn api() -> Api {
    Arc::new(Store {
        objects: Mutex::default(),
        revision: AtomicU64::new(1),
        changes: broadcast::channel(4096).0,
        refusals: Mutex::default(),
    })
}

impl Store {
    pub fn client(self: &Arc<Self>) -> skiff_watching::client::Client {
        skiff_watching::client::Client::new(Router::new().fallback(handle).with_state(self.clone()))
    }

    pub fn get(&self, path: &str) -> Option<Value> {
        self.objects.lock().get(path).cloned()
    }

    pub fn list(&self, prefix: &str) -> Vec<Value> {
        self.objects
            .lock()
            .iter()
            .filter(|(path, _)| path.starts_with(prefix))
            .map(|(_, object)| object.clone())
            .collect()
    }

    /// Changes an object as it is, with nobody in between; `None` where there is none, or it is not to be changed.
    pub fn change(&self, path: &str, change: impl FnOnce(&mut Value) -> bool) -> Option<Value> {
        let mut objects = self.objects.lock();
        let object = objects.get_mut(path)?;
        if !change(object) {
            return None;
        }
        object["metadata"]["resourceVersion"] = self.next_revision();
        self.tell(path, "MODIFIED", object);
        Some(object.clone())
    }

    pub fn put(&self, path: &str, mut object: Value) -> Value {
        let known = self.objects.lock().get(path).cloned();
        object["metadata"]["resourceVersion"] = self.next_revision();
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = uuid::Uuid::new_v4().to_string().into();
            object["metadata"]["creationTimestamp"] = json!(time::now().to_string());
        }
        self.objects.lock().insert(path.to_owned(), object.clone());
        let type_ = if known.is_some() { "MODIFIED" } else { "ADDED" };
        self.tell(path, type_, &object);
        object
    }

    /// Nobody may watch.
    fn tell(&self, path: &str, type_: &str, object: &Value) {
        let event = json!({"type": type_, "object": object});
        self.changes.send((path.to_owned(), event)).ok();
    }

    fn next_revision(&self) -> Value {
        self.revision
            .fetch_add(1, Ordering::SeqCst)
            .to_string()
            .into()
    }

    pub fn remove(&self, path: &str) {
        if let Some(mut object) = self.objects.lock().remove(path) {
            object["metadata"]["resourceVersion"] = self.next_revision();
            self.tell(path, "DELETED", &object);
        }
    }

    /// A pod bound to `node`.
    pub fn create_pod(&self, node: &str, name: &str, mut spec: Value) -> Value {
        spec["nodeName"] = node.into();
        for (field, default) in [
            ("restartPolicy", json!("Always")),
            ("enableServiceLinks", json!(false)),
            ("terminationGracePeriodSeconds", json!(5)),
            ("dnsPolicy", json!("Default")),
        ] {
            if spec[field].is_null() {
                spec[field] = default;
            }
        }
        let status = json!({"phase": "Pending", "qosClass": "BestEffort", "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": "2024-01-01T00:00:00Z"}]});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "generation": 1}, "spec": spec, "status": status});
        self.put(&pod_path(name), pod)
    }

    pub fn pod(&self, name: &str) -> Option<Value> {
        self.get(&pod_path(name))
    }

    /// Deletes as the API server does for a pod on a node: with a grace period.
    pub fn delete_pod(&self, name: &str, seconds: i64) {
        if let Some(mut pod) = self.pod(name) {
            pod["metadata"]["deletionTimestamp"] = time::now().to_string().into();
            pod["metadata"]["deletionGracePeriodSeconds"] = seconds.into();
            self.put(&pod_path(name), pod);
        }
    }

    /// `reason: message` of all events.
    pub fn events(&self) -> Vec<String> {
        self.list("/api/v1/namespaces/default/events/")
            .iter()
            .map(|event| {
                format!(
                    "{}: {}",
                    event["reason"].as_str().unwrap(),
                    event["message"].as_str().unwrap()
                )
            })
            .collect()
    }
}

pub fn pod_path(name: &str) -> String {
    format!("/api/v1/namespaces/default/pods/{name}")
}

fn failure(code: StatusCode, reason: &str, message: String) -> Response {
    (code, json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, "code": code.as_u16()}).to_string())
        .into_response()
}

fn not_found(kind: &str, name: &str) -> Response {
    failure(
        StatusCode::NOT_FOUND,
        "NotFound",
        format!("{kind} {name:?} not found"),
    )
}

fn ok(object: &Value) -> Response {
    object.to_string().into_response()
}

async fn handle(State(store): State<Api>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let path = parts.uri.path().to_owned();
    let query: HashMap<String, String> = parts
        .uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter_map(|part| part.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.replace("%3D", "=")))
        .collect();
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let skip = if segments[0] == "api" { 2 } else { 3 };
    let rest = &segments[skip..];
    let rest = if rest[0] == "namespaces" && rest.len() > 2 {
        &rest[2..]
    } else {
        rest
    };
    let value = || serde_json::from_slice::<Value>(&body).unwrap_or_default();
    match (parts.method, rest) {
        (Method::GET, [_]) if query.get("watch").is_some_and(|watch| watch == "true") => {
            watch(&store, &path, &query)
        }
        (Method::GET, [_]) => {
            let items: Vec<Value> = matching(&store, &path, &query);
            ok(
                &json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": store.revision.load(Ordering::SeqCst).to_string()}, "items": items}),
            )
        }
        (Method::GET, [kind, name]) => match store.get(&path) {
            Some(object) => ok(&object),
            None => not_found(kind, name),
        },
        (Method::POST, ["subjectaccessreviews"]) => {
            let mut review = value();
            review["status"] = json!({"allowed": review["spec"]["user"] == "admin"});
            let number = store.revision.load(Ordering::SeqCst);
            ok(&store.put(&format!("{path}/{number}"), review))
        }
        (Method::POST, [_]) => {
            let object = value();
            let place = format!(
                "{path}/{}",
                object["metadata"]["name"].as_str().unwrap_or_default()
            );
            if store.get(&place).is_some() {
                return failure(StatusCode::CONFLICT, "AlreadyExists", "exists".to_owned());
            }
            ok(&store.put(&place, object))
        }
        (Method::POST, ["serviceaccounts", _, "token"]) => {
            let expires = time::now().checked_add(Duration::from_secs(3600)).unwrap();
            ok(
                &json!({"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": {}, "spec": {"audiences": []}, "status": {"token": "the-token", "expirationTimestamp": expires.to_string()}}),
            )
        }
        (Method::PATCH, [kind, name, ..]) => {
            let place = path.trim_end_matches("/status").to_owned();
            if store.get(&place).is_none() {
                store.refusals.lock().push(path.clone());
                return not_found(kind, name);
            }
            let patch = value();
            let changed = store.change(&place, |object| {
                let uid = patch["metadata"]["uid"].as_str();
                let same = uid.is_none_or(|uid| uid == object["metadata"]["uid"]);
                if same {
                    merge(object, &patch);
                }
                same
            });
            match changed {
                Some(object) => ok(&object),
                None => failure(StatusCode::CONFLICT, "Conflict", "uid".to_owned()),
            }
        }
        (Method::DELETE, [kind, name]) => {
            let Some(object) = store.get(&path) else {
                return not_found(kind, name);
            };
            let options = value();
            assert_eq!(options["gracePeriodSeconds"], 0);
            assert_eq!(options["preconditions"]["uid"], object["metadata"]["uid"]);
            store.remove(&path);
            ok(&object)
        }
        (method, _) => failure(
            StatusCode::METHOD_NOT_ALLOWED,
            "MethodNotAllowed",
            format!("{method} {path}"),
        ),
    }
}

/// A strategic merge, as far as statuses need it.
fn merge(into: &mut Value, patch: &Value) {
    let (Some(object), Some(patch)) = (into.as_object_mut(), patch.as_object()) else {
        *into = patch.clone();
        return;
    };
    for (key, value) in patch {
        match value {
            _ if key.starts_with('$') => {}
            Value::Null => _ = object.remove(key),
            Value::Object(_) => merge(
                object
                    .entry(key.clone())
                    .or_insert_with(|| Value::Object(Map::new())),
                value,
            ),
            Value::Array(list) if key == "conditions" => {
                let slot = object.entry(key.clone()).or_insert_with(|| json!([]));
                for element in list {
                    if element["$patch"] == "delete" {
                        slot.as_array_mut()
                            .unwrap()
                            .retain(|old| old["type"] != element["type"]);
                        continue;
                    }
                    match slot
                        .as_array_mut()
                        .unwrap()
                        .iter_mut()
                        .find(|old| old["type"] == element["type"])
                    {
                        Some(old) => merge(old, element),
                        None => slot.as_array_mut().unwrap().push(element.clone()),
                    }
                }
            }
            Value::Array(list) => {
                _ = object.insert(
                    key.clone(),
                    list.iter()
                        .filter(|element| element.get("$patch").is_none())
                        .cloned()
                        .collect(),
                )
            }
            other => _ = object.insert(key.clone(), other.clone()),
        }
    }
}

fn selects(path: &str, object_path: &str, object: &Value, query: &HashMap<String, String>) -> bool {
    let all_namespaces = path
        .strip_prefix("/api/v1/")
        .filter(|rest| !rest.contains('/'))
        .is_some_and(|kind| object_path.contains(&format!("/{kind}/")));
    if !(object_path.starts_with(&format!("{path}/")) || all_namespaces) {
        return false;
    }
    match query
        .get("fieldSelector")
        .and_then(|selector| selector.split_once('='))
    {
        Some(("spec.nodeName", node)) => object["spec"]["nodeName"] == node,
        Some(("metadata.name", name)) => object["metadata"]["name"] == name,
        _ => true,
    }
}

fn matching(store: &Store, path: &str, query: &HashMap<String, String>) -> Vec<Value> {
    store
        .objects
        .lock()
        .iter()
        .filter(|(place, object)| selects(path, place, object, query))
        .map(|(_, object)| object.clone())
        .collect()
}

fn watch(store: &Api, path: &str, query: &HashMap<String, String>) -> Response {
    let mut changes = store.changes.subscribe();
    let from: u64 = query
        .get("resourceVersion")
        .and_then(|revision| revision.parse().ok())
        .unwrap_or(0);
    let (path, query) = (path.to_owned(), query.clone());
    // What happened between the list and the watch.
    let missed: Vec<String> = matching(store, &path, &query)
        .into_iter()
        .filter(|object| {
            object["metadata"]["resourceVersion"]
                .as_str()
                .unwrap()
                .parse::<u64>()
                .unwrap()
                >= from
        })
        .map(|object| format!("{}\n", json!({"type": "MODIFIED", "object": object})))
        .collect();
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(64);
    tokio::spawn(async move {
        for line in missed {
            if sender.send(Ok(line.into())).await.is_err() {
                return;
            }
        }
        while let Ok((place, event)) = changes.recv().await {
            if selects(&path, &place, &event["object"], &query)
                && sender.send(Ok(format!("{event}\n").into())).await.is_err()
            {
                return;
            }
        }
    });
    Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(receiver)).into_response()
}

/// Whether tests may mount here; says so if not.
pub fn may_mount() -> bool {
    let may = nix::unistd::geteuid().is_root();
    if !may {
        skiff_testing::skipped("mounting needs root");
    }
    may
}

/// Waits until `what` answers something.
pub async fn eventually<T>(name: &str, mut what: impl FnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = what() {
            return found;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "not in time: {name}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
