//! `set`: changes one feature of objects that make pods, of services and of role bindings.
//! Invariant: each sub-command changes what it names and nothing else.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/set`.

mod env;
mod image;
mod resources;
mod selector;
mod serviceaccount;
mod subject;

use crate::command::{Command, Run};
use crate::context::Ctx;
use crate::error::{Error, Result};
use crate::flags::Group;
use crate::generate::{MANAGER, RECORD};
use crate::resource::{
    ALL, Builder, Info, LOCAL as LOCAL_FLAG,
    builder::{KUBECTL, LOCAL},
};

pub static COMMAND: Command = Command {
    name: "set",
    suggest_for: &[],
    usage: "SUBCOMMAND",
    short: "Set specific features on objects",
    long: "Configure application resources.\n\n These commands help you make changes to existing application resources.",
    subcommands: &[
        &env::COMMAND,
        &image::COMMAND,
        &resources::COMMAND,
        &selector::COMMAND,
        &serviceaccount::COMMAND,
        &subject::COMMAND,
    ],
    run: Run::Group,
    ..Command::NEW
};

/// The flags that all of them share.
const COMMON: Group = |declared| MANAGER(LOCAL_FLAG(ALL(declared)));
/// The same for those that can keep the command line.
const RECORDING: Group = |declared| RECORD(COMMON(declared));

/// What all of them are.
const SETTER: Command = Command {
    defaults: &[DEFAULT_MANAGER],
    ..Command::NEW
};
const DEFAULT_MANAGER: (&str, &str) = ("field-manager", "kubectl-set");

/// The objects that the words name; with `--local`, that files hold.
async fn find(ctx: &Ctx, resources: &[String]) -> Result<Vec<Info>> {
    find_as(ctx, resources, true).await
}

/// The same; `tells` says whether the verb says of its own what `--local` needs.
async fn find_as(ctx: &Ctx, resources: &[String], tells: bool) -> Result<Vec<Info>> {
    ctx.dry_run()?;
    crate::generate::printer(ctx, "")?;
    let local = ctx.local();
    if local && tells && !resources.is_empty() {
        return Err(Error::msg(LOCAL));
    }
    let mut b = Builder::new(ctx)?.args(resources);
    b.typed = Some(KUBECTL);
    b.local = local && (tells || ctx.has_files());
    b.latest = !local;
    b.allow_empty_selector = ctx.all();
    b.all = false;
    if local {
        b.selector = None;
    }
    b.find().await?.all()
}

/// What `--all` and `-l` together are told.
fn check_all(ctx: &Ctx) -> Result<()> {
    if ctx.all() && !ctx.selector().is_empty() {
        Err(Error::msg(
            "cannot set --all and --selector at the same time",
        ))
    } else {
        Ok(())
    }
}
