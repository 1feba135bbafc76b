//! APIServices of what this server serves itself: those of built-in groups are made at the start, those of definitions come and go with them.
//!
//! Invariant: one that somebody has taken into their own hands (without the label) is left alone.
//! Follows `pkg/controlplane/apiserver/aggregator.go`, `pkg/controlplane/controller/crdregistration` and
//! `staging/src/k8s.io/kube-aggregator/pkg/controllers/autoregister/autoregister_controller.go`.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use skiff_api::{
    kinds::{Priority, Registry},
    machinery::{meta::Meta, read::Read, status::Status},
};
use skiff_storage::Object;

use super::RESOURCE;
use crate::{
    auth::Change,
    own::{Own, ready},
    write::Part,
};

const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";
const ON_START: &str = "onstart";
const CONTINUOUSLY: &str = "true";
/// The most that an APIService may say. The aggregator's own group stands above all and has none.
const HIGHEST: i64 = 20_000;

pub type GroupVersion = (String, String);

fn name_of((group, version): &GroupVersion) -> String {
    format!("{version}.{group}")
}

fn wanted(of: &GroupVersion, priority: Priority, how: &str) -> Value {
    let (group, version) = of;
    json!({"metadata": {"name": name_of(of), "labels": {MANAGED: how}},
        "spec": {"group": group, "version": version, "groupPriorityMinimum": priority.group, "versionPriority": priority.version}})
}

/// Those of built-in groups, brought to what they are to be.
pub async fn builtin(own: &Own) -> Result<(), Status> {
    let row = own.row(RESOURCE)?;
    // those that were made once and are no more are taken away
    let stored = own.writer.core.store.snapshot(RESOURCE).range(None, None);
    let mut all: BTreeMap<String, Option<Value>> = stored
        .filter(|object| object.attributes().label(MANAGED) == Some(ON_START))
        .map(|object| (object.key.name.to_string(), None))
        .collect();
    for kind in Registry::builtin().all() {
        if kind.priority.group <= HIGHEST {
            let of = (kind.group.to_owned(), kind.version.to_owned());
            let place = all.entry(name_of(&of)).or_default();
            place.get_or_insert_with(|| wanted(&of, kind.priority, ON_START));
        }
    }
    stream::iter(all)
        .map(|(name, wanted)| async move {
            match (own.stored(row, "", &name)?, wanted) {
                (None, Some(wanted)) => own.ensure(RESOURCE, wanted).await,
                (Some(live), wanted) if live.label(MANAGED).is_some() => {
                    settle(own, &live, wanted).await
                }
                _ => Ok(()),
            }
        })
        .buffer_unordered(64)
        .try_collect()
        .await
}

/// Brings one that is there to what it is to be, or takes it away.
async fn settle(own: &Own, live: &Value, wanted: Option<Value>) -> Result<(), Status> {
    let row = own.row(RESOURCE)?;
    let Some(wanted) = wanted else {
        return own.delete(RESOURCE, "", live.name()).await;
    };
    let spec = ready(row, wanted)?.at("spec").clone();
    if live.at("spec") == &spec {
        return Ok(());
    }
    own.change(row, ("", live.name()), Part::Whole, &mut |new| {
        new["spec"] = spec.clone();
    })
    .await
}

/// Of a definition what says which versions it brings; the schemas, which are large, are passed over.
#[derive(Deserialize)]
struct Definition {
    spec: Spec,
}

#[derive(Deserialize)]
struct Spec {
    group: String,
    versions: Vec<Version>,
}

#[derive(Deserialize)]
struct Version {
    name: String,
    #[serde(default)]
    served: bool,
}

/// Which versions definitions bring.
#[derive(Default)]
pub struct Defined(BTreeMap<String, BTreeSet<GroupVersion>>);

impl Defined {
    /// Notes what definitions are now; the versions that are concerned, before or after.
    pub fn note(&mut self, change: &Change) -> BTreeSet<GroupVersion> {
        match change {
            Change::All(objects) => {
                let mut touched: BTreeSet<GroupVersion> = std::mem::take(&mut self.0)
                    .into_values()
                    .flatten()
                    .collect();
                for object in objects {
                    touched.extend(self.put(object));
                }
                touched
            }
            Change::Put(object) => self.put(object),
            Change::Removed(object) => self.0.remove(&*object.key.name).unwrap_or_default(),
        }
    }

    fn put(&mut self, object: &Object) -> BTreeSet<GroupVersion> {
        let name = object.key.name.to_string();
        let mut touched = self.0.remove(&name).unwrap_or_default();
        let read = serde_json::from_slice::<Definition>(&object.bytes.read());
        match read {
            Ok(Definition { spec }) => {
                let served = spec.versions.into_iter().filter(|version| version.served);
                let served: BTreeSet<GroupVersion> = served
                    .map(|version| (spec.group.clone(), version.name))
                    .collect();
                touched.extend(served.iter().cloned());
                self.0.insert(name, served);
            }
            Err(error) => tracing::error!("the definition {name} is not registered: {error}"),
        }
        touched
    }

    fn has(&self, of: &GroupVersion) -> bool {
        self.0.values().any(|served| served.contains(of))
    }

    /// Makes, mends or takes away the APIService of a version.
    pub async fn reconcile(&self, own: &Own, of: &GroupVersion) -> Result<(), Status> {
        let row = own.row(RESOURCE)?;
        let wanted = self
            .has(of)
            .then(|| wanted(of, Priority::DEFINED, CONTINUOUSLY));
        let name = name_of(of);
        match (own.stored(row, "", &name)?, wanted) {
            (None, Some(wanted)) => own.ensure(RESOURCE, wanted).await,
            (Some(live), wanted) if live.label(MANAGED) == Some(CONTINUOUSLY) => {
                settle(own, &live, wanted).await
            }
            _ => Ok(()),
        }
    }
}

/// Whether an APIService is kept as a definition has it.
pub fn is_kept(service: &Value) -> bool {
    service.label(MANAGED) == Some(CONTINUOUSLY)
}
