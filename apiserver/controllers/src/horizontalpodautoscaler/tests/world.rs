//! A server that knows one Deployment, its scale, and what is measured; a clock that is moved by hand.
//!
//! Invariant: nothing here decides anything, and nothing depends on how long something takes.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicI64, Ordering},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::{BodyExt, Full};
use jiff::Timestamp;
use serde_json::{Value, json};
use skiff_watching::{
    client::{BoxError, Client},
    clock::{Now, TimeSource},
    events::Events,
};
use tokio_util::sync::CancellationToken;

use super::super::*;

pub const NAMESPACE: &str = "ns";

/// Seconds since the epoch, moved by hand.
#[derive(Clone)]
pub struct Hands(Arc<AtomicI64>);

impl Now for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

impl TimeSource for Hands {
    fn sleep_until(&self, _: Timestamp) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

/// What the server answers.
#[derive(Default)]
pub struct State {
    pub replicas: i64,
    pub status_replicas: i64,
    pub selector: String,
    /// The scale cannot be written.
    pub fails: bool,
    /// Items of `metrics.k8s.io`.
    pub measured: Vec<Value>,
    /// Values of custom and external metrics, by the path that asks for them.
    pub values: HashMap<String, Vec<Value>>,
    pub pods: Vec<Arc<Pod>>,
    /// `REASON MESSAGE`, in their order.
    pub events: Vec<String>,
    /// Of events by their messages: when they are told again, it is not said.
    reasons: HashMap<String, String>,
    /// The autoscaler as it was written last.
    written: Option<Value>,
}

pub struct World {
    pub state: Arc<Mutex<State>>,
    hands: Hands,
    pub controller: Controller,
    _stop: tokio_util::sync::DropGuard,
}

/// The end of what is told.
const LAST: &str = "Last";

impl World {
    pub fn new(now: i64, options: Options) -> Self {
        let state = Arc::<Mutex<State>>::default();
        let served = state.clone();
        let service = tower::service_fn(move |request: http::Request<Full<Bytes>>| {
            let served = served.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await?.to_bytes();
                let (code, answer) = served.lock().answer(&parts, &body);
                let body = Full::new(Bytes::from(answer.to_string()));
                Ok::<_, BoxError>(http::Response::builder().status(code).body(body)?)
            }
        });
        let hands = Hands(Arc::new(AtomicI64::new(now)));
        let clock = Clock::from_source(hands.clone());
        let api = Api::new(Client::new(service), "test");
        let stop = CancellationToken::new();
        let events = Events::start(api.clone(), clock.clone(), stop.clone());
        let of = state.clone();
        let controller = Controller {
            api,
            clock,
            recorder: events.recorder("horizontal-pod-autoscaler"),
            options,
            autoscalers: Informer::empty(),
            pods: Box::new(move |_| of.lock().pods.clone()),
            memories: Mutex::default(),
            selectors: Mutex::default(),
        };
        World {
            state,
            hands,
            controller,
            _stop: stop.drop_guard(),
        }
    }

    pub fn now(&self) -> Timestamp {
        self.hands.now()
    }

    pub fn pass(&self, seconds: i64) {
        self.hands.0.fetch_add(seconds, Ordering::SeqCst);
    }

    /// Has an autoscaler looked at; as it is afterwards.
    pub async fn look(&self, autoscaler: &mut HorizontalPodAutoscaler) {
        let key = Key::of(&autoscaler.metadata);
        self.controller.look(&key, autoscaler).await.unwrap();
        if let Some(written) = self.state.lock().written.take() {
            *autoscaler = serde_json::from_value(written).unwrap();
        }
    }

    /// What was told since.
    pub async fn events(&self) -> Vec<String> {
        let about = HorizontalPodAutoscaler {
            metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                name: Some(format!("last-{}", self.now())),
                namespace: Some(NAMESPACE.into()),
                ..Default::default()
            },
            ..Default::default()
        };
        self.controller.recorder.normal(&about, LAST, "");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while std::time::Instant::now() < deadline {
            if let Some(events) = self.state.lock().told() {
                return events;
            }
            tokio::task::yield_now().await;
        }
        panic!("events were not written")
    }
}

fn status(code: u16, reason: &str, message: &str) -> (u16, Value) {
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, "code": code}),
    )
}

/// What discovery tells of a group.
fn group(name: &str, version: &str, resources: &[(&str, &str)]) -> Value {
    let resources = resources.iter().map(|(plural, kind)| {
        json!({"resource": plural, "responseKind": {"kind": kind}, "scope": "Namespaced", "verbs": ["get"]})
    });
    json!({"metadata": {"name": name}, "versions": [{"version": version, "resources": resources.collect::<Vec<_>>(), "freshness": "Current"}]})
}

impl State {
    /// All that was told, when the last of it was.
    fn told(&mut self) -> Option<Vec<String>> {
        let last = self.events.last()?;
        if !last.starts_with(LAST) {
            return None;
        }
        self.events.pop();
        Some(std::mem::take(&mut self.events))
    }

    fn groups(&self) -> Value {
        let mut groups = vec![group("apps", "v1", &[("deployments", "Deployment")])];
        if self
            .values
            .keys()
            .any(|path| path.contains("custom.metrics"))
        {
            groups.push(group(
                "custom.metrics.k8s.io",
                "v1beta2",
                &[("pods/qps", "MetricValueList")],
            ));
        }
        json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": groups})
    }

    fn scale(&self) -> Value {
        json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {"name": "web", "namespace": NAMESPACE},
            "spec": {"replicas": self.replicas}, "status": {"replicas": self.status_replicas, "selector": self.selector}})
    }

    fn answer(&mut self, asked: &http::request::Parts, body: &[u8]) -> (u16, Value) {
        let path = asked.uri.path();
        let sent = || serde_json::from_slice::<Value>(body).unwrap();
        match (asked.method.as_str(), path) {
            ("GET", "/api") => (
                200,
                json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": []}),
            ),
            ("GET", "/apis") => (200, self.groups()),
            ("GET", "/apis/apps/v1/namespaces/ns/deployments/web/scale") => (200, self.scale()),
            ("PUT", "/apis/apps/v1/namespaces/ns/deployments/web/scale") if self.fails => {
                status(500, "InternalError", "internal error")
            }
            ("PUT", "/apis/apps/v1/namespaces/ns/deployments/web/scale") => {
                self.replicas = sent()["spec"]["replicas"].as_i64().unwrap();
                (200, self.scale())
            }
            ("GET", "/apis/metrics.k8s.io/v1beta1/namespaces/ns/pods") => {
                (200, json!({"items": self.measured}))
            }
            ("GET", _) => match self.values.get(path) {
                Some(values) => (200, json!({"items": values})),
                None => status(
                    404,
                    "NotFound",
                    "the server could not find the requested resource",
                ),
            },
            ("PUT", path) if path.ends_with("/status") => {
                self.written = Some(sent());
                (200, sent())
            }
            ("POST" | "PATCH", path) if path.contains("/events") => {
                let event = sent();
                let text = |of: &Value| of.as_str().unwrap_or_default().to_owned();
                let message = text(&event["message"]);
                if let Some(reason) = event.get("reason") {
                    self.reasons.insert(message.clone(), text(reason));
                }
                let known = self.reasons.get(&message).map_or("Again", String::as_str);
                self.events.push(format!("{known} {message}"));
                (200, event)
            }
            (method, path) => panic!("nobody serves {method} {path}"),
        }
    }
}

/// An autoscaler of the Deployment.
pub fn autoscaler(spec: Value) -> HorizontalPodAutoscaler {
    let mut all = json!({"metadata": {"name": "web", "namespace": NAMESPACE}, "spec": spec});
    all["spec"]["scaleTargetRef"] =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    serde_json::from_value(all).unwrap()
}

/// What is measured of a pod.
pub fn measured(pod: &str, at: Timestamp, containers: &[(&str, Value)]) -> Value {
    let containers = containers
        .iter()
        .map(|(name, usage)| json!({"name": name, "usage": usage}));
    json!({"metadata": {"name": pod, "namespace": NAMESPACE}, "timestamp": at, "window": "1m0s", "containers": containers.collect::<Vec<_>>()})
}
