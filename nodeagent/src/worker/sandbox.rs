//! The sandbox of a pod: its network and the namespaces that its containers share.
//!
//! Invariant: what was begun and failed is taken back, so the next attempt starts clean.
//! Follows `pkg/kubelet/kuberuntime/kuberuntime_sandbox.go`.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use k8s_openapi::api::core::v1::Pod;

use crate::{
    agent::context::Context,
    network,
    pod::{
        files,
        names::{is_host_network, name, namespace, spec, uid},
        resources::{self, resources_text},
        view::annotation,
    },
    runtime::{self, SandboxSpec},
};
use skiff_api::machinery::quote::GoQuoted;

/// Why a pod has no sandbox, as the event `FailedCreatePodSandBox` says it.
#[derive(thiserror::Error, Debug)]
pub enum Error {
    #[error("plugin type=\"skiff\" failed (add): {0}")]
    Network(#[from] network::Error),
    #[error(transparent)]
    Hostname(#[from] files::TooLong),
    #[error(transparent)]
    Resources(#[from] skiff_podspec::resources::Unreadable),
    #[error("cannot make {path}: {source}")]
    Logs {
        path: String,
        source: std::io::Error,
    },
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    #[error("hostUsers: false is not supported by this node: it has no user namespaces for pods")]
    UserNamespace,
    #[error("resourceClaims are not supported by this node")]
    ResourceClaims,
    #[error("failed to get sandbox runtime: no runtime for {} is configured", GoQuoted(.0))]
    NoHandler(String),
    #[error("runtimeclass.node.k8s.io {} not found", GoQuoted(.0))]
    NoRuntimeClass(String),
    #[error("failed to lookup RuntimeClass {class}: {source}")]
    RuntimeClass {
        class: String,
        source: skiff_watching::error::Error,
    },
    #[error("this node has no pod network; only pods with hostNetwork can run on it")]
    NoNetwork,
}

/// What runtime classes may name as their handler: all of it is the same runtime.
pub const HANDLERS: [&str; 2] = ["runc", "skiff"];

/// Where the pod's logs are.
pub fn log_dir(node: &Context, pod: &Pod) -> PathBuf {
    node.config
        .log_dir
        .join(format!("{}_{}_{}", namespace(pod), name(pod), uid(pod)))
}

/// The pod's addresses, from the network (which makes or finds it again) or the runtime.
pub async fn network(
    node: &Context,
    pod: &Pod,
) -> Result<(Option<PathBuf>, Vec<IpAddr>), network::Error> {
    match &node.network {
        _ if is_host_network(pod) => Ok((None, node.host_ips.clone())),
        Some(network) => {
            let network = network.setup(uid(pod)).await?;
            Ok((Some(network.netns), network.ips))
        }
        // Simulated nodes have no namespaces: the place only tells the runtime that the pod wants an address of its own.
        None => Ok((
            node.config.simulated.then(|| PathBuf::from("/simulated")),
            Vec::new(),
        )),
    }
}

/// Makes the sandbox; answers its id and the pod's addresses (none when the runtime gives them).
pub async fn create(node: &Context, pod: &Pod) -> Result<(String, Vec<IpAddr>), Error> {
    refuse_unsupported(node, pod).await?;
    let hostname = files::uts_name(pod, &node.config.cluster_domain)?;
    let cgroup = resources::cgroup(pod)?;
    let cgroup_limits = resources::pod_cgroup_limits(pod)?;
    let (netns, ips) = network(node, pod).await?;
    let logs = log_dir(node, pod);
    if !node.config.simulated {
        tokio::fs::create_dir_all(&logs)
            .await
            .map_err(|source| Error::Logs {
                path: logs.display().to_string(),
                source,
            })?;
    }
    let security = spec(pod).security_context.as_ref();
    let sysctls = security
        .and_then(|security| security.sysctls.as_ref())
        .into_iter()
        .flatten()
        .map(|sysctl| (sysctl.name.clone(), sysctl.value.clone()));
    let host_network = is_host_network(pod);
    let sandbox = SandboxSpec {
        pod_uid: uid(pod).to_owned(),
        namespace: namespace(pod).to_owned(),
        name: name(pod).to_owned(),
        hostname: if host_network {
            node_hostname(node)
        } else {
            hostname
        },
        netns,
        host_pid: spec(pod).host_pid.unwrap_or(false),
        host_ipc: spec(pod).host_ipc.unwrap_or(false),
        share_process_namespace: spec(pod).share_process_namespace.unwrap_or(false),
        sysctls: sysctls.collect(),
        log_dir: logs,
        cgroup,
        cgroup_limits,
        annotations: BTreeMap::from([(
            annotation::RESOURCES.to_owned(),
            resources_text(&spec(pod).resources),
        )]),
    };
    match node.runtime.run_sandbox(sandbox).await {
        Ok(id) => check_addresses(node, pod, id, &ips)
            .await
            .map(|id| (id, ips)),
        Err(error) => {
            if let Err(error) = take_network_back(node, pod).await {
                tracing::warn!(%error, pod = name(pod), "pod network not taken down");
            }
            Err(error.into())
        }
    }
}

/// What pods in the node's network are called: as the node where it has a name of its own, as the machine elsewhere.
fn node_hostname(node: &Context) -> String {
    let machine = || nix::unistd::gethostname().ok()?.into_string().ok();
    let own = node.config.hostname.clone();
    own.or_else(machine)
        .unwrap_or_else(|| node.config.node_name.clone())
}

/// What this node cannot do for a pod as a whole.
async fn refuse_unsupported(node: &Context, pod: &Pod) -> Result<(), Error> {
    if spec(pod).host_users == Some(false) {
        return Err(Error::UserNamespace);
    }
    if spec(pod)
        .resource_claims
        .as_ref()
        .is_some_and(|claims| !claims.is_empty())
    {
        return Err(Error::ResourceClaims);
    }
    let Some(class) = spec(pod)
        .runtime_class_name
        .as_deref()
        .filter(|name| !name.is_empty())
    else {
        return Ok(());
    };
    match node
        .api
        .get::<k8s_openapi::api::node::v1::RuntimeClass>("", class)
        .await
    {
        Ok(found) if HANDLERS.contains(&found.handler.as_str()) => Ok(()),
        Ok(found) => Err(Error::NoHandler(found.handler)),
        Err(error) if error.is_not_found() => Err(Error::NoRuntimeClass(class.to_owned())),
        Err(source) => Err(Error::RuntimeClass {
            class: class.to_owned(),
            source,
        }),
    }
}

/// A pod that neither its network nor its runtime gave an address would run in the node's own network: that is refused.
async fn check_addresses(
    node: &Context,
    pod: &Pod,
    id: String,
    ips: &[IpAddr],
) -> Result<String, Error> {
    if !ips.is_empty() || is_host_network(pod) {
        return Ok(id);
    }
    let view = node.observer.refresh(uid(pod)).await?;
    if !view.ips().is_empty() {
        return Ok(id);
    }
    if let Err(error) = node.runtime.stop_sandbox(&id).await {
        tracing::warn!(%error, "sandbox without a network not stopped");
    }
    if let Err(error) = node.runtime.remove_sandbox(&id).await {
        tracing::warn!(%error, "sandbox without a network not removed");
    }
    Err(Error::NoNetwork)
}

/// Gives the pod's addresses back.
pub async fn take_network_back(node: &Context, pod: &Pod) -> Result<(), network::Error> {
    match &node.network {
        Some(network) if !is_host_network(pod) => network.teardown(uid(pod)).await,
        _ => Ok(()),
    }
}
