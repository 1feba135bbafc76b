//! `top`: what nodes and pods use, as the metrics API tells.
//! Invariant: a server without that API is told, not shown as idle.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/top`.

use crate::client::{Call, query, segment};
use crate::command::{Command, Run, verb};
use crate::complete::Words;
use crate::context::{Ctx, With};
use crate::describe::quantity::parse;
use crate::error::{Error, Result, bail};
use crate::flags::Refused;
use crate::print;
use crate::print::tabwriter::TabWriter;
use crate::resource::{FIELD_SELECTOR, SELECTOR};
use crate::typed::Read;
use serde_json::Value;

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
    usage: "[NAME | -l label]",
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
    usage: "[NAME | -l label]",
    short: "Display resource (CPU/memory) usage of pods",
    examples: "
      # All pods of the namespace
      kubectl top pod
      # With their containers
      kubectl top pod POD_NAME --containers",
    flags: &[SELECTOR, FIELD_SELECTOR],
    refused: &[Refused::switch("show-swap", "swap is not measured")],
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

async fn available(ctx: &Ctx) -> Result<()> {
    let served = ctx.discovery()?.served().await?;
    if served.groups.iter().any(|(g, _)| g == "metrics.k8s.io") {
        Ok(())
    } else {
        Err(Error::msg("Metrics API not available"))
    }
}

fn usage(v: &Value) -> (f64, f64) {
    let amount = |f: &str| v.at("usage").text_ptr(f).and_then(parse).unwrap_or(0.0);
    (amount("cpu"), amount("memory"))
}

fn cells(cpu: f64, memory: f64) -> (String, String) {
    (
        format!("{}m", (cpu * 1000.0).ceil() as i64),
        format!("{}Mi", (memory / 1_048_576.0) as i64),
    )
}

fn sort<T>(by: &str, rows: &mut [(String, (f64, f64), T)]) -> Result<()> {
    match by {
        "" => rows.sort_by(|a, b| a.0.cmp(&b.0)),
        "cpu" => rows.sort_by(|a, b| b.1.0.total_cmp(&a.1.0)),
        "memory" => rows.sort_by(|a, b| b.1.1.total_cmp(&a.1.1)),
        _ => bail!("--sort-by accepts only cpu or memory"),
    }
    Ok(())
}

fn items(answer: Value) -> Vec<Value> {
    answer
        .at("items")
        .as_array()
        .cloned()
        .unwrap_or_else(|| vec![answer])
}

async fn nodes(ctx: With<NodeFlags>) -> Result<()> {
    let f = ctx.flags();
    available(&ctx).await?;
    let name = ctx
        .args()
        .first()
        .map(|n| format!("/{}", segment(n)))
        .unwrap_or_default();
    let q = if ctx.selector().is_empty() {
        String::new()
    } else {
        query(&[("labelSelector", ctx.selector())])
    };
    let client = ctx.client()?;
    let metrics = items(
        client
            .json(&Call::get(format!(
                "/apis/metrics.k8s.io/v1beta1/nodes{name}{q}"
            )))
            .await?,
    );
    let known = items(
        client
            .json(&Call::get(format!("/api/v1/nodes{name}{q}")))
            .await?,
    );
    let mut rows: Vec<(String, (f64, f64), Value)> = Vec::new();
    for m in metrics {
        let node = known
            .iter()
            .find(|n| n.at("metadata").at("name") == m.at("metadata").at("name"))
            .cloned()
            .unwrap_or(Value::Null);
        rows.push((m.at("metadata").text("name").into(), usage(&m), node));
    }
    sort(&f.common.sort_by, &mut rows)?;
    let mut w = TabWriter::table();
    if !f.common.no_headers {
        w.push("NAME\tCPU(cores)\tCPU(%)\tMEMORY(bytes)\tMEMORY(%)\n");
    }
    for (name, (cpu, memory), node) in &rows {
        let of = |field: &str| {
            node["status"][if f.show_capacity {
                "capacity"
            } else {
                "allocatable"
            }][field]
                .as_str()
                .and_then(parse)
                .filter(|n| *n > 0.0)
        };
        let share = |used: f64, field: &str| {
            of(field).map_or_else(
                || "<unknown>".into(),
                |all| format!("{}%", (used * 100.0 / all) as i64),
            )
        };
        let (c, m) = cells(*cpu, *memory);
        w.push(&format!(
            "{name}\t{c}\t{}\t{m}\t{}\n",
            share(*cpu, "cpu"),
            share(*memory, "memory")
        ));
    }
    print::put(&w.flush())
}

async fn pods(ctx: With<PodFlags>) -> Result<()> {
    let f = ctx.flags();
    available(&ctx).await?;
    let all = f.all_namespaces;
    let namespace = ctx.namespace()?.0;
    let place = if all {
        String::new()
    } else {
        format!("/namespaces/{}", segment(&namespace))
    };
    let name = ctx
        .args()
        .first()
        .map(|n| format!("/{}", segment(n)))
        .unwrap_or_default();
    let pairs: Vec<(&str, &str)> = [
        ("fieldSelector", ctx.field_selector()),
        ("labelSelector", ctx.selector()),
    ]
    .into_iter()
    .filter(|(_, v)| !v.is_empty())
    .collect();
    let answer = ctx
        .client()?
        .json(&Call::get(format!(
            "/apis/metrics.k8s.io/v1beta1{place}/pods{name}{}",
            query(&pairs)
        )))
        .await?;
    let mut rows = Vec::new();
    for pod in items(answer) {
        let total = pod
            .list("containers")
            .iter()
            .map(usage)
            .fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
        rows.push((pod.at("metadata").text("name").to_string(), total, pod));
    }
    if rows.is_empty() {
        return ctx.tell_none(all);
    }
    sort(&f.common.sort_by, &mut rows)?;
    let mut w = TabWriter::table();
    let containers = f.containers;
    if !f.common.no_headers {
        w.push(&format!(
            "{}{}CPU(cores)\tMEMORY(bytes)\n",
            if all { "NAMESPACE\t" } else { "" },
            if containers { "POD\tNAME\t" } else { "NAME\t" }
        ));
    }
    for (name, total, pod) in &rows {
        let head = if all {
            format!("{}\t", pod.at("metadata").text("namespace"))
        } else {
            String::new()
        };
        if containers {
            for c in pod.list("containers") {
                let (cpu, memory) = usage(c);
                let (cpu, memory) = cells(cpu, memory);
                w.push(&format!(
                    "{head}{name}\t{}\t{cpu}\t{memory}\n",
                    c.text("name")
                ));
            }
        } else {
            let (cpu, memory) = cells(total.0, total.1);
            w.push(&format!("{head}{name}\t{cpu}\t{memory}\n"));
        }
    }
    if f.sum {
        let sum = rows
            .iter()
            .fold((0.0, 0.0), |a, r| (a.0 + r.1.0, a.1 + r.1.1));
        let (cpu, memory) = cells(sum.0, sum.1);
        let lead = "\t".repeat(usize::from(all) + usize::from(containers));
        w.push(&format!(
            "{lead}\t________\t________\n{lead}\t{cpu}\t{memory}\n"
        ));
    }
    print::put(&w.flush())
}
