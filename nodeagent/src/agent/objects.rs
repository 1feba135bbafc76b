//! ConfigMaps and Secrets that pods refer to: read fresh when something starts, watched while a pod has them mounted.
//!
//! Invariant: a missing object is told apart from one that could not be read.
//! Follows `pkg/kubelet/util/manager/watch_based_manager.go`.

use std::{
    collections::{HashMap, HashSet},
    fmt::Debug,
    sync::Arc,
};

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use kube::{Api, Client, api::ListParams, runtime::watcher};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    ConfigMap,
    Secret,
}

#[derive(thiserror::Error, Debug)]
pub enum Error {
    /// In the API server's words: `configmaps "x" not found`.
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Api(String),
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.code == 404 => Self::NotFound(status.message.clone()),
            kube::Error::Api(status) => Self::Api(status.message.clone()),
            other => Self::Api(other.to_string()),
        }
    }
}

type Key = (Kind, String, String);

/// An object as a watch last delivered it.
#[derive(Clone)]
enum Object {
    ConfigMap(Arc<ConfigMap>),
    Secret(Arc<Secret>),
}

/// `None` as long as the watch has nothing to tell, or when the object is missing: then it is asked for anew.
type Latest = Arc<Mutex<Option<Object>>>;

struct Watched {
    stop: CancellationToken,
    latest: Latest,
    /// Who wants to know, by pod uid.
    wakes: Arc<Mutex<HashMap<String, Arc<Notify>>>>,
}

/// Reads and watches; cheap to clone.
#[derive(Clone)]
pub struct Objects {
    client: Client,
    watched: Arc<Mutex<HashMap<Key, Watched>>>,
    stop: CancellationToken,
}

impl Objects {
    pub fn new(client: Client, stop: CancellationToken) -> Self {
        Self { client, watched: Arc::default(), stop }
    }

    pub async fn config_map(&self, namespace: &str, name: &str) -> Result<ConfigMap, Error> {
        if let Some(Object::ConfigMap(object)) = self.latest(Kind::ConfigMap, namespace, name) {
            return Ok((*object).clone());
        }
        named(Api::<ConfigMap>::namespaced(self.client.clone(), namespace).get(name).await, "configmap")
    }

    pub async fn secret(&self, namespace: &str, name: &str) -> Result<Secret, Error> {
        if let Some(Object::Secret(object)) = self.latest(Kind::Secret, namespace, name) {
            return Ok((*object).clone());
        }
        named(Api::<Secret>::namespaced(self.client.clone(), namespace).get(name).await, "secret")
    }

    fn latest(&self, kind: Kind, namespace: &str, name: &str) -> Option<Object> {
        self.watched.lock().get(&(kind, namespace.to_owned(), name.to_owned()))?.latest.lock().clone()
    }

    /// The services whose addresses pods of `namespace` get in their environment.
    pub async fn services(&self, namespace: &str, all: bool) -> Result<Vec<Service>, Error> {
        let of = |namespace: &str| Api::<Service>::namespaced(self.client.clone(), namespace);
        let mut services = if all { of(namespace).list(&ListParams::default()).await?.items } else { Vec::new() };
        if namespace != "default" || !all {
            services.retain(|service| service.metadata.name.as_deref() != Some("kubernetes"));
            services.extend(of("default").get_opt("kubernetes").await?);
        }
        Ok(services)
    }

    /// From now on the pod is woken when one of `wanted` changes; what it watched before and is not in there is let go.
    pub fn watch(&self, uid: &str, namespace: &str, wanted: &HashSet<(Kind, String)>, wake: &Arc<Notify>) {
        let mut watched = self.watched.lock();
        for (kind, name) in wanted {
            let key = (*kind, namespace.to_owned(), name.clone());
            let entry = watched.entry(key.clone()).or_insert_with(|| self.start(key));
            entry.wakes.lock().insert(uid.to_owned(), wake.clone());
        }
        watched.retain(|(kind, of, name), entry| {
            if of == namespace && wanted.contains(&(*kind, name.clone())) {
                return true;
            }
            let mut wakes = entry.wakes.lock();
            wakes.remove(uid);
            if wakes.is_empty() {
                entry.stop.cancel();
            }
            !wakes.is_empty()
        });
    }

    fn start(&self, (kind, namespace, name): Key) -> Watched {
        let stop = self.stop.child_token();
        let (wakes, latest) = (Arc::default(), Latest::default());
        let follower = Follower { name, wakes: Arc::clone(&wakes), latest: latest.clone(), stop: stop.clone() };
        let client = self.client.clone();
        match kind {
            Kind::ConfigMap => tokio::spawn(follower.follow(Api::<ConfigMap>::namespaced(client, &namespace), |object| Object::ConfigMap(Arc::new(object)))),
            Kind::Secret => tokio::spawn(follower.follow(Api::<Secret>::namespaced(client, &namespace), |object| Object::Secret(Arc::new(object)))),
        };
        Watched { stop, latest, wakes }
    }
}

/// `configmap "x" not found`, as the node agent words it; other errors in the server's words.
fn named<K>(read: kube::Result<K>, kind: &str) -> Result<K, Error> {
    read.map_err(|error| match Error::from(error) {
        Error::NotFound(message) => Error::NotFound(message.replacen(&format!("{kind}s "), &format!("{kind} "), 1)),
        other => other,
    })
}

/// The task that watches one object.
struct Follower {
    name: String,
    wakes: Arc<Mutex<HashMap<String, Arc<Notify>>>>,
    latest: Latest,
    stop: CancellationToken,
}

impl Follower {
    async fn follow<K>(self, api: Api<K>, wrap: fn(K) -> Object)
    where
        K: kube::Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        use kube::runtime::WatchStreamExt;
        let mut changes = std::pin::pin!(watcher::watch_object(api, &self.name).default_backoff());
        loop {
            let change = tokio::select! {
                change = changes.next() => change,
                () = self.stop.cancelled() => return,
            };
            match change {
                Some(Ok(object)) => {
                    *self.latest.lock() = object.map(wrap);
                    self.wakes.lock().values().for_each(|wake| wake.notify_one());
                }
                Some(Err(error)) => {
                    *self.latest.lock() = None;
                    tracing::debug!(%error, name = self.name, "watch of an object interrupted");
                }
                None => return,
            }
        }
    }
}
