//! The caches as their readers see them, alone and filled from a server.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures::StreamExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::{Value, json};
use skiff_podspec::pod::{Pod, Spec};
use tokio_util::sync::CancellationToken;

use super::{
    all::Filler,
    cached::{Visitor, each},
    *,
};
use crate::{
    api::{Api, collection},
    client::Client,
    events::Events,
    reflect::Sink,
    typed::Wire,
};

fn pod(name: &str, version: &str, owner: Option<&str>, node: Option<&str>) -> Pod {
    let owner_references = owner.map(|uid| {
        vec![OwnerReference {
            uid: uid.into(),
            controller: Some(true),
            ..Default::default()
        }]
    });
    let metadata = ObjectMeta {
        name: Some(name.into()),
        namespace: Some("ns".into()),
        uid: Some(format!("uid-{name}")),
        resource_version: Some(version.into()),
        owner_references,
        ..Default::default()
    };
    Pod {
        metadata,
        spec: Some(Spec {
            node_name: node.map(Into::into),
            ..Default::default()
        }),
        status: None,
    }
}

fn names(mut pods: Vec<Arc<Pod>>) -> Vec<String> {
    pods.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    pods.iter()
        .filter_map(|p| p.metadata.name.clone())
        .collect()
}

#[test]
fn indices_follow_changes_of_owner_and_node() {
    let informer = Informer::<Pod>::empty();
    informer.replace(
        vec![
            pod("a", "1", None, None),
            pod("b", "2", Some("rs"), Some("n1")),
        ],
        "2",
    );
    assert_eq!(names(informer.orphans("ns")), ["a"]);
    assert_eq!(names(informer.owned_by("rs")), ["b"]);
    informer.apply(pod("a", "3", Some("rs"), Some("n1")));
    assert_eq!(names(informer.orphans("ns")), Vec::<String>::new());
    assert_eq!(names(informer.owned_by("rs")), ["a", "b"]);
    assert_eq!(names(informer.in_group("n1")), ["a", "b"]);
    informer.delete(pod("b", "4", Some("rs"), Some("n1")));
    assert_eq!(names(informer.in_namespace("ns")), ["a"]);
}

#[test]
fn a_new_list_tells_only_differences_and_late_subscribers_hear_all() {
    let informer = Informer::<Pod>::empty();
    informer.replace(
        vec![pod("a", "1", None, None), pod("b", "2", None, None)],
        "2",
    );
    let (added, updated, deleted) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
    );
    let counts = (added.clone(), updated.clone(), deleted.clone());
    informer.subscribe(move |change| {
        let count = match change {
            Change::Added(_) => &counts.0,
            Change::Updated { .. } => &counts.1,
            Change::Deleted(_) => &counts.2,
        };
        count.fetch_add(1, Ordering::Relaxed);
    });
    informer.replace(
        vec![pod("b", "3", None, None), pod("c", "4", None, None)],
        "4",
    );
    let seen = [&added, &updated, &deleted].map(|c| c.load(Ordering::Relaxed));
    assert_eq!(seen, [3, 1, 1]);
}

type Body = UnsyncBoxBody<Bytes, std::convert::Infallible>;

/// A server that holds the same things of every kind, and counts what it is asked.
#[derive(Clone, Default)]
struct Server {
    asked: Arc<AtomicUsize>,
    events: Arc<Mutex<Vec<Value>>>,
    /// A watch ends at once instead of going on.
    ends: bool,
}

fn object(name: &str, version: u32, creation: Value) -> Value {
    json!({"metadata": {"name": name, "namespace": "ns", "uid": name, "resourceVersion": version.to_string(), "creationTimestamp": creation}})
}

impl Server {
    fn answer(&self, method: &http::Method, uri: &http::Uri, body: &[u8]) -> Body {
        if method == http::Method::POST {
            lock(&self.events).push(serde_json::from_slice(body).unwrap());
            return Full::from(body.to_vec()).boxed_unsync();
        }
        self.asked.fetch_add(1, Ordering::Relaxed);
        if !uri.query().unwrap_or_default().contains("watch=true") {
            // a number is no time for any reader
            let items = [
                object("good", 1, Value::Null),
                object("bad", 2, 17.into()),
                object("late", 3, json!("2026-01-01T00:00:00Z")),
            ];
            return Full::from(
                json!({"metadata": {"resourceVersion": "3"}, "items": items}).to_string(),
            )
            .boxed_unsync();
        }
        let events = [
            ("MODIFIED", object("bad", 4, 17.into())),
            ("DELETED", object("worse", 5, 17.into())),
            ("ADDED", object("new", 6, Value::Null)),
        ];
        let lines: String = events
            .iter()
            .map(|(kind, object)| json!({"type": kind, "object": object}).to_string() + "\n")
            .collect();
        let told = if self.ends { String::new() } else { lines };
        let frames = futures::stream::iter([Ok(http_body::Frame::data(Bytes::from(told)))]);
        match self.ends {
            true => StreamBody::new(frames).boxed_unsync(),
            false => StreamBody::new(frames.chain(futures::stream::pending())).boxed_unsync(),
        }
    }

    fn informers(&self, stop: &CancellationToken) -> Informers {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Full<Bytes>>| {
            let server = server.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await?.to_bytes();
                Ok::<_, std::convert::Infallible>(Response::new(server.answer(
                    &head.method,
                    &head.uri,
                    &body,
                )))
            }
        });
        let api = Api::new(Client::new(service), "test");
        let events = Events::start(api.clone(), Clock::system(), stop.clone());
        let informers = Informers::new(api, Clock::system(), &events, stop.clone());
        informers.start();
        informers
    }
}

async fn within(what: &str, seconds: u64, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(seconds);
    while !holds() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "{what} did not come about"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Every kind's informer, as what it holds can be asked for.
struct Each<'a> {
    informers: &'a Informers,
    caches: Vec<(String, Box<dyn Fn() -> Vec<String>>)>,
}

impl Visitor for Each<'_> {
    fn visit<K: Cached>(&mut self) {
        let informer = self.informers.of::<K>();
        let names = move || {
            let mut names: Vec<String> = informer
                .list()
                .iter()
                .filter_map(|object| object.meta().name.clone())
                .collect();
            names.sort();
            names
        };
        self.caches.push((collection::<K>(""), Box::new(names)));
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_set_aside_in_every_kind_and_told_once() {
    let (server, stop) = (Server::default(), CancellationToken::new());
    let informers = server.informers(&stop);
    let mut every = Each {
        informers: &informers,
        caches: Vec::new(),
    };
    each(&mut every);
    let kinds = every.caches.len();
    for (path, names) in &every.caches {
        within(path, 10, || names() == ["good", "late", "new"]).await;
    }
    within("an event for every object that cannot be read", 10, || {
        lock(&server.events).len() >= 2 * kinds
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    // a list and a watch a kind, and nothing more however long it goes on
    assert_eq!(server.asked.load(Ordering::Relaxed), 2 * kinds);
    let told = lock(&server.events);
    assert_eq!(told.len(), 2 * kinds);
    assert!(told.iter().all(|event| {
        event["reason"] == "Unreadable"
            && event["message"]
                .as_str()
                .is_some_and(|m| m.contains(".metadata.creationTimestamp"))
    }));
    stop.cancel();
}

#[tokio::test]
async fn a_watch_that_ends_at_once_is_not_begun_again_without_a_pause() {
    let (server, stop) = (
        Server {
            ends: true,
            ..Server::default()
        },
        CancellationToken::new(),
    );
    let informers = server.informers(&stop);
    let pods = informers.of::<Pod>();
    within("the list", 10, || pods.len() == 2).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let asked = server.asked.load(Ordering::Relaxed);
    // 50 ms, doubled each time
    assert!(asked <= 7, "{asked} requests in a second");
    stop.cancel();
}

/// Shown one by one or in a list, changed or not.
#[tokio::test]
async fn pods_share_what_they_have_alike() {
    let server = |name: &str, version: &str, node: &str, phase: &str| {
        json!({"metadata": {"name": name, "namespace": "ns", "uid": name, "resourceVersion": version},
            "spec": {"containers": [{"name": "c", "image": "i"}], "nodeName": node}, "status": {"phase": phase}})
        .to_string()
    };
    let informer = Informer::<Pod>::empty();
    let (nobody, stop) = (Server::default(), CancellationToken::new());
    let mut filler = Filler::new(informer.clone(), nobody.informers(&stop).unreadable.clone());
    filler.begin();
    filler.listed(&server("a", "1", "m", "Pending"));
    filler.complete("1");
    filler.applied(&server("b", "2", "n", "Pending"));
    filler.applied(&server("a", "3", "m", "Running"));
    let [a, b] = ["a", "b"].map(|name| informer.get(&Key::new("ns", name)).unwrap());
    let spec = |pod: &Pod| std::ptr::from_ref(&pod.spec.as_ref().unwrap().containers);
    assert!(std::ptr::eq(spec(&a), spec(&b)));
    let told = |pod: &Pod| {
        let node = pod.spec.as_ref().unwrap().node_name.clone();
        (node, pod.status.as_ref().unwrap().phase.clone())
    };
    let some = |text: &str| Some(text.to_string());
    assert_eq!(told(&a), (some("m"), some("Running")));
    assert_eq!(told(&b), (some("n"), some("Pending")));
}

#[test]
fn volumes_that_nothing_stands_behind_are_not_kept() {
    let text = json!({
        "metadata": {"name": "a", "namespace": "ns"},
        "spec": {"containers": [], "volumes": [
            {"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
            {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
            {"name": "log", "emptyDir": {}},
            {"name": "own", "ephemeral": {}},
        ]},
    });
    let mut pod = Pod::decode_without(&text.to_string(), Pod::DROPPED).unwrap();
    pod.trim();
    let volumes = pod.spec.as_ref().unwrap().volumes.as_ref().unwrap();
    let names: Vec<&str> = volumes.iter().map(|volume| volume.name.as_str()).collect();
    assert_eq!(names, ["data", "own"]);
    assert_eq!(volumes.capacity(), 2);
}
