//! `replace`: puts what files describe in the place of objects that are there.
//! Invariant: with --force nothing is deleted before all that is to come in its place was read and found good by the server, and the old object is
//! gone before the new one is made.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/replace/replace.go`.

use crate::command::{Command, verb};
use crate::context::{Ctx, DryRun, With};
use crate::error::{Error, Result, bail};
use crate::generate::{MANAGER, RECORD, SAVE_CONFIG, save_read_config};
use crate::print::{self, Printer};
use crate::resource::{Builder, DRY_RUN, FILE_FLAGS, Found, Info, Validation, helper};
use crate::typed::Read;
use serde_json::Value;

pub static COMMAND: Command = Command {
    name: "replace",
    usage: "-f FILENAME",
    short: "Replace a resource by file name or stdin",
    long: "Replace objects by what files or standard input describe, JSON or YAML. The whole object must be given: what it lacks is gone.",
    examples: "
      # By what a file describes
      kubectl replace -f ./pod.json
      # Delete and make anew
      kubectl replace --force -f ./pod.json
      # Change one field of what is there
      kubectl get pod mypod -o yaml | sed 's/\\(image: myimage\\):.*$/\\1:v4/' | kubectl replace -f -",
    flags: &[print::FLAGS, FILE_FLAGS, DRY_RUN, Validation::FLAG, SAVE_CONFIG, super::delete::DELETION, MANAGER, RECORD],
    defaults: &[("field-manager", "kubectl-replace")],
    run: verb!(run: Flags),
    ..Command::NEW
};

#[derive(clap::Args)]
#[group(skip)]
struct Flags {
    /// Send the file to this path of the server as it is
    #[arg(long)]
    raw: String,
    /// Replace this sub-resource: status, scale or resize
    #[arg(long)]
    subresource: String,
}

fn check(ctx: &Ctx) -> Result<()> {
    super::delete::first_policy(ctx.deletion().cascade.as_str())?;
    if !ctx.has_files() {
        bail!("must specify one of -f and -k");
    }
    // 0 becomes 1 before anybody looks.
    let (grace, force) = (
        if ctx.deletion().grace_period == 0 {
            1
        } else {
            ctx.deletion().grace_period
        },
        ctx.deletion().force,
    );
    for (wrong, message) in [
        (
            grace >= 0 && !force,
            "--grace-period must have --force specified",
        ),
        (
            ctx.deletion().timeout != 0.0 && !force,
            "--timeout must have --force specified",
        ),
        (
            force && ctx.dry_run()? != DryRun::None,
            "--dry-run can not be used when --force is set",
        ),
    ] {
        if wrong {
            return Err(Error::msg(message));
        }
    }
    Ok(())
}

async fn run(ctx: With<Flags>) -> Result<()> {
    let f = ctx.flags();
    ctx.dry_run()?;
    ctx.client()?;
    check(&ctx)?;
    if !f.raw.is_empty() {
        let file = super::raw_file(
            &ctx,
            &f.raw,
            &[
                (ctx.recursive(), "--recursive"),
                (!ctx.output().is_empty(), "--output"),
            ],
        )?;
        return super::send_raw(&ctx, http::Method::PUT, &f.raw, &file).await;
    }
    let mut builder = Builder::new(&ctx)?;
    builder.validation = Validation::of(&ctx)?.unwrap_or(Validation::Strict);
    let printer = Printer::new(&ctx, format!("replaced{}", ctx.dry_run()?.suffix()))?;
    let found = builder.find().await?;
    let write = helper::Write::by(ctx.manager(), ctx.dry_run()?)
        .validation(builder.validation)
        .subresource(&f.subresource);
    if ctx.deletion().force {
        anew(&ctx, found, &write, printer).await
    } else {
        in_place(&ctx, found, &write, printer).await
    }
}

async fn in_place(
    ctx: &Ctx,
    mut found: Found,
    write: &helper::Write,
    mut printer: Printer,
) -> Result<()> {
    let mut errors = found.failures();
    for mut info in found.infos {
        errors.next_object();
        if ctx.saves_config() {
            save_read_config(&mut info.object);
        }
        crate::generate::record(ctx, &mut info.object);
        if ctx.dry_run()? != DryRun::Client {
            match overwritten(ctx, &info, write).await {
                Ok(o) => info.object = o,
                Err(e) => {
                    errors.push(crate::resource::typo::explain(
                        e.with_source("replacing", &info.source),
                        &info,
                    ));
                    continue;
                }
            }
        }
        errors.extend(printer.print(&info.object).err());
    }
    errors.told()
}

/// Sends the object; without a version it is put in the place of whatever is there now.
async fn overwritten(ctx: &Ctx, info: &Info, write: &helper::Write) -> Result<Value> {
    let client = ctx.client()?;
    let mut object = info.object.clone();
    if object.at("metadata").text("resourceVersion").is_empty()
        && let Ok(live) = write
            .get(client, &info.resource, &info.namespace, &info.name)
            .await
    {
        object["metadata"]["resourceVersion"] = live.at("metadata").at("resourceVersion").clone();
    }
    write
        .replace(client, &info.resource, &info.namespace, &info.name, &object)
        .await
}

/// `--force`: deletes the objects and makes them anew, once it is known of all of them that the server would take them.
async fn anew(ctx: &Ctx, found: Found, write: &helper::Write, mut printer: Printer) -> Result<()> {
    let client = ctx.client()?;
    let mut infos = found.all()?;
    let mut errors = Vec::new();
    for info in &mut infos {
        if ctx.saves_config() {
            save_read_config(&mut info.object);
        }
        crate::generate::record(ctx, &mut info.object);
        if let Err(e) = write
            .rehearse(client, &info.resource, &info.namespace, &info.object)
            .await
        {
            errors.push(crate::resource::typo::explain(e, info));
        }
    }
    Error::collect(std::mem::take(&mut errors))?;
    delete_all(ctx, &infos).await?;
    let nothing = infos.is_empty();
    if nothing {
        print::put("No resources found\n")?;
    }
    for info in &infos {
        match write
            .create(client, &info.resource, &info.namespace, &info.object)
            .await
        {
            Ok(o) => printer.print(&o)?,
            Err(e) => errors.push(crate::resource::typo::explain(e, info)),
        }
    }
    Error::collect(errors)?;
    if nothing {
        Err(Error::msg("no objects passed to replace"))
    } else {
        Ok(())
    }
}

async fn delete_all(ctx: &Ctx, infos: &[Info]) -> Result<()> {
    let grace = if ctx.deletion().grace_period == 0 {
        1
    } else {
        ctx.deletion().grace_period
    };
    let options = super::delete::Options {
        grace,
        policy: super::delete::policy(ctx.deletion().cascade.as_str())?,
        dry_run: DryRun::None,
        quiet: false,
    };
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    for info in infos {
        match super::delete::one(ctx, info, &options).await {
            Ok(uid) => deleted.push((info.clone(), uid)),
            Err(e) if e.is_not_found() => {}
            Err(e) => errors.push(e),
        }
    }
    Error::collect(errors)?;
    let timeout = ctx.deletion().timeout;
    if ctx.deletion().wait {
        super::delete::wait_told(ctx, &deleted, timeout).await?;
    }
    match super::delete::wait_gone(ctx, &deleted, if timeout == 0.0 { 300.0 } else { timeout })
        .await?
    {
        None => Ok(()),
        Some(_) => Err(Error::msg("context deadline exceeded")),
    }
}
