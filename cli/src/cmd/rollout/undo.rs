//! `rollout undo`: brings back an earlier revision.
//! Invariant: the pod template becomes that of the revision, to the letter.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/polymorphichelpers/rollback.go`.

use super::{find, history, no_history, revisions, warn_if_applied};
use crate::command::{Command, verb};
use crate::complete::Words;
use crate::context::{DryRun, With};
use crate::error::{Error, Result, bail, message, quote};
use crate::print::{self, Printer, order::Order};
use crate::resource::{DRY_RUN, FILE_FLAGS, Info, SELECTOR, helper};
use crate::typed::{JSON_PATCH, Read, STRATEGIC};
use serde_json::{Value, json};

pub static COMMAND: Command = Command {
    name: "undo",
    usage: "(TYPE NAME | TYPE/NAME) [flags]",
    short: "Undo a previous rollout",
    long: "Go back to an earlier revision.",
    examples: "
      # To the one before
      kubectl rollout undo deployment/abc
      # To a certain one
      kubectl rollout undo daemonset/abc --to-revision=3",
    flags: &[print::FLAGS, FILE_FLAGS, SELECTOR, DRY_RUN],
    run: verb!(run: Flags),
    words: Some(Words::ROLLED),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// The revision to go back to; 0 for the one before
    #[arg(long)]
    to_revision: i64,
}

/// Annotations of a deployment that do not go back with the rest.
const KEPT: &[&str] = &[
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/revision",
    "deployment.kubernetes.io/revision-history",
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
    "deprecated.deployment.rollback.revision",
];

async fn run(ctx: With<Flags>) -> Result<()> {
    ctx.dry_run()?;
    let mut found = find(&ctx).await?;
    let mut errors = found.failures();
    for info in found.infos {
        errors.next_object();
        warn_if_applied(&ctx, &info);
        match one(&ctx, &info).await {
            Ok(what) => {
                let suffix = ctx.dry_run()?.suffix();
                let printer = Printer::late(&ctx, format!("{what}{suffix}"));
                let shown = printer.ordered(Order::Typed).print(&info.object);
                errors.extend(shown.err());
            }
            Err(e) => errors.push(e),
        }
    }
    errors.told()
}

async fn one(ctx: &With<Flags>, info: &Info) -> Result<String> {
    let wanted = ctx.flags().to_revision;
    let kind = info.resource.kind.as_str();
    if !matches!(kind, "Deployment" | "DaemonSet" | "StatefulSet") {
        return Err(no_history(info, "rollbacker", "no rollbacker"));
    }
    let missing = || message!("unable to find specified revision {wanted} in history");
    if wanted < 0 {
        return Err(missing());
    }
    let list = revisions(ctx, info).await?;
    let target = if wanted > 0 {
        list.iter().find(|(r, _)| *r == wanted)
    } else {
        list.len().checked_sub(2).and_then(|i| list.get(i))
    };
    let Some((_, target)) = target else {
        return Err(match (wanted, kind) {
            (0, "Deployment") => message!(
                "no rollout history found for deployment {}",
                quote(&info.name)
            ),
            (0, _) => Error::msg("no last revision to roll back to"),
            _ => missing(),
        });
    };
    let template = history::template(kind, target);
    if ctx.dry_run()? == DryRun::Client {
        let mut d = crate::describe::Out::default();
        crate::describe::pod_template::template(&mut d, template);
        let head = if kind == "Deployment" {
            ""
        } else {
            "will roll back to "
        };
        return Ok(format!("{head}{}", d.raw()));
    }
    if info.object.at("spec").flag("paused") {
        bail!(
            "you cannot rollback a paused deployment; resume it first with 'kubectl rollout resume' and try again"
        );
    }
    let mut bare = template.clone();
    if let Some(l) = bare["metadata"]["labels"].as_object_mut() {
        l.remove("pod-template-hash");
    }
    if same(&bare, info.object.at("spec").at("template")) {
        return Ok(format!(
            "skipped rollback (current template already matches revision {wanted})"
        ));
    }
    let (patch, media) = if kind == "Deployment" {
        (deployment_patch(info, target, &bare), JSON_PATCH)
    } else {
        (target.at("data").clone(), STRATEGIC)
    };
    helper::Write::by("", ctx.dry_run()?)
        .patch_of(ctx.client()?, info, media, &patch)
        .await
        .map_err(|e| message!("failed restoring revision {wanted}: {e}"))?;
    Ok("rolled back".into())
}

fn same(a: &Value, b: &Value) -> bool {
    let strip = |v: &Value| {
        let mut v = v.clone();
        v.as_object_mut().map(|m| m.remove("$patch"));
        v
    };
    strip(a) == strip(b)
}

fn deployment_patch(info: &Info, target: &Value, template: &Value) -> Value {
    let mut annotations = serde_json::Map::new();
    for k in KEPT {
        if let Some(v) = info.object.at("metadata").at("annotations").get(k) {
            annotations.insert((*k).into(), v.clone());
        }
    }
    for (k, v) in target
        .at("metadata")
        .entries("annotations")
        .filter(|(k, _)| !KEPT.contains(k))
    {
        annotations.insert(k.into(), v.clone());
    }
    json!([{"op": "replace", "path": "/spec/template", "value": template}, {"op": "replace", "path": "/metadata/annotations", "value": annotations}])
}
