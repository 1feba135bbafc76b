//! `patch`: changes fields of an object by a patch of any of the three kinds.
//! Invariant: the patch is sent as it was written; only YAML is turned into JSON.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/patch/patch.go`.

use super::modify;
use crate::command::{Command, verb};
use crate::complete::Words;
use crate::context::With;
use crate::error::{Error, Result, bail, message, quote};
use crate::generate::MANAGER;
use crate::print::{self, Printer};
use crate::resource::{Builder, DRY_RUN, FILE_FLAGS, Info, helper};
use crate::typed::{JSON_PATCH, MERGE, STRATEGIC};
use serde_json::{Value, json};
use skiff_api::machinery::patch;

pub static COMMAND: Command = Command {
    name: "patch",
    usage: "(-f FILENAME | TYPE NAME) [-p PATCH|--patch-file FILE]",
    short: "Update fields of a resource",
    long: "Change fields of an object by a strategic merge patch, a JSON merge patch or a JSON patch, given as JSON or YAML.\n\n Strategic merge patches are not supported for custom resources.",
    examples: "
      # A strategic merge patch, as JSON
      kubectl patch node k8s-node-1 -p '{\"spec\":{\"unschedulable\":true}}'
      # As YAML
      kubectl patch node k8s-node-1 -p $'spec:\\n unschedulable: true'
      # What a file describes
      kubectl patch -f node.json -p '{\"spec\":{\"unschedulable\":true}}'
      # One container's image: its name says which
      kubectl patch pod valid-pod -p '{\"spec\":{\"containers\":[{\"name\":\"kubernetes-serve-hostname\",\"image\":\"new image\"}]}}'
      # A JSON patch
      kubectl patch pod valid-pod --type='json' -p='[{\"op\": \"replace\", \"path\": \"/spec/containers/0/image\", \"value\":\"new image\"}]'
      # Through the scale sub-resource
      kubectl patch deployment nginx-deployment --subresource='scale' --type='merge' -p '{\"spec\":{\"replicas\":2}}'",
    flags: &[print::FLAGS, FILE_FLAGS, DRY_RUN, MANAGER, crate::generate::RECORD],
    defaults: &[("field-manager", "kubectl-patch")],
    run: verb!(run: Flags),
    words: Some(Words::ANY),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// The patch
    #[arg(long, short)]
    patch: String,
    /// A file with the patch
    #[arg(long)]
    patch_file: String,
    /// What kind of patch it is: json, merge or strategic
    #[arg(long, default_value = "strategic")]
    r#type: String,
    /// Patch what the file holds, without a server
    #[arg(long)]
    local: bool,
    /// Patch this sub-resource: status, scale or resize
    #[arg(long)]
    subresource: String,
}

async fn run(ctx: With<Flags>) -> Result<()> {
    let f = ctx.flags();
    ctx.dry_run()?;
    ctx.namespace()?;
    let (inline, file) = (f.patch.as_str(), f.patch_file.as_str());
    if !inline.is_empty() && !file.is_empty() {
        bail!("cannot specify --patch and --patch-file together");
    }
    if inline.is_empty() && file.is_empty() {
        bail!("must specify --patch or --patch-file containing the contents of the patch");
    }
    if f.local && !ctx.args().is_empty() {
        bail!("cannot specify --local and server resources");
    }
    let local = modify::is_local(&ctx)?;
    let kind = match f.r#type.to_lowercase().as_str() {
        "json" => JSON_PATCH,
        "merge" => MERGE,
        "strategic" => STRATEGIC,
        other => {
            bail!(
                "--type must be one of [json merge strategic], not {}",
                quote(other)
            );
        }
    };
    let text = if file.is_empty() {
        inline.to_string()
    } else {
        std::fs::read_to_string(file).map_err(|e| {
            message!(
                "unable to read patch file: open {file}: {}",
                crate::error::go_io(&e)
            )
        })?
    };
    let body = if text.trim_start().starts_with(['{', '[']) {
        text.into_bytes()
    } else {
        to_json(&text)?
    };
    let mut builder = Builder::new(&ctx)?;
    builder.subresource.clone_from(&f.subresource);
    let mut found = builder.find().await?;
    let mut errors = found.failures();
    let mut count = 0;
    for info in found.infos {
        errors.next_object();
        count += 1;
        // Each has a printer of its own: nothing divides their documents.
        let mut printer = Printer::late(&ctx, "");
        let result = if local {
            here(&info, kind, &body)
        } else {
            helper::Write::by(ctx.manager(), ctx.dry_run()?)
                .subresource(f.subresource.as_str())
                .patch_raw(ctx.client()?, &info, kind, body.clone())
                .await
                .map_err(|error| not_of_this_type(error, &info, kind))
        };
        match result {
            Ok(mut after) => {
                let note = if after == info.object {
                    "patched (no change)"
                } else {
                    "patched"
                };
                if let Some(cause) = ctx.change_cause().filter(|_| !local) {
                    let marks = json!({"metadata": {"annotations": {crate::generate::CHANGE_CAUSE: cause}}});
                    after = helper::Write::by(ctx.manager(), ctx.dry_run()?)
                        .patch_of(ctx.client()?, &info, MERGE, &marks)
                        .await?;
                }
                if ctx.output() != "name" {
                    // A dry run is not told: kubectl's own message for it is overwritten by this note.
                    printer.operation(note);
                }
                errors.extend(printer.print(&after).err());
            }
            Err(e) => errors.push(e),
        }
    }
    if count == 0 && errors.is_empty() {
        bail!("no objects passed to patch");
    }
    errors.told()
}

fn to_json(text: &str) -> Result<Vec<u8>> {
    let documents = crate::yaml::read_lax(text)
        .map_err(|e| message!("unable to parse {}: {e}", quote(text)))?;
    let value = documents
        .into_iter()
        .next()
        .map_or(Value::Null, |d| d.value);
    Ok(serde_json::to_vec(&value)?)
}

/// The server does not take patches of this type for objects of this kind.
fn not_of_this_type(error: Error, info: &Info, patch: &str) -> Error {
    if error.reason() != "UnsupportedMediaType" {
        return error;
    }
    let of = &info.resource;
    let group_version = match of.group.as_str() {
        "" => format!("/{}", of.version),
        group => format!("{group}/{}", of.version),
    };
    message!(
        "{patch} is not supported by {group_version}, Kind={}: {error}",
        of.kind
    )
}

/// Patches an object without a server.
fn here(info: &Info, kind: &str, body: &[u8]) -> Result<Value> {
    let patch: Value =
        serde_json::from_slice(body).map_err(|e| message!("unable to parse the patch: {e}"))?;
    let mut object = info.object.clone();
    match kind {
        JSON_PATCH => patch::json::JsonPatch::decode(&patch, false)
            .and_then(|p| p.apply(&mut object))
            .map_err(|e| Error::msg(e.to_string()))?,
        MERGE => {
            patch::merge::apply(&mut object, patch, false).map_err(|e| Error::msg(e.to_string()))?
        }
        _ => {
            let node = crate::typed::schema(&object).ok_or_else(|| {
                message!(
                    "strategic merge patch is not supported for {} locally, try --type merge",
                    info.resource.kind
                )
            })?;
            object = patch::strategic::apply(&object, &patch, node)
                .map_err(|e| Error::msg(e.to_string()))?;
        }
    }
    Ok(object)
}
