//! A cluster's objects in memory, for the tests of this folder.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use futures::FutureExt;
use parking_lot::Mutex;
use serde_json::{Value, json};
use skiff_storage::{Attributes, Key, Object};

use super::{
    Change, Follow, Objects,
    authorize::{self, Authorizers, Step, rule},
};

/// Authorizers of these modes over these objects.
pub fn of_modes(modes: &[&str], objects: Arc<dyn Objects>) -> Authorizers {
    let modes = authorize::modes(modes).unwrap();
    let steps: Vec<Step> = modes.into_iter().map(Step::Mode).collect();
    Authorizers::new(&steps, objects)
}

/// What comes of something that waits for nobody.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().unwrap()
}

#[derive(Default)]
struct State {
    objects: BTreeMap<(String, String, String), Arc<Object>>,
    versions: HashMap<String, u64>,
    revision: u64,
}

/// Clones are of the same cluster.
#[derive(Clone, Default)]
pub struct Fake(Arc<Mutex<State>>);

/// All there is, whenever something changed.
struct Again {
    fake: Fake,
    resource: String,
    seen: Option<u64>,
}

impl Follow for Again {
    fn since(&mut self) -> Vec<Change> {
        let version = Some(self.fake.version(&self.resource));
        if std::mem::replace(&mut self.seen, version) == version {
            return Vec::new();
        }
        vec![Change::All(self.fake.list(&self.resource, None))]
    }
}

impl Fake {
    pub fn put(&self, resource: &str, object: Value) {
        let field = |name: &str| {
            object["metadata"][name]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let (namespace, name) = (field("namespace"), field("name"));
        let mut state = self.0.lock();
        state.revision += 1;
        let revision = state.revision;
        state.versions.insert(resource.to_owned(), revision);
        let key = Key {
            resource: resource.into(),
            namespace: namespace.as_str().into(),
            name: name.as_str().into(),
        };
        let fields = object["spec"]["nodeName"]
            .as_str()
            .map(|node| ("spec.nodeName", node));
        let attributes = Attributes::new(false, &field("uid"), [("", ""); 0], fields);
        let object = Object::new(
            key,
            revision,
            serde_json::to_vec(&object).unwrap().into(),
            attributes,
        );
        state
            .objects
            .insert((resource.to_owned(), namespace, name), Arc::new(object));
    }

    pub fn remove(&self, resource: &str, namespace: &str, name: &str) {
        let mut state = self.0.lock();
        state.revision += 1;
        let revision = state.revision;
        state.versions.insert(resource.to_owned(), revision);
        state
            .objects
            .remove(&(resource.to_owned(), namespace.to_owned(), name.to_owned()));
    }

    pub fn with(self, resource: &str, object: Value) -> Fake {
        self.put(resource, object);
        self
    }

    pub fn role(self, namespace: &str, name: &str, rules: &[&str]) -> Fake {
        let rules: Vec<_> = rules.iter().map(|text| rule::parse(text)).collect();
        self.with(
            "roles.rbac.authorization.k8s.io",
            json!({"metadata": {"namespace": namespace, "name": name}, "rules": rules}),
        )
    }

    pub fn cluster_role(self, name: &str, rules: &[&str]) -> Fake {
        let rules: Vec<_> = rules.iter().map(|text| rule::parse(text)).collect();
        self.with(
            "clusterroles.rbac.authorization.k8s.io",
            json!({"metadata": {"name": name}, "rules": rules}),
        )
    }

    /// `subjects` as `User bob`, `Group dev`, `ServiceAccount name` or `ServiceAccount namespace/name`.
    pub fn bind(
        self,
        namespace: &str,
        name: &str,
        kind: &str,
        role: &str,
        subjects: &[&str],
    ) -> Fake {
        self.with(
            "rolebindings.rbac.authorization.k8s.io",
            binding(
                json!({"namespace": namespace, "name": name}),
                kind,
                role,
                subjects,
            ),
        )
    }

    pub fn cluster_bind(self, name: &str, role: &str, subjects: &[&str]) -> Fake {
        self.with(
            "clusterrolebindings.rbac.authorization.k8s.io",
            binding(json!({"name": name}), "ClusterRole", role, subjects),
        )
    }
}

fn binding(metadata: Value, kind: &str, role: &str, subjects: &[&str]) -> Value {
    let subjects: Vec<Value> = subjects
        .iter()
        .map(|subject| {
            let (kind, name) = subject.split_once(' ').unwrap();
            match name.split_once('/') {
                Some((namespace, name)) => {
                    json!({"kind": kind, "namespace": namespace, "name": name})
                }
                None => json!({"kind": kind, "name": name}),
            }
        })
        .collect();
    json!({"metadata": metadata, "subjects": subjects, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role}})
}

impl Objects for Fake {
    fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.0
            .lock()
            .objects
            .get(&(resource.to_owned(), namespace.to_owned(), name.to_owned()))
            .cloned()
    }

    fn list(&self, resource: &str, namespace: Option<&str>) -> Vec<Arc<Object>> {
        let state = self.0.lock();
        let wanted = |key: &(String, String, String)| {
            key.0 == resource && namespace.is_none_or(|namespace| key.1 == namespace)
        };
        state
            .objects
            .iter()
            .filter(|(key, _)| wanted(key))
            .map(|(_, object)| object.clone())
            .collect()
    }

    fn version(&self, resource: &str) -> u64 {
        self.0
            .lock()
            .versions
            .get(resource)
            .copied()
            .unwrap_or_default()
    }

    fn follow(&self, resource: &str) -> Box<dyn Follow> {
        Box::new(Again {
            fake: self.clone(),
            resource: resource.into(),
            seen: None,
        })
    }
}

/// A clock that stands still until it is moved.
pub struct StoppedClock(Mutex<jiff::Timestamp>);

impl StoppedClock {
    pub fn at(text: &str) -> Arc<StoppedClock> {
        Arc::new(StoppedClock(Mutex::new(text.parse().unwrap())))
    }

    pub fn advance(&self, seconds: i64) {
        let mut now = self.0.lock();
        *now = jiff::Timestamp::from_second(now.as_second() + seconds).unwrap();
    }
}

impl skiff_api::machinery::clock::Clock for StoppedClock {
    fn now(&self) -> jiff::Timestamp {
        *self.0.lock()
    }
}

/// The lines of a recording of the real server; `None`, and said, where the recordings are not at hand.
pub fn recorded(file: &str) -> Option<Vec<Value>> {
    let Ok(folder) = std::env::var("UPSTREAM_DATA") else {
        skiff_testing::skipped("UPSTREAM_DATA is not set to the folder of recordings");
        return None;
    };
    let text = std::fs::read_to_string(format!("{folder}/recorded/{file}")).unwrap();
    Some(
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    )
}
