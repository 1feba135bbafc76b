//! Keeping logs small: a log of 10 MiB is set aside, and of those set aside only so many are kept.
//!
//! Invariant: per container at most five files, the one written to included.
//! Follows `pkg/kubelet/logs/container_log_manager.go`. Upstream renames the log and asks the runtime to open a new one; the keeper of a
//! pod's logs here writes in append mode to a file that stays open, so the content is copied aside and the file emptied.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{agent::context::Context, time};

const MAX_BYTES: u64 = 10 << 20;
const MAX_FILES: usize = 5;

/// Looks after the logs of all containers until the agent stops.
pub async fn keep(node: Arc<Context>) {
    loop {
        tokio::select! {
            () = time::sleep(node.config.intervals.log_rotation) => {}
            () = node.stop.cancelled() => return,
        }
        let logs = current_logs(&node);
        let rotated = tokio::task::spawn_blocking(move || {
            for log in logs {
                if let Err(error) = look_after(&log, MAX_BYTES) {
                    tracing::warn!(%error, path = %log.display(), "log not rotated");
                }
            }
        });
        if let Err(error) = rotated.await {
            tracing::error!(%error, "rotation of logs broke off");
        }
    }
}

fn current_logs(node: &Context) -> Vec<PathBuf> {
    let pods = node.pods.read();
    pods.values().flat_map(|handle| handle.state.lock().view.running().map(|container| container.log_path.clone()).collect::<Vec<_>>()).collect()
}

/// Rotates the log when it has grown beyond `max_bytes`, and removes what is too old.
pub fn look_after(log: &Path, max_bytes: u64) -> std::io::Result<()> {
    match fs::metadata(log) {
        Ok(metadata) if metadata.len() >= max_bytes => {}
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    let mut aside = log.as_os_str().to_owned();
    aside.push(format!(".{}", time::now().strftime("%Y%m%d-%H%M%S%3f")));
    fs::copy(log, &aside)?;
    fs::OpenOptions::new().write(true).open(log)?.set_len(0)?;
    let old = rotated(log)?;
    for path in old.iter().take(old.len().saturating_sub(MAX_FILES - 1)) {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// The files that were set aside for `log`, oldest first.
pub fn rotated(log: &Path) -> std::io::Result<Vec<PathBuf>> {
    let (Some(dir), Some(name)) = (log.parent(), log.file_name().and_then(|name| name.to_str())) else { return Ok(Vec::new()) };
    let prefix = format!("{name}.");
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_logs_are_set_aside_and_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("0.log");
        for round in 0..7 {
            fs::write(&log, format!("round {round}")).unwrap();
            look_after(&log, 5).unwrap();
            assert_eq!(fs::metadata(&log).unwrap().len(), 0);
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let kept = rotated(&log).unwrap();
        assert_eq!(kept.len(), 4);
        assert_eq!(fs::read_to_string(&kept[3]).unwrap(), "round 6");
        fs::write(&log, "x").unwrap();
        look_after(&log, 5).unwrap();
        assert_eq!(rotated(&log).unwrap().len(), 4);
    }
}
