//! Kinds that make pods.
//! Invariant: pods are counted by the kind's own selector.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/describe/describe.go`.

use super::form::Line::{self, Conditions, Do, Each, Field, Form, If, In, Labels, Text, Unless};
use super::form::{ANNOTATIONS, CONTROLLED, CREATED, HEAD, LABELS, NAME, NAMESPACE, shown};
use super::pod_template::template;
use super::text::{controller, labels_selector, selector};
use super::{Describer, Kube, beside};
use crate::error::Result;
use crate::print::age;
use crate::typed::Read;
use serde_json::{Value, json};

pub const KINDS: &[Describer] = &[
    Describer::new("", "ReplicationController", REPLICATION_CONTROLLER)
        .with(|kube, object| Box::pin(pods(kube, object))),
    Describer::new("apps", "ReplicaSet", REPLICA_SET)
        .with(|kube, object| Box::pin(pods(kube, object))),
    Describer::new("apps", "Deployment", DEPLOYMENT)
        .with(|kube, object| Box::pin(replica_sets(kube, object))),
    Describer::new("apps", "StatefulSet", STATEFUL_SET)
        .with(|kube, object| Box::pin(pods(kube, object))),
    Describer::new("apps", "DaemonSet", DAEMON_SET)
        .with(|kube, object| Box::pin(pods(kube, object))),
    Describer::new("batch", "Job", JOB),
    Describer::new("batch", "CronJob", CRON_JOB),
];

const TEMPLATE: Line = Do(|out, object| template(out, object.at("spec").at("template")));
const PODS: Line = Field("Pods Status", "related");
const SELECTOR: Line = Field("Selector", "spec.selector|selector");
const REPLICAS: Line = Text("Replicas:\t{status.replicas?0} current / {spec.replicas?0} desired");
const REASONS: Line = Conditions("  Type\tStatus\tReason", "  {type} \t{status}\t{reason}");

const REPLICATION_CONTROLLER: &[Line] = &[
    NAME,
    NAMESPACE,
    Field("Selector", "spec.selector|labels?<none>"),
    LABELS,
    ANNOTATIONS,
    REPLICAS,
    PODS,
    TEMPLATE,
    REASONS,
];

const REPLICA_SET: &[Line] = &[
    NAME,
    NAMESPACE,
    Field("Selector", "spec.selector|selector?<none>"),
    LABELS,
    ANNOTATIONS,
    CONTROLLED,
    REPLICAS,
    PODS,
    TEMPLATE,
    REASONS,
];

const DEPLOYMENT: &[Line] = &[
    NAME,
    NAMESPACE,
    CREATED,
    LABELS,
    ANNOTATIONS,
    Form(0, "
        Selector: {spec.selector|selector}
        Replicas: {spec.replicas?0} desired | {status.updatedReplicas?0} updated | {status.replicas?0} total | {status.availableReplicas?0} available | {status.unavailableReplicas?0} unavailable
        StrategyType: {spec.strategy.type}
        MinReadySeconds: {spec.minReadySeconds?0}"),
    In("spec.strategy.rollingUpdate", &[Form(0, "RollingUpdateStrategy: {maxUnavailable} max unavailable, {maxSurge} max surge")]),
    TEMPLATE,
    REASONS,
    Form(0, "
        ?OldReplicaSets: {related.old}
        ?NewReplicaSet: {related.new}"),
];

const STATEFUL_SET: &[Line] = &[
    NAME,
    NAMESPACE,
    CREATED,
    SELECTOR,
    LABELS,
    ANNOTATIONS,
    Form(
        0,
        "
        Replicas: {spec.replicas?0} desired | {status.replicas?0} total
        Update Strategy: {spec.updateStrategy.type}",
    ),
    In(
        "spec.updateStrategy.rollingUpdate",
        &[If(
            "partition",
            &[Form(
                1,
                "
        Partition: {partition}
        ?MaxUnavailable: {maxUnavailable}",
            )],
        )],
    ),
    PODS,
    TEMPLATE,
    Unless(
        "spec.volumeClaimTemplates",
        &[Form(0, "Volume Claims: <none>")],
    ),
    If("spec.volumeClaimTemplates", &[Form(0, "Volume Claims:")]),
    Each("spec.volumeClaimTemplates", CLAIM),
];

const CLAIM: &[Line] = &[
    Form(
        1,
        "
        Name: {metadata.name}
        StorageClass: {spec.storageClassName}",
    ),
    Labels("  Labels", "metadata.labels"),
    Labels("  Annotations", "metadata.annotations"),
    Form(
        1,
        "
        Capacity: {spec.resources.requests.storage|quantity?<default>}
        Access Modes: [{spec.accessModes|spaced}]",
    ),
];

const DAEMON_SET: &[Line] = &[
    NAME,
    NAMESPACE,
    Form(
        0,
        "
        Selector: {spec.selector|selector}
        Node-Selector: {spec.template.spec.nodeSelector|labels?<none>}",
    ),
    LABELS,
    ANNOTATIONS,
    Text("Desired Number of Nodes Scheduled: {status.desiredNumberScheduled?0}"),
    Text("Current Number of Nodes Scheduled: {status.currentNumberScheduled?0}"),
    Text("Number of Nodes Scheduled with Up-to-date Pods: {status.updatedNumberScheduled?0}"),
    Text("Number of Nodes Scheduled with Available Pods: {status.numberAvailable?0}"),
    Text("Number of Nodes Misscheduled: {status.numberMisscheduled?0}"),
    PODS,
    TEMPLATE,
];

const JOB: &[Line] = &[
    NAME,
    NAMESPACE,
    SELECTOR,
    LABELS,
    ANNOTATIONS,
    CONTROLLED,
    Form(
        0,
        "
        ?Parallelism: {spec.parallelism}
        Completions: {spec.completions?<unset>}
        ?Completion Mode: {spec.completionMode}
        ?Suspend: {spec.suspend}
        ?Backoff Limit: {spec.backoffLimit}
        ?TTL Seconds After Finished: {spec.ttlSecondsAfterFinished}
        ?Start Time: {status.startTime|date}
        ?Completed At: {status.completionTime|date}",
    ),
    Do(|out, job| {
        let time = |field| age::time(job.at("status").at(field));
        if let (Some(from), Some(to)) = (time("startTime"), time("completionTime")) {
            out.field("Duration", age::human(to.as_second() - from.as_second()));
        }
    }),
    DEADLINE,
    If(
        "status.ready",
        &[Form(
            0,
            "Pods Statuses: {status.active?0} Active ({status.ready} Ready) / {status.succeeded?0} Succeeded / {status.failed?0} Failed",
        )],
    ),
    Unless(
        "status.ready",
        &[Form(
            0,
            "Pods Statuses: {status.active?0} Active / {status.succeeded?0} Succeeded / {status.failed?0} Failed",
        )],
    ),
    Do(|out, job| {
        if job.at("spec").text("completionMode") == "Indexed" {
            out.field(
                "Completed Indexes",
                indexes(job.at("status").text("completedIndexes")),
            );
        }
    }),
    TEMPLATE,
];
const DEADLINE: Line = Form(0, "?Active Deadline Seconds: {spec.activeDeadlineSeconds}s");

const CRON_JOB: &[Line] = &[
    HEAD,
    Form(
        0,
        "
        Schedule: {spec.schedule}
        Concurrency Policy: {spec.concurrencyPolicy}
        Suspend: {spec.suspend|Flag?<unset>}
        Time Zone: {spec.timeZone?<unset>}
        Successful Job History Limit: {spec.successfulJobsHistoryLimit?<unset>}
        Failed Job History Limit: {spec.failedJobsHistoryLimit?<unset>}
        ?Starting Deadline Seconds: {spec.startingDeadlineSeconds}s",
    ),
    Unless(
        "spec.startingDeadlineSeconds",
        &[Form(0, "Starting Deadline Seconds: <unset>")],
    ),
    In(
        "spec.jobTemplate",
        &[
            Form(
                0,
                "
            Selector: {spec.selector|selector?<unset>}
            Parallelism: {spec.parallelism?<unset>}
            Completions: {spec.completions?<unset>}",
            ),
            DEADLINE,
            TEMPLATE,
        ],
    ),
    Form(
        0,
        "Last Schedule Time: {status.lastScheduleTime|date?<unset>}",
    ),
    Do(|out, job| {
        let active = job.at("status").list("active").iter();
        let names: Vec<&str> = active.map(|job| job.text("name")).collect();
        let none = ["<none>"];
        let names = if names.is_empty() { &none[..] } else { &names };
        out.field("Active Jobs", names.join(", "));
    }),
];

/// Indexes up to the first comma after 50 characters.
fn indexes(all: &str) -> String {
    const ENOUGH: usize = 50;
    let cut = all.get(ENOUGH..).and_then(|rest| rest.find(','));
    match cut {
        _ if all.is_empty() => "<none>".into(),
        Some(at) => format!("{}...", &all[..=ENOUGH + at]),
        None => all.into(),
    }
}

fn controlled_by(object: &Value, owner: &Value) -> bool {
    controller(object).map(|owner| owner.at("uid")) == owner.at("metadata").some("uid")
}

/// How many pods of an object are in which phase.
async fn pods(kube: Kube, object: Value) -> Result<Value> {
    let raw = object.at("spec").at("selector");
    let chosen = if object.text("kind") == "ReplicationController" {
        labels_selector(raw)
    } else {
        selector(raw)
    };
    let chosen = [("labelSelector", chosen.as_str()), ("limit", "500")];
    let mut found = kube.beside(&object, "/api/v1", "pods", &chosen).await;
    found.retain(|pod| controlled_by(pod, &object));
    let phases = [
        ("Running", "Running"),
        ("Pending", "Waiting"),
        ("Succeeded", "Succeeded"),
        ("Failed", "Failed"),
    ];
    let counts = phases.map(|(phase, word)| {
        let in_phase = |pod: &&Value| pod.at("status").text("phase") == phase;
        format!("{} {word}", found.iter().filter(in_phase).count())
    });
    Ok(json!(counts.join(" / ")))
}

/// The replica sets of a deployment: the one of its template, and those before it. Nothing when it has none.
async fn replica_sets(kube: Kube, deployment: Value) -> Result<Value> {
    let spec = deployment.at("spec");
    let chosen = [("labelSelector", selector(spec.at("selector")))];
    let chosen = chosen
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let mut sets = kube
        .paged(
            &beside(&deployment, "/apis/apps/v1", "replicasets"),
            &chosen,
        )
        .await;
    sets.retain(|set| controlled_by(set, &deployment));
    if sets.is_empty() {
        return Ok(Value::Null);
    }
    let bare = |template: &Value| {
        let mut template = template.clone();
        let labels = template.pointer_mut("/metadata/labels");
        if let Some(labels) = labels.and_then(Value::as_object_mut) {
            labels.remove("pod-template-hash");
        }
        template
    };
    let wanted = bare(spec.at("template"));
    sets.sort_by_key(|set| shown(set, "metadata.creationTimestamp"));
    let new = sets
        .iter()
        .position(|set| bare(set.at("spec").at("template")) == wanted);
    let new: Vec<Value> = new.map(|i| sets.remove(i)).into_iter().collect();
    let told = |sets: &[Value]| {
        let one = |set: &Value| {
            let (name, has) = (shown(set, "metadata.name"), shown(set, "status.replicas?0"));
            format!(
                "{name} ({has}/{} replicas created)",
                shown(set, "spec.replicas?0")
            )
        };
        let all: Vec<String> = sets.iter().map(one).collect();
        if all.is_empty() {
            "<none>".into()
        } else {
            all.join(", ")
        }
    };
    Ok(json!({"old": told(&sets), "new": told(&new)}))
}
