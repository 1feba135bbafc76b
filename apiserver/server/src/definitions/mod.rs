//! Kinds that CustomResourceDefinitions bring: they are served as soon as their names are accepted, and go with all their objects when their
//! definition goes.
//!
//! Invariant: one task owns which definitions are served; who reads that a definition is established can use its kinds. Another definition's change
//! makes nothing of a kind anew.
//! Follows `staging/src/k8s.io/apiextensions-apiserver/pkg/controller/{status,establish,apiapproval,finalizer}`.

mod going;
mod naming;

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use serde_json::Value;
use skiff_api::{
    kinds::{
        Subresource,
        definition::{Brought, CLEANUP, Written, is_condition, kinds_of},
    },
    machinery::{meta::Meta, read::Read, status::Status},
};
use skiff_storage::Object;
use tokio_util::sync::CancellationToken;

use crate::{
    auth::{Change, Follow},
    core::Core,
    following::Following,
    own::Own,
    stored,
    write::{Part, Writer},
};

const RESOURCE: &str = "customresourcedefinitions.apiextensions.k8s.io";
/// What could not be done is tried again after so long.
const AGAIN: Duration = Duration::from_secs(1);

/// A definition that is known.
struct Known {
    /// Without its versions, which are large.
    value: Value,
    /// What tells one spec from another.
    spec: u64,
    /// The revision at which its spec came to be what it is.
    since: u64,
    brought: Arc<Brought>,
    /// Its objects are being removed.
    going: bool,
}

/// The definitions, and what is served for them.
pub struct Definitions {
    core: Arc<Core>,
    known: BTreeMap<String, Known>,
    changes: Following,
}

impl Definitions {
    /// Serves what the store has.
    pub fn load(core: &Arc<Core>) -> Definitions {
        let mut definitions = Definitions {
            core: core.clone(),
            known: BTreeMap::new(),
            changes: Following::new(&core.store, RESOURCE),
        };
        let stored = definitions.changes.since();
        definitions.take_in(stored);
        // without a definition, too
        definitions.serve();
        definitions
    }

    /// Notes a definition as it is now, or is to be; tells whether other kinds come of it than before.
    fn learn(&mut self, mut value: Value, written: &Bytes, revision: u64) -> bool {
        let before = self.known.remove(value.name());
        let before = before.filter(|before| before.value.uid() == value.uid());
        let spec = fingerprint(value.at("spec"));
        let established = is_condition(&value, "Established", "True");
        let same_spec = before.as_ref().is_some_and(|before| before.spec == spec);
        let same = before.as_ref().is_some_and(|before| {
            let terminating = |value: &Value| is_condition(value, "Terminating", "True");
            let names = |value: &Value| value.at("status").at("acceptedNames").clone();
            same_spec
                && names(&before.value) == names(&value)
                && terminating(&before.value) == terminating(&value)
                && (!before.brought.served.is_empty() || !established)
        });
        let since = match &before {
            Some(before) if same_spec => before.since,
            _ => revision,
        };
        let going = before.as_ref().is_some_and(|before| before.going);
        let brought = match before {
            Some(before) if same => before.brought,
            _ if !established => Arc::default(),
            _ => brought(&value, written, since),
        };
        value["spec"]["versions"].take();
        let known = Known {
            value,
            spec,
            since,
            brought,
            going,
        };
        self.known.insert(known.value.name().to_string(), known);
        !same
    }

    fn serve(&self) {
        let kinds = (self.core.own_kinds)
            .with_definitions(self.known.values().map(|known| &*known.brought));
        self.core.kinds.store(Arc::new(kinds));
    }

    /// Follows the definitions until the server stops.
    pub async fn run(mut self, writer: Arc<Writer>, stopping: CancellationToken) {
        // what was not finished when the server stopped
        let mut due: BTreeSet<String> = self.known.keys().cloned().collect();
        loop {
            for name in std::mem::take(&mut due) {
                if let Err(status) = self.reconcile(&writer, &name, &stopping).await {
                    tracing::warn!("the definition {name}: {}", status.message);
                    due.insert(name);
                }
            }
            let again = tokio::time::sleep(AGAIN);
            let changes = tokio::select! {
                changes = self.changes.next() => changes,
                () = again, if !due.is_empty() => continue,
                () = stopping.cancelled() => return,
            };
            match changes {
                Some(changes) => due.extend(self.take_in(changes)),
                None => return,
            }
        }
    }

    /// Serves what changed; tells who is to be looked at.
    fn take_in(&mut self, changes: Vec<Change>) -> BTreeSet<String> {
        let (mut due, mut changed) = (BTreeSet::new(), false);
        for change in changes {
            changed |= match change {
                Change::All(objects) => {
                    let there: BTreeSet<&str> =
                        objects.iter().map(|object| &*object.key.name).collect();
                    let before = self.known.len();
                    self.known.retain(|name, _| there.contains(name.as_str()));
                    let mut changed = self.known.len() < before;
                    for object in &objects {
                        changed |= self.put(object);
                    }
                    due.extend(self.known.keys().cloned());
                    changed
                }
                Change::Removed(object) => {
                    let gone = self.known.remove(&*object.key.name);
                    // its names are free for others
                    due.extend(
                        gone.iter()
                            .flat_map(|gone| self.others(gone.value.at("spec").text("group"))),
                    );
                    gone.is_some()
                }
                Change::Put(object) => {
                    due.insert(object.key.name.to_string());
                    self.put(&object)
                }
            };
        }
        if changed {
            self.serve();
        }
        due
    }

    fn put(&mut self, object: &Object) -> bool {
        match stored::value(object) {
            Ok(value) => self.learn(value, &object.bytes.whole(), object.revision),
            Err(status) => {
                tracing::error!("a definition is not served: {}", status.message);
                self.known.remove(&*object.key.name).is_some()
            }
        }
    }

    /// Names of the definitions of a group.
    fn others(&self, group: &str) -> Vec<String> {
        let of_group = |known: &&Known| known.value.at("spec").text("group") == group;
        self.known
            .values()
            .filter(of_group)
            .map(|known| known.value.name().to_string())
            .collect()
    }

    /// Brings the status of a definition up to what is known, and begins its end where that is wanted.
    async fn reconcile(
        &mut self,
        writer: &Arc<Writer>,
        name: &str,
        stopping: &CancellationToken,
    ) -> Result<(), Status> {
        let Some(known) = self.known.get(name) else {
            return Ok(());
        };
        if known.value.is_deleting()
            && known
                .value
                .finalizers()
                .any(|finalizer| finalizer == CLEANUP)
        {
            if !known.going {
                self.go(writer, name, stopping);
            }
            return Ok(());
        }
        let others = self.known.values().map(|known| &known.value);
        let now = skiff_api::machinery::time::seconds(self.core.now());
        let Some(status) = naming::status(&known.value, others, &now) else {
            return Ok(());
        };
        let (renamed, since) = (
            known.value.at("status").at("acceptedNames") != status.at("acceptedNames"),
            known.since,
        );
        // who reads that it is established is to find its kinds
        let own = Own::new(writer);
        let key = stored::key_of(own.row(RESOURCE)?, "", name);
        let Some(object) = self.core.store.get(&key) else {
            return Ok(());
        };
        let mut value = stored::value(&object)?;
        value["status"] = status.clone();
        if self.learn(value, &object.bytes.whole(), since) {
            self.serve();
        }
        let (row, part) = (own.row(RESOURCE)?, Part::Sub(Subresource::Status));
        let mut write = |new: &mut Value| new["status"] = status.clone();
        own.change(row, ("", name), part, &mut write).await?;
        if renamed && let Some(known) = self.known.get(name) {
            let group = known.value.at("spec").text("group").to_string();
            for other in self
                .others(&group)
                .into_iter()
                .filter(|other| other != name)
            {
                Box::pin(self.reconcile(writer, &other, stopping)).await?;
            }
        }
        Ok(())
    }

    /// Its objects go, and then it does.
    fn go(&mut self, writer: &Arc<Writer>, name: &str, stopping: &CancellationToken) {
        let Some(known) = self.known.get_mut(name) else {
            return;
        };
        known.going = true;
        let (writer, stopping, definition) =
            (writer.clone(), stopping.clone(), known.value.clone());
        skiff_watching::task::spawn(async move {
            tokio::select! {
                () = going::to_the_end(&writer, &definition) => {}
                () = stopping.cancelled() => {}
            }
        });
    }
}

/// A number that another spec does not have.
fn fingerprint(spec: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    spec.hash(&mut hasher);
    hasher.finish()
}

/// The kinds of a definition; none where it cannot be read, which is told of.
fn brought(definition: &Value, written: &Bytes, since: u64) -> Arc<Brought> {
    let written: Written = Arc::new(written.clone());
    let brought = kinds_of(definition, &written, since).unwrap_or_else(|why| {
        tracing::error!("the definition {} is not served: {why}", definition.name());
        Brought::default()
    });
    Arc::new(brought)
}
