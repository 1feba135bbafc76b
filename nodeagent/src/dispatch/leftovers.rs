//! What pods left behind whose end no agent saw: networks, folders, logs.
//!
//! Invariant: only what belongs to no pod that the agent has is touched; what fails now is tried again at the next listing.
//! Follows `cleanupOrphanedPodDirs` in `pkg/kubelet/kubelet_volumes.go` and the sweep of log folders in `pkg/kubelet/kuberuntime/kuberuntime_gc.go`.

use std::{collections::HashSet, io, path::Path};

use crate::{agent::context::Context, volume};

/// Clears all of it away.
pub async fn clear(node: &Context) {
    networks(node).await;
    if node.config.simulated {
        return;
    }
    let known: HashSet<String> = node.pods.read().keys().cloned().collect();
    let (pods, logs) = (node.config.pods_dir(), node.config.log_dir.clone());
    let swept = tokio::task::spawn_blocking(move || folders(&pods, &logs, &known)).await;
    if let Err(error) = swept {
        tracing::error!(%error, "clearing folders of pods that are gone broke off");
    }
}

async fn networks(node: &Context) {
    let Some(network) = &node.network else { return };
    match network.list().await {
        Ok(uids) => {
            for uid in uids
                .into_iter()
                .filter(|uid| !node.pods.read().contains_key(uid))
            {
                if let Err(error) = network.teardown(&uid).await {
                    tracing::warn!(%error, uid, "network of a pod that is gone not taken down");
                }
            }
        }
        Err(error) => tracing::warn!(%error, "pod networks not listed"),
    }
}

/// The pods' folders bear their uids; those of their logs end with `_` and the uid.
fn folders(pods: &Path, logs: &Path, known: &HashSet<String>) {
    for (name, path) in entries(pods) {
        if !known.contains(&name)
            && let Err(error) = volume::tear_down(&path)
        {
            tracing::warn!(%error, path = %path.display(), "folder of a pod that is gone not removed");
        }
    }
    for (name, path) in entries(logs) {
        let Some((_, uid)) = name.rsplit_once('_') else {
            continue;
        };
        if !known.contains(uid)
            && let Err(error) = std::fs::remove_dir_all(&path)
        {
            tracing::warn!(%error, path = %path.display(), "logs of a pod that is gone not removed");
        }
    }
}

fn entries(dir: &Path) -> Vec<(String, std::path::PathBuf)> {
    let read = || -> io::Result<Vec<_>> {
        let named = |entry: io::Result<std::fs::DirEntry>| {
            entry.map(|entry| {
                (
                    entry.file_name().to_string_lossy().into_owned(),
                    entry.path(),
                )
            })
        };
        std::fs::read_dir(dir)?.map(named).collect()
    };
    read().unwrap_or_else(|error| {
        tracing::warn!(%error, path = %dir.display(), "folder not read");
        Vec::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_belongs_to_nobody_goes() {
        let dir = tempfile::tempdir().unwrap();
        let (pods, logs) = (dir.path().join("pods"), dir.path().join("logs"));
        for path in [
            "pods/known/volumes",
            "pods/gone/volumes",
            "logs/ns_a_known/c",
            "logs/ns_b_gone/c",
            "logs/other",
        ] {
            std::fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        folders(&pods, &logs, &HashSet::from(["known".to_owned()]));
        let names = |dir: &Path| {
            let mut names: Vec<_> = entries(dir).into_iter().map(|(name, _)| name).collect();
            names.sort();
            names
        };
        assert_eq!(
            (names(&pods), names(&logs)),
            (
                vec!["known".to_owned()],
                vec!["ns_a_known".to_owned(), "other".to_owned()]
            )
        );
    }
}
