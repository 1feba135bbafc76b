//! `apply`: brings objects to what files say.
//! Invariant: what was applied last is kept in the object, so that what a file no longer says is taken out again, and nothing else.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/apply/apply.go` and `patcher.go`.

mod applyset;
mod last_applied;
pub mod prune;
mod server_side;

use applyset::ApplySet;

use crate::command::{Command, verb};
use crate::context::{Ctx, DryRun, With};
use crate::error::{Error, Result, bail, message};
use crate::generate::LAST_APPLIED;
use crate::print::{self, Printer, order::Order};
use crate::resource::{Builder, DRY_RUN, FILE_FLAGS, Info, SELECTOR, Validation, helper};
use crate::typed::{MERGE, Read, STRATEGIC};
use serde_json::{Value, json};
use skiff_api::machinery::patch::{Precondition, merge, strategic};

pub static COMMAND: Command = Command {
    name: "apply",
    usage: "(-f FILENAME | -k DIRECTORY)",
    short: "Apply a configuration to a resource by file name or stdin",
    long: "Bring objects to what files or standard input say, JSON or YAML. An object that is not there is created.\n\n Objects must have names. Those that were made otherwise should have been created with 'apply' or 'create --save-config'.",
    examples: "
      # What a file says
      kubectl apply -f ./pod.json
      # What standard input says
      cat pod.json | kubectl apply -f -
      # All files of a folder
      kubectl apply -f manifests/
      # Merge on the server
      kubectl apply --server-side -f ./pod.json
      # Delete what carries the label and is no longer in the file
      kubectl apply --prune -f manifest.yaml -l app=nginx",
    flags: &[
        print::FLAGS,
        FILE_FLAGS,
        SELECTOR,
        DRY_RUN,
        Validation::FLAG,
        super::delete::DELETION,
        crate::generate::RECORD,
    ],
    gated: &[("applyset", applyset::SWITCH)],
    subcommands: &[&last_applied::VIEW, &last_applied::SET, &last_applied::EDIT],
    run: verb!(run: Flags),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// Where the file and somebody else changed the same field, take the file's value
    #[arg(long, default_value = "true")]
    overwrite: bool,
    /// Merge lists as the kind's schema says
    #[arg(long = "openapi-patch", default_value = "true")]
    _openapi_patch: bool,
    /// Delete objects that were applied once and are no longer in the files
    #[arg(long)]
    prune: bool,
    /// Only prune this kind (GROUP/VERSION/KIND); may be repeated
    #[arg(long)]
    prune_allowlist: Vec<String>,
    /// With --prune, the parent of the set of objects that the files hold ([RESOURCE][.GROUP]/NAME; a Secret unless said otherwise). Members that the files no longer have are deleted
    #[arg(long)]
    applyset: String,
    /// With --prune, all objects that were applied
    #[arg(long)]
    all: bool,
    /// Have the server merge
    #[arg(long)]
    server_side: bool,
    /// With --server-side, take fields over from other managers
    #[arg(long)]
    force_conflicts: bool,
    /// With --server-side, apply to this sub-resource
    #[arg(long)]
    subresource: String,
    /// Who is said to manage the fields that are written
    #[arg(long, value_name = "kubectl-client-side-apply")]
    field_manager: Option<String>,
}

/// Who applies without the server's merging, unless somebody else is named.
pub const CLIENT_SIDE: &str = "kubectl-client-side-apply";

impl Flags {
    fn client_side_manager(&self) -> &str {
        self.field_manager.as_deref().unwrap_or(CLIENT_SIDE)
    }
}

async fn check(ctx: &With<Flags>, set: Option<&ApplySet>) -> Result<()> {
    check_modes(ctx)?;
    match set {
        Some(_) if !ctx.flags().prune => bail!("--applyset requires --prune"),
        Some(set) => set.validate(ctx).await?,
        None => {}
    }
    check_pruning(ctx, set.is_some())
}

/// Refuses ways of applying that do not go together.
fn check_modes(ctx: &With<Flags>) -> Result<()> {
    let f = ctx.flags();
    let (server_side, dry_run, force) = (f.server_side, ctx.dry_run()?, ctx.deletion().force);
    refuse(&[
        (
            f.force_conflicts && !server_side,
            "--force-conflicts only works with --server-side",
        ),
        (
            dry_run == DryRun::Client && server_side,
            "--dry-run=client doesn't work with --server-side (did you mean --dry-run=server instead?)",
        ),
        (
            server_side && force,
            "--force cannot be used with --server-side",
        ),
        (
            dry_run == DryRun::Server && force,
            "--dry-run=server cannot be used with --force",
        ),
        (
            f.all && !ctx.selector().is_empty(),
            "cannot set --all and --selector at the same time",
        ),
    ])
}

/// Refuses what does not go with pruning, by a set or not.
fn check_pruning(ctx: &With<Flags>, by_set: bool) -> Result<()> {
    let f = ctx.flags();
    let (server_side, force, prune) = (f.server_side, ctx.deletion().force, f.prune);
    refuse(&[
        (prune && force, "--force cannot be used with --prune"),
        (by_set && f.all, "--all is incompatible with --applyset"),
        (
            by_set && !ctx.selector().is_empty(),
            "--selector is incompatible with --applyset",
        ),
        (
            by_set && !f.prune_allowlist.is_empty(),
            "--prune-allowlist is incompatible with --applyset",
        ),
        (
            prune && !by_set && !f.all && ctx.selector().is_empty(),
            "all resources selected for prune without explicitly passing --all. To prune all resources, pass the --all flag. If you did not mean to prune all resources, specify a label selector",
        ),
        (
            prune && !by_set && server_side,
            "--prune is in alpha and doesn't currently work on objects created by server-side apply",
        ),
        (
            !f.subresource.is_empty() && !server_side,
            "--subresource can only be specified for --server-side",
        ),
    ])
}

/// The first mistake that is made.
fn refuse(mistakes: &[(bool, &str)]) -> Result<()> {
    match mistakes.iter().find(|(made, _)| *made) {
        Some((_, message)) => Err(Error::msg(*message)),
        None => Ok(()),
    }
}

async fn run(ctx: With<Flags>) -> Result<()> {
    let f = ctx.flags();
    ctx.dry_run()?;
    ctx.client()?;
    ctx.takes_no_args("Unexpected args")?;
    let mut builder = Builder::new(&ctx)?;
    builder.validation = Validation::of(&ctx)?.unwrap_or(Validation::Strict);
    builder.subresource = String::new();
    super::delete::first_policy(&ctx.deletion().cascade)?;
    if !ctx.has_files() {
        bail!("must specify one of -f and -k");
    }
    let mut set = match f.applyset.as_str() {
        "" => None,
        text => Some(ApplySet::named(&ctx, text).await?),
    };
    let pruned = if f.prune && (set.is_none() || !f.prune_allowlist.is_empty()) {
        prune::kinds(&ctx, &f.prune_allowlist).await?
    } else {
        vec![]
    };
    check(&ctx, set.as_ref()).await?;
    let mut found = builder.find().await?;
    let mut errors = found.failure();
    if let Some(set) = &set
        && let Err(why) = set.label(&mut found.infos)
    {
        (found.infos, errors) = (vec![], vec![why]);
    }
    if found.infos.is_empty() && errors.is_empty() {
        bail!("no objects passed to apply");
    }
    if let Some(set) = &mut set {
        set.begin(&ctx, &found.infos, builder.validation).await?;
    }
    let mut session = Session {
        structured: prints_whole(&ctx),
        done: vec![],
        printer: Printer::late(&ctx, ""),
    };
    for info in found.infos {
        if let Err(e) = one(&ctx, info, builder.validation, &mut session).await {
            errors.push(e);
        }
    }
    Error::collect(errors)?;
    session.print_objects()?;
    if let Some(set) = &set {
        set.prune(&ctx, &session.done, builder.validation).await?;
    } else if f.prune {
        let named = builder
            .require_namespace
            .then_some(builder.namespace.as_str());
        prune::run(&ctx, &pruned, named, &session.done).await?;
    }
    Ok(())
}

/// Whether objects are printed whole instead of being named.
fn prints_whole(ctx: &Ctx) -> bool {
    let template = &ctx.shared().print.templates.template;
    match ctx.output() {
        "" => !template.is_empty(),
        output => output != "name",
    }
}

/// What one command line has applied so far.
struct Session {
    /// Objects are printed whole, at the end.
    structured: bool,
    done: Vec<Info>,
    printer: Printer,
}

impl Session {
    fn tell(&mut self, ctx: &Ctx, info: Info, what: &str) -> Result<()> {
        if !self.structured {
            if ctx.output() != "name" {
                self.printer
                    .operation(&format!("{what}{}", ctx.dry_run()?.suffix()));
            }
            self.printer.print(&info.object)?;
        }
        self.done.push(info);
        Ok(())
    }

    fn print_objects(&mut self) -> Result<()> {
        match self.done.as_slice() {
            _ if !self.structured => Ok(()),
            [] => Ok(()),
            [one] => self.printer.print(&one.object),
            many => {
                let items: Vec<&Value> = many.iter().map(|i| &i.object).collect();
                self.printer.order(Order::List);
                self.printer.print(
                    &json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items}),
                )
            }
        }
    }
}

/// The object as it is kept in its own annotation: without that annotation.
pub fn configuration(object: &Value) -> String {
    print::json::compact(&bare(object)) + "\n"
}

/// The object with annotations, if only empty ones, but not that of what was last applied.
pub fn bare(object: &Value) -> Value {
    let mut copy = object.clone();
    if !copy.at("metadata").at("annotations").is_object() {
        copy["metadata"]["annotations"] = json!({});
    }
    if let Some(a) = copy["metadata"]["annotations"].as_object_mut() {
        a.remove(LAST_APPLIED);
    }
    copy
}

/// The object with what it is written into its annotation.
pub fn annotated(object: &Value) -> Value {
    let mut copy = object.clone();
    let text = configuration(object);
    if !copy.at("metadata").at("annotations").is_object() {
        copy["metadata"]["annotations"] = json!({});
    }
    copy["metadata"]["annotations"][LAST_APPLIED] = json!(text);
    copy
}

async fn one(
    ctx: &With<Flags>,
    mut info: Info,
    validation: Validation,
    session: &mut Session,
) -> Result<()> {
    let f = ctx.flags();
    crate::generate::record(ctx, &mut info.object);
    if info.name.is_empty()
        && let Some(prefix) = info
            .object
            .at("metadata")
            .text_ptr("generateName")
            .filter(|p| !p.is_empty())
    {
        bail!("from {prefix}: cannot use generate name with apply");
    }
    if f.server_side {
        server_side::apply(ctx, &mut info, validation).await?;
        warn_if_deleting(&info.name, &info.object);
        return session.tell(ctx, info, "serverside-applied");
    }
    let dry_run = ctx.dry_run()?;
    let modified = annotated(&info.object);
    let client = ctx.client()?;
    let live = match helper::get(client, &info.resource, &info.namespace, &info.name).await {
        Ok(o) => o,
        Err(e) if e.is_not_found() => {
            let mut object = modified;
            prune_nulls(&mut object);
            if dry_run != DryRun::Client {
                let write = helper::Write::by(ctx.flags().client_side_manager(), dry_run)
                    .validation(validation);
                object = write
                    .create(client, &info.resource, &info.namespace, &object)
                    .await
                    .map_err(|e| {
                        crate::resource::typo::explain(
                            e.with_source("creating", &info.source),
                            &info,
                        )
                    })?;
            }
            info.object = object;
            return session.tell(ctx, info, "created");
        }
        Err(e) => {
            return Err(e.with_source(
                &format!(
                    "retrieving current configuration of:\n{}\nfrom server for:",
                    describe(&info)
                ),
                &info.source,
            ));
        }
    };
    if live
        .at("metadata")
        .at("annotations")
        .some(LAST_APPLIED)
        .is_none()
    {
        let p = ctx.program();
        eprintln!(
            "Warning: resource {} is missing the {LAST_APPLIED} annotation which is required by {p} apply. {p} apply should only be used on resources created declaratively by either {p} create --save-config or {p} apply. The missing annotation will be patched automatically.",
            info.object_name()
        );
    }
    let (patch, object) = patch_live(ctx, &info, &modified, live, validation).await?;
    info.object = object;
    warn_if_deleting(&info.name, &info.object);
    let what = if patch == json!({}) {
        "unchanged"
    } else {
        "configured"
    };
    session.tell(ctx, info, what)
}

/// Warns of changes to an object that is being deleted.
pub fn warn_if_deleting(name: &str, object: &Value) {
    if object.at("metadata").some("deletionTimestamp").is_some() {
        eprintln!("Warning: Detected changes to resource {name} which is currently being deleted.");
    }
}

/// How messages of failures show an object.
fn describe(info: &Info) -> String {
    format!(
        "Resource: \"{}/{}, Resource={}\", GroupVersionKind: \"{}/{}, Kind={}\"\nName: \"{}\", Namespace: \"{}\"",
        info.resource.group,
        info.resource.version,
        info.resource.plural,
        info.resource.group,
        info.resource.version,
        info.resource.kind,
        info.name,
        info.namespace
    )
}

/// Makes the patch of the three states and sends it; with a conflict, reads the object again and starts over.
async fn patch_live(
    ctx: &With<Flags>,
    info: &Info,
    modified: &Value,
    mut live: Value,
    validation: Validation,
) -> Result<(Value, Value)> {
    let f = ctx.flags();
    let client = ctx.client()?;
    let failed = |e: Error, patch: &str| {
        let e = e.with_source("patching", &info.source);
        e.with_source(
            &format!("applying patch:\n{patch}\nto:\n{}\nfor:", describe(info)),
            &info.source,
        )
    };
    let mut tries = 0;
    loop {
        let (patch, kind) = three_way(modified, &live, f.overwrite).map_err(|e| failed(e, ""))?;
        if patch == json!({}) {
            return Ok((patch, live));
        }
        if ctx.dry_run()? == DryRun::Client {
            apply_here(&mut live, &patch, kind)
                .map_err(|e| message!("applying patch locally: {e}"))?;
            return Ok((patch, live));
        }
        let write = helper::Write::by(ctx.flags().client_side_manager(), ctx.dry_run()?)
            .validation(validation);
        match write.patch_of(client, info, kind, &patch).await {
            Ok(o) => return Ok((patch, o)),
            Err(e) if e.is_conflict() && tries < 5 => {
                tries += 1;
                if tries > 1 {
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                }
                live = helper::get(client, &info.resource, &info.namespace, &info.name).await?;
            }
            Err(e) if ctx.deletion().force && matches!(e.reason(), "Conflict" | "Invalid") => {
                let shown = print::json::compact(modified);
                let object = recreate(ctx, info, modified, &live).await.map_err(|e| {
                    e.with_source(
                        &format!("applying patch:\n{shown}\nto:\n{}\nfor:", describe(info)),
                        &info.source,
                    )
                })?;
                return Ok((patch, object));
            }
            Err(e) => {
                return Err(crate::resource::typo::explain(
                    failed(e, &print::json::compact(&patch)),
                    info,
                ));
            }
        }
    }
}

/// How many seconds `--force` waits for the old object's end. Upstream waits none unless told, and then has deleted the object without making another.
const FORCE_TIMEOUT: f64 = 300.0;

/// `--force`: deletes the object and makes it anew, once it is known that the server would take it; if that fails, puts the old one back.
async fn recreate(ctx: &With<Flags>, info: &Info, modified: &Value, live: &Value) -> Result<Value> {
    let client = ctx.client()?;
    let write = helper::Write::by(ctx.flags().client_side_manager(), DryRun::None)
        .validation(Validation::of(ctx)?.unwrap_or(Validation::Strict));
    write
        .rehearse(client, &info.resource, &info.namespace, modified)
        .await?;
    let mut body = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": super::delete::policy(&ctx.deletion().cascade)?});
    if ctx.deletion().grace_period >= 0 {
        body["gracePeriodSeconds"] = json!(ctx.deletion().grace_period);
    }
    helper::delete(client, info, &body, false).await?;
    let uid = live.at("metadata").text("uid").to_string();
    let timeout = ctx.deletion().timeout;
    if super::delete::wait_gone(
        ctx,
        &[(info.clone(), uid)],
        if timeout == 0.0 {
            FORCE_TIMEOUT
        } else {
            timeout
        },
    )
    .await?
    .is_some()
    {
        bail!("context deadline exceeded");
    }
    match write
        .create(client, &info.resource, &info.namespace, modified)
        .await
    {
        Ok(o) => Ok(o),
        Err(e) => match write
            .create(client, &info.resource, &info.namespace, live)
            .await
        {
            Ok(_) => Err(e),
            Err(again) => Err(message!(
                "An error occurred force-replacing the existing object with the newly provided one:\n\n{e}.\n\nAdditionally, an error occurred attempting to restore the original object:\n\n{again}"
            )),
        },
    }
}

/// The patch that brings the live object to the file's, given what was applied last; and its media type.
///
/// # Errors
/// States that no patch can be made of.
pub fn three_way(modified: &Value, live: &Value, overwrite: bool) -> Result<(Value, &'static str)> {
    let text = live.at("metadata").at("annotations").text_ptr(LAST_APPLIED);
    let original = match text {
        Some(text) => serde_json::from_str(text)?,
        None => Value::Null,
    };
    let made = match crate::typed::schema(modified) {
        Some(node) => strategic::three_way(
            &original,
            modified,
            live,
            node,
            overwrite,
            &Precondition::APPLY,
        )
        .map(|p| (p, STRATEGIC))
        .map_err(|e| e.to_string()),
        None => merge::three_way(&original, modified, live, &Precondition::APPLY)
            .map(|p| (p, MERGE))
            .map_err(|e| e.to_string()),
    };
    made.map_err(|e| {
        let (modified, live) = (print::json::compact(modified) + "\n", print::json::compact(live) + "\n");
        message!("creating patch with:\noriginal:\n{}\nmodified:\n{modified}\ncurrent:\n{live}\nfor: {e}", text.unwrap_or(""))
    })
}

fn apply_here(live: &mut Value, patch: &Value, kind: &str) -> Result<()> {
    match crate::typed::schema(live) {
        Some(node) if kind == STRATEGIC => strategic::apply(live, patch, node)
            .map(|new| *live = new)
            .map_err(|e| Error::msg(e.to_string())),
        _ => merge::apply(live, patch.clone(), false).map_err(|e| Error::msg(e.to_string())),
    }
}

/// Fields that are null mean nothing in a new object.
fn prune_nulls(value: &mut Value) {
    match value {
        Value::Object(m) => {
            m.retain(|_, v| !v.is_null());
            m.values_mut().for_each(prune_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(prune_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_no_longer_says_is_taken_out() {
        let cm = |data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data});
        let mut live = annotated(&cm(json!({"a": "1", "b": "2"})));
        live["data"]["other"] = json!("kept");
        let modified = annotated(&cm(json!({"a": "3"})));
        let (patch, kind) = three_way(&modified, &live, true).unwrap();
        assert_eq!(kind, STRATEGIC);
        assert_eq!(patch["data"], json!({"a": "3", "b": null}));
        apply_here(&mut live, &patch, kind).unwrap();
        assert_eq!(live["data"], json!({"a": "3", "other": "kept"}));
        assert_eq!(three_way(&modified, &live, true).unwrap().0, json!({}));
    }
}
