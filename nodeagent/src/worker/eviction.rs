//! Pods that hold more on the node's disk than they may are evicted.
//!
//! Invariant: only what a pod itself may use is judged; a pod that the node or the cluster needs stays.
//! Follows `localStorageEviction` in `pkg/kubelet/eviction/eviction_manager.go`.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use k8s_openapi::api::core::v1::{Pod, Volume};
use skiff_api::machinery::quantity::{Format, Quantity};
use skiff_api::machinery::quote::GoQuoted;
use skiff_podspec::resources::{Unreadable, get, read_one};

use super::sandbox;
use crate::{
    agent::context::Context,
    disk,
    pod::{
        admission::is_critical,
        handle::{Handle, Verdict},
        names::{self, spec, uid},
        resources,
    },
    runtime, time,
};

const STORAGE: &str = "ephemeral-storage";

/// Looks at all pods again and again until the agent stops.
pub async fn keep(node: Arc<Context>) {
    loop {
        tokio::select! {
            () = time::sleep(node.config.intervals.eviction) => {}
            () = node.stop.cancelled() => return,
        }
        let handles: Vec<Arc<Handle>> = node.pods.read().values().cloned().collect();
        for handle in handles.iter().filter(|handle| is_to_be_judged(handle)) {
            look_at(&node, handle).await;
        }
    }
}

/// Whether the pod is held to limits, and runs.
fn is_to_be_judged(handle: &Handle) -> bool {
    let pod = handle.pod();
    let limited = match (storage_limit(&pod), empty_dirs(&pod)) {
        (Ok(None), Ok(volumes)) => volumes.iter().any(|(_, limit)| limit.is_some()),
        _ => true,
    };
    let state = handle.state.lock();
    limited && !handle.ending.is_cancelled() && state.failed.is_none() && !state.terminal
}

async fn look_at(node: &Arc<Context>, handle: &Handle) {
    let pod = handle.pod();
    let used = match used(node, handle, &pod).await {
        Ok(used) => used,
        Err(error) => {
            return tracing::debug!(%error, pod = names::name(&pod), "what the pod holds on the disk is not known");
        }
    };
    let message = match judge(&pod, &used) {
        Ok(Some(message)) => message,
        Ok(None) => return,
        Err(error) => {
            return tracing::warn!(%error, pod = names::name(&pod), "not judged by what it holds on the disk");
        }
    };
    if is_critical(&pod) {
        return tracing::error!(pod = names::name(&pod), "a critical pod is not evicted");
    }
    node.events
        .warn(names::reference(&pod), "Evicted", message.clone());
    handle.state.lock().failed = Some(Verdict::evicted(&message));
    handle.ending.cancel();
    handle.wake.notify_one();
}

/// The pod's folders for content that goes with it, with their limits.
fn empty_dirs(pod: &Pod) -> Result<Vec<(&Volume, Option<Quantity>)>, Unreadable> {
    let volumes = spec(pod).volumes.iter().flatten();
    let with_limits =
        volumes.filter_map(|volume| Some((volume, volume.empty_dir.as_ref()?.size_limit.as_ref())));
    with_limits
        .map(|(volume, limit)| {
            Ok((
                volume,
                limit
                    .map(|limit| read_one("sizeLimit", limit))
                    .transpose()?,
            ))
        })
        .collect()
}

/// What the pod as a whole may hold.
fn storage_limit(pod: &Pod) -> Result<Option<Quantity>, Unreadable> {
    Ok(resources::pod_limits(pod)?.remove(STORAGE))
}

/// Bytes on the disk.
#[derive(Debug, Default)]
struct Used {
    empty_dirs: HashMap<String, u64>,
    /// What each container wrote beside its volumes, its log included.
    containers: HashMap<String, u64>,
    /// What else counts for the pod as a whole.
    files: u64,
}

#[derive(thiserror::Error, Debug)]
enum Error {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

/// Measures. Only an emptyDir with a limit of its own is worth a look when the pod as a whole has none.
async fn used(node: &Context, handle: &Handle, pod: &Pod) -> Result<Used, Error> {
    let whole = storage_limit(pod)?.is_some();
    let (volumes, containers) = {
        let state = handle.state.lock();
        let mut containers: HashMap<String, String> = HashMap::new();
        // The newest of each name comes first.
        state.view.containers.iter().for_each(|container| {
            _ = containers
                .entry(container.name.clone())
                .or_insert_with(|| container.id.clone())
        });
        (state.volumes.clone(), containers)
    };
    let place = |name: &str| volumes.get(name).map(|mounted| mounted.path.clone());
    let mut used = Used::default();
    for (volume, limit) in empty_dirs(pod)? {
        let in_memory = volume
            .empty_dir
            .as_ref()
            .is_some_and(|source| source.medium.as_deref() == Some("Memory"));
        if let Some(path) = place(&volume.name).filter(|_| !in_memory && (whole || limit.is_some()))
        {
            used.empty_dirs
                .insert(volume.name.clone(), measure(path).await?);
        }
    }
    if !whole {
        return Ok(used);
    }
    for (name, id) in containers {
        let logs = measure(sandbox::log_dir(node, pod).join(&name)).await?;
        used.containers
            .insert(name, logs + node.runtime.disk_usage(&id).await?.bytes);
    }
    let of_config_maps = spec(pod)
        .volumes
        .iter()
        .flatten()
        .filter(|volume| volume.config_map.is_some())
        .filter_map(|volume| place(&volume.name));
    for path in of_config_maps.chain([node.config.pod_dir(uid(pod)).join("etc-hosts")]) {
        used.files += measure(path).await?;
    }
    Ok(used)
}

async fn measure(path: PathBuf) -> std::io::Result<u64> {
    tokio::task::spawn_blocking(move || disk::used(&path))
        .await
        .map_err(std::io::Error::other)?
}

fn bytes(number: u64) -> Quantity {
    Quantity::from_i64(i64::try_from(number).unwrap_or(i64::MAX), Format::BinarySi)
}

/// What is told of a pod that holds too much.
fn judge(pod: &Pod, used: &Used) -> Result<Option<String>, Unreadable> {
    for (volume, limit) in empty_dirs(pod)? {
        let Some(limit) = limit.filter(|limit| limit.sign() == 1) else {
            continue;
        };
        if used
            .empty_dirs
            .get(&volume.name)
            .is_some_and(|used| bytes(*used) > limit)
        {
            return Ok(Some(format!(
                "Usage of EmptyDir volume {} exceeds the limit {}. ",
                GoQuoted(&volume.name),
                GoQuoted(&limit.to_string())
            )));
        }
    }
    if let Some(limit) = storage_limit(pod)? {
        let all = used
            .empty_dirs
            .values()
            .chain(used.containers.values())
            .sum::<u64>()
            + used.files;
        if bytes(all) > limit {
            return Ok(Some(format!(
                "Pod ephemeral local storage usage exceeds the total limit of containers {limit}. "
            )));
        }
    }
    for container in &spec(pod).containers {
        let limits = container
            .resources
            .as_ref()
            .and_then(|resources| resources.limits.as_ref());
        let Some(limit) = get(limits, STORAGE)?.filter(|limit| limit.value() != 0) else {
            continue;
        };
        if used
            .containers
            .get(&container.name)
            .is_some_and(|used| limit < bytes(*used))
        {
            return Ok(Some(format!(
                "Container {} exceeded its local ephemeral storage limit {}. ",
                container.name,
                GoQuoted(&limit.to_string())
            )));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn what_is_too_much() {
        let container = |name: &str, limit: &str| json!({"name": name, "resources": {"limits": {"ephemeral-storage": limit}}});
        let volumes = json!([{"name": "small", "emptyDir": {"sizeLimit": "1000Ki"}}, {"name": "free", "emptyDir": {}}, {"name": "nothing", "emptyDir": {"sizeLimit": "0"}}]);
        let limited: Pod = from_value(json!({"spec": {"volumes": volumes, "containers": [container("a", "1Mi"), container("b", "3Mi")]}})).unwrap();
        let free: Pod =
            from_value(json!({"spec": {"volumes": volumes, "containers": [{"name": "a"}]}}))
                .unwrap();
        let used = |empty_dirs: &[(&str, u64)], containers: &[(&str, u64)], files: u64| {
            let all = |list: &[(&str, u64)]| {
                list.iter()
                    .map(|(name, used)| ((*name).to_owned(), *used))
                    .collect()
            };
            Used {
                empty_dirs: all(empty_dirs),
                containers: all(containers),
                files,
            }
        };
        const MI: u64 = 1 << 20;
        let volume = "Usage of EmptyDir volume \"small\" exceeds the limit \"1000Ki\". ";
        let whole = "Pod ephemeral local storage usage exceeds the total limit of containers 4Mi. ";
        let one = "Container a exceeded its local ephemeral storage limit \"1Mi\". ";
        let table = [
            (
                &limited,
                used(&[("small", 1000 << 10)], &[("a", MI)], 0),
                None,
            ),
            (
                &limited,
                used(&[("small", MI)], &[("a", 9 * MI)], 0),
                Some(volume),
            ),
            (
                &limited,
                used(&[("free", 2 * MI)], &[("a", MI), ("b", MI)], 1),
                Some(whole),
            ),
            (
                &limited,
                used(&[("free", 2 * MI)], &[("a", MI), ("b", MI)], 0),
                None,
            ),
            (
                &limited,
                used(&[], &[("a", MI + 1), ("b", 2 * MI)], 0),
                Some(one),
            ),
            (
                &free,
                used(
                    &[("free", 99 * MI), ("nothing", 99 * MI)],
                    &[("a", 99 * MI)],
                    99 * MI,
                ),
                None,
            ),
            (&free, used(&[("small", MI)], &[], 0), Some(volume)),
        ];
        for (pod, used, message) in table {
            assert_eq!(judge(pod, &used).unwrap().as_deref(), message, "{used:?}");
        }
    }
}
