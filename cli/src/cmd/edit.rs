//! `edit`: changes objects in the user's editor.
//! Invariant: nothing is sent unless the text changed; what the server refuses is shown in the editor again.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/util/editor/editoptions.go`.

use crate::command::{Command, Run};
use crate::context::Ctx;
use crate::edit::{edit, strip_comments};
use crate::error::{Error, Result};
use crate::flags::Flag;
use crate::generate::{LAST_APPLIED, save_config};
use crate::print::{self, Printer, without_managed_fields};
use crate::resource::{Builder, FILE_FLAGS, Info, Validation, helper};
use crate::typed::MERGE;
use serde_json::{Value, json};

pub static COMMAND: Command = Command {
    name: "edit",
    usage: "(RESOURCE/NAME | -f FILENAME)",
    short: "Edit a resource on the server",
    long: "Open objects in your editor ($KUBE_EDITOR, $EDITOR or vi) and send what you changed. If the server refuses it, the editor opens again and says why.",
    examples: "
      # A service
      kubectl edit svc/registry
      # In another editor
      KUBE_EDITOR=\"nano\" kubectl edit svc/registry
      # As JSON
      kubectl edit job.v1.batch/myjob -o json
      # Keep the change for a later apply
      kubectl edit deployment/mydeployment -o yaml --save-config",
    flags: &[
        FILE_FLAGS,
        Validation::FLAG,
        &[
            Flag::str("output", 'o', "yaml", "yaml or json"),
            Flag::bool("output-patch", '\0', false, "Show the patch that is sent"),
            Flag::bool("save-config", '\0', false, "Keep the result in the object's annotation, for a later 'apply'"),
            Flag::bool("show-managed-fields", '\0', false, "Also show managedFields"),
            Flag::bool("windows-line-endings", '\0', false, "End lines as Windows does").refused("files are edited with the line endings of this system"),
            Flag::str("subresource", '\0', "", "Edit this sub-resource: status").refused("edit the object itself"),
            Flag::str("field-manager", '\0', "kubectl-edit", "Who is said to manage the fields that are written"),
        ],
    ],
    run: Run::Verb(|ctx| Box::pin(run(ctx))),
    ..Command::NEW
};

const HEADER: &str = "# Please edit the object below. Lines beginning with a '#' will be ignored,\n# and an empty file will abort the edit. If an error occurs while saving this file will be\n# reopened with the relevant failures.\n#\n";

fn shown(ctx: &Ctx, object: &Value) -> String {
    if ctx.flags().str("output") == "json" { print::json::pretty(object) } else { crate::yaml::write(object) }
}

fn parse(text: &str) -> Result<Value> {
    let list = crate::yaml::read(text).map_err(Error::msg)?;
    Ok(list.into_iter().next().map_or(Value::Null, |d| d.value))
}

async fn run(ctx: Ctx) -> Result<()> {
    let mut builder = Builder::new(&ctx)?;
    builder.latest = true;
    let infos = builder.find().await?.all()?;
    let f = ctx.flags();
    let mut changed = false;
    for info in &infos {
        let visible = if f.bool("show-managed-fields") { info.object.clone() } else { without_managed_fields(&info.object) };
        changed |= one(&ctx, info, &visible).await?;
    }
    if !changed {
        eprintln!("Edit cancelled, no changes made.");
    }
    Ok(())
}

/// Edits one object until it is taken or given up; says whether it was changed.
async fn one(ctx: &Ctx, info: &Info, visible: &Value) -> Result<bool> {
    let f = ctx.flags();
    let original = shown(ctx, visible);
    let mut text = original.clone();
    let mut note = String::new();
    loop {
        let suffix = if f.str("output") == "json" { ".json" } else { ".yaml" };
        let edited = edit(&format!("{HEADER}{note}{text}"), suffix)?;
        let body = strip_comments(&edited.text);
        if body.trim().is_empty() || body == original || body == text && !note.is_empty() {
            let _ = std::fs::remove_file(&edited.path);
            if !note.is_empty() && body == text {
                return Err(Error::msg(format!("Edit cancelled, no valid changes were saved.\n{note}")));
            }
            return Ok(false);
        }
        let sent = match parse(&body) {
            Ok(mut after) => {
                if f.bool("save-config") {
                    save_config(&mut after);
                }
                send(ctx, info, visible, after).await
            }
            Err(e) => Err(e),
        };
        match sent {
            Ok(object) => {
                let _ = std::fs::remove_file(&edited.path);
                Printer::of(print::Format::Name, "edited", false).print(&object)?;
                return Ok(true);
            }
            Err(e) => {
                let (told, _) = crate::error::told(&e);
                eprintln!(
                    "error: {} could not be patched: {e}\nYou can run `{} replace -f {}` to try this update again.",
                    info.name_line(),
                    ctx.program(),
                    edited.path.display()
                );
                note = told.lines().map(|l| format!("# {l}\n")).collect::<String>() + "#\n";
                text = body;
            }
        }
    }
}

async fn send(ctx: &Ctx, info: &Info, before: &Value, after: Value) -> Result<Value> {
    for field in ["apiVersion", "kind"] {
        if after[field] != before[field] {
            return Err(Error::msg(format!("At least one of apiVersion, kind and name was changed: {field}")));
        }
    }
    if after["metadata"]["name"] != before["metadata"]["name"] {
        return Err(Error::msg("At least one of apiVersion, kind and name was changed"));
    }
    let mut from = info.clone();
    from.object = before.clone();
    if ctx.flags().bool("output-patch") {
        let (patch, _) = crate::typed::patch(before, &after).map_err(Error::msg)?;
        print::put(&format!("Patch: {}\n", print::json::compact(&patch)))?;
    }
    let manager = ctx.flags().str("field-manager");
    let (patch, kind) = crate::typed::patch(before, &after).map_err(Error::msg)?;
    let mut write = helper::Write::by(manager, crate::context::DryRun::None);
    if ctx.flags().declares("validate") {
        write = write.validation(Validation::parse(ctx.flags().str("validate"))?);
    }
    write.patch(ctx.client()?, &info.resource, &info.namespace, &info.name, kind, &patch).await
}

/// `create --edit`: edits what files hold, then creates it.
///
/// # Errors
/// What the server refuses.
pub async fn before_create(ctx: &Ctx) -> Result<()> {
    let f = ctx.flags();
    let infos = Builder::new(ctx)?.find().await?.all()?;
    let mut printer = Printer::new(f, "created")?;
    for info in infos {
        let edited = edit(&format!("{HEADER}{}", shown(ctx, &info.object)), ".yaml")?;
        let body = strip_comments(&edited.text);
        let _ = std::fs::remove_file(&edited.path);
        if body.trim().is_empty() {
            eprintln!("Edit cancelled, saved file was empty.");
            continue;
        }
        let write = helper::Write::by(f.str("field-manager"), ctx.dry_run()?);
        printer.print(&write.create(ctx.client()?, &info.resource, &info.namespace, &parse(&body)?).await?)?;
    }
    Ok(())
}

/// `apply edit-last-applied`: edits the annotation of apply.
///
/// # Errors
/// An object without the annotation.
pub async fn last_applied(ctx: &Ctx) -> Result<()> {
    let mut builder = Builder::new(ctx)?;
    builder.latest = true;
    let infos = builder.find().await?.all()?;
    let mut changed = false;
    for info in &infos {
        let Some(text) = info.object["metadata"]["annotations"][LAST_APPLIED].as_str() else {
            return Err(Error::msg(format!("no last-applied-configuration annotation found on resource: {}", info.name)));
        };
        let before: Value = serde_json::from_str(text)?;
        let original = shown(ctx, &before);
        let edited = edit(&format!("{HEADER}{original}"), ".yaml")?;
        let body = strip_comments(&edited.text);
        let _ = std::fs::remove_file(&edited.path);
        if body == original || body.trim().is_empty() {
            continue;
        }
        let after = parse(&body)?;
        let patch = json!({"metadata": {"annotations": {LAST_APPLIED: print::json::compact(&after) + "\n"}}});
        let write = helper::Write::by(ctx.flags().str("field-manager"), crate::context::DryRun::None);
        let object = write.patch(ctx.client()?, &info.resource, &info.namespace, &info.name, MERGE, &patch).await?;
        Printer::of(print::Format::Name, "edited", false).print(&object)?;
        changed = true;
    }
    if !changed {
        eprintln!("Edit cancelled, no changes made.");
    }
    Ok(())
}
