//! `set selector`: replaces a service's selector.
//! Invariant: only services have one that can be set.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/set/set_selector.go`.

use super::{DEFAULT_MANAGER, RECORDING};
use crate::cmd::modify;
use crate::command::{Command, verb};
use crate::context::{DryRun, With};
use crate::error::{Result, bail};
use crate::generate;
use crate::print;
use crate::resource::{Builder, DEEP, DRY_RUN, FOLDER_FLAGS, Info, builder::KUBECTL};
use crate::typed::Read;
use serde_json::{Value, json};

pub static COMMAND: Command = Command {
    name: "selector",
    usage: "(-f FILENAME | TYPE NAME) EXPRESSIONS [--resource-version=version]",
    short: "Set the selector on a resource",
    long: "Set which pods a service leads to. The new selector replaces the old one.",
    examples: "
      # Select by a label
      kubectl set selector service my-svc app=web",
    flags: &[print::FLAGS, FOLDER_FLAGS, DRY_RUN, RECORDING],
    defaults: &[DEEP, DEFAULT_MANAGER],
    run: verb!(run: Flags),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// Only if the object's version is this
    #[arg(long)]
    resource_version: String,
}

async fn run(ctx: With<Flags>) -> Result<()> {
    ctx.dry_run()?;
    let Some((text, resources)) = ctx.args().split_last() else {
        bail!("one selector is required");
    };
    let wanted = generate::label_selector(text)?;
    let mut printer = generate::printer(&ctx, "selector updated")?;
    let local = ctx.local() || ctx.dry_run()? == DryRun::Client;
    let mut builder = Builder::new(&ctx)?.args(resources);
    builder.typed = Some(KUBECTL);
    builder.latest = !ctx.local();
    builder.allow_empty_selector = ctx.all();
    builder.all = false;
    let mut found = builder.find().await?;
    let mut errors = found.failures();
    for info in found.infos {
        errors.next_object();
        match one(&ctx, info, &wanted, local).await {
            Ok(object) => printer.print(&object)?,
            Err(e) => errors.push(e),
        }
    }
    errors.told()
}

async fn one(ctx: &With<Flags>, mut info: Info, wanted: &Value, local: bool) -> Result<Value> {
    if info.resource.kind != "Service" {
        bail!("setting a selector is only supported for Services");
    }
    if let Some(list) = wanted.at("matchExpressions").as_array() {
        let shown = |e: &Value| {
            let values: Vec<&str> = e.list("values").iter().filter_map(Value::as_str).collect();
            format!(
                "{{{} {} [{}]}}",
                e.text("key"),
                e.text("operator"),
                values.join(" ")
            )
        };
        let list: Vec<String> = list.iter().map(shown).collect();
        bail!(
            "match expression [{}] not supported on this object",
            list.join(" ")
        );
    }
    let version = ctx.flags().resource_version.as_str();
    let mut after = info.object.clone();
    after["spec"]["selector"] = wanted
        .get("matchLabels")
        .cloned()
        .unwrap_or_else(|| json!({}));
    generate::record(ctx, &mut after);
    if !version.is_empty() {
        // The version is in the patch whatever the object's is.
        info.object["metadata"]
            .as_object_mut()
            .map(|m| m.remove("resourceVersion"));
        after["metadata"]["resourceVersion"] = json!(version);
    }
    if local {
        Ok(crate::typed::canonical(&after))
    } else {
        modify::send(ctx, &info, &after).await
    }
}
