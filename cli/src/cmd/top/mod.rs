//! `top`: what nodes and pods use, as the metrics API tells. `table.rs` prints it.
//! Invariant: a server without that API is told, not shown as idle.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/top`.

mod table;

use crate::client::{Call, query, segment};
use crate::command::{Command, Run, verb};
use crate::complete::Words;
use crate::context::{Ctx, With};
use crate::error::{Error, Result, bail};
use crate::print;
use crate::print::age;
use crate::resource::{FIELD_SELECTOR, SELECTOR, helper};
use crate::typed::Read;
use serde_json::Value;
use skiff_api::machinery::{
    gonum,
    selector::{FieldSelector, Selector},
};
use std::collections::BTreeMap;
use table::{Amounts, Order, Table};

/// So long after a pod was made it may not be measured yet, in seconds.
const DELAY: i128 = 120;

const USAGE: &str = "[NAME | -l label]";

pub static COMMAND: Command = Command {
    name: "top",
    usage: "[flags]",
    short: "Display resource (CPU/memory) usage",
    long: "Show how much CPU and memory nodes and pods use. The metrics API must be served.",
    subcommands: &[&NODE, &POD],
    run: Run::Group,
    ..Command::NEW
};

static NODE: Command = Command {
    name: "node",
    aliases: &["nodes", "no"],
    usage: USAGE,
    short: "Display resource (CPU/memory) usage of nodes",
    examples: "
      # All nodes
      kubectl top node",
    flags: &[SELECTOR],
    run: verb!(nodes: NodeFlags),
    words: Some(Words::Names("node")),
    ..Command::NEW
};

static POD: Command = Command {
    name: "pod",
    aliases: &["pods", "po"],
    usage: USAGE,
    short: "Display resource (CPU/memory) usage of pods",
    examples: "
      # All pods of the namespace
      kubectl top pod
      # With their containers
      kubectl top pod POD_NAME --containers",
    flags: &[SELECTOR, FIELD_SELECTOR],
    run: verb!(pods: PodFlags),
    words: Some(Words::Names("pod")),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Common {
    /// Sort by cpu or memory
    #[arg(long)]
    sort_by: String,
    /// Print no headers
    #[arg(long)]
    no_headers: bool,
    /// Also swap
    #[arg(long)]
    show_swap: bool,
    /// Kept for scripts: answers are always read as JSON
    #[arg(long = "use-protocol-buffers", default_value = "true")]
    _use_protocol_buffers: bool,
}

#[derive(clap::Args)]
#[group(skip)]
struct PodFlags {
    #[command(flatten)]
    common: Common,
    /// Of all namespaces
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// Also each container
    #[arg(long)]
    containers: bool,
    /// Also the sum
    #[arg(long)]
    sum: bool,
}

#[derive(clap::Args)]
#[group(skip)]
struct NodeFlags {
    #[command(flatten)]
    common: Common,
    /// Shares of what the nodes have, not of what pods may have
    #[arg(long)]
    show_capacity: bool,
}

/// Asked anew each time: who serves the API may have come just now.
async fn available(ctx: &Ctx) -> Result<()> {
    let groups = ctx.client()?.json(&Call::get("/apis")).await?;
    let served = groups.list("groups").iter().any(|group| {
        let mut versions = group.list("versions").iter();
        group.text("name") == "metrics.k8s.io" && versions.any(|of| of.text("version") == "v1beta1")
    });
    if served {
        let named = ctx.args().iter().filter(|name| !name.is_empty());
        return named.map(String::as_str).try_for_each(helper::named);
    }
    Err(Error::msg("Metrics API not available"))
}

impl Common {
    fn order(&self) -> Result<Order> {
        match self.sort_by.as_str() {
            "" => Ok(Order::Name),
            "cpu" => Ok(Order::Cpu),
            "memory" => Ok(Order::Memory),
            _ => bail!("--sort-by accepts only cpu or memory"),
        }
    }
}

fn items(answer: Value) -> Vec<Value> {
    answer
        .at("items")
        .as_array()
        .cloned()
        .unwrap_or_else(|| vec![answer])
}

/// The one that is named, if one is.
fn name(ctx: &Ctx) -> Result<String> {
    match ctx.args() {
        [] => Ok(String::new()),
        [one] => Ok(format!("/{}", segment(one))),
        _ => {
            let command = ctx.path().rsplit(' ').next().unwrap_or_default();
            Err(ctx.usage(format!("{command} {USAGE}")))
        }
    }
}

fn selecting(pairs: &[(&str, &str)]) -> String {
    let given: Vec<(&str, &str)> = pairs
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .copied()
        .collect();
    if given.is_empty() {
        return String::new();
    }
    query(&given)
}

/// What a node has, or may give to pods; with its swap, of which few tell.
fn has(node: &Value, capacity: bool) -> (Amounts, bool) {
    let status = node.at("status");
    let of = status.at(if capacity { "capacity" } else { "allocatable" });
    let swap = status.at("nodeInfo").at("swap").at("capacity").as_i64();
    (Amounts::of(of).with_swap(swap), swap.is_some())
}

async fn nodes(ctx: With<NodeFlags>) -> Result<()> {
    let f = ctx.flags();
    let (name, order) = (name(&ctx)?, f.common.order()?);
    if !name.is_empty() && !ctx.selector().is_empty() {
        bail!("only one of NAME or --selector can be provided");
    }
    ctx.selector()
        .parse::<Selector>()
        .map_err(|error| Error::msg(error.to_string()))?;
    available(&ctx).await?;
    let q = selecting(&[("labelSelector", ctx.selector())]);
    let client = ctx.client()?;
    let measured = Call::get(format!("/apis/metrics.k8s.io/v1beta1/nodes{name}{q}"));
    let measured = items(client.json(&measured).await?);
    if measured.is_empty() {
        bail!("metrics not available yet");
    }
    let known = items(
        client
            .json(&Call::get(format!("/api/v1/nodes{name}{q}")))
            .await?,
    );
    let mut known: BTreeMap<String, (Amounts, bool)> = known
        .iter()
        .map(|node| {
            (
                node.at("metadata").text("name").into(),
                has(node, f.show_capacity),
            )
        })
        .collect();
    let mut table = Table::new(f.common.show_swap, f.common.no_headers);
    table.head_of_nodes();
    let rows = measured
        .iter()
        .map(|of| (of.at("metadata").text("name"), Amounts::of(of.at("usage"))));
    for (name, used) in order.sorted(rows.collect(), |name| *name) {
        table.node(name, &used, known.remove(name));
    }
    known.keys().for_each(|name| table.unknown_node(name));
    print::put(&table.text())
}

async fn pods(ctx: With<PodFlags>) -> Result<()> {
    let f = ctx.flags();
    ctx.namespace()?;
    let (name, order) = (name(&ctx)?, f.common.order()?);
    let (labels, fields) = (ctx.selector(), ctx.field_selector());
    let selects = !labels.is_empty() || !fields.is_empty();
    if selects && !name.is_empty() {
        bail!("only one of NAME or selector can be provided");
    }
    labels
        .parse::<Selector>()
        .map_err(|error| Error::msg(error.to_string()))?;
    fields
        .parse::<FieldSelector>()
        .map_err(|error| Error::msg(error.to_string()))?;
    available(&ctx).await?;
    let all = f.all_namespaces;
    let namespace = format!("/namespaces/{}", segment(&ctx.namespace()?.0));
    let place = if all { "" } else { &namespace };
    let q = selecting(&[("fieldSelector", fields), ("labelSelector", labels)]);
    let measured = Call::get(format!("/apis/metrics.k8s.io/v1beta1{place}/pods{name}{q}"));
    let measured = items(ctx.client()?.json(&measured).await?);
    if measured.is_empty() {
        // those of the one namespace are looked at in any case
        let pods = Call::get(format!("/api/v1{namespace}/pods{name}{q}"));
        why_none(&items(ctx.client()?.json(&pods).await?))?;
        return ctx.tell_none(all);
    }
    let mut table = Table::new(f.common.show_swap, f.common.no_headers);
    table.head_of_pods(all, f.containers);
    let mut sum = Amounts::default();
    let rows = measured.iter().map(|pod| {
        let used = Amounts::sum(
            pod.list("containers")
                .iter()
                .map(|of| Amounts::of(of.at("usage"))),
        );
        (pod, used)
    });
    let of = |pod: &&Value| {
        let metadata = pod.at("metadata");
        let namespace = if all { metadata.text("namespace") } else { "" };
        (namespace.to_owned(), metadata.text("name").to_owned())
    };
    for (pod, used) in order.sorted(rows.collect(), of) {
        let (namespace, name) = of(&pod);
        let namespace = all.then_some(namespace.as_str());
        sum.add(&used);
        if !f.containers {
            table.pod(namespace, &[&name], &used);
            continue;
        }
        let each = pod.list("containers").iter();
        let each = each.map(|of| (of.text("name"), Amounts::of(of.at("usage"))));
        for (container, used) in order.sorted(each.collect(), |name| *name) {
            table.pod(namespace, &[&name, container], &used);
        }
    }
    if f.sum {
        table.sum(&sum);
    }
    print::put(&table.text())
}

/// Why nothing is known of pods that there are.
fn why_none(pods: &[Value]) -> Result<()> {
    if pods.is_empty() {
        return Ok(());
    }
    for pod in pods {
        let metadata = pod.at("metadata");
        let Some(made) = age::time(metadata.at("creationTimestamp")) else {
            continue;
        };
        let nanos = age::now().as_nanosecond() - made.as_nanosecond();
        if nanos > DELAY * 1_000_000_000 {
            let age = gonum::duration_text(i64::try_from(nanos).unwrap_or(i64::MAX));
            let (namespace, name) = (metadata.text("namespace"), metadata.text("name"));
            bail!("Metrics not available for pod {namespace}/{name}, age: {age}");
        }
    }
    bail!("metrics not available yet")
}
