//! `label`: adds, changes, removes and lists labels.
//! Invariant: a label that has another value is only changed with --overwrite.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/label/label.go`.

use super::modify;
use crate::command::{Command, Run};
use crate::complete::Words;
use crate::context::Ctx;
use crate::error::{Error, Result, quote};
use crate::flags::Flag;
use crate::print::{self, Printer};
use crate::resource::{Builder, DRY_RUN, FIELD_SELECTOR, FILE_FLAGS, Info, SELECTOR, helper};
use crate::typed::MERGE;
use serde_json::{Value, json};

pub static COMMAND: Command = Command {
    name: "label",
    usage: "[--overwrite] (-f FILENAME | TYPE NAME) KEY_1=VAL_1 ... KEY_N=VAL_N [--resource-version=version]",
    short: "Update the labels on a resource",
    long: "Set the labels of objects. A key followed by - is removed.\n\n A value that is there already is only changed with --overwrite.",
    examples: "
      # Set a label
      kubectl label pods foo unhealthy=true
      # Change one that is there
      kubectl label --overwrite pods foo status=unhealthy
      # On all pods of the namespace
      kubectl label pods --all status=unhealthy
      # Only if nobody changed the pod since
      kubectl label pods foo status=unhealthy --resource-version=1
      # Remove a label
      kubectl label pods foo bar-",
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
            "kubectl-label",
            "Who is said to manage the fields that are written",
        )],
    ],
    run: Run::Verb(|ctx| Box::pin(run(ctx))),
    words: Some(Words::ANY),
    ..Command::NEW
};

/// The flags that `label` and `annotate` share.
pub const FLAGS: &[Flag] = &[
    Flag::bool(
        "overwrite",
        '\0',
        false,
        "Change values that are there already",
    ),
    Flag::bool("list", '\0', false, "Show what each object has"),
    Flag::bool(
        "local",
        '\0',
        false,
        "Change what files hold, without a server",
    ),
    Flag::bool(
        "all",
        '\0',
        false,
        "All objects of the given types in the namespace",
    ),
    Flag::bool("all-namespaces", 'A', false, "In all namespaces"),
    Flag::str(
        "resource-version",
        '\0',
        "",
        "Only change the object if this is its version; only with a single object",
    ),
];

/// Adds and removals.
pub struct Changes {
    pub set: Vec<(String, String)>,
    pub remove: Vec<String>,
}

fn parse(pairs: &[String]) -> Result<Changes> {
    let mut c = Changes {
        set: vec![],
        remove: vec![],
    };
    for p in pairs {
        match p.split_once('=') {
            Some((_, v)) if v.contains('=') => {
                return Err(Error::msg(format!("invalid label spec: {p}")));
            }
            Some((k, v)) => {
                let valid = v.is_empty()
                    || (v.len() <= 63
                        && v.bytes()
                            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
                        && v.as_bytes()[0].is_ascii_alphanumeric()
                        && v.as_bytes()[v.len() - 1].is_ascii_alphanumeric());
                if !valid {
                    return Err(Error::msg(format!(
                        "invalid label value: {}: a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
                        quote(p)
                    )));
                }
                c.set.push((k.into(), v.into()));
            }
            None => c.remove.push(p[..p.len() - 1].into()),
        }
    }
    if c.remove.iter().any(|r| c.set.iter().any(|(k, _)| k == r)) {
        return Err(Error::msg(
            "can not both modify and remove a label in the same command",
        ));
    }
    Ok(c)
}

/// Checks what `label` and `annotate` check alike.
///
/// # Errors
/// Flags that exclude each other, nothing to do.
pub fn check(
    ctx: &Ctx,
    resources: &[String],
    changes: &Changes,
    what: &str,
    sample: &str,
) -> Result<()> {
    let f = ctx.flags();
    let has_files = !f.list("filename").is_empty() || !f.str("kustomize").is_empty();
    for (on, message) in [
        (
            f.bool("list") && !f.str("output").is_empty(),
            "--list and --output may not be specified together".to_string(),
        ),
        (
            f.bool("all") && !f.str("selector").is_empty(),
            "cannot set --all and --selector at the same time".to_string(),
        ),
        (
            f.bool("all") && !f.str("field-selector").is_empty(),
            "cannot set --all and --field-selector at the same time".to_string(),
        ),
        (
            f.bool("local") && !resources.is_empty(),
            format!(
                "can only use local files by -f {sample}.yaml or --filename={sample}.json when --local=true is set"
            ),
        ),
        (
            f.bool("local") && !has_files,
            format!(
                "one or more files must be specified as -f {sample}.yaml or --filename={sample}.json"
            ),
        ),
        (
            !f.bool("local") && resources.is_empty() && !has_files,
            "one or more resources must be specified as <resource> <name> or <resource>/<name>"
                .to_string(),
        ),
        (
            changes.set.is_empty() && changes.remove.is_empty() && !f.bool("list"),
            format!("at least one {what} update is required"),
        ),
    ] {
        if on {
            return Err(Error::msg(message));
        }
    }
    Ok(())
}

/// The objects that the words name; not more than one with --resource-version.
///
/// # Errors
/// As the builder's.
pub async fn find(ctx: &Ctx, resources: &[String]) -> Result<crate::resource::Found> {
    let f = ctx.flags();
    let mut builder = Builder::new(ctx)?.args(resources);
    builder.latest = !f.bool("local");
    if f.bool("all") {
        builder.allow_empty_selector = true;
    }
    let found = builder.find().await?;
    if !found.single && f.changed("resource-version") {
        return Err(Error::msg(
            "--resource-version may only be used with a single resource",
        ));
    }
    Ok(found)
}

/// Prints `key=value` lines.
pub fn list(info: &Info, field: &str, single: bool, what: &str) -> Result<()> {
    let mut out = String::new();
    if !single {
        out += &format!(
            "Listing {what} for {}.{}/{}:\n",
            info.resource.kind, info.resource.group, info.name
        );
    }
    for (k, v) in info.object["metadata"][field]
        .as_object()
        .into_iter()
        .flatten()
    {
        out += &format!(
            "{}{k}={}\n",
            if single { "" } else { " " },
            v.as_str().unwrap_or("")
        );
    }
    print::put(&out)
}

/// The merge patch for changes of a field under `metadata`.
pub fn merge_patch(ctx: &Ctx, field: &str, changes: &[(String, Option<String>)]) -> Value {
    let mut patch = json!({"metadata": {field: {}}});
    for (k, v) in changes {
        patch["metadata"][field][k] = json!(v);
    }
    if ctx.flags().changed("resource-version") {
        patch["metadata"]["resourceVersion"] = json!(ctx.flags().str("resource-version"));
    }
    patch
}

async fn run(ctx: Ctx) -> Result<()> {
    let f = ctx.flags();
    let (resources, pairs) = modify::split_pairs(ctx.args(), "label")?;
    let changes = parse(&pairs)?;
    check(&ctx, &resources, &changes, "label", "pod")?;
    let local = modify::is_local(&ctx)?;
    let mut printer = Printer::new(f, "")?;
    let found = find(&ctx, &resources).await?;
    let single = found.single;
    let mut errors = found.errors;
    for mut info in found.infos {
        match one(&ctx, &mut info, &changes, local, single, &mut printer).await {
            Ok(()) => {}
            Err(e) => errors.push(e),
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
    let current = info.object["metadata"]["labels"].clone();
    if !f.bool("overwrite") {
        let clash: Vec<Error> = changes
            .set
            .iter()
            .filter(|(k, v)| current[k].as_str().is_some_and(|c| c != v))
            .map(|(k, _)| {
                Error::msg(format!(
                    "'{k}' already has a value ({}), and --overwrite is false",
                    current[k].as_str().unwrap_or("")
                ))
            })
            .collect();
        Error::collect(clash)?;
    }
    if !local && !f.bool("list") {
        for k in changes
            .remove
            .iter()
            .filter(|k| current[k.as_str()].is_null())
        {
            print::put(&format!("label {} not found.\n", quote(k)))?;
        }
    }
    let added: Vec<_> = changes
        .set
        .iter()
        .filter(|(k, v)| current[k].as_str() != Some(v))
        .map(|(k, v)| (k.clone(), Some(v.clone())))
        .collect();
    let removed: Vec<_> = changes
        .remove
        .iter()
        .filter(|k| !current[k.as_str()].is_null())
        .map(|k| (k.clone(), None))
        .collect();
    let message = match (added.is_empty(), removed.is_empty()) {
        (false, false) => "modified",
        (false, true) => "labeled",
        (true, false) => "unlabeled",
        (true, true) => "not labeled",
    };
    let all: Vec<_> = added.into_iter().chain(removed).collect();
    for (k, v) in &all {
        modify::set_entry(&mut info.object, "labels", k, v.as_deref());
    }
    if f.bool("list") {
        return list(info, "labels", single, "labels");
    }
    if !local && !all.is_empty() {
        let write = helper::Write::by(f.str("field-manager"), ctx.dry_run()?);
        info.object = write
            .patch(
                ctx.client()?,
                &info.resource,
                &info.namespace,
                &info.name,
                MERGE,
                &merge_patch(ctx, "labels", &all),
            )
            .await?;
    }
    if f.str("output") != "name" {
        printer.operation(&format!("{message}{}", ctx.dry_run()?.suffix()));
    }
    printer.print(&info.object)
}
