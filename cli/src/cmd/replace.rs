//! `replace`: puts what files describe in the place of objects that are there.
//! Invariant: with --force the old object is gone before the new one is made.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/replace/replace.go`.

use crate::command::{Command, Run};
use crate::context::{Ctx, DryRun};
use crate::error::{Error, Result};
use crate::flags::Flag;
use crate::generate::{SAVE_CONFIG, save_config};
use crate::print::{self, Printer};
use crate::resource::{Builder, DRY_RUN, FILE_FLAGS, Validation, helper};

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
    flags: &[
        print::FLAGS,
        FILE_FLAGS,
        DRY_RUN,
        Validation::FLAG,
        SAVE_CONFIG,
        &super::delete::DELETION_FLAGS,
        &[
            Flag::str("raw", '\0', "", "Send the file to this path of the server as it is"),
            Flag::str("subresource", '\0', "", "Replace this sub-resource: status, scale or resize"),
            Flag::str("field-manager", '\0', "kubectl-replace", "Who is said to manage the fields that are written"),
        ],
    ],
    run: Run::Verb(|ctx| Box::pin(run(ctx))),
    ..Command::NEW
};

async fn run(ctx: Ctx) -> Result<()> {
    let f = ctx.flags();
    if f.changed("raw") {
        let files = f.list("filename");
        let [file] = files.as_slice() else { return Err(Error::msg("--raw can only use a single local file or stdin")) };
        return super::send_raw(&ctx, http::Method::PUT, f.str("raw"), file).await;
    }
    if f.list("filename").is_empty() && f.str("kustomize").is_empty() {
        return Err(Error::msg("must specify --filename to replace"));
    }
    if f.int("grace-period") >= 0 && !f.bool("force") {
        return Err(Error::msg("--grace-period must have --force specified"));
    }
    if f.duration("timeout") != 0.0 && !f.bool("force") {
        return Err(Error::msg("--timeout must have --force specified"));
    }
    let mut builder = Builder::new(&ctx)?;
    builder.validation = Validation::parse(f.str("validate"))?;
    let mut printer = Printer::new(f, format!("replaced{}", ctx.dry_run()?.suffix()))?;
    let found = builder.find().await?;
    let mut errors = found.errors;
    if f.bool("force") {
        delete_all(&ctx, &found.infos).await?;
    }
    let count = found.infos.len();
    for mut info in found.infos {
        if f.bool("save-config") {
            save_config(&mut info.object);
        }
        if ctx.dry_run()? != DryRun::Client {
            let write = helper::Write::by(f.str("field-manager"), ctx.dry_run()?).validation(builder.validation).subresource(f.str("subresource"));
            let client = ctx.client()?;
            let sent = if f.bool("force") {
                write.create(client, &info.resource, &info.namespace, &info.object).await
            } else {
                // Without a version the object is replaced whatever it is now.
                if info.object["metadata"]["resourceVersion"].as_str().unwrap_or("").is_empty()
                    && let Ok(live) = helper::get(client, &info.resource, &info.namespace, &info.name).await
                {
                    info.object["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
                }
                write.replace(client, &info.resource, &info.namespace, &info.name, &info.object).await
            };
            match sent {
                Ok(o) => info.object = o,
                Err(e) => {
                    let told = if f.bool("force") { e } else { e.with_source("replacing", &info.source) };
                    errors.push(crate::resource::typo::explain(told, &info));
                    continue;
                }
            }
        }
        printer.print(&info.object)?;
    }
    if count == 0 && errors.is_empty() {
        return Err(Error::msg("no objects passed to replace"));
    }
    Error::collect(errors)
}

async fn delete_all(ctx: &Ctx, infos: &[crate::resource::Info]) -> Result<()> {
    let f = ctx.flags();
    let options = super::delete::Options { grace: f.int("grace-period").max(0), policy: super::delete::policy(f.str("cascade"))?, dry_run: ctx.dry_run()? };
    let mut deleted = Vec::new();
    for info in infos {
        let mut quiet = info.clone();
        quiet.source.clear();
        match super::delete::one(ctx, &quiet, &options).await {
            Ok(uid) => deleted.push((info.clone(), uid)),
            Err(e) if e.is_not_found() => {}
            Err(e) => return Err(e),
        }
    }
    let timeout = if f.duration("timeout") == 0.0 { 300.0 } else { f.duration("timeout") };
    if ctx.dry_run()? == DryRun::None { super::delete::wait_gone(ctx, &deleted, timeout).await } else { Ok(()) }
}
