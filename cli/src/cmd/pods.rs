//! Which pod and which container a command line means.
//! Invariant: when one of several is chosen for the user, they are told.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/polymorphichelpers/attachablepodforobject.go` and `cmd/util/podcmd`.

use crate::client::{Call, query, segment};
use crate::context::Ctx;
use crate::error::{Error, Result, quote};
use crate::resource::{Builder, Info};
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// The pod that `POD` or `TYPE/NAME` means; of several, the one that is furthest.
///
/// # Errors
/// An object that is not there or has no pods; no pod in that time (seconds).
pub async fn find(ctx: &Ctx, word: &str, timeout: f64) -> Result<Value> {
    let args = if word.contains('/') { vec![word.to_string()] } else { vec!["pods".to_string(), word.to_string()] };
    let mut builder = Builder::new(ctx)?.args(&args);
    builder.selector = None;
    builder.filenames.clear();
    let mut infos = builder.find().await?.all()?;
    if infos.is_empty() {
        return Err(Error::msg(format!("{word} was not found")));
    }
    let info = infos.remove(0);
    if info.resource.kind == "Pod" {
        return Ok(info.object);
    }
    first_of(ctx, &info, timeout).await
}

/// The labels by which an object finds its pods, as a selector.
///
/// # Errors
/// A kind that has no pods.
pub fn selector(info: &Info) -> Result<String> {
    let o = &info.object;
    let s = match info.resource.kind.as_str() {
        "Service" | "ReplicationController" => crate::describe::text::labels_selector(&o["spec"]["selector"]),
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "Job" => crate::describe::text::selector(&o["spec"]["selector"]),
        other => return Err(Error::msg(format!("cannot attach to {}: selector for {other} not implemented", info.object_name()))),
    };
    if s.is_empty() { Err(Error::msg(format!("invalid service '{}': Service is defined without a selector", info.name))) } else { Ok(s) }
}

async fn first_of(ctx: &Ctx, info: &Info, timeout: f64) -> Result<Value> {
    let selector = selector(info)?;
    let path = format!("/api/v1/namespaces/{}/pods{}", segment(&info.namespace), query(&[("labelSelector", &selector)]));
    let end = Instant::now() + crate::flags::seconds(timeout);
    loop {
        let list = ctx.client()?.json(&Call::get(path.clone())).await?;
        let mut pods: Vec<Value> = list["items"].as_array().cloned().unwrap_or_default();
        pods.sort_by_key(rank);
        if let Some(p) = pods.into_iter().next() {
            return Ok(p);
        }
        if Instant::now() >= end {
            return Err(Error::msg("timed out waiting for the condition"));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Running and ready before others, older before younger.
fn rank(pod: &Value) -> (bool, u8, bool, String) {
    let phase = match pod["status"]["phase"].as_str() {
        Some("Running") => 0,
        Some("Pending") => 2,
        _ => 1,
    };
    let ready = pod["status"]["conditions"].as_array().into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True");
    (pod["spec"]["nodeName"].as_str().unwrap_or("").is_empty(), phase, !ready, pod["metadata"]["creationTimestamp"].as_str().unwrap_or("").into())
}

/// The names of a pod's containers of these kinds.
pub fn names(pod: &Value, fields: &[&str]) -> Vec<String> {
    fields.iter().flat_map(|f| pod["spec"][*f].as_array().into_iter().flatten()).filter_map(|c| c["name"].as_str().map(String::from)).collect()
}

/// All lists of containers of a pod.
pub const ALL: &[&str] = &["containers", "initContainers", "ephemeralContainers"];

/// The container to use: the named one, the annotated one, or the first; tells of a choice unless `quiet`.
///
/// # Errors
/// A name that the pod has not.
pub fn container(pod: &Value, wanted: &str, quiet: bool) -> Result<String> {
    let name = pod["metadata"]["name"].as_str().unwrap_or("");
    if !wanted.is_empty() {
        let known = names(pod, &["containers", "initContainers", "ephemeralContainers"]);
        return if known.iter().any(|n| n == wanted) { Ok(wanted.into()) } else { Err(Error::msg(format!("container {wanted} not found in pod {name}"))) };
    }
    let containers = names(pod, &["containers"]);
    if let Some(marked) = pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"].as_str().filter(|m| !m.is_empty()) {
        if names(pod, ALL).iter().any(|n| n == marked) {
            return Ok(marked.into());
        }
        eprintln!("Default container name {} not found in pod {name}", quote(marked));
    }
    let first = containers.first().cloned().ok_or_else(|| Error::msg(format!("pod {name} does not have any containers")))?;
    let shown = shown(pod);
    if shown.len() > 1 && !quiet {
        eprintln!("Defaulted container {} out of: {}", quote(&first), shown.join(", "));
    }
    Ok(first)
}

/// All containers, the special ones marked.
pub fn shown(pod: &Value) -> Vec<String> {
    let mut out = names(pod, &["containers"]);
    out.extend(names(pod, &["ephemeralContainers"]).into_iter().map(|n| format!("{n} (ephem)")));
    out.extend(names(pod, &["initContainers"]).into_iter().map(|n| format!("{n} (init)")));
    out
}
