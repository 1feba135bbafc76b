//! Keeping logs small: a log of 10 MiB is set aside, and of those set aside only so many are kept.
//!
//! Invariant: per container at most five files, the one written to included; nothing that was written is lost.
//! Follows `pkg/kubelet/logs/container_log_manager.go`; what is set aside is not compressed.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{agent::context::Context, outcome::IfThere, runtime, time};

#[derive(thiserror::Error, Debug)]
enum Error {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
}

pub const MAX_BYTES: u64 = 10 << 20;
pub const MAX_FILES: usize = 5;

/// Looks after the logs of all containers until the agent stops.
pub async fn keep(node: Arc<Context>) {
    loop {
        tokio::select! {
            () = time::sleep(node.config.intervals.log_rotation) => {}
            () = node.stop.cancelled() => return,
        }
        for (id, log) in current_logs(&node) {
            if let Err(error) = look_after(&node, &id, &log).await {
                tracing::warn!(%error, path = %log.display(), "log not rotated");
            }
        }
    }
}

/// The running containers with their logs.
fn current_logs(node: &Context) -> Vec<(String, PathBuf)> {
    let pods = node.pods.read();
    let of = |handle: &Arc<crate::pod::handle::Handle>| {
        handle
            .state
            .lock()
            .view
            .running()
            .map(|container| (container.id.clone(), container.log_path.clone()))
            .collect::<Vec<_>>()
    };
    pods.values().flat_map(of).collect()
}

/// Rotates one log when it is time; when the runtime cannot go on in a new file, the old one is put back.
async fn look_after(node: &Context, id: &str, log: &Path) -> Result<(), Error> {
    let Some(aside) = set_aside(log, MAX_BYTES)? else {
        return Ok(());
    };
    if let Err(error) = node.runtime.reopen_log(id).await {
        fs::rename(&aside, log)?;
        return Err(error.into());
    }
    Ok(drop_oldest(log)?)
}

/// Renames the log when it has grown to `max_bytes`; answers its new name.
fn set_aside(log: &Path, max_bytes: u64) -> std::io::Result<Option<PathBuf>> {
    if log
        .metadata()
        .if_there()?
        .is_none_or(|found| found.len() < max_bytes)
    {
        return Ok(None);
    }
    let mut aside = log.as_os_str().to_owned();
    aside.push(format!(".{}", time::now().strftime("%Y%m%d-%H%M%S%3f")));
    let aside = PathBuf::from(aside);
    fs::rename(log, &aside)?;
    Ok(Some(aside))
}

fn drop_oldest(log: &Path) -> std::io::Result<()> {
    let old = rotated(log)?;
    old.iter()
        .take(old.len().saturating_sub(MAX_FILES - 1))
        .try_for_each(fs::remove_file)
}

/// The files that were set aside for `log`, oldest first.
pub fn rotated(log: &Path) -> std::io::Result<Vec<PathBuf>> {
    let (Some(dir), Some(name)) = (log.parent(), log.file_name().and_then(|name| name.to_str()))
    else {
        return Ok(Vec::new());
    };
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
            let aside = set_aside(&log, 5).unwrap().unwrap();
            assert!(aside.exists() && !log.exists());
            drop_oldest(&log).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let kept = rotated(&log).unwrap();
        assert_eq!(kept.len(), 4);
        assert_eq!(fs::read_to_string(&kept[3]).unwrap(), "round 6");
        fs::write(&log, "x").unwrap();
        assert_eq!(set_aside(&log, 5).unwrap(), None);
    }
}
