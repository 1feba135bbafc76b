//! `api-resources`: the kinds that are served.
//! Invariant: one line a group and plural, in its preferred version.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/apiresources/apiresources.go`.

use crate::command::{Command, verb};
use crate::context::With;
use crate::discovery::{Resource, Served};
use crate::error::{Result, bail, message};
use crate::flags::{Csv, Listed};
use crate::print::tabwriter::TabWriter;
use crate::print::{self, Printer};
use serde_json::{Value, json};

/// The order of the fields, as Go's structs have it.
const ORDER: &[&str] = &[
    "name",
    "singularName",
    "namespaced",
    "group",
    "version",
    "kind",
    "apiVersion",
    "groupVersion",
    "resources",
    "verbs",
    "shortNames",
    "categories",
];

pub static COMMAND: Command = Command {
    name: "api-resources",
    usage: "[flags]",
    short: "Print the supported API resources on the server",
    examples: "
      # All of them
      kubectl api-resources
      # With verbs and categories
      kubectl api-resources -o wide
      # Sorted
      kubectl api-resources --sort-by=name
      # Those in namespaces, and those that are not
      kubectl api-resources --namespaced=true
      kubectl api-resources --namespaced=false
      # Of one group
      kubectl api-resources --api-group=rbac.authorization.k8s.io",
    flags: &[print::MANAGED_FIELDS],
    run: verb!(run: Flags),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// Print no headers
    #[arg(long)]
    no_headers: bool,
    /// json, yaml, kyaml, name or wide
    #[arg(long, short)]
    output: String,
    /// Only of this API group
    #[arg(long)]
    api_group: Option<String>,
    /// Only those in namespaces, or only those that are not
    #[arg(long, value_name = "true")]
    namespaced: Option<bool>,
    /// Only those with all of these verbs
    #[arg(long)]
    verbs: Vec<Csv>,
    /// Sort by name or kind
    #[arg(long)]
    sort_by: String,
    /// What is known from earlier, if it is
    #[arg(long)]
    cached: bool,
    /// Only those in all of these categories
    #[arg(long)]
    categories: Vec<Csv>,
}

/// One line a group and plural: that of the preferred version, or of the first that has it.
fn preferred(served: &Served) -> Vec<&Resource> {
    let mut out: Vec<&Resource> = Vec::new();
    for (group, versions) in &served.groups {
        for version in versions {
            for r in served
                .resources
                .iter()
                .filter(|r| r.group == *group && r.version == *version)
            {
                if !out
                    .iter()
                    .any(|o| o.group == r.group && o.plural == r.plural)
                {
                    out.push(r);
                }
            }
        }
    }
    out
}

/// By group and name, as they are shown unless another order is wished.
fn by_group(list: &mut [&Resource]) {
    list.sort_by(|a, b| a.group.cmp(&b.group).then(a.plural.cmp(&b.plural)));
}

/// The names of all that can be read.
pub fn readable(served: &Served) -> Vec<String> {
    let mut list: Vec<&Resource> = preferred(served)
        .into_iter()
        .filter(|r| r.can("get"))
        .collect();
    by_group(&mut list);
    list.iter().map(|r| r.group_resource()).collect()
}

async fn run(ctx: With<Flags>) -> Result<()> {
    let f = ctx.flags();
    ctx.takes_no_args("unexpected arguments")?;
    if !matches!(
        f.output.as_str(),
        "" | "wide" | "name" | "json" | "yaml" | "kyaml"
    ) {
        return Err(print::no_printer(
            f.output.as_str(),
            "json,kyaml,name,wide,yaml",
        ));
    }
    if !matches!(f.sort_by.as_str(), "" | "name" | "kind") {
        bail!("--sort-by accepts only name or kind");
    }
    let served = if f.cached {
        ctx.discovery()?.served().await?
    } else {
        ctx.discovery()?.all().await?
    };
    let (verbs, categories) = (f.verbs.list(), f.categories.list());
    let mut list: Vec<&Resource> = preferred(&served)
        .into_iter()
        .filter(|r| !r.verbs.is_empty())
        .filter(|r| f.api_group.as_ref().is_none_or(|group| r.group == *group))
        .filter(|r| f.namespaced.is_none_or(|inside| r.namespaced == inside))
        .filter(|r| verbs.iter().all(|v| r.can(v)))
        .filter(|r| categories.iter().all(|c| r.categories.contains(c)))
        .collect();
    match f.sort_by.as_str() {
        "name" => list.sort_by(|a, b| a.plural.cmp(&b.plural)),
        "kind" => list.sort_by(|a, b| a.kind.cmp(&b.kind)),
        _ => by_group(&mut list),
    }
    show(&ctx, &list)?;
    let failed: Vec<String> = served
        .failed
        .iter()
        .map(|(gv, why)| format!("{gv}: {why}"))
        .collect();
    if failed.is_empty() {
        Ok(())
    } else {
        Err(message!(
            "unable to retrieve the complete list of server APIs: {}",
            failed.join(", ")
        ))
    }
}

fn show(ctx: &With<Flags>, list: &[&Resource]) -> Result<()> {
    let f = ctx.flags();
    let output = f.output.as_str();
    if matches!(output, "json" | "yaml" | "kyaml") {
        let one = |r: &&Resource| json!({"name": r.plural, "singularName": r.singular, "namespaced": r.namespaced, "group": r.group, "version": r.version, "kind": r.kind, "verbs": r.verbs, "shortNames": r.short_names, "categories": r.categories});
        let mut items: Vec<Value> = list.iter().map(one).collect();
        for item in items.iter_mut().filter_map(Value::as_object_mut) {
            item.retain(|name, value| match value {
                Value::Array(list) => !list.is_empty(),
                Value::String(text) => name != "group" || !text.is_empty(),
                _ => true,
            });
        }
        // Go writes a list that nothing was put into as null
        let items = Some(items).filter(|items| !items.is_empty());
        let whole = json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "", "resources": items});
        let format = print::format(ctx, "json,kyaml,yaml")?.unwrap_or(print::Format::Json);
        return Printer::of(format, "", true)
            .ordered(print::order::Order::Keys(ORDER))
            .print(&whole);
    }
    let mut w = TabWriter::table();
    let wide = output == "wide";
    if !f.no_headers && output != "name" {
        w.push("NAME\tSHORTNAMES\tAPIVERSION\tNAMESPACED\tKIND");
        w.push(if wide { "\tVERBS\tCATEGORIES\n" } else { "\n" });
    }
    for r in list {
        if output == "name" {
            w.push(&format!("{}\n", r.group_resource()));
            continue;
        }
        w.push(&format!(
            "{}\t{}\t{}\t{}\t{}",
            r.plural,
            r.short_names.join(","),
            r.api_version(),
            r.namespaced,
            r.kind
        ));
        if wide {
            let verbs = &r.verbs;
            w.push(&format!(
                "\t{}\t{}",
                verbs.join(","),
                r.categories.join(",")
            ));
        }
        w.push("\n");
    }
    print::put(&w.flush())
}
