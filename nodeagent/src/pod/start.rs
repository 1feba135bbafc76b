//! Starting one container: image, configuration, creation, start, hook.
//!
//! Invariant: whatever fails ends as a waiting reason and an event in upstream's words.
//! Follows `startContainer` in `pkg/kubelet/kuberuntime/kuberuntime_container.go`.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};

use super::{
    containers::Waiting,
    env,
    expand::expand,
    fields::Known,
    files,
    handle::Handle,
    hooks, kill,
    names::{self, describe, is_host_network, name, namespace, spec, uid},
    publish::publish,
    pull, resources, sandbox,
    security::{self, ImageUser},
    view::annotation,
};
use crate::{
    agent::context::Context,
    events::Type,
    image::Image,
    runtime::{ContainerSpec, Mount},
    time,
    volume::{self, During, subpath},
};

/// Starts `container` in the sandbox; the error is its waiting state.
pub async fn start(node: &Arc<Context>, handle: &Arc<Handle>, sandbox: &str, container: &Container) -> Result<(), Waiting> {
    let pod = handle.pod();
    let event = |type_, reason: &str, message: String| node.events.record(names::container_reference(&pod, &container.name), type_, reason, message);
    if let Some(waiting) = crash_loop(node, handle, &pod, container) {
        return Err(waiting);
    }
    let failed = |reason: &str, message: String| {
        event(Type::Warning, "Failed", format!("Error: {message}"));
        Waiting { reason: reason.to_owned(), message }
    };
    let image = tokio::select! {
        image = pull::ensure(node, &pod, container) => image.inspect_err(|waiting| event(Type::Warning, "Failed", format!("Error: {}", waiting.reason)))?,
        () = handle.ending.cancelled() => return Err(Waiting { reason: "ContainerCreating".to_owned(), message: String::new() }),
    };
    let config = configure(node, handle, &pod, container, &image).await.map_err(|message| failed("CreateContainerConfigError", message))?;
    let id = node.runtime.create_container(sandbox, config).await.map_err(|error| failed("CreateContainerError", error.to_string()))?;
    event(Type::Normal, "Created", "Container created".to_owned());
    let hook = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref());
    if hook.is_some() {
        handle.state.lock().in_post_start.push(id.clone());
    }
    if let Err(error) = node.runtime.start_container(&id).await {
        handle.state.lock().in_post_start.retain(|other| *other != id);
        return Err(failed("RunContainerError", error.to_string()));
    }
    event(Type::Normal, "Started", "Container started".to_owned());
    let Some(hook) = hook else { return Ok(()) };
    let ip = handle.state.lock().ips.first().map(ToString::to_string).unwrap_or_default();
    publish_now(node, handle, &pod).await;
    let outcome = tokio::select! {
        outcome = hooks::run(node, &pod, container, &id, &ip, hook) => outcome,
        () = handle.ending.cancelled() => Ok(()),
    };
    handle.state.lock().in_post_start.retain(|other| *other != id);
    handle.moved.send_replace(());
    let Err(message) = outcome else { return Ok(()) };
    event(Type::Warning, "FailedPostStartHook", "PostStartHook failed".to_owned());
    let state = node.observer.refresh(uid(&pod)).await.ok().and_then(|view| view.by_id(&id).cloned());
    if let Some(state) = state {
        let seconds = kill::grace_period(&pod, Some(container), super::actions::KillReason::Other);
        if let Err(error) = kill::container(node, handle, &state, seconds, "FailedPostStartHook", None).await {
            tracing::warn!(%error, "container not stopped after its postStart hook failed");
        }
    }
    Err(Waiting { reason: "PostStartHookError".to_owned(), message })
}

async fn publish_now(node: &Arc<Context>, handle: &Arc<Handle>, pod: &Pod) {
    if let Ok(view) = node.observer.refresh(uid(pod)).await {
        handle.state.lock().view = view;
        publish(node, handle);
    }
}

/// The waiting state of a container that ended too often to be started again right now.
fn crash_loop(node: &Context, handle: &Handle, pod: &Pod, container: &Container) -> Option<Waiting> {
    let mut state = handle.state.lock();
    let ended = state.view.container(&container.name).filter(|last| last.phase == crate::runtime::ContainerPhase::Exited)?.finished_at?;
    let key = &container.name;
    if state.backoff.waits_since(key, ended, time::now()).is_none() {
        state.backoff.next(key, ended);
        return None;
    }
    let message = format!("Back-off restarting failed container {} in pod {}", container.name, describe(pod));
    node.events.record(names::container_reference(pod, &container.name), Type::Warning, "BackOff", message);
    let delay = go_seconds(state.backoff.delay(key).as_secs());
    Some(Waiting {
        reason: "CrashLoopBackOff".to_owned(),
        message: format!("back-off {delay} restarting failed container={} pod={}", container.name, describe(pod)),
    })
}

/// `1m20s`, as Go prints so many seconds.
fn go_seconds(seconds: u64) -> String {
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}

/// All that the runtime has to know. The error is for the waiting message.
async fn configure(node: &Context, handle: &Handle, pod: &Pod, container: &Container, image: &Image) -> Result<ContainerSpec, String> {
    let (volumes, pod_ips, before) = {
        let state = handle.state.lock();
        (state.volumes.clone(), state.ips.clone(), state.view.container(&container.name).cloned())
    };
    let logs = sandbox::log_dir(node, pod).join(&container.name);
    let restart_count = before.map_or_else(|| next_in_logs(&logs), |before| before.restart_count + 1);
    if !node.config.simulated {
        std::fs::create_dir_all(&logs).map_err(|error| format!("create container log directory for container {} failed: {error}", container.name))?;
    }
    let user = ImageUser::parse(&image.user);
    security::verify_non_root(pod, container, &user)?;
    let security = security::effective(pod, container)?;
    let allocatable = node.allocatable();
    let known = Known { host_ips: &node.host_ips, pod_ips: &pod_ips, allocatable: Some(&allocatable) };
    let env = environment(node, pod, container, &volumes, &known).await?;
    let value_of = |name: &str| env.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let expanded = |list: &Option<Vec<String>>| list.iter().flatten().map(|text| expand(text, value_of)).collect::<Vec<_>>();
    let (command, args) = (expanded(&container.command), expanded(&container.args));
    let (mut mounts, mut message) = (Vec::new(), None);
    if !node.config.simulated {
        mounts = volume_mounts(node, pod, container, &volumes, &env)?;
        file_mounts(node, pod, container, &pod_ips, &mut mounts)?;
        message = message_file(node, pod, container, restart_count, &mut mounts)?;
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
        limits: resources::container_limits(pod, container, node.machine.memory),
        security,
        annotations: annotations(pod, container, image, message),
    })
}

async fn environment(node: &Context, pod: &Pod, container: &Container, volumes: &volume::All, known: &Known<'_>) -> Result<Vec<(String, String)>, String> {
    if node.config.simulated {
        return Ok(Vec::new());
    }
    let places = volumes.iter().map(|(name, mounted)| (name.clone(), mounted.path.clone())).collect();
    let sources = env::read(&node.objects, pod, container, places).await.map_err(|error| error.to_string())?;
    env::build(pod, container, &sources, known)
}

fn refuse_devices(container: &Container) -> Result<(), String> {
    match container.volume_devices.iter().flatten().next() {
        Some(device) => Err(format!("cannot find volume {:?} to pass into container {:?}", device.name, container.name)),
        None => Ok(()),
    }
}

/// One past the highest restart that has left a log.
fn next_in_logs(dir: &std::path::Path) -> u32 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let restarts = entries.filter_map(|entry| entry.file_name().to_string_lossy().split('.').next().and_then(|number| number.parse::<u32>().ok()));
    restarts.max().map_or(0, |highest| highest + 1)
}

fn annotations(pod: &Pod, container: &Container, image: &Image, message_file: Option<PathBuf>) -> BTreeMap<String, String> {
    let wanted = container.image.as_deref().unwrap_or_default();
    let named = image.tags.iter().find(|tag| tag.ends_with(wanted) || tag.ends_with(&format!("{wanted}:latest"))).or(image.tags.first());
    // What the pod's own annotations tell the runtime, above all the simulated one.
    let told = pod.metadata.annotations.iter().flatten().filter(|(key, _)| key.starts_with(annotation::PREFIX));
    let mut all: BTreeMap<String, String> = told.map(|(key, value)| (key.clone(), value.clone())).collect();
    all.extend([
        (annotation::HASH.to_owned(), names::hash(container)),
        (annotation::IMAGE.to_owned(), named.cloned().unwrap_or_else(|| wanted.to_owned())),
        (annotation::IMAGE_REF.to_owned(), image.digests.first().cloned().unwrap_or_else(|| image.id.clone())),
        (annotation::RESOURCES.to_owned(), resources::resources_text(&Some(resources::effective(pod, container)))),
        (annotation::GRACE.to_owned(), spec(pod).termination_grace_period_seconds.unwrap_or(30).to_string()),
    ]);
    let ephemeral = spec(pod).ephemeral_containers.iter().flatten().find(|ephemeral| ephemeral.name == container.name);
    if let Some(target) = ephemeral.and_then(|ephemeral| ephemeral.target_container_name.clone()).filter(|target| !target.is_empty()) {
        all.insert(annotation::TARGET.to_owned(), target);
    }
    if let Some(file) = message_file {
        all.insert(annotation::MESSAGE_FILE.to_owned(), file.display().to_string());
    }
    if let Some(policy) = &container.termination_message_policy {
        all.insert(annotation::MESSAGE_POLICY.to_owned(), policy.clone());
    }
    all
}

fn volume_mounts(node: &Context, pod: &Pod, container: &Container, volumes: &volume::All, env: &[(String, String)]) -> Result<Vec<Mount>, String> {
    let mut mounts = Vec::new();
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let volume = volumes.get(&mount.name).ok_or_else(|| format!("cannot find volume {:?} to mount into container {:?}", mount.name, container.name))?;
        if mount.recursive_read_only.as_deref() == Some("Enabled") {
            return Err("failed to resolve recursive read-only mode: recursive read-only mount is not supported by this node".to_owned());
        }
        let sub = sub_path(mount, env)?;
        let host_path = if sub.is_empty() {
            volume.path.clone()
        } else {
            let place = node.config.pod_dir(uid(pod)).join("volume-subpaths").join(&mount.name).join(&container.name).join(index.to_string());
            subpath::prepare(&volume.path, &sub, &place).map_err(|error| {
                tracing::warn!(%error, pod = name(pod), namespace = namespace(pod), "subPath not prepared");
                match error {
                    volume::Error::Refused(reason) => reason,
                    _ => format!("failed to prepare subPath for volumeMount {:?} of container {:?}", mount.name, container.name),
                }
            })?
        };
        let path = PathBuf::from(&mount.mount_path);
        mounts.push(Mount {
            host_path,
            container_path: if path.is_absolute() { path } else { PathBuf::from("/").join(path) },
            read_only: mount.read_only.unwrap_or(false) || volume.read_only,
            propagation: mount.mount_propagation.clone().unwrap_or_else(|| "None".to_owned()),
        });
    }
    Ok(mounts)
}

fn sub_path(mount: &VolumeMount, env: &[(String, String)]) -> Result<String, String> {
    let Some(expression) = mount.sub_path_expr.as_deref().filter(|text| !text.is_empty()) else { return Ok(mount.sub_path.clone().unwrap_or_default()) };
    let mut missing = std::collections::BTreeSet::new();
    let expanded = expand(expression, |name| {
        let value = env.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()).unwrap_or_default();
        if value.is_empty() {
            missing.insert(name.to_owned());
        }
        Some(value)
    });
    if missing.is_empty() { Ok(expanded) } else { Err(format!("missing value for {}", missing.into_iter().collect::<Vec<_>>().join(", "))) }
}

/// `/etc/hosts` and `/etc/resolv.conf`, unless the container mounts something there itself; `/etc/hostname` and `/dev/shm` are the runtime's.
fn file_mounts(node: &Context, pod: &Pod, container: &Container, ips: &[std::net::IpAddr], mounts: &mut Vec<Mount>) -> Result<(), String> {
    let dir = node.config.pod_dir(uid(pod));
    std::fs::create_dir_all(&dir).during(|| format!("make {}", dir.display())).map_err(|error| error.to_string())?;
    let (host, domain) = files::hostname(pod, &node.config.cluster_domain);
    let aliases = spec(pod).host_aliases.as_deref().unwrap_or_default();
    let hosts = if is_host_network(pod) {
        files::hosts_of_node(&std::fs::read_to_string("/etc/hosts").unwrap_or_default(), aliases)
    } else {
        files::hosts(ips, &host, &domain, aliases)
    };
    let of_node = files::Resolver::parse(&std::fs::read_to_string(&node.config.resolv_conf).unwrap_or_default());
    let (resolver, warnings) = files::resolver(pod, &of_node, &node.config.cluster_dns, &node.config.cluster_domain);
    for (reason, message) in warnings {
        node.events.record(names::reference(pod), Type::Warning, reason, message);
    }
    for (file, target, text) in [("etc-hosts", "/etc/hosts", hosts), ("resolv.conf", "/etc/resolv.conf", resolver.text())] {
        if container.volume_mounts.iter().flatten().any(|mount| mount.mount_path == target) {
            continue;
        }
        let place = dir.join(file);
        if !std::fs::read_to_string(&place).is_ok_and(|present| present == text) {
            std::fs::write(&place, text).during(|| format!("write {}", place.display())).map_err(|error| error.to_string())?;
        }
        mounts.push(Mount { host_path: place, container_path: target.into(), read_only: false, propagation: "None".to_owned() });
    }
    Ok(())
}

/// The file in which the container may leave its termination message.
fn message_file(node: &Context, pod: &Pod, container: &Container, restart: u32, mounts: &mut Vec<Mount>) -> Result<Option<PathBuf>, String> {
    use std::os::unix::fs::PermissionsExt;
    let Some(target) = container.termination_message_path.as_deref().filter(|path| !path.is_empty()) else { return Ok(None) };
    let dir = node.config.pod_dir(uid(pod)).join("containers").join(&container.name);
    let place = dir.join(restart.to_string());
    std::fs::create_dir_all(&dir)
        .and_then(|()| std::fs::write(&place, ""))
        .and_then(|()| std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o666)))
        .during(|| format!("make {}", place.display()))
        .map_err(|error| error.to_string())?;
    mounts.push(Mount { host_path: place.clone(), container_path: target.into(), read_only: false, propagation: "None".to_owned() });
    Ok(Some(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sub_path_expressions() {
        let mount = |expression: &str| VolumeMount { sub_path_expr: Some(expression.into()), ..Default::default() };
        let env = [("A".to_owned(), "1".to_owned())];
        assert_eq!(sub_path(&mount("x/$(A)"), &env).unwrap(), "x/1");
        assert_eq!(sub_path(&mount("x/$(B)"), &env).unwrap_err(), "missing value for B");
    }

    #[test]
    fn delays_in_words() {
        assert_eq!([go_seconds(10), go_seconds(80), go_seconds(300)], ["10s", "1m20s", "5m0s"]);
    }

    #[test]
    fn restarts_are_counted_on_from_the_logs() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(next_in_logs(dir.path()), 0);
        std::fs::write(dir.path().join("2.log"), "").unwrap();
        assert_eq!(next_in_logs(dir.path()), 3);
    }
}
