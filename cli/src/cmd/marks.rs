//! What `label` and `annotate` are: they set, change, remove and list one map of an object's metadata.
//! Invariant: an entry that has another value is only changed with --overwrite.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/label/label.go` and `cmd/annotate/annotate.go`.

use super::modify;
use crate::context::{Ctx, With};
use crate::error::{Error, Result, bail, quote};
use crate::flags::Group;
use crate::generate::{CHANGE_CAUSE, MANAGER, RECORD};
use crate::print::{self, Printer};
use crate::resource::{
    ALL, ALL_NAMESPACES, Builder, DRY_RUN, FIELD_SELECTOR, FILE_FLAGS, Found, Info, LOCAL,
    SELECTOR, helper,
};
use crate::typed::MERGE;
use serde_json::{Map, Value, json};

/// What one of the two verbs changes, and what it says of it.
pub struct Marks {
    /// The field of the metadata, which messages call it by, too.
    pub field: &'static str,
    /// One of them.
    pub what: &'static str,
    /// The name that files have in messages.
    pub sample: &'static str,
    /// What is said of each object; nothing where it is said what was changed, and what comes to nothing is not sent.
    pub done: Option<&'static str>,
    /// A wrong output format is only found when there is something to show.
    pub late: bool,
    /// `--list` and `--output` exclude each other.
    pub lists_alone: bool,
    pub parse: fn(&[String]) -> Result<Changes>,
    /// The errors for keys that have another value: key and value.
    pub clash: fn(&[(&str, &str)]) -> Vec<Error>,
}

/// Adds and removals.
#[derive(Default)]
pub struct Changes {
    pub set: Vec<(String, String)>,
    pub remove: Vec<String>,
}

/// The flags of both.
#[derive(clap::Args)]
#[group(skip)]
pub struct Flags {
    /// Change values that are there already
    #[arg(long)]
    overwrite: bool,
    /// Show what each object has
    #[arg(long)]
    list: bool,
    /// Only change the object if this is its version; only with a single object
    #[arg(long)]
    resource_version: Option<String>,
}

pub const GROUPS: &[Group] = &[
    print::FLAGS,
    FILE_FLAGS,
    SELECTOR,
    FIELD_SELECTOR,
    DRY_RUN,
    LOCAL,
    ALL,
    ALL_NAMESPACES,
    MANAGER,
    RECORD,
];

pub async fn run(ctx: With<Flags>, marks: &'static Marks) -> Result<()> {
    ctx.dry_run()?;
    let (resources, pairs) = modify::split_pairs(ctx.args(), marks.what)?;
    ctx.namespace()?;
    let changes = (marks.parse)(&pairs)?;
    check(&ctx, marks, &resources, &changes)?;
    let local = modify::is_local(&ctx)?;
    let done = marks.done.map_or_else(String::new, |done| {
        format!("{done}{}", ctx.dry_run().map_or("", |d| d.suffix()))
    });
    let make = || match marks.late {
        true => Ok(Printer::late(&ctx, done.clone())),
        false => Printer::new(&ctx, done.clone()),
    };
    let mut printer = make()?;
    let mut found = find(&ctx, &resources).await?;
    let single = found.is_one();
    let mut errors = found.failures();
    for mut info in found.infos {
        errors.next_object();
        // Where it is said of each object what was done, each has a printer of its own: nothing divides their documents.
        if marks.done.is_none() {
            printer = make()?;
        }
        let changed = one(&ctx, marks, &mut info, &changes, local);
        let shown = match changed.await {
            Ok(_) if ctx.flags().list => list(&info, marks.field, single),
            Ok(message) => {
                if let Some(message) = message.filter(|_| ctx.output() != "name") {
                    printer.operation(&format!("{message}{}", ctx.dry_run()?.suffix()));
                }
                printer.print(&info.object)
            }
            Err(e) => Err(e),
        };
        errors.extend(shown.err());
    }
    errors.told()
}

fn check(ctx: &With<Flags>, marks: &Marks, resources: &[String], changes: &Changes) -> Result<()> {
    let (f, local, what, sample) = (ctx.flags(), ctx.local(), marks.what, marks.sample);
    for (wrong, message) in [
        (
            marks.lists_alone && f.list && !ctx.output().is_empty(),
            "--list and --output may not be specified together".to_string(),
        ),
        (
            ctx.all() && !ctx.selector().is_empty(),
            "cannot set --all and --selector at the same time".to_string(),
        ),
        (
            ctx.all() && !ctx.field_selector().is_empty(),
            "cannot set --all and --field-selector at the same time".to_string(),
        ),
        (
            local && !resources.is_empty(),
            format!(
                "can only use local files by -f {sample}.yaml or --filename={sample}.json when --local=true is set"
            ),
        ),
        (
            local && !ctx.has_files(),
            format!(
                "one or more files must be specified as -f {sample}.yaml or --filename={sample}.json"
            ),
        ),
        (
            !local && resources.is_empty() && !ctx.has_files(),
            "one or more resources must be specified as <resource> <name> or <resource>/<name>"
                .to_string(),
        ),
        (
            changes.set.is_empty() && changes.remove.is_empty() && !f.list,
            format!("at least one {what} update is required"),
        ),
    ] {
        if wrong {
            return Err(Error::msg(message));
        }
    }
    Ok(())
}

/// The objects that the words name; not more than one with --resource-version.
async fn find(ctx: &With<Flags>, resources: &[String]) -> Result<Found> {
    let mut builder = Builder::new(ctx)?.args(resources);
    builder.latest = !ctx.local();
    builder.allow_empty_selector |= ctx.all();
    builder.all = false;
    let found = builder.find().await?;
    if !found.is_one() && ctx.flags().resource_version.is_some() {
        bail!("--resource-version may only be used with a single resource");
    }
    Ok(found)
}

/// Prints `key=value` lines.
fn list(info: &Info, field: &str, single: bool) -> Result<()> {
    let mut out = String::new();
    if !single {
        out += &format!(
            "Listing {field} for {}.{}/{}:\n",
            info.resource.kind, info.resource.group, info.name
        );
    }
    let pad = if single { "" } else { " " };
    for (k, v) in entries(info, field).into_iter().flatten() {
        out += &format!("{pad}{k}={}\n", v.as_str().unwrap_or(""));
    }
    print::put(&out)
}

fn entries<'a>(info: &'a Info, field: &str) -> Option<&'a Map<String, Value>> {
    info.object.get("metadata")?.get(field)?.as_object()
}

/// Changes one object; gives what was done where that is to be said.
async fn one(
    ctx: &With<Flags>,
    marks: &Marks,
    info: &mut Info,
    changes: &Changes,
    local: bool,
) -> Result<Option<&'static str>> {
    let f = ctx.flags();
    let current = entries(info, marks.field).cloned().unwrap_or_default();
    let value = |key: &str| current.get(key).and_then(Value::as_str);
    let differs = |(k, v): &&(String, String)| value(k) != Some(v);
    if !f.overwrite {
        let other = |(k, v): &'_ (String, String)| value(k).is_some_and(|c| c != v);
        let clash = changes.set.iter().filter(|pair| other(pair));
        let clash: Vec<(&str, &str)> = clash
            .map(|(k, _)| (k.as_str(), value(k).unwrap_or("")))
            .collect();
        Error::collect((marks.clash)(&clash))?;
    }
    let sparing = marks.done.is_none();
    if sparing && !local && !f.list {
        for key in changes.remove.iter().filter(|k| !current.contains_key(*k)) {
            print::put(&format!("{} {} not found.\n", marks.what, quote(key)))?;
        }
    }
    let added = changes.set.iter().filter(|p| !sparing || differs(p));
    let added: Vec<_> = added.map(|(k, v)| (k, Some(v))).collect();
    let removed = changes.remove.iter();
    let removed = removed.filter(|k| !sparing || current.contains_key(*k));
    let removed: Vec<_> = removed.map(|k| (k, None)).collect();
    let message = match (added.is_empty(), removed.is_empty()) {
        _ if !sparing => None,
        (false, false) => Some("modified"),
        (false, true) => Some("labeled"),
        (true, false) => Some("unlabeled"),
        (true, true) => Some("not labeled"),
    };
    let all = [added, removed].concat();
    for (key, value) in &all {
        modify::set_entry(
            &mut info.object,
            marks.field,
            key,
            value.map(String::as_str),
        );
    }
    let cause = ctx.change_cause();
    if let Some(cause) = cause.as_deref().filter(|_| !all.is_empty()) {
        modify::set_entry(&mut info.object, "annotations", CHANGE_CAUSE, Some(cause));
    }
    let nothing = sparing && all.is_empty();
    if !(f.list || local || nothing) {
        info.object = send(ctx, marks.field, info, &all, f.resource_version.as_deref()).await?;
    }
    Ok(message)
}

async fn send(
    ctx: &Ctx,
    field: &str,
    info: &Info,
    changes: &[(&String, Option<&String>)],
    version: Option<&str>,
) -> Result<Value> {
    let entries: Map<String, Value> = changes
        .iter()
        .map(|(k, v)| ((*k).clone(), json!(v)))
        .collect();
    let mut patch = json!({"metadata": {field: entries}});
    if let Some(cause) = ctx.change_cause() {
        patch["metadata"]["annotations"][CHANGE_CAUSE] = json!(cause);
    }
    if let Some(version) = version {
        patch["metadata"]["resourceVersion"] = json!(version);
    }
    let write = helper::Write::by(ctx.manager(), ctx.dry_run()?);
    write.patch_of(ctx.client()?, info, MERGE, &patch).await
}
