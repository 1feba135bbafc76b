//! Aggregation: groups that other API servers serve behind this one, as APIServices say.
//!
//! Invariant: one task owns what is known of APIServices; who reads that one is available is answered by its server. A server that does not answer
//! takes its own groups along and nothing else.
//! Follows `staging/src/k8s.io/kube-aggregator/pkg/apiserver/apiserver.go` and
//! `staging/src/k8s.io/kube-aggregator/pkg/controllers/status/remote/remote_available_controller.go`.

mod ask;
mod backing;
mod check;
mod known;
mod learn;
pub mod register;
pub mod spec;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use arc_swap::{ArcSwap, Guard};
use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::pki_types::ServerName;
use serde_json::Value;
use skiff_api::{
    kinds::{Priority, definition::is_condition},
    machinery::{meta::Meta, read::Read, status::Status},
};
use skiff_storage::Object;
use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    auth::{Change, Follow},
    core::Core,
    dial::{Transports, location::Server},
    following::Following,
    own::Own,
    services, stored,
    write::Writer,
};

pub use ask::location;
pub use known::{Backend, Group, Known, Remote, Service};
use register::GroupVersion;

pub const RESOURCE: &str = "apiservices.apiregistration.k8s.io";
const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";
/// So often a server is looked at when nothing happens.
const EVERY: Duration = Duration::from_secs(30);
/// Between the first tries when it fails; then twice as long each time, up to [`EVERY`].
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// What could not be written is tried again after so long.
const AGAIN: Duration = Duration::from_secs(1);

/// What requests read.
#[derive(Default)]
pub struct Aggregation(ArcSwap<Known>);

impl Aggregation {
    pub fn known(&self) -> Arc<Known> {
        self.0.load_full()
    }

    /// The same where some groups are somebody else's. It costs one load where none is, as a rule.
    pub fn delegating(&self) -> Option<Arc<Known>> {
        let known = self.0.load();
        known.has_remotes().then(|| Guard::into_inner(known))
    }
}

/// An APIService and how it is looked after.
struct Entry {
    service: Arc<Service>,
    uid: String,
    spec: Value,
    /// Kept as a definition has it.
    is_kept: bool,
    /// Grows when it becomes another: what was found out of it before counts no more.
    turn: u64,
    /// Its server is being looked at.
    running: bool,
    due: Option<Instant>,
    pause: Duration,
}

impl Entry {
    /// The version that a definition brings, whose APIService is kept as the definition has it.
    fn kept(&self) -> Option<GroupVersion> {
        self.is_kept
            .then(|| (self.service.group.clone(), self.service.version.clone()))
    }
}

/// The APIServices.
pub struct Services {
    core: Arc<Core>,
    transports: Arc<Transports>,
    shared: Arc<Aggregation>,
    entries: BTreeMap<String, Entry>,
    defined: register::Defined,
    /// Versions of definitions whose APIServices are to be looked at.
    owed: BTreeSet<GroupVersion>,
    owed_at: Option<Instant>,
    turn: u64,
    reports: (Sender<check::Report>, Receiver<check::Report>),
    followed: Followed,
}

/// What happens to that which is looked at. Services are followed as long as there is somebody who asks for one.
struct Followed {
    services: Following,
    definitions: Following,
    backends: Option<(Following, Following)>,
}

enum Happened {
    Services(Vec<Change>),
    Definitions(Vec<Change>),
    /// To services, or to their endpoints.
    Backends(Vec<Change>),
    Report(Box<check::Report>),
    Due,
    Closed,
}

impl Happened {
    fn of(changes: Option<Vec<Change>>, make: fn(Vec<Change>) -> Happened) -> Happened {
        changes.map_or(Happened::Closed, make)
    }
}

impl Services {
    /// Reads what the store has.
    pub fn load(
        core: &Arc<Core>,
        transports: &Arc<Transports>,
        shared: &Arc<Aggregation>,
    ) -> Services {
        let mut all = Services {
            core: core.clone(),
            transports: transports.clone(),
            shared: shared.clone(),
            entries: BTreeMap::new(),
            defined: register::Defined::default(),
            owed: BTreeSet::new(),
            owed_at: None,
            turn: 0,
            reports: channel(16),
            followed: Followed {
                services: Following::new(&core.store, RESOURCE),
                definitions: Following::new(&core.store, DEFINITIONS),
                backends: None,
            },
        };
        let stored = all.followed.services.since();
        all.take_in(stored);
        let stored = all.followed.definitions.since();
        all.define(stored);
        all
    }

    /// Follows them until the server stops.
    pub async fn run(mut self, writer: Arc<Writer>, stopping: CancellationToken) {
        loop {
            self.begin();
            let happened = tokio::select! {
                happened = self.next() => happened,
                () = stopping.cancelled() => return,
            };
            match happened {
                Happened::Services(changes) => self.take_in(changes),
                Happened::Definitions(changes) => self.define(changes),
                Happened::Backends(changes) => self.touch(&changes),
                Happened::Report(report) => self.settle(&writer, *report).await,
                Happened::Due => self.register(&writer).await,
                Happened::Closed => return,
            }
        }
    }

    async fn next(&mut self) -> Happened {
        let due = self.entries.values().filter(|entry| !entry.running);
        let due = due.filter_map(|entry| entry.due).chain(self.owed_at).min();
        let followed = &mut self.followed;
        let (mut services, mut slices) = match &mut followed.backends {
            Some((services, slices)) => (Some(services), Some(slices)),
            None => (None, None),
        };
        tokio::select! {
            changes = followed.services.next() => Happened::of(changes, Happened::Services),
            changes = followed.definitions.next() => Happened::of(changes, Happened::Definitions),
            changes = next(&mut services) => Happened::of(changes, Happened::Backends),
            changes = next(&mut slices) => Happened::of(changes, Happened::Backends),
            Some(report) = self.reports.1.recv() => Happened::Report(Box::new(report)),
            () = until(due) => Happened::Due,
        }
    }

    /// Looks at those servers whose time has come.
    fn begin(&mut self) {
        let followed = self
            .entries
            .values()
            .any(|entry| entry.service.remote.is_some());
        if followed != self.followed.backends.is_some() {
            let follow = |resource| Following::from_now(&self.core.store, resource);
            self.followed.backends =
                followed.then(|| (follow(services::SERVICES), follow(services::SLICES)));
        }
        let now = Instant::now();
        for (name, entry) in &mut self.entries {
            if entry.running || entry.due.is_none_or(|due| due > now) {
                continue;
            }
            entry.due = None;
            if entry.service.remote.is_none() {
                continue;
            }
            entry.running = true;
            let look = check::look(
                (name.clone(), entry.turn),
                self.core.clone(),
                self.transports.clone(),
                entry.service.clone(),
            );
            let told = self.reports.0.clone();
            skiff_watching::task::spawn(async move {
                let report = look.await;
                // whoever has stopped listening needs no report
                drop(told.send(report).await);
            });
        }
    }

    fn take_in(&mut self, changes: Vec<Change>) {
        let mut touched = BTreeSet::new();
        for change in changes {
            match change {
                Change::All(objects) => {
                    touched.extend(self.kept());
                    let there: BTreeSet<&str> =
                        objects.iter().map(|object| &*object.key.name).collect();
                    self.entries.retain(|name, _| there.contains(name.as_str()));
                    objects.iter().for_each(|object| self.put(object));
                    touched.extend(self.kept());
                }
                Change::Put(object) => {
                    let name = &*object.key.name;
                    touched.extend(self.entries.get(name).and_then(Entry::kept));
                    self.put(&object);
                    touched.extend(self.entries.get(name).and_then(Entry::kept));
                }
                Change::Removed(object) => {
                    let gone = self.entries.remove(&*object.key.name);
                    touched.extend(gone.as_ref().and_then(Entry::kept));
                }
            }
        }
        self.owe(touched);
        self.publish();
    }

    /// The versions whose APIServices are kept as definitions have them.
    fn kept(&self) -> impl Iterator<Item = GroupVersion> {
        self.entries.values().filter_map(Entry::kept)
    }

    fn define(&mut self, changes: Vec<Change>) {
        for change in changes {
            let touched = self.defined.note(&change);
            self.owe(touched);
        }
    }

    fn owe(&mut self, touched: BTreeSet<GroupVersion>) {
        if !touched.is_empty() {
            self.owed.extend(touched);
            self.owed_at = Some(Instant::now());
        }
    }

    /// Notes an APIService as it is now.
    fn put(&mut self, object: &Object) {
        let name = object.key.name.to_string();
        match stored::value(object) {
            Ok(value) => self.learn(name, value),
            Err(status) => {
                tracing::error!("the APIService {name} is not known: {}", status.message);
                self.entries.remove(&name);
            }
        }
    }

    fn learn(&mut self, name: String, mut value: Value) {
        let before = self.entries.remove(&name);
        let available = is_condition(&value, "Available", "True");
        let (uid, is_kept) = (value.uid().to_owned(), register::is_kept(&value));
        let spec = value["spec"].take();
        let before = before.filter(|before| before.uid == uid);
        let same = before.as_ref().filter(|before| before.spec == spec);
        let backend = known::backend(&spec);
        let remote = backend.map(|backend| {
            let old = |entry: &Entry| {
                entry
                    .service
                    .remote
                    .as_ref()
                    .map(|remote| remote.learned.clone())
            };
            let server = match same.and_then(|entry| entry.service.remote.as_ref()) {
                Some(remote) => remote.server.clone(),
                None => server(&self.transports, &spec, &backend),
            };
            Remote {
                server,
                available,
                learned: before.as_ref().and_then(old).unwrap_or_default(),
                backend,
            }
        });
        let service = Arc::new(Service {
            group: spec.text("group").into(),
            version: spec.text("version").into(),
            priority: Priority {
                group: spec.int("groupPriorityMinimum"),
                version: spec.int("versionPriority"),
            },
            remote,
        });
        let (turn, running, due, pause) = match same {
            Some(before) => (before.turn, before.running, before.due, before.pause),
            None => {
                self.turn += 1;
                (self.turn, false, Some(Instant::now()), FIRST_PAUSE)
            }
        };
        self.entries.insert(
            name,
            Entry {
                service,
                uid,
                spec,
                is_kept,
                turn,
                running,
                due,
                pause,
            },
        );
    }

    /// Something about services or their endpoints has changed: their servers are looked at.
    fn touch(&mut self, changes: &[Change]) {
        let now = Instant::now();
        for change in changes {
            let about = match change {
                // whatever was missed may be about any of them
                Change::All(_) => None,
                Change::Put(object) | Change::Removed(object) => Some(services::of(object)),
            };
            for entry in self.entries.values_mut() {
                let Some(Remote { backend, .. }) = &entry.service.remote else {
                    continue;
                };
                if about.is_none_or(|of| of == (&*backend.namespace, &*backend.name)) {
                    entry.due = Some(now);
                }
            }
        }
    }

    /// What was found out of a server is known, then told.
    async fn settle(&mut self, writer: &Arc<Writer>, report: check::Report) {
        let (name, turn) = &report.of;
        let Some(entry) = self.entries.get_mut(name) else {
            return;
        };
        if entry.turn != *turn {
            return;
        }
        entry.running = false;
        let Some(remote) = &entry.service.remote else {
            return;
        };
        let available = report.verdict.state == "True";
        let wait = match report.retries {
            true => entry.pause,
            false => EVERY,
        };
        entry.pause = match report.retries {
            true => (entry.pause * 2).min(EVERY),
            false => FIRST_PAUSE,
        };
        entry.due.get_or_insert(Instant::now() + wait);
        entry.service = Arc::new(Service {
            group: entry.service.group.clone(),
            version: entry.service.version.clone(),
            priority: entry.service.priority,
            remote: Some(Remote {
                backend: remote.backend.clone(),
                server: remote.server.clone(),
                available,
                learned: Arc::new(report.learned),
            }),
        });
        let uid = entry.uid.clone();
        self.publish();
        if let Err(status) = check::tell(writer, (name, &uid), &report.verdict).await {
            tracing::warn!("the APIService {name}: {}", status.message);
            if let Some(entry) = self.entries.get_mut(name) {
                entry.due = Some(Instant::now() + AGAIN);
            }
        }
    }

    /// Brings the APIServices of definitions to what they are to be.
    async fn register(&mut self, writer: &Arc<Writer>) {
        if self.owed_at.is_none_or(|at| at > Instant::now()) {
            return;
        }
        self.owed_at = None;
        let own = Own::new(writer);
        for of in std::mem::take(&mut self.owed) {
            if let Err(Status { message, .. }) = self.defined.reconcile(&own, &of).await {
                tracing::warn!("the APIService of {}/{}: {message}", of.0, of.1);
                self.owed.insert(of);
                self.owed_at = Some(Instant::now() + AGAIN);
            }
        }
    }

    fn publish(&self) {
        let before = self.shared.known();
        let services: BTreeMap<String, Arc<Service>> = self
            .entries
            .iter()
            .map(|(name, entry)| (name.clone(), entry.service.clone()))
            .collect();
        let mut known = Known::new(services, before.documents);
        if documents(&known) != documents(&before) {
            known.documents += 1;
        }
        self.shared.0.store(Arc::new(known));
    }
}

/// Whose kinds are somebody else's, with the documents of OpenAPI 2 that are merged, in their order.
fn documents(known: &Known) -> Vec<(String, String, Option<*const Value>)> {
    let of = |(service, remote): (&Arc<Service>, &Remote)| {
        let document = remote.learned.version2.as_ref().map(Arc::as_ptr);
        (service.group.clone(), service.version.clone(), document)
    };
    known.remotes().map(of).collect()
}

async fn next(following: &mut Option<&mut Following>) -> Option<Vec<Change>> {
    match following {
        Some(following) => following.next().await,
        None => std::future::pending().await,
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// How to speak to the server of an APIService; else what is wrong with its spec.
fn server(transports: &Transports, spec: &Value, backend: &Backend) -> Result<Server, String> {
    let name = format!("{}.{}.svc", backend.name, backend.namespace);
    let name = ServerName::try_from(name).map_err(|error| error.to_string())?;
    let bundle = match spec.flag("insecureSkipTLSVerify") {
        true => None,
        false => Some(
            STANDARD
                .decode(spec.text("caBundle"))
                .map_err(|error| error.to_string())?,
        ),
    };
    transports
        .server(bundle.as_deref(), name)
        .map_err(|error| error.to_string())
}
