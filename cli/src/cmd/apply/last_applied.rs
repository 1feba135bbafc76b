//! `apply view-last-applied`, `set-last-applied`, `edit-last-applied`: what an object was last applied as.
//! Invariant: only the annotation changes.
//! Behaviour follows the files of these names in `staging/src/k8s.io/kubectl/pkg/cmd/apply`.

use crate::command::{Command, verb};
use crate::complete::Words;
use crate::context::{Ctx, DryRun, With};
use crate::error::{Result, bail};
use crate::generate::{LAST_APPLIED, MANAGER};
use crate::print::{self, Printer, json as layout};
use crate::resource::{
    ALL, Builder, DRY_RUN, FILE_FLAGS, FOLDER_FLAGS, Info, SELECTOR, Validation, helper,
};
use crate::typed::{MERGE, Read};
use serde_json::{Value, json};

pub static VIEW: Command = Command {
    name: "view-last-applied",
    usage: "(TYPE [NAME | -l label] | TYPE/NAME | -f FILENAME)",
    short: "View the latest last-applied-configuration annotations of a resource/object",
    long: "Show what objects were last applied as, as YAML or JSON.",
    examples: "
      # By kind and name
      kubectl apply view-last-applied deployment/nginx
      # Of what a file describes, as JSON
      kubectl apply view-last-applied -f deploy.yaml -o json",
    flags: &[FILE_FLAGS, SELECTOR, ALL],
    run: verb!(view: ViewLastAppliedFlags),
    words: Some(Words::ANY),
    ..Command::NEW
};

pub static SET: Command = Command {
    name: "set-last-applied",
    usage: "-f FILENAME",
    short: "Set the last-applied-configuration annotation on a live object to match the contents of a file",
    long: "Write into objects that they were last applied as the files say, without changing anything else.",
    examples: "
      # As a file says
      kubectl apply set-last-applied -f deploy.yaml
      # Also where the annotation is missing
      kubectl apply set-last-applied -f deploy.yaml --create-annotation=true",
    flags: &[print::FLAGS, FOLDER_FLAGS, DRY_RUN],
    run: verb!(set: SetLastAppliedFlags),
    ..Command::NEW
};

pub static EDIT: Command = Command {
    name: "edit-last-applied",
    usage: "(RESOURCE/NAME | -f FILENAME)",
    short: "Edit latest last-applied-configuration annotations of a resource/object",
    long: "Edit in your editor what objects were last applied as.",
    examples: "
      # As YAML
      kubectl apply edit-last-applied deployment/nginx
      # As JSON
      kubectl apply edit-last-applied -f deploy.yaml -o json",
    flags: &[
        print::FLAGS,
        FILE_FLAGS,
        Validation::FLAG,
        crate::cmd::edit::LINE_ENDINGS,
        MANAGER,
    ],
    defaults: &[("field-manager", "kubectl-client-side-apply")],
    run: verb!(edit: ()),
    words: Some(Words::ANY),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct SetLastAppliedFlags {
    /// Write the annotation where it is missing
    #[arg(long)]
    create_annotation: bool,
}

#[derive(clap::Args)]
#[group(skip)]
struct ViewLastAppliedFlags {
    /// yaml or json
    #[arg(long, short, default_value = "yaml")]
    output: String,
}

async fn view(ctx: With<ViewLastAppliedFlags>) -> Result<()> {
    let f = ctx.flags();
    let mut builder = Builder::new(&ctx)?;
    builder.latest = true;
    builder.continue_on_error = false;
    let infos = builder.find().await?.all()?;
    for info in infos {
        let text = info
            .object
            .at("metadata")
            .at("annotations")
            .text_ptr(LAST_APPLIED);
        // who was never applied has nothing to show, and that is no failure
        let Some(text) = text else { continue };
        let value: Value = serde_json::from_str(text)?;
        match f.output.as_str() {
            "json" => print::put(
                &(layout::write(
                    &value,
                    layout::Style {
                        indent: 2,
                        ..Default::default()
                    },
                ) + "\n"),
            )?,
            "yaml" => print::put(&crate::yaml::write(&value))?,
            other => {
                return Err(ctx.usage(format!(
                    "Unexpected -o output mode: {other}, the flag 'output' must be one of yaml|json"
                )));
            }
        }
    }
    Ok(())
}

async fn set(ctx: With<SetLastAppliedFlags>) -> Result<()> {
    let f = ctx.flags();
    let dry_run = ctx.dry_run()?;
    let mut printer = Printer::new(&ctx, format!("configured{}", dry_run.suffix()))?;
    // all are looked at before the first is written
    let mut changes = Vec::new();
    // its words name nothing
    let mut builder = Builder::new(&ctx)?.args(&[]);
    builder.continue_on_error = false;
    for info in builder.find().await?.all()? {
        let live = live(&ctx, &info).await?;
        // As the file has it: unlike apply, this adds no empty annotations.
        let wanted = print::json::compact(&info.object) + "\n";
        match live.at("metadata").at("annotations").text_ptr(LAST_APPLIED) {
            None if !f.create_annotation => {
                bail!(
                    "no last-applied-configuration annotation found on resource: {}, to create the annotation, run the command with --create-annotation",
                    info.name
                );
            }
            Some(old) if old.trim_end() == wanted.trim_end() => {
                print::put(&format!(
                    "set-last-applied {}: no changes required.\n",
                    info.name
                ))?;
            }
            _ => changes.push((info, live, wanted)),
        }
    }
    for (info, mut object, wanted) in changes {
        let patch = json!({"metadata": {"annotations": {LAST_APPLIED: wanted}}});
        if dry_run == DryRun::Client {
            object["metadata"]["annotations"][LAST_APPLIED] = json!(wanted);
        } else {
            object = helper::Write::by("kubectl", dry_run)
                .patch_of(ctx.client()?, &info, MERGE, &patch)
                .await?;
        }
        printer.print(&object)?;
    }
    Ok(())
}

/// What the server has of an object that a file describes.
async fn live(ctx: &Ctx, info: &Info) -> Result<Value> {
    let client = ctx.client()?;
    let error = match helper::get(client, &info.resource, &info.namespace, &info.name).await {
        Ok(live) => return Ok(live),
        Err(error) => helper::absent(client, &info.namespace, error).await,
    };
    if error.is_not_found() {
        return Err(error);
    }
    let doing = format!(
        "retrieving current configuration of:\n{}\nfrom server for:",
        info.object_name()
    );
    Err(error.with_source(&doing, &info.source))
}

async fn edit(ctx: With<()>) -> Result<()> {
    crate::cmd::edit::last_applied(&ctx).await
}
