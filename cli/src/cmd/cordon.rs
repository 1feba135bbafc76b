//! `cordon` and `uncordon`: whether new pods may go to a node.
//! Invariant: a node that is already so is told, and not changed.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/drain/drain.go`.

use super::modify;
use crate::command::{Command, verb};
use crate::complete::Words;
use crate::context::{Ctx, DryRun, With};
use crate::error::{Error, Result, bail, quote};
use crate::print::{self, Format, Printer};
use crate::resource::{Builder, DRY_RUN, Info, SELECTOR};
use crate::typed::Read;
use serde_json::json;

pub static CORDON: Command = Command {
    name: "cordon",
    usage: "NODE",
    short: "Mark node as unschedulable",
    examples: "
      # A node
      kubectl cordon foo",
    flags: &[SELECTOR, DRY_RUN],
    run: verb!(run: (), true),
    words: Some(Words::Names("node")),
    ..Command::NEW
};

pub static UNCORDON: Command = Command {
    name: "uncordon",
    usage: "NODE",
    short: "Mark node as schedulable",
    examples: "
      # A node
      kubectl uncordon foo",
    flags: &[SELECTOR, DRY_RUN],
    run: verb!(run: (), false),
    words: Some(Words::Names("node")),
    ..Command::NEW
};

async fn run(ctx: With<()>, closed: bool) -> Result<()> {
    let nodes = nodes(&ctx).await?;
    mark(&ctx, &nodes, closed).await
}

/// The nodes that the words or the selector name.
///
/// # Errors
/// Neither, both, or a node that is not there.
pub async fn nodes(ctx: &Ctx) -> Result<Vec<Info>> {
    let selector = ctx.selector();
    let verb = ctx.path().rsplit(' ').next().unwrap_or("");
    if ctx.args().is_empty() && !ctx.names("selector") {
        return Err(ctx.usage(format!("USAGE: {verb} NODE [flags]")));
    }
    if !ctx.args().is_empty() && !selector.is_empty() {
        return Err(ctx.usage("error: cannot specify both a node name and a --selector option"));
    }
    ctx.dry_run()?;
    ctx.client()?;
    let named = |word: &String| match word.contains('/') {
        true => word.clone(),
        false => format!("nodes/{word}"),
    };
    let args: Vec<String> = match ctx.args() {
        [] if selector.is_empty() => vec![],
        [] => vec!["nodes".into()],
        words => words.iter().map(named).collect(),
    };
    let mut builder = Builder::new(ctx)?.args(&args);
    builder.single_type = true;
    let found = builder.find().await?;
    let mut errors = found.errors;
    if errors.len() > 1 {
        errors.truncate(1);
    }
    Error::collect(errors)?;
    if let Some(other) = found.infos.iter().find(|i| i.resource.kind != "Node") {
        let of = &other.resource;
        bail!(
            "error: expected resource of type node, got \"{}/{}, Resource={}\"",
            of.group,
            of.version,
            of.plural
        );
    }
    Ok(found.infos)
}

/// Marks the nodes; what fails is told and the next is tried.
///
/// # Errors
/// Output that cannot be written.
pub async fn mark(ctx: &Ctx, nodes: &[Info], closed: bool) -> Result<()> {
    let (changed, already, verb) = if closed {
        ("cordoned", "already cordoned", "cordon")
    } else {
        ("uncordoned", "already uncordoned", "uncordon")
    };
    let dry_run = ctx.dry_run()?;
    for info in nodes {
        let mut printer = Printer::of(Format::Name, "", false);
        let is_closed = info.object.at("spec").flag("unschedulable");
        if is_closed == closed {
            printer.operation(&format!("{already}{}", dry_run.suffix()));
        } else {
            let mut after = info.object.clone();
            if closed {
                after["spec"]["unschedulable"] = json!(true);
            } else {
                after["spec"]
                    .as_object_mut()
                    .map(|m| m.remove("unschedulable"));
            }
            if dry_run != DryRun::Client
                && let Err(e) = modify::send(ctx, info, &after).await
            {
                eprintln!("error: unable to {verb} node {}: {e}", quote(&info.name));
                continue;
            }
            printer.operation(&format!("{changed}{}", dry_run.suffix()));
        }
        printer.print(&info.object)?;
    }
    Ok(())
}

/// A line on standard output.
pub fn say(text: &str) -> Result<()> {
    print::put(&format!("{text}\n"))
}
