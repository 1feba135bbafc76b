//! Lifecycle hooks: commands, requests and pauses after a container started and before it stops.
//!
//! Follows `pkg/kubelet/lifecycle/handlers.go`.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod};
use tokio::io::AsyncReadExt;

use crate::{
    agent::context::Context,
    pod::names::describe,
    probe::http,
    runtime::{self, ExecSpec},
    time,
};
use skiff_api::machinery::quote::GoQuoted;

/// Why a hook failed, as the container's status says it.
#[derive(thiserror::Error, Debug)]
pub enum Error {
    #[error(
        "Exec lifecycle hook ([{command}]) for {whose} failed - error: {source}, message: {output}",
        output = GoQuoted(.output)
    )]
    Exec {
        command: String,
        whose: String,
        source: Command,
        output: String,
    },
    #[error("HTTP lifecycle hook ({path}) for {whose} failed - error: {source}")]
    Http {
        path: String,
        whose: String,
        source: http::Error,
    },
    #[error("Cannot run handler: invalid handler: neither exec, httpGet nor sleep is set")]
    Invalid,
}

/// Why a hook's command failed.
#[derive(thiserror::Error, Debug)]
pub enum Command {
    #[error("command '{command}' exited with {code}: {output}")]
    Exited {
        command: String,
        code: i32,
        output: String,
    },
    #[error(transparent)]
    NotRun(#[from] runtime::Error),
}

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
) -> Result<(), Error> {
    if node.config.simulated {
        return Ok(());
    }
    let whose = || {
        format!(
            "Container {} in Pod {}",
            GoQuoted(&container.name),
            GoQuoted(&describe(pod))
        )
    };
    if let Some(exec) = &handler.exec {
        let words = exec.command.as_deref().unwrap_or_default();
        let command = words.join(" ");
        let (source, output) = match run_in_container(node, id, words).await {
            Ok((0, _)) => return Ok(()),
            Ok((code, output)) => {
                let (command, said) = (command.clone(), output.clone());
                (
                    Command::Exited {
                        command,
                        code,
                        output: said,
                    },
                    output,
                )
            }
            Err(error) => (error.into(), String::new()),
        };
        return Err(Error::Exec {
            command,
            whose: whose(),
            source,
            output,
        });
    }
    if let Some(get) = &handler.http_get {
        let limit = Duration::from_secs(30);
        let answered = http::get(container, get, pod_ip, "kube-lifecycle/1.36", limit).await;
        return answered.map(drop).map_err(|source| Error::Http {
            path: get.path.clone().unwrap_or_default(),
            whose: whose(),
            source,
        });
    }
    let sleep = handler.sleep.as_ref().ok_or(Error::Invalid)?;
    time::sleep(Duration::from_secs(
        u64::try_from(sleep.seconds).unwrap_or(0),
    ))
    .await;
    Ok(())
}
