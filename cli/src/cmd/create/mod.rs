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

pub use config_data::{env_file, name_hash};

use crate::command::{Command, Run};
use crate::context::{Ctx, DryRun};
use crate::error::{Error, Result};
use crate::flags::Flag;
use crate::generate::{CREATE_MANAGER, SAVE_CONFIG, save_read_config};
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
        CREATE_MANAGER,
        SAVE_CONFIG,
        super::edit::LINE_ENDINGS,
        &[
            Flag::bool(
                "edit",
                '\0',
                false,
                "Edit the objects before they are created",
            ),
            Flag::str(
                "raw",
                '\0',
                "",
                "Send the file to this path of the server as it is",
            ),
        ],
    ],
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
    run: Run::Verb(|ctx| Box::pin(run(ctx))),
    ..Command::NEW
};

/// The flags that every generator has.
pub const COMMON: [&[Flag]; 5] = [
    print::FLAGS,
    DRY_RUN,
    Validation::FLAG,
    CREATE_MANAGER,
    SAVE_CONFIG,
];

async fn run(ctx: Ctx) -> Result<()> {
    let f = ctx.flags();
    if !ctx.args().is_empty() {
        return Err(Error::usage(
            ctx.path(),
            format!("Unexpected args: [{}]", ctx.args().join(" ")),
        ));
    }
    if f.list("filename").is_empty() && f.str("kustomize").is_empty() {
        return Err(Error::msg("must specify one of -f and -k"));
    }
    if !f.str("raw").is_empty() {
        return raw(&ctx).await;
    }
    if f.bool("edit") {
        return super::edit::before_create(&ctx).await;
    }
    create_files(&ctx).await
}

async fn raw(ctx: &Ctx) -> Result<()> {
    let f = ctx.flags();
    if f.bool("edit") {
        return Err(Error::msg("--raw and --edit are mutually exclusive"));
    }
    let others = [
        (f.bool("recursive"), "--recursive"),
        (!f.str("selector").is_empty(), "--selector (-l)"),
        (!f.str("output").is_empty(), "--output"),
    ];
    let file = super::raw_file(ctx, &others)?;
    super::send_raw(ctx, http::Method::POST, f.str("raw"), &file).await
}

/// Creates what the files describe.
///
/// # Errors
/// All that failed.
pub async fn create_files(ctx: &Ctx) -> Result<()> {
    let f = ctx.flags();
    let dry_run = ctx.dry_run()?;
    let mut builder = Builder::new(ctx)?;
    builder.validation = Validation::parse(f.str("validate"))?;
    let mut printer = Printer::new(f, format!("created{}", dry_run.suffix()))?;
    let found = builder.find().await?;
    let mut errors = found.errors;
    let mut count = 0;
    for mut info in found.infos {
        if f.bool("save-config") {
            save_read_config(&mut info.object);
        }
        if dry_run != DryRun::Client {
            let write =
                helper::Write::by(f.str("field-manager"), dry_run).validation(builder.validation);
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
        printer.print(&info.object)?;
    }
    if count == 0 && errors.is_empty() {
        return Err(Error::msg("no objects passed to create"));
    }
    Error::collect(errors)
}
