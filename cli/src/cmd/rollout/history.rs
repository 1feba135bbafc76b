//! `rollout history`: the revisions that are kept.
//! Invariant: a revision that is not kept is an error.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/polymorphichelpers/history.go`.

use super::{find, named, revisions};
use crate::command::{Command, verb};
use crate::complete::Words;
use crate::context::With;
use crate::error::{Error, Result, bail};
use crate::generate::CHANGE_CAUSE;
use crate::print::tabwriter::TabWriter;
use crate::print::{self, Printer, order::Order};
use crate::resource::{FILE_FLAGS, Info, SELECTOR};
use crate::typed::Read;
use serde_json::{Value, json};
use skiff_api::machinery::patch::strategic;

pub static COMMAND: Command = Command {
    name: "history",
    usage: "(TYPE NAME | TYPE/NAME) [flags]",
    short: "View rollout history",
    long: "Show the revisions of a deployment, daemon set or stateful set, or the pod template of one of them.",
    examples: "
      # All revisions
      kubectl rollout history deployment/abc
      # One revision's pods
      kubectl rollout history daemonset/abc --revision=3",
    flags: &[print::FLAGS, FILE_FLAGS, SELECTOR],
    run: verb!(run: Flags),
    words: Some(Words::ROLLED),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// Show this revision's pod template
    #[arg(long)]
    revision: i64,
}

/// The pod template of a revision.
pub fn template<'a>(kind: &str, object: &'a Value) -> &'a Value {
    if kind == "Deployment" {
        object.at("spec").at("template")
    } else {
        object.at("data").at("spec").at("template")
    }
}

/// Why a revision is there.
fn cause(revision: &Value) -> Option<&str> {
    let annotations = revision.at("metadata").at("annotations");
    annotations.text_ptr(CHANGE_CAUSE).filter(|c| !c.is_empty())
}

/// A revision as an object: the replica set, or what a daemon set or stateful set was then.
fn whole(info: &Info, revision: &Value) -> Value {
    let mut object = revision.clone();
    if info.resource.kind == "Deployment" {
        object["apiVersion"] = json!("apps/v1");
        object["kind"] = json!("ReplicaSet");
        return object;
    }
    let applied = crate::typed::schema(&info.object)
        .and_then(|schema| strategic::apply(&info.object, revision.at("data"), schema).ok());
    crate::typed::canonical(&applied.unwrap_or_else(|| info.object.clone()))
}

async fn run(ctx: With<Flags>) -> Result<()> {
    let f = ctx.flags();
    let wanted = f.revision;
    named(&ctx)?;
    if wanted < 0 {
        bail!("revision must be a positive integer: {wanted}");
    }
    let mut found = find(&ctx).await?;
    let mut errors = found.failures();
    let mut printer = match ctx.output() {
        "" => None,
        _ => Some(Printer::new(&ctx, "")?.ordered(Order::Typed)),
    };
    for info in found.infos {
        errors.next_object();
        let list = match revisions(&ctx, &info).await {
            Ok(l) => l,
            Err(e) => {
                errors.push(e);
                continue;
            }
        };
        if let Some(printer) = &mut printer {
            let shown: Vec<_> = list
                .iter()
                .filter(|(r, _)| wanted <= 0 || *r == wanted)
                .collect();
            if wanted > 0 && shown.is_empty() {
                errors.push(Error::msg("unable to find the specified revision"));
            }
            for (_, object) in shown {
                match printer.print(&whole(&info, object)) {
                    Err(why) if wanted > 0 => errors.push(why),
                    // Of all revisions nobody hears which could not be shown.
                    _ => {}
                }
            }
            continue;
        }
        let head = if wanted > 0 {
            format!(" with revision #{wanted}")
        } else {
            " ".to_string()
        };
        let body = if list.is_empty() {
            "No rollout history found.".to_string()
        } else if wanted > 0 {
            let Some((_, o)) = list.iter().find(|(r, _)| *r == wanted) else {
                errors.push(Error::msg("unable to find the specified revision"));
                continue;
            };
            let mut shown = template(&info.resource.kind, o).clone();
            if let Some(cause) = cause(o).filter(|_| info.resource.kind == "Deployment") {
                shown["metadata"]["annotations"][CHANGE_CAUSE] = json!(cause);
            }
            let mut d = crate::describe::Out::default();
            crate::describe::pod_template::template(&mut d, &shown);
            d.raw()
        } else {
            let mut w = TabWriter::new(5, 2);
            w.push("REVISION\tCHANGE-CAUSE\n");
            for (r, o) in &list {
                w.push(&format!("{r}\t{}\n", cause(o).unwrap_or("<none>")));
            }
            w.flush()
        };
        // A template alone shows the object itself.
        Printer::late(&ctx, format!("{}\n{body}", head.trim_start_matches(' ')))
            .print(&info.object)?;
    }
    errors.told()
}
