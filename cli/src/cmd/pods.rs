//! Which pod and which container a command line means.
//! Invariant: when one of several is chosen for the user, they are told where kubectl tells them.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/polymorphichelpers/{helpers,attachablepodforobject}.go`, `util/podutils` and `cmd/util/podcmd`.

use crate::client::{Call, query, segment};
use crate::context::Ctx;
use crate::error::{Error, Result, bail, message, quote};
use crate::resource::{Builder, Info, builder::KUBECTL};
use crate::typed::{Read, go_type};
use serde_json::Value;
use skiff_api::machinery::selector::Selector;
use std::cmp::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// The object that `NAME` (of a pod) or `TYPE/NAME` means, of a kind that the scheme has.
///
/// # Errors
/// An object that is not there, a word that is none of the two.
pub async fn object(ctx: &Ctx, word: &str, scheme: &'static str) -> Result<Info> {
    let args = if word.contains('/') {
        vec![word.to_string()]
    } else {
        vec!["pods".to_string(), word.to_string()]
    };
    let mut builder = Builder::new(ctx)?.args(&args);
    builder.typed = Some(scheme);
    builder.fixed_type = true;
    builder.selector = None;
    builder.filenames.clear();
    builder
        .find()
        .await?
        .all()?
        .into_iter()
        .next()
        .ok_or_else(|| Error::msg("expected a resource"))
}

/// The pod that the object is, or of its pods the one that is furthest.
///
/// # Errors
/// An object that has no pods; no pod in that time (seconds).
pub async fn attachable(ctx: &Ctx, info: &Info, timeout: f64) -> Result<Value> {
    if info.resource.kind == "Pod" {
        return Ok(info.object.clone());
    }
    let selector =
        selector(info).map_err(|e| message!("cannot attach to {}: {e}", go_type(&info.object)))?;
    let pods = all_of(ctx, &info.namespace, &selector, timeout, by_activity).await?;
    pods.into_iter()
        .next()
        .ok_or_else(|| Error::msg("the object has no pod"))
}

/// Refuses to wait no time for a pod.
///
/// # Errors
/// No time.
pub fn check_patience(ctx: &Ctx, seconds: f64) -> Result<()> {
    if seconds <= 0.0 {
        return Err(ctx.usage("--pod-running-timeout must be higher than zero"));
    }
    Ok(())
}

/// The phase in which the pod has ended, if it has.
pub fn end(pod: &Value) -> Option<&str> {
    let phase = pod.at("status").text_ptr("phase");
    phase.filter(|phase| matches!(*phase, "Succeeded" | "Failed"))
}

/// The two in one.
///
/// # Errors
/// As they.
pub async fn find(ctx: &Ctx, word: &str, timeout: f64) -> Result<Value> {
    attachable(ctx, &object(ctx, word, KUBECTL).await?, timeout).await
}

/// The labels by which an object finds its pods, as a selector.
///
/// # Errors
/// A kind that has no pods, a service that selects none.
pub fn selector(info: &Info) -> Result<String> {
    let selector = info.object.at("spec").at("selector");
    let set = || {
        Selector::from_set(
            selector
                .as_object()
                .into_iter()
                .flatten()
                .map(|(k, v)| (k.as_str(), v.as_str().unwrap_or(""))),
        )
    };
    match info.resource.kind.as_str() {
        "Service" if selector.as_object().is_none_or(|s| s.is_empty()) => Err(message!(
            "invalid service '{}': Service is defined without a selector",
            info.name
        )),
        "Service" | "ReplicationController" => Ok(set().to_string()),
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "Job" => {
            Selector::from_label_selector(Some(selector))
                .map(|s| s.to_string())
                .map_err(|e| message!("invalid label selector: {e}"))
        }
        _ => Err(message!(
            "selector for {} not implemented",
            go_type(&info.object)
        )),
    }
}

/// The pods with these labels, the best first; waits until there is one.
///
/// # Errors
/// No pod in that time (seconds).
pub async fn all_of(
    ctx: &Ctx,
    namespace: &str,
    selector: &str,
    timeout: f64,
    order: fn(&Value, &Value) -> Ordering,
) -> Result<Vec<Value>> {
    let path = format!(
        "/api/v1/namespaces/{}/pods{}",
        segment(namespace),
        query(&[("labelSelector", selector)])
    );
    let end = Instant::now() + crate::flags::seconds(timeout);
    loop {
        let mut list = ctx.client()?.json(&Call::get(path.clone())).await?;
        if let Value::Array(mut pods) = list["items"].take()
            && !pods.is_empty()
        {
            pods.sort_by(order);
            return Ok(pods);
        }
        if Instant::now() >= end {
            bail!("timed out waiting for the condition");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn ready_since(pod: &Value) -> Option<String> {
    let ready = pod
        .at("status")
        .list("conditions")
        .iter()
        .find(|c| c.text("type") == "Ready" && c.text("status") == "True");
    ready.map(|c| c.text("lastTransitionTime").to_string())
}

/// Earlier before later, and none last.
fn earlier(a: &str, b: &str) -> Ordering {
    a.is_empty().cmp(&b.is_empty()).then_with(|| a.cmp(b))
}

/// The most that a container, and a container that runs beside them, was started again.
fn restarts(pod: &Value) -> (i64, i64) {
    let most = |list: &Value, fits: &dyn Fn(&Value) -> bool| {
        list.as_array()
            .into_iter()
            .flatten()
            .filter(|c| fits(c))
            .filter_map(|c| c.int_ptr("restartCount"))
            .max()
            .unwrap_or(0)
    };
    let beside = |c: &Value| {
        pod.at("spec")
            .list("initContainers")
            .iter()
            .any(|i| i.at("name") == c.at("name") && i.text("restartPolicy") == "Always")
    };
    (
        most(pod.at("status").at("containerStatuses"), &|_| true),
        most(pod.at("status").at("initContainerStatuses"), &beside),
    )
}

/// What both orders look at first: on a node, running, ready.
fn rank(pod: &Value) -> (bool, u8, bool) {
    let phase = match pod.at("status").text_ptr("phase") {
        Some("Unknown") => 1,
        Some("Pending") => 2,
        _ => 0,
    };
    (
        pod.at("spec").text("nodeName").is_empty(),
        phase,
        ready_since(pod).is_none(),
    )
}

/// The pod whose logs are wanted most comes first.
pub fn by_logging(a: &Value, b: &Value) -> Ordering {
    let ready = |p: &Value| ready_since(p).unwrap_or_default();
    let created = |p: &Value| p.at("metadata").text("creationTimestamp").to_string();
    rank(a)
        .cmp(&rank(b))
        .then_with(|| earlier(&ready(a), &ready(b)))
        .then_with(|| restarts(b).cmp(&restarts(a)))
        .then_with(|| earlier(&created(a), &created(b)))
}

/// The pod that is best to work with comes first.
pub fn by_activity(a: &Value, b: &Value) -> Ordering {
    let text = |p: &Value, f: &str| p.at("metadata").text(f).to_string();
    let ending = |p: &Value| text(p, "deletionTimestamp");
    rank(a)
        .cmp(&rank(b))
        .then_with(|| (!ending(a).is_empty()).cmp(&!ending(b).is_empty()))
        .then_with(|| ending(b).cmp(&ending(a)))
        .then_with(|| {
            earlier(
                &ready_since(a).unwrap_or_default(),
                &ready_since(b).unwrap_or_default(),
            )
        })
        .then_with(|| restarts(a).cmp(&restarts(b)))
        .then_with(|| earlier(&text(a, "creationTimestamp"), &text(b, "creationTimestamp")))
}

/// The names of a pod's containers of these kinds.
pub fn names(pod: &Value, fields: &[&str]) -> Vec<String> {
    fields
        .iter()
        .flat_map(|f| pod.at("spec").list(f).iter())
        .filter_map(|c| c.text_ptr("name").map(String::from))
        .collect()
}

/// All lists of containers of a pod.
pub const ALL: &[&str] = &["containers", "initContainers", "ephemeralContainers"];

/// Checks that a pod has a container of this name.
///
/// # Errors
/// It has not; names those that it has.
pub fn check_container(pod: &Value, wanted: &str) -> Result<()> {
    if names(pod, ALL).iter().any(|n| n == wanted) {
        return Ok(());
    }
    let name = pod.at("metadata").text("name");
    Err(message!(
        "container {wanted} is not valid for pod {name} out of: {}",
        shown(pod)
    ))
}

/// The container to use: the named one, the annotated one, or the first; tells of a choice unless `quiet`.
///
/// # Errors
/// A name that the pod has not.
pub fn container(pod: &Value, wanted: &str, quiet: bool) -> Result<String> {
    let text = |f: &str| pod.at("metadata").text(f);
    let first = names(pod, &["containers"]).into_iter().next();
    let first = first.ok_or_else(|| {
        message!(
            "pod {}/{} does not have any containers",
            text("namespace"),
            text("name")
        )
    })?;
    let marked = pod
        .at("metadata")
        .at("annotations")
        .text("kubectl.kubernetes.io/default-container");
    let wanted = if wanted.is_empty() { marked } else { wanted };
    if !wanted.is_empty() {
        return check_container(pod, wanted).map(|()| wanted.to_string());
    }
    if !quiet {
        tell_choice(pod, &first);
    }
    Ok(first)
}

/// Says which container was chosen, if there was a choice.
pub fn tell_choice(pod: &Value, chosen: &str) {
    if let Some(choice) = choice(pod, "", chosen) {
        eprintln!("{choice}");
    }
}

/// Which container was chosen where the user named none, if there was a choice.
pub fn choice(pod: &Value, wanted: &str, chosen: &str) -> Option<String> {
    let annotations = pod.at("metadata").at("annotations");
    let marked = annotations.text("kubectl.kubernetes.io/default-container");
    let several = wanted.is_empty() && marked.is_empty() && names(pod, ALL).len() > 1;
    several.then(|| {
        format!(
            "Defaulted container {} out of: {}",
            quote(chosen),
            shown(pod)
        )
    })
}

/// All containers, the special ones marked.
pub fn shown(pod: &Value) -> String {
    let mut out = names(pod, &["containers"]);
    out.extend(
        names(pod, &["ephemeralContainers"])
            .into_iter()
            .map(|n| format!("{n} (ephem)")),
    );
    out.extend(
        names(pod, &["initContainers"])
            .into_iter()
            .map(|n| format!("{n} (init)")),
    );
    out.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(
        name: &str,
        node: &str,
        phase: &str,
        ready: Option<&str>,
        restarts: i64,
        created: &str,
        ending: Option<&str>,
    ) -> Value {
        let conditions: Vec<Value> = ready
            .map(|t| json!({"type": "Ready", "status": "True", "lastTransitionTime": t}))
            .into_iter()
            .collect();
        let mut pod = json!({"metadata": {"name": name, "creationTimestamp": created}, "spec": {"nodeName": node},
            "status": {"phase": phase, "conditions": conditions, "containerStatuses": [{"restartCount": restarts}]}});
        if let Some(t) = ending {
            pod["metadata"]["deletionTimestamp"] = json!(t);
        }
        pod
    }

    #[test]
    fn the_best_pod_comes_first() {
        let pods = || {
            vec![
                pod("unassigned", "", "Pending", None, 0, "1", None),
                pod("pending", "n", "Pending", None, 0, "1", None),
                pod("unready", "n", "Running", None, 0, "1", None),
                pod("late", "n", "Running", Some("5"), 0, "1", None),
                pod("early", "n", "Running", Some("3"), 0, "2", None),
                pod("restarted", "n", "Running", Some("3"), 4, "2", None),
                pod("ending", "n", "Running", Some("3"), 0, "2", Some("9")),
            ]
        };
        let order = |by: fn(&Value, &Value) -> Ordering| {
            let mut list = pods();
            list.sort_by(by);
            list.iter()
                .map(|p| p["metadata"]["name"].as_str().unwrap().to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            order(by_logging),
            [
                "restarted",
                "early",
                "ending",
                "late",
                "unready",
                "pending",
                "unassigned"
            ]
        );
        assert_eq!(
            order(by_activity),
            [
                "early",
                "restarted",
                "late",
                "ending",
                "unready",
                "pending",
                "unassigned"
            ]
        );
    }

    #[test]
    fn containers_are_chosen_as_kubectl_chooses_them() {
        let mut p = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}], "ephemeralContainers": [{"name": "e"}]}});
        assert_eq!(container(&p, "", true).unwrap(), "a");
        assert_eq!(container(&p, "i", true).unwrap(), "i");
        let told = "container x is not valid for pod p out of: a, b, e (ephem), i (init)";
        assert_eq!(container(&p, "x", true).unwrap_err().to_string(), told);
        p["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/default-container": "b"});
        assert_eq!(container(&p, "", true).unwrap(), "b");
        p["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/default-container": "x"});
        assert_eq!(container(&p, "", true).unwrap_err().to_string(), told);
    }
}
