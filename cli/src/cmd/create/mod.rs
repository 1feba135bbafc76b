//! `create`: objects from files, or made from flags by its sub-commands.
//! Invariant: with several objects each is tried, and the exit status tells if one failed.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/create/create.go`.

mod config_data;
mod configmap;
mod deployment;
mod ingress;
mod jobs;
mod misc;
mod rbac;
mod secret;
mod service;
mod token;

pub use config_data::name_hash;
pub use rbac::{URL_VERBS, VERBS};

use crate::command::{Command, verb};
use crate::context::{Ctx, DryRun, With};
use crate::error::{Result, bail};
use crate::generate::{MANAGER, RECORD, SAVE_CONFIG, record, save_read_config};
use crate::print::{self, Printer};
use crate::resource::{Builder, DRY_RUN, FILE_FLAGS, SELECTOR, Validation, helper};

pub static COMMAND: Command = Command {
    name: "create",
    usage: "-f FILENAME",
    short: "Create a resource from a file or from stdin",
    long: "Create objects from files or standard input, JSON or YAML.\n\n The sub-commands make objects from flags.",
    examples: "
      # What a file describes
      kubectl create -f ./pod.json
      # What standard input describes
      cat pod.json | kubectl create -f -
      # Edit what a file describes, then create it
      kubectl create -f registry.yaml --edit -o json",
    flags: &[
        print::FLAGS,
        FILE_FLAGS,
        SELECTOR,
        DRY_RUN,
        Validation::FLAG,
        MANAGER,
        SAVE_CONFIG,
        RECORD,
        super::edit::LINE_ENDINGS,
    ],
    defaults: &[DEFAULT_MANAGER],
    subcommands: &[
        &rbac::CLUSTERROLE,
        &rbac::CLUSTERROLEBINDING,
        &configmap::COMMAND,
        &jobs::CRONJOB,
        &deployment::COMMAND,
        &ingress::COMMAND,
        &jobs::JOB,
        &misc::NAMESPACE,
        &misc::PDB,
        &misc::PRIORITYCLASS,
        &misc::QUOTA,
        &rbac::ROLE,
        &rbac::ROLEBINDING,
        &secret::COMMAND,
        &service::COMMAND,
        &misc::SERVICEACCOUNT,
        &token::COMMAND,
    ],
    run: verb!(run: Flags),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// Edit the objects before they are created
    #[arg(long)]
    edit: bool,
    /// Send the file to this path of the server as it is
    #[arg(long)]
    raw: String,
}

/// What every generator is.
const GENERATOR: Command = Command {
    flags: &[
        print::FLAGS,
        DRY_RUN,
        Validation::FLAG,
        MANAGER,
        SAVE_CONFIG,
    ],
    defaults: &[DEFAULT_MANAGER],
    ..Command::NEW
};
const DEFAULT_MANAGER: (&str, &str) = ("field-manager", "kubectl-create");

async fn run(ctx: With<Flags>) -> Result<()> {
    let f = ctx.flags();
    ctx.dry_run()?;
    ctx.takes_no_args("Unexpected args")?;
    if !ctx.has_files() {
        bail!("must specify one of -f and -k");
    }
    ctx.client()?;
    if !f.raw.is_empty() {
        return raw(&ctx).await;
    }
    if f.edit {
        return super::edit::before_create(&ctx).await;
    }
    create_files(&ctx).await
}

async fn raw(ctx: &With<Flags>) -> Result<()> {
    let f = ctx.flags();
    if f.edit {
        bail!("--raw and --edit are mutually exclusive");
    }
    let others = [
        (ctx.recursive(), "--recursive"),
        (!ctx.selector().is_empty(), "--selector (-l)"),
        (!ctx.output().is_empty(), "--output"),
    ];
    let file = super::raw_file(ctx, &f.raw, &others)?;
    super::send_raw(ctx, http::Method::POST, &f.raw, &file).await
}

/// Creates what the files describe.
///
/// # Errors
/// All that failed.
pub async fn create_files(ctx: &Ctx) -> Result<()> {
    let dry_run = ctx.dry_run()?;
    let mut builder = Builder::new(ctx)?;
    builder.validation = Validation::of(ctx)?.unwrap_or(Validation::Strict);
    let mut printer = Printer::new(ctx, format!("created{}", dry_run.suffix()))?;
    let mut found = builder.find().await?;
    let mut errors = found.failures();
    let mut count = 0;
    for mut info in found.infos {
        errors.next_object();
        if ctx.saves_config() {
            save_read_config(&mut info.object);
        }
        record(ctx, &mut info.object);
        if dry_run != DryRun::Client {
            let write = helper::Write::by(ctx.manager(), dry_run).validation(builder.validation);
            match write
                .create(ctx.client()?, &info.resource, &info.namespace, &info.object)
                .await
            {
                Ok(o) => info.object = o,
                Err(e) => {
                    errors.push(crate::resource::typo::explain(
                        e.with_source("creating", &info.source),
                        &info,
                    ));
                    continue;
                }
            }
        }
        count += 1;
        errors.extend(printer.print(&info.object).err());
    }
    if count == 0 && errors.is_empty() {
        bail!("no objects passed to create");
    }
    errors.told()
}
