//! What `describe` shows of an object: tables of lines, one file a family of kinds (`form` reads them), and a general way for all others.
//! Invariant: a part that cannot be read is told in its place; the rest is still shown.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/describe/describe.go`.

mod certificates;
mod config;
pub mod form;
mod generic;
mod namespace;
mod network;
mod node;
mod pod;
pub mod pod_template;
mod policy;
pub mod quantity;
pub mod rules;
mod scaling;
mod storage;
pub mod text;
mod volumes;
mod workload;

use crate::client::{Call, Pages, query, segment};
use crate::context::Ctx;
use crate::error::Result;
use crate::print::age;
use crate::print::tabwriter::TabWriter;
use crate::resource::Info;
use crate::typed::Read;
use form::Line;
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

    /// The same of a collection that may be large, read in pages.
    pub async fn paged(&self, path: &str, pairs: &[(&str, &str)]) -> Vec<Value> {
        let size = self.ctx.shared().chunks.chunk_size;
        let (mut items, mut pages) = (Vec::new(), Pages::new(path, pairs, size));
        let Ok(client) = self.ctx.client() else {
            return items;
        };
        while let Ok(Some(mut page)) = client.page(&mut pages).await {
            if let Value::Array(some) = page["items"].take() {
                items.extend(some);
            }
        }
        items
    }

    /// The items of a collection; empty if it cannot be read, as upstream has it.
    pub async fn items(&self, path: &str, pairs: &[(&str, &str)]) -> Vec<Value> {
        let answer = self.get(&format!("{path}{}", query(pairs))).await;
        answer.map_or_else(|_| Vec::new(), |answer| answer.list("items").to_vec())
    }

    /// The items of a collection of the object's namespace; empty if it cannot be read.
    async fn beside(
        &self,
        object: &Value,
        prefix: &str,
        plural: &str,
        pairs: &[(&str, &str)],
    ) -> Vec<Value> {
        self.items(&beside(object, prefix, plural), pairs).await
    }

    /// The part with what happened to an object; nothing if events are not wanted.
    pub async fn events(&self, out: &mut Out, object: &Value) {
        if !self.show_events {
            return;
        }
        let meta = object.at("metadata");
        let namespace = meta.text("namespace");
        let place = if namespace.is_empty() {
            String::new()
        } else {
            format!("/namespaces/{}", segment(namespace))
        };
        let mut parts = vec![
            format!("involvedObject.name={}", meta.text("name")),
            format!("involvedObject.namespace={namespace}"),
        ];
        if let Some(kind) = object.text_ptr("kind") {
            parts.push(format!("involvedObject.kind={kind}"));
        }
        let mut list = Vec::new();
        for uid in uids(object) {
            let fields = format!("{},involvedObject.uid={uid}", parts.join(","));
            let path = format!("/api/v1{place}/events");
            list.extend(self.paged(&path, &[("fieldSelector", &fields)]).await);
        }
        events(out, list);
    }
}

/// A collection of the object's namespace.
fn beside(object: &Value, prefix: &str, plural: &str) -> String {
    let namespace = segment(object.at("metadata").text("namespace"));
    format!("{prefix}/namespaces/{namespace}/{plural}")
}

/// The uids under which events are told of an object: its own; of a node also its name, which is what node agents know.
fn uids(object: &Value) -> Vec<&str> {
    let meta = object.at("metadata");
    let name = meta
        .text_ptr("name")
        .filter(|_| object.text("kind") == "Node");
    meta.text_ptr("uid").into_iter().chain(name).collect()
}

/// Shows events as a table.
pub fn events(out: &mut Out, mut list: Vec<Value>) {
    if list.is_empty() {
        out.put(0, "Events:\t<none>\n");
        return;
    }
    out.flush();
    // by this alone: those that only tell when they were come first
    let last_seen =
        |e: &Value| age::time(e.at("lastTimestamp")).map_or(i128::MIN, |t| t.as_nanosecond());
    crate::print::sort::sort_by_key(&mut list, last_seen);
    out.put(0, "Events:\n  Type\tReason\tAge\tFrom\tMessage\n");
    out.put(1, "----\t------\t----\t----\t-------\n");
    for e in &list {
        let source = match e.at("source").text("component") {
            "" => e.text("reportingComponent"),
            component => component,
        };
        let about = match e.at("involvedObject").text("fieldPath") {
            "" => String::new(),
            path => format!("{path}: "),
        };
        let (kind, reason, message) = (e.text("type"), e.text("reason"), e.text("message").trim());
        let age = crate::cmd::events::interval(e);
        let line = format!("{kind}\t{reason}\t{age}\t{source}\t{about}{message}\n");
        out.put(1, line);
    }
}

/// What is described with one object, asked of the server before: it stands at `related` of the object.
type Related = fn(Kube, Value) -> Pin<Box<dyn Future<Output = Result<Value>>>>;

/// How a kind is described.
pub struct Describer {
    group: &'static str,
    kind: &'static str,
    lines: &'static [Line],
    related: Option<Related>,
    events: bool,
    /// The version in which it is described, where it was read in another.
    version: &'static str,
}

impl Describer {
    /// By these lines, and its events.
    const fn new(group: &'static str, kind: &'static str, lines: &'static [Line]) -> Describer {
        Describer {
            group,
            kind,
            lines,
            related: None,
            events: true,
            version: "",
        }
    }
    /// With what else is asked of the server.
    const fn with(mut self, related: Related) -> Describer {
        self.related = Some(related);
        self
    }
    /// In this version, whichever it was asked for in.
    const fn in_version(mut self, version: &'static str) -> Describer {
        self.version = version;
        self
    }
    const fn without_events(mut self) -> Describer {
        self.events = false;
        self
    }
}

/// Who describes which kinds.
const DESCRIBERS: &[&[Describer]] = &[
    pod::KINDS,
    workload::KINDS,
    network::KINDS,
    policy::KINDS,
    scaling::KINDS,
    config::KINDS,
    storage::KINDS,
    node::KINDS,
    namespace::KINDS,
    certificates::KINDS,
];

/// Describes an object that was read.
///
/// # Errors
/// What else must be read and cannot.
pub async fn describe(kube: Kube, info: &Info) -> Result<String> {
    let found = DESCRIBERS
        .iter()
        .flat_map(|kinds| kinds.iter())
        .find(|d| d.group == info.resource.group && d.kind == info.resource.kind);
    let mut object = info.object.clone();
    let mut out = Out::default();
    match found {
        Some(describer) => {
            if !describer.version.is_empty() && describer.version != info.resource.version {
                let mut resource = info.resource.clone();
                resource.version = describer.version.into();
                object = kube
                    .get(&resource.object(&info.namespace, &info.name))
                    .await?;
            }
            if let Some(related) = describer.related {
                object["related"] = related(kube.clone(), object.clone()).await?;
            }
            form::put(&mut out, &object, describer.lines);
        }
        None => generic::describe(&mut out, &object),
    }
    if found.is_none_or(|describer| describer.events) {
        kube.events(&mut out, &object).await;
    }
    Ok(out.finish())
}

/// A time as describers show it.
pub fn date(value: &Value) -> String {
    age::date(value)
}
