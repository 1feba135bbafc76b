//! What `describe` shows of an object: one file a family of kinds, and a general way for all others.
//! Invariant: a part that cannot be read is told in its place; the rest is still shown.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/describe/describe.go`.

mod config;
mod generic;
mod namespace;
mod network;
mod node;
mod pod;
pub mod pod_template;
mod policy;
pub mod quantity;
mod rbac;
pub mod rules;
mod scaling;
mod service;
mod storage;
pub mod text;
mod volumes;
mod workload;

use crate::client::{Call, query, segment};
use crate::context::Ctx;
use crate::error::Result;
use crate::print::age;
use crate::print::tabwriter::TabWriter;
use crate::resource::Info;
use serde_json::Value;
use std::future::Future;
use std::pin::Pin;

/// Collects lines; columns that tabs separate are laid out when a part is done.
#[derive(Default)]
pub struct Out {
    done: String,
    pending: String,
}

impl Out {
    /// Adds text, indented by two spaces a level. The text brings its own newline.
    pub fn put(&mut self, level: usize, text: impl AsRef<str>) {
        self.pending.extend(std::iter::repeat_n(' ', level * 2));
        self.pending.push_str(text.as_ref());
    }
    /// Adds a line of a label and its value.
    pub fn field(&mut self, label: &str, value: impl std::fmt::Display) {
        self.put(0, format!("{label}:\t{value}\n"));
    }
    /// Lays out what has been added; what follows has columns of its own.
    pub fn flush(&mut self) {
        let mut w = TabWriter::new(0, 2);
        w.push(&std::mem::take(&mut self.pending));
        self.done.push_str(&w.flush());
    }
    /// All of it with its tabs, where kubectl lays out nothing.
    pub fn raw(self) -> String {
        self.done + &self.pending
    }
    /// All of it.
    pub fn finish(mut self) -> String {
        self.flush();
        self.done
    }
}

/// What describers have at hand.
#[derive(Clone)]
pub struct Kube {
    pub ctx: Ctx,
    pub show_events: bool,
}

impl Kube {
    /// Reads a path of the server.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.ctx.client()?.json(&Call::get(path)).await
    }

    /// The items of a collection; empty if it cannot be read.
    pub async fn items(&self, path: &str, pairs: &[(&str, &str)]) -> Vec<Value> {
        let answer = self.get(&format!("{path}{}", query(pairs))).await;
        answer
            .ok()
            .and_then(|a| a["items"].as_array().cloned())
            .unwrap_or_default()
    }

    /// The part with what happened to an object; nothing if events are not wanted.
    pub async fn events(&self, out: &mut Out, object: &Value) {
        if !self.show_events {
            return;
        }
        let meta = &object["metadata"];
        let text = |v: &Value| v.as_str().unwrap_or("").to_string();
        let namespace = text(&meta["namespace"]);
        let place = if namespace.is_empty() {
            String::new()
        } else {
            format!("/namespaces/{}", segment(&namespace))
        };
        let mut parts = vec![
            format!("involvedObject.name={}", text(&meta["name"])),
            format!("involvedObject.namespace={namespace}"),
        ];
        if object["kind"].is_string() {
            parts.push(format!("involvedObject.kind={}", text(&object["kind"])));
        }
        let mut list = Vec::new();
        for uid in uids(object) {
            let fields = format!("{},involvedObject.uid={uid}", parts.join(","));
            list.extend(
                self.items(
                    &format!("/api/v1{place}/events"),
                    &[("fieldSelector", &fields), ("limit", "500")],
                )
                .await,
            );
        }
        events(out, list);
    }
}

/// The uids under which events are told of an object: its own; of a node also its name, which is what node agents know.
fn uids(object: &Value) -> Vec<&str> {
    let meta = &object["metadata"];
    let name = meta["name"].as_str().filter(|_| object["kind"] == "Node");
    meta["uid"].as_str().into_iter().chain(name).collect()
}

/// Shows events as a table.
pub fn events(out: &mut Out, mut list: Vec<Value>) {
    if list.is_empty() {
        out.put(0, "Events:\t<none>\n");
        return;
    }
    out.flush();
    list.sort_by_key(crate::cmd::events::last_seen);
    out.put(0, "Events:\n  Type\tReason\tAge\tFrom\tMessage\n");
    out.put(1, "----\t------\t----\t----\t-------\n");
    for e in &list {
        let text = |v: &Value| v.as_str().unwrap_or("").to_string();
        let source = [&e["source"]["component"], &e["reportingComponent"]]
            .into_iter()
            .map(text)
            .find(|t| !t.is_empty())
            .unwrap_or_default();
        let mut message = text(&e["message"]).trim().to_string();
        let path = text(&e["involvedObject"]["fieldPath"]);
        if !path.is_empty() {
            message = format!("{path}: {message}");
        }
        out.put(
            1,
            format!(
                "{}\t{}\t{}\t{source}\t{message}\n",
                text(&e["type"]),
                text(&e["reason"]),
                crate::cmd::events::interval(e)
            ),
        );
    }
}

/// The text of an object.
pub type Describing = Pin<Box<dyn Future<Output = Result<Out>>>>;

/// Who describes which kind: group, kind, function. One line a kind.
const DESCRIBERS: &[(&str, &str, fn(Kube, Value) -> Describing)] = &[
    ("", "Pod", |k, o| Box::pin(pod::describe(k, o))),
    ("", "ReplicationController", |k, o| {
        Box::pin(workload::replicas(k, o))
    }),
    ("apps", "ReplicaSet", |k, o| {
        Box::pin(workload::replicas(k, o))
    }),
    ("apps", "Deployment", |k, o| {
        Box::pin(workload::deployment(k, o))
    }),
    ("apps", "StatefulSet", |k, o| {
        Box::pin(workload::stateful_set(k, o))
    }),
    ("apps", "DaemonSet", |k, o| {
        Box::pin(workload::daemon_set(k, o))
    }),
    ("batch", "Job", |k, o| Box::pin(workload::job(k, o))),
    ("batch", "CronJob", |k, o| {
        Box::pin(workload::cron_job(k, o))
    }),
    ("", "Service", |k, o| Box::pin(service::describe(k, o))),
    ("", "Endpoints", |k, o| Box::pin(network::endpoints(k, o))),
    ("discovery.k8s.io", "EndpointSlice", |k, o| {
        Box::pin(network::endpoint_slice(k, o))
    }),
    ("networking.k8s.io", "Ingress", |k, o| {
        Box::pin(network::ingress(k, o))
    }),
    ("networking.k8s.io", "IngressClass", |k, o| {
        Box::pin(network::ingress_class(k, o))
    }),
    ("networking.k8s.io", "NetworkPolicy", |k, o| {
        Box::pin(policy::network_policy(k, o))
    }),
    ("policy", "PodDisruptionBudget", |k, o| {
        Box::pin(policy::disruption_budget(k, o))
    }),
    ("scheduling.k8s.io", "PriorityClass", |k, o| {
        Box::pin(policy::priority_class(k, o))
    }),
    ("autoscaling", "HorizontalPodAutoscaler", |k, o| {
        Box::pin(scaling::describe(k, o))
    }),
    ("", "ConfigMap", |k, o| Box::pin(config::config_map(k, o))),
    ("", "Secret", |k, o| Box::pin(config::secret(k, o))),
    ("", "ServiceAccount", |k, o| {
        Box::pin(config::service_account(k, o))
    }),
    ("", "PersistentVolume", |k, o| {
        Box::pin(storage::volume(k, o))
    }),
    ("", "PersistentVolumeClaim", |k, o| {
        Box::pin(storage::claim(k, o))
    }),
    ("storage.k8s.io", "StorageClass", |k, o| {
        Box::pin(storage::class(k, o))
    }),
    ("", "Node", |k, o| Box::pin(node::describe(k, o))),
    ("", "Namespace", |k, o| Box::pin(namespace::describe(k, o))),
    ("", "ResourceQuota", |k, o| Box::pin(namespace::quota(k, o))),
    ("", "LimitRange", |k, o| {
        Box::pin(namespace::limit_range(k, o))
    }),
    ("rbac.authorization.k8s.io", "Role", |k, o| {
        Box::pin(rbac::role(k, o))
    }),
    ("rbac.authorization.k8s.io", "ClusterRole", |k, o| {
        Box::pin(rbac::role(k, o))
    }),
    ("rbac.authorization.k8s.io", "RoleBinding", |k, o| {
        Box::pin(rbac::binding(k, o))
    }),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding", |k, o| {
        Box::pin(rbac::binding(k, o))
    }),
];

/// Describes an object that was read.
///
/// # Errors
/// What else must be read and cannot.
pub async fn describe(kube: Kube, info: &Info) -> Result<String> {
    let found = DESCRIBERS
        .iter()
        .find(|(g, k, _)| *g == info.resource.group && *k == info.resource.kind);
    let out = match found {
        Some((_, _, describer)) => describer(kube, info.object.clone()).await?,
        None => generic::describe(kube, info.object.clone()).await?,
    };
    Ok(out.finish())
}

/// A time as describers show it.
pub fn date(value: &Value) -> String {
    age::date(value)
}
