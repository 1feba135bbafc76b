//! Lifecycle hooks: commands, requests and pauses after a container started and before it stops.
//!
//! Follows `pkg/kubelet/lifecycle/handlers.go`.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, HTTPGetAction, LifecycleHandler, Pod};
use tokio::io::AsyncReadExt;

use super::names::describe;
use crate::{
    agent::context::Context,
    probe::http,
    runtime::{self, ExecSpec},
    time,
};

/// Runs a command in a container and gathers both its outputs, at most 10 KiB. Answers the exit code and the output.
pub async fn run_in_container(
    node: &Context,
    id: &str,
    command: &[String],
) -> Result<(i32, String), runtime::Error> {
    const MOST: u64 = 10 * 1024;
    let spec = ExecSpec {
        command: command.to_vec(),
        tty: false,
        stdin: false,
        stdout: true,
        stderr: true,
    };
    let streams = node.runtime.exec(id, spec).await?;
    let gather = |reader: Option<runtime::Reader>| async move {
        let mut all = Vec::new();
        let Some(mut reader) = reader else { return all };
        let mut buffer = [0u8; 4096];
        while let Ok(count) = reader.read(&mut buffer).await {
            if count == 0 {
                break;
            }
            let room = (MOST as usize).saturating_sub(all.len());
            all.extend_from_slice(&buffer[..count.min(room)]);
        }
        all
    };
    let (out, err, code) =
        tokio::join!(gather(streams.stdout), gather(streams.stderr), streams.exit);
    let text = String::from_utf8_lossy(&[out, err].concat()).into_owned();
    Ok((code?, text))
}

/// Runs a hook; the error is what the container's status says about it.
pub async fn run(
    node: &Context,
    pod: &Pod,
    container: &Container,
    id: &str,
    pod_ip: &str,
    handler: &LifecycleHandler,
) -> Result<(), String> {
    if node.config.simulated {
        return Ok(());
    }
    if let Some(exec) = &handler.exec {
        let command = exec.command.as_deref().unwrap_or_default();
        let failed = |error: String, output: String| {
            format!(
                "Exec lifecycle hook ([{}]) for Container {:?} in Pod {:?} failed - error: {error}, message: {output:?}",
                command.join(" "),
                container.name,
                describe(pod)
            )
        };
        return match run_in_container(node, id, command).await {
            Ok((0, _)) => Ok(()),
            Ok((code, output)) => Err(failed(
                format!(
                    "command '{}' exited with {code}: {output}",
                    command.join(" ")
                ),
                output,
            )),
            Err(error) => Err(failed(error.to_string(), String::new())),
        };
    }
    if let Some(get) = &handler.http_get {
        return request(container, pod_ip, get).await.map_err(|error| {
            format!(
                "HTTP lifecycle hook ({}) for Container {:?} in Pod {:?} failed - error: {error}",
                get.path.as_deref().unwrap_or_default(),
                container.name,
                describe(pod)
            )
        });
    }
    if let Some(sleep) = &handler.sleep {
        time::sleep(Duration::from_secs(
            u64::try_from(sleep.seconds).unwrap_or(0),
        ))
        .await;
        return Ok(());
    }
    Err("Cannot run handler: invalid handler: neither exec, httpGet nor sleep is set".to_owned())
}

async fn request(container: &Container, pod_ip: &str, get: &HTTPGetAction) -> Result<(), String> {
    http::get(
        container,
        get,
        pod_ip,
        "kube-lifecycle/1.36",
        Duration::from_secs(30),
    )
    .await
    .map(drop)
    .map_err(|error| error.to_string())
}
