//! `create job` and `create cronjob`.
//! Invariant: a job made from a cron job says so, and is owned by it.
//! Behaviour follows `staging/src/k8s.io/kubectl/pkg/cmd/create/create_job.go` and `create_cronjob.go`.

use super::GENERATOR;
use crate::command::{Command, verb};
use crate::context::{Ctx, With};
use crate::error::{Result, bail};
use crate::generate;
use crate::resource::{Builder, builder::KUBECTL};
use crate::typed::Read;
use serde_json::{Value, json};

pub static JOB: Command = Command {
    name: "job",
    usage: "NAME --image=image [--from=cronjob/name] -- [COMMAND] [args...]",
    short: "Create a job with the specified name",
    long: "Create a job that runs an image once, or runs a cron job now.",
    examples: "
      # Run a command
      kubectl create job my-job --image=busybox -- date
      # Run a cron job now
      kubectl create job test-job --from=cronjob/a-cronjob",
    run: verb!(job: Job),
    ..GENERATOR
};

pub static CRONJOB: Command = Command {
    name: "cronjob",
    aliases: &["cj"],
    usage: "NAME --image=image --schedule='0/5 * * * ?' -- [COMMAND] [args...] [flags]",
    short: "Create a cron job with the specified name",
    long: "Create a cron job that runs an image again and again.",
    examples: "
      # Every minute
      kubectl create cronjob my-job --image=busybox --schedule=\"*/1 * * * *\"
      # With a command
      kubectl create cronjob my-job --image=busybox --schedule=\"*/1 * * * *\" -- date",
    required: &["image", "schedule"],
    run: verb!(cronjob: CronJob),
    ..GENERATOR
};

#[derive(clap::Args)]
#[group(skip)]
struct CronJob {
    /// The image to run
    #[arg(long)]
    image: String,
    /// When to run it, as cron writes it
    #[arg(long)]
    schedule: String,
    /// What happens to a container that fails: OnFailure or Never
    #[arg(long)]
    restart: String,
}

#[derive(clap::Args)]
#[group(skip)]
struct Job {
    /// The image to run
    #[arg(long)]
    image: String,
    /// The cron job to run (cronjob/NAME)
    #[arg(long)]
    from: String,
}

fn template(name: &str, image: &str, command: &[String], restart: &str) -> Value {
    let mut container = json!({"name": name, "image": image, "resources": {}});
    if !command.is_empty() {
        container["command"] = json!(command);
    }
    json!({"metadata": {}, "spec": {"containers": [container], "restartPolicy": restart}})
}

async fn job(ctx: With<Job>) -> Result<()> {
    let f = ctx.flags();
    let name = generate::name(&ctx)?;
    let command = generate::after_dash(&ctx);
    let (image, from) = (f.image.as_str(), f.from.as_str());
    if image.is_empty() == from.is_empty() {
        bail!("either --image or --from must be specified");
    }
    if !from.is_empty() && !command.is_empty() {
        bail!("cannot specify --from and command");
    }
    let kind = generate::kind("batch", "v1", "jobs", "Job", true);
    let mut object = generate::object(&ctx, &kind, &name)?;
    if from.is_empty() {
        object["spec"] = json!({"template": template(&name, image, &command, "Never")});
    } else {
        from_cronjob(&ctx, from, &mut object).await?;
    }
    object["status"] = json!({});
    generate::create(&ctx, &kind, object, "failed to create job:").await
}

async fn from_cronjob(ctx: &Ctx, from: &str, object: &mut Value) -> Result<()> {
    let mut builder = Builder::new(ctx)?.args(&[from.to_string()]);
    builder.typed = Some(KUBECTL);
    let found = builder.find().await?.all()?;
    let [info] = found.as_slice() else {
        bail!("from must be an existing cronjob");
    };
    if info.resource.kind != "CronJob" {
        let (version, kind) = (&info.resource.version, &info.resource.kind);
        bail!("unknown object type *{version}.{kind}");
    }
    let source = &info.object;
    let job = source.at("spec").at("jobTemplate");
    let mut annotations = job
        .at("metadata")
        .map("annotations")
        .cloned()
        .unwrap_or_default();
    annotations.insert("cronjob.kubernetes.io/instantiate".into(), json!("manual"));
    object["metadata"]["annotations"] = Value::Object(annotations);
    if job.at("metadata").some("labels").is_some() {
        object["metadata"]["labels"] = job.at("metadata").at("labels").clone();
    }
    object["metadata"]["ownerReferences"] = json!([{"apiVersion": "batch/v1", "kind": "CronJob", "name": source.at("metadata").at("name"), "uid": source.at("metadata").at("uid"), "controller": true}]);
    object["spec"] = job.at("spec").clone();
    Ok(())
}

async fn cronjob(ctx: With<CronJob>) -> Result<()> {
    let f = ctx.flags();
    let name = generate::name(&ctx)?;
    let command = generate::after_dash(&ctx);
    let restart = if f.restart.is_empty() {
        "OnFailure"
    } else {
        f.restart.as_str()
    };
    let kind = generate::kind("batch", "v1", "cronjobs", "CronJob", true);
    let mut object = generate::object(&ctx, &kind, &name)?;
    object["spec"] = json!({"schedule": f.schedule.as_str(), "jobTemplate": {"metadata": {"name": name}, "spec": {"template": template(&name, f.image.as_str(), &command, restart)}}});
    object["status"] = json!({});
    generate::create(&ctx, &kind, object, "failed to create cronjob:").await
}
