//! ConfigMaps and Secrets that pods refer to: read fresh when something starts, watched while a pod has them mounted.
//!
//! Invariant: a missing object is told apart from one that could not be read.
//! Follows `pkg/kubelet/util/manager/watch_based_manager.go`.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use parking_lot::Mutex;
use skiff_watching::{
    api::{Api, Kind as Resource},
    clock::Clock,
    error,
    follow::{Seen, Selection, follow},
    unreadable::Unreadable,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    ConfigMap,
    Secret,
}

#[derive(thiserror::Error, Clone, Debug)]
pub enum Error {
    /// In the API server's words: `configmaps "x" not found`.
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Api(String),
}

impl From<error::Error> for Error {
    fn from(error: error::Error) -> Self {
        if error.is_not_found() {
            Self::NotFound(error.to_string())
        } else {
            Self::Api(error.to_string())
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

/// The `resourceVersion` of an object; `None` when a watch has not delivered it, or not yet.
pub type Version = Option<String>;

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
    api: Api,
    unreadable: Unreadable,
    watched: Arc<Mutex<HashMap<Key, Watched>>>,
    stop: CancellationToken,
}

impl Objects {
    pub fn new(api: Api, unreadable: Unreadable, stop: CancellationToken) -> Self {
        Self {
            api,
            unreadable,
            watched: Arc::default(),
            stop,
        }
    }

    pub async fn config_map(&self, namespace: &str, name: &str) -> Result<ConfigMap, Error> {
        if let Some(Object::ConfigMap(object)) = self.latest(Kind::ConfigMap, namespace, name) {
            return Ok((*object).clone());
        }
        named(self.api.get(namespace, name).await, "configmap")
    }

    pub async fn secret(&self, namespace: &str, name: &str) -> Result<Secret, Error> {
        if let Some(Object::Secret(object)) = self.latest(Kind::Secret, namespace, name) {
            return Ok((*object).clone());
        }
        named(self.api.get(namespace, name).await, "secret")
    }

    fn latest(&self, kind: Kind, namespace: &str, name: &str) -> Option<Object> {
        self.watched
            .lock()
            .get(&(kind, namespace.to_owned(), name.to_owned()))?
            .latest
            .lock()
            .clone()
    }

    /// Which versions of objects the watches have delivered last, in the order of `wanted`.
    pub fn versions(&self, namespace: &str, wanted: &BTreeSet<(Kind, String)>) -> Vec<Version> {
        let version = |(kind, name): &(Kind, String)| match self.latest(*kind, namespace, name)? {
            Object::ConfigMap(object) => object.metadata.resource_version.clone(),
            Object::Secret(object) => object.metadata.resource_version.clone(),
        };
        wanted.iter().map(version).collect()
    }

    /// The services whose addresses pods of `namespace` get in their environment.
    pub async fn services(&self, namespace: &str, all: bool) -> Result<Vec<Service>, Error> {
        let mut services = if all {
            self.api.list::<Service>(namespace).await?
        } else {
            Vec::new()
        };
        if namespace != "default" || !all {
            services.retain(|service| service.metadata.name.as_deref() != Some("kubernetes"));
            services.extend(error::unless_gone(
                self.api.get("default", "kubernetes").await,
            )?);
        }
        Ok(services)
    }

    /// From now on the pod is woken when one of `wanted` changes; what it watched before and is not in there is let go.
    pub fn watch(
        &self,
        uid: &str,
        namespace: &str,
        wanted: &BTreeSet<(Kind, String)>,
        wake: &Arc<Notify>,
    ) {
        let mut watched = self.watched.lock();
        for (kind, name) in wanted {
            let key = (*kind, namespace.to_owned(), name.clone());
            let entry = watched
                .entry(key.clone())
                .or_insert_with(|| self.start(key));
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
        let follower = Follower {
            wakes: Arc::clone(&wakes),
            latest: latest.clone(),
        };
        let only = Selection {
            namespace,
            field: Some(("metadata.name", name)),
        };
        match kind {
            Kind::ConfigMap => self.follow(only, &stop, follower, |object| {
                Object::ConfigMap(Arc::new(object))
            }),
            Kind::Secret => self.follow(only, &stop, follower, |object| {
                Object::Secret(Arc::new(object))
            }),
        }
        Watched {
            stop,
            latest,
            wakes,
        }
    }

    /// Starts the task that keeps what is known of one object.
    fn follow<K: Resource>(
        &self,
        only: Selection,
        stop: &CancellationToken,
        follower: Follower,
        wrap: fn(K) -> Object,
    ) {
        let mut changes = follow::<K>(&self.api, &Clock::system(), &self.unreadable, only, stop);
        skiff_watching::task::spawn(async move {
            while let Some(seen) = changes.recv().await {
                follower.take(match seen {
                    Seen::Listed(objects) => objects.into_iter().next().map(wrap),
                    Seen::Applied(object) => Some(wrap(object)),
                    Seen::Deleted(_) => None,
                });
            }
        });
    }
}

/// `configmap "x" not found`, as the node agent words it; other errors in the server's words.
fn named<K>(read: Result<K, error::Error>, kind: &str) -> Result<K, Error> {
    read.map_err(|error| match Error::from(error) {
        Error::NotFound(message) => {
            Error::NotFound(message.replacen(&format!("{kind}s "), &format!("{kind} "), 1))
        }
        other => other,
    })
}

/// What the task that watches one object tells.
struct Follower {
    wakes: Arc<Mutex<HashMap<String, Arc<Notify>>>>,
    latest: Latest,
}

impl Follower {
    fn take(&self, object: Option<Object>) {
        *self.latest.lock() = object;
        self.wakes
            .lock()
            .values()
            .for_each(|wake| wake.notify_one());
    }
}
