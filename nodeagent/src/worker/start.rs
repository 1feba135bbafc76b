//! Starting one container: image, configuration, creation, start, hook.
//!
//! Invariant: whatever fails ends as a waiting reason and an event in upstream's words.
//! Follows `startContainer` in `pkg/kubelet/kuberuntime/kuberuntime_container.go`.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use k8s_openapi::api::core::v1::{Container, Pod};

use super::{hooks, image_volumes, kill, mounts, publish::publish, pull, sandbox};
use crate::{
    agent::context::Context,
    events::Type,
    figures,
    image::Image,
    pod::{
        containers::Waiting,
        env,
        expand::expand,
        fields::Known,
        handle::Handle,
        mounted,
        names::{self, Kind, describe, spec, uid},
        resources,
        security::{self, ImageUser},
        view::{PodView, annotation},
    },
    runtime::ContainerSpec,
    time,
};
use skiff_api::machinery::quote::GoQuoted;

/// Why a container cannot be configured, as its waiting state says it.
#[derive(thiserror::Error, Debug)]
enum ConfigError {
    #[error("create container log directory for container {container} failed: {source}")]
    Logs {
        container: String,
        source: std::io::Error,
    },
    #[error("unable to find target container {0}")]
    NoTarget(String),
    #[error("cannot find volume {volume} to pass into container {container}", volume = GoQuoted(.volume), container = GoQuoted(.container))]
    NoDevice { volume: String, container: String },
    #[error(transparent)]
    Security(#[from] security::Error),
    #[error(transparent)]
    Env(#[from] env::Error),
    #[error(transparent)]
    Mounts(#[from] mounts::Error),
    #[error(transparent)]
    Resources(#[from] skiff_podspec::resources::Unreadable),
}

/// Starts the container in the sandbox; the error is its waiting state.
pub async fn start(
    node: &Arc<Context>,
    handle: &Arc<Handle>,
    sandbox: &str,
    (kind, container): (Kind, &Container),
) -> Result<(), Waiting> {
    let pod = handle.pod();
    if let Some(waiting) = crash_loop(node, handle, &pod, container) {
        return Err(waiting);
    }
    let kind = match kind {
        Kind::Regular => figures::Container::Regular,
        Kind::Init => figures::Container::Init,
        Kind::Ephemeral => figures::Container::Ephemeral,
    };
    node.figures.starts_container(kind);
    let started = now(node, handle, sandbox, &pod, container).await;
    started.inspect_err(|waiting| {
        // one that is to end meanwhile has not failed
        if !handle.ending.is_cancelled() {
            node.figures.container_not_started(kind, &waiting.reason);
        }
    })
}

/// Starts the container, however often it ended before.
async fn now(
    node: &Arc<Context>,
    handle: &Arc<Handle>,
    sandbox: &str,
    pod: &Arc<Pod>,
    container: &Container,
) -> Result<(), Waiting> {
    let event = |type_, reason: &str, message: String| {
        let about = names::container_reference(pod, &container.name);
        node.events.record(about, type_, reason, message)
    };
    let failed = |reason: &str, message: String| {
        event(Type::Warning, "Failed", format!("Error: {message}"));
        Waiting::new(reason, message)
    };
    let images = tokio::select! {
        images = images(node, pod, container) => images?,
        () = handle.ending.cancelled() => return Err(Waiting::new("ContainerCreating", "")),
    };
    let config = configure(node, handle, pod, container, &images)
        .await
        .map_err(|error| failed("CreateContainerConfigError", error.to_string()))?;
    let id = node
        .runtime
        .create_container(sandbox, config)
        .await
        .map_err(|error| failed("CreateContainerError", error.to_string()))?;
    event(Type::Normal, "Created", "Container created".to_owned());
    let hook = container
        .lifecycle
        .as_ref()
        .and_then(|lifecycle| lifecycle.post_start.as_ref());
    if hook.is_some() {
        handle.state.lock().in_post_start.push(id.clone());
    }
    let hook_is_over = || {
        handle
            .state
            .lock()
            .in_post_start
            .retain(|other| *other != id)
    };
    if let Err(error) = node.runtime.start_container(&id).await {
        hook_is_over();
        return Err(failed("RunContainerError", error.to_string()));
    }
    event(Type::Normal, "Started", "Container started".to_owned());
    let Some(hook) = hook else { return Ok(()) };
    let ip = handle.first_ip();
    publish_now(node, handle, pod).await;
    let outcome = tokio::select! {
        outcome = hooks::run(node, pod, container, &id, &ip, hook) => outcome,
        () = handle.ending.cancelled() => Ok(()),
    };
    hook_is_over();
    handle.moved.send_replace(());
    let Err(error) = outcome else { return Ok(()) };
    event(
        Type::Warning,
        "FailedPostStartHook",
        "PostStartHook failed".to_owned(),
    );
    let state = node
        .observer
        .refresh(uid(pod))
        .await
        .ok()
        .and_then(|view| view.by_id(&id).cloned());
    if let Some(state) = state {
        let seconds =
            kill::grace_period(pod, Some(container), crate::pod::actions::KillReason::Other);
        if let Err(error) =
            kill::container(node, handle, &state, seconds, "FailedPostStartHook", None).await
        {
            tracing::warn!(%error, "container not stopped after its postStart hook failed");
        }
    }
    Err(Waiting::new("PostStartHookError", error.to_string()))
}

/// What a container is made of: its image, and those that it mounts.
struct Images {
    own: Image,
    volumes: image_volumes::Images,
}

async fn images(node: &Context, pod: &Pod, container: &Container) -> Result<Images, Waiting> {
    let volumes = image_volumes::ensure(node, pod, container).await?;
    let wanted = pull::Wanted::by(pod, container);
    let own = pull::ensure(node, pod, &wanted)
        .await
        .inspect_err(|waiting| {
            let message = format!("Error: {}", waiting.reason);
            node.events.warn(wanted.about.clone(), "Failed", message);
        })?;
    Ok(Images { own, volumes })
}

async fn publish_now(node: &Arc<Context>, handle: &Arc<Handle>, pod: &Pod) {
    if let Ok(view) = node.observer.refresh(uid(pod)).await {
        handle.state.lock().view = view;
        publish(node, handle);
    }
}

/// The waiting state of a container that ended too often to be started again right now.
fn crash_loop(
    node: &Context,
    handle: &Handle,
    pod: &Pod,
    container: &Container,
) -> Option<Waiting> {
    let mut state = handle.state.lock();
    let ended = state
        .view
        .container(&container.name)
        .filter(|last| last.phase == crate::runtime::ContainerPhase::Exited)?
        .finished_at?;
    let key = &names::hash(container);
    if state.backoff.waits_since(key, ended, time::now()).is_none() {
        state.backoff.next(key, ended);
        return None;
    }
    let message = format!(
        "Back-off restarting failed container {} in pod {}",
        container.name,
        describe(pod)
    );
    node.events.warn(
        names::container_reference(pod, &container.name),
        "BackOff",
        message,
    );
    let delay = time::in_go(state.backoff.delay(key));
    let message = format!(
        "back-off {delay} restarting failed container={} pod={}",
        container.name,
        describe(pod)
    );
    Some(Waiting::new("CrashLoopBackOff", message))
}

/// All that the runtime has to know.
async fn configure(
    node: &Context,
    handle: &Handle,
    pod: &Pod,
    container: &Container,
    images: &Images,
) -> Result<ContainerSpec, ConfigError> {
    let image = &images.own;
    let (volumes, pod_ips, before, target) = {
        let state = handle.state.lock();
        (
            state.volumes.clone(),
            state.ips.clone(),
            state.view.container(&container.name).cloned(),
            target(pod, container, &state.view)?,
        )
    };
    let logs = sandbox::log_dir(node, pod).join(&container.name);
    let restart_count =
        before.map_or_else(|| next_in_logs(&logs), |before| before.restart_count + 1);
    if !node.config.simulated {
        std::fs::create_dir_all(&logs).map_err(|source| ConfigError::Logs {
            container: container.name.clone(),
            source,
        })?;
    }
    let user = ImageUser::parse(&image.user);
    security::verify_non_root(pod, container, &user)?;
    let security = security::effective(pod, container)?;
    let allocatable = node.allocatable();
    let known = Known {
        host_ips: &node.host_ips,
        pod_ips: &pod_ips,
        allocatable: Some(&allocatable),
    };
    let env = environment(node, pod, container, &volumes, &known).await?;
    let value_of = |name: &str| {
        env.iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
    };
    let expanded = |list: &Option<Vec<String>>| {
        list.iter()
            .flatten()
            .map(|text| expand(text, value_of))
            .collect::<Vec<_>>()
    };
    let (command, args) = (expanded(&container.command), expanded(&container.args));
    let (mut mounts, mut message) = (Vec::new(), None);
    if !node.config.simulated {
        mounts = mounts::of_volumes(
            node,
            pod,
            container,
            &mounts::Sources {
                volumes: &volumes,
                images: &images.volumes,
                env: &env,
            },
        )?;
        mounts::of_files(node, pod, container, &pod_ips, &mut mounts)?;
        message = mounts::message_file(node, pod, container, restart_count, &mut mounts)?;
    }
    refuse_devices(container)?;
    Ok(ContainerSpec {
        name: container.name.clone(),
        restart_count,
        image_id: image.id.clone(),
        command,
        args,
        working_dir: container.working_dir.clone().filter(|dir| !dir.is_empty()),
        env,
        mounts,
        stdin: container.stdin.unwrap_or(false),
        stdin_once: container.stdin_once.unwrap_or(false),
        tty: container.tty.unwrap_or(false),
        limits: resources::container_limits(pod, container, node.machine.memory)?,
        security,
        target,
        ends: must_end_first(pod, container),
        annotations: annotations(pod, container, image, message),
    })
}

async fn environment(
    node: &Context,
    pod: &Pod,
    container: &Container,
    volumes: &mounted::All,
    known: &Known<'_>,
) -> Result<Vec<(String, String)>, env::Error> {
    if node.config.simulated {
        return Ok(Vec::new());
    }
    let places = volumes
        .iter()
        .map(|(name, mounted)| (name.clone(), mounted.path.clone()))
        .collect();
    let sources = env::read(&node.objects, pod, container, places).await?;
    env::build(pod, container, &sources, known)
}

/// The container whose processes an ephemeral container is to see: its id.
fn target(pod: &Pod, container: &Container, view: &PodView) -> Result<Option<String>, ConfigError> {
    let ephemeral = spec(pod)
        .ephemeral_containers
        .iter()
        .flatten()
        .find(|ephemeral| ephemeral.name == container.name);
    let Some(name) = ephemeral
        .and_then(|ephemeral| ephemeral.target_container_name.as_deref())
        .filter(|name| !name.is_empty())
    else {
        return Ok(None);
    };
    let found = view
        .container(name)
        .ok_or_else(|| ConfigError::NoTarget(name.to_owned()))?;
    Ok(Some(found.id.clone()))
}

fn refuse_devices(container: &Container) -> Result<(), ConfigError> {
    match container.volume_devices.iter().flatten().next() {
        Some(device) => Err(ConfigError::NoDevice {
            volume: device.name.clone(),
            container: container.name.clone(),
        }),
        None => Ok(()),
    }
}

/// One past the highest restart that has left a log.
fn next_in_logs(dir: &std::path::Path) -> u32 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let restarts = entries.filter_map(|entry| {
        entry
            .file_name()
            .to_string_lossy()
            .split('.')
            .next()
            .and_then(|number| number.parse::<u32>().ok())
    });
    restarts.max().map_or(0, |highest| highest + 1)
}

/// Whether it is an init container and no sidecar.
fn must_end_first(pod: &Pod, container: &Container) -> bool {
    let mut inits = spec(pod).init_containers.iter().flatten();
    inits.any(|init| init.name == container.name && !names::is_sidecar(init))
}

fn annotations(
    pod: &Pod,
    container: &Container,
    image: &Image,
    message_file: Option<PathBuf>,
) -> BTreeMap<String, String> {
    let wanted = container.image.as_deref().unwrap_or_default();
    let named = image
        .tags
        .iter()
        .find(|tag| tag.ends_with(wanted) || tag.ends_with(&format!("{wanted}:latest")))
        .or(image.tags.first());
    // What the pod's own annotations tell the runtime.
    let told = pod
        .metadata
        .annotations
        .iter()
        .flatten()
        .filter(|(key, _)| key.starts_with(annotation::PREFIX));
    let mut all: BTreeMap<String, String> = told
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    all.extend([
        (annotation::HASH.to_owned(), names::hash(container)),
        (
            annotation::IMAGE.to_owned(),
            named.cloned().unwrap_or_else(|| wanted.to_owned()),
        ),
        (
            annotation::IMAGE_REF.to_owned(),
            image
                .digests
                .first()
                .cloned()
                .unwrap_or_else(|| image.id.clone()),
        ),
        (
            annotation::RESOURCES.to_owned(),
            resources::resources_text(&Some(resources::effective(pod, container))),
        ),
        (
            annotation::GRACE.to_owned(),
            spec(pod)
                .termination_grace_period_seconds
                .unwrap_or(30)
                .to_string(),
        ),
    ]);
    if let Some(file) = message_file {
        all.insert(
            annotation::MESSAGE_FILE.to_owned(),
            file.display().to_string(),
        );
    }
    if let Some(policy) = &container.termination_message_policy {
        all.insert(annotation::MESSAGE_POLICY.to_owned(), policy.clone());
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn init_containers_end_and_are_told_what_their_pod_says() {
        let pod = json!({
            "metadata": {"annotations": {"skiff.dev/exit-code": "3", "other": "x"}},
            "spec": {
                "initContainers": [{"name": "init"}, {"name": "sidecar", "restartPolicy": "Always"}],
                "containers": [{"name": "main"}],
            },
        });
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let image = Image {
            id: "sha256:0".into(),
            tags: Vec::new(),
            digests: Vec::new(),
            size: 0,
            user: String::new(),
        };
        let inits = spec(&pod).init_containers.iter().flatten();
        let mut ends = Vec::new();
        for container in inits.chain(&spec(&pod).containers) {
            let told = annotations(&pod, container, &image, None);
            let own = ["skiff.dev/exit-code", "skiff.dev/run-for", "other"];
            let own = own.map(|key| told.get(key).map(String::as_str));
            assert_eq!(own, [Some("3"), None, None], "{}", container.name);
            ends.push(must_end_first(&pod, container));
        }
        assert_eq!(ends, [true, false, false]);
    }

    #[test]
    fn restarts_are_counted_on_from_the_logs() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(next_in_logs(dir.path()), 0);
        std::fs::write(dir.path().join("2.log"), "").unwrap();
        assert_eq!(next_in_logs(dir.path()), 3);
    }
}
