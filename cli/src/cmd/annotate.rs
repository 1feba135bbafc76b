//! `annotate`: adds, changes, removes and lists annotations.
//! Invariant: an annotation that has another value is only changed with --overwrite.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/annotate/annotate.go`.

use super::label::{Changes, FLAGS, check, find, list, merge_patch};
use super::modify;
use crate::command::{Command, Run};
use crate::complete::Words;
use crate::context::Ctx;
use crate::error::{Error, Result};
use crate::flags::Flag;
use crate::print::{self, Printer};
use crate::resource::{DRY_RUN, FIELD_SELECTOR, FILE_FLAGS, Info, SELECTOR, helper};
use crate::typed::MERGE;

pub static COMMAND: Command = Command {
    name: "annotate",
    usage: "[--overwrite] (-f FILENAME | TYPE NAME) KEY_1=VAL_1 ... KEY_N=VAL_N [--resource-version=version]",
    short: "Update the annotations on a resource",
    long: "Set the annotations of objects: notes of any length for tools and people. A key followed by - is removed.\n\nUse \"kubectl api-resources\" for a complete list of supported resources.",
    examples: "
      # Set an annotation; with several of the same key the last one counts
      kubectl annotate pods foo description='my frontend'
      # On what a file describes
      kubectl annotate -f pod.json description='my frontend'
      # Change one that is there
      kubectl annotate --overwrite pods foo description='my frontend running nginx'
      # Remove one
      kubectl annotate pods foo description-",
    flags: &[
        print::FLAGS,
        FILE_FLAGS,
        SELECTOR,
        FIELD_SELECTOR,
        DRY_RUN,
        FLAGS,
        &[Flag::str(
            "field-manager",
            '\0',
            "kubectl-annotate",
            "Who is said to manage the fields that are written",
        )],
    ],
    run: Run::Verb(|ctx| Box::pin(run(ctx))),
    words: Some(Words::ANY),
    ..Command::NEW
};

fn parse(pairs: &[String]) -> Result<Changes> {
    let mut c = Changes {
        set: vec![],
        remove: vec![],
    };
    for p in pairs {
        match p.split_once('=') {
            Some((k, v)) => {
                c.set.retain(|(x, _)| x != k);
                c.set.push((k.into(), v.into()));
            }
            None => c.remove.push(p[..p.len() - 1].into()),
        }
    }
    let both: Vec<&str> = c
        .remove
        .iter()
        .filter(|r| c.set.iter().any(|(k, _)| k == *r))
        .map(String::as_str)
        .collect();
    if both.is_empty() {
        Ok(c)
    } else {
        Err(Error::msg(format!(
            "can not both modify and remove the following annotation(s) in the same command: {}",
            both.join(", ")
        )))
    }
}

async fn run(ctx: Ctx) -> Result<()> {
    let f = ctx.flags();
    let (resources, pairs) = modify::split_pairs(ctx.args(), "annotation")?;
    let changes = parse(&pairs)?;
    check(&ctx, &resources, &changes, "annotation", "rsrc")?;
    let local = modify::is_local(&ctx)?;
    let mut printer = Printer::new(f, format!("annotated{}", ctx.dry_run()?.suffix()))?;
    let found = find(&ctx, &resources).await?;
    let single = found.single;
    let mut errors = found.errors;
    for mut info in found.infos {
        if let Err(e) = one(&ctx, &mut info, &changes, local, single, &mut printer).await {
            errors.push(e);
        }
    }
    Error::collect(errors)
}

async fn one(
    ctx: &Ctx,
    info: &mut Info,
    changes: &Changes,
    local: bool,
    single: bool,
    printer: &mut Printer,
) -> Result<()> {
    let f = ctx.flags();
    let current = info.object["metadata"]["annotations"].clone();
    if !f.bool("overwrite") {
        let clash: Vec<String> = changes
            .set
            .iter()
            .filter_map(|(k, v)| {
                current[k]
                    .as_str()
                    .filter(|c| c != v)
                    .map(|c| format!("'{k}' already has a value ({c})"))
            })
            .collect();
        if !clash.is_empty() {
            return Err(Error::msg(format!(
                "--overwrite is false but found the following declared annotation(s): {}",
                clash.join("; ")
            )));
        }
    }
    let all: Vec<(String, Option<String>)> = changes
        .set
        .iter()
        .map(|(k, v)| (k.clone(), Some(v.clone())))
        .chain(changes.remove.iter().map(|k| (k.clone(), None)))
        .collect();
    for (k, v) in &all {
        modify::set_entry(&mut info.object, "annotations", k, v.as_deref());
    }
    if f.bool("list") {
        return list(info, "annotations", single, "annotations");
    }
    if !local {
        let write = helper::Write::by(f.str("field-manager"), ctx.dry_run()?);
        info.object = write
            .patch(
                ctx.client()?,
                &info.resource,
                &info.namespace,
                &info.name,
                MERGE,
                &merge_patch(ctx, "annotations", &all),
            )
            .await?;
    }
    printer.print(&info.object)
}
