//! `rollout`: watches, pauses, resumes, restarts and undoes rollouts.
//! Invariant: what is not a kind that rolls out is refused by name.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/rollout` and `polymorphichelpers`.

mod history;
mod status;
mod undo;

use crate::cmd::modify;
use crate::command::{Command, Run, verb};
use crate::complete::Words;
use crate::context::{Ctx, With};
use crate::error::{Error, Result, bail, message, quote};
use crate::generate::{LAST_APPLIED, MANAGER};
use crate::print::{self, Printer, order::Order};
use crate::resource::{Builder, FILE_FLAGS, Found, Info, SELECTOR, builder::KUBECTL};
use crate::typed::Read;
use serde_json::{Value, json};

pub static COMMAND: Command = Command {
    name: "rollout",
    usage: "SUBCOMMAND",
    short: "Manage the rollout of a resource",
    long: "Manage the rollout of one or many resources.\n\n Valid resource types include:\n\n  *  deployments\n  *  daemonsets\n  *  statefulsets",
    examples: "
      # Back to the last revision
      kubectl rollout undo deployment/abc
      # How far a rollout is
      kubectl rollout status daemonset/foo
      # Start all pods anew
      kubectl rollout restart deployment/abc",
    subcommands: &[
        &history::COMMAND,
        &PAUSE,
        &RESTART,
        &RESUME,
        &status::COMMAND,
        &undo::COMMAND,
    ],
    run: Run::Group,
    help_is_output: true,
    ..Command::NEW
};

/// What the verbs are that change objects alone.
const CHANGING: Command = Command {
    usage: "RESOURCE",
    flags: &[print::FLAGS, FILE_FLAGS, SELECTOR, MANAGER],
    defaults: &[("field-manager", "kubectl-rollout")],
    ..Command::NEW
};

static PAUSE: Command = Command {
    name: "pause",
    short: "Mark the provided resource as paused",
    long: "Keep a deployment from being rolled out further until it is resumed.",
    examples: "
      # A deployment
      kubectl rollout pause deployment/nginx",
    defaults: &[("field-manager", "kubectl-rollout")],
    run: verb!(change: (), "paused", pause),
    words: Some(Words::Objects {
        types: &["deployment"],
        several: true,
    }),
    ..CHANGING
};

static RESUME: Command = Command {
    name: "resume",
    short: "Resume a paused resource",
    long: "Let a paused deployment be rolled out again.",
    examples: "
      # A deployment
      kubectl rollout resume deployment/nginx",
    defaults: &[("field-manager", "kubectl-rollout")],
    run: verb!(change: (), "resumed", resume),
    words: Some(Words::Objects {
        types: &["deployment"],
        several: true,
    }),
    ..CHANGING
};

static RESTART: Command = Command {
    name: "restart",
    short: "Restart a resource",
    long: "Start all pods of a deployment, daemon set or stateful set anew, as its rollout strategy does it.",
    examples: "
      # A deployment
      kubectl rollout restart deployment/nginx
      # By label
      kubectl rollout restart deployment --selector=app=nginx",
    defaults: &[("field-manager", "kubectl-rollout")],
    run: verb!(change: (), "restarted", restart),
    words: Some(Words::ROLLED),
    ..CHANGING
};

/// Refuses a command line that names nothing.
fn named(ctx: &Ctx) -> Result<()> {
    ctx.namespace()?;
    if ctx.args().is_empty() && !ctx.has_files() {
        Err(Error::msg("required resource not specified"))
    } else {
        Ok(())
    }
}

/// The objects that the words name.
async fn find(ctx: &Ctx) -> Result<Found> {
    named(ctx)?;
    let mut b = Builder::new(ctx)?;
    b.typed = Some(KUBECTL);
    b.allow_empty_selector = true;
    b.latest = true;
    b.find().await
}

fn pause(info: &mut Info) -> Result<()> {
    if info.resource.kind != "Deployment" {
        bail!("pausing is not supported");
    }
    if info.object.at("spec").flag("paused") {
        bail!("is already paused");
    }
    info.object["spec"]["paused"] = json!(true);
    Ok(())
}

fn resume(info: &mut Info) -> Result<()> {
    if info.resource.kind != "Deployment" {
        bail!("resuming is not supported");
    }
    if !info.object.at("spec").flag("paused") {
        bail!("is not paused");
    }
    info.object["spec"]
        .as_object_mut()
        .map(|m| m.remove("paused"));
    Ok(())
}

fn restart(info: &mut Info) -> Result<()> {
    if !matches!(
        info.resource.kind.as_str(),
        "Deployment" | "DaemonSet" | "StatefulSet"
    ) {
        bail!("restarting is not supported");
    }
    if info.object.at("spec").flag("paused") {
        bail!("can't restart paused deployment (run rollout resume first)");
    }
    info.object["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] =
        json!(print::age::rfc3339());
    Ok(())
}

async fn change(
    ctx: With<()>,
    what: &'static str,
    change: fn(&mut Info) -> Result<()>,
) -> Result<()> {
    let mut printer = Printer::late(&ctx, what).ordered(Order::Typed);
    let mut found = find(&ctx).await?.listed();
    let mut errors = found.failure();
    if found.infos.is_empty() && errors.is_empty() {
        return ctx.tell_none(false);
    }
    for info in found.infos {
        let mut after = info.clone();
        if let Err(why) = change(&mut after) {
            errors.push(message!(
                "error: {} {} {why}",
                info.resource.group_resource(),
                quote(&info.name)
            ));
            continue;
        }
        if after.object == info.object {
            errors.push(message!("failed to create patch for {}: if restart has already been triggered within the past second, please wait before attempting to trigger another",
                info.name));
            continue;
        }
        match modify::send(&ctx, &info, &after.object).await {
            Ok(o) => printer.print(&o)?,
            Err(e) => errors.push(message!("failed to patch: {e}")),
        }
    }
    Error::collect(errors)
}

/// The revisions that a deployment's replica sets, or the controller revisions of the others, keep: number and object, oldest first.
async fn revisions(ctx: &Ctx, info: &Info) -> Result<Vec<(i64, Value)>> {
    let kind = info.resource.kind.as_str();
    let (plural, is_deployment) = match kind {
        "Deployment" => ("replicasets", true),
        "DaemonSet" | "StatefulSet" => ("controllerrevisions", false),
        _ => return Err(no_history(info, "history", "no history viewer")),
    };
    let selector = crate::describe::text::selector(info.object.at("spec").at("selector"));
    let path = format!(
        "/apis/apps/v1/namespaces/{}/{plural}{}",
        crate::client::segment(&info.namespace),
        crate::client::query(&[("labelSelector", &selector)])
    );
    let list = ctx.client()?.json(&crate::client::Call::get(path)).await?;
    let uid = info.object.at("metadata").at("uid");
    let mut out = Vec::new();
    for item in list.list("items") {
        let owned = item
            .at("metadata")
            .list("ownerReferences")
            .iter()
            .any(|o| o.flag("controller") && *o.at("uid") == *uid);
        let revision = if is_deployment {
            item.at("metadata")
                .at("annotations")
                .text_ptr("deployment.kubernetes.io/revision")
                .and_then(|r| r.parse().ok())
        } else {
            item.int_ptr("revision")
        };
        if let (true, Some(r)) = (owned, revision) {
            out.push((r, item.clone()));
        }
    }
    out.sort_by_key(|(r, _)| *r);
    Ok(out)
}

/// The error for a kind that has no revisions.
fn no_history(info: &Info, what: &str, nobody: &str) -> Error {
    const KNOWN: &[(&str, &str)] = &[
        ("batch", "Job"),
        ("", "Pod"),
        ("apps", "ReplicaSet"),
        ("", "ReplicationController"),
        ("batch", "CronJob"),
    ];
    let (group, kind) = (info.resource.group.as_str(), info.resource.kind.as_str());
    let named = quote(&if group.is_empty() {
        kind.to_string()
    } else {
        format!("{kind}.{group}")
    });
    if KNOWN.contains(&(group, kind)) {
        return message!("{nobody} has been implemented for {named}");
    }
    message!("error retrieving {what} for {named}, no visitor method exists for {{{group} {kind}}}")
}

/// Warns that an undone change will be back with the next apply.
fn warn_if_applied(ctx: &Ctx, info: &Info) {
    if info
        .object
        .at("metadata")
        .at("annotations")
        .some(LAST_APPLIED)
        .is_some()
    {
        let p = ctx.program();
        eprintln!(
            "Warning: resource {} was previously managed with '{p} apply'. Rolling back will not update the {LAST_APPLIED} annotation, which may cause unexpected behavior on future '{p} apply' operations. Consider using '{p} apply' with your previous configuration file instead.",
            info.object_name()
        );
    }
}
