//! Volumes of the cluster's own machine: whoever claims one of a class of this provisioner's gets a folder below the cluster's data, on the node that its
//! first pod was given. So manifests that bring claims and no storage run as they are.
//!
//! Invariant: what is decided is a pure function of what is known (`plan`); it is done anew after every change, and again where it failed. Nothing but folders of
//! volumes is ever deleted (`folder`). A class is made where there is none at all: what somebody changed, or put in its place, stays.
//! Follows `sigs.k8s.io/sig-storage-lib-external-provisioner/controller/controller.go`, which is not a part of Kubernetes' own repository.

mod folder;
mod plan;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::{
    core::v1::{Node, PersistentVolume, PersistentVolumeClaim},
    storage::v1::StorageClass,
};
use serde_json::json;
use skiff_api::machinery::quote::GoQuoted;
use skiff_podspec::{
    parts::Meta,
    storage::{DEFAULT_CLASS, SELECTED_NODE, class_of_claim},
};
use skiff_server::auth::User;
use skiff_watching::{
    api::{Api, Delete, collection},
    clock::Clock,
    error::unless_gone,
    events::{EventType, Events, Recorder},
    informer::{Cached, Informer, Informers},
    key::Key,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::plan::{Known, Made, PROVISIONER, Plan, Refused};
use super::objects;

/// The class, and the default one.
const CLASS: &str = "standard";
/// Who provides.
const USER: &str = "skiff:volumes";
const AGAIN: Duration = Duration::from_secs(1);

/// Makes the class, unless there are any, and lets the provisioner do its work.
pub async fn prepare(api: &Api) -> anyhow::Result<()> {
    const GROUP: &str = "rbac.authorization.k8s.io";
    let binding = json!({"apiVersion": format!("{GROUP}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": USER},
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": "system:persistent-volume-provisioner"},
        "subjects": [{"apiGroup": GROUP, "kind": "User", "name": USER}]});
    let binding = binding.to_string();
    tokio::try_join!(objects::apply(api, &binding, ""), class(api))?;
    Ok(())
}

async fn class(api: &Api) -> anyhow::Result<()> {
    if !api.list::<StorageClass>("").await?.is_empty() {
        return Ok(());
    }
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": CLASS, "annotations": {DEFAULT_CLASS[0]: "true"}},
        "provisioner": PROVISIONER, "reclaimPolicy": "Delete", "volumeBindingMode": "WaitForFirstConsumer"});
    match api.post(&collection::<StorageClass>(""), &class).await {
        Err(error) if error.is_already_exists() => Ok(()),
        made => Ok(made.map(drop)?),
    }
}

/// What happens to claims and volumes.
struct Provisioner {
    api: Api,
    recorder: Recorder,
    claims: Informer<PersistentVolumeClaim>,
    volumes: Informer<PersistentVolume>,
    classes: Informer<StorageClass>,
    nodes: Informer<Node>,
    /// The folder of all volumes.
    root: PathBuf,
    told: Told,
}

/// What was told of which object, so that it is not told again because something else changed.
#[derive(Default)]
struct Told {
    before: BTreeSet<(String, String)>,
    now: BTreeSet<(String, String)>,
}

impl Told {
    /// Whether that is new.
    fn is_new(&mut self, uid: &str, message: &str) -> bool {
        let said = (uid.to_owned(), message.to_owned());
        let is_new = !self.before.contains(&said);
        self.now.insert(said) && is_new
    }

    fn next_round(&mut self) {
        self.before = std::mem::take(&mut self.now);
    }
}

/// Who writes volumes.
pub fn user() -> User {
    User::new(USER, &["system:authenticated"])
}

/// Makes volumes below `root` and deletes them until `stop`, as [`user`]; `informers` may be shared.
pub async fn provide(api: Api, informers: Informers, root: PathBuf, stop: CancellationToken) {
    let events = Events::start(api.clone(), Clock::system(), stop.clone());
    let provisioner = Provisioner {
        api,
        recorder: events.recorder(PROVISIONER),
        claims: informers.of(),
        volumes: informers.of(),
        classes: informers.of(),
        nodes: informers.of(),
        root,
        told: Told::default(),
    };
    tokio::select! {
        () = provisioner.run() => {}
        () = stop.cancelled() => {}
    }
}

async fn listed<K: Cached>(informer: &Informer<K>) {
    // it ends with the process
    skiff_watching::outcome::may_be_broken_off(informer.synced().wait_for(|done| *done).await);
}

fn wake<K: Cached>(informer: &Informer<K>, woken: &Arc<Notify>) {
    let woken = woken.clone();
    informer.subscribe(move |_| woken.notify_one());
}

impl Provisioner {
    async fn run(mut self) {
        let changed = Arc::new(Notify::new());
        wake(&self.claims, &changed);
        wake(&self.volumes, &changed);
        wake(&self.classes, &changed);
        tokio::join!(
            listed(&self.claims),
            listed(&self.volumes),
            listed(&self.classes),
            listed(&self.nodes)
        );
        loop {
            let plan = self.plan();
            let done = self.carry_out(plan).await;
            self.told.next_round();
            // all that changes meanwhile is one change
            tokio::select! {
                () = changed.notified() => {}
                () = tokio::time::sleep(AGAIN), if !done => {}
            }
        }
    }

    fn plan(&self) -> Plan {
        let known = Known {
            volumes: &self.volumes.list(),
            nodes: &|| self.nodes.list(),
            node: &|name| self.nodes.get(&Key::cluster(name)),
            class: &|name| self.classes.get(&Key::cluster(name)),
            root: &self.root,
        };
        Plan::of(&self.claims.list(), &known)
    }

    /// Whether all of it is done.
    async fn carry_out(&mut self, plan: Plan) -> bool {
        let mut done = !plan.waits;
        for refused in plan.refused {
            done &= self.refuse(refused).await;
        }
        for made in plan.made {
            done &= self.make(made).await;
        }
        for volume in plan.released {
            done &= self.delete(&volume).await;
        }
        done
    }

    fn tell(
        &mut self,
        claim: &PersistentVolumeClaim,
        kind: EventType,
        reason: &str,
        message: String,
    ) {
        if self.told.is_new(claim.metadata.uid(), &message) {
            self.recorder.event(claim, kind, reason, message);
        }
    }

    /// Says why there will be no volume; where another node may help, the scheduler is asked for one.
    async fn refuse(&mut self, refused: Refused) -> bool {
        let Refused {
            claim,
            why,
            reschedule,
        } = refused;
        self.tell(&claim, EventType::Warning, "ProvisioningFailed", why);
        if !reschedule {
            return true;
        }
        let mut claim = (*claim).clone();
        let annotations = claim.metadata.annotations.get_or_insert_default();
        annotations.remove(SELECTED_NODE);
        match unless_gone(self.api.update(&claim).await) {
            Ok(_) => true,
            Err(error) => {
                tracing::debug!(%error, "a claim keeps its node");
                false
            }
        }
    }

    async fn make(&mut self, made: Made) -> bool {
        let Made { claim, volume } = made;
        let (namespace, name) = (claim.metadata.namespace(), claim.metadata.name());
        let message = format!(
            "External provisioner is provisioning volume for claim {}",
            GoQuoted(&format!("{namespace}/{name}"))
        );
        self.tell(&claim, EventType::Normal, "Provisioning", message);
        let name = volume.metadata.name().to_owned();
        let failed = match self.write(&volume).await {
            Ok(true) => {
                let message = format!("Successfully provisioned volume {name}");
                self.tell(&claim, EventType::Normal, "ProvisioningSucceeded", message);
                return true;
            }
            // it was made before, which is not known here yet
            Ok(false) => return true,
            Err(error) => error,
        };
        let class = class_of_claim(&claim);
        let message = format!(
            "failed to provision volume with StorageClass {}: {failed:#}",
            GoQuoted(&class)
        );
        self.tell(&claim, EventType::Warning, "ProvisioningFailed", message);
        false
    }

    /// The folder, then the object; whether that is new.
    async fn write(&self, volume: &PersistentVolume) -> anyhow::Result<bool> {
        on_disk(&self.root, volume, folder::make).await?;
        match self.api.create_quietly(volume).await {
            Err(error) if error.is_already_exists() => Ok(false),
            made => Ok(made.map(|_| true)?),
        }
    }

    /// The folder, then the object.
    async fn delete(&mut self, volume: &PersistentVolume) -> bool {
        let (name, uid) = (volume.metadata.name(), volume.metadata.uid());
        let deleted = async {
            on_disk(&self.root, volume, folder::remove).await?;
            let only = Delete::of_uid(uid);
            let key = Key::cluster(name);
            unless_gone(self.api.delete::<PersistentVolume>(&key, &only).await)?;
            Ok::<_, anyhow::Error>(())
        };
        let Err(error) = deleted.await else {
            return true;
        };
        let message = format!("{error:#}");
        if self.told.is_new(uid, &message) {
            self.recorder.warning(volume, "VolumeFailedDelete", message);
        }
        false
    }
}

/// Works on a volume's folder, which may take its time.
async fn on_disk(
    root: &Path,
    volume: &PersistentVolume,
    work: fn(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let path = folder::of(root, volume)?;
    tokio::task::spawn_blocking(move || work(&path)).await?
}
