//! `top`: what nodes and pods use, as the metrics API tells.
//! Invariant: a server without that API is told, not shown as idle.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/top`.

use crate::client::{Call, query, segment};
use crate::command::{Command, Run};
use crate::complete::Words;
use crate::context::Ctx;
use crate::describe::quantity::parse;
use crate::error::{Error, Result};
use crate::flags::Flag;
use crate::print;
use crate::print::tabwriter::TabWriter;
use crate::resource::{FIELD_SELECTOR, SELECTOR};
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
    flags: &[
        SELECTOR,
        COMMON,
        &[Flag::bool(
            "show-capacity",
            '\0',
            false,
            "Shares of what the nodes have, not of what pods may have",
        )],
    ],
    run: Run::Verb(|ctx| Box::pin(nodes(ctx))),
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
    flags: &[
        SELECTOR,
        FIELD_SELECTOR,
        COMMON,
        &[
            Flag::bool("all-namespaces", 'A', false, "Of all namespaces"),
            Flag::bool("containers", '\0', false, "Also each container"),
            Flag::bool("sum", '\0', false, "Also the sum"),
            Flag::bool("show-swap", '\0', false, "Also swap").refused("swap is not measured"),
        ],
    ],
    run: Run::Verb(|ctx| Box::pin(pods(ctx))),
    words: Some(Words::Names("pod")),
    ..Command::NEW
};

const COMMON: &[Flag] = &[
    Flag::str("sort-by", '\0', "", "Sort by cpu or memory"),
    Flag::bool("no-headers", '\0', false, "Print no headers"),
    Flag::bool(
        "use-protocol-buffers",
        '\0',
        true,
        "Kept for scripts: answers are always read as JSON",
    ),
];

async fn available(ctx: &Ctx) -> Result<()> {
    let served = ctx.discovery()?.served().await?;
    if served.groups.iter().any(|(g, _)| g == "metrics.k8s.io") {
        Ok(())
    } else {
        Err(Error::msg("Metrics API not available"))
    }
}

fn usage(v: &Value) -> (f64, f64) {
    let amount = |f: &str| v["usage"][f].as_str().and_then(parse).unwrap_or(0.0);
    (amount("cpu"), amount("memory"))
}

fn cells(cpu: f64, memory: f64) -> (String, String) {
    (
        format!("{}m", (cpu * 1000.0).ceil() as i64),
        format!("{}Mi", (memory / 1_048_576.0) as i64),
    )
}

fn sort<T>(ctx: &Ctx, rows: &mut [(String, (f64, f64), T)]) -> Result<()> {
    match ctx.flags().str("sort-by") {
        "" => rows.sort_by(|a, b| a.0.cmp(&b.0)),
        "cpu" => rows.sort_by(|a, b| b.1.0.total_cmp(&a.1.0)),
        "memory" => rows.sort_by(|a, b| b.1.1.total_cmp(&a.1.1)),
        _ => return Err(Error::msg("--sort-by accepts only cpu or memory")),
    }
    Ok(())
}

fn items(answer: Value) -> Vec<Value> {
    answer["items"]
        .as_array()
        .cloned()
        .unwrap_or_else(|| vec![answer])
}

async fn nodes(ctx: Ctx) -> Result<()> {
    let f = ctx.flags();
    available(&ctx).await?;
    let name = ctx
        .args()
        .first()
        .map(|n| format!("/{}", segment(n)))
        .unwrap_or_default();
    let q = if f.str("selector").is_empty() {
        String::new()
    } else {
        query(&[("labelSelector", f.str("selector"))])
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
            .find(|n| n["metadata"]["name"] == m["metadata"]["name"])
            .cloned()
            .unwrap_or(Value::Null);
        rows.push((
            m["metadata"]["name"].as_str().unwrap_or("").into(),
            usage(&m),
            node,
        ));
    }
    sort(&ctx, &mut rows)?;
    let mut w = TabWriter::table();
    if !f.bool("no-headers") {
        w.push("NAME\tCPU(cores)\tCPU(%)\tMEMORY(bytes)\tMEMORY(%)\n");
    }
    for (name, (cpu, memory), node) in &rows {
        let of = |field: &str| {
            node["status"][if f.bool("show-capacity") {
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

async fn pods(ctx: Ctx) -> Result<()> {
    let f = ctx.flags();
    available(&ctx).await?;
    let all = f.bool("all-namespaces");
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
        ("fieldSelector", f.str("field-selector")),
        ("labelSelector", f.str("selector")),
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
        let total = pod["containers"]
            .as_array()
            .into_iter()
            .flatten()
            .map(usage)
            .fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
        rows.push((
            pod["metadata"]["name"].as_str().unwrap_or("").to_string(),
            total,
            pod,
        ));
    }
    if rows.is_empty() {
        if all {
            eprintln!("No resources found")
        } else {
            eprintln!("No resources found in {namespace} namespace.")
        }
        return Ok(());
    }
    sort(&ctx, &mut rows)?;
    let mut w = TabWriter::table();
    let containers = f.bool("containers");
    if !f.bool("no-headers") {
        w.push(&format!(
            "{}{}CPU(cores)\tMEMORY(bytes)\n",
            if all { "NAMESPACE\t" } else { "" },
            if containers { "POD\tNAME\t" } else { "NAME\t" }
        ));
    }
    for (name, total, pod) in &rows {
        let head = if all {
            format!("{}\t", pod["metadata"]["namespace"].as_str().unwrap_or(""))
        } else {
            String::new()
        };
        if containers {
            for c in pod["containers"].as_array().into_iter().flatten() {
                let (cpu, memory) = usage(c);
                let (cpu, memory) = cells(cpu, memory);
                w.push(&format!(
                    "{head}{name}\t{}\t{cpu}\t{memory}\n",
                    c["name"].as_str().unwrap_or("")
                ));
            }
        } else {
            let (cpu, memory) = cells(total.0, total.1);
            w.push(&format!("{head}{name}\t{cpu}\t{memory}\n"));
        }
    }
    if f.bool("sum") {
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
