//! Looks after the logs of the containers that run: one that has grown is set aside, and its container writes to a new one.
//!
//! Invariant: nothing that was written is lost.
//! Follows `pkg/kubelet/logs/container_log_manager.go`; what is set aside is not compressed.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    agent::context::Context,
    logs::aside::{MAX_BYTES, drop_oldest, set_aside},
    pod::handle::Handle,
    runtime, time,
};

#[derive(thiserror::Error, Debug)]
enum Error {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
}

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
    let of = |handle: &Arc<Handle>| {
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
