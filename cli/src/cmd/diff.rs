//! `diff`: what applying would change.
//! Invariant: exit status 0 for no difference, 1 for some, more for failures; secrets are masked.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/diff/diff.go`.

use super::apply;
use crate::command::{Command, verb};
use crate::context::{DryRun, With};
use crate::discovery::Resource;
use crate::error::{Error, Result, bail, message};
use crate::print::without_managed_fields;
use crate::resource::{Builder, FILE_FLAGS, Info, SELECTOR, helper};
use crate::typed::{APPLY, Read};
use serde_json::{Value, json};
use skiff_api::machinery::quote::GoQuoted;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

pub static COMMAND: Command = Command {
    name: "diff",
    usage: "-f FILENAME",
    short: "Diff the live version against a would-be applied version",
    long: "Show how objects would change if files were applied. The program $KUBECTL_EXTERNAL_DIFF, or 'diff -u -N', compares the two.\n\n The exit status is 0 for no difference, 1 for differences, and greater for errors.",
    examples: "
      # What a file would change
      kubectl diff -f pod.json
      # What standard input would change
      cat service.yaml | kubectl diff -f -",
    flags: &[FILE_FLAGS, SELECTOR],
    flag_mistakes: 2,
    run: verb!(run: Flags),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// As apply --server-side would
    #[arg(long)]
    server_side: bool,
    /// With --server-side, take fields over from other managers
    #[arg(long)]
    force_conflicts: bool,
    /// Also show managedFields
    #[arg(long)]
    show_managed_fields: bool,
    /// Show the values of secrets as they are
    #[arg(long)]
    show_secrets: bool,
    /// How many objects are asked for at once
    #[arg(long = "concurrency", default_value = "1")]
    _concurrency: i64,
    /// Also show what apply --prune would delete
    #[arg(long)]
    prune: bool,
    /// With --prune, only this kind (GROUP/VERSION/KIND); may be repeated
    #[arg(long)]
    prune_allowlist: Vec<String>,
    /// Who is said to manage the fields that are written
    #[arg(long, value_name = "kubectl-client-side-apply")]
    field_manager: Option<String>,
}

async fn run(ctx: With<Flags>) -> Result<()> {
    compare(&ctx).await.map_err(|e| match e {
        Error::Exit(n) => Error::Exit(n),
        e => {
            let (text, code) = crate::error::told(&e);
            Error::Plain(text, code + 1)
        }
    })
}

async fn compare(ctx: &With<Flags>) -> Result<()> {
    let f = ctx.flags();
    if !ctx.has_files() {
        if !ctx.args().is_empty() {
            return Err(ctx.usage(format!("Unexpected args: [{}]", ctx.args().join(" "))));
        }
        bail!("must specify one of -f and -k");
    }
    ctx.takes_no_args("Unexpected args")?;
    ctx.client()?;
    if f.force_conflicts && !f.server_side {
        bail!("--force-conflicts only works with --server-side");
    }
    let kinds = match f.prune {
        true => apply::prune::kinds(ctx, &f.prune_allowlist).await?,
        false => Vec::new(),
    };
    let mut builder = Builder::new(ctx)?;
    builder.validation = crate::resource::Validation::Ignore;
    builder.continue_on_error = false;
    let infos = builder.find().await?.all()?;
    let folder =
        |name: &str| std::env::temp_dir().join(format!("{name}-{}", rand::random::<u32>()));
    let (live_dir, merged_dir) = (folder("LIVE"), folder("MERGED"));
    let result = async {
        for dir in [&live_dir, &merged_dir] {
            std::fs::DirBuilder::new().mode(0o700).create(dir)?;
        }
        let mut done = Vec::new();
        for info in &infos {
            let (live, merged) = states(ctx, info).await?;
            let object = live.clone().unwrap_or_default();
            apply::warn_if_deleting(&info.name, &object);
            done.push(Info {
                object,
                ..info.clone()
            });
            write_pair(ctx, info, live, Some(merged), &live_dir, &merged_dir)?;
        }
        for info in doomed(ctx, &kinds, &done).await {
            let live = Some(info.object.clone());
            write_pair(ctx, &info, live, None, &live_dir, &merged_dir)?;
        }
        run_diff(&live_dir, &merged_dir)
    }
    .await;
    for dir in [&live_dir, &merged_dir] {
        // What stays of a temporary folder is in nobody's way, and not what the user asks for.
        let _ = std::fs::remove_dir_all(dir);
    }
    result
}

/// What pruning would delete; a failure to tell is only warned of.
async fn doomed(ctx: &With<Flags>, kinds: &[Resource], done: &[Info]) -> Vec<Info> {
    if !ctx.flags().prune {
        return Vec::new();
    }
    if ctx.flags().prune_allowlist.is_empty() {
        apply::prune::tell_of_usual_kinds();
    }
    apply::prune::all_doomed(ctx, kinds, done)
        .await
        .unwrap_or_else(|why| {
            let text = format!("pruning failed and could not be evaluated err: {why}");
            crate::client::klog('W', "diff.go:762", &text);
            Vec::new()
        })
}

/// How often a change that came between is waited out.
const TRIES: usize = 4;

/// The object as it is, and as it would be.
async fn states(ctx: &With<Flags>, info: &Info) -> Result<(Option<Value>, Value)> {
    let f = ctx.flags();
    let client = ctx.client()?;
    let live = match helper::get(client, &info.resource, &info.namespace, &info.name).await {
        Ok(o) => Some(o),
        Err(e) if e.is_not_found() => None,
        Err(e) => return Err(e),
    };
    let manager = if f.server_side {
        ctx.manager()
    } else {
        f.field_manager.as_deref().unwrap_or(apply::CLIENT_SIDE)
    };
    let mut write = helper::Write::by(manager, DryRun::Server);
    if f.server_side {
        write.force = f.force_conflicts;
        let mut tries = 0;
        loop {
            tries += 1;
            if tries == TRIES {
                let text = format!(
                    "Object ({}/{}, Kind={}: {}) keeps changing, diffing without lock",
                    info.resource.group, info.resource.version, info.resource.kind, info.name
                );
                crate::client::klog('W', "diff.go:723", &text);
            }
            match write.patch_of(client, info, APPLY, &info.object).await {
                Err(e) if e.is_conflict() && tries < TRIES => {}
                merged => return Ok((live, merged?)),
            }
        }
    }
    let merged = match &live {
        None => {
            write
                .create(client, &info.resource, &info.namespace, &info.object)
                .await?
        }
        Some(l) => {
            let (patch, kind) = apply::three_way(&apply::bare(&info.object), l, true)?;
            write.patch_of(client, info, kind, &patch).await?
        }
    };
    Ok((live, merged))
}

fn write_pair(
    ctx: &With<Flags>,
    info: &Info,
    mut live: Option<Value>,
    mut merged: Option<Value>,
    live_dir: &Path,
    merged_dir: &Path,
) -> Result<()> {
    let group = if info.resource.group.is_empty() {
        String::new()
    } else {
        format!("{}.", info.resource.group)
    };
    let name = format!(
        "{group}{}.{}.{}.{}",
        info.resource.version, info.resource.kind, info.namespace, info.name
    );
    if info.resource.kind == "Secret" && info.resource.group.is_empty() && !ctx.flags().show_secrets
    {
        mask(&mut live, merged.get_or_insert(Value::Null));
        // of an object that is not there, what is masked is Go's nil, and that is printed
        live.get_or_insert(Value::Null);
    }
    let shown = |o: &Value| {
        if ctx.flags().show_managed_fields {
            crate::yaml::write(o)
        } else {
            crate::yaml::write(&without_managed_fields(o))
        }
    };
    std::fs::write(
        live_dir.join(&name),
        live.as_ref().map_or_else(String::new, shown),
    )?;
    if let Some(merged) = merged {
        std::fs::write(merged_dir.join(&name), shown(&merged))?;
    }
    Ok(())
}

/// Hides a secret's values, but not whether they differ.
fn mask(live: &mut Option<Value>, merged: &mut Value) {
    let before: Value = live.as_ref().map_or(Value::Null, |l| l.at("data").clone());
    if let Some(data) = merged.get_mut("data").and_then(Value::as_object_mut) {
        for (k, v) in data.iter_mut() {
            let same = before.get(k).is_none_or(|b| b == v);
            *v = json!(if same { "***" } else { "*** (after)" });
        }
    }
    if let Some(data) = live
        .as_mut()
        .and_then(|l| l.get_mut("data"))
        .and_then(Value::as_object_mut)
    {
        for (k, v) in data.iter_mut() {
            let changed = merged.at("data").text(k.as_str()) == "*** (after)";
            *v = json!(if changed { "*** (before)" } else { "***" });
        }
    }
}

fn run_diff(live: &Path, merged: &Path) -> Result<()> {
    let external = std::env::var("KUBECTL_EXTERNAL_DIFF").unwrap_or_default();
    let mut words = external.split_whitespace();
    let mut command = match words.next() {
        Some(program) => {
            let mut c = std::process::Command::new(program);
            c.args(words.filter(|w| {
                w.chars()
                    .all(|ch| ch.is_ascii_alphanumeric() || matches!(ch, '-' | '='))
            }));
            c
        }
        None => {
            let mut c = std::process::Command::new("diff");
            c.args(["-u", "-N"]);
            c
        }
    };
    let status = command.arg(live).arg(merged).status().map_err(|e| {
        let why = match e.kind() {
            std::io::ErrorKind::NotFound => "executable file not found in $PATH".to_string(),
            _ => e.to_string(),
        };
        message!(
            "failed to run {}: {why}",
            GoQuoted(command.get_program().to_string_lossy())
        )
    })?;
    match status.code() {
        Some(0) => Ok(()),
        Some(n) => Err(Error::Exit(n)),
        None => Err(Error::msg("the program that compares was killed")),
    }
}
