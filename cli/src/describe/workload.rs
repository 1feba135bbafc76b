//! Kinds that make pods.
//! Invariant: pods are counted by the kind's own selector.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/describe/describe.go`.

use super::pod_template::template;
use super::text::{
    annotations, conditions, controller, format_labels, format_selector, head, labels,
    labels_selector, list, n, s, scalar, selector, texts, yes_or_unset,
};
use super::{Kube, Out, date};
use crate::client::segment;
use crate::error::Result;
use crate::print::age;
use serde_json::Value;

/// The pods of an object, by phase: running, waiting, succeeded, failed.
async fn pods(kube: &Kube, o: &Value) -> String {
    let raw = &o["spec"]["selector"];
    let chosen = if o["kind"] == "ReplicationController" {
        labels_selector(raw)
    } else {
        selector(raw)
    };
    let path = format!(
        "/api/v1/namespaces/{}/pods",
        segment(s(&o["metadata"], "namespace"))
    );
    let mut counts = [0; 4];
    for pod in kube
        .items(&path, &[("labelSelector", &chosen), ("limit", "500")])
        .await
    {
        if controller_uid(&pod) != o["metadata"]["uid"] {
            continue;
        }
        match s(&pod["status"], "phase") {
            "Running" => counts[0] += 1,
            "Pending" => counts[1] += 1,
            "Succeeded" => counts[2] += 1,
            "Failed" => counts[3] += 1,
            _ => {}
        }
    }
    format!(
        "{} Running / {} Waiting / {} Succeeded / {} Failed",
        counts[0], counts[1], counts[2], counts[3]
    )
}

fn controller_uid(object: &Value) -> Value {
    list(&object["metadata"], "ownerReferences")
        .iter()
        .find(|o| o["controller"] == true)
        .map_or(Value::Null, |o| o["uid"].clone())
}

fn name(out: &mut Out, o: &Value) {
    out.field("Name", s(&o["metadata"], "name"));
    out.field("Namespace", s(&o["metadata"], "namespace"));
}

fn marks(out: &mut Out, o: &Value) {
    labels(out, "Labels", &o["metadata"]["labels"]);
    annotations(out, "Annotations", &o["metadata"]["annotations"]);
}

/// Replica sets and replication controllers.
pub async fn replicas(kube: Kube, o: Value) -> Result<Out> {
    let mut out = Out::default();
    let is_rc = o["kind"] == "ReplicationController";
    name(&mut out, &o);
    out.field(
        "Selector",
        if is_rc {
            format_labels(&o["spec"]["selector"])
        } else {
            format_selector(&o["spec"]["selector"])
        },
    );
    marks(&mut out, &o);
    if let Some(owner) = controller(&o).filter(|_| !is_rc) {
        out.field("Controlled By", owner);
    }
    out.field(
        "Replicas",
        format!(
            "{} current / {} desired",
            n(&o["status"], "replicas"),
            n(&o["spec"], "replicas")
        ),
    );
    out.field("Pods Status", pods(&kube, &o).await);
    template(&mut out, &o["spec"]["template"]);
    conditions(&mut out, &o);
    kube.events(&mut out, &o).await;
    Ok(out)
}

pub async fn deployment(kube: Kube, o: Value) -> Result<Out> {
    let mut out = Out::default();
    let (spec, status) = (&o["spec"], &o["status"]);
    name(&mut out, &o);
    out.field(
        "CreationTimestamp",
        date(&o["metadata"]["creationTimestamp"]),
    );
    marks(&mut out, &o);
    out.field("Selector", selector(&spec["selector"]));
    out.field(
        "Replicas",
        format!(
            "{} desired | {} updated | {} total | {} available | {} unavailable",
            n(spec, "replicas"),
            n(status, "updatedReplicas"),
            n(status, "replicas"),
            n(status, "availableReplicas"),
            n(status, "unavailableReplicas")
        ),
    );
    out.field("StrategyType", s(&spec["strategy"], "type"));
    out.field("MinReadySeconds", n(spec, "minReadySeconds"));
    let ru = &spec["strategy"]["rollingUpdate"];
    if !ru.is_null() {
        out.field(
            "RollingUpdateStrategy",
            format!(
                "{} max unavailable, {} max surge",
                scalar(&ru["maxUnavailable"]),
                scalar(&ru["maxSurge"])
            ),
        );
    }
    template(&mut out, &spec["template"]);
    conditions(&mut out, &o);
    replica_sets(&kube, &mut out, &o).await;
    kube.events(&mut out, &o).await;
    Ok(out)
}

async fn replica_sets(kube: &Kube, out: &mut Out, o: &Value) {
    let path = format!(
        "/apis/apps/v1/namespaces/{}/replicasets",
        segment(s(&o["metadata"], "namespace"))
    );
    let mut sets = kube
        .items(
            &path,
            &[("labelSelector", &selector(&o["spec"]["selector"]))],
        )
        .await;
    sets.retain(|r| controller_uid(r) == o["metadata"]["uid"]);
    if sets.is_empty() {
        return;
    }
    let bare = |t: &Value| {
        let mut t = t.clone();
        t["metadata"]["labels"]
            .as_object_mut()
            .map(|m| m.remove("pod-template-hash"));
        t
    };
    let wanted = bare(&o["spec"]["template"]);
    sets.sort_by_key(|r| s(&r["metadata"], "creationTimestamp").to_string());
    let new = sets
        .iter()
        .position(|r| bare(&r["spec"]["template"]) == wanted);
    let show = |list: Vec<&Value>| {
        let shown: Vec<String> = list
            .iter()
            .map(|r| {
                format!(
                    "{} ({}/{} replicas created)",
                    s(&r["metadata"], "name"),
                    n(&r["status"], "replicas"),
                    n(&r["spec"], "replicas")
                )
            })
            .collect();
        if shown.is_empty() {
            "<none>".into()
        } else {
            shown.join(", ")
        }
    };
    out.field(
        "OldReplicaSets",
        show(
            sets.iter()
                .enumerate()
                .filter(|(i, _)| Some(*i) != new)
                .map(|(_, r)| r)
                .collect(),
        ),
    );
    out.field(
        "NewReplicaSet",
        show(new.map(|i| &sets[i]).into_iter().collect()),
    );
}

pub async fn stateful_set(kube: Kube, o: Value) -> Result<Out> {
    let mut out = Out::default();
    let spec = &o["spec"];
    name(&mut out, &o);
    out.field(
        "CreationTimestamp",
        date(&o["metadata"]["creationTimestamp"]),
    );
    out.field("Selector", selector(&spec["selector"]));
    marks(&mut out, &o);
    out.field(
        "Replicas",
        format!(
            "{} desired | {} total",
            n(spec, "replicas"),
            n(&o["status"], "replicas")
        ),
    );
    out.field("Update Strategy", s(&spec["updateStrategy"], "type"));
    if let Some(p) = spec["updateStrategy"]["rollingUpdate"]["partition"].as_i64() {
        out.put(1, format!("Partition:\t{p}\n"));
        if !spec["updateStrategy"]["rollingUpdate"]["maxUnavailable"].is_null() {
            out.put(
                1,
                format!(
                    "MaxUnavailable:\t{}\n",
                    scalar(&spec["updateStrategy"]["rollingUpdate"]["maxUnavailable"])
                ),
            );
        }
    }
    out.field("Pods Status", pods(&kube, &o).await);
    template(&mut out, &spec["template"]);
    claims(&mut out, list(spec, "volumeClaimTemplates"));
    kube.events(&mut out, &o).await;
    Ok(out)
}

fn claims(out: &mut Out, all: &[Value]) {
    if all.is_empty() {
        out.put(0, "Volume Claims:\t<none>\n");
        return;
    }
    out.put(0, "Volume Claims:\n");
    for c in all {
        out.put(1, format!("Name:\t{}\n", s(&c["metadata"], "name")));
        out.put(
            1,
            format!("StorageClass:\t{}\n", s(&c["spec"], "storageClassName")),
        );
        labels(out, "  Labels", &c["metadata"]["labels"]);
        annotations(out, "  Annotations", &c["metadata"]["annotations"]);
        let size = &c["spec"]["resources"]["requests"]["storage"];
        out.put(
            1,
            format!(
                "Capacity:\t{}\n",
                if size.is_null() {
                    "<default>".into()
                } else {
                    super::quantity::canonical(&scalar(size))
                }
            ),
        );
        out.put(
            1,
            format!(
                "Access Modes:\t[{}]\n",
                texts(&c["spec"], "accessModes").join(" ")
            ),
        );
    }
}

pub async fn daemon_set(kube: Kube, o: Value) -> Result<Out> {
    let mut out = Out::default();
    let status = &o["status"];
    name(&mut out, &o);
    out.field("Selector", selector(&o["spec"]["selector"]));
    out.field(
        "Node-Selector",
        format_labels(&o["spec"]["template"]["spec"]["nodeSelector"]),
    );
    marks(&mut out, &o);
    for (label, field) in [
        (
            "Desired Number of Nodes Scheduled",
            "desiredNumberScheduled",
        ),
        (
            "Current Number of Nodes Scheduled",
            "currentNumberScheduled",
        ),
        (
            "Number of Nodes Scheduled with Up-to-date Pods",
            "updatedNumberScheduled",
        ),
        (
            "Number of Nodes Scheduled with Available Pods",
            "numberAvailable",
        ),
        ("Number of Nodes Misscheduled", "numberMisscheduled"),
    ] {
        out.put(0, format!("{label}: {}\n", n(status, field)));
    }
    out.field("Pods Status", pods(&kube, &o).await);
    template(&mut out, &o["spec"]["template"]);
    kube.events(&mut out, &o).await;
    Ok(out)
}

pub async fn job(kube: Kube, o: Value) -> Result<Out> {
    let mut out = Out::default();
    let (spec, status) = (&o["spec"], &o["status"]);
    name(&mut out, &o);
    if !spec["selector"].is_null() {
        out.field("Selector", selector(&spec["selector"]));
    }
    marks(&mut out, &o);
    if let Some(owner) = controller(&o) {
        out.field("Controlled By", owner);
    }
    for (label, field) in [
        ("Parallelism", "parallelism"),
        ("Completions", "completions"),
    ] {
        out.field(
            label,
            spec[field]
                .as_i64()
                .map_or_else(|| "<unset>".to_string(), |v| v.to_string()),
        );
    }
    for (label, field) in [("Completion Mode", "completionMode")] {
        if !s(spec, field).is_empty() {
            out.field(label, s(spec, field));
        }
    }
    if !spec["suspend"].is_null() {
        out.field("Suspend", spec["suspend"] == true);
    }
    for (label, field) in [
        ("Backoff Limit", "backoffLimit"),
        ("TTL Seconds After Finished", "ttlSecondsAfterFinished"),
    ] {
        if let Some(v) = spec[field].as_i64() {
            out.field(label, v);
        }
    }
    for (label, field) in [
        ("Start Time", "startTime"),
        ("Completed At", "completionTime"),
    ] {
        if !status[field].is_null() {
            out.field(label, date(&status[field]));
        }
    }
    if let (Some(a), Some(b)) = (
        age::time(&status["startTime"]),
        age::time(&status["completionTime"]),
    ) {
        out.field("Duration", age::human(b.as_second() - a.as_second()));
    }
    if let Some(d) = spec["activeDeadlineSeconds"].as_i64() {
        out.field("Active Deadline Seconds", format!("{d}s"));
    }
    let ready = status["ready"]
        .as_i64()
        .map_or_else(String::new, |r| format!(" ({r} Ready)"));
    out.field(
        "Pods Statuses",
        format!(
            "{} Active{ready} / {} Succeeded / {} Failed",
            n(status, "active"),
            n(status, "succeeded"),
            n(status, "failed")
        ),
    );
    if s(spec, "completionMode") == "Indexed" {
        let done = s(status, "completedIndexes");
        out.field(
            "Completed Indexes",
            if done.is_empty() { "<none>" } else { done },
        );
    }
    template(&mut out, &spec["template"]);
    kube.events(&mut out, &o).await;
    Ok(out)
}

pub async fn cron_job(kube: Kube, o: Value) -> Result<Out> {
    let mut out = Out::default();
    let spec = &o["spec"];
    let unset = |v: &Value| {
        if v.is_null() {
            "<unset>".to_string()
        } else {
            scalar(v)
        }
    };
    head(&mut out, &o);
    out.field("Schedule", s(spec, "schedule"));
    out.field("Concurrency Policy", s(spec, "concurrencyPolicy"));
    out.field("Suspend", yes_or_unset(&spec["suspend"]));
    out.field("Time Zone", unset(&spec["timeZone"]));
    out.field(
        "Successful Job History Limit",
        unset(&spec["successfulJobsHistoryLimit"]),
    );
    out.field(
        "Failed Job History Limit",
        unset(&spec["failedJobsHistoryLimit"]),
    );
    out.field(
        "Starting Deadline Seconds",
        spec["startingDeadlineSeconds"]
            .as_i64()
            .map_or_else(|| "<unset>".into(), |v| format!("{v}s")),
    );
    let job = &spec["jobTemplate"]["spec"];
    out.field(
        "Selector",
        if job["selector"].is_null() {
            "<unset>".into()
        } else {
            selector(&job["selector"])
        },
    );
    out.field("Parallelism", unset(&job["parallelism"]));
    out.field("Completions", unset(&job["completions"]));
    if let Some(d) = job["activeDeadlineSeconds"].as_i64() {
        out.field("Active Deadline Seconds", format!("{d}s"));
    }
    template(&mut out, &job["template"]);
    let last = &o["status"]["lastScheduleTime"];
    out.field(
        "Last Schedule Time",
        if last.is_null() {
            "<unset>".into()
        } else {
            date(last)
        },
    );
    let active: Vec<String> = list(&o["status"], "active")
        .iter()
        .map(|a| s(a, "name").to_string())
        .collect();
    out.field(
        "Active Jobs",
        if active.is_empty() {
            "<none>".into()
        } else {
            active.join(", ")
        },
    );
    kube.events(&mut out, &o).await;
    Ok(out)
}
