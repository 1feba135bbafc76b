//! What pods hold on the node's disk: containers' own files and logs, and volumes.
//!
//! Invariant: each pod is looked at once a minute at most, however often somebody asks: walking through files costs. What cannot be measured is
//! absent. Follows `pkg/kubelet/server/stats/{fs_resource_analyzer,volume_stat_calculator}.go`.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Volume};

use super::{PodSample, Sample};
use crate::{
    agent::context::Context,
    disk::{self, Held, Room},
    pod::names::{spec, uid},
    time,
    worker::sandbox,
};

const GOOD_FOR: Duration = Duration::from_secs(60);

/// What a container holds.
#[derive(Clone, Copy, Debug, Default)]
pub struct OfContainer {
    pub files: Option<Held>,
    pub logs: Option<Held>,
}

/// What a volume holds.
#[derive(Clone, Debug)]
pub struct OfVolume {
    pub held: Held,
    pub room: Room,
    /// The claim that it stands for.
    pub claim: Option<String>,
    /// It goes with the pod and is on the node's disk.
    pub is_local: bool,
}

/// What a pod holds.
#[derive(Debug, Default)]
pub struct OfPod {
    pub at: Timestamp,
    /// By their ids.
    pub containers: HashMap<String, OfContainer>,
    /// By their names.
    pub volumes: BTreeMap<String, OfVolume>,
}

/// Measures.
#[derive(Default)]
pub struct Disks(tokio::sync::Mutex<HashMap<String, (Instant, Arc<OfPod>)>>);

impl Disks {
    /// What the pods of a sample hold, by their uids.
    pub async fn of(&self, node: &Context, sample: &Sample) -> HashMap<String, Arc<OfPod>> {
        let mut known = self.0.lock().await;
        let mut all = HashMap::new();
        for pod in &sample.pods {
            let uid = uid(&pod.pod).to_owned();
            let before = known.remove(&uid).filter(|(at, found)| {
                let has_all = pod
                    .containers
                    .iter()
                    .all(|of| found.containers.contains_key(&of.state.id));
                at.elapsed() < GOOD_FOR && has_all
            });
            let found = match before {
                Some(found) => found,
                None => (Instant::now(), Arc::new(look(node, pod).await)),
            };
            all.insert(uid, found);
        }
        *known = all.clone();
        all.into_iter()
            .map(|(uid, (_, found))| (uid, found))
            .collect()
    }
}

/// The file system that the node keeps all of it on.
pub async fn room(node: &Context) -> Option<Room> {
    let path = node.config.data_dir.clone();
    let read = tokio::task::spawn_blocking(move || disk::room(&path)).await;
    read.ok().and_then(Result::ok)
}

async fn look(node: &Context, of: &PodSample) -> OfPod {
    let logs = sandbox::log_dir(node, &of.pod);
    let mut found = OfPod {
        at: time::now(),
        ..OfPod::default()
    };
    for container in &of.containers {
        let state = &container.state;
        let files = node.runtime.disk_usage(&state.id).await;
        let of = OfContainer {
            files: known("a container's files", &state.name, files),
            logs: held(logs.join(&state.name)).await,
        };
        found.containers.insert(state.id.clone(), of);
    }
    if node.config.simulated {
        return found;
    }
    for (name, path, volume) in volumes(of) {
        let Some(held) = held(path.clone()).await else {
            continue;
        };
        let read = tokio::task::spawn_blocking(move || disk::room(&path)).await;
        let Some(room) = read.ok().and_then(Result::ok) else {
            continue;
        };
        let claim = volume.persistent_volume_claim.as_ref();
        let of = OfVolume {
            held,
            room,
            claim: claim.map(|claim| claim.claim_name.clone()),
            is_local: is_local(&volume),
        };
        found.volumes.insert(name, of);
    }
    found
}

/// The volumes of which is told what they hold: folders of the node are not.
fn volumes(of: &PodSample) -> Vec<(String, PathBuf, Volume)> {
    let mounted = of.handle.state.lock().volumes.clone();
    let all = spec(&of.pod).volumes.iter().flatten();
    let told = all.filter(|volume| volume.host_path.is_none() && volume.image.is_none());
    told.filter_map(|volume| {
        let place = mounted.get(&volume.name)?;
        Some((volume.name.clone(), place.path.clone(), volume.clone()))
    })
    .collect()
}

/// It counts for the pod's ephemeral storage.
fn is_local(volume: &Volume) -> bool {
    let in_memory = volume
        .empty_dir
        .as_ref()
        .is_some_and(|of| of.medium.as_deref() == Some("Memory"));
    let of_objects = volume.config_map.is_some() || volume.downward_api.is_some();
    (volume.empty_dir.is_some() && !in_memory) || of_objects
}

async fn held(path: PathBuf) -> Option<Held> {
    let shown = path.display().to_string();
    let read = tokio::task::spawn_blocking(move || disk::held(Path::new(&path))).await;
    known("files", &shown, read.ok()?)
}

fn known<T, E: std::fmt::Display>(what: &str, of: &str, found: Result<T, E>) -> Option<T> {
    found
        .inspect_err(
            |error| tracing::debug!(%error, of, "what {what} take on the disk is not known"),
        )
        .ok()
}

/// What a pod holds of its own on the node's disk.
pub fn ephemeral(found: &OfPod, pod: &Pod) -> Held {
    let mut sum = Held::default();
    let of_containers = found.containers.values();
    let parts = of_containers.flat_map(|of| [of.files, of.logs]).flatten();
    let names = spec(pod)
        .volumes
        .iter()
        .flatten()
        .map(|volume| &volume.name);
    let volumes = names
        .filter_map(|name| found.volumes.get(name))
        .filter(|of| of.is_local);
    parts
        .chain(volumes.map(|of| of.held))
        .for_each(|held| sum += held);
    sum
}
