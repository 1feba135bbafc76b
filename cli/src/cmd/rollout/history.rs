//! `rollout history`: the revisions that are kept.
//! Invariant: a revision that is not kept is an error.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/polymorphichelpers/history.go`.

use super::{find, named, revisions};
use crate::command::{Command, verb};
use crate::complete::Words;
use crate::context::With;
use crate::error::{Error, Result, bail};
use crate::print::tabwriter::TabWriter;
use crate::print::{self, Printer, order::Order};
use crate::resource::{FILE_FLAGS, SELECTOR};
use crate::typed::Read;
use serde_json::Value;

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

async fn run(ctx: With<Flags>) -> Result<()> {
    let f = ctx.flags();
    let wanted = f.revision;
    named(&ctx)?;
    if wanted < 0 {
        bail!("revision must be a positive integer: {wanted}");
    }
    let found = find(&ctx).await?;
    let mut errors = found.errors;
    for info in found.infos {
        let list = match revisions(&ctx, &info).await {
            Ok(l) => l,
            Err(e) => {
                errors.push(e);
                continue;
            }
        };
        if !ctx.output().is_empty() {
            let mut printer = Printer::new(&ctx, "")?.ordered(Order::Typed);
            let shown: Vec<_> = list
                .iter()
                .filter(|(r, _)| wanted <= 0 || *r == wanted)
                .collect();
            if wanted > 0 && shown.is_empty() {
                bail!("unable to find the specified revision");
            }
            shown.into_iter().try_for_each(|(_, o)| printer.print(o))?;
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
            let (_, o) = list
                .iter()
                .find(|(r, _)| *r == wanted)
                .ok_or_else(|| Error::msg("unable to find the specified revision"))?;
            let mut d = crate::describe::Out::default();
            crate::describe::pod_template::template(&mut d, template(&info.resource.kind, o));
            d.raw()
        } else {
            let mut w = TabWriter::new(5, 2);
            w.push("REVISION\tCHANGE-CAUSE\n");
            for (r, o) in &list {
                let cause = o
                    .at("metadata")
                    .at("annotations")
                    .text_ptr("kubernetes.io/change-cause")
                    .filter(|c| !c.is_empty())
                    .unwrap_or("<none>");
                w.push(&format!("{r}\t{cause}\n"));
            }
            w.flush()
        };
        print::put(&format!("{}{head}\n{body}\n", info.name_line()))?;
    }
    Error::collect(errors)
}
